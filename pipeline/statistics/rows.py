"""Rows of rates.csv from points: fit, prediction, note, by the same steps for every quantity.

A row is held against its prediction here, and has a p-value; its verdict follows from all rows (families.settled).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from rnnlimits.statistics import powerlaw, predictions
from rnnlimits.statistics.bootstrap import Array, Bootstrap, degrees_of_freedom, quantile, standard_error
from rnnlimits.statistics.corrections import USUAL, corrected
from rnnlimits.statistics.powerlaw import Fit, Point, RateRefused
from rnnlimits.statistics.predictions import Comparison, Predicted
from rnnlimits.statistics.ratefile import Rate, RatePoint, refusal
from rnnlimits.statistics.samples import average
from rnnlimits.statistics.verdicts import (
    POWER,
    Expected,
    ExpectedKind,
    Rule,
    judge,
    judge_comparison,
    judge_fit,
    rule_of,
)

MOST_LOG = math.log(np.finfo(np.float64).max)
CONSTANT = Rule("paths or draws")


# --- exponents and rates ---------------------------------------------------------------------------------------


def judged(
    blank: Rate,
    points: Sequence[Point],
    expected: Expected,
    remark: str = "",
    rule: Rule | None = None,
    predicted: Sequence[Predicted] = (),
    corrections: Sequence[float] = USUAL,
) -> Rate:
    """Fit the points, hold them against their prediction (by `rule`, or that of the law), and fill in the row.

    The prediction is `predicted`, values of single points; else the expected value, if it holds at these points. If
    there is neither, the row has the exponent at infinity, from a fit with one of the `corrections` to scaling.
    """
    row = replace(blank, expected=expected.value, expected_kind=expected.kind)
    try:
        foreseen = predictions.significances(points, predicted)
        fit = powerlaw.fit(points, blank.law == "geometric", foreseen)
    except RateRefused as short:
        return _refused(row, short, expected, remark, predicted)
    row = replace(fitted(row, fit, fit.points, predicted), note="; ".join(filter(None, (*fit.notes, remark))))
    if comparison := predictions.compare(fit.points, predicted, fit.geometric):
        return against_points(row, comparison, rule or rule_of(fit))
    if expected.everywhere and not math.isnan(expected.value):
        return against_value(row, fit, expected, rule)
    return row if fit.geometric else at_infinity(row, fit, corrections)


def _refused(row: Rate, short: RateRefused, expected: Expected, remark: str, predicted: Sequence[Predicted]) -> Rate:
    """The row of too few points for a fit: a prediction can be excluded by them, but not confirmed."""
    row = replace(fitted(row, short.estimate, short.points, predicted), note=refusal(str(short), remark))
    if expected.everywhere and not math.isnan(expected.value):
        row = replace(row, predicted=expected.value, predicted_stderr=expected.stderr, verdict="cannot tell")
    if any(math.isfinite(one.value) for one in predicted):
        row = replace(row, verdict="cannot tell")
    if comparison := predictions.compare(short.points, predicted, row.law == "geometric"):
        return replace(against_points(row, comparison, POWER), doubt="too few points for an exponent")
    return row


def points_alone(blank: Rate, points: Sequence[Point], note: str, predicted: Sequence[Predicted] = ()) -> Rate:
    """The row of points that follow no law, held against their predictions if they have some; note: why there is none.

    A constant has no exponent, but its values can still be other than predicted.
    """
    row = replace(fitted(blank, None, points, predicted), note=note)
    if (comparison := predictions.compare(points, predicted)) is None:
        return row
    row = replace(against_points(row, comparison, POWER), predicted=math.nan, predicted_stderr=math.nan)
    return replace(row, note="; ".join(filter(None, (note, row.doubt and f"points: {row.doubt}"))))


def against_points(row: Rate, comparison: Comparison, rule: Rule) -> Rate:
    """The row held against predicted values of its points."""
    p, doubt = judge_comparison(comparison, row.exponent, rule)
    joint = comparison.joint
    return replace(
        row,
        predicted=comparison.exponent,
        predicted_stderr=comparison.stderr,
        chi2=joint.statistic,
        chi2_dof=joint.combinations,
        chi2_p=joint.p,
        p=p,
        doubt=doubt,
    )


def against_value(row: Rate, fit: Fit, expected: Expected, rule: Rule | None) -> Rate:
    """The row held against an expected exponent or rate that holds at the study's own points."""
    p, doubt = judge_fit(fit, expected, rule)
    return replace(row, predicted=expected.value, predicted_stderr=expected.stderr, p=p, doubt=doubt)


def at_infinity(row: Rate, fit: Fit, corrections: Sequence[float]) -> Rate:
    """The row with the exponent at infinity, from a fit with corrections to scaling; without, if none are given."""
    used = [point for point, keep in zip(fit.points, fit.used, strict=True) if keep]
    if not corrections or (found := corrected(used, corrections)) is None:
        return row
    return replace(row, corrected=found.value, corrected_low=found.low, corrected_high=found.high)


