"""The figures stage: from rates.h5, limit.h5 and ensembles to SVG and PNG.

The same files give the same bytes. Colours are those of Okabe and Ito, which colour-blind readers can distinguish;
every series also has its own marker, so that a grey print can be read.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import matplotlib
import numpy as np

matplotlib.use("Agg")

from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter, ScalarFormatter

from rnnlimits.base import progress
from rnnlimits.base.arrays import deviation
from rnnlimits.figures.curves import (
    Curves,
    axis_words,
    diagonal,
    losses,
    named,
    outputs,
    read_limit,
    spread_axes,
    spread_probes,
)
from rnnlimits.figures.drawings import DOTS_PER_INCH, Drawing, entitle, save_all, seals
from rnnlimits.figures.in_time import course_figure, course_panels
from rnnlimits.figures.labels import (
    BAR,
    moment,
    power_of_ten,
    predicted_exponents,
    predicted_law,
    series,
    spaced,
    upper_limit,
    without_exponent,
    without_rate,
)
from rnnlimits.figures.labels import BLACK as BLACK
from rnnlimits.figures.labels import COLOURS as COLOURS
from rnnlimits.figures.labels import GREY as GREY
from rnnlimits.figures.overview import overviews
from rnnlimits.figures.quantiles import panels, panels_figure
from rnnlimits.quantities.base import about, variable_of, view_of
from rnnlimits.quantities.own import quantities_of
from rnnlimits.quantities.suprema import is_supremum
from rnnlimits.statistics.bootstrap import Array
from rnnlimits.statistics.ratefile import Rate, RatePoint, read_all
from rnnlimits.training import plan
from rnnlimits.training.plan import Cell

if TYPE_CHECKING:
    from rnnlimits.study import Study
    from rnnlimits.training.layout import Layout

MARKERS = ("o", "s", "^", "D", "<", "P", "X", "*")
MOST_BANDS = 4  # more bands would cover each other
MOST_DOTS = 48  # replicas shown as dots
STYLE: dict[str, Any] = {
    "axes.grid": True,
    "axes.labelsize": 9,
    "axes.linewidth": 0.6,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlesize": 9,
    "figure.constrained_layout.use": True,
    "figure.dpi": 72,  # that of SVG: what was measured for the layout is not measured again
    "figure.titlesize": 10.5,
    "font.family": "DejaVu Sans",
    "font.size": 8,
    "grid.color": "#e4e4e4",
    "grid.linewidth": 0.5,
    "legend.fontsize": 8,
    "legend.frameon": False,
    "legend.handlelength": 1.6,
    "lines.linewidth": 1.2,
    "lines.markersize": 4.5,
    "savefig.dpi": DOTS_PER_INCH,
    "svg.fonttype": "path",
    "svg.hashsalt": "rnnlimits",
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
}
CAPTION = "lines: fit;  dashed: predicted;  dotted: at infinity;  hollow: not in the fit;  bars: 95%"
DASHED, DOTTED = (0, (4, 2)), (0, (1, 2))


def run(study: Study, layout: Layout) -> list[str]:
    """Draw every figure of a study into its folder figures/; returns their names.

    Raises StudyError for a file that is missing, damaged or from another study.
    """
    with quantities_of(study), style():
        names = save_all(layout, plan.study_id(study), _drawings(study, layout))
    progress.note(f"{layout.figures}: {', '.join(names)}")
    return names


def style() -> AbstractContextManager[None]:
    """Draw in the style of this project, not in the user's default style."""
    settings: Any = matplotlib.rcParamsDefault | STYLE | {"backend": "Agg"}
    return plt.rc_context(settings)


