"""The twin stage: online SGD at infinite width along the very paths of the trainings, one shard a block of paths.

A twin sees the same data as a training at the same K and knows nothing of beta, depth or the sign of C: trainings share
it. Source: docs/model.md, "Twin".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from mpi4py import MPI

from kernels import on_processor
from kernels.problem import Array, Backend, FeatureMap
from pipeline import chains, plan
from pipeline.binning import BinnedMean
from pipeline.errors import StudyError
from pipeline.files.ensembles import build_ensemble
from pipeline.files.store import atomic_h5, open_complete, provenance, put
from pipeline.flow import probes_of
from pipeline.laws import ParameterLaw
from pipeline.layout import Layout
from pipeline.parallel import Tick, each_block, on_root, together
from pipeline.plan import Twin, TwinBlock
from pipeline.streams import Stream
from pipeline.study import Study

MOST_STEPS = 1024  # of a segment; fixed, so that nothing depends on who works


@dataclass(frozen=True, eq=False)
class Followed:
    """What a block of twins leaves behind, NumPy's arrays."""

    output: Array  # (path, time, probe)
    loss: Array  # (path, loss_time)


def run(study: Study, layout: Layout, steps_per_time: int | None, comm: MPI.Intracomm, be: Backend) -> None:
    """Follow all twins of one K (None: of every K), and write their ensembles. Collective over `comm`.

    Raises StudyError for a K without twins, and for a shard that is damaged or belongs to something else.
    """
    known = {twin.steps_per_time: twin for twin in plan.twins(study)}
    if steps_per_time is not None and steps_per_time not in known:
        have = ", ".join(map(str, known)) or "none (twin.follow is false, twin.steps_per_time is empty)"
        raise StudyError(f"{study.source}: there is no twin with K = {steps_per_time}; allowed: {have}")
    wanted = [known[steps_per_time]] if steps_per_time is not None else list(known.values())
    missing = on_root(comm, lambda: _missing(study, layout, wanted))
    probe_features = together(comm, lambda: features_at_probes(study, on_processor(be)))

    def work(index: int, tick: Tick) -> None:
        block = missing[index]
        followed = follow_block(study, be, block, probe_features, tick)
        write_shard(study, be, block, followed, layout.twin_shard(block, plan.twin_id(study, block.twin)))

    each_block(comm, [plan.twin_steps(block, study) for block in missing], work, "twin", "steps")
    on_root(comm, lambda: _write_ensembles(study, layout, wanted))


def _missing(study: Study, layout: Layout, twins: Sequence[Twin]) -> list[TwinBlock]:
    """The blocks without a shard; a shard that is there must be whole and the right one."""
    missing = []
    for twin in twins:
        identity = plan.twin_id(study, twin)
        for block in plan.twin_blocks(study, twin):
            path = layout.twin_shard(block, identity)
            if not path.exists():
                missing.append(block)
                continue
            with open_complete(path, "twin-shard", twin_id=identity, first=block.first, count=block.count):
                pass
    return missing


def features_at_probes(study: Study, be: Backend) -> Array:
    """Features (probe, F) at the ends of the probe histories, on the nodes of the limit."""
    law = ParameterLaw.of(study)
    probes = probes_of(study, law, be)
    return law.features(law.nodes(study.limit.nodes, study.features), probes.last, probes.memory)


def feature_map(study: Study, law: ParameterLaw) -> FeatureMap:
    """The features of the limit (law.features) as the kernels take them."""
    nodes = law.nodes(study.limit.nodes, study.features)
    root = np.sqrt(nodes.weight)
    return FeatureMap(law.activation, nodes.w, root, law.c_std * root)


def follow_block(study: Study, be: Backend, block: TwinBlock, probe_features: Array, tick: Tick) -> Followed:
    """Follow the block's paths to the horizon; tick(steps) reports progress."""
    law = ParameterLaw.of(study)
    features, there = feature_map(study, law), law.on(be)
    path = chains.of(study).paths(be, study.seed, Stream.CHAIN_NOISE, block.paths)
    k = block.twin.steps_per_time
    times = [round(t * k) for t in study.training.checkpoints]
    loss = BinnedMean(be, block.count, times[-1], study.training.loss_bins)
    theta, memory = be.array(np.zeros((block.count, features.size))), be.array(np.zeros(block.count))
    output, done = [], 0
    for checkpoint in times:
        while done < checkpoint:
            steps = min(MOST_STEPS, checkpoint - done)
            x, _, y = path.take(steps)
            along = there.memory_path(be, x, memory)
            memory = along[:, -1].copy()
            miss = be.twin_path(features, study.training.alpha / k, x, along[:, :-1], y, theta)
            loss.add(done, miss)
            done += steps
            tick(steps * block.count)
        # Not a matrix product: its bits would depend on how many paths a block has.
        output.append((be.numpy(theta)[:, None, :] * probe_features).sum(axis=-1))
    return Followed(np.stack(output, axis=1), loss.mean())


# --- files -------------------------------------------------------------------------------------------------


def write_shard(study: Study, be: Backend, block: TwinBlock, followed: Followed, path: Path) -> None:
    """Write the block's shard, complete or not at all (docs/format.md, "twin-shard")."""
    path.parent.mkdir(parents=True, exist_ok=True)
    about = {"first": block.first, "count": block.count, "backend": be.name, "device": be.device}
    horizon, bins = study.training.horizon, followed.loss.shape[1]
    centres = (np.arange(bins) + 0.5) * horizon / bins
    with atomic_h5(path, "twin-shard", {**_attributes(study, block.twin), **about}) as shard:
        put(shard, "path", block.paths.astype(np.int64), ("path",), "1", "index of the path of the chain")
        put(shard, "time", np.array(study.training.checkpoints), ("time",), "1", "training time t")
        put(shard, "probe", np.arange(study.probes.count), ("probe",), "1", "index of the probe history")
        put(shard, "loss_time", centres, ("loss_time",), "1", "training time at the centre of the bin")
        name = "output of the twin at the end of each probe history"
        put(shard, "output", followed.output, ("path", "time", "probe"), "1", name)
        put(shard, "loss", followed.loss, ("path", "loss_time"), "1", "mean of (phi.theta_k - Y_k)^2 along the path")


def _attributes(study: Study, twin: Twin) -> dict[str, object]:
    return {
        **provenance(study),
        "twin_id": plan.twin_id(study, twin),
        "steps_per_time": twin.steps_per_time,
        "alpha": study.training.alpha,
        "horizon": study.training.horizon,
    }


def _write_ensembles(study: Study, layout: Layout, twins: Sequence[Twin]) -> None:
    for twin in twins:
        identity = plan.twin_id(study, twin)
        shards = [layout.twin_shard(block, identity) for block in plan.twin_blocks(study, twin)]
        path = layout.twin(twin)
        path.parent.mkdir(parents=True, exist_ok=True)
        attrs = _attributes(study, twin)
        build_ensemble(layout.root, shards, path, "twin-ensemble", attrs, {"twin_id": identity}, dimension="path")
