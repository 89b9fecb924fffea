"""The figures stage: from rates.h5, limit.h5 and ensembles to SVG and PNG.

The same files give the same bytes. Colours are those of Okabe and Ito, told apart by colour-blind readers; every
series also has a marker of its own, so that a grey print can be read.
"""

from __future__ import annotations

import io
import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib
import numpy as np

matplotlib.use("Agg")

from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter, ScalarFormatter

from pipeline import plan, progress, surface
from pipeline.estimators import CONTRACTIONS, ENTRIES, TWIN_ENTRIES, Contraction, Quantity, TwinQuantity
from pipeline.files import durable, store
from pipeline.files.ensembles import open_ensemble
from pipeline.plan import Cell
from pipeline.ratefile import Rate, RatePoint, read
from pipeline.resampling import Array
from pipeline.rntk import estimators as rntk

if TYPE_CHECKING:
    from pipeline.layout import Layout
    from pipeline.study import Study

BLACK, GREY = "#000000", "#7f7f7f"
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = ("o", "s", "^", "D", "<", "P", "X", "*")
BAR = 1.96  # standard errors in an error bar: 95%, like the intervals
MOST_CURVES = 4  # probes in a panel of curves
MOST_BANDS = 4  # more would cover one another
MOST_DOTS = 48  # replicas shown as dots
MOST_BINS = 16  # of the loss
MOST_PANELS = 3  # betas in the figures of curves and of losses
AXES = {
    "draws": "values in the average",
    "N": "width $N$  ($K = N$)",
    "K": "steps per unit of time $K$",
    "hidden_updates": "hidden updates $k$",
    "chain_steps": "chain steps $k$",
    "n": "width $n$",
    "steps": "steps of gradient descent",
}
STYLE: dict[str, Any] = {
    "axes.grid": True,
    "axes.labelsize": 9,
    "axes.linewidth": 0.6,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlesize": 9,
    "figure.constrained_layout.use": True,
    "figure.dpi": 100,
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
    "savefig.dpi": 200,
    "svg.fonttype": "path",
    "svg.hashsalt": "rnnlimits",
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
}
DRAWN: tuple[Quantity | Contraction | TwinQuantity, ...] = (
    *CONTRACTIONS,
    *TWIN_ENTRIES,
    *reversed(ENTRIES),
)  # of entries with one name the first of the registry wins
TITLES = (
    {entry.name: entry.title for entry in DRAWN}
    | rntk.TITLES
    | {
        "ergodic_average": "Averages of test functions of the chain",
        "loss_decay": "Fall of the loss of twins over its prediction",
        "output_surface": "Output error against the limit, N and K apart",
        "mixing": "Chains with one start, on their way to the stationary law",
        "sgd_noise_constant": "Noise of one-pass training over its prediction",
    }
)
ORDINATES = (
    {entry.name: entry.ordinate for entry in DRAWN}
    | rntk.ORDINATES
    | {
        "ergodic_average": "standard deviation",
        "mixing": "root mean square distance",
        "sgd_noise_constant": "ratio",
    }
)
METADATA: dict[str, dict[str, Any]] = {"svg": {"Date": None, "Creator": None}, "png": {"Software": None}}
CAPTION = "lines: fit;  dashed: expected;  hollow: not in the fit;  bars: 95%"


def run(study: Study, layout: Layout) -> list[str]:
    """Draw every figure of a study into its folder figures/; returns their names.

    Raises StudyError for a file that is missing, damaged or of another study.
    """
    drawn = []
    with style():
        for name, figure in _figures(study, layout):
            save(layout, name, figure)
            drawn.append(name)
    progress.note(f"{layout.figures}: {', '.join(drawn)}")
    return drawn


def style() -> AbstractContextManager[None]:
    """Draw in the style of this project, not in the user's own."""
    settings: Any = matplotlib.rcParamsDefault | STYLE | {"backend": "Agg"}
    return plt.rc_context(settings)


def _figures(study: Study, layout: Layout) -> Iterator[tuple[str, Figure]]:
    rates = read(layout.rates_h5, study_id=plan.study_id(study))
    for name, group in itertools.groupby(rates, key=lambda rate: rate.quantity):
        members = [rate for rate in group if rate.cloud]
        if members:
            yield name, _drawn(name, members)
    cells = [cell for cell in plan.cells(study) if cell.width == cell.steps_per_time]
    if cells:
        limit = read_limit(study, layout)
        yield "outputs", output_figure(study, layout, cells, limit)
        yield "loss", loss_figure(study, layout, cells, limit)


