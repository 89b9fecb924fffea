"""The grid of a study of trainings: its cells, and the twins at infinite width that go with them."""

from __future__ import annotations

import functools
import math
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import product
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeVar

from rnnlimits.study.training import Product

if TYPE_CHECKING:
    from rnnlimits.study.model import Study

Result = TypeVar("Result")


class Axis(NamedTuple):
    """What networks of all widths have in common: the exponent beta, or the richness eps = N^-(1 - beta)."""

    name: Literal["beta", "eps"]
    value: float

    def __str__(self) -> str:
        return f"{self.name}={self.value:g}"

    @property
    def fixes_richness(self) -> bool:
        """Whether it is the richness."""
        return self.name == "eps"

    @property
    def order(self) -> float:
        """The beta whose orders in N hold: at any fixed richness those of 1, where the richness is 1 at every N."""
        return 1.0 if self.fixes_richness else self.value


@dataclass(frozen=True)
class Cell:
    """One point of the grid: `replicas` independent trainings at one beta, width N, K and depth tau.

    richness: the study's, where it has one in place of beta; beta is then the exponent that gives it, rounded.
    """

    beta: float
    width: int
    steps_per_time: int
    depth: int
    replicas: int
    richness: float | None = None

    @property
    def axis(self) -> Axis:
        """What it has in common with cells of other widths."""
        return Axis("beta", self.beta) if self.richness is None else Axis("eps", self.richness)

    @property
    def name(self) -> str:
        """Its name within its pack, such as beta0.6-depth1 or eps0.25-depth1."""
        return f"{self.axis.name}{self.axis.value}-depth{self.depth}"

    @property
    def coordinates(self) -> dict[str, Any]:
        """Its fields; the richness only where the study has one."""
        return {name: value for name, value in asdict(self).items() if value is not None}

    @property
    def pack(self) -> str:
        """The name of its pack, such as N00064-K00064: all cells of one (N, K), which one workflow job runs."""
        return f"N{self.width:05d}-K{self.steps_per_time:05d}"


@dataclass(frozen=True)
class Twin:
    """The twins of one K, on paths 0 .. paths - 1 of the chain."""

    steps_per_time: int
    paths: int


@dataclass(frozen=True)
class RichTwin:
    """The rich twins of one richness, K, depth and level of the clip (0: none), on paths 0 to paths - 1 of a chain."""

    richness: float
    steps_per_time: int
    depth: int
    level: float
    paths: int

    @property
    def name(self) -> str:
        """Its name, such as K00064-eps0.353553391."""
        depth = f"-depth{self.depth}" if self.depth > 1 else ""
        level = f"-clip{self.level:.9g}" if self.level else ""
        return f"K{self.steps_per_time:05d}-eps{self.richness:.9g}{depth}{level}"

    @property
    def point(self) -> tuple[float, int, int, float]:
        """What tells it from others."""
        return (self.richness, self.steps_per_time, self.depth, self.level)


def _remembered(function: Callable[[Study], Result]) -> Callable[[Study], Result]:
    """The same function, which computes its value once for each study: studies are frozen, and reports ask often."""
    known: dict[int, tuple[weakref.ref[Study], Result]] = {}

    @functools.wraps(function)
    def of(study: Study) -> Result:
        found = known.get(id(study))
        if found is None or found[0]() is not study:
            gone = functools.partial(_forget, known, id(study))
            known[id(study)] = found = weakref.ref(study, gone), function(study)
        return found[1]

    return of


def _forget(known: dict[int, Any], key: int, gone: object) -> None:
    if key in known and known[key][0] is gone:
        del known[key]


@_remembered
def cells(study: Study) -> tuple[Cell, ...]:
    """Every cell of the grid and its ladders once; a cell listed twice gets the larger number of replicas.

    Sorted by width, K, axis and depth.
    """
    by_point: dict[tuple[int, int, Axis, int], Cell] = {}
    for part in study.training.products():
        for cell in _product_cells(part):
            point = (cell.width, cell.steps_per_time, cell.axis, cell.depth)
            if point not in by_point or cell.replicas > by_point[point].replicas:
                by_point[point] = cell
    return tuple(by_point[point] for point in sorted(by_point))


def _product_cells(part: Product) -> Iterator[Cell]:
    widths = zip(part.width, part.replicas, strict=True)
    axes = [Axis("beta", beta) for beta in part.beta] + [Axis("eps", richness) for richness in part.richness]
    for (width, replicas), k, axis, depth in product(widths, part.steps_per_time, axes, part.depth):
        yield cell_at(axis, width, width if k == "width" else k, depth, replicas)


def cell_at(axis: Axis, width: int, steps_per_time: int, depth: int, replicas: int) -> Cell:
    """The cell of one width on an axis."""
    at = (width, steps_per_time, depth, replicas)
    if not axis.fixes_richness:
        return Cell(axis.value, *at)
    beta = 1 + math.log(axis.value) / math.log(width) if width > 1 else 1.0
    return Cell(min(1.0, max(0.5, beta)), *at, axis.value)