def _drawings(study: Study, layout: Layout) -> Iterator[Drawing]:
    every = read_all(layout.rates_h5, study_id=plan.study_id(study))
    at_end, in_time = ([rate for rate in every if rate.in_time is wanted] for wanted in (False, True))
    rates = [rate for rate in at_end if not is_supremum(rate)]
    for name, draw in overviews(rates):
        yield Drawing(name, draw, f"{rates}")
    if found := course_panels(at_end, in_time):
        yield Drawing("exponents_in_time", partial(course_figure, found), f"{found}")
    for name, group in itertools.groupby(rates, key=lambda rate: rate.quantity):
        members = [rate for rate in group if rate.cloud]
        if members:
            yield Drawing(name, partial(_figure_of, members), f"{members}")
    yield from _curves(study, layout)


def _curves(study: Study, layout: Layout) -> Iterator[Drawing]:
    cells = [cell for cell in plan.cells(study) if cell.width == cell.steps_per_time]
    if not cells:
        return
    limit = read_limit(study, layout)
    shows = seals([layout.limit, *map(layout.ensemble, cells)])
    yield Drawing("outputs", partial(output_figure, study, layout, cells, limit), shows)
    yield Drawing("loss", partial(loss_figure, study, layout, cells, limit), shows)
    if found := panels(study, layout, cells, limit):
        yield Drawing("quantiles", partial(panels_figure, found, limit), shows)


def _figure_of(members: Sequence[Rate]) -> Figure:
    draw = {"surface": surface_figure, "ratio": ratio_figure}.get(view_of(members[0]), rate_figure)
    return draw(members)


# --- rates -----------------------------------------------------------------------------------------------------


def rate_figure(rates: Sequence[Rate]) -> Figure:
    """One quantity: a column for each estimator, estimates above, local exponents below, a series for each `at`."""
    columns = [list(group) for _, group in itertools.groupby(rates, key=lambda rate: rate.estimator)]
    styles = _styles(rates)
    figure = plt.figure(figsize=(0.7 + 3.6 * len(columns), 4.6 + 0.17 * len(styles)), layout="none")
    lines = len(styles) + (len(columns) > 1)
    places = {"height_ratios": (3, 1.7), **_places(figure, len(columns), 0.45 + 0.17 * lines)}
    panels = figure.subplots(2, len(columns), sharex="col", sharey="row", squeeze=False, gridspec_kw=places)
    for (upper, lower), column in zip(panels.T, columns, strict=True):
        rate_panel(upper, column, styles)
        local_panel(lower, column, styles)
        own = "" if moment(rates) else moment(column)
        _legend(upper, column, styles, column[0].estimator + own if len(columns) > 1 else "")
    _estimate_view(panels[0, 0], rates)
    _local_view(panels[1, 0], rates)
    panels[0, 0].set_ylabel(about(rates[0]).ordinate)
    panels[1, 0].set_ylabel("rate per step" if rates[0].law == "geometric" else "local exponent")
    entitle(figure, headline(rates))
    limits = any(p.estimate <= 0 for rate in rates for p in rate.cloud)
    figure.supxlabel(CAPTION + ";  arrows: 95% upper limits" * limits, fontsize=7, color=GREY)
    return figure


def _places(figure: Figure, columns: int, above: float) -> dict[str, float]:
    """Where two rows of panels lie, with `above` inches for the title and legends; the other margins are all alike.

    These figures are most of all, and measuring their labels for a layout takes as long as drawing them.
    """
    width, height = figure.get_size_inches()
    left, right, below, gap = 0.85, 0.1, 0.72, 0.2
    row, column = (height - above - below - gap) / 2, (width - left - right - (columns - 1) * gap) / columns
    edges = {"left": left / width, "right": 1 - right / width, "bottom": below / height, "top": 1 - above / height}
    return {**edges, "hspace": gap / row, "wspace": gap / column}


