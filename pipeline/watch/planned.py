"""What a study is going to write: its parts, their cells, and the blocks of each with the work behind them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from rnnlimits.elman import plan as rntk_plan
from rnnlimits.elman.layout import RntkLayout
from rnnlimits.study import AnyStudy, RntkStudy, Study
from rnnlimits.training import plan
from rnnlimits.training.layout import Layout

DRAWS, STEPS, UNIT_STEPS, FLOP = "draws", "steps", "unit-steps", "flop"  # units, as progress in logs names them


@dataclass(frozen=True)
class Planned:
    """One cell: where its shards and saved states lie, and each shard's file name with the work behind it.

    work: in `unit`s of the part. steps: that a block of it takes, which saved states count; 0 without saved states.
    """

    name: str
    shards: Path
    states: Path
    work: Mapping[str, int]
    steps: int


@dataclass(frozen=True)
class Part:
    """What one lock and one progress line are about: the draws, the twins of one K, a pack of cells.

    label: how logs call it; outputs: the files that are written when all blocks are there.
    """

    name: str
    label: str
    unit: str
    cells: tuple[Planned, ...]
    outputs: tuple[Path, ...]

    @property
    def work(self) -> int:
        """Of all blocks."""
        return sum(sum(cell.work.values()) for cell in self.cells)


@dataclass(frozen=True)
class Programme:
    """All parts in the order of work, and the stages after them, each with the files that it leaves."""

    parts: tuple[Part, ...]
    stages: Mapping[str, tuple[Path, ...]]


def of(study: AnyStudy, root: Path) -> Programme:
    """The programme of a study whose results folder is `root`."""
    if isinstance(study, RntkStudy):
        layout = RntkLayout(root)
        rates = (layout.kernels, layout.rates_h5, layout.rates_csv)
        return Programme(
            tuple(_networks(study, layout)), {"rates": rates, "figures": (layout.figures,), "report": (layout.report,)}
        )
    ours = Layout(root)
    parts = (_draw(study, ours), *_twins(study, ours), *_packs(study, ours))
    stages = {
        "limit": (ours.limit,),
        "poisson": (ours.poisson,),
        "rates": (ours.rates_h5, ours.rates_csv),
        "figures": (ours.figures,),
        "report": (ours.report,),
    }
    return Programme(parts, stages)


def _draw(study: Study, layout: Layout) -> Part:
    identity = plan.draw_id(study)
    paths = [layout.draw_shard(index, identity) for index in range(plan.draw_blocks(study))]
    work = {path.name: plan.draw_steps(study) for path in paths}
    folder = layout.draw_folder(identity)
    cell = Planned("draw", folder, layout.states / folder.name, work, 0)
    return Part("draw", "draw", DRAWS, (cell,), (layout.draw,))


def _twins(study: Study, layout: Layout) -> Iterator[Part]:
    for twin in plan.twins(study):
        identity = plan.twin_id(study, twin)
        blocks = plan.twin_blocks(study, twin)
        work = {layout.twin_shard(block, identity).name: plan.twin_steps(block, study) for block in blocks}
        steps = round(twin.steps_per_time * study.training.horizon)
        folder, name = layout.twin_folder(twin, identity), f"twin-K{twin.steps_per_time:05d}"
        cell = Planned(name, folder, layout.twin_state_folder(twin, identity), work, steps)
        yield Part(name, "twin", STEPS, (cell,), (layout.twin(twin),))


def _packs(study: Study, layout: Layout) -> Iterator[Part]:
    for pack, members in plan.packs(study).items():
        cells = tuple(_cell(study, layout, cell) for cell in members)
        outputs = tuple(layout.ensemble(cell) for cell in members)
        yield Part(f"train-{pack}", f"train {pack}", UNIT_STEPS, cells, outputs)


def _cell(study: Study, layout: Layout, cell: plan.Cell) -> Planned:
    identity = plan.cell_id(study, cell)
    blocks = plan.blocks(study, cell)
    work = {layout.shard(block, identity).name: plan.unit_steps(block, study) for block in blocks}
    steps = round(cell.steps_per_time * study.training.horizon)
    name = f"{cell.pack} {cell.name}"
    return Planned(name, layout.shard_folder(cell, identity), layout.state_folder(cell, identity), work, steps)


def _networks(study: RntkStudy, layout: RntkLayout) -> Iterator[Part]:
    for pack, members in rntk_plan.packs(study).items():
        cells = tuple(_network(study, layout, cell) for cell in members)
        outputs = tuple(layout.networks(cell) for cell in members)
        yield Part(f"train-{pack}", f"train {pack}", FLOP, cells, outputs)


def _network(study: RntkStudy, layout: RntkLayout, cell: rntk_plan.Cell) -> Planned:
    identity = rntk_plan.cell_id(study, cell)
    each = rntk_plan.replica_work(study, cell)
    blocks = rntk_plan.blocks(study, cell)
    work = {layout.block_shard(block, identity).name: each * block.count for block in blocks}
    folder = layout.cell_shards(cell, identity)
    return Planned(f"{cell.pack} {cell.network}", folder, layout.states / folder.name, work, 0)
