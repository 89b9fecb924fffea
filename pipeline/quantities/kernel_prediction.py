"""Predicted values of the empirical tangent kernel before training, by the law of a unit.

Source: docs/model.md, "Finite width".
"""

from __future__ import annotations

import math

from rnnlimits.quantities.prediction import CellPrediction
from rnnlimits.statistics.predictions import Foreseen
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


def _untrained(cell: CellPrediction) -> Untrained:
    assert cell.untrained is not None
    return cell.untrained