@_remembered
def twins(study: Study) -> tuple[Twin, ...]:
    """Every K that has twins once, with as many paths as its largest cell or the twins' own ladder needs."""
    paths = dict.fromkeys(study.twin.steps_per_time, study.twin.paths)
    if study.rich.epsilon:
        paths[study.rich.steps_per_time] = max(study.rich.paths, paths.get(study.rich.steps_per_time, 0))
    for cell in cells(study) if study.twin.follow else ():
        needed = cell.replicas // 2 if study.training.antithetic else cell.replicas
        paths[cell.steps_per_time] = max(needed, paths.get(cell.steps_per_time, 0))
    return tuple(Twin(k, paths[k]) for k in sorted(paths))


def rich_twin(study: Study, cell: Cell) -> RichTwin:
    """The rich twins of the trainings of a cell: of its richness, or N^-(1 - beta)."""
    (twin,) = _as_first([_rich_twin(study, cell)], _first_rich(study))
    return twin


@_remembered
def _first_rich(study: Study) -> dict[str, float]:
    return _first([*rich_ladder(study), *_each(study, _rich_twin)])


def _rich_twin(study: Study, cell: Cell) -> RichTwin:
    paths = cell.replicas // 2 if study.training.antithetic else cell.replicas
    clip = study.training.clip
    return RichTwin(
        richness=float(cell.width) ** -(1 - cell.beta) if cell.richness is None else cell.richness,
        steps_per_time=cell.steps_per_time,
        depth=cell.depth,
        level=float(cell.width) ** clip if clip is not None else 0.0,
        paths=paths,
    )


def tangent_twin(study: Study, cell: Cell) -> RichTwin:
    """The rich twins whose tangents predict a cell: on few paths, and at a K of at most rich.tangent_steps.

    K is halved until it is small enough, as long as every checkpoint stays a whole number of steps.
    """
    (twin,) = _as_first([_tangent_twin(study, cell)], _first_tangents(study))
    return twin


@_remembered
def _first_tangents(study: Study) -> dict[str, float]:
    return _first(_each(study, _tangent_twin))


def _tangent_twin(study: Study, cell: Cell) -> RichTwin:
    twin, steps = _rich_twin(study, cell), cell.steps_per_time
    while steps > study.rich.tangent_steps and study.training.allows(steps / 2):
        steps //= 2
    return replace(twin, steps_per_time=steps, paths=study.rich.tangent_paths(steps))


def _each(study: Study, twin_of: Callable[[Study, Cell], RichTwin]) -> list[RichTwin]:
    """The twins of all cells, first of those whose richness the study states."""
    return [twin_of(study, cell) for cell in sorted(cells(study), key=lambda cell: cell.richness is None)]


def _as_first(twins: Sequence[RichTwin], first: Mapping[str, float]) -> list[RichTwin]:
    """Each with the richness of the first that has its name: N^-(1 - beta) is rounded, a name is one file."""
    return [replace(twin, richness=first.get(twin.name, twin.richness)) for twin in twins]


def _first(twins: Sequence[RichTwin]) -> dict[str, float]:
    """The richness of the first of all twins with a name, by this name."""
    first: dict[str, float] = {}
    for twin in twins:
        first.setdefault(twin.name, twin.richness)
    return first


def rich_ladder(study: Study) -> tuple[RichTwin, ...]:
    """The rich twins of the ladder in the richness alone, without a clip and at the smallest depth."""
    depth, rich = min(study.training.depth), study.rich
    return tuple(
        RichTwin(epsilon, rich.steps_per_time, depth, 0.0, rich.paths) for epsilon in sorted(rich.epsilon, reverse=True)
    )


@_remembered
def rich_twins(study: Study) -> tuple[RichTwin, ...]:
    """Every rich twin once, with as many paths as its largest cell, or the ladder, needs."""
    of_cells = _each(study, _rich_twin) if study.rich.follow else []
    every = [*rich_ladder(study), *of_cells]
    return _each_once(_as_first(every, _first(every)))


@_remembered
def tangent_twins(study: Study) -> tuple[RichTwin, ...]:
    """Every rich twin that has tangents once."""
    if not study.rich.follow or not study.rich.tangents:
        return ()
    every = _each(study, _tangent_twin)
    return _each_once(_as_first(every, _first(every)))


def _each_once(twins: Sequence[RichTwin]) -> tuple[RichTwin, ...]:
    """Those with the most paths, sorted by K, richness from the largest, depth and level."""
    by_point: dict[tuple[float, int, int, float], RichTwin] = {}
    for twin in twins:
        if twin.point not in by_point or twin.paths > by_point[twin.point].paths:
            by_point[twin.point] = twin
    return tuple(by_point[point] for point in sorted(by_point, key=lambda point: (point[1], -point[0], *point[2:])))
