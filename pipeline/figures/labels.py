"""Words and colours that the figures and the report of a study share.

Colours are those of Okabe and Ito, which colour-blind readers can distinguish.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from rnnlimits.quantities.trained import CONSTANT
from rnnlimits.statistics.ratefile import Rate, RatePoint

BLACK, GREY = "#000000", "#7f7f7f"
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
BAR = 1.96  # standard errors in an error bar: 95%, like the intervals
TEX = {"beta": r"\beta", "eps": r"\varepsilon"}
RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
SYMBOLS = {"beta": "β", "eps": "ε", "depth": "τ", "phi": "φ", "N": "N"}


def power_of_ten(value: float) -> str:
    """A power of ten in plain text: 10⁻²."""
    return "10" + f"{math.log10(value):.0f}".translate(RAISED) if value > 0 else ""


def spaced(items: Sequence[Any], most: int) -> list[Any]:
    """At most `most` items, evenly spaced, with the first and the last."""
    picked = np.unique(np.linspace(0, len(items) - 1, min(most, len(items))).round().astype(int))
    return [items[index] for index in picked]


def without_exponent(rate: Rate) -> bool:
    """Whether the rate has no exponent to show."""
    return math.isnan(rate.exponent) or rate.refused


def is_constant(rate: Rate) -> bool:
    """Whether the rate has no exponent because it tends to a constant."""
    return rate.refused and rate.reason.startswith(CONSTANT)


def axis_of(at: str) -> str:
    """Fixed coordinates as TeX where they are one number: the axis of a series."""
    name, _, value = at.partition("=")
    return rf"${TEX[name]}$ = {value}" if name in TEX and " " not in value else at


def without_rate(rates: Sequence[Rate]) -> str:
    """What a title says where no series has an exponent; "" if any has one."""
    if not all(map(without_exponent, rates)):
        return ""
    return "a constant, no rate" if all(map(is_constant, rates)) else "no rate can be determined yet"


def moment(rates: Sequence[Rate]) -> str:
    """When in training all series hold, as the end of a title: " at t = 2"; "" if at no one time."""
    times = {rate.time for rate in rates}
    return f" at t = {times.pop():g}" if len(times) == 1 and not math.isnan(next(iter(times))) else ""


def fixed(rate: Rate) -> str:
    """The series' fixed coordinates in mathematical symbols: β = 0.75, N = ∞."""
    return ", ".join(
        f"{SYMBOLS.get(key, key)}{value and ' = '}{value.replace('infinity', '∞')}" for key, value in rate.where.items()
    )


def series(rate: Rate) -> str:
    """The series' fixed coordinates, its exponent, and the predicted one or that at infinity."""
    number = f"p = {rate.exponent:.3f} ± {0.5 * (rate.ci_high - rate.ci_low):.3f}"
    beside = "" if math.isnan(rate.expected) else f" (at infinity {rate.expected:.3g})"
    if not math.isnan(rate.predicted):
        beside = f" (predicted {rate.predicted:.3g})"
    if without_exponent(rate):
        number = "a constant" if is_constant(rate) else "not determined"
    return f"{fixed(rate)}:  {number}{beside}"


def predicted_law(rate: Rate) -> tuple[list[float], list[float]]:
    """The predicted curve, abscissas and values: through its points, or with its slope through the fit's middle."""
    points = [point for point in rate.cloud if point.predicted > 0]
    if points:
        return [point.variable for point in points], [point.predicted for point in points]
    used = [point.variable for point in rate.cloud if point.used]
    if without_exponent(rate) or math.isnan(rate.predicted) or not used:
        return [], []
    ends = [min(used), max(used)]
    depth = ends if rate.law == "geometric" else [math.log(end) for end in ends]
    middle = 0.5 * sum(depth)
    level = rate.prefactor * math.exp(-rate.exponent * middle)
    return ends, [level * math.exp(-rate.predicted * (one - middle)) for one in depth]


def predicted_exponents(rate: Rate) -> tuple[list[float], list[float]]:
    """Predicted exponents between neighbouring predicted points, and before them their abscissas; perhaps empty."""
    points = [point for point in rate.cloud if point.predicted > 0]
    middles, slopes = [], []
    for one, other in pairwise(points):
        geometric = rate.law == "geometric"
        apart = other.variable - one.variable if geometric else math.log(other.variable / one.variable)
        middle = 0.5 * (one.variable + other.variable) if geometric else math.sqrt(one.variable * other.variable)
        middles.append(middle)
        slopes.append(math.log(one.predicted / other.predicted) / apart)
    return middles, slopes


def upper_limit(point: RatePoint) -> float:
    """95% upper limit of a root whose debiased square came out negative."""
    square = -(point.estimate**2) + BAR * point.stderr**2
    return math.sqrt(square) if square > 0 else math.nan
