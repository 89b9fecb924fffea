"""Predicted values of the empirical tangent kernel: before training by the law of a unit, its change by tangents.

Source: docs/model.md, "Finite width".
"""

from __future__ import annotations

import math

import numpy as np

from rnnlimits.quantities.prediction import CellPrediction, plus, second_error
from rnnlimits.statistics.predictions import Foreseen
from rnnlimits.statistics.samples import bias, rms
from rnnlimits.theory.observe import MODES
from rnnlimits.theory.untrained import Untrained


def initial_error(cell: CellPrediction) -> Foreseen:
    """The distance of the initial kernel from the limit's.

    Of the second order in means over units, products are known and other terms are not; those are taken to be of the
    size of the products, whose part in the square counts as the error: half of it in the root.
    """
    square, second = _untrained(cell).error_square(cell.width)
    return Foreseen(math.sqrt(square), 0.5 * abs(second) / square)


def initial_eigenvalues(cell: CellPrediction) -> Foreseen:
    """The relative error of the leading eigenvalues; what the known terms of second order add counts as its error.

    It stands for those that are not known, as in `initial_error`.
    """
    start = _untrained(cell)
    value, first = (math.sqrt(start.eigenvalue_square(cell.width, MODES, second)) for second in (True, False))
    return Foreseen(value, abs(value - first) / value)


def initial_b_part(cell: CellPrediction) -> Foreseen:
    """The part of B before training; its error is the next order of the square, half of it in the root.

    See `theory.untrained`; of that order, the memory's effect on the units of C sigma' is left out.
    """
    start = _untrained(cell)
    return Foreseen(math.sqrt(start.b_square(cell.width)), 0.5 * start.beyond / cell.width)


def drift_norm(cell: CellPrediction) -> Foreseen:
    """The size of the kernel's change: that of the rich twins on the same paths, and what means over units add.

    Of the order N^-2 of its square, the square of the second order is known and the product of first and third order
    is not; it is taken to be of the size of the former, whose part in the square counts as the error: half of it in the
    root.
    """
    orders = cell.tangents["ntk_drift_square"][:, 0] / float(cell.width) ** np.arange(3)
    added = orders[:, 1:].sum(1)
    sample = plus(rms(cell.of_law("ntk_drift")[..., None]), float(added.mean()))
    square = float(sample.combine(sample.statistics.mean(0), np.array(1 / len(sample))))
    of_paths = float(added.std(ddof=1)) / len(added) ** 0.5
    return Foreseen(sample, 0.5 * math.hypot(of_paths, float(orders[:, 2].mean())) / square)


def drift_along(cell: CellPrediction) -> Foreseen:
    """The mean change along the limit's kernel, of the rich twins on the same paths, with its 1/N term."""
    name = "ntk_drift_along"
    sample = bias(cell.of_law(name) + cell.second(name))
    return Foreseen(sample, second_error(cell, name, sample))


def _untrained(cell: CellPrediction) -> Untrained:
    assert cell.untrained is not None
    return cell.untrained
