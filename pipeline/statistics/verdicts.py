"""Verdicts: whether an estimate agrees with its expected value, by one set of rules for every stage.

An exclusion counts however wide the interval is; an agreement counts only if the interval is narrow and one law
describes the points. This module does not know any particular quantity.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol, get_args

from rnnlimits.statistics.bootstrap import Array, degrees_of_freedom, quantile, standard_error
from rnnlimits.statistics.powerlaw import MEANINGFUL, MISFIT, RESOLUTION, Fit, Slope

ExpectedKind = Literal["theorem", "heuristic", "exact", ""]
Verdict = Literal["consistent", "inconsistent", "undetermined"]
VERDICTS: tuple[Verdict, ...] = get_args(Verdict)


class Judgement(NamedTuple):
    """A verdict and its reason, which is empty only where the estimate is consistent."""

    verdict: Verdict
    reason: str = ""


class Estimate(Protocol):
    """A number with its 95% interval, which need not be symmetrical."""

    @property
    def value(self) -> float:
        """The number itself."""

    @property
    def low(self) -> float:
        """Lower end of the interval."""

    @property
    def high(self) -> float:
        """Upper end of the interval."""

    @property
    def half_width(self) -> float:
        """Half the interval."""


@dataclass(frozen=True)
class Expected:
    """The prediction: value (NaN: none) and kind; if measured on the same units, its deviations and influence."""

    value: float
    kind: ExpectedKind
    replicates: Array | None = None
    influence: Array | None = None


@dataclass(frozen=True)
class Rule:
    """How wide an interval may be for an agreement to count, and the texts of the reasons.

    own_scale: half-widths are measured in units of the estimate, which then does not count if its interval contains 0.
    remedy, remedy_for_zero: what would narrow the interval, or keep it from 0 ("": nothing that a user could set). law:
    what the points would do if the fit described them.
    """

    remedy: str
    own_scale: bool = False
    remedy_for_zero: str = ""
    law: str = "follow one law"


POWER = Rule("more replicas, or a wider range")
GEOMETRIC = Rule("more replicas, or a wider range", own_scale=True, remedy_for_zero="more couplings, or more steps")


def judge(
    estimate: Estimate,
    expected: float,
    rule: Rule,
    *,
    tolerance: float | None = None,
    one_law: bool = True,
    aside: str = "",
) -> Judgement:
    """The verdict on one estimate.

    tolerance: half the 95% interval of estimate minus expected, if the two share their noise; by default the
    estimate's own interval decides. one_law: whether the fit describes the points. aside: added to "off by".
    """
    if math.isnan(expected):
        return Judgement("undetermined", "no expected value")
    if math.isnan(estimate.value) or math.isnan(estimate.half_width):
        return Judgement("undetermined", "the estimate has no interval")
    if not _agree(estimate, expected, tolerance):
        return Judgement("inconsistent", "; ".join(filter(None, (f"off by {estimate.value - expected:+.3f}", aside))))
    if doubt := _too_wide(estimate, rule):
        return Judgement("undetermined", doubt)
    if not one_law:
        return Judgement("undetermined", f"the expected value is in the interval, but the points do not {rule.law}")
    return Judgement("consistent")


def judge_fit(fit: Fit, expected: Expected, rule: Rule | None = None) -> Judgement:
    """The verdict on a fitted exponent, by default by POWER or GEOMETRIC; the fit's own notes give further numbers."""
    large = fit.halves[1]
    return judge(
        fit.slope,
        expected.value,
        rule or (GEOMETRIC if fit.geometric else POWER),
        tolerance=_tolerance(fit.slope, expected),
        one_law=fit.chi2_p >= MISFIT and not fit.drifts,
        aside=f"over the larger half of the points {large.value:.3f} ± {large.half_width:.3f}",
    )


def half_width_of_difference(slope: Slope, expected: Expected) -> float:
    """Half the 95% interval of a fitted minus a measured rate; noise that they share does not count."""
    if expected.replicates is None or expected.influence is None:
        return slope.half_width
    scale = slope.stderr / max(standard_error(slope.replicates), 1e-300)  # widened or rounded like the slope
    error = scale * standard_error(slope.replicates - expected.replicates)
    return quantile(degrees_of_freedom(slope.influence - expected.influence)) * error


def _tolerance(slope: Slope, expected: Expected) -> float | None:
    """How far a slope may be from an expected value that was measured on the same units; None if it was not."""
    if expected.replicates is None or expected.influence is None:
        return None
    return max(half_width_of_difference(slope, expected), RESOLUTION)


def _agree(estimate: Estimate, expected: float, tolerance: float | None) -> bool:
    if tolerance is None:
        return estimate.low <= expected <= estimate.high
    return abs(estimate.value - expected) <= tolerance


def _too_wide(estimate: Estimate, rule: Rule) -> str:
    """The reason why the interval is too wide for an agreement to count, or ""."""
    if rule.own_scale and estimate.low <= 0 <= estimate.high:
        return _with_remedy("the interval holds 0, that is, no contraction", rule.remedy_for_zero)
    most = MEANINGFUL * abs(estimate.value) if rule.own_scale else MEANINGFUL
    if estimate.half_width <= most:
        return ""
    share = f" ({MEANINGFUL:g} of the rate)" if rule.own_scale else ""
    return _with_remedy(f"half-width {estimate.half_width:.2g} is over {most:.2g}{share}", rule.remedy)


def _with_remedy(doubt: str, remedy: str) -> str:
    return ": ".join(filter(None, (doubt, remedy)))
