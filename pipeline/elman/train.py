"""The train stage of a study of the recurrent NTK: ensembles of networks of finite width, one shard for each block.

Two kinds of cells: "kernel", empirical kernels at initialisation; "descent", networks trained by full-batch gradient
descent, beside their linearisations at initialisation.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from rnnlimits.base.errors import StudyError
from rnnlimits.elman import chunks, plan, world
from rnnlimits.elman.layout import RntkLayout
from rnnlimits.elman.plan import Block, Cell
from rnnlimits.files.ensembles import build_ensemble
from rnnlimits.files.store import atomic_h5, open_complete, provenance, put
from rnnlimits.kernels import on_processor, rntk
from rnnlimits.kernels.problem import Array, Backend
from rnnlimits.kernels.rntk import finite
from rnnlimits.kernels.rntk.finite import Columns
from rnnlimits.ranks.parallel import Ticker, each_block, on_root, together
from rnnlimits.study.elman import RntkStudy

PAIR = ("replica", "pair")
SEQUENCE = ("replica", "sequence")
VARIABLES: dict[str, dict[str, tuple[tuple[str, ...], str]]] = {
    "kernel": {
        "ntk": (PAIR, "empirical tangent kernel at initialisation"),
        "nngp": (PAIR, "empirical covariance kernel at initialisation, sigma_v^2 / n h.h'"),
    },
    "descent": {
        "initial": (SEQUENCE, "output before training"),
        "network": (SEQUENCE, "output after training"),
        "linearised": (SEQUENCE, "output after training of the network linearised at initialisation"),
    },
}


@dataclass(frozen=True)
class World:
    """What all networks of a study share; target: of the sequences trained on.

    columns, wanted: the sequences and the targets as arrays of the back end.
    """

    x: rntk.Batch
    target: Array
    columns: Columns
    wanted: Array

    @classmethod
    def of(cls, study: RntkStudy, be: Backend) -> World:
        """Drawn from the study's seed, on the processor, so that they are those of the rates stage."""
        near = on_processor(be)
        x, target = world.sequences(study, near), world.targets(study, near)
        return cls(x, target, finite.columns(x, be.array), be.array(target))


def run(study: RntkStudy, layout: RntkLayout, pack: str, comm: MPI.Intracomm, be: Backend) -> None:
    """Compute all cells of one pack and write their ensembles. Collective over `comm`.

    Shards that are there already are checked and kept. Raises StudyError for an unknown pack, and for a shard that is
    damaged or belongs to something else.
    """
    grouped = plan.packs(study)
    if pack not in grouped:
        raise StudyError(f"{study.source}: there is no pack {pack}; allowed: {', '.join(grouped)}")
    missing = on_root(comm, lambda: _missing(study, layout, grouped[pack]))
    shared = together(comm, lambda: World.of(study, be))

    groups = chunks.grouped(study, be, missing)

    def work(index: int, tick: Ticker) -> None:
        whole, blocks = groups[index]
        started = time.perf_counter()
        found = block_values(study, be, shared, whole, tick)
        seconds = (time.perf_counter() - started) / whole.count
        for block in blocks:
            own = {name: values[chunks.place(block, whole)] for name, values in found.items()}
            path = layout.block_shard(block, plan.cell_id(study, block.cell))
            write_shard(study, be, block, own, seconds * block.count, path)

    sizes = [plan.replica_work(study, whole.cell) * whole.count for whole, _ in groups]
    each_block(comm, sizes, work, f"train {pack}", "flop")
    on_root(comm, lambda: _write_ensembles(study, layout, grouped[pack]))


def _missing(study: RntkStudy, layout: RntkLayout, cells: Sequence[Cell]) -> list[Block]:
    """The blocks without a shard; a shard that is there must be whole and the right one."""
    missing = []
    for cell in cells:
        identity = plan.cell_id(study, cell)
        for block in plan.blocks(study, cell):
            path = layout.block_shard(block, identity)
            if not path.exists():
                missing.append(block)
                continue
            with open_complete(path, f"{cell.kind}-shard", cell_id=identity, first=block.first, count=block.count):
                pass
    return missing


def block_values(
    study: RntkStudy, be: Backend, shared: World, block: Block, tick: Callable[[int], None] = lambda _: None
) -> dict[str, Array]:
    """Variables of a block's shard, NumPy's arrays, a chunk of replicas at a time.

    tick(additions and multiplications) reports progress.
    """
    compute = _kernels if block.cell.kind == "kernel" else _descent
    parts = []
    for chunk in chunks.of_block(study, be, block):
        replicas = np.arange(chunk.first, chunk.first + chunk.count, dtype=np.uint32)
        found, own = compute(study, be, shared, block.cell, replicas, tick), chunks.place(block, chunk)
        parts.append({name: values[own] for name, values in found.items()})
        tick(plan.replica_work(study, block.cell) * len(range(*own.indices(chunk.count))))
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _kernels(
    study: RntkStudy, be: Backend, shared: World, cell: Cell, replicas: NDArray[np.uint32], tick: Callable[[int], None]
) -> dict[str, Array]:
    network = plan.elman(study, cell)
    weights = world.draw(study, be, network, cell.width, replicas, tick)
    found = finite.empirical(network, weights, shared.columns)
    first, second = np.array(list(plan.pairs(study))).T
    return {name: be.numpy(getattr(found, name))[:, first, second] for name in ("ntk", "nngp")}


