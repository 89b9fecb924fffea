"""Test whether several measured numbers are equal: Welch's test from standard errors, and Holm's adjustment.

Only numbers go in and come out.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import chdtrc, fdtrc, stdtrit

LEVEL = 0.95
MANY = 1e5  # degrees of freedom that count as infinitely many
FEWEST = 1.0


@dataclass(frozen=True)
class Equality:
    """statistic: Welch's F (for two numbers the square of his t). dof: of its denominator. p: under equality."""

    statistic: float
    dof: float
    p: float


def degrees_of_freedom(half_width: float, stderr: float) -> float:
    """Degrees of freedom of the Student quantile half_width / stderr of a 95% interval; inf if it is normal."""
    quantile = half_width / stderr
    if quantile <= stdtrit(MANY, 0.5 + LEVEL / 2):
        return math.inf
    if quantile >= stdtrit(FEWEST, 0.5 + LEVEL / 2):
        return FEWEST
    return float(brentq(lambda dof: stdtrit(dof, 0.5 + LEVEL / 2) - quantile, FEWEST, MANY))


def welch(
    value: Sequence[float] | NDArray[np.float64],
    stderr: Sequence[float] | NDArray[np.float64],
    dof: Sequence[float] | NDArray[np.float64],
) -> Equality:
    """Test whether independent normal estimates (k,) have one mean; stderr (k,) above 0, with `dof` (k,) each.

    Welch's test for k means. With infinitely many degrees of freedom it is the chi-square test of Cochran's Q, for two
    estimates Welch's t-test. Raises ValueError for fewer than two, or a standard error that is not above 0.
    """
    values, errors, freedom = (np.asarray(each, dtype=np.float64) for each in (value, stderr, dof))
    if len(values) < 2 or not np.all(errors > 0):
        raise ValueError("two or more estimates with standard errors above 0 are needed")
    k, weight = len(values), errors**-2.0
    mean = weight @ values / weight.sum()
    between = float(weight @ (values - mean) ** 2) / (k - 1)
    loss = float(np.sum((1 - weight / weight.sum()) ** 2 / freedom))
    statistic = between / (1 + 2 * (k - 2) / (k**2 - 1) * loss)
    denominator = (k**2 - 1) / (3 * loss) if loss > 0 else math.inf
    if denominator > MANY:
        return Equality(statistic, math.inf, float(chdtrc(k - 1, statistic * (k - 1))))
    return Equality(statistic, denominator, float(fdtrc(k - 1, denominator, statistic)))


def holm(p: Sequence[float] | NDArray[np.float64]) -> NDArray[np.float64]:
    """Adjusted p-values (n,): calling those below a level different makes any error at most with that probability."""
    values = np.asarray(p, dtype=np.float64)
    order = np.argsort(values, kind="stable")
    steps = np.arange(len(values), 0, -1) * values[order]
    adjusted = np.empty_like(values)
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(steps)) if len(values) else steps
    return adjusted
