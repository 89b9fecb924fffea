"""What a run of a study of trainings takes on this machine: parts as a pilot measured them, steps by their counts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from rnnlimits.plan.forecast import Item, Left, shared
from rnnlimits.plan.parts import Part, Step
from rnnlimits.plan.starts import Starts, is_due
from rnnlimits.study import Study
from rnnlimits.training import parts, plan
from rnnlimits.training.layout import Layout
from rnnlimits.training.leading import paths_of
from rnnlimits.training.pilot import Pilot

WORK = {
    "draw": "draws",
    "twin": "twins",
    "rich": "rich",
    "tangents": "tangents",
    "train": "trainings",
}  # kinds of items
UNITS = {"draw": "blocks", "train": "networks"}  # that are counted; otherwise paths

# Seconds on the machine of benchmarks/README.md, "What a run costs".
AVERAGES = 3.0  # test functions of the chain, and their variances, in poisson
SCORES = 0.85  # of the time of draws: the scores along as many of them
LEADING = 0.15  # for each K of twins
LIMIT, MODES = 0.04, 2e-9  # of the limit; for each block and F^3 features
# Each for a point, and for each shard that is read; rates also for each independent network of a point.
RATES, RATES_SHARD, NETWORK = 0.012, 2.5e-3, 9e-6
FIGURES, FIGURES_SHARD, FIGURE = 0.01, 2.2e-3, 0.25  # and for each figure
REPORT, REPORT_SHARD, PAGE = 3e-3, 1.8e-3, 0.3  # and for the page


class Size(NamedTuple):
    """A block: networks or paths, units of each, steps, depth."""

    members: int
    units: int
    steps: int
    depth: int = 0


def items(study: Study, layout: Layout, pilot: Pilot, starts: Starts, steps: Sequence[Step], left: Left) -> list[Item]:
    """All pieces of a run that makes what is missing of the parts, and the steps; left: whether a file is missing."""
    every = parts.parts(study, layout)
    found = [item for part in every for item in _of_part(study, part, pilot, left)]
    if not found and not any(left(path) for step in steps for path in step.paths):
        return []
    shards = sum(len(part.blocks) for part in every)
    return [*starts.items(bool(found), len(steps)), *found, *_of_steps(study, pilot, starts, shards)]


# --- parts -----------------------------------------------------------------------------------------------------


def _of_part(study: Study, part: Part, pilot: Pilot, left: Left) -> Iterator[Item]:
    """The work of the missing blocks of a part, their shards, and the joins; nothing if all files are there."""
    name = part.command if part.command in WORK else part.name
    kind, files, unit = WORK[name], pilot.files[name], UNITS.get(name, "paths")
    due = [one for one in zip(part.ensembles, _sizes(study, part), strict=True) if is_due(one[0], left)]
    if not due:
        return
    sizes = [size for of, sizes in due for block, size in zip(of.blocks, sizes, strict=True) if left(block.path)]
    lines = [pilot.lines[name, size.depth] for size in sizes]
    seconds = [line.seconds(size.members, size.units, size.steps) for line, size in zip(lines, sizes, strict=True)]
    yield Item(kind, files.prepare, 0, unit, each=True)
    yield shared(kind, seconds, sum(size.members for size in sizes), unit)
    yield shared("shards", [files.shard] * len(sizes), len(sizes), "shards")
    joined = sum(files.ensemble + files.joined * (len(of.blocks) - 1) for of, _ in due)
    yield Item("joins", joined, len(due), "files", each=True)


def _sizes(study: Study, part: Part) -> list[list[Size]]:
    """The size of every block of the ensembles of a part, in their order."""
    if part.command == "draw":
        return [[Size(1, 0, study.draws.steps)] * plan.draw_blocks(study)]
    if part.command == "twin":
        twins = (twin for twin in plan.twins(study) if part.option == ("steps", twin.steps_per_time))
        return [[_path_size(study, block) for block in plan.twin_blocks(study, twin)] for twin in twins]
    if part.name == "rich":
        return [[_path_size(study, block) for block in plan.rich_blocks(study, of)] for of in plan.rich_twins(study)]
    if part.name == "tangents":
        every = plan.tangent_twins(study)
        return [[_path_size(study, block) for block in plan.tangent_blocks(study, of)] for of in every]
    return [[_size(study, block) for block in plan.blocks(study, cell)] for cell in plan.packs(study)[part.name]]


def _size(study: Study, block: plan.Block) -> Size:
    cell = block.cell
    return Size(block.count, cell.width, round(cell.steps_per_time * study.training.horizon), cell.depth)


def _path_size(study: Study, block: plan.TwinBlock | plan.RichBlock) -> Size:
    depth = block.twin.depth if isinstance(block.twin, plan.RichTwin) else 0
    return Size(block.count, 1, round(block.twin.steps_per_time * study.training.horizon), depth)


# --- steps -----------------------------------------------------------------------------------------------------


def _of_steps(study: Study, pilot: Pilot, starts: Starts, shards: int) -> list[Item]:
    """The steps, without the starts of their processes; shards: how many they read."""
    slow = starts.slowness
    points, networks, pictures = _points(study)
    rates = RATES * points + RATES_SHARD * shards + NETWORK * networks
    figures = FIGURES * points + FIGURES_SHARD * shards + FIGURE * pictures
    return [
        Item("limit", slow * (LIMIT + MODES * plan.draw_blocks(study) * _features(study) ** 3), beside=True),
        Item("poisson", _poisson(study, pilot, slow)),
        Item("rates", slow * rates, points, "points"),
        Item("figures", slow * figures, pictures, "figures"),
        Item("report", slow * (REPORT * points + REPORT_SHARD * shards + PAGE)),
    ]


def _features(study: Study) -> int:
    return study.limit.nodes * (1 + study.dimension)


def _poisson(study: Study, pilot: Pilot, slow: float) -> float:
    """Long-run variances of scores, along as many draws, and of test functions; the leading noise of twins."""
    if not study.chain.noisy:
        return 0.0
    total = slow * AVERAGES
    if not study.chain.exact:
        line = pilot.lines["draw", 0]
        total += SCORES * plan.draw_blocks(study) * line.seconds(1, 0, study.draws.steps)
    for twin in plan.twins(study):
        steps = round(twin.steps_per_time * study.training.horizon)
        total += slow * LEADING + pilot.lines["twin", 0].of_steps(paths_of(twin), 1, steps)
    return total


def _points(study: Study) -> tuple[int, int, int]:
    """About how many points there are, how many independent networks or pairs behind them all, and how many figures."""
    has_twins, has_rich = bool(plan.twins(study)), bool(plan.rich_twins(study))
    quantities, pictures = 14 + 5 * has_twins + 4 * has_rich, 19 + 6 * has_twins + 8 * has_rich
    members = 2 if study.training.antithetic else 1
    cells = plan.cells(study)
    return quantities * len(cells), quantities * sum(cell.replicas // members for cell in cells), pictures


def ns_per_unit_step(study: Study, pilot: Pilot) -> float:
    """Nanoseconds for one unit in one step, paths included, on average over the trainings of a study."""
    cells, seconds = plan.cells(study), 0.0
    for cell in cells:
        (first, *_), steps = plan.blocks(study, cell), round(cell.steps_per_time * study.training.horizon)
        seconds += (
            cell.replicas / first.count * pilot.lines["train", cell.depth].of_steps(first.count, cell.width, steps)
        )
    return 1e9 * seconds / sum(plan.unit_steps(cell, study) for cell in cells)