def _drawn(name: str, members: Sequence[Rate]) -> Figure:
    if name == surface.NAME:
        return surface_figure(members)
    return ratio_figure(members) if members[0].law == "ratio" else rate_figure(members)


def save(layout: Layout, name: str, figure: Figure) -> None:
    """Write a figure as SVG and PNG into the study's folder of figures."""
    write(figure, {suffix: layout.figure(name, suffix) for suffix in METADATA})


def write(figure: Figure, paths: Mapping[str, Path]) -> list[Path]:
    """Write a figure in each format to its path, complete or not at all, without dates, and close it."""
    for suffix, path in paths.items():
        image = io.BytesIO()
        figure.savefig(image, format=suffix, metadata=METADATA[suffix])
        durable.require_folder(path)
        durable.write_bytes(path, image.getvalue())
    plt.close(figure)
    return list(paths.values())


# --- rates -----------------------------------------------------------------------------------------------------


def rate_figure(rates: Sequence[Rate]) -> Figure:
    """One quantity: a column for each estimator, estimates above, local exponents below, a series for each `at`."""
    columns = [list(group) for _, group in itertools.groupby(rates, key=lambda rate: rate.estimator)]
    styles = _styles(rates)
    figure = plt.figure(figsize=(0.7 + 3.6 * len(columns), 4.6 + 0.17 * len(styles)))
    heights = {"height_ratios": (3, 1.7)}
    panels = figure.subplots(2, len(columns), sharex="col", sharey="row", squeeze=False, gridspec_kw=heights)
    for (upper, lower), column in zip(panels.T, columns, strict=True):
        rate_panel(upper, column, styles)
        local_panel(lower, column, styles)
        _legend(upper, column, styles, column[0].estimator if len(columns) > 1 else "")
    _estimate_view(panels[0, 0], rates)
    _local_view(panels[1, 0], rates)
    panels[0, 0].set_ylabel(ORDINATES.get(rates[0].quantity, "estimate"))
    panels[1, 0].set_ylabel("rate per step" if rates[0].law == "geometric" else "local exponent")
    figure.suptitle(headline(rates, "\n" if len(columns) == 1 else ": "))
    limits = any(p.estimate <= 0 for rate in rates for p in rate.cloud)
    figure.supxlabel(CAPTION + ";  arrows: 95% upper limits" * limits, fontsize=7, color=GREY)
    return figure


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
        ax.set_title(
            f"{in_n.at}: $aN^{{-2p}} + bK^{{-2q}}$, p = {in_n.exponent:.3f}, q = {in_k.exponent:.3f}", loc="left"
        )
        ax.legend()
    figure.suptitle(TITLES.get(rates[0].quantity, rates[0].quantity))
    return figure


def ratio_figure(rates: Sequence[Rate]) -> Figure:
    """Measured over predicted constants against the variable; single probes thin and grey, all together with bars."""
    figure = plt.figure(figsize=(4.6, 3.6))
    ax = figure.subplots()
    ax.axhline(1.0, color=GREY, linestyle=(0, (4, 2)), linewidth=0.9)
    for rate in rates:
        x, y, error = (np.array([getattr(p, key) for p in rate.cloud]) for key in ("variable", "estimate", "stderr"))
        if " probe=" in rate.at:
            ax.plot(x, y, color=GREY, linewidth=0.5, alpha=0.6, zorder=1)
        else:
            ax.errorbar(x, y, BAR * error, fmt="o-", color=COLOURS[0], elinewidth=0.8, zorder=3)
    ax.set_xscale("log", base=2)
    ax.set_xlabel(AXES.get(rates[0].variable, rates[0].variable))
    ax.set_ylabel(ORDINATES.get(rates[0].quantity, "ratio"))
    figure.suptitle(f"{TITLES.get(rates[0].quantity, rates[0].quantity)}: {rates[0].exponent:.3f}", fontsize=9)
    figure.supxlabel("dashed: expected;  grey: single probes;  bars: 95%", fontsize=7, color=GREY)
    return figure


def headline(rates: Sequence[Rate], separator: str = ": ") -> str:
    """What is seen: the quantity, and the exponents by the estimator that tells most, and best."""
    title = TITLES.get(rates[0].quantity, rates[0].quantity)
    known = [rate for rate in rates if not _undetermined(rate)]
    if not known:
        return f"{title}{separator}no rate can be told yet"
    names = dict.fromkeys(rate.estimator for rate in known)
    groups = [[rate for rate in known if rate.estimator == name] for name in names]
    known = min(groups, key=lambda group: (-len(group), sum(rate.stderr for rate in group)))
    low, high = min(rate.exponent for rate in known), max(rate.exponent for rate in known)
    span = f"{low:.2f}" if high - low < 0.01 else f"{low:.2f} to {high:.2f}"
    symbol = {"N": "N^{-p}", "K": "K^{-p}", "n": "n^{-p}", "steps": "K^{-p}"}.get(rates[0].variable, "e^{-pk}")
    return f"{title}{separator}${symbol}$ with $p$ = {span}"