def fitted(row: Rate, fit: Fit | None, points: Sequence[Point], predicted: Sequence[Predicted] = ()) -> Rate:
    """The row with its points, their predictions, and the numbers of the fit, if one exists."""
    values = {one.variable: one for one in predicted}
    if fit is None:
        cloud = tuple(_beside(dot(point, used=False), values.get(point.variable)) for point in points)
        return replace(row, cloud=cloud, replicas=min((p.replicas for p in points), default=0))
    return replace(
        row,
        exponent=fit.slope.value,
        stderr=fit.slope.stderr,
        ci_low=fit.slope.low,
        ci_high=fit.slope.high,
        prefactor=fit.prefactor,
        points=int(fit.used.sum()),
        replicas=min(point.replicas for point, used in zip(points, fit.used, strict=True) if used),
        line_p=fit.chi2_p,
        cloud=tuple(_beside(point, values.get(point.variable)) for point in _cloud(fit)),
    )


def _cloud(fit: Fit) -> Iterator[RatePoint]:
    local = iter(fit.local)
    for point, used in zip(fit.points, fit.used, strict=True):
        slope = next(local, None) if used else None
        three = (slope.value, slope.low, slope.high) if slope else (math.nan,) * 3
        yield RatePoint(point.variable, point.estimate, point.stderr, bool(used), point.replicas, *three)


def _beside(point: RatePoint, predicted: Predicted | None) -> RatePoint:
    """The point with its prediction, if it has one."""
    return point if predicted is None else replace(point, predicted=predicted.value, predicted_stderr=predicted.stderr)


def dot(point: Point, used: bool) -> RatePoint:
    """A point in the form of rates.h5, without a local exponent."""
    return RatePoint(point.variable, point.estimate, point.stderr, used, point.replicas)


def without_local(row: Rate) -> Rate:
    """The row without local exponents, for points that come from one and the same long path."""
    bare = (replace(p, local_slope=math.nan, local_low=math.nan, local_high=math.nan) for p in row.cloud)
    return replace(row, cloud=tuple(bare))


def log_point(variable: float, logs: Array, bootstrap: Bootstrap) -> Point:
    """The point whose logarithm is the mean of `logs` (unit,); its error is symmetrical there, whatever its size."""
    sample = average(logs[:, None])
    mean = bootstrap.resample(sample)
    finite = powerlaw.is_finite(sample, mean) and mean.value < MOST_LOG
    estimate, error = math.exp(mean.value) if finite else math.nan, standard_error(mean.replicates)
    return Point(
        float(variable),
        estimate,
        estimate * error,
        math.inf,
        mean.value,
        mean.replicates,
        mean.influence,
        len(logs),
        dropped="" if finite else powerlaw.NOT_FINITE,
    )


# --- ratios of constants ---------------------------------------------------------------------------------------


class Ratio(NamedTuple):
    """The ratio of a measured to a predicted number: value, standard error, degrees of freedom."""

    value: float
    stderr: float
    dof: float

    @property
    def half_width(self) -> float:
        """Half the 95% interval."""
        return quantile(self.dof) * self.stderr

    @property
    def low(self) -> float:
        """Lower end of the 95% interval."""
        return self.value - self.half_width

    @property
    def high(self) -> float:
        """Upper end of the 95% interval."""
        return self.value + self.half_width


def judged_ratio(blank: Rate, points: Sequence[Point], variable: float, error: float, kind: ExpectedKind) -> Rate:
    """The row of a ratio: the point at `variable`, with the relative error of the prediction, which is 1."""
    (here,) = (point for point in points if point.variable == variable)
    cloud = tuple(dot(point, point is here) for point in points)
    row = replace(blank, expected=1.0, expected_kind=kind, predicted_stderr=error, law="ratio", cloud=cloud)
    if here.dropped or here.units < powerlaw.MINIMUM_UNITS:
        return replace(row, replicas=here.replicas, verdict="cannot tell", note=refusal(here.reason))
    dof = degrees_of_freedom(here.log_influence)
    ratio = Ratio(here.estimate, float(np.hypot(here.stderr, error * here.estimate)), dof)
    return ratio_row(row, ratio, here.replicas)


def ratio_row(row: Rate, ratio: Ratio, replicas: int) -> Rate:
    """Fill in value, interval and p-value of a ratio; its prediction is `row.expected`."""
    row = replace(row, predicted=row.expected, replicas=replicas)
    if not math.isfinite(ratio.value) or not math.isfinite(ratio.stderr):
        return replace(row, verdict="cannot tell", note=refusal(powerlaw.NOT_FINITE))
    p, doubt = judge(ratio, row.expected, CONSTANT)
    return replace(
        row,
        exponent=ratio.value,
        stderr=ratio.stderr,
        ci_low=ratio.low,
        ci_high=ratio.high,
        points=1,
        p=p,
        doubt=doubt,
    )


def scaled(point: Point, factor: float) -> Point:
    """The same point in other units."""
    shift = math.log(factor)
    return replace(
        point,
        estimate=point.estimate * factor,
        stderr=point.stderr * factor,
        log=point.log + shift,
        log_replicates=point.log_replicates + shift,
        value=point.value * factor ** (1 / point.power),
        value_replicates=None
        if point.value_replicates is None
        else point.value_replicates * factor ** (1 / point.power),
    )