def surface_figure(rates: Sequence[Rate]) -> Figure:
    """Error against N, a line for each K, a panel for each surface; two rows share the points of one surface."""
    surfaces = [(rate, next(r for r in rates if r.at == rate.at and r.variable == "K")) for rate in rates[::2]]
    figure = plt.figure(figsize=(0.7 + 3.6 * len(surfaces), 3.8))
    for ax, (in_n, in_k) in zip(figure.subplots(1, len(surfaces), squeeze=False)[0], surfaces, strict=True):
        steps = sorted({point.variable for point in in_k.cloud})
        for k, colour, marker in zip(steps, itertools.cycle(COLOURS), itertools.cycle(MARKERS), strict=False):
            chosen = [p for p, other in zip(in_n.cloud, in_k.cloud, strict=True) if other.variable == k]
            x, y, error = (np.array([getattr(p, key) for p in chosen]) for key in ("variable", "estimate", "stderr"))
            ax.errorbar(x, y, BAR * error, fmt=f"{marker}-", color=colour, elinewidth=0.8, label=f"K = {k:g}")
        ax.set_xscale("log", base=2)
        ax.set_yscale("log")
        ax.set_xlabel("width $N$")
        ax.set_title(in_n.at, loc="left")
        ax.legend(title=f"p = {in_n.exponent:.3f}, q = {in_k.exponent:.3f}")
    entitle(figure, f"{about(rates[0]).title}: square $aN^{{-2p}} + bK^{{-2q}}${moment(rates)}")
    return figure


def ratio_figure(rates: Sequence[Rate]) -> Figure:
    """Ratios of measured to predicted constants against the variable; single probes thin and grey, all with bars."""
    figure = plt.figure(figsize=(4.6, 3.6))
    ax = figure.subplots()
    ax.axhline(1.0, color=GREY, linestyle=DASHED, linewidth=0.9)
    for rate in rates:
        x, y, error = (np.array([getattr(p, key) for p in rate.cloud]) for key in ("variable", "estimate", "stderr"))
        if rate.single:
            ax.plot(x, y, color=GREY, linewidth=0.5, alpha=0.6, zorder=1)
        else:
            ax.errorbar(x, y, BAR * error, fmt="o-", color=COLOURS[0], elinewidth=0.8, zorder=3)
    ax.set_xscale("log", base=2)
    ax.set_xlabel(variable_of(rates[0]).axis)
    ax.set_ylabel(about(rates[0]).ordinate)
    figure.suptitle(about(rates[0]).title, fontsize=9)
    figure.supxlabel("dashed: predicted;  grey: single probes;  bars: 95%", fontsize=7, color=GREY)
    return figure


def headline(rates: Sequence[Rate]) -> str:
    """The title of a figure: the quantity and the law that is fitted, or why there is none."""
    law = without_rate(rates) or f"${variable_of(rates[0]).law}$"
    return f"{about(rates[0]).title}: {law}{moment(rates)}"


@dataclass(frozen=True)
class Look:
    """How one series is drawn; dodge moves it sideways, a factor on a logarithmic axis."""

    colour: str
    marker: str
    dodge: float


def _styles(rates: Sequence[Rate]) -> dict[str, Look]:
    names = list(dict.fromkeys(rate.at for rate in rates))
    looks = zip(itertools.cycle(COLOURS), itertools.cycle(MARKERS), names, strict=False)
    middle = (len(names) - 1) / 2
    step = min(1.035, 1.12 ** (1 / max(1, len(names) - 1)))
    return {name: Look(colour, marker, step ** (index - middle)) for index, (colour, marker, name) in enumerate(looks)}


def rate_panel(ax: Axes, rates: Sequence[Rate], styles: dict[str, Look]) -> None:
    """Estimates with 95% bars, fitted and predicted laws; logarithmic axes (geometric laws: a linear abscissa)."""
    geometric = rates[0].law == "geometric"
    ax.set_yscale("log", nonpositive="clip")
    if not geometric:
        ax.set_xscale("log", base=2)
    for rate in rates:
        look = styles[rate.at]
        _points(ax, rate, look, 1.0 if geometric else look.dodge)
        _laws(ax, rate, look)
    if geometric:
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    else:
        _powers_of_two(ax, rates)


