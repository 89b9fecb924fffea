"""Verdicts: whether an estimate is as predicted, by one set of rules for every stage.

A row has a p-value against its prediction, and perhaps a doubt: a reason why an agreement would not count. The verdict
follows from both, and from all other rows of the study (statistics/families.py). This module does not know any
particular quantity.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol, get_args

from rnnlimits.statistics.bootstrap import Array, degrees_of_freedom, standard_error
from rnnlimits.statistics.powerlaw import MEANINGFUL, MISFIT, RESOLUTION, Fit, Slope
from rnnlimits.statistics.predictions import Comparison, p_value

ExpectedKind = Literal["theorem", "heuristic", "exact", ""]
Verdict = Literal["as predicted", "not as predicted", "cannot tell", "no prediction"]
VERDICTS: tuple[Verdict, ...] = get_args(Verdict)
NORMAL_95 = 1.96  # standard errors in half of a 95% interval


class Judgement(NamedTuple):
    """The chance of a difference this large if the prediction holds, and why an agreement would not count, or ""."""

    p: float
    doubt: str = ""


class Estimate(Protocol):
    """A number with its standard error, degrees of freedom and 95% interval."""

    @property
    def value(self) -> float:
        """The number itself."""

    @property
    def stderr(self) -> float:
        """Its standard error."""

    @property
    def dof(self) -> float:
        """Degrees of freedom of the standard error."""

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
    """The value of theory (NaN: none) and its kind; if measured on the same units, its deviations and influence.

    everywhere: it holds at the study's own points, and so is their prediction. Otherwise it holds at infinity only, and
    nothing at finite N or K is held against it.
    """

    value: float
    kind: ExpectedKind
    replicates: Array | None = None
    influence: Array | None = None
    everywhere: bool = False

    @property
    def stderr(self) -> float:
        """Its own standard error: 0 if it was computed, not measured."""
        return 0.0 if self.replicates is None else standard_error(self.replicates)


@dataclass(frozen=True)
class Rule:
    """How wide an interval may be for an agreement to count, and what would narrow it.

    own_scale: half-widths are measured in units of the estimate, which then does not count if its interval contains 0.
    more: what there should be more of ("": nothing that a user could set). wider: what would help as well. for_zero:
    what would keep the interval from 0.
    """

    more: str
    wider: str = ""
    own_scale: bool = False
    for_zero: str = ""


POWER = Rule("replicas", "a wider range")
GEOMETRIC = Rule("replicas", "a wider range", own_scale=True, for_zero="more couplings, or more steps")


def judge(estimate: Estimate, expected: float, rule: Rule) -> Judgement:
    """An estimate held against a number that is known without error."""
    if math.isnan(expected) or math.isnan(estimate.value) or not math.isfinite(estimate.half_width):
        return Judgement(math.nan, "" if math.isnan(expected) else "the estimate has no interval")
    p = p_value(estimate.value - expected, estimate.stderr, estimate.dof)
    return Judgement(p, too_wide(estimate.half_width, estimate.value, rule))


def judge_fit(fit: Fit, expected: Expected, rule: Rule | None = None) -> Judgement:
    """A fitted exponent held against one that is known, or was measured on the same units."""
    rule = rule or rule_of(fit)
    alone = judge(fit.slope, expected.value, rule)
    if math.isnan(alone.p):
        return alone
    doubt = alone.doubt
    if not doubt and (fit.chi2_p < MISFIT or fit.drifts):
        doubt = "the points do not follow one law"
    stderr, dof = error_of_difference(fit.slope, expected)
    return Judgement(p_value(fit.slope.value - expected.value, stderr, dof), doubt)


def judge_comparison(comparison: Comparison, measured: float, rule: Rule) -> Judgement:
    """Measured points held against their predictions; measured: their own exponent."""
    gap = comparison.difference
    if gap is None:
        return Judgement(comparison.p, "fewer than two points with a prediction stand out of their noise")
    doubt, own = too_wide(gap.half_width, measured, rule), NORMAL_95 * comparison.apart
    if doubt and own > _most(measured, rule):
        doubt = f"half-width {gap.half_width:.2g} is over {_most(measured, rule):.2g}, that of the prediction alone is "
        doubt += f"{own:.2g}: larger widths would tell, more replicas would not"
    return Judgement(comparison.p, doubt)


def rule_of(fit: Fit) -> Rule:
    """The usual rule of a law."""
    return GEOMETRIC if fit.geometric else POWER


def error_of_difference(slope: Slope, expected: Expected) -> tuple[float, float]:
    """Standard error, and its degrees of freedom, of a fitted minus an expected rate; noise they share cancels."""
    if expected.replicates is None or expected.influence is None:
        return slope.stderr, slope.dof
    scale = slope.stderr / max(standard_error(slope.replicates), 1e-300)  # widened or rounded like the slope
    error = scale * standard_error(slope.replicates - expected.replicates)
    return max(error, RESOLUTION), degrees_of_freedom(slope.influence - expected.influence)


def too_wide(half_width: float, value: float, rule: Rule) -> str:
    """The reason why an interval is too wide for an agreement to count, with what it would take, or ""."""
    if rule.own_scale and half_width >= abs(value):
        return ": ".join(filter(None, ("the interval holds 0, that is, no contraction", rule.for_zero)))
    most = _most(value, rule)
    if half_width <= most:
        return ""
    share = f" ({MEANINGFUL:g} of the rate)" if rule.own_scale else ""
    doubt = f"half-width {half_width:.2g} is over {most:.2g}{share}"
    return ": ".join(filter(None, (doubt, _remedy(half_width / most, rule))))


def _most(value: float, rule: Rule) -> float:
    """The widest half of an interval with which an agreement counts."""
    return MEANINGFUL * abs(value) if rule.own_scale else MEANINGFUL


def _remedy(excess: float, rule: Rule) -> str:
    """What would make an interval `excess` times narrower: its square in replicas."""
    if not rule.more:
        return ""
    factor = f"about {math.ceil(round(excess**2, 6))} times the {rule.more}"
    return f"{factor}, or {rule.wider}, would do" if rule.wider else f"{factor} would do"