def _refused(rate: Rate) -> bool:
    return rate.note.startswith("refused")


def _undetermined(rate: Rate) -> bool:
    """No exponent to show."""
    return math.isnan(rate.exponent) or _refused(rate)


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
    """Estimates with 95% bars, fitted and expected laws; logarithmic axes (geometric laws: a linear abscissa)."""
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
    """Above the panel, where no point can be."""
    for rate in rates:
        look = styles[rate.at]
        hollow: dict[str, Any] = {"markerfacecolor": "white"} if _undetermined(rate) else {}
        ax.plot([], [], color=look.colour, marker=look.marker, label=_label(rate), **hollow)
    place: dict[str, Any] = {"loc": "lower left", "bbox_to_anchor": (-0.02, 1.0), "borderaxespad": 0.2}
    legend = ax.legend(title=title or None, alignment="left", labelspacing=0.25, **place)
    legend.get_title().set_fontsize(9)


SYMBOLS = {"beta": "β", "depth": "τ", "phi": "φ", "N": "N"}


def _label(rate: Rate) -> str:
    """The series' fixed coordinates, its exponent and the expected one."""
    fixed = (part.partition("=") for part in rate.at.split())
    name = ", ".join(f"{SYMBOLS.get(key, key)} = {value.replace('infinity', '∞')}" for key, _, value in fixed)
    number = f"p = {rate.exponent:.3f} ± {0.5 * (rate.ci_high - rate.ci_low):.3f}"
    expected = "" if math.isnan(rate.expected) else f" (expected {rate.expected:.3g})"
    return f"{name}:  {'not determined' if _undetermined(rate) else number}{expected}"


def _points(ax: Axes, rate: Rate, look: Look, dodge: float) -> None:
    """Used points filled, others hollow; an estimate that is not positive shows as the 95% limit below which it is."""
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
        ax.plot(x, [_upper(p) for p in below], marker=r"$\downarrow$", color=look.colour, linestyle="", markersize=6)


def _upper(point: RatePoint) -> float:
    """95% upper limit of a root whose debiased square came out negative."""
    square = -(point.estimate**2) + BAR * point.stderr**2
    return math.sqrt(square) if square > 0 else math.nan


def _laws(ax: Axes, rate: Rate, look: Look) -> None:
    """The fitted law over the used points, and the expected slope through the middle of it."""
    used = np.array([p.variable for p in rate.cloud if p.used])
    if _undetermined(rate):
        return
    geometric = rate.law == "geometric"
    x = np.array([used.min(), used.max()])
    depth = x if geometric else np.log(x)
    fitted = rate.prefactor * np.exp(-rate.exponent * depth)
    ax.plot(x, fitted, color=look.colour, zorder=2)
    if not math.isnan(rate.expected):
        middle = math.sqrt(fitted[0] * fitted[1])
        expected = middle * np.exp(-rate.expected * (depth - depth.mean()))
        ax.plot(x, expected, color=look.colour, linestyle=(0, (4, 2)), linewidth=0.9, zorder=2)


def _estimate_view(ax: Axes, rates: Sequence[Rate]) -> None:
    """Limits from the estimates, not from bars that reach down to zero; decimal ticks while they are readable."""
    values = [p.estimate for rate in rates for p in rate.cloud if p.estimate > 0]
    values += [p.estimate + BAR * p.stderr for rate in rates for p in rate.cloud if p.used]
    values += [u for rate in rates for p in rate.cloud if p.estimate <= 0 and not math.isnan(u := _upper(p))]
    if not values:
        return
    low, high = min(values), max(values)
    low = min([low, *(max(p.estimate - BAR * p.stderr, low / 2) for rate in rates for p in rate.cloud if p.used)])
    margin = max((high / low) ** 0.05, 1.1)
    ax.set_ylim(low / margin, high * margin)
    decades = math.log10(high / low * margin**2)
    if decades < 3:
        ax.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if decades > 0.7 else range(1, 10), numticks=20))
        ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.3g}"))
    ax.yaxis.set_minor_formatter(NullFormatter())