def _legend(ax: Axes, rates: Sequence[Rate], styles: dict[str, Look], title: str) -> None:
    """Put the legend above the panel, where it cannot hide points."""
    for rate in rates:
        look = styles[rate.at]
        hollow: dict[str, Any] = {"markerfacecolor": "white"} if without_exponent(rate) else {}
        ax.plot([], [], color=look.colour, marker=look.marker, label=series(rate), **hollow)
    place: dict[str, Any] = {"loc": "lower left", "bbox_to_anchor": (-0.02, 1.0), "borderaxespad": 0.2}
    legend = ax.legend(title=title or None, alignment="left", labelspacing=0.25, **place)
    legend.get_title().set_fontsize(9)


def _points(ax: Axes, rate: Rate, look: Look, dodge: float) -> None:
    """Used points filled, others hollow; an estimate that is not positive is shown as its 95% upper limit."""
    for used in (True, False):
        chosen = [p for p in rate.cloud if p.used == used and p.estimate > 0]
        if not chosen:
            continue
        x, y, error = (np.array([getattr(p, key) for p in chosen]) for key in ("variable", "estimate", "stderr"))
        ax.errorbar(
            x * dodge,
            y,
            np.minimum(BAR * error, [y * 0.999, np.full(len(y), np.inf)]),
            fmt=look.marker,
            color=look.colour,
            markerfacecolor=look.colour if used else "white",
            elinewidth=0.8,
            alpha=1.0 if used else 0.6,
            zorder=3,
        )
    below = [p for p in rate.cloud if p.estimate <= 0]
    if below:
        x = np.array([p.variable for p in below]) * dodge
        ax.plot(
            x, [upper_limit(p) for p in below], marker=r"$\downarrow$", color=look.colour, linestyle="", markersize=6
        )


def _laws(ax: Axes, rate: Rate, look: Look) -> None:
    """The fitted law over the used points, and the predicted curve."""
    ax.plot(*predicted_law(rate), color=look.colour, linestyle=DASHED, linewidth=0.9, zorder=2)
    if without_exponent(rate):
        return
    used = np.array([p.variable for p in rate.cloud if p.used])
    x = np.array([used.min(), used.max()])
    depth = x if rate.law == "geometric" else np.log(x)
    ax.plot(x, rate.prefactor * np.exp(-rate.exponent * depth), color=look.colour, zorder=2)


def _estimate_view(ax: Axes, rates: Sequence[Rate]) -> None:
    """Axis limits from the estimates, not from bars that reach down to zero; decimal ticks while they are readable."""
    values = [p.estimate for rate in rates for p in rate.cloud if p.estimate > 0]
    values += [p.estimate + BAR * p.stderr for rate in rates for p in rate.cloud if p.used]
    values += [p.predicted for rate in rates for p in rate.cloud if p.predicted > 0]
    values += [u for rate in rates for p in rate.cloud if p.estimate <= 0 and not math.isnan(u := upper_limit(p))]
    if not values:
        return
    low, high = min(values), max(values)
    low = min([low, *(max(p.estimate - BAR * p.stderr, low / 2) for rate in rates for p in rate.cloud if p.used)])
    margin = max((high / low) ** 0.05, 1.1)
    ax.set_ylim(low / margin, high * margin)
    decades = math.log10(high / low * margin**2)
    few_ticks(ax.yaxis)
    if decades < 3:
        ax.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if decades > 0.7 else range(1, 10), numticks=20))
        ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.3g}"))
    ax.yaxis.set_minor_formatter(NullFormatter())


def few_ticks(axis: Axis) -> None:
    """Powers of ten in plain text, and two ticks between them: ticks and formulas take most of the time to draw."""
    axis.set_major_formatter(FuncFormatter(lambda value, _: power_of_ten(value)))
    axis.set_minor_locator(LogLocator(subs=(2.0, 5.0), numticks=20))


