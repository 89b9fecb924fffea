"""The draw stage: stationary draws of the chain with its infinite-width memory, in blocks, and coupled pairs.

Writes one shard for each block, and combines them in draw.h5: the moments that the limit needs, distances of coupled
chains and memories, thinned draws. Source: docs/model.md sections 4 to 6.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import h5py
import numpy as np

from rnnlimits.base.streams import Stream
from rnnlimits.chains import paths as chains
from rnnlimits.files import store
from rnnlimits.kernels import on_processor
from rnnlimits.kernels.interface import Array, Backend
from rnnlimits.ranks import sharded
from rnnlimits.ranks.sharded import Ensemble, Stage
from rnnlimits.study import Study
from rnnlimits.theory import moments, stationary
from rnnlimits.theory.couplings import Couplings, couplings
from rnnlimits.theory.laws import Nodes, ParameterLaw
from rnnlimits.theory.moments import Accumulator, Moments
from rnnlimits.theory.walks import Stretch, Tick, Walk, burn_in
from rnnlimits.training import plan
from rnnlimits.training.layout import Layout

if TYPE_CHECKING:
    from mpi4py import MPI

TAILS = ("", "_check")  # suffixes of the variables for the nodes in use, and for the nodes that check them


# --- running ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Drawn:
    """The results of one block, NumPy arrays; atoms: those of a stationary law that is known exactly, else None."""

    sets: tuple[Nodes, ...]
    moments: list[Moments]
    atoms: stationary.Atoms | None
    sample: Stretch
    couplings: Couplings


def run(study: Study, layout: Layout, comm: MPI.Intracomm, be: Backend) -> None:
    """Draw every block that has no shard yet, on all ranks, then merge the shards into draw.h5. Collective.

    Raises StudyError for a shard that is damaged or belongs to something else.
    """
    sharded.run(comm, stage(study, layout, be))


def stage(study: Study, layout: Layout, be: Backend) -> Stage[int, None, Drawn]:
    """The stage that computes all blocks of draws, each named by its index."""
    return Stage(
        label="draw",
        unit="draws",
        be=be,
        ensembles=lambda: [_ensemble(study, layout)],
        size=lambda _: plan.draw_steps(study),
        prepare=lambda: None,
        compute=lambda index, _, tick, keeper: draw_block(study, be, index, tick),
        write=lambda shard, _, drawn: _put(shard, study, drawn),
        join=lambda ensemble: merge(ensemble, plan.has_exact_law(study)),
        origin=lambda: {"exact": study.chain.exact},
    )


def _ensemble(study: Study, layout: Layout) -> Ensemble[int]:
    identity = plan.draw_id(study)
    return Ensemble(
        kind="draw",
        path=layout.draw,
        identity={"draw_id": identity},
        attributes=lambda: {**store.provenance(study), "draw_id": identity},
        blocks=range(plan.draw_blocks(study)),
        shard=lambda index: layout.draw_shard(index, identity),
        where=lambda index: {"block": index},
    )


def draw_block(study: Study, be: Backend, index: int, tick: Tick = lambda _: None) -> Drawn:
    """Compute one block. Its contents depend on (study, index) only.

    `tick(draws)` is called at least after every stretch of 16,384 chain states.
    """
    law, chain, near = ParameterLaw.of(study), chains.of(study), on_processor(be)
    sets = law.node_sets(study.limit.nodes, study.features)
    walk = stationary_walk(study, law, chain, be, index, tick)
    atoms = stationary.atoms(study, near) if plan.has_exact_law(study) else None
    if atoms is not None:
        sums = exact_moments(near, law, atoms, sets)
        _, sample = record(be, walk, study, (), tick, law)
    else:
        sums, sample = record(be, walk, study, sets, tick, law)
    return Drawn(sets, sums, atoms, sample, couplings(study, law, chain, near, index, tick))


# --- stationary draws ------------------------------------------------------------------------------------------


def stationary_walk(
    study: Study, law: ParameterLaw, chain: chains.Process, be: Backend, index: int, tick: Tick
) -> Walk:
    """The chains of one block, stationary, with a memory that has forgotten its start."""
    count = study.draws.chains
    replicas = index * count + np.arange(count, dtype=np.uint32)
    path = chain.paths(be, study.seed, Stream.DRAW_NOISE, replicas)
    walk = Walk(path, law.on(be), be, count)
    walk.skip(burn_in(law, be.numpy(walk.take(1).x[:, 0])), tick)
    return walk


def record(
    be: Backend, walk: Walk, study: Study, sets: tuple[Nodes, ...], tick: Tick, law: ParameterLaw
) -> tuple[list[Moments], Stretch]:
    """Moments for each node set over draws.steps steps of the walk, and draws.sample evenly spaced draws per chain.

    The walk's arrays belong to the back end; the results have NumPy arrays.
    """
    draws = study.draws
    sampled = (np.arange(draws.sample) + 1) * draws.steps // draws.sample - 1
    sums = [Accumulator(be, nodes.features) for nodes in sets]
    samples: list[Stretch] = []
    done = 0
    for length in walk.lengths(draws.steps):
        part = walk.take(length)
        for accumulator, nodes in zip(sums, sets, strict=True):
            accumulate(accumulator, law, nodes, part)
        here = be.array(sampled[(sampled >= done) & (sampled < done + length)] - done)
        samples.append(Stretch(part.x[:, here], part.z[:, here], part.y[:, here], part.m[:, here]))
        done += length
        tick(draws.chains * length)
    fields = (be.numpy(np.concatenate([getattr(part, name) for part in samples], axis=1)) for name in "xzym")
    return [accumulator.result() for accumulator in sums], Stretch(*fields)


def accumulate(accumulator: Accumulator, law: ParameterLaw, nodes: Nodes, part: Stretch) -> None:
    """Add every draw of a stretch."""
    x, m, y = part.x.reshape(-1, law.dimension), part.m.reshape(-1), part.y.reshape(-1)
    accumulator.add(law.feature_map(nodes), x, m, y)


def exact_moments(be: Backend, law: ParameterLaw, atoms: stationary.Atoms, sets: tuple[Nodes, ...]) -> list[Moments]:
    """Moments for each node set without drawing."""
    results = []
    for nodes in sets:
        accumulator = Accumulator(be, nodes.features)

        def features(rows: slice, nodes: Nodes = nodes) -> Array:
            return law.features(nodes, atoms.x[rows], atoms.m[rows])

        moments.add_in_batches(accumulator, features, atoms.y, nodes.features, atoms.weight)
        results.append(accumulator.result())
    return results


# --- files -----------------------------------------------------------------------------------------------------


def _put(shard: h5py.File, study: Study, drawn: Drawn) -> None:
    """The variables of a shard (docs/format.md, "draw-shard")."""
    put_nodes(shard, drawn.sets)
    put_moments(shard, drawn.moments)
    put_atoms(shard, drawn.atoms)
    put_sample(shard, drawn.sample)
    put_couplings(shard, drawn.couplings)
    put_mixing(shard, stationary.mixing_rate(study))


def put_nodes(file: h5py.File, sets: tuple[Nodes, ...]) -> None:
    """The nodes behind the features, so that the limit uses the same ones."""
    for nodes, tail in zip(sets, TAILS, strict=False):
        node = "node" + tail
        store.put(file, f"{node}_w", nodes.w, (node, "x"), "1", "quadrature nodes of the law of W")
        store.put(file, f"{node}_weight", nodes.weight, (node,), "1", "weight of each node")
        store.put(file, f"{node}_b", nodes.b, (node,), "1", "E[B | W] at each node")
        store.put(file, f"{node}_b_squared", nodes.b_squared, (node,), "1", "E[B^2 | W] at each node")


def put_moments(file: h5py.File, results: list[Moments]) -> None:
    """Second moments for the node set in use and, if one exists, for the set that checks it."""
    for part, tail in zip(results, TAILS, strict=False):
        feature = "feature" + tail
        store.put(file, f"A{tail}", part.a, (feature, feature + "_"), "1", "E phi phi^T, docs/model.md eq. (28)")
        store.put(file, f"b{tail}", part.b, (feature,), "1", "E phi y, docs/model.md eq. (28)")
    store.put(file, "y2", results[0].y2, (), "1", "E y^2")
    store.put(file, "count", results[0].weight, (), "1", "number of draws, 1 for an exact law")


def put_atoms(file: h5py.File, atoms: stationary.Atoms | None) -> None:
    """The stationary law itself, if it is known exactly: atoms and their weights, some of them negative."""
    if atoms is None:
        return
    store.put(file, "atom_x", atoms.x, ("atom", "x"), "1", "X at each atom")
    if atoms.z.shape[-1]:
        store.put(file, "atom_z", atoms.z, ("atom", "z"), "1", "Z at each atom")
    store.put(file, "atom_y", atoms.y, ("atom",), "1", "Y at each atom")
    store.put(file, "atom_m", atoms.m, ("atom",), "1", "infinite-width memory at each atom")
    store.put(file, "atom_weight", atoms.weight, ("atom",), "1", "weight of each atom, docs/model.md eq. (31)")
    store.put(file, "atom_error", atoms.error, (), "1", "last change of low-order moments as atoms were added")


def put_sample(file: h5py.File, sample: Stretch) -> None:
    """Thinned stationary draws."""
    dims = ("chain", "draw")
    store.put(file, "sample_x", sample.x, (*dims, "x"), "1", "stationary draws of X")
    if sample.z.shape[-1]:
        store.put(file, "sample_z", sample.z, (*dims, "z"), "1", "stationary draws of Z")
    store.put(file, "sample_y", sample.y, dims, "1", "stationary draws of Y")
    store.put(file, "sample_m", sample.m, dims, "1", "stationary draws of the infinite-width memory")


def put_couplings(file: h5py.File, pairs: Couplings) -> None:
    """Log distances by step; NaN where the distance is zero or only rounding error."""
    steps = pairs.memory.shape[1]
    store.put(file, "hidden_update", np.arange(steps), ("hidden_update",), "1", "hidden updates since the start")
    store.put(file, "log_slope", pairs.log_slope, ("coupling",), "1", "mean of log|dF/dm| along the stationary memory")
    name = "log distance of two infinite-width memories on one path"
    store.put(file, "memory_log_distance", pairs.memory, ("coupling", "hidden_update"), "1", name)
    if pairs.chain is not None:
        store.put(file, "chain_step", np.arange(1, steps), ("chain_step",), "1", "chain steps since the start")
        name = "log distance of two chains with the same noise"
        store.put(file, "chain_log_distance", pairs.chain, ("coupling", "chain_step"), "1", name)


def put_mixing(file: h5py.File, rate: float | None) -> None:
    """The exact factor per step at which the chain forgets its start, if it is known."""
    if rate is not None:
        store.put(file, "mixing_rate", rate, (), "1", "factor per step at which the chain forgets its start, exact")


SHARED = ("node_", "atom_", "hidden_update", "chain_step", "mixing_rate")  # the same in every block
POOLED = ("A_check", "b_check")  # only their mean over blocks is needed


def merge(ensemble: Ensemble[int], is_exact: bool) -> None:
    """Merge all shards, in the order of blocks, into one file draw.h5 with a block dimension."""
    attrs = {**ensemble.attributes(), "exact": is_exact}
    parts: dict[str, list[Array]] = {}
    about: dict[str, tuple[tuple[str, ...], str, str]] = {}
    for index in ensemble.blocks:
        with ensemble.open_shard(index) as shard:
            attrs |= {name: shard.attrs[name] for name in ("backend", "device")}
            for name, data in shard.variables.items():
                if index == 0:
                    about[name] = (data.dims, data.attrs["units"], data.attrs["long_name"])
                parts.setdefault(name, []).append(data[()])
    with store.atomic_h5(ensemble.path, "draw", attrs) as file:
        for name, blocks in parts.items():
            put_merged(file, name, blocks, *about[name])


def put_merged(
    file: h5py.File, name: str, blocks: list[Array], dims: tuple[str, ...], units: str, long_name: str
) -> None:
    """Write one variable of the merged file: shared, pooled, or stacked over blocks."""
    if dims == (name,) or name.startswith(SHARED):
        store.put(file, name, blocks[0], dims, units, long_name)
    elif name in POOLED:
        store.put(file, name, sum(blocks) / len(blocks), dims, units, long_name)
    else:
        store.put(file, name, np.stack(blocks), ("block", *dims), units, long_name)
