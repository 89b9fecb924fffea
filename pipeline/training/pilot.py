"""How long the parts of a study take on this machine, from a few seconds of the same work: blocks with few steps.

A block takes a time before and after its steps, and a time for each step. Both are sums of a constant and of terms that
grow with its networks, or paths, and with their units; these are fitted to blocks of different sizes. The shards of
these blocks are written and joined in a temporary folder.
"""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

from rnnlimits.base import progress
from rnnlimits.base.errors import StudyError
from rnnlimits.kernels.interface import Backend
from rnnlimits.ranks import sharded
from rnnlimits.study import Study
from rnnlimits.training import draw, plan, rich, tangents, train, twin
from rnnlimits.training.layout import Layout
from rnnlimits.training.plan import Block, PathBlock, RichTwin

Array = NDArray[np.float64]
Clock = Callable[[], float]

FEWEST = 32  # steps of a small block, about
WIDEST = 65536  # beyond, the time of a unit-step hardly changes, but memory would
UNITS = 2**15  # of all networks of a block, about
REPEATS, ENOUGH = 3, 0.2  # how often a block is computed; seconds after which it is not computed again
JOINED = 4  # shards of the ensemble from which the time for another shard follows


@dataclass(frozen=True, eq=False)
class Line:
    """Seconds of a block: fixed @ terms, and step @ terms for each step; terms: 1, members, members times units."""

    fixed: Array
    step: Array

    def seconds(self, members: int, units: int, steps: float) -> float:
        """Of a block of so many networks or paths, with so many units each."""
        return float(_terms(members, units) @ self.fixed) + self.of_steps(members, units, steps)

    def of_steps(self, members: int, units: int, steps: float) -> float:
        """Of its steps alone."""
        return float(steps * (_terms(members, units) @ self.step))


def _terms(members: int, units: int) -> Array:
    return np.array([1.0, members, members * units])


@dataclass(frozen=True)
class Files:
    """Seconds to prepare a stage, to write a shard, to make an ensemble of one shard, and to join another one."""

    prepare: float = 0.0
    shard: float = 0.0
    ensemble: float = 0.0
    joined: float = 0.0


@dataclass(frozen=True)
class Pilot:
    """What was measured: of blocks by kind and depth (draws and twins: 0), of files by kind."""

    lines: Mapping[tuple[str, int], Line]
    files: Mapping[str, Files]


class Point(NamedTuple):
    """A measured size of blocks: networks or paths, units of each, seconds beside the steps, seconds of a step."""

    members: int
    units: int
    fixed: float
    step: float


class _Kind(NamedTuple):
    """A kind of work: sizes (members, units) to measure; compute: the result of a block, from its size, K and prepared.

    horizon: steps of a block are K times it.
    """

    name: str
    depth: int
    stage: sharded.Stage[Any, Any, Any]
    sizes: Sequence[tuple[int, int]]
    compute: Callable[[int, int, int, Any], Any]
    horizon: float


def measure(study: Study, be: Backend) -> Pilot:
    """Compute small blocks of every kind, and write and join their shards in a temporary folder.

    Raises StudyError if there can be no such folder.
    """
    try:
        folder = tempfile.TemporaryDirectory(prefix="rnnlimits-plan-")
    except OSError as error:
        raise StudyError(
            f"TMPDIR: no temporary folder ({error.strerror}); set it to one that can be written"
        ) from error
    with folder as place:
        return _measured(_kinds(study, be, Layout.of(study, Path(place))), be.on_device)


def _measured(kinds: Iterable[_Kind], on_device: bool) -> Pilot:
    clock = time.perf_counter if on_device else time.process_time
    lines, files = dict[tuple[str, int], Line](), dict[str, Files]()
    for kind in kinds:
        progress.now(f"plan: timing small blocks of {kind.name}")
        before = clock()
        prepared = kind.stage.prepare()
        seconds = clock() - before
        lines[kind.name, kind.depth] = line([_point(kind, *size, prepared, clock) for size in kind.sizes])
        if kind.name not in files:
            files[kind.name] = _files(kind, prepared, seconds, clock)
    return Pilot(lines, files)


