"""Predicted values of points, and how measured points compare with them: one exponent, and all points jointly.

Points share replicas, and a prediction may follow the same replicas, so that neither points nor predictions are
independent: every error here comes from their joint bootstrap.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from rnnlimits.base.arrays import special
from rnnlimits.statistics.bootstrap import Array, Bootstrap, Sample, degrees_of_freedom
from rnnlimits.statistics.powerlaw import MINIMUM_UNITS, RESOLUTION, Line, Point, Slope, measure

KNOWN = 2.0  # standard errors above which a prediction says how many replicas its value needs
PER_COMBINATION = 4.0  # degrees of freedom that each tested combination of points needs, for its covariance


@dataclass(frozen=True, eq=False)
class Predicted:
    """The predicted value of one point, NaN if there is none.

    stderr: its standard error, which log_replicates, where given, contain already. log_replicates (count,): bootstrap
    replicates of log(value), joint with those of the row's points; None if the value is exact, or independent of them.
    apart: a further relative standard error, of what does not follow the row's replicas. natural, natural_replicates:
    as Point.value, on the scale on which an estimate that chance can make negative has a symmetrical error. above: as
    Foreseen.above.
    """

    variable: float
    value: float
    stderr: float
    log_replicates: Array | None = field(default=None, repr=False)
    apart: float = 0.0
    natural: float = math.nan
    natural_replicates: Array | None = field(default=None, repr=False)
    above: float = 0.0


@dataclass(frozen=True, eq=False)
class Foreseen:
    """What a quantity predicts of a cell: a number, or a sample of the same units as the measured one.

    apart: the relative standard error of the estimate that comes from elsewhere. above: by what part of the value, at
    most, terms that are left out and never negative may raise it.
    """

    value: Sample | float
    apart: float = 0.0
    above: float = 0.0


def predicted_point(variable: float, foreseen: Foreseen | Sample | float, bootstrap: Bootstrap) -> Predicted:
    """The prediction of a point; its replicates are those of the row's bootstrap."""
    if not isinstance(foreseen, Foreseen):
        foreseen = Foreseen(foreseen)
    value = foreseen.value
    if not isinstance(value, Sample):
        return Predicted(float(variable), float(value), float(value) * foreseen.apart)
    return predicted_of(measure(variable, value, bootstrap), foreseen)


