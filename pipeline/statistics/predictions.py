"""Predicted values of points, and how measured points compare with them: one exponent, and all points jointly.

Points share replicas, and a prediction may follow the same replicas, so that neither points nor predictions are
independent: every error here comes from their joint bootstrap.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy.special import fdtrc, stdtr

from rnnlimits.statistics.bootstrap import Array, Bootstrap, Sample, degrees_of_freedom
from rnnlimits.statistics.powerlaw import RESOLUTION, Line, Point, Slope, measure

PER_COMBINATION = 4.0  # degrees of freedom that each tested combination of points needs, for its covariance


@dataclass(frozen=True, eq=False)
class Predicted:
    """The predicted value of one point, NaN if there is none.

    stderr: its standard error, which log_replicates, where given, contain already. log_replicates (count,): bootstrap
    replicates of log(value), joint with those of the row's points; None if the value is exact, or independent of them.
    apart: a further relative standard error, of what does not follow the row's replicas.
    """

    variable: float
    value: float
    stderr: float
    log_replicates: Array | None = field(default=None, repr=False)
    apart: float = 0.0


@dataclass(frozen=True, eq=False)
class Foreseen:
    """What a quantity predicts of a cell: a number, or a sample of the same units as the measured one.

    apart: the relative standard error of the estimate that comes from elsewhere.
    """

    value: Sample | float
    apart: float = 0.0


def predicted_point(variable: float, foreseen: Foreseen | Sample | float, bootstrap: Bootstrap) -> Predicted:
    """The prediction of a point; its replicates are those of the row's bootstrap."""
    if not isinstance(foreseen, Foreseen):
        foreseen = Foreseen(foreseen)
    value, apart = foreseen.value, foreseen.apart
    if not isinstance(value, Sample):
        return Predicted(float(variable), float(value), float(value) * apart)
    point = measure(variable, value, bootstrap)
    if not math.isfinite(point.log):
        return Predicted(float(variable), math.nan, math.nan)
    stderr = math.hypot(point.stderr, apart * point.estimate)
    return Predicted(float(variable), point.estimate, stderr, point.log_replicates, apart)


@dataclass(frozen=True)
class Joint:
    """Hotelling's test that all differences are zero: its statistic, its number of combinations, its p-value."""

    statistic: float
    combinations: int
    p: float


@dataclass(frozen=True)
class Comparison:
    """Measured points against their predictions.

    exponent, stderr: the predicted exponent over the points that have a prediction, by the weights of the measured
    fit. difference: the measured exponent minus it (None with a single point). joint: the test of all points. points:
    their number.
    """

    exponent: float
    stderr: float
    difference: Slope | None
    joint: Joint
    points: int

    @property
    def p(self) -> float:
        """The p-value of both tests together, by Bonferroni."""
        if self.difference is None:
            return self.joint.p
        gap = self.difference
        return min(1.0, 2 * min(p_value(gap.value, gap.stderr, gap.dof), self.joint.p))


def compare(points: Sequence[Point], predicted: Sequence[Predicted], geometric: bool = False) -> Comparison | None:
    """Usable points against their predictions; None if no usable point has one."""
    values = {one.variable: one for one in predicted if math.isfinite(one.value) and one.value > 0}
    both = [(point, values[point.variable]) for point in points if not point.reason and point.variable in values]
    if not both:
        return None
    gaps = _Gaps([point for point, _ in both], [prediction for _, prediction in both], geometric)
    exponent, stderr, difference = gaps.exponents() if len(both) > 1 else (math.nan, math.nan, None)
    return Comparison(exponent, stderr, difference, gaps.joint(), len(both))


class _Gaps:
    """Logarithms of measured over predicted values, with their covariance."""

    def __init__(self, points: list[Point], predicted: list[Predicted], geometric: bool) -> None:
        self.points = points
        variable = np.array([point.variable for point in points])
        self.x = variable if geometric else np.log(variable)
        self.log = np.log([one.value for one in predicted])
        measured = np.column_stack([point.log_replicates for point in points])
        count = len(measured)
        moving = [np.zeros(count) if p.log_replicates is None else p.log_replicates for p in predicted]
        self.moving = np.column_stack(moving)
        fixed = [p.stderr / p.value if p.log_replicates is None else p.apart for p in predicted]
        self.alone = np.nan_to_num(np.square(fixed))
        self.gap = np.array([point.log for point in points]) - self.log
        self.replicates = measured - self.moving

    def exponents(self) -> tuple[float, float, Slope]:
        """The predicted exponent, its standard error, and the measured one minus it."""
        line = Line(self.x, self.points)
        contrast = line.contrast()
        own = math.sqrt(float(np.square(contrast) @ self.alone))
        stderr = float(np.hypot(np.std(self.moving @ contrast), own))
        difference = line.minus(self.log, self.moving).slope(contrast, apart=own)
        return float(contrast @ self.log), stderr, difference

    def joint(self) -> Joint:
        """All gaps at once; the covariance of many points needs many units, so that few units test smooth ones only."""
        covariance = np.atleast_2d(np.cov(self.replicates.T, bias=True)) + np.diag(self.alone + RESOLUTION**2)
        inverse = [1 / degrees_of_freedom(point.log_influence) for point in self.points]
        return joint_test(self.x, self.gap, covariance, 1 / float(np.mean(inverse)))


def joint_test(x: Array, gap: Array, covariance: Array, dof: float) -> Joint:
    """Hotelling's test that gap (point,) has mean zero, its covariance (point, point) estimated with `dof`.

    With fewer than PER_COMBINATION degrees of freedom for each point only the smoothest combinations are tested: the
    level, the slope, the curvature in x and so on, in which a wrong prediction would show first.
    """
    count = int(np.clip(dof // PER_COMBINATION, 1, len(gap)))
    place = 2 * (x - x.min()) / max(float(np.ptp(x)), 1e-300) - 1
    smooth = np.polynomial.legendre.legvander(place, count - 1) / _smooth(x, np.diag(covariance))[:, None]
    smooth /= np.sqrt(np.einsum("ik,ij,jk->k", smooth, covariance, smooth))
    combined, spread = smooth.T @ gap, smooth.T @ covariance @ smooth
    statistic = float(combined @ np.linalg.lstsq(spread, combined, rcond=None)[0])
    rest = dof - count + 1
    return Joint(statistic, count, float(fdtrc(count, rest, statistic * rest / (dof * count))))


def _smooth(x: Array, variance: Array) -> Array:
    """Variances (point,) as a straight line in x of their logarithms, since single ones from few units are noisy."""
    if len(x) < 2:
        return variance
    return np.asarray(np.exp(np.polynomial.Polynomial.fit(x, np.log(variance), 1)(x)), dtype=np.float64)


def p_value(difference: float, stderr: float, dof: float) -> float:
    """Two-sided p-value of a difference by Student's law."""
    return float(min(1.0, 2 * stdtr(dof, -abs(difference) / max(stderr, 1e-300))))