# --- what is measured ------------------------------------------------------------------------------------------


def _kinds(study: Study, be: Backend, layout: Layout) -> Iterator[_Kind]:
    yield _draws(study, be, layout)
    yield from _trainings(study, be, layout)
    if plan.twins(study):
        yield _twins(study, be, layout)
    yield from _rich(study, be, layout)
    yield from _tangents(study, be, layout)


def _draws(study: Study, be: Backend, layout: Layout) -> _Kind:
    def compute(_: int, __: int, steps: int, ___: None) -> draw.Drawn:
        few = study.draws.model_copy(update={"steps": steps, "sample": min(study.draws.sample, steps)})
        return draw.draw_block(study.model_copy(update={"draws": few}), be, 0)

    return _Kind("draw", 0, draw.stage(study, layout, be), [(1, 0)], compute, 1.0)


def _trainings(study: Study, be: Backend, layout: Layout) -> Iterator[_Kind]:
    cells, name = plan.cells(study), next(iter(plan.packs(study)))
    stage = train.stage(study, layout, name, be)
    for depth in sorted({cell.depth for cell in cells}):
        mine = [cell for cell in cells if cell.depth == depth]

        def compute(count: int, width: int, k: int, probes: Any, cell: plan.Cell = mine[0]) -> train.Trained:
            return train.train_block(
                study, be, Block(replace(cell, width=width, steps_per_time=k), 0, count), probes, _ignored
            )

        yield _Kind("train", depth, stage, _sizes(study, be, mine), compute, study.training.horizon)


