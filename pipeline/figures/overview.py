"""The figures that compare a whole study with its predictions: collapse, exponents, every point's ratio, the budget.

Source: docs/model.md, "Finite width".
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from functools import partial

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from rnnlimits.figures.budget import MOST_PANELS, budget_figure, budgets
from rnnlimits.figures.drawings import entitle
from rnnlimits.figures.labels import BAR, COLOURS, GREY, axis_of, moment, spaced
from rnnlimits.quantities.base import about
from rnnlimits.statistics.bootstrap import Array
from rnnlimits.statistics.ratefile import Rate, RatePoint

MARKERS = ("o", "s", "^", "D", "<", "P", "X", "*")
BIASES = (("output_bias", "less unit noise"), ("output_bias", "twin"))  # functions of the richness alone, but for 1/N
AGAINST_BETA = {  # quantities whose exponents are drawn against beta
    "fluctuation": (("output_fluctuation", "half-difference"),),
    "bias": BIASES,
    "even part": (("output_even_in_n", "twin"),),
}
SHORTEST_BAR = 0.5  # ratios with longer bars say nothing, and are not drawn
MOST_COLUMNS = 4


def overview(rates: Sequence[Rate]) -> Iterator[tuple[str, Figure]]:
    """The names and figures that a study's rates allow, most telling first."""
    return ((name, draw()) for name, draw in overviews(rates))


def overviews(rates: Sequence[Rate]) -> Iterator[tuple[str, Callable[[], Figure]]]:
    """The same, before they are drawn."""
    biases = [rate for rate in rates if (rate.quantity, rate.estimator) in BIASES and _foreseen(rate)]
    if any(rate.variable == "N" and "beta" in rate.where for rate in biases):
        alone = [rate for rate in rates if rate.quantity == "richness_bias"]
        yield "collapse", partial(collapse_figure, biases, alone)
    compared = [rate for rate in rates if rate.law == "power" and rate.variable == "N" and _told(rate)]
    if compared:
        yield "measured_over_predicted", partial(ratio_page, compared)
    of_beta = [rate for rate in rates if rate.variable == "N" and "beta" in rate.where]
    against = [rate for rate in of_beta if (rate.quantity, rate.estimator) in itertools.chain(*AGAINST_BETA.values())]
    if len({rate.at for rate in against if _foreseen(rate)}) > 1:
        yield "exponents", partial(exponent_figure, against)
    if found := budgets(rates):
        yield "error_budget", partial(budget_figure, dict(spaced(list(found.items()), MOST_PANELS)))


def _told(rate: Rate) -> list[RatePoint]:
    """Points that say something about their prediction."""
    return [p for p in _foreseen(rate) if p.estimate > 0 and BAR * p.stderr < SHORTEST_BAR * p.predicted]


def _foreseen(rate: Rate) -> list[RatePoint]:
    return [point for point in rate.cloud if point.predicted > 0]


def richness(rate: Rate, width: float) -> float:
    """N^-(1 - beta), or that of all widths."""
    if "eps" in rate.where:
        return float(rate.where["eps"])
    return float(width ** -(1 - float(rate.where["beta"])))


# --- collapse ----------------------------------------------------------------------------------------------------


def collapse_figure(rates: Sequence[Rate], alone: Sequence[Rate] = ()) -> Figure:
    """Bias of the output against the richness: a series for each axis, its predictions dashed.

    alone: rates of rich twins along the richness, without networks, as a line.
    """
    figure = plt.figure(figsize=(5.2, 4.2))
    ax = figure.subplots()
    for rate, colour, marker in zip(rates, itertools.cycle(COLOURS), itertools.cycle(MARKERS), strict=False):
        _measured(ax, rate, colour, marker)
        points = _foreseen(rate)
        ax.plot(
            [richness(rate, p.variable) for p in points], [p.predicted for p in points], color=colour, ls=(0, (4, 2))
        )
    for rate in alone:
        points = [p for p in rate.cloud if p.estimate > 0]
        x, y = [1 / p.variable for p in points], [p.estimate for p in points]
        ax.plot(x, y, color="black", linewidth=0.9, label=f"rich twins, {rate.at.split()[-1]}", zorder=2)
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
    ax.xaxis.set_minor_formatter(NullFormatter())
    values = [p.estimate for rate in rates for p in rate.cloud if p.estimate > 0]
    values += [p.predicted for rate in rates for p in _foreseen(rate)]
    ax.set_ylim(0.5 * min(values), 2 * max(values))
    ax.set_xlabel(r"richness $\varepsilon = N^{-(1 - \beta)}$")
    ax.set_ylabel(about(rates[0]).ordinate)
    ax.legend(loc="upper left")
    entitle(figure, f"Bias of the output{moment(rates)}: a function of ε, plus a term in 1/N")
    words = "dashed: predicted, nothing fitted;  bars: 95%;  arrows: 95% upper limits"
    figure.supxlabel(words, fontsize=7, color=GREY)
    return figure


