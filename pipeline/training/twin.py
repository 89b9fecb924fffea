"""The twin stage: online SGD at infinite width along the paths of the trainings, one shard for each block of paths.

A twin sees the same data as a training at the same K and does not depend on beta, depth or the sign of C, so trainings
share it. Source: docs/model.md, "Twin".
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import h5py
import numpy as np

from rnnlimits.base.errors import StudyError
from rnnlimits.chains import paths as chains
from rnnlimits.files.store import provenance, put
from rnnlimits.kernels import on_processor
from rnnlimits.kernels.interface import Array, Backend, FeatureMap
from rnnlimits.ranks import checkpoints, sharded
from rnnlimits.ranks.binning import BinnedMean
from rnnlimits.ranks.parallel import Tick
from rnnlimits.ranks.sharded import Ensemble, Stage
from rnnlimits.study import Study
from rnnlimits.theory.flow import probes_of
from rnnlimits.theory.laws import ParameterLaw
from rnnlimits.training import begun, plan
from rnnlimits.training.layout import Layout
from rnnlimits.training.plan import Twin, TwinBlock

if TYPE_CHECKING:
    from mpi4py import MPI

MOST_STEPS = 1024  # steps in a segment; fixed, so that results depend neither on rank nor on machine


@dataclass(frozen=True, eq=False)
class Followed:
    """The results of a block of twins, NumPy arrays."""

    output: Array  # (path, time, probe)
    loss: Array  # (path, loss_time)


def run(study: Study, layout: Layout, steps_per_time: int | None, comm: MPI.Intracomm, be: Backend) -> None:
    """Follow all twins of one K (None: those of every K), and write their ensembles. Collective over `comm`.

    Raises StudyError for a K without twins, and for a shard that is damaged or belongs to something else.
    """
    by_steps = {twin.steps_per_time: twin for twin in plan.twins(study)}
    if steps_per_time is not None and steps_per_time not in by_steps:
        have = ", ".join(map(str, by_steps)) or "none (twin.follow is false, twin.steps_per_time is empty)"
        raise StudyError(f"{study.source}: there is no twin with K = {steps_per_time}; allowed: {have}")
    twins = [by_steps[steps_per_time]] if steps_per_time is not None else list(by_steps.values())
    sharded.run(comm, stage(study, layout, twins, be))


def stage(study: Study, layout: Layout, twins: Sequence[Twin], be: Backend) -> Stage[TwinBlock, Array, Followed]:
    """The stage that follows some twins, with one ensemble for each."""
    return Stage(
        label="twin",
        unit="steps",
        be=be,
        ensembles=lambda: [_ensemble(study, layout, twin) for twin in twins],
        size=lambda block: plan.twin_steps(block, study),
        prepare=lambda: features_at_probes(study, on_processor(be)),
        compute=lambda block, features, tick, keeper: follow_block(study, be, block, features, tick, keeper),
        write=lambda shard, block, followed: _put(shard, study, block, followed),
        join=sharded.linked_below(layout.root),
        variables=STATE,
    )


def _ensemble(study: Study, layout: Layout, twin: Twin) -> Ensemble[TwinBlock]:
    identity = plan.twin_id(study, twin)
    return Ensemble(
        kind="twin",
        path=layout.twin(twin),
        dimension="path",
        identity={"twin_id": identity},
        attributes=lambda: _attributes(study, twin, identity),
        blocks=begun.twin_blocks(study, layout, twin, identity),
        shard=lambda block: layout.twin_shard(block, identity),
        state=lambda block: layout.twin_state(block, identity),
        steps=round(study.training.horizon * twin.steps_per_time),
    )


def features_at_probes(study: Study, be: Backend) -> Array:
    """Features (probe, F) at the ends of the probe histories, on the nodes of the limit."""
    law = ParameterLaw.of(study)
    probes = probes_of(study, law, be)
    return law.features(law.nodes(study.limit.nodes, study.features), probes.last, probes.memory)


def feature_map(study: Study, law: ParameterLaw) -> FeatureMap:
    """The features of the limit (law.features) in the form that the kernels take."""
    return law.feature_map(law.nodes(study.limit.nodes, study.features))


def follow_block(
    study: Study,
    be: Backend,
    block: TwinBlock,
    probe_features: Array,
    tick: Tick,
    keeper: checkpoints.Keeper | None = None,
) -> Followed:
    """Follow the block's paths to the horizon; tick(steps) reports progress.

    keeper: saves the state at the ends of segments, and may hold a state to resume from (default: saves nothing).
    """
    keeper = keeper or checkpoints.Forgetful(tick)
    run = _Run(study, be, block, keeper.load())
    keeper.resumed(run.done * block.count)
    for checkpoint in run.times[len(run.output) :]:
        while run.done < checkpoint:
            steps = min(MOST_STEPS, checkpoint - run.done)
            run.advance(steps)
            keeper.passed(steps * block.count, run.state)
        run.look(probe_features)
    return Followed(np.stack(run.output, axis=1), run.loss.mean())


class _Run:
    """The unfinished twins of a block; another process can resume them from their `state`."""

    def __init__(self, study: Study, be: Backend, block: TwinBlock, saved: checkpoints.State | None = None) -> None:
        self._be, self._law = be, ParameterLaw.of(study)
        self._features, self._there = feature_map(study, self._law), self._law.on(be)
        k = block.twin.steps_per_time
        self._rate, self.times = study.training.alpha / k, [round(t * k) for t in study.training.checkpoints]
        self._path = chains.training_paths(study, be, block.paths, saved.position if saved else None)
        self.loss = BinnedMean(be, block.count, self.times[-1], study.training.loss_bins)
        theta, memory = np.zeros((block.count, self._features.size)), np.zeros(block.count)
        self.output: list[Array] = []
        self.done, self._started = 0, time.perf_counter()
        if saved is not None:
            theta, memory, self.loss.sums = (saved.arrays[name] for name in ("theta", "memory", "loss_sum"))
            self.output = list(saved.arrays["output"].swapaxes(0, 1)) if "output" in saved.arrays else []
            self.done, self._started = saved.done, self._started - saved.numbers["seconds"]
        self._theta, self._memory = be.array(theta), be.array(memory)

    def advance(self, steps: int) -> None:
        """Follow the paths for a segment of `steps` steps."""
        x, _, y = self._path.take(steps)
        along = self._there.memory_path(self._be, x, self._memory)
        self._memory = along[:, -1].copy()
        miss = self._be.twin_path(self._features, self._rate, x, along[:, :-1], y, self._theta)
        self.loss.add(self.done, miss)
        self.done += steps

    def look(self, probe_features: Array) -> None:
        """Record a checkpoint."""
        # Not a matrix product: its bits would depend on how many paths a block has.
        self.output.append((self._be.numpy(self._theta)[:, None, :] * probe_features).sum(axis=-1))

    def state(self) -> checkpoints.State:
        """Everything that is needed to resume: see STATE."""
        theta, memory = (np.array(self._be.numpy(a)) for a in (self._theta, self._memory))
        chain, step = chains.position(self._be, self._path)
        arrays = {"theta": theta, "memory": memory, "chain_state": chain, "loss_sum": self.loss.sums}
        outputs = {"output": np.stack(self.output, axis=1)} if self.output else {}
        numbers = {"chain_step": step, "seconds": time.perf_counter() - self._started}
        return checkpoints.State(self.done, numbers, {**arrays, **outputs})


# --- saved states ------------------------------------------------------------------------------------------

STATE: checkpoints.Variables = {
    "theta": (("path", "feature"), "coefficients of the features"),
    "memory": (("path",), "infinite-width memory along the path"),
    "loss_sum": (("path", "loss_time"), "sum of (phi.theta_k - Y_k)^2 over the steps of the bin that were taken"),
    "chain_state": checkpoints.CHAIN_STATE,
    "output": (("path", "time", "probe"), "output on the probes"),
}


# --- files -------------------------------------------------------------------------------------------------


def _put(shard: h5py.File, study: Study, block: TwinBlock, followed: Followed) -> None:
    """The variables of a shard (docs/format.md, "twin-shard")."""
    horizon, bins = study.training.horizon, followed.loss.shape[1]
    centres = (np.arange(bins) + 0.5) * horizon / bins
    put(shard, "path", block.paths.astype(np.int64), ("path",), "1", "index of the path of the chain")
    put(shard, "time", np.array(study.training.checkpoints), ("time",), "1", "training time t")
    put(shard, "probe", np.arange(study.probes.count), ("probe",), "1", "index of the probe history")
    put(shard, "loss_time", centres, ("loss_time",), "1", "training time at the centre of the bin")
    name = "output of the twin at the end of each probe history"
    put(shard, "output", followed.output, ("path", "time", "probe"), "1", name)
    put(shard, "loss", followed.loss, ("path", "loss_time"), "1", "mean of (phi.theta_k - Y_k)^2 along the path")


def _attributes(study: Study, twin: Twin, identity: str) -> dict[str, object]:
    return {
        **provenance(study),
        "twin_id": identity,
        "steps_per_time": twin.steps_per_time,
        "alpha": study.training.alpha,
        "horizon": study.training.horizon,
    }