def _sizes(study: Study, be: Backend, cells: Sequence[plan.Cell]) -> list[tuple[int, int]]:
    """Networks and widths: the smallest width, one in the middle, the largest; fewer networks of large ones."""
    every = sorted({min(cell.width, WIDEST) for cell in cells})
    size = max(min(plan.block_size(study, cell), cell.replicas) for cell in cells)
    chosen = sorted({every[0], every[len(every) // 2], every[-1]})
    found = [(size if be.on_device else max(2, min(size, UNITS // width)), width) for width in chosen]
    found = [(count - count % 2 if study.training.antithetic else count, width) for count, width in found]
    return list(dict.fromkeys([*found, (min(2, size), every[0])]))


def _twins(study: Study, be: Backend, layout: Layout) -> _Kind:
    stage = twin.stage(study, layout, plan.twins(study)[:1], be)

    def compute(paths: int, _: int, k: int, features: Any) -> twin.Followed:
        return twin.follow_block(study, be, PathBlock(plan.Twin(k, paths), 0, paths), features, _ignored)

    most = study.training.paths_per_block
    return _Kind("twin", 0, stage, _counts(most), compute, study.training.horizon)


def _rich(study: Study, be: Backend, layout: Layout) -> Iterator[_Kind]:
    every, stage = plan.rich_twins(study), rich.stage(study, layout, be)
    for depth in sorted({one.depth for one in every}):
        first = next(one for one in every if one.depth == depth)

        def compute(paths: int, _: int, k: int, histories: Any, of: RichTwin = first) -> rich.Rich:
            return rich.follow_block(study, be, _paths(of, k, paths), histories, _ignored)

        yield _Kind("rich", depth, stage, _counts(8), compute, study.training.horizon)


def _tangents(study: Study, be: Backend, layout: Layout) -> Iterator[_Kind]:
    every, stage = plan.tangent_twins(study), tangents.stage(study, layout, be)
    for depth in sorted({one.depth for one in every}):
        first = next(one for one in every if one.depth == depth)

        def compute(paths: int, _: int, k: int, histories: Any, of: RichTwin = first) -> list[tangents.Response]:
            return tangents.follow_block(study, be, _paths(of, k, paths), histories, _ignored)

        yield _Kind("tangents", depth, stage, _counts(2), compute, study.training.horizon)


def _paths(of: RichTwin, k: int, paths: int) -> PathBlock[RichTwin]:
    return PathBlock(replace(of, steps_per_time=k, paths=paths), 0, paths)


def _counts(most: int) -> list[tuple[int, int]]:
    """Numbers of paths, for work whose units do not vary."""
    return [(paths, 1) for paths in sorted({1, most})]


def _ignored(_: int) -> None:
    """Progress of a block that only counts for its time."""


# --- clocks ----------------------------------------------------------------------------------------------------


def _point(kind: _Kind, members: int, units: int, prepared: Any, clock: Clock) -> Point:
    """Blocks of one size with few steps, then with ever more, until these take as long as the rest."""
    few = more = _few_steps(kind)

    def seconds(k: int, repeats: int = REPEATS) -> float:
        return _seconds(lambda: kind.compute(members, units, k, prepared), clock, repeats)

    seconds(few, 1)  # compiles
    short, long = seconds(few), 0.0
    while long < min(2 * short, ENOUGH):
        more *= 4 if short < ENOUGH else 2
        long = seconds(more, 1)
    if long < ENOUGH:
        long = seconds(more)
    steps = round(few * kind.horizon)
    step = max(0.0, (long - short) / (round(more * kind.horizon) - steps))
    return Point(members, units, max(0.0, short - step * steps), step)


def _few_steps(kind: _Kind) -> int:
    """K of a small block."""
    return max(1, math.ceil(FEWEST / kind.horizon))


def _seconds(act: Callable[[], Any], clock: Clock, repeats: int) -> float:
    """The median of the seconds of some repeats, fewer if they take long."""
    found = list[float]()
    while len(found) < repeats and sum(found) < ENOUGH:
        before = clock()
        act()
        found.append(clock() - before)
    return median(found)


def line(points: Sequence[Point]) -> Line:
    """The sums of terms, none of them negative, that fit all points best, relative to what was measured."""
    terms = np.array([_terms(one.members, one.units) for one in points])

    def fitted(seconds: Array) -> Array:
        weight = 1 / np.maximum(seconds, 1e-12)
        return np.asarray(nnls(terms * weight[:, None], seconds * weight)[0])

    return Line(*(fitted(np.array([getattr(one, name) for one in points])) for name in ("fixed", "step")))


# --- files -----------------------------------------------------------------------------------------------------


def _files(kind: _Kind, prepared: Any, prepare: float, clock: Clock) -> Files:
    """Write one result as several shards of the first ensemble of a kind, and join one of them, and all."""
    (members, units), stage = kind.sizes[0], kind.stage
    result, ensemble = kind.compute(members, units, _few_steps(kind), prepared), stage.ensembles()[0]
    blocks, written, seconds = _few(ensemble.blocks, members), dict[Path, Any](), list[float]()
    for block in blocks:
        before = clock()
        shard = sharded.write_shard(stage, ensemble, block, result)
        seconds.append(clock() - before)
        written |= {shard.path: shard} if shard else {}
    joined = [replace(ensemble, blocks=blocks[:count], written=written) for count in (1, len(blocks))]
    one, every = (_join(stage, of, clock) for of in joined)
    return Files(prepare, median(seconds), one, max(0.0, every - one) / max(1, len(blocks) - 1))


def _few(blocks: Sequence[Any], members: int) -> list[Any]:
    """The first blocks, or as many with so many members each."""
    if isinstance(blocks[0], int):  # draws
        return list(blocks[:JOINED])
    return [replace(blocks[0], first=members * index, count=members) for index in range(JOINED)]


def _join(stage: sharded.Stage[Any, Any, Any], ensemble: sharded.Ensemble[Any], clock: Clock) -> float:
    before = clock()
    stage.join(ensemble)
    return clock() - before
