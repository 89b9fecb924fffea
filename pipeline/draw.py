"""The draw stage: stationary draws of the chain with its infinite-width memory, in blocks, and coupled pairs.

Writes one shard a block and draw.h5 over them: the moments that the limit needs, distances of coupled chains
and memories, thinned draws. Source: docs/model.md sections 4 to 6.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, cast

import h5py
import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from kernels.problem import Array, Backend, Replicas
from pipeline import chains, exact, moments, parallel, plan, store, variables
from pipeline.errors import StudyError
from pipeline.laws import Nodes, ParameterLaw
from pipeline.layout import Layout
from pipeline.moments import Accumulator, Moments
from pipeline.streams import Stream
from pipeline.study import Study
from pipeline.study_chain import Recorded

MOST_FEATURES = 2000
MOST_BYTES = 1 << 29  # of all blocks' second moments together; merging them takes about four times as much
STRETCH_VALUES = 1 << 14  # chain states taken at a time; fixed, so that nothing depends on who works
FORGOTTEN = 1e-14  # what is left of the memory's start, relative to its range, after the burn-in
SLOWEST = 0.995  # a contraction closer to 1 is replaced by the steepest slope seen
MOST_BURN_IN = 20_000
RESOLVED = 1e-13  # distances below are rounding

Tick = Callable[[int], None]


class _HasState(Protocol):
    state: NDArray[np.generic]


@dataclass(frozen=True, eq=False)
class Stretch:
    """Consecutive steps: x (R, L, d), z (R, L, dz), y (R, L), m (R, L), the memory that goes with x."""

    x: Array
    z: Array
    y: Array
    m: Array


class Walk:
    """A path of the chain and its infinite-width memory, a stretch at a time."""

    def __init__(self, path: chains.Path, law: ParameterLaw, be: Backend, replicas: int) -> None:
        self._path, self._law, self._be = path, law, be
        self.memory = np.zeros(replicas)
        self._most = max(1, STRETCH_VALUES // replicas)

    def lengths(self, steps: int) -> list[int]:
        """Lengths of the stretches that make up `steps`, each small enough to hold."""
        whole, rest = divmod(steps, self._most)
        return [self._most] * whole + ([rest] if rest else [])

    def take(self, steps: int) -> Stretch:
        """The next `steps` steps."""
        x, z, y = self._path.take(steps)
        path = self._law.memory_path(self._be, x, self.memory)
        self.memory = path[:, -1].copy()
        return Stretch(x, z, y, path[:, :-1])

    def skip(self, steps: int, tick: Tick) -> None:
        """Go on `steps` steps and keep nothing."""
        for length in self.lengths(steps):
            self.take(length)
            tick(0)


@dataclass(frozen=True, eq=False)
class Couplings:
    """Along each pair: log_slope (P,), memory (P, S + 1) and chain (P, S) log distances; chain None if recorded.

    A log distance is NaN from the step on at which the distance is zero or below 1e-13, where it is rounding.
    """

    log_slope: Array
    memory: Array
    chain: Array | None


# --- running ---------------------------------------------------------------------------------------------------


def run(study: Study, layout: Layout, comm: MPI.Intracomm, be: Backend) -> None:
    """Draw every block that has no shard yet, on all ranks, then merge them into draw.h5. Collective.

    Raises StudyError: too many features for memory, a shard that cannot be read.
    """
    require_moderate(study)
    identity = plan.draw_id(study)
    todo = parallel.on_root(comm, lambda: unfinished(study, layout, identity))

    def work(turn: int, tick: Tick) -> None:
        draw_block(study, be, todo[turn], layout.draw_shard(todo[turn], identity), tick)

    parallel.each_block(comm, [block_steps(study)] * len(todo), work, "draw", "draws")
    parallel.on_root(comm, lambda: merge(study, layout, identity))


def block_count(study: Study) -> int:
    """Number of shards: one where the stationary law is exact."""
    return 1 if exact.available(study) else study.draws.blocks


def block_steps(study: Study) -> int:
    """Draws in one block, for progress."""
    return study.draws.chains * study.draws.steps


def unfinished(study: Study, layout: Layout, identity: str) -> list[int]:
    """Indices of blocks without a shard. Raises StudyError for a shard that is there but damaged or foreign."""
    todo = []
    for index in range(block_count(study)):
        path = layout.draw_shard(index, identity)
        if not path.exists():
            todo.append(index)
            continue
        with store.open_complete(path, "draw-shard", draw_id=identity, block=index):
            pass
    return todo


def require_moderate(study: Study) -> None:
    """Refuse moments that would not fit in memory."""
    size = 1 + study.dimension
    features = study.limit.nodes * size
    total = 8 * features**2 * block_count(study)
    if features > MOST_FEATURES:
        raise StudyError(
            f"limit.nodes: {study.limit.nodes} nodes make {features} features, whose second moments take"
            f" {total / 2**30:.2g} GiB; allowed: {MOST_FEATURES} features, so lower limit.nodes to"
            f" {MOST_FEATURES // size} or less"
        )
    if total > MOST_BYTES:
        raise StudyError(
            f"draws.blocks: {study.draws.blocks} blocks of {features} features take {total / 2**30:.2g} GiB;"
            f" allowed: {MOST_BYTES / 2**30:.2g} GiB, so lower draws.blocks to"
            f" {MOST_BYTES // (8 * features**2)} or less"
        )


def draw_block(study: Study, be: Backend, index: int, path: Path, tick: Tick = lambda _: None) -> None:
    """Compute one block and write its shard. What it holds depends on (study, index) only.

    `tick(draws)` is called at least after every stretch of 16,384 chain states.
    """
    law, chain = ParameterLaw.of(study), chains.of(study)
    sets = law.node_sets(study.limit.nodes, study.features)
    walk = stationary_walk(study, law, chain, be, index, tick)
    atoms = exact.atoms(study, be) if exact.available(study) else None
    if atoms is not None:
        found = exact_moments(law, atoms, sets)
        _, sample = record(walk, study, (), tick, law)
    else:
        found, sample = record(walk, study, sets, tick, law)
    pairs = couplings(study, law, chain, be, index, tick)
    attrs = {**store.provenance(study), "draw_id": plan.draw_id(study), "block": index, "exact": chain.exact}
    with store.atomic_h5(path, "draw-shard", {**attrs, "backend": be.name, "device": be.device}) as file:
        put_nodes(file, sets)
        put_moments(file, found)
        put_atoms(file, atoms)
        put_sample(file, sample)
        put_couplings(file, pairs)
        put_mixing(file, exact.mixing_rate(study))


# --- stationary draws ------------------------------------------------------------------------------------------


def burn_in(law: ParameterLaw, inputs: Array) -> int:
    """Steps after which the memory has forgotten its start to 1e-14 of its range.

    From the bound on |dF/dm| that holds everywhere, or, where that is no use, from the steepest slope at inputs
    (n, d) that the chain visits. At most 20,000.
    """
    rate = law.contraction
    if rate > SLOWEST:
        m = np.linspace(-law.memory_bound, law.memory_bound, 17)
        rate = float(np.abs(law.memory_slope(inputs[:, None, :], m[None, :])).max())
    if rate > SLOWEST:
        return MOST_BURN_IN
    return max(1, math.ceil(math.log(FORGOTTEN) / math.log(max(rate, 1e-300))))


def stationary_walk(study: Study, law: ParameterLaw, chain: chains.Chain, be: Backend, index: int, tick: Tick) -> Walk:
    """The chains of one block, stationary, with a memory that has forgotten its start."""
    count = study.draws.chains
    replicas = index * count + np.arange(count, dtype=np.uint32)
    path = chain.paths(be, study.seed, Stream.DRAW_NOISE, replicas)
    walk = Walk(path, law, be, count)
    walk.skip(burn_in(law, walk.take(1).x[:, 0]), tick)
    return walk


def record(
    walk: Walk, study: Study, sets: tuple[Nodes, ...], tick: Tick, law: ParameterLaw
) -> tuple[list[Moments], Stretch]:
    """Moments for each node set over draws.steps steps of the walk, and draws.sample evenly spaced draws a chain."""
    draws = study.draws
    wanted = (np.arange(draws.sample) + 1) * draws.steps // draws.sample - 1
    sums = [Accumulator(nodes.features) for nodes in sets]
    kept: list[Stretch] = []
    done = 0
    for length in walk.lengths(draws.steps):
        part = walk.take(length)
        for accumulator, nodes in zip(sums, sets, strict=True):
            accumulate(accumulator, law, nodes, part)
        here = wanted[(wanted >= done) & (wanted < done + length)] - done
        kept.append(Stretch(part.x[:, here], part.z[:, here], part.y[:, here], part.m[:, here]))
        done += length
        tick(draws.chains * length)
    fields = (np.concatenate([getattr(part, name) for part in kept], axis=1) for name in ("x", "z", "y", "m"))
    return [accumulator.result() for accumulator in sums], Stretch(*fields)


def accumulate(accumulator: Accumulator, law: ParameterLaw, nodes: Nodes, part: Stretch) -> None:
    """Add every draw of a stretch."""
    x, m, y = part.x.reshape(-1, law.dimension), part.m.reshape(-1), part.y.reshape(-1)
    moments.add_in_batches(accumulator, lambda rows: law.features(nodes, x[rows], m[rows]), y, nodes.features)


def exact_moments(law: ParameterLaw, atoms: exact.Atoms, sets: tuple[Nodes, ...]) -> list[Moments]:
    """Moments for each node set without drawing."""
    found = []
    for nodes in sets:
        accumulator = Accumulator(nodes.features)

        def features(rows: slice, nodes: Nodes = nodes) -> Array:
            return law.features(nodes, atoms.x[rows], atoms.m[rows])

        moments.add_in_batches(accumulator, features, atoms.y, nodes.features, atoms.weight)
        found.append(accumulator.result())
    return found


# --- couplings -------------------------------------------------------------------------------------------------


def couplings(study: Study, law: ParameterLaw, chain: chains.Chain, be: Backend, index: int, tick: Tick) -> Couplings:
    """Pairs of chains with the same noise, and pairs of memories on one path, each from two starts.

    The chains start from independent stationary states; the memories from 0, as a network does, and from the
    end of their range, E|B|. log_slope is the mean of log|dF/dm| along the stationary memory of the same steps.
    """
    count, steps = study.draws.couplings, study.draws.coupling_steps
    replicas = index * count + np.arange(count, dtype=np.uint32)
    if isinstance(study.chain, Recorded):
        path, distances = chain.paths(be, study.seed, Stream.COUPLING_NOISE, replicas), None
    else:
        path, distances = coupled_chains(study, chain, be, replicas)
    walk = Walk(path, law, be, count)
    walk.skip(burn_in(law, walk.take(1).x[:, 0]), tick)
    part = walk.take(steps)
    tick(0)
    slope = np.abs(law.memory_slope(part.x, part.m))
    starts = (np.zeros(count), np.full(count, law.memory_bound))
    first, second = (law.memory_path(be, part.x, start) for start in starts)
    return Couplings(
        np.mean(np.log(np.maximum(slope, np.finfo(np.float64).tiny)), axis=1),
        log_distance(np.abs(first - second)),
        distances,
    )


def coupled_chains(study: Study, chain: chains.Chain, be: Backend, replicas: Replicas) -> tuple[chains.Path, Array]:
    """The first chain of each pair, gone on from the coupling, and log distances (P, S) after 1 to S steps."""
    beyond = study.draws.blocks * study.draws.chains  # replicas that no block draws
    starts = [
        cast(_HasState, chain.paths(be, study.seed, Stream.DRAW_NOISE, beyond + 2 * replicas + np.uint32(k))).state
        for k in range(2)
    ]
    paths = [chain.paths(be, study.seed, Stream.COUPLING_NOISE, replicas, start=start) for start in starts]
    (x, z, _), (x2, z2, _) = (path.take(study.draws.coupling_steps) for path in paths)
    return paths[0], log_distance(np.sqrt(np.sum((x - x2) ** 2, axis=-1) + np.sum((z - z2) ** 2, axis=-1)))


def log_distance(distance: Array) -> Array:
    """Logarithm of distances (P, S) along steps, NaN from the first step on that is at or below 1e-13."""
    lost = np.logical_or.accumulate(distance <= RESOLVED, axis=1)
    return np.asarray(np.where(lost, np.nan, np.log(np.where(lost, 1.0, distance))))


TAILS = ("", "_check")  # of the variables that belong to the nodes in use, and to those that judge them

# --- files -----------------------------------------------------------------------------------------------------


def put_nodes(file: h5py.File, sets: tuple[Nodes, ...]) -> None:
    """The nodes behind the features, so that the limit uses the very same ones."""
    for nodes, tail in zip(sets, TAILS, strict=False):
        node = "node" + tail
        store.put(file, f"{node}_w", nodes.w, (node, "x"), "1", "quadrature nodes of the law of W")
        store.put(file, f"{node}_weight", nodes.weight, (node,), "1", "weight of each node")
        store.put(file, f"{node}_b", nodes.b, (node,), "1", "E[B | W] at each node")
        store.put(file, f"{node}_b_squared", nodes.b_squared, (node,), "1", "E[B^2 | W] at each node")


def put_moments(file: h5py.File, found: list[Moments]) -> None:
    """Second moments for the node set in use and, if there is one, for the set that judges it."""
    for part, tail in zip(found, TAILS, strict=False):
        feature = "feature" + tail
        store.put(file, f"A{tail}", part.a, (feature, feature + "_"), "1", "E phi phi^T, docs/model.md eq. (28)")
        store.put(file, f"b{tail}", part.b, (feature,), "1", "E phi y, docs/model.md eq. (28)")
    store.put(file, "y2", found[0].y2, (), "1", "E y^2")
    store.put(file, "count", found[0].weight, (), "1", "number of draws, 1 for an exact law")


def put_atoms(file: h5py.File, atoms: exact.Atoms | None) -> None:
    """The stationary law itself, where it is exact: sums over atoms with weights, some of them negative."""
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
    """Log distances by step; NaN where the distance is zero or rounding."""
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
    """The exact factor per step at which the chain forgets, where it is known."""
    if rate is not None:
        store.put(file, "mixing_rate", rate, (), "1", "factor per step at which the chain forgets its start, exact")


SHARED = ("node_", "atom_", "hidden_update", "chain_step", "mixing_rate")  # the same in every block
POOLED = ("A_check", "b_check")  # only their mean over blocks is needed


def merge(study: Study, layout: Layout, identity: str) -> None:
    """All shards, in the order of blocks, as one file draw.h5 with a block dimension."""
    count = block_count(study)
    attrs = {**store.provenance(study), "draw_id": identity, "exact": exact.available(study)}
    parts: dict[str, list[NDArray[np.float64]]] = {}
    about: dict[str, tuple[tuple[str, ...], str, str]] = {}
    for index in range(count):
        path = layout.draw_shard(index, identity)
        with store.open_complete(path, "draw-shard", draw_id=identity, block=index) as shard:
            attrs |= {name: shard.attrs[name] for name in ("backend", "device")}
            for name, data in variables.variables(shard).items():
                if index == 0:
                    about[name] = (variables.dims_of(data), data.attrs["units"], data.attrs["long_name"])
                parts.setdefault(name, []).append(data[()])
    with store.atomic_h5(layout.draw, "draw", attrs) as file:
        for name, blocks in parts.items():
            put_merged(file, name, blocks, *about[name])


def put_merged(
    file: h5py.File, name: str, blocks: list[NDArray[np.float64]], dims: tuple[str, ...], units: str, long_name: str
) -> None:
    """One variable of the merged file: shared, pooled, or stacked over blocks."""
    if dims == (name,) or name.startswith(SHARED):
        store.put(file, name, blocks[0], dims, units, long_name)
    elif name in POOLED:
        store.put(file, name, sum(blocks) / len(blocks), dims, units, long_name)
    else:
        store.put(file, name, np.stack(blocks), ("block", *dims), units, long_name)
