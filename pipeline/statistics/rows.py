"""Rows of rates.csv from points: fit, verdict, note, by the same steps for every quantity."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from rnnlimits.statistics import powerlaw
from rnnlimits.statistics.bootstrap import Array, Bootstrap, degrees_of_freedom, quantile, standard_error
from rnnlimits.statistics.powerlaw import Fit, Point, RateUndetermined
from rnnlimits.statistics.ratefile import Rate, RatePoint, refusal
from rnnlimits.statistics.samples import average
from rnnlimits.statistics.verdicts import Expected, ExpectedKind, Rule, judge, judge_fit

MOST_LOG = math.log(np.finfo(np.float64).max)
CONSTANT = Rule("more paths or draws")


# --- exponents and rates ---------------------------------------------------------------------------------------


def judged(
    blank: Rate, points: Sequence[Point], expected: Expected, remark: str = "", rule: Rule | None = None
) -> Rate:
    """Fit the points, compare with the expected value (by `rule`, or that of the law), and fill in the row."""
    row = replace(blank, expected=expected.value, expected_kind=expected.kind)
    try:
        fit = powerlaw.fit(points, geometric=blank.law == "geometric")
    except RateUndetermined as short:
        return replace(fitted(row, short.estimate, short.points), note=refusal(str(short), remark))
    verdict, reason = judge_fit(fit, expected, rule)
    note = "; ".join(filter(None, (reason, *fit.notes, remark)))
    return replace(fitted(row, fit, fit.points), verdict=verdict, note=note)


def fitted(row: Rate, fit: Fit | None, points: Sequence[Point]) -> Rate:
    """The row with its points and the numbers of the fit, if one exists."""
    if fit is None:
        cloud = tuple(dot(point, used=False) for point in points)
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
        chi2_p=fit.chi2_p,
        cloud=tuple(_cloud(fit)),
    )


def _cloud(fit: Fit) -> Iterator[RatePoint]:
    local = iter(fit.local)
    for point, used in zip(fit.points, fit.used, strict=True):
        slope = next(local, None) if used else None
        three = (slope.value, slope.low, slope.high) if slope else (math.nan,) * 3
        yield RatePoint(point.variable, point.estimate, point.stderr, bool(used), point.replicas, *three)


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
    """The row of a ratio: the point at `variable`, with the relative error of the prediction."""
    (here,) = (point for point in points if point.variable == variable)
    cloud = tuple(dot(point, point is here) for point in points)
    row = replace(blank, expected=1.0, expected_kind=kind, law="ratio", cloud=cloud)
    if here.dropped or here.units < powerlaw.MINIMUM_UNITS:
        return replace(row, replicas=here.replicas, note=refusal(here.reason))
    dof = degrees_of_freedom(here.log_influence)
    ratio = Ratio(here.estimate, float(np.hypot(here.stderr, error * here.estimate)), dof)
    return ratio_row(row, ratio, here.replicas)


def ratio_row(row: Rate, ratio: Ratio, replicas: int) -> Rate:
    """Fill in value, interval and verdict of a ratio whose expected value is `row.expected`."""
    if not math.isfinite(ratio.value) or not math.isfinite(ratio.stderr):
        return replace(row, replicas=replicas, note=refusal(powerlaw.NOT_FINITE))
    verdict, note = judge(ratio, row.expected, CONSTANT)
    return replace(
        row,
        exponent=ratio.value,
        stderr=ratio.stderr,
        ci_low=ratio.low,
        ci_high=ratio.high,
        points=1,
        replicas=replicas,
        verdict=verdict,
        note=note,
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
    )