def local_panel(ax: Axes, rates: Sequence[Rate], styles: dict[str, Look]) -> None:
    """Exponents between neighbouring points with 95% intervals, over fitted (band) and expected (dashed) ones."""
    geometric = rates[0].law == "geometric"
    for rate in rates:
        look = styles[rate.at]
        used = [p for p in rate.cloud if p.used]
        if len(used) >= 2:
            _local_points(ax, used, look, geometric)
        if not _undetermined(rate) and len(rates) <= MOST_BANDS:
            ax.axhspan(rate.ci_low, rate.ci_high, color=look.colour, alpha=0.15, linewidth=0)
        if not math.isnan(rate.expected):
            ax.axhline(rate.expected, color=look.colour, linestyle=(0, (4, 2)), linewidth=0.9)
    ax.yaxis.set_major_locator(MaxNLocator(5))
    ax.set_xlabel(AXES.get(rates[0].variable, rates[0].variable))


def _local_points(ax: Axes, used: Sequence[RatePoint], look: Look, geometric: bool) -> None:
    x = np.array([p.variable for p in used])
    middle = 0.5 * (x[1:] + x[:-1]) if geometric else np.sqrt(x[1:] * x[:-1]) * look.dodge
    value, low, high = (
        np.array([getattr(p, key) for p in used[:-1]]) for key in ("local_slope", "local_low", "local_high")
    )
    bars = np.abs(np.array([value - low, high - value]))
    ax.errorbar(middle, value, bars, fmt=look.marker, color=look.colour, markersize=3.5, elinewidth=0.8)


def _local_view(ax: Axes, rates: Sequence[Rate]) -> None:
    """A few wild local exponents must not hide the others."""
    marks = [v for rate in rates for v in (rate.exponent, rate.expected, rate.ci_low, rate.ci_high)]
    marks += [p.local_slope for rate in rates for p in rate.cloud]
    seen = np.array([v for v in marks if not math.isnan(v)])
    if not len(seen):
        return
    low, high = np.quantile(seen, (0.03, 0.97))
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


@dataclass(frozen=True, eq=False)
class Curves:
    """What limit.h5 says: output (T, P) at checkpoints, fine_time (F,), output_fine (F, P), loss (F,), loss_floor."""

    output: Array
    fine_time: Array
    output_fine: Array
    loss: Array
    loss_floor: float


def read_limit(study: Study, layout: Layout) -> Curves:
    """The limit's curves. Raises StudyError if limit.h5 is missing or of another study."""
    names = ("output", "fine_time", "output_fine", "loss")
    with store.open_complete(layout.limit, "limit", limit_id=plan.limit_id(study)) as file:
        return Curves(**{name: file[name][()] for name in names}, loss_floor=float(file["loss_floor"][()]))


def _spaced(items: Sequence[Any], most: int) -> list[Any]:
    """At most `most` items, evenly spaced, with the first and the last."""
    picked = np.unique(np.linspace(0, len(items) - 1, min(most, len(items))).round().astype(int))
    return [items[index] for index in picked]


def _diagonal(cells: Sequence[Cell], beta: float) -> list[Cell]:
    """The cells of one beta at the smallest depth, by width."""
    depth = min(cell.depth for cell in cells)
    return sorted((c for c in cells if c.beta == beta and c.depth == depth), key=lambda cell: cell.width)


def output_figure(study: Study, layout: Layout, cells: Sequence[Cell], limit: Curves) -> Figure:
    """g_t on a few probes against replicas at checkpoints: a column for each beta, smallest and largest width."""
    betas = _spaced(sorted({cell.beta for cell in cells}), MOST_PANELS)
    rows = 2 if any(len(_diagonal(cells, beta)) > 1 for beta in betas) else 1
    figure = plt.figure(figsize=(0.8 + 2.7 * len(betas), 0.9 + 2.2 * rows))
    panels = figure.subplots(rows, len(betas), sharex=True, sharey=True, squeeze=False)
    probes = _telling_probes(limit)
    for column, beta in zip(panels.T, betas, strict=True):
        ladder = _diagonal(cells, beta)
        for ax, cell in zip(column, (ladder[0], ladder[-1]), strict=False):
            _output_panel(ax, study, layout, cell, limit, probes)
            ax.set_title(f"β = {cell.beta:g},  N = {cell.width}")
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


def _telling_probes(limit: Curves) -> list[int]:
    """Probes whose limit outputs at the end are spread over their range."""
    order = np.argsort(limit.output[-1], kind="stable").tolist()
    return [int(index) for index in _spaced(order, MOST_CURVES)]


