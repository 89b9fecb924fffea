"""The figure of exponents against training time, measured and predicted."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rnnlimits.figures.labels import COLOURS, GREY, axis_of, without_exponent
from rnnlimits.quantities.suprema import base_of, is_supremum
from rnnlimits.statistics.ratefile import Rate

MARKERS = ("o", "s", "^", "D", "<", "P", "X", "*")
MOST_COLUMNS = 4
WIDEST_BAR = 0.25  # half-intervals that are wider say nothing of an exponent
BEYOND = 0.14  # of the longest time: where suprema are drawn

Key = tuple[str, str]


def course_panels(rates: Sequence[Rate], in_time: Sequence[Rate]) -> dict[Key, list[Rate]]:
    """The rows in N to draw, by quantity and estimator: at every checkpoint, at the end, and over all of them.

    rates: the rows of rates.csv; in_time: those at the other checkpoints. Only quantities with exponents at two times.
    """
    drawn = [rate for rate in (*in_time, *rates) if rate.variable == "N" and not without_exponent(rate)]
    panels = {key: [rate for rate in drawn if base_of(rate) == key] for key in dict.fromkeys(map(base_of, in_time))}
    return {key: rows for key, rows in panels.items() if len({rate.time for rate in rows if not is_supremum(rate)}) > 1}


def course_figure(panels: dict[Key, list[Rate]]) -> Figure:
    """Exponents against time: a panel for each quantity, a series for each `at`; at the right, that of the supremum."""
    columns = min(MOST_COLUMNS, len(panels))
    rows = -(-len(panels) // columns)
    figure = plt.figure(figsize=(0.6 + 2.2 * columns, 1.1 + 1.7 * rows))
    axes = figure.subplots(rows, columns, squeeze=False).reshape(-1)
    names = list(dict.fromkeys(rate.at for members in panels.values() for rate in members))
    looks = dict(zip(names, zip(itertools.cycle(COLOURS), itertools.cycle(MARKERS), strict=False), strict=False))
    for ax, (key, members) in zip(axes, panels.items(), strict=False):
        _panel(ax, members, looks)
        ax.set_title(f"{key[0]}\n({key[1]})", fontsize=7, loc="left")
    for ax in axes[len(panels) :]:
        ax.set_axis_off()
    for ax in axes[: len(panels)][-columns:]:  # the lowest of each column
        ax.set_xlabel("training time $t$")
    for name, (colour, marker) in looks.items():
        axes[0].plot([], [], color=colour, marker=marker, linestyle="", label=axis_of(name))
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper right", ncols=4)
    figure.suptitle("Exponents in $N$ against training time $t$", x=0.02, ha="left")
    words = "filled: measured;  hollow, dashed: predicted;  bars: 95%;  right of the line: largest over all t"
    figure.supxlabel(words, fontsize=7, color=GREY)
    return figure


def _panel(ax: Axes, rates: Sequence[Rate], looks: dict[str, tuple[str, str]]) -> None:
    times = sorted({rate.time for rate in rates if not is_supremum(rate)})
    end = times[-1] * (1 + BEYOND)
    step = 0.02 * times[-1]
    for index, name in enumerate(looks):
        members = [rate for rate in rates if rate.at == name]
        shift = step * (index - (len(looks) - 1) / 2)
        _series(ax, sorted((r for r in members if not is_supremum(r)), key=lambda r: r.time), shift, looks[name])
        _series(ax, [r for r in members if is_supremum(r)], shift, looks[name], end)
    if any(map(is_supremum, rates)):
        ax.axvline(times[-1] * (1 + BEYOND / 2), color=GREY, linewidth=0.6)
    ax.set_xticks(times, [f"{time:g}" for time in times])
    ax.set_xlim(-0.1 * times[-1], times[-1] * (1 + BEYOND) + 0.08 * times[-1])


def _series(ax: Axes, rates: Sequence[Rate], shift: float, look: tuple[str, str], at: float = math.nan) -> None:
    """Measured exponents that say something, with bars, and predicted ones; at: the abscissa, if it is not the time."""
    colour, marker = look
    x = np.array([rate.time if math.isnan(at) else at for rate in rates]) + shift
    half = np.array([0.5 * (rate.ci_high - rate.ci_low) for rate in rates])
    y = np.where(half < WIDEST_BAR, [rate.exponent for rate in rates], np.nan)
    style: dict[str, Any] = {"color": colour, "elinewidth": 0.7, "markersize": 3.5, "zorder": 3}
    ax.errorbar(x, y, half, fmt=marker, **style)
    predicted = [rate.predicted for rate in rates]
    hollow: dict[str, Any] = {"markerfacecolor": "white", "markersize": 6, "linewidth": 0.9, "zorder": 2}
    ax.plot(x, predicted, color=colour, marker=marker, linestyle=(0, (4, 2)), **hollow)
