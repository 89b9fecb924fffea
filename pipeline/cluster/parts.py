"""The parts of a study: draws, twins of one K, packs of trainings; or of an rntk study, its packs of networks."""

from __future__ import annotations

from rnnlimits.cluster import rntk_parts
from rnnlimits.cluster.part import BLOCK_SECONDS, Part, with_base
from rnnlimits.cluster.site import Site
from rnnlimits.elman.layout import RntkLayout
from rnnlimits.kernels import launch
from rnnlimits.study import AnyStudy, RntkStudy, Study
from rnnlimits.training import plan
from rnnlimits.training.checks import MOST_FEATURES
from rnnlimits.training.layout import Layout
from rnnlimits.training.plan import Cell, Twin

DRAW = "draw"
TWIN = "twin-K"

# Measured on one core, as unit-steps in double precision: a draw or a twin's step, for each of its features.
DRAW_FEATURE = 30.0
TWIN_FEATURE = 4.0

PATH_STEPS = 1024  # of a path that a twin holds at a time


def parts(study: AnyStudy, layout: Layout, site: Site) -> tuple[Part, ...]:
    """Every part, in the order of work: draws, twins by K, packs by width."""
    if isinstance(study, RntkStudy):
        return rntk_parts.parts(study, RntkLayout(layout.root), site)
    return (
        _draw(study, layout, site),
        *(_twin(study, layout, site, each) for each in plan.twins(study)),
        *(_pack(study, layout, site, name, cells) for name, cells in plan.packs(study).items()),
    )


def _draw(study: Study, layout: Layout, site: Site) -> Part:
    count = plan.draw_blocks(study)
    features = study.limit.nodes * (1 + study.dimension)
    block = plan.draw_steps(study) * features * DRAW_FEATURE / site.speed.float64 + BLOCK_SECONDS
    megabytes = with_base(8e-6 * min(features, MOST_FEATURES) ** 2 * (4 + count))
    return Part(DRAW, (layout.draw,), plan.draw_id(study), count * block, block, megabytes)


def _twin(study: Study, layout: Layout, site: Site, which: Twin) -> Part:
    blocks = plan.twin_blocks(study, which)
    features = study.limit.nodes * (1 + study.dimension)
    each = [plan.twin_steps(b, study) * features * TWIN_FEATURE / site.speed.float64 + BLOCK_SECONDS for b in blocks]
    path = 8e-6 * blocks[0].count * (features + PATH_STEPS * (4 + study.dimension))
    identity = (plan.twin_id(study, which), which.paths)
    name = f"{TWIN}{which.steps_per_time:05d}"
    return Part(name, (layout.twin(which),), identity, sum(each), max(each), with_base(path))


def _pack(study: Study, layout: Layout, site: Site, name: str, cells: tuple[Cell, ...]) -> Part:
    speed = site.speed.of(study.precision)
    each = [plan.unit_steps(b, study) / speed + BLOCK_SECONDS for cell in cells for b in plan.blocks(study, cell)]
    outputs = tuple(layout.ensemble(cell) for cell in cells)
    identity = tuple((plan.cell_id(study, cell), cell.replicas) for cell in cells)
    megabytes = max(state_megabytes(study, cell) for cell in cells)
    return Part(name, outputs, identity, sum(each), max(each), with_base(megabytes))


def state_megabytes(study: Study, cell: Cell) -> float:
    """Memory that the networks of one block take, and what they are looked at with."""
    words = launch.words_per_unit(plan.kernel_training(study, cell))
    replicas = study.training.replicas_per_block
    values = len(study.training.checkpoints) * study.probes.count * (study.probes.length + 2)
    return 1e-6 * replicas * (4 * words * cell.width + 8 * values)