def _output_range(limit: Curves, probes: Sequence[int]) -> tuple[float, float]:
    shown = limit.output_fine[:, probes]
    low, high = float(shown.min()), float(shown.max())
    margin = 0.6 * (high - low) + 1e-9
    return low - margin, high + margin


def _output_panel(ax: Axes, study: Study, layout: Layout, cell: Cell, limit: Curves, probes: Sequence[int]) -> None:
    with open_ensemble(layout.ensemble(cell), cell_id=plan.cell_id(study, cell)) as file:
        first = file["sign"][()] == 1  # one of each pair: independent of one another, with the law of C
        output, time = file["output"][()][first][:, :, probes], file["time"][()]
    since = 1 if time[0] == 0 else 0  # at time 0 the output is the initial field, far wider than the rest
    step = float(limit.fine_time[-1]) * 0.016
    for index, (colour, marker) in enumerate(zip(COLOURS, MARKERS, strict=False)):
        if index == len(probes):
            break
        ax.plot(limit.fine_time, limit.output_fine[:, probes[index]], color=colour, zorder=3)
        shifted = time[since:] + step * (index - (len(probes) - 1) / 2)
        _scatter(ax, shifted, output[:, since:, index], colour, marker)


def _scatter(ax: Axes, time: Array, output: Array, colour: str, marker: str) -> None:
    """Replicas (replica, time) as dots, their mean and s.d. as a marker with a bar."""
    dots = output[:MOST_DOTS]
    x = np.broadcast_to(time, dots.shape)
    ax.plot(x.ravel(), dots.ravel(), ".", color=colour, alpha=0.25, markersize=2, zorder=1)
    bars: dict[str, Any] = {"fmt": marker, "markersize": 3.5, "elinewidth": 0.8, "zorder": 4}
    edge: dict[str, Any] = {"markeredgecolor": "white", "markeredgewidth": 0.4}
    ax.errorbar(time, output.mean(0), output.std(0, ddof=1), color=colour, **bars, **edge)


def loss_figure(study: Study, layout: Layout, cells: Sequence[Cell], limit: Curves) -> Figure:
    """Squared error along the path, averaged over replicas, against the limit loss: a panel for each beta."""
    betas = _spaced(sorted({cell.beta for cell in cells}), MOST_PANELS)
    figure = plt.figure(figsize=(0.8 + 2.7 * len(betas), 3.2))
    panels = figure.subplots(1, len(betas), sharey=True, squeeze=False)[0]
    for ax, beta in zip(panels, betas, strict=True):
        for cell, colour, marker in zip(_spaced(_diagonal(cells, beta), 3), COLOURS, MARKERS, strict=False):
            _loss_curve(ax, study, layout, cell, colour, marker)
        ax.plot(limit.fine_time, limit.loss, color=BLACK, label="limit", zorder=3)
        ax.axhline(limit.loss_floor, color=GREY, linestyle=":", linewidth=0.9, label="floor")
        ax.set_title(f"β = {beta:g}")
        ax.set_xlabel("training time $t$")
    panels[0].set_ylabel("squared error along the path")
    panels[-1].legend(loc="upper right", labelspacing=0.25)
    figure.suptitle("Loss along the training path and the limit's loss")
    figure.supxlabel("markers: mean over replicas;  bars: 95%", fontsize=7, color=GREY)
    return figure


def _loss_curve(ax: Axes, study: Study, layout: Layout, cell: Cell, colour: str, marker: str) -> None:
    with open_ensemble(layout.ensemble(cell), cell_id=plan.cell_id(study, cell)) as file:
        loss, time, pair = file["loss"][()], file["loss_time"][()], file["pair"][()]
    _, owner = np.unique(pair, return_inverse=True)
    members = np.bincount(owner)
    coarse = max(1, len(time) // MOST_BINS)
    time, loss = _coarsened(time, coarse), _coarsened(loss, coarse)
    units = np.stack([np.bincount(owner, column) / members for column in loss.T], axis=1)
    error = BAR * units.std(axis=0, ddof=1) / math.sqrt(len(units))
    style: dict[str, Any] = {"fmt": marker, "markersize": 3, "elinewidth": 0.6}
    ax.errorbar(time, units.mean(axis=0), error, color=colour, label=f"N = {cell.width}", **style)


def _coarsened(values: Array, size: int) -> Array:
    """Means of `size` neighbours along the last axis; a remainder is left out."""
    whole = values.shape[-1] // size * size
    return np.asarray(values[..., :whole].reshape(*values.shape[:-1], -1, size).mean(-1))
