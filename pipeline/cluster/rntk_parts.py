"""The parts of a study of the recurrent NTK: its packs, each the networks of one kind and width."""

from __future__ import annotations

import numpy as np

from pipeline.cluster.part import BLOCK_SECONDS, Part, with_base
from pipeline.cluster.site import Site
from pipeline.rntk import plan
from pipeline.rntk.layout import RntkLayout
from pipeline.rntk.networks import CHUNK
from pipeline.rntk.plan import Cell
from pipeline.study import RntkStudy

# Arrays that are there at once, counted in pipeline.rntk.networks and seen in its peaks of memory.
LAYER_ARRAYS = 4  # of states at all columns, of each layer: before, after, slope, delta
OTHER_ARRAYS = 4  # of the same shape, while one layer is computed
GRAMS = 6  # of all columns with all columns, in double precision
DRAWN = 8  # bytes of an entry while one matrix is drawn, in double precision


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
    """Memory of the networks of a cell that are worked on at a time: weights, states at all columns, Grams."""
    n, layers, columns = cell.width, plan.elman(study, cell).layers, sum(study.sequences.lengths)
    replicas = max(1, min(CHUNK // n**2, plan.block_size(study, cell), cell.replicas))
    word = np.dtype(study.precision).itemsize
    passing = DRAWN if cell.kind == "kernel" else 2 * word  # a matrix's update, before and after it is scaled
    weights = n**2 * (word * (2 * layers - 1) + passing)
    states = n * columns * word * (LAYER_ARRAYS * layers + OTHER_ARRAYS)
    return 1e-6 * replicas * (weights + states + 8 * GRAMS * columns**2)
