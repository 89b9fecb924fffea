"""Ladders: cells of a study along which a variable goes to infinity, all else fixed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from rnnlimits.quantities.base import K, Variable
from rnnlimits.statistics import powerlaw
from rnnlimits.training.plan import Axis, Cell


class Ladder(NamedTuple):
    """Cells along which a variable goes to infinity.

    axis: their beta or richness. at: all their fixed coordinates. refusal: why it has no rate.
    """

    axis: Axis
    at: str
    cells: list[Cell]
    refusal: str = ""


def ladders(variable: Variable, cells: Sequence[Cell]) -> list[Ladder]:
    """Groups of cells along which `variable` goes to infinity, each with its fixed coordinates.

    N: the diagonal K = N, for each axis (beta or richness) and depth. K: every K at one N, axis and depth. A group in
    which the variable takes several values, but too few that count, gets a refusal; one with a single value is not a
    ladder.
    """
    grouped: dict[str, list[Cell]] = {}
    show_depth = len({cell.depth for cell in cells}) > 1
    for cell in sorted(cells, key=lambda cell: (cell.depth, cell.axis, cell.width, cell.steps_per_time)):
        fixed = [str(cell.axis)] + [f"depth={cell.depth}"] * show_depth
        grouped.setdefault(" ".join(fixed + [f"N={cell.width}"] * (variable is K)), []).append(cell)
    make = _steps_ladder if variable is K else _diagonal
    candidates = [make(at, members) for at, members in grouped.items()]
    return [ladder for ladder in candidates if ladder.cells or ladder.refusal]


def _diagonal(at: str, cells: Sequence[Cell]) -> Ladder:
    """The cells with K = N. Widths without such a cell are lost to the rate; if too few remain, the refusal says so."""
    axis, diagonal = cells[0].axis, [cell for cell in cells if cell.steps_per_time == cell.width]
    widths, on_diagonal = {cell.width for cell in cells}, [str(cell.width) for cell in diagonal]
    if len(on_diagonal) >= powerlaw.MINIMUM_POINTS or len(on_diagonal) == len(widths) or len(widths) == 1:
        return Ladder(axis, at, diagonal)
    problem = f"no widths with K = N (of {len(widths)})"
    if on_diagonal:
        problem = f"{len(on_diagonal)} of {len(widths)} widths with K = N ({', '.join(on_diagonal)})"
    return Ladder(axis, at, diagonal, f"{problem}, {powerlaw.MINIMUM_POINTS} are needed; set steps_per_time: [width]")


def _steps_ladder(at: str, cells: list[Cell]) -> Ladder:
    """All the cells, refused if they are too few; a single one is not a ladder."""
    if len(cells) == 1:
        return Ladder(cells[0].axis, at, [])
    few = len(cells) < powerlaw.MINIMUM_POINTS
    problem = f"{len(cells)} values of K, {powerlaw.MINIMUM_POINTS} are needed" if few else ""
    return Ladder(cells[0].axis, at, cells, problem)


def shallow(cell: Cell, cells: Sequence[Cell]) -> Cell | None:
    """The cell of depth 1 with all replicas of a deeper one, or None."""
    if cell.depth == 1:
        return None
    for other in cells:
        if other.depth == 1 and replace(other, depth=cell.depth, replicas=cell.replicas) == cell:
            return other if other.replicas >= cell.replicas else None
    return None