def local_panel(ax: Axes, rates: Sequence[Rate], styles: dict[str, Look]) -> None:
    """Exponents between neighbouring points; fitted ones as a band, predicted ones dashed, those at infinity dotted."""
    geometric = rates[0].law == "geometric"
    for rate in rates:
        look = styles[rate.at]
        used = [p for p in rate.cloud if p.used]
        if len(used) >= 2:
            _local_points(ax, used, look, geometric)
        if not without_exponent(rate) and len(rates) <= MOST_BANDS:
            ax.axhspan(rate.ci_low, rate.ci_high, color=look.colour, alpha=0.15, linewidth=0)
        _lines_across(ax, rate, look)
    ax.yaxis.set_major_locator(MaxNLocator(5))
    ax.set_xlabel(variable_of(rates[0]).axis)


def _lines_across(ax: Axes, rate: Rate, look: Look) -> None:
    """Predicted exponents, between points or of all, and the exponent at infinity."""
    style: dict[str, Any] = {"color": look.colour, "linewidth": 0.9}
    middles, slopes = predicted_exponents(rate)
    if middles:
        ax.plot(middles, slopes, linestyle=DASHED, **style)
    elif not math.isnan(rate.predicted):
        ax.axhline(rate.predicted, linestyle=DASHED, **style)
    if not math.isnan(rate.expected) and rate.expected != rate.predicted:
        ax.axhline(rate.expected, linestyle=DOTTED, **style)


def _local_points(ax: Axes, used: Sequence[RatePoint], look: Look, geometric: bool) -> None:
    x = np.array([p.variable for p in used])
    middle = 0.5 * (x[1:] + x[:-1]) if geometric else np.sqrt(x[1:] * x[:-1]) * look.dodge
    value, low, high = (
        np.array([getattr(p, key) for p in used[:-1]]) for key in ("local_slope", "local_low", "local_high")
    )
    bars = np.abs(np.array([value - low, high - value]))
    ax.errorbar(middle, value, bars, fmt=look.marker, color=look.colour, markersize=3.5, elinewidth=0.8)


def _local_view(ax: Axes, rates: Sequence[Rate]) -> None:
    """Axis limits from quantiles: a few wild local exponents must not hide the others."""
    marks = [v for rate in rates for v in (rate.exponent, rate.expected, rate.predicted, rate.ci_low, rate.ci_high)]
    marks += [p.local_slope for rate in rates for p in rate.cloud]
    finite = np.array([v for v in marks if not math.isnan(v)])
    if not len(finite):
        return
    low, high = np.quantile(finite, (0.03, 0.97))
    margin = 0.25 * (high - low) + 0.03 * max(abs(low), abs(high)) + 1e-9
    ax.set_ylim(low - margin, high + margin)


def _powers_of_two(ax: Axes, rates: Sequence[Rate]) -> None:
    """Ticks at powers of two, written out, at most eight of them."""
    values = [p.variable for rate in rates for p in rate.cloud]
    octaves = math.log2(max(values) / min(values))
    ax.xaxis.set_major_locator(LogLocator(base=2, subs=(1.0,), numticks=9 if octaves <= 8 else 6))
    ax.xaxis.set_major_formatter(ScalarFormatter())
    ax.xaxis.set_minor_formatter(NullFormatter())
    ax.set_xlim(min(values) / 1.25, max(values) * 1.25)


# --- curves ----------------------------------------------------------------------------------------------------


def output_figure(study: Study, layout: Layout, cells: Sequence[Cell], limit: Curves) -> Figure:
    """g_t on a few probes against replicas at checkpoints: a column for each axis, smallest and largest width."""
    axes = spread_axes(cells)
    rows = 2 if any(len(diagonal(cells, axis)) > 1 for axis in axes) else 1
    figure = plt.figure(figsize=(0.8 + 2.7 * len(axes), 0.9 + 2.2 * rows))
    panels = figure.subplots(rows, len(axes), sharex=True, sharey=True, squeeze=False)
    probes = spread_probes(limit)
    for column, axis in zip(panels.T, axes, strict=True):
        ladder = diagonal(cells, axis)
        for ax, cell in zip(column, (ladder[0], ladder[-1]), strict=False):
            _output_panel(ax, study, layout, cell, limit, probes)
    for ax in panels[:, 0]:
        ax.set_ylabel("output")
    for ax in panels[-1]:
        ax.set_xlabel("training time $t$")
    panels[0, 0].set_ylim(_output_range(limit, probes))
    figure.suptitle(f"Outputs of trained networks and the limit $g_t$, on {len(probes)} probes")
    figure.supxlabel(
        "lines: limit;  dots: single replicas;  markers with bars: their mean and s.d.", fontsize=7, color=GREY
    )
    return figure