def _measured(ax: Axes, rate: Rate, colour: str, marker: str) -> None:
    """Points with bars; those whose bar reaches zero as upper limits."""
    clear = [p for p in rate.cloud if p.estimate > BAR * p.stderr]
    x, y, error = _columns(rate, clear)
    ax.errorbar(x, y, BAR * error, fmt=marker, color=colour, elinewidth=0.8, label=axis_of(rate.at), zorder=3)
    for point in rate.cloud:
        if point not in clear and np.isfinite(point.stderr):
            top = max(point.estimate, 0.0) + BAR * point.stderr
            ax.plot(richness(rate, point.variable), top, marker=r"$\downarrow$", color=colour, alpha=0.6, markersize=6)


def _columns(rate: Rate, points: Sequence[RatePoint]) -> tuple[Array, Array, Array]:
    x = np.array([richness(rate, p.variable) for p in points])
    return x, np.array([p.estimate for p in points]), np.array([p.stderr for p in points])


# --- exponents ---------------------------------------------------------------------------------------------------


def exponent_figure(rates: Sequence[Rate]) -> Figure:
    """Exponents over the study's widths against beta, with those at infinity as lines that compete for the slowest."""
    figure = plt.figure(figsize=(5.2, 4.0))
    ax = figure.subplots()
    beta = np.linspace(0.5, 1.0, 101)
    bias = next((rate for rate in rates if rate.quantity == "output_bias" and rate.expected > 0), None)
    factor = 2.0 if bias is None or abs(bias.expected / (1 - float(bias.where["beta"])) - 2) < 0.5 else 1.0
    orders = {"fluctuation": beta - 0.5, "bias": factor * (1 - beta), "even part": np.full(len(beta), 0.5)}
    slowest = np.minimum.reduce(list(orders.values()))
    ax.fill_between(beta, 0, slowest, color=GREY, alpha=0.12, linewidth=0)
    looks = zip(AGAINST_BETA.items(), COLOURS, MARKERS, strict=False)
    for (name, keys), colour, marker in looks:
        ax.plot(beta, orders[name], color=colour, ls=(0, (1, 2)))
        members = [rate for rate in rates if (rate.quantity, rate.estimator) in keys]
        x = np.array([float(rate.where["beta"]) for rate in members])
        error = np.array([0.5 * (rate.ci_high - rate.ci_low) for rate in members])
        y = np.array([rate.exponent for rate in members])
        ax.errorbar(x, y, error, fmt=marker, color=colour, elinewidth=0.8, label=name, zorder=3)
        ax.plot(
            x, [rate.predicted for rate in members], marker=marker, color=colour, ls="", mfc="white", ms=8, zorder=2
        )
    best = float(beta[np.argmax(slowest)])
    ax.axvline(best, color=GREY, linewidth=0.8)
    ax.set_xlim(0.49, 1.01)
    ax.set_ylim(-0.05, 1.05)
    ax.set_xlabel(r"$\beta$")
    ax.set_ylabel("exponent in $N$")
    ax.legend(loc="upper right")
    entitle(figure, f"Exponents in N{moment(rates)}, and the orders that compete")
    words = (
        f"filled: measured;  hollow: predicted;  dotted: at infinity;  grey: the slowest, best near beta = {best:.2f}"
    )
    figure.supxlabel(words, fontsize=7, color=GREY)
    return figure


# --- measured over predicted -------------------------------------------------------------------------------------


def ratio_page(rates: Sequence[Rate]) -> Figure:
    """Measured over predicted at every width: a panel for each quantity and estimator, a series for each `at`."""
    panels = [list(group) for _, group in itertools.groupby(rates, key=lambda rate: (rate.quantity, rate.estimator))]
    columns = min(MOST_COLUMNS, len(panels))
    rows = -(-len(panels) // columns)
    figure = plt.figure(figsize=(0.6 + 2.2 * columns, 0.9 + 1.7 * rows))
    axes = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).reshape(-1)
    for ax, members in zip(axes, panels, strict=False):
        _ratios(ax, members)
    for ax in axes[len(panels) :]:
        ax.set_axis_off()
    axes[0].set_xscale("log", base=2)
    axes[0].set_ylim(1 - 1.1 * SHORTEST_BAR, 1 + 1.1 * SHORTEST_BAR)
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper right", ncols=4)
    figure.suptitle("Measured over predicted", x=0.02, ha="left")
    words = "one point for each width N;  bars: 95%;  points with longer bars than 50% are not drawn"
    figure.supxlabel(words, fontsize=7, color=GREY)
    return figure


def _ratios(ax: Axes, rates: Sequence[Rate]) -> None:
    ax.axhline(1.0, color=GREY, linewidth=0.8, zorder=1)
    looks = zip(rates, itertools.cycle(COLOURS), itertools.cycle(MARKERS), strict=False)
    for index, (rate, colour, marker) in enumerate(looks):
        told = _told(rate)
        x = np.array([p.variable for p in told]) * 1.06 ** (index - (len(rates) - 1) / 2)
        ratio = np.array([p.estimate / p.predicted for p in told])
        error = np.array([p.stderr / p.predicted for p in told])
        ax.errorbar(
            x, ratio, BAR * error, fmt=marker, color=colour, elinewidth=0.7, markersize=3, label=axis_of(rate.at)
        )
    ax.set_title(f"{rates[0].quantity}\n({rates[0].estimator})", fontsize=7, loc="left")
