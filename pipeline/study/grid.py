"""The grid of a study of trainings: its cells, and the twins at infinite width that go with them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING

from rnnlimits.study.training import Product

if TYPE_CHECKING:
    from rnnlimits.study.model import Study


@dataclass(frozen=True)
class Cell:
    """One point of the grid: `replicas` independent trainings at one beta, width N, K and depth tau."""

    beta: float
    width: int
    steps_per_time: int
    depth: int
    replicas: int

    @property
    def name(self) -> str:
        """Its name within its pack, such as beta0.6-depth1."""
        return f"beta{self.beta}-depth{self.depth}"

    @property
    def pack(self) -> str:
        """The name of its pack, such as N00064-K00064: all cells of one (N, K), which one workflow job runs."""
        return f"N{self.width:05d}-K{self.steps_per_time:05d}"


@dataclass(frozen=True)
class Twin:
    """The twins of one K, on paths 0 .. paths - 1 of the chain."""

    steps_per_time: int
    paths: int


def cells(study: Study) -> tuple[Cell, ...]:
    """Every cell of the grid and its ladders once; a cell listed twice gets the larger number of replicas.

    Sorted by width, K, beta and depth.
    """
    by_point: dict[tuple[int, int, float, int], Cell] = {}
    for part in study.training.products():
        for cell in _product_cells(part):
            point = (cell.width, cell.steps_per_time, cell.beta, cell.depth)
            if point not in by_point or cell.replicas > by_point[point].replicas:
                by_point[point] = cell
    return tuple(by_point[point] for point in sorted(by_point))


def _product_cells(part: Product) -> Iterator[Cell]:
    widths = zip(part.width, part.replicas, strict=True)
    for (width, replicas), k, beta, depth in product(widths, part.steps_per_time, part.beta, part.depth):
        yield Cell(beta, width, width if k == "width" else k, depth, replicas)


def twins(study: Study) -> tuple[Twin, ...]:
    """Every K that has twins once, with as many paths as its largest cell or the twins' own ladder needs."""
    paths = dict.fromkeys(study.twin.steps_per_time, study.twin.paths)
    for cell in cells(study) if study.twin.follow else ():
        needed = cell.replicas // 2 if study.training.antithetic else cell.replicas
        paths[cell.steps_per_time] = max(needed, paths.get(cell.steps_per_time, 0))
    return tuple(Twin(k, paths[k]) for k in sorted(paths))