def _output_range(limit: Curves, probes: Sequence[int]) -> tuple[float, float]:
    curves = limit.output_fine[:, probes]
    low, high = float(curves.min()), float(curves.max())
    margin = 0.6 * (high - low) + 1e-9
    return low - margin, high + margin


def _output_panel(ax: Axes, study: Study, layout: Layout, cell: Cell, limit: Curves, probes: Sequence[int]) -> None:
    time, output = outputs(study, layout, cell, probes)
    ax.set_title(named(f"{axis_words(cell.axis)},  N = {cell.width}", output))
    step = float(limit.fine_time[-1]) * 0.016
    for index, (colour, marker) in enumerate(zip(COLOURS, MARKERS, strict=False)):
        if index == len(probes):
            break
        ax.plot(limit.fine_time, limit.output_fine[:, probes[index]], color=colour, zorder=3)
        _scatter(ax, time + step * (index - (len(probes) - 1) / 2), output[:, :, index], colour, marker)


def _scatter(ax: Axes, time: Array, output: Array, colour: str, marker: str) -> None:
    """Replicas (replica, time) as dots, their mean and s.d. as a marker with a bar."""
    dots = output[:MOST_DOTS]
    x = np.broadcast_to(time, dots.shape)
    ax.plot(x.ravel(), dots.ravel(), ".", color=colour, alpha=0.25, markersize=2, zorder=1)
    bars: dict[str, Any] = {"fmt": marker, "markersize": 3.5, "elinewidth": 0.8, "zorder": 4}
    edge: dict[str, Any] = {"markeredgecolor": "white", "markeredgewidth": 0.4}
    ax.errorbar(time, output.mean(0), deviation(output), color=colour, **bars, **edge)


def loss_figure(study: Study, layout: Layout, cells: Sequence[Cell], limit: Curves) -> Figure:
    """Squared error along the path, averaged over replicas, against the limit loss: a panel for each axis."""
    axes = spread_axes(cells)
    figure = plt.figure(figsize=(0.8 + 2.7 * len(axes), 3.2))
    panels = figure.subplots(1, len(axes), sharey=True, squeeze=False)[0]
    for ax, axis in zip(panels, axes, strict=True):
        for cell, colour, marker in zip(spaced(diagonal(cells, axis), 3), COLOURS, MARKERS, strict=False):
            _loss_curve(ax, study, layout, cell, colour, marker)
        ax.plot(limit.fine_time, limit.loss, color=BLACK, label="limit", zorder=3)
        ax.axhline(limit.loss_floor, color=GREY, linestyle=":", linewidth=0.9, label="floor")
        ax.set_title(axis_words(axis))
        ax.set_xlabel("training time $t$")
    panels[0].set_ylabel("squared error along the path")
    panels[-1].legend(loc="upper right", labelspacing=0.25)
    figure.suptitle("Loss along the training path and the limit's loss")
    figure.supxlabel("markers: mean over replicas;  bars: 95%", fontsize=7, color=GREY)
    return figure


def _loss_curve(ax: Axes, study: Study, layout: Layout, cell: Cell, colour: str, marker: str) -> None:
    time, mean, stderr = losses(study, layout, cell)
    style: dict[str, Any] = {"fmt": marker, "markersize": 3, "elinewidth": 0.6}
    ax.errorbar(time, mean, BAR * stderr, color=colour, label=named(f"N = {cell.width}", mean), **style)
