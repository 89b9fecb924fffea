"""Curves in time that the figures and the report of a study share: outputs and losses, and the limit's."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from rnnlimits.base.arrays import deviation
from rnnlimits.figures.labels import SYMBOLS, spaced
from rnnlimits.files import store
from rnnlimits.files.ensembles import open_ensemble
from rnnlimits.statistics.bootstrap import Array
from rnnlimits.training import plan
from rnnlimits.training.plan import Axis, Cell

if TYPE_CHECKING:
    from rnnlimits.study import Study
    from rnnlimits.training.layout import Layout

MOST_CURVES = 4  # probes in a panel of curves
MOST_BINS = 16  # bins in a curve of the loss
MOST_PANELS = 3  # axes in the figures of curves and of losses


@dataclass(frozen=True, eq=False)
class Curves:
    """Curves of limit.h5: output (T, P) at checkpoints, fine_time (F,), output_fine (F, P), loss (F,), loss_floor."""

    output: Array
    fine_time: Array
    output_fine: Array
    loss: Array
    loss_floor: float


def read_limit(study: Study, layout: Layout) -> Curves:
    """The limit's curves. Raises StudyError if limit.h5 is missing or from another study."""
    names = ("output", "fine_time", "output_fine", "loss")
    with store.open_complete(layout.limit, "limit", limit_id=plan.limit_id(study)) as file:
        return Curves(**{name: file[name].finite() for name in names}, loss_floor=float(file["loss_floor"].finite()))


def spread_axes(cells: Sequence[Cell]) -> list[Axis]:
    """A few of the cells' axes, beta or richness, from the first to the last."""
    return spaced(sorted({cell.axis for cell in cells}), MOST_PANELS)


def axis_words(axis: Axis) -> str:
    """An axis in mathematical symbols: β = 0.75, or ε = 0.25."""
    return f"{SYMBOLS[axis.name]} = {axis.value:g}"


def diagonal(cells: Sequence[Cell], axis: Axis) -> list[Cell]:
    """The cells of one axis at the smallest depth, by width."""
    depth = min(cell.depth for cell in cells)
    return sorted((c for c in cells if c.axis == axis and c.depth == depth), key=lambda cell: cell.width)


def spread_probes(limit: Curves) -> list[int]:
    """Probes whose limit outputs at the end are spread over their range."""
    order = np.argsort(limit.output[-1], kind="stable").tolist()
    return [int(index) for index in spaced(order, MOST_CURVES)]


def outputs(study: Study, layout: Layout, cell: Cell, probes: Sequence[int]) -> tuple[Array, Array]:
    """Checkpoints after time 0 (T,), and outputs of a cell there on `probes`, (replica, T, probe).

    At time 0 the output is the initial field, with a far wider spread. Infinity becomes NaN, a gap in a curve.
    Raises StudyError for an invalid file.
    """
    with open_ensemble(layout.ensemble(cell), cell_id=plan.cell_id(study, cell)) as file:
        file.load(["sign", "output"])
        first = file["sign"][()] == 1  # one of each pair: independent trainings, with the law of C
        output, time = file["output"][()][first][:, :, probes], file["time"][()]
    since = 1 if time[0] == 0 else 0
    return time[since:], _with_gaps(output[:, since:])


def losses(study: Study, layout: Layout, cell: Cell) -> tuple[Array, Array, Array]:
    """Centres of time bins, the mean squared error along the path in each bin, and its standard error.

    Where a value is not finite all are NaN, which leaves a gap. Raises StudyError for an invalid file.
    """
    with open_ensemble(layout.ensemble(cell), cell_id=plan.cell_id(study, cell)) as file:
        file.load(["loss", "pair"])
        loss, time, pair = file["loss"][()], file["loss_time"][()], file["pair"][()]
    _, owner = np.unique(pair, return_inverse=True)
    members, loss = np.bincount(owner), _with_gaps(loss)
    coarse = max(1, len(time) // MOST_BINS)
    time, loss = _coarsened(time, coarse), _coarsened(loss, coarse)
    units = np.stack([np.bincount(owner, column) / members for column in loss.T], axis=1)
    return time, units.mean(axis=0), deviation(units) / math.sqrt(len(units))


def named(label: str, *values: Array) -> str:
    """The label of a curve, which says so where values are not finite."""
    return label if all(np.isfinite(each).all() for each in values) else f"{label} (not finite)"


def _with_gaps(values: Array) -> Array:
    return np.where(np.isfinite(values), values, np.nan)


def _coarsened(values: Array, size: int) -> Array:
    """Means of `size` neighbours along the last axis; a remainder is left out."""
    whole = values.shape[-1] // size * size
    return np.asarray(values[..., :whole].reshape(*values.shape[:-1], -1, size).mean(-1))
