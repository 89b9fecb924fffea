"""The error budget: the mean square error of the output at K = N, and the parts that add up to it.

Source: docs/model.md, "Finite width".
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter, ScalarFormatter

from rnnlimits.figures.labels import BAR, BLACK, COLOURS, GREY, axis_of
from rnnlimits.statistics.ratefile import Rate, RatePoint

TOTAL = ("output_rms", "plain")
NOISE = ("sgd_noise", "twin")
CONSTANT = "sgd_noise_constant"
MOST_PANELS = 4


@dataclass(frozen=True)
class Part:
    """A part of the error: its name in the legend, the rows that measure it, best first, and how it is drawn."""

    name: str
    keys: tuple[tuple[str, str], ...]
    colour: str
    marker: str


PARTS = (
    Part("all", (TOTAL,), BLACK, "D"),
    Part("fluctuation", (("output_fluctuation", "half-difference"), ("output_fluctuation", "plain")), COLOURS[0], "o"),
    Part("even part", (("output_even_in_n", "twin"),), COLOURS[2], "^"),
    Part("one-pass noise", (NOISE,), COLOURS[4], "P"),
    Part(
        "bias",
        tuple(("output_bias", estimator) for estimator in ("less unit noise", "twin", "pair-mean", "plain")),
        COLOURS[1],
        "s",
    ),
)


@dataclass(frozen=True)
class Square:
    """A mean square at one width, half its 95% bar, its prediction or NaN, and whether it is clear of zero."""

    width: float
    value: float
    half: float
    predicted: float
    clear: bool


def square(point: RatePoint) -> Square:
    """The square of a point; one whose bar reaches zero is given by its 95% upper limit."""
    clear = point.estimate > BAR * point.stderr
    root = point.estimate if clear else max(point.estimate, 0.0) + BAR * point.stderr
    predicted = point.predicted**2 if point.predicted > 0 else math.nan
    return Square(point.variable, root**2, 2 * root * BAR * point.stderr, predicted, clear)


def budgets(rates: Sequence[Rate]) -> dict[str, dict[str, list[Square]]]:
    """The parts of each axis by `at` and name. Only axes with the whole error and at least two of its parts."""
    found = {}
    for total in (rate for rate in rates if (rate.quantity, rate.estimator, rate.variable) == (*TOTAL, "N")):
        parts = {part.name: squares for part in PARTS if (squares := _squares(part, total, rates))}
        if len(parts) > 2 and len(parts[PARTS[0].name]) > 1:
            found[total.at] = parts
    return found


def _squares(part: Part, total: Rate, rates: Sequence[Rate]) -> list[Square]:
    """A part at the widths of the whole error; the noise is that of twins with as many steps."""
    widths = {point.variable for point in total.cloud if math.isfinite(point.stderr)}
    for key, rate in itertools.product(part.keys, rates):
        if (rate.quantity, rate.estimator) == key:
            beside = rate.variable == "K" if key == NOISE else (rate.variable, rate.at) == ("N", total.at)
            points = [p for p in rate.cloud if beside and p.variable in widths and math.isfinite(p.stderr)]
            if points:
                squares = [square(point) for point in points]
                return _foretold(squares, rate, rates) if key == NOISE else squares
    return []


def _foretold(squares: list[Square], noise: Rate, rates: Sequence[Rate]) -> list[Square]:
    """Squares of the noise with the predicted ones, constant² / K: its points over those of the ratio are known."""
    ratios = {p.variable: p for rate in rates if rate.quantity == CONSTANT and not rate.single for p in rate.cloud}
    for point in noise.cloud:
        ratio = ratios.get(point.variable)
        if ratio is not None and ratio.used and ratio.estimate > 0 and point.estimate > 0:
            constant = point.variable * (point.estimate / ratio.estimate) ** 2
            return [replace(one, predicted=constant / one.width) for one in squares]
    return squares


def budget_figure(found: dict[str, dict[str, list[Square]]]) -> Figure:
    """A panel for each axis: mean squares against the width, measured as points, predicted as lines."""
    figure = plt.figure(figsize=(1.9 + 2.5 * len(found), 3.7))
    panels = figure.subplots(1, len(found), sharex=True, sharey=True, squeeze=False)[0]
    for ax, (at, parts) in zip(panels, found.items(), strict=True):
        _panel(ax, parts)
        ax.set_title(axis_of(at))
        ax.set_xlabel("width $N$  ($K = N$)")
    _axes(panels[0], found)
    panels[0].set_ylabel("mean square over probes")
    looks = {part.name: part for part in PARTS if any(part.name in parts for parts in found.values())}
    handles = [panels[0].plot([], [], color=p.colour, marker=p.marker, label=p.name)[0] for p in looks.values()]
    figure.legend(handles=handles, loc="outside right upper")
    figure.suptitle("Error budget of the output: mean square of all of it and of its parts")
    words = "points: measured;  lines: predicted, nothing fitted;  bars: 95%;  arrows: 95% upper limits"
    figure.supxlabel(words, fontsize=7, color=GREY)
    return figure


def _panel(ax: Axes, parts: dict[str, list[Square]]) -> None:
    ax.set_xscale("log", base=2)
    ax.set_yscale("log", nonpositive="clip")
    for part in PARTS:
        squares = parts.get(part.name, [])
        clear = [one for one in squares if one.clear]
        half = [min(one.half, 0.999 * one.value) for one in clear], [one.half for one in clear]
        x, y = [one.width for one in clear], [one.value for one in clear]
        ax.errorbar(x, y, half, fmt=part.marker, color=part.colour, elinewidth=0.8, markersize=4, zorder=3)
        below = [one for one in squares if not one.clear]
        arrow: dict[str, Any] = {
            "marker": r"$\downarrow$",
            "color": part.colour,
            "ls": "",
            "alpha": 0.6,
            "markersize": 6,
        }
        ax.plot([one.width for one in below], [one.value for one in below], **arrow)
        foretold = [one for one in squares if one.predicted > 0]
        ax.plot([one.width for one in foretold], [one.predicted for one in foretold], color=part.colour, zorder=2)


def _axes(ax: Axes, found: dict[str, dict[str, list[Square]]]) -> None:
    """Limits from values and predictions, not from bars; ticks at powers of two, written out."""
    every = [one for parts in found.values() for squares in parts.values() for one in squares]
    values = [one.value for one in every] + [one.predicted for one in every if one.predicted > 0]
    ax.set_ylim(0.5 * min(values), 2 * max(values))
    ax.xaxis.set_major_locator(LogLocator(base=2, subs=(1.0,), numticks=6))
    ax.xaxis.set_major_formatter(ScalarFormatter())
    ax.xaxis.set_minor_formatter(NullFormatter())