def _descent(
    study: RntkStudy, be: Backend, shared: World, cell: Cell, replicas: NDArray[np.uint32], tick: Callable[[int], None]
) -> dict[str, Array]:
    network, section = plan.elman(study, cell), study.training
    assert section is not None
    weights = world.draw(study, be, network, cell.width, replicas, tick)
    ntk = be.numpy(finite.empirical(network, weights, shared.columns).ntk)
    rate = step_size(study, network, shared)
    passed: list[Array] = []
    for f in finite.descend(network, weights, shared.columns, shared.wanted, rate, section.steps):
        passed = [*passed[:1], be.numpy(f).astype(np.float64)]  # which waits for a device: a tick is of work done
        tick(0)
    linearised = linear_descent(ntk, passed[0], shared.target, rate, section.steps)
    return {"initial": passed[0], "network": passed[-1], "linearised": linearised}


def step_size(study: RntkStudy, network: rntk.Elman, shared: World) -> float:
    """training.rate over the largest eigenvalue of the limit's kernel on the sequences trained on."""
    assert study.training is not None
    kernel = np.asarray(rntk.gram(shared.x, network=network, backend="numpy"))
    trained = kernel[: len(shared.target), : len(shared.target)]
    return float(study.training.rate / np.linalg.eigvalsh(trained)[-1])


def linear_descent(kernel: Array, f: Array, target: Array, rate: float, steps: int) -> Array:
    """f (R, S) after `steps` steps f -= rate K[:, trained] (f[trained] - target); kernel (R, S, S) or (S, S)."""
    count = len(target)
    for _ in range(steps):
        f = f - rate * (kernel[..., :, :count] @ (f[:, :count] - target)[..., None])[..., 0]
    return f


def linear_flow(kernel: Array, f: Array, target: Array, time: float) -> Array:
    """f (R, S) after gradient flow for `time`; kernel (S, S), positive definite on the sequences trained on."""
    count = len(target)
    values, vectors = np.linalg.eigh(kernel[:count, :count])
    pulled = (-np.expm1(-time * values) / values) * ((f[:, :count] - target) @ vectors)
    return np.asarray(f - pulled @ vectors.T @ kernel[:count, :])


# --- files -------------------------------------------------------------------------------------------------


def write_shard(
    study: RntkStudy, be: Backend, block: Block, found: dict[str, Array], seconds: float, path: Path
) -> None:
    """Write the block's shard, complete or not at all (docs/format.md, "kernel-shard" and "descent-shard")."""
    path.parent.mkdir(parents=True, exist_ok=True)
    where = {"first": block.first, "count": block.count, "backend": be.name, "device": be.device}
    kind = block.cell.kind
    with atomic_h5(path, f"{kind}-shard", {**_cell_attributes(study, block.cell), **where}) as shard:
        replica = np.arange(block.first, block.first + block.count)
        put(shard, "replica", replica, ("replica",), "1", "index of the independent network")
        if kind == "kernel":
            first, second = np.array(list(plan.pairs(study))).T
            put(shard, "first_sequence", first, ("pair",), "1", "index of the first sequence of the pair")
            put(shard, "second_sequence", second, ("pair",), "1", "index of the second sequence of the pair")
        for name, (dims, long_name) in VARIABLES[kind].items():
            put(shard, name, found[name], dims, "1", long_name)
        share = np.full(block.count, seconds / block.count)
        put(shard, "run_seconds", share, ("replica",), "s", "share of the block's run time", volatile=True)


def _cell_attributes(study: RntkStudy, cell: Cell) -> dict[str, object]:
    return {
        **provenance(study),
        "cell_id": plan.cell_id(study, cell),
        "cell": asdict(cell),
        "width": cell.width,
        "network": asdict(plan.elman(study, cell)),
    }


def _write_ensembles(study: RntkStudy, layout: RntkLayout, cells: Sequence[Cell]) -> None:
    for cell in cells:
        identity = plan.cell_id(study, cell)
        shards = [layout.block_shard(block, identity) for block in plan.blocks(study, cell)]
        path = layout.networks(cell)
        path.parent.mkdir(parents=True, exist_ok=True)
        attrs = _cell_attributes(study, cell)
        build_ensemble(layout.root, shards, path, f"{cell.kind}-ensemble", attrs, {"cell_id": identity})
