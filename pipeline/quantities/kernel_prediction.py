"""Predicted values of the empirical tangent kernel: before training by the law of a unit, trained by tangents.

Source: docs/model.md, "Finite width".
"""

from __future__ import annotations

import math

import numpy as np

from rnnlimits.quantities.prediction import CellPrediction, of_paths, plus, second_error
from rnnlimits.statistics.bootstrap import Array
from rnnlimits.statistics.predictions import Foreseen
from rnnlimits.statistics.samples import bias, rms
from rnnlimits.theory.observe import MODES
from rnnlimits.theory.untrained import Untrained


def initial_error(cell: CellPrediction) -> Foreseen:
    """The distance of the initial kernel from the limit's; half of what is of second order counts as its error."""
    square, second = _untrained(cell).error_square(cell.width)
    return Foreseen(math.sqrt(square), 0.5 * abs(second) / square)


def initial_eigenvalues(cell: CellPrediction) -> Foreseen:
    """The relative error of the leading eigenvalues; what second order adds counts as its error."""
    start = _untrained(cell)
    value, first = (math.sqrt(start.eigenvalue_square(cell.width, MODES, second)) for second in (True, False))
    return Foreseen(value, abs(value - first) / value)


def initial_b_part(cell: CellPrediction) -> Foreseen:
    """The part of B before training; factors that are taken at their means fluctuate by N^-1/2 of them."""
    start = _untrained(cell)
    return Foreseen(math.sqrt(start.b_square(cell.width)), start.even / cell.width)


def initial_past_part(cell: CellPrediction) -> Foreseen:
    """What earlier steps add before training, with an error as for the part of B."""
    start = _untrained(cell)
    return Foreseen(math.sqrt(start.past_square(cell.width)), start.reaching / cell.width)


def trained_b_part(cell: CellPrediction) -> Foreseen:
    """The part of B after training."""
    return _trained(cell, "ntk_b_square", _untrained(cell).even / cell.width)


def trained_past_part(cell: CellPrediction) -> Foreseen:
    """What earlier steps add after training."""
    return _trained(cell, "ntk_past_square", _untrained(cell).reaching / cell.width)


def drift_norm(cell: CellPrediction) -> Foreseen:
    """The size of the kernel's change: that of the rich twins on the same paths, and what means over units add.

    The share of the second order, squared, is what the next ones can have.
    """
    added = _terms(cell, "ntk_drift_square")[:, 1:]
    sample = plus(rms(cell.of_law("ntk_drift")[..., None]), float(added.sum(1).mean()))
    square = float(sample.combine(sample.statistics.mean(0), np.array(1 / len(sample))))
    error = float(added.sum(1).std(ddof=1)) / len(added) ** 0.5
    return Foreseen(sample, 0.5 * math.hypot(error / square, (float(added[:, 1].mean()) / square) ** 2))


def drift_along(cell: CellPrediction) -> Foreseen:
    """The mean change along the limit's kernel, of the rich twins on the same paths, with its 1/N term."""
    name = "ntk_drift_along"
    sample = bias(cell.of_law(name) + cell.second(name))
    return Foreseen(sample, second_error(cell, name, sample))


def _trained(cell: CellPrediction, name: str, beyond: float) -> Foreseen:
    """The root of a mean square that is known by its terms on a few paths; beyond: the relative size of others."""
    value, error = of_paths(_terms(cell, name).sum(1))
    return Foreseen(value, math.hypot(error, beyond))


def _terms(cell: CellPrediction, name: str) -> Array:
    """The terms (path, order) of a mean square at the cell's width."""
    coefficients = cell.tangents[name][:, 0]
    return np.asarray(coefficients / float(cell.width) ** np.arange(coefficients.shape[1]))


def _untrained(cell: CellPrediction) -> Untrained:
    assert cell.untrained is not None
    return cell.untrained
