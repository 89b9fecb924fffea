"""The train stage of a study of the recurrent NTK: ensembles of networks of finite width, one shard for each block.

Two kinds of cells: "kernel", empirical kernels at initialisation; "descent", networks trained by full-batch gradient
descent, compared with their linearisations at initialisation.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import h5py
import numpy as np
from numpy.typing import NDArray

from rnnlimits.base.errors import StudyError
from rnnlimits.elman import chunks, plan, world
from rnnlimits.elman.layout import RntkLayout
from rnnlimits.elman.plan import Block, Cell
from rnnlimits.files.store import provenance, put
from rnnlimits.kernels import on_processor, rntk
from rnnlimits.kernels.interface import Array, Backend
from rnnlimits.kernels.rntk import finite
from rnnlimits.kernels.rntk.finite import Columns
from rnnlimits.ranks import sharded
from rnnlimits.ranks.parallel import Tick
from rnnlimits.ranks.sharded import Ensemble, Stage
from rnnlimits.study.elman import RntkStudy

if TYPE_CHECKING:
    from mpi4py import MPI

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
    """The values that all networks of a study share; target: the targets of the sequences trained on.

    columns, device_target: the sequences and the targets as arrays of the back end.
    """

    x: rntk.Batch
    target: Array
    columns: Columns
    device_target: Array

    @classmethod
    def of(cls, study: RntkStudy, be: Backend) -> World:
        """Draw them from the study's seed, on the processor, so that they equal those of the rates stage."""
        near = on_processor(be)
        x, target = world.sequences(study, near), world.targets(study, near)
        return cls(x, target, finite.columns(x, be.array), be.array(target))


@dataclass(frozen=True, eq=False)
class Computed:
    """Variables of a block's shard, NumPy arrays with replicas first, and the time for computing them in seconds."""

    values: dict[str, Array]
    seconds: float

    @classmethod
    def of(cls, study: RntkStudy, be: Backend, shared: World, block: Block, tick: Tick) -> Computed:
        """See `block_values`."""
        started = time.perf_counter()
        return cls(block_values(study, be, shared, block, tick), time.perf_counter() - started)

    def part(self, block: Block, whole: Block) -> Computed:
        """The variables of a block within the computed one, and its share of the time."""
        rows = chunks.place(block, whole)
        values = {name: values[rows] for name, values in self.values.items()}
        return Computed(values, self.seconds / whole.count * block.count)


def run(study: RntkStudy, layout: RntkLayout, pack: str, comm: MPI.Intracomm, be: Backend) -> None:
    """Compute all cells of one pack and write their ensembles. Collective over `comm`.

    Existing shards are checked and kept. Raises StudyError for an unknown pack, and for a shard that is damaged or
    belongs to something else.
    """
    grouped = plan.packs(study)
    if pack not in grouped:
        raise StudyError(f"{study.source}: there is no pack {pack}; allowed: {', '.join(grouped)}")
    sharded.run(comm, stage(study, layout, pack, be))


def block_values(
    study: RntkStudy, be: Backend, shared: World, block: Block, tick: Callable[[int], None] = lambda _: None
) -> dict[str, Array]:
    """Variables of a block's shard, NumPy arrays, computed in chunks of replicas.

    tick(additions and multiplications) reports progress.
    """
    compute = _kernels if block.cell.kind == "kernel" else _descent
    parts = []
    for chunk in chunks.of_block(study, be, block):
        replicas = np.arange(chunk.first, chunk.first + chunk.count, dtype=np.uint32)
        variables, rows = compute(study, be, shared, block.cell, replicas, tick), chunks.place(block, chunk)
        parts.append({name: values[rows] for name, values in variables.items()})
        tick(plan.replica_work(study, block.cell) * len(range(*rows.indices(chunk.count))))
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _kernels(
    study: RntkStudy, be: Backend, shared: World, cell: Cell, replicas: NDArray[np.uint32], tick: Callable[[int], None]
) -> dict[str, Array]:
    network = plan.elman(study, cell)
    weights = world.draw(study, be, network, cell.width, replicas, tick)
    empirical = finite.empirical(network, weights, shared.columns)
    first, second = np.array(list(plan.pairs(study))).T
    return {name: be.numpy(getattr(empirical, name))[:, first, second] for name in ("ntk", "nngp")}


