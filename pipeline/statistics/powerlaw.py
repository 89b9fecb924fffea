"""Fit C variable^-p, or C exp(-p variable), to estimates that share replicas: an interval, or a refusal.

The exponent is a fixed linear combination of the logarithms of the estimates (weighted least squares), so its
error follows from the joint bootstrap of those logarithms, whatever their correlation.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from rnnlimits.base.errors import StudyError
from rnnlimits.statistics.bootstrap import (
    FEWEST_UNITS,
    FLOOR,
    Array,
    Bootstrap,
    Resampled,
    Sample,
    degrees_of_freedom,
    quantile,
    standard_error,
)

MINIMUM_POINTS = 4
MINIMUM_UNITS = 8  # with fewer independent replicas the error cannot be estimated
SIGNIFICANCE = 3.0  # a point is used if it is this many standard errors from zero
MEANINGFUL = 0.15  # a wider half-interval that holds the expected exponent also holds its competitors: no verdict
LIMIT_SHARE = 1 / 3  # the limit's error may be at most this share of the error measured relative to it
SPOILED = "the limit's own error is over a third of the estimate (more draws or nodes would help)"
MISFIT = 0.01  # below this p-value the points do not lie on one line
BEYOND = "beyond the first value that is left out, where only upward fluctuations stand out"
NOT_FINITE = "values that are not finite (infinity or NaN), as of networks that diverge"
HINT = 0.5  # standard errors: a value below says nothing of how many replicas would make it stand out
WEAK = 26.0  # y / sqrt(2) where y^2 = SIGNIFICANCE^2 (4 y + 2): the square of one component, over its mean's variance
RESOLUTION = 1e-6  # smallest relative error assumed for an estimate (rounding, float32 trainings)


@dataclass(frozen=True)
class Point:
    """One estimate at one value of the variable, with the joint bootstrap of its logarithm.

    estimate, stderr: in the quantity's own units (a negative debiased square shows as minus its root).
    significance: value over standard error on the scale where its error is symmetrical.
    log, log_replicates (count,), log_influence (unit,): NaN, unused, when the estimate is not positive.
    units: independent replicas or pairs; replicas: trainings. signed: judged by its debiased square, which chance can
    make negative. dropped: why the point may not be used, or "". value, value_replicates (count,): of the debiased
    square, or whatever `power` takes to the estimate; None where only the logarithm is known.
    """

    variable: float
    estimate: float
    stderr: float
    significance: float
    log: float
    log_replicates: Array = field(repr=False)
    log_influence: Array = field(repr=False)
    units: int = 0
    replicas: int = 0
    signed: bool = False
    dropped: str = ""
    value: float = math.nan
    value_replicates: Array | None = field(default=None, repr=False)
    power: float = 1.0

    @property
    def reason(self) -> str:
        """Why the point is not used in a fit, or ""."""
        if self.dropped:
            return self.dropped
        if self.units < MINIMUM_UNITS:
            return f"fewer than {MINIMUM_UNITS} independent replicas"
        if not self.significance >= SIGNIFICANCE:
            what = "debiased square " if self.signed else ""
            return f"{what}under {SIGNIFICANCE:g} standard errors"
        return ""

    def drop(self, reason: str) -> Point:
        """The same point, marked as not to be used."""
        return replace(self, dropped=self.dropped or reason)

    def blur(self, bootstrap: Bootstrap, relative: float) -> Point:
        """The same point with an error common to all points added to its replicates (one normal per replicate)."""
        if not np.isfinite(relative):
            return self.drop(NOT_FINITE)
        normal = bootstrap.normal()
        shifted, values = self.log_replicates + relative * normal, self.value_replicates
        if values is not None:
            values = values + relative * normal * self.value / self.power
        stderr = float(np.hypot(self.stderr, relative * self.estimate))
        return replace(self, log_replicates=shifted, value_replicates=values, stderr=stderr)


def held_against(point: Point, slack: float, leverage: float, bootstrap: Bootstrap) -> Point:
    """The point with the error of the reference (`slack`, in the estimate's norm) that it was measured against.

    It is left out if that error is too large, else blurred by the share (`leverage`) that changes the estimate to first
    order.
    """
    if point.reason or slack == 0:
        return point
    share = slack / point.estimate
    return point.drop(SPOILED) if share > LIMIT_SHARE else point.blur(bootstrap, share * leverage)


def measure(variable: float, sample: Sample, bootstrap: Bootstrap) -> Point:
    """The point of one cell: estimate = value ** power, its error and its logarithm's joint bootstrap.

    It is left out where a value, or a number computed from values, is not finite.
    """
    return point_of(variable, sample, bootstrap.resample(sample))


def point_of(variable: float, sample: Sample, drawn: Resampled) -> Point:
    """The point of a sample whose value was resampled; see `measure`."""
    power = sample.power
    if not is_finite(sample, drawn):
        nothing = np.full(len(drawn.replicates), np.nan), np.full(len(sample), np.nan)
        replicas = sample.replicas or len(sample)
        numbers = (np.nan, np.nan, np.nan, np.nan, *nothing, len(sample), replicas, sample.signed)
        return Point(float(variable), *numbers, dropped=NOT_FINITE)
    value = drawn.value
    error = standard_error(drawn.replicates)
    positive = max(value, 0.0)
    estimate = float(np.sign(value) * abs(value) ** power)
    stderr = power * positive ** (power - 1.0) * error if value > 0 else error**power
    significance = value / max(error, RESOLUTION * abs(value), 1e-300)
    return Point(
        variable=float(variable),
        estimate=estimate,
        stderr=stderr,
        significance=significance if sample.signed else significance / power,
        log=power * (np.log(value) + 0.5 * (error / value) ** 2) if value > 0 else np.nan,
        log_replicates=_log(drawn.replicates, value, power),
        log_influence=_log_influence(drawn.influence, value, power),
        units=len(sample),
        replicas=sample.replicas or len(sample),
        signed=sample.signed,
        value=value,
        value_replicates=drawn.replicates,
        power=power,
    )


def is_finite(sample: Sample, drawn: Resampled) -> bool:
    """Whether all values are finite, and what was computed of them, if there are enough to compute anything."""
    enough = len(sample) >= FEWEST_UNITS
    computed = np.isfinite(drawn.value) and np.isfinite(drawn.replicates).all() and np.isfinite(drawn.influence).all()
    return bool(np.isfinite(sample.statistics).all() and (computed or not enough))


def _log(values: Array, value: float, power: float) -> Array:
    if not value > 0:
        return np.full(len(values), np.nan)
    return np.asarray(power * np.log(np.maximum(values, FLOOR * value)), dtype=np.float64)


def _log_influence(influence: Array, value: float, power: float) -> Array:
    return power * influence / value if value > 0 else np.full(len(influence), np.nan)


@dataclass(frozen=True)
class Slope:
    """A combination of the points' logarithms: value, standard error, 95% interval, degrees of freedom.

    replicates (count,) and influence (unit,) allow a comparison with another number from the same replicas.
    """

    value: float
    stderr: float
    low: float
    high: float
    dof: float
    replicates: Array = field(repr=False)
    influence: Array = field(repr=False)

    @property
    def half_width(self) -> float:
        """Half the 95% interval."""
        return 0.5 * (self.high - self.low)


@dataclass(frozen=True)
class Fit:
    """A fitted power law (or geometric law). Exponents are positive for decay.

    slope: the exponent with its interval, already widened by `scale`. used: (point,) points that are in the fit.
    local: for each used point but the last, the exponent between it and the next used one.
    chi2_p: chance of residuals as large as these if one law holds; scale: factor by which the interval was widened.
    halves: the exponents over the smaller and over the larger half of the points; drifts: they differ significantly.
    """

    points: tuple[Point, ...]
    used: NDArray[np.bool_]
    slope: Slope
    prefactor: float
    local: tuple[Slope, ...]
    chi2_p: float
    scale: float
    halves: tuple[Slope, Slope]
    drifts: bool
    geometric: bool

    @property
    def notes(self) -> list[str]:
        """Remarks that a reader of the exponent needs, as short phrases."""
        notes = _dropped(self.points)
        small, large = (half.value for half in self.halves)
        if self.chi2_p < MISFIT:
            notes.append(f"not one law (p = {self.chi2_p:.2g}), interval widened {self.scale:.1f} times")
        if self.drifts:
            notes.append(f"local exponent drifts: {small:.3f} over the smaller half, {large:.3f} over the larger")
        return notes


class RateRefused(StudyError):
    """Too few usable points for a rate. `estimate` is the fit through existing points, without a claim (or None)."""

    def __init__(self, missing: str, estimate: Fit | None, points: tuple[Point, ...]) -> None:
        super().__init__(missing)
        self.estimate = estimate
        self.points = points


NONE: Mapping[float, float] = MappingProxyType({})


def fit(points: Sequence[Point], geometric: bool = False, foreseen: Mapping[float, float] = NONE) -> Fit:
    """Weighted fit of log estimate against log variable (geometric: against the variable itself).

    foreseen: by variable, the significance that points should have by what is predicted of them; a refusal says by it
    how many replicas are missing, whatever the measured values are.
    Raises RateRefused, carrying the estimate, when fewer than 4 points are usable.
    """
    ordered = _contiguous(sorted(points, key=lambda point: point.variable))
    used = np.array([not point.reason for point in ordered], dtype=bool)
    estimate = _fit(ordered, used, geometric) if used.sum() >= 2 else None
    if estimate is None or used.sum() < MINIMUM_POINTS:
        raise RateRefused(_missing(ordered, foreseen), estimate, ordered)
    return estimate


def _contiguous(points: Sequence[Point]) -> tuple[Point, ...]:
    """The points in order, with debiased squares dropped from the first one that is too small to be used.

    Selecting the points that stand out from the noise one by one would select upward fluctuations and make the exponent
    too small. Whether a point belongs to the run before the first insignificant one hardly depends on its own
    fluctuation: all but the last of the run are well above the noise.
    """
    judged = [(j, point) for j, point in enumerate(points) if point.signed and point.units >= MINIMUM_UNITS]
    small = [j for j, point in judged if point.reason and point.dropped != NOT_FINITE]  # not finite is not small
    first = small[0] if small else len(points)
    beyond = [point.drop(BEYOND) if point.signed and not point.reason else point for point in points[first:]]
    return *points[:first], *beyond


def _fit(points: tuple[Point, ...], used: NDArray[np.bool_], geometric: bool) -> Fit:
    fitted = [point for point, keep in zip(points, used, strict=True) if keep]
    x = np.array([point.variable for point in fitted])
    line = Line(x if geometric else np.log(x), fitted)
    chi2_p, scale = line.goodness()
    slope = line.slope(line.contrast(), scale, len(fitted) - 2)
    return Fit(
        points=points,
        used=used,
        slope=slope,
        prefactor=float(np.exp(line.centre(line.y) + slope.value * line.centre(line.x))),
        local=tuple(line.slope(line.between(j)) for j in range(len(fitted) - 1)),
        chi2_p=chi2_p,
        scale=scale,
        halves=line.halves(),
        drifts=line.curved(),
        geometric=geometric,
    )


class Line:
    """Weighted least squares of y on x over the used points, and the bootstrap of everything linear in y."""

    def __init__(self, x: Array, points: list[Point]) -> None:
        self.x = x
        self.y = np.array([point.log for point in points])
        self.replicates = np.column_stack([point.log_replicates for point in points])
        self.influence = _stack([point.log_influence for point in points])
        self.weight = _smooth_weights(x, self.replicates, np.array([point.units for point in points]))

    def minus(self, y: Array, replicates: Array) -> Line:
        """The line through the differences from other logarithms (point,), (count, point), with the same weights."""
        other = copy.copy(self)
        other.y, other.replicates = self.y - y, self.replicates - replicates
        return other

    def centre(self, values: Array) -> float:
        """Weighted mean of values (point,)."""
        return float(self.weight @ values)

    def contrast(self, members: slice = slice(None)) -> Array:
        """Coefficients a with a @ y = fitted exponent (decay counted positive) of the points in `members`."""
        weight = np.zeros_like(self.weight)
        weight[members] = self.weight[members]
        offset = self.x - weight @ self.x / weight.sum()
        return np.asarray(-weight * offset / (weight @ offset**2), dtype=np.float64)

    def between(self, j: int) -> Array:
        """Coefficients of the exponent between point j and the next."""
        return self.contrast(slice(j, j + 2))

    def slope(self, coefficients: Array, scale: float = 1.0, residual_dof: int = 0, apart: float = 0.0) -> Slope:
        """Value and interval of coefficients @ y; if widened (scale > 1), with the residuals' degrees of freedom.

        apart: a standard error to be added that the replicates do not contain.
        """
        replicates, influence = self.replicates @ coefficients, self.influence @ coefficients
        rounding = RESOLUTION * float(np.sqrt(np.square(coefficients).sum()))
        stderr = scale * math.hypot(standard_error(replicates), rounding, apart)
        dof = degrees_of_freedom(influence)
        if scale > 1.0:
            dof = min(dof, float(residual_dof))
        value = float(coefficients @ self.y)
        half = quantile(dof) * stderr
        return Slope(value, stderr, value - half, value + half, dof, replicates, influence)

    def residual_square(self, y: Array) -> Array:
        """Weighted sum of squared residuals of y (..., point) about its own line."""
        slope = y @ self.contrast()
        residual = y - (y @ self.weight)[..., None] + slope[..., None] * (self.x - self.centre(self.x))
        return np.asarray(np.square(residual) @ self.weight, dtype=np.float64)

    def goodness(self) -> tuple[float, float]:
        """(p-value, widening): residuals compared with those of the bootstrap, which accounts for shared replicas."""
        if len(self.x) < 3:
            return 1.0, 1.0
        observed = float(self.residual_square(self.y))
        chance = self.residual_square(self.replicates - self.replicates.mean(0)) + RESOLUTION**2
        p = float((1 + np.sum(chance >= observed)) / (1 + len(chance)))
        return p, float(np.sqrt(max(1.0, observed / chance.mean()))) if p < MISFIT else 1.0

    def halves(self) -> tuple[Slope, Slope]:
        """Exponents over the smaller and the larger half of the points (the middle point, if any, in both)."""
        first, last = self._halves()
        return self.slope(self.contrast(first)), self.slope(self.contrast(last))

    def curved(self) -> bool:
        """Return whether the exponents of the two halves differ at the MISFIT level."""
        if len(self.x) < MINIMUM_POINTS:
            return False
        first, last = self._halves()
        change = self.slope(self.contrast(last) - self.contrast(first))
        return abs(change.value) > quantile(change.dof, 1 - MISFIT) * change.stderr

    def _halves(self) -> tuple[slice, slice]:
        n = len(self.x)
        return slice(0, max(2, (n + 1) // 2)), slice(min(n - 2, n // 2), n)


def _smooth_weights(x: Array, replicates: Array, units: NDArray[np.int64]) -> Array:
    """Normalised weights units / s^2(x), log s^2 a straight line in x through the bootstrap variances per unit.

    Bootstrap variances from tens of replicas are so noisy, and so correlated with the estimates, that weights computed
    from them reduce the coverage; the line keeps the essential information, the trend and the number of replicas.
    """
    variance = replicates.var(0) + RESOLUTION**2
    trend = np.polynomial.Polynomial.fit(x, np.log(variance * units), 1)
    weight = units * np.exp(-trend(x))
    return np.asarray(weight / weight.sum(), dtype=np.float64)


def _stack(influences: list[Array]) -> Array:
    """Influences (unit, point), zero where a cell lacks the unit."""
    stacked = np.zeros((max(map(len, influences)), len(influences)))
    for j, influence in enumerate(influences):
        stacked[: len(influence), j] = influence
    return stacked


def _dropped(points: Sequence[Point]) -> list[str]:
    """One phrase for each reason why points were left out, with the values of the variable."""
    reasons: dict[str, list[str]] = {}
    for point in points:
        if point.reason:
            reasons.setdefault(point.reason, []).append(f"{point.variable:g}")
    return [f"left out at {', '.join(where)}: {reason}" for reason, where in reasons.items()]


def _missing(points: tuple[Point, ...], foreseen: Mapping[float, float]) -> str:
    """The requirements of a rate: the number of usable points, why others were left out, how many replicas to add."""
    usable = sum(not point.reason for point in points)
    parts = [f"{usable} usable points, {MINIMUM_POINTS} are needed", *_dropped(points)]
    if len(points) < MINIMUM_POINTS:
        parts.append(f"add {MINIMUM_POINTS - len(points)} or more values of the variable")
    weak = [point for point in points if point.reason and point.dropped in ("", BEYOND)]
    weak.sort(key=lambda point: 0.0 if point.signed else -point.significance)  # a run grows in order, see _contiguous
    short = MINIMUM_POINTS - usable
    if 0 < short <= len(weak):
        parts.append(_more_replicas(weak[:short], foreseen))
    return "; ".join(parts)


def _more_replicas(weak: Sequence[Point], foreseen: Mapping[float, float]) -> str:
    """How many more replicas these points need, by their predicted significance, or else by that of the weakest."""
    if any(point.units < MINIMUM_UNITS for point in weak):
        return f"run at least {MINIMUM_UNITS} replicas (or pairs)"
    if all(point.variable in foreseen for point in weak):
        factor = max(_times(foreseen[point.variable], point.signed) for point in weak)
        ends = sorted({weak[0].variable, weak[-1].variable})
        return f"about {factor} times the replicas at {' to '.join(f'{end:g}' for end in ends)} would do, by prediction"
    weakest = min(weak, key=lambda point: point.significance)
    if not weakest.significance > HINT:
        return "far more replicas are needed: too few estimates stand out of their noise"
    return f"about {_times(weakest.significance)} times the replicas at {weakest.variable:g} would do"


def _times(significance: float, squared: bool = False) -> int:
    """With how many times the replicas a value of this significance would stand out, in two digits.

    squared: a debiased square, known by prediction. Its noise falls as 1/R where it exceeds the square, so that weak
    ones need in proportion to 1/significance; the factor is that of a single component, and less of several.
    """
    factor = (SIGNIFICANCE / significance) ** 2
    if squared:
        factor = min(factor, WEAK / significance)
    return max(2, int(float(f"{np.ceil(factor):.2g}")))