def predicted_of(point: Point, foreseen: Foreseen) -> Predicted:
    """The prediction whose value was resampled to this point, with the errors of what is foreseen."""
    apart, natural = foreseen.apart, (point.value, point.value_replicates)
    if not math.isfinite(point.log):
        return Predicted(point.variable, math.nan, math.nan, None, apart, *natural)
    stderr = math.hypot(point.stderr, apart * point.estimate)
    return Predicted(point.variable, point.estimate, stderr, point.log_replicates, apart, *natural, foreseen.above)


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
    their number. apart: the part of stderr that no replicas narrow.
    """

    exponent: float
    stderr: float
    difference: Slope | None
    joint: Joint
    points: int
    apart: float = 0.0

    @property
    def p(self) -> float:
        """The p-value of both tests together, by Bonferroni."""
        if self.difference is None:
            return self.joint.p
        gap = self.difference
        return min(1.0, 2 * min(p_value(gap.value, gap.stderr, gap.dof), self.joint.p))


def compare(points: Sequence[Point], predicted: Sequence[Predicted], geometric: bool = False) -> Comparison | None:
    """Points against their predictions; None if no point can be compared.

    Exponents need the points that a fit uses. All points together need not be significant: to leave out those that
    chance made small would make the others too large.
    """
    by_variable = {one.variable: one for one in predicted}
    both = [(point, _raised(by_variable[point.variable], point)) for point in points if point.variable in by_variable]
    gaps = [gap for point, one in both if (gap := gap_of(point, one)) is not None]
    fitted = [(point, one) for point, one in both if not point.reason and one.value > 0]
    if not gaps:
        return None
    joint = _joint(gaps, geometric)
    if len(fitted) < 2:
        return Comparison(*_exponent_alone(both, geometric), None, joint, len(gaps))
    exponent, stderr, difference, apart = _exponents(fitted, geometric)
    return Comparison(exponent, stderr, difference, joint, len(gaps), apart)


def _raised(predicted: Predicted, point: Point) -> Predicted:
    """The prediction, raised towards the point as far as it may be; half of what it may be raised by is its error then.

    A point below the prediction is held against the prediction itself.
    """
    if not (predicted.above > 0 and predicted.value > 0 and point.estimate > predicted.value):
        return predicted
    factor = min(point.estimate / predicted.value, 1 + predicted.above)
    apart = math.hypot(predicted.apart, 0.5 * predicted.above)
    return replace(predicted, value=factor * predicted.value, stderr=factor * predicted.stderr, apart=apart)


@dataclass(frozen=True, eq=False)
class Gap:
    """A measured less a predicted value, on the scale where its error is symmetrical, with its replicates (count,).

    apart: the standard error of what the replicates do not show; dof: degrees of freedom of the measured error.
    """

    variable: float
    value: float
    replicates: Array
    apart: float
    dof: float


def gap_of(point: Point, predicted: Predicted) -> Gap | None:
    """The gap of one point: of logarithms, or of squares where these may be 0 or below; None without two values."""
    if point.dropped or point.units < MINIMUM_UNITS:
        return None
    if (point.signed or point.value == 0) and point.value_replicates is not None:
        return _natural_gap(point, predicted, point.value_replicates)
    if not predicted.value > 0 or not math.isfinite(point.log):
        return None
    moving = 0.0 if predicted.log_replicates is None else predicted.log_replicates
    apart = predicted.stderr / predicted.value if predicted.log_replicates is None else predicted.apart
    value = point.log - math.log(predicted.value)
    return Gap(point.variable, value, point.log_replicates - moving, apart, degrees_of_freedom(point.log_influence))


def _natural_gap(point: Point, predicted: Predicted, measured: Array) -> Gap | None:
    if predicted.natural_replicates is not None:
        natural, moving, relative = predicted.natural, predicted.natural_replicates, predicted.apart
    elif predicted.value > 0:
        natural, moving = predicted.value ** (1 / point.power), np.zeros(len(measured))
        relative = predicted.stderr / predicted.value
    else:
        return None
    apart = abs(natural) * relative / point.power
    # In units of its own error: the scale of a gap says nothing, and values of different widths differ a lot.
    replicates = measured - moving
    unit = max(float(np.hypot(np.std(replicates), apart)), 1e-300)
    dof = float(max(3.0, point.units - 1.0))
    return Gap(point.variable, (point.value - natural) / unit, replicates / unit, apart / unit, dof)


def significances(points: Sequence[Point], predicted: Sequence[Predicted]) -> dict[float, float]:
    """By variable, the significance that points should have: their predicted value in units of the measured error.

    Points whose prediction is not above its own error, and those whose error is not known, are left out.
    """
    by_variable = {one.variable: one for one in predicted}
    both = [(point, by_variable[point.variable]) for point in points if point.variable in by_variable]
    found = {point.variable: _significance(point, one) for point, one in both}
    return {variable: value for variable, value in found.items() if value > 0}


def _significance(point: Point, predicted: Predicted) -> float:
    if point.value_replicates is None or not np.isfinite(point.value_replicates).all():
        return math.nan
    value = predicted.natural
    if predicted.natural_replicates is None:
        value = predicted.value ** (1 / point.power) if predicted.value > 0 else math.nan
    elif not value > KNOWN * float(np.std(predicted.natural_replicates)):
        return math.nan
    error = float(np.std(point.value_replicates))
    return value / max(error, 1e-300) / (1.0 if point.signed else point.power)


def _exponents(both: list[tuple[Point, Predicted]], geometric: bool) -> tuple[float, float, Slope, float]:
    """The predicted exponent over points, its standard error, the measured one minus it, and the error apart."""
    points = [point for point, _ in both]
    variable = np.array([point.variable for point in points])
    line = Line(variable if geometric else np.log(variable), points)
    count = len(points[0].log_replicates)
    moving = [np.zeros(count) if one.log_replicates is None else one.log_replicates for _, one in both]
    fixed = [one.stderr / one.value if one.log_replicates is None else one.apart for _, one in both]
    logs, replicates = np.log([one.value for _, one in both]), np.column_stack(moving)
    contrast = line.contrast()
    own = math.sqrt(float(np.square(contrast) @ np.nan_to_num(np.square(fixed))))
    stderr = float(np.hypot(np.std(replicates @ contrast), own))
    difference = line.minus(logs, replicates).slope(contrast, apart=own)
    return float(contrast @ logs), stderr, difference, own


def _exponent_alone(both: list[tuple[Point, Predicted]], geometric: bool) -> tuple[float, float]:
    """The predicted exponent over all points, each with the same weight, and its standard error."""
    known = [one for _, one in both if one.value > 0]
    if len(known) < 2:
        return math.nan, math.nan
    variable = np.array([one.variable for one in known])
    x = variable if geometric else np.log(variable)
    contrast = -(x - x.mean()) / np.square(x - x.mean()).sum()
    moving = [np.zeros(1) if one.log_replicates is None else one.log_replicates for one in known]
    fixed = [one.stderr / one.value if one.log_replicates is None else one.apart for one in known]
    spread = np.std(sum(factor * values for factor, values in zip(contrast, moving, strict=True)))
    stderr = math.hypot(float(spread), float(np.sqrt(np.square(contrast) @ np.square(fixed))))
    return float(contrast @ np.log([one.value for one in known])), stderr


def _joint(gaps: list[Gap], geometric: bool) -> Joint:
    """All gaps at once; the covariance of many points needs many units, so that few units test smooth ones only."""
    variable = np.array([gap.variable for gap in gaps])
    replicates = np.column_stack([gap.replicates for gap in gaps])
    alone = np.diag([gap.apart**2 + RESOLUTION**2 for gap in gaps])
    covariance = np.atleast_2d(np.cov(replicates.T, bias=True)) + alone
    dof = 1 / float(np.mean([1 / gap.dof for gap in gaps]))
    x = variable if geometric else np.log(variable)
    return joint_test(x, np.array([gap.value for gap in gaps]), covariance, dof)


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
    return Joint(statistic, count, float(special().fdtrc(count, rest, statistic * rest / (dof * count))))


def _smooth(x: Array, variance: Array) -> Array:
    """Variances (point,) as a straight line in x of their logarithms, since single ones from few units are noisy."""
    if len(x) < 2:
        return variance
    return np.asarray(np.exp(np.polynomial.Polynomial.fit(x, np.log(variance), 1)(x)), dtype=np.float64)


def p_value(difference: float, stderr: float, dof: float) -> float:
    """Two-sided p-value of a difference by Student's law."""
    return float(min(1.0, 2 * special().stdtr(dof, -abs(difference) / max(stderr, 1e-300))))