def _descent(
    study: RntkStudy, be: Backend, shared: World, cell: Cell, replicas: NDArray[np.uint32], tick: Callable[[int], None]
) -> dict[str, Array]:
    network, section = plan.elman(study, cell), study.training
    assert section is not None
    weights = world.draw(study, be, network, cell.width, replicas, tick)
    ntk = be.numpy(finite.empirical(network, weights, shared.columns).ntk)
    rate = step_size(study, network, shared)
    outputs: list[Array] = []
    for f in finite.descend(network, weights, shared.columns, shared.device_target, rate, section.steps):
        outputs = [*outputs[:1], be.numpy(f).astype(np.float64)]  # waits for a device: a tick is for finished work
        tick(0)
    linearised = linear_descent(ntk, outputs[0], shared.target, rate, section.steps)
    return {"initial": outputs[0], "network": outputs[-1], "linearised": linearised}


def step_size(study: RntkStudy, network: rntk.Elman, shared: World) -> float:
    """training.rate, divided by the largest eigenvalue of the limit's kernel on the sequences trained on."""
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


# --- shards and ensembles ----------------------------------------------------------------------------------


def stage(study: RntkStudy, layout: RntkLayout, pack: str, be: Backend) -> Stage[Block, World, Computed]:
    """The networks of a pack, an ensemble for each cell."""
    return Stage(
        label=f"train {pack}",
        unit="flop",
        be=be,
        ensembles=lambda: [_ensemble(study, layout, cell) for cell in plan.packs(study)[pack]],
        groups=lambda blocks: chunks.grouped(study, be, blocks),
        size=lambda block: plan.replica_work(study, block.cell) * block.count,
        prepare=lambda: World.of(study, be),
        compute=lambda block, shared, tick, _: Computed.of(study, be, shared, block, tick),
        part=lambda computed, block, whole: computed.part(block, whole),
        write=lambda shard, block, computed: _put(shard, study, block, computed),
        join=sharded.linked_below(layout.root),
    )


def _ensemble(study: RntkStudy, layout: RntkLayout, cell: Cell) -> Ensemble[Block]:
    identity = plan.cell_id(study, cell)
    return Ensemble(
        kind=cell.kind,
        path=layout.networks(cell),
        identity={"cell_id": identity},
        attributes=lambda: _attributes(study, cell, identity),
        blocks=plan.blocks(study, cell),
        shard=lambda block: layout.block_shard(block, identity),
    )


def _put(shard: h5py.File, study: RntkStudy, block: Block, computed: Computed) -> None:
    """The variables of a shard (docs/format.md, "kernel-shard" and "descent-shard")."""
    replica = np.arange(block.first, block.first + block.count)
    put(shard, "replica", replica, ("replica",), "1", "index of the independent network")
    if block.cell.kind == "kernel":
        first, second = np.array(list(plan.pairs(study))).T
        put(shard, "first_sequence", first, ("pair",), "1", "index of the first sequence of the pair")
        put(shard, "second_sequence", second, ("pair",), "1", "index of the second sequence of the pair")
    for name, (dims, long_name) in VARIABLES[block.cell.kind].items():
        put(shard, name, computed.values[name], dims, "1", long_name)
    share = np.full(block.count, computed.seconds / block.count)
    put(shard, "run_seconds", share, ("replica",), "s", "share of the block's run time", volatile=True)


def _attributes(study: RntkStudy, cell: Cell, identity: str) -> dict[str, object]:
    return {
        **provenance(study),
        "cell_id": identity,
        "cell": asdict(cell),
        "width": cell.width,
        "network": asdict(plan.elman(study, cell)),
    }
