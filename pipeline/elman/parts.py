"""The parts of a study of the recurrent NTK: its packs, each the networks of one kind and width."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from rnnlimits.elman import plan
from rnnlimits.elman.chunks import HOST_ENTRIES
from rnnlimits.elman.layout import RntkLayout
from rnnlimits.elman.plan import Cell, Kind
from rnnlimits.plan.files import ENSEMBLES, JOINED, MACHINE, RANGE
from rnnlimits.plan.parts import Block, Ensemble, FileKind, Output, Part
from rnnlimits.study import RntkStudy

if TYPE_CHECKING:  # importing MPI starts it
    from mpi4py import MPI

    from rnnlimits.kernels.interface import Backend

_NETWORK = ("cell_id", "cell", "width", "network")
_GRAM = ("gram_id", "network", "precision")
SHARDS: dict[Kind, FileKind] = {kind: FileKind(f"{kind}-shard", (*_NETWORK, *MACHINE, *RANGE)) for kind in plan.KINDS}
OUTPUTS: dict[Kind, FileKind] = {
    kind: FileKind(f"{kind}-ensemble", (*_NETWORK, *JOINED), caption=ENSEMBLES, folder=kind) for kind in plan.KINDS
}
FILES = (*SHARDS.values(), *OUTPUTS.values())
# A matrix that belongs to a user, not to a study.
GRAM_FILES = (
    FileKind("gram-shard", (*_GRAM, "backend", *RANGE), is_of_study=False),
    FileKind("gram-ensemble", (*_GRAM, *JOINED), "gram.h5", is_of_study=False),
)


def parts(study: RntkStudy, layout: RntkLayout) -> tuple[Part, ...]:
    """Every pack, in the order of the plan; empty if the study has no networks."""
    return tuple(_pack(study, layout, name, cells) for name, cells in plan.packs(study).items())


def _pack(study: RntkStudy, layout: RntkLayout, name: str, cells: tuple[Cell, ...]) -> Part:
    return Part(
        name=name,
        label=f"train {name}",
        unit="flop",
        identity=tuple((plan.cell_id(study, cell), cell.replicas) for cell in cells),
        ensembles=tuple(_ensemble(study, layout, cell) for cell in cells),
        run=partial(_run, study, layout, name),
        command="train",
        option=("pack", name),
        operation="flop",
        precision=study.precision,
        megabytes=max(chunk_megabytes(study, cell) for cell in cells),
    )


def _ensemble(study: RntkStudy, layout: RntkLayout, cell: Cell) -> Ensemble:
    identity, each = plan.cell_id(study, cell), plan.replica_work(study, cell)
    blocks = plan.blocks(study, cell)
    return Ensemble(
        name=f"{cell.pack} {cell.network}",
        output=Output(layout.networks(cell), OUTPUTS[cell.kind]),
        shard=SHARDS[cell.kind],
        identity=identity,
        blocks=tuple(Block(layout.block_shard(b, identity), None, each * b.count, each * b.count) for b in blocks),
        replicas=cell.replicas,
        cell=cell,
        bytes=plan.output_bytes(cell, study),
    )


def _run(study: RntkStudy, layout: RntkLayout, pack: str, comm: MPI.Intracomm, be: Backend) -> None:
    from rnnlimits.elman import train

    train.run(study, layout, pack, comm, be)


def chunk_megabytes(study: RntkStudy, cell: Cell) -> float:
    """Memory for the networks of a cell that a processor works on at a time."""
    replicas = max(1, min(HOST_ENTRIES // cell.width**2, plan.block_size(study, cell), cell.replicas))
    return 1e-6 * replicas * plan.replica_bytes(study, cell)
