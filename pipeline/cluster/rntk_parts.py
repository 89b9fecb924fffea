"""The parts of a study of the recurrent NTK: its packs, each the networks of one kind and width."""

from __future__ import annotations

from rnnlimits.cluster.part import BLOCK_SECONDS, Part, with_base
from rnnlimits.cluster.site import Site
from rnnlimits.elman import plan
from rnnlimits.elman.chunks import HOST_ENTRIES
from rnnlimits.elman.layout import RntkLayout
from rnnlimits.elman.plan import Cell
from rnnlimits.study import RntkStudy


def parts(study: RntkStudy, layout: RntkLayout, site: Site) -> tuple[Part, ...]:
    """Every pack, in the order of the plan; none where the study has no networks."""
    return tuple(_pack(study, layout, site, name, cells) for name, cells in plan.packs(study).items())


def _pack(study: RntkStudy, layout: RntkLayout, site: Site, name: str, cells: tuple[Cell, ...]) -> Part:
    speed = site.flop_per_second(study.precision)
    each = [
        plan.replica_work(study, cell) * block.count / speed + BLOCK_SECONDS
        for cell in cells
        for block in plan.blocks(study, cell)
    ]
    outputs = tuple(layout.networks(cell) for cell in cells)
    identity = tuple((plan.cell_id(study, cell), cell.replicas) for cell in cells)
    megabytes = max(chunk_megabytes(study, cell) for cell in cells)
    return Part(name, outputs, identity, sum(each), max(each), with_base(megabytes))


def chunk_megabytes(study: RntkStudy, cell: Cell) -> float:
    """Memory of the networks of a cell that a processor works on at a time."""
    replicas = max(1, min(HOST_ENTRIES // cell.width**2, plan.block_size(study, cell), cell.replicas))
    return 1e-6 * replicas * plan.replica_bytes(study, cell)
