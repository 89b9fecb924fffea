"""Interactive figures of rates: estimates with fitted and predicted laws, and exponents between neighbouring points."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import plotly.graph_objects as go

from rnnlimits.figures import labels
from rnnlimits.figures.labels import BAR, COLOURS, GREY
from rnnlimits.quantities.base import about, variable_of, view_of
from rnnlimits.report.numbers import short, span, whole
from rnnlimits.report.plots import (
    DASH,
    DOTS,
    LINE,
    SYMBOLS,
    Link,
    Panel,
    Plot,
    Table,
    axis,
    legend,
    logarithmic,
    panel,
    plain,
    room,
)
from rnnlimits.statistics.ratefile import Rate, RatePoint

Behind = Callable[..., list[Path]]  # (rate, **values) -> files behind a point
ToLink = Callable[[Path], Link]
UPPER, LOWER = 290, 130  # pixels of the two parts of a panel
BELOW = 60
MOST_BANDS = 4
MOST_FILES = 2  # files named in the text under the pointer
UNITS = {"power": "local exponent", "geometric": "rate per step", "ratio": "ratio"}
CAPTIONS = {
    "power": "Markers: estimates with 95% bars; hollow ones are not in the fit, triangles that point down are 95% "
    "upper limits. Lines: fitted law; dashed: predicted. Below: exponents between neighbouring points, the fitted "
    "exponent's 95% interval as a band, the predicted ones dashed, that at infinity dotted.",
    "geometric": "Markers: estimates with 95% bars; hollow ones are not in the fit. Lines: fitted law; dashed: "
    "predicted rate. Below: rates between neighbouring points, the fitted rate's 95% interval as a band.",
    "ratio": "Ratio of the measured to the predicted constant with 95% bars, single probes in grey; dashed: predicted.",
    "surface": "Error against width, one line for each number of steps K; bars: 95%. Both exponents come from one "
    "fit of all points.",
}


@dataclass(frozen=True)
class Files:
    """The functions that find the files behind a point, and that link a file."""

    behind: Behind
    link: ToLink

    def links(self, rate: Rate, **values: float) -> list[Link]:
        """Links to the files behind a point."""
        return [self.link(path) for path in self.behind(rate, **values)]


@dataclass(frozen=True)
class Look:
    """The style of a series."""

    colour: str
    symbol: str
    dodge: float


def rate_plot(rates: Sequence[Rate], files: Files) -> Plot:
    """The figure of one quantity: a panel for each estimator. rates: its rows that have points."""
    view = view_of(rates[0])
    if view == "surface":
        panels, table = _surface_panels(rates, files), _surface_table(rates, files)
    elif view == "ratio":
        panels, table = [_ratio_panel(rates, files)], _table(rates, files)
    else:
        columns = [list(group) for _, group in itertools.groupby(rates, key=lambda rate: rate.estimator)]
        looks = _looks(rates)
        limits = _estimate_view(rates)
        own = [column[0].estimator + ("" if labels.moment(rates) else labels.moment(column)) for column in columns]
        heads = own if len(columns) > 1 else [""]
        panels = [_panel(*of_one, looks, limits, files) for of_one in zip(columns, heads, strict=True)]
        table = _table(rates, files)
    return Plot(rates[0].quantity, title(rates), CAPTIONS[view], panels, table)


def title(rates: Sequence[Rate]) -> str:
    """The title of a figure: the quantity and the law that is fitted, or why there is none."""
    name = about(rates[0]).title
    if rates[0].law == "ratio":
        return name
    law = labels.without_rate(rates) or variable_of(rates[0]).law_text
    return f"{name}: {law}{labels.moment(rates)}"


def _looks(rates: Sequence[Rate]) -> dict[str, Look]:
    names = list(dict.fromkeys(rate.at for rate in rates))
    middle = (len(names) - 1) / 2
    step = min(1.035, 1.12 ** (1 / max(1, len(names) - 1)))
    looks = zip(itertools.cycle(COLOURS), itertools.cycle(SYMBOLS), names, strict=False)
    return {name: Look(colour, symbol, step ** (index - middle)) for index, (colour, symbol, name) in enumerate(looks)}


def _panel(rates: Sequence[Rate], heading: str, looks: dict[str, Look], view: list[float], files: Files) -> Panel:
    geometric = rates[0].law == "geometric"
    ends = _ends(rates)
    traces, shapes = [], []
    for rate in rates:
        look = looks[rate.at] if not geometric else Look(looks[rate.at].colour, looks[rate.at].symbol, 1.0)
        traces += [*_across(rate, look, ends), *_points(rate, look, files), *_laws(rate, look), *_local(rate, look)]
        if len(rates) <= MOST_BANDS and not labels.without_exponent(rate):
            shapes.append(_band(rate, look))
    above = room(len(rates), heading)
    layout = {
        "shapes": shapes,
        "showlegend": True,
        "legend": legend(len(rates), heading),
        "margin": {"l": 8, "r": 12, "t": above, "b": 8},
        "xaxis": axis(plain(variable_of(rates[0]).axis), anchor="y2", **_abscissa(rates)),
        "yaxis": axis(about(rates[0]).ordinate, domain=[0.38, 1], **logarithmic(*view)),
        "yaxis2": axis(UNITS[rates[0].law], domain=[0, 0.28], nticks=6, **_local_view(rates)),
    }
    label = f"{about(rates[0]).title}, {rates[0].estimator}"
    return panel(label, traces, layout, above + UPPER + LOWER + BELOW)


def _points(rate: Rate, look: Look, files: Files) -> list[go.Scatter]:
    """Estimates: filled, hollow if the fit leaves them out, triangles for upper limits; the first has the legend."""
    good = [p for p in rate.cloud if p.estimate > 0]
    groups = (
        ([p for p in good if p.used], look.symbol),
        ([p for p in good if not p.used], f"{look.symbol}-open"),
        ([p for p in rate.cloud if p.estimate <= 0], "triangle-down-open"),
    )
    traces = [_markers(rate, points, look, symbol, files) for points, symbol in groups if points]
    for index, trace in enumerate(traces):
        trace.showlegend = index == 0
    return traces


def _markers(rate: Rate, points: Sequence[RatePoint], look: Look, symbol: str, files: Files) -> go.Scatter:
    heights = [p.estimate if p.estimate > 0 else labels.upper_limit(p) for p in points]
    bars = {
        "type": "data",
        "array": [BAR * p.stderr if p.estimate > 0 else 0.0 for p in points],
        # Bars that reach below zero end just above it: the axis is logarithmic.
        "arrayminus": [min(BAR * p.stderr, 0.999 * p.estimate) if p.estimate > 0 else 0.0 for p in points],
        "thickness": 1,
        "width": 0,
        "color": look.colour,
    }
    return go.Scatter(
        x=[p.variable * look.dodge for p in points],
        y=[None if math.isnan(y) else y for y in heights],
        error_y=bars,
        mode="markers",
        marker={"symbol": symbol, "size": 8, "color": look.colour, "line": {"width": 1.4, "color": look.colour}},
        name=escape(labels.series(rate)),
        legendgroup=escape(rate.at),
        customdata=[_hover_data(rate, p, files) for p in points],
        hovertemplate=_template(rate),
    )


def _template(rate: Rate) -> str:
    """The template of the text under the pointer."""
    return (
        f"<b>{escape(rate.variable)} = %{{customdata[0]}}</b>  {escape(labels.fixed(rate))}<br>"
        "estimate %{customdata[1]}<br>95%: %{customdata[2]}<br>%{customdata[3]} replicas%{customdata[4]}<br>"
        "%{customdata[5]}<extra></extra>"
    )


def _hover_data(rate: Rate, point: RatePoint, files: Files, **values: float) -> list[str]:
    links = files.links(rate, **(values or {rate.variable: point.variable}))
    names = [link.text for link in links[:MOST_FILES]] + ["…"] * (len(links) > MOST_FILES)
    use = "" if point.used else ", not in the fit"
    file = escape("<br>".join(names)).replace("&lt;br&gt;", "<br>")
    return [whole(point.variable), short(point.estimate, 4), _interval(point), str(point.replicas), use, file]


def _interval(point: RatePoint) -> str:
    if point.estimate <= 0:
        limit = labels.upper_limit(point)
        return "–" if math.isnan(limit) else f"below {short(limit)}"
    return span(point.estimate - BAR * point.stderr, point.estimate + BAR * point.stderr)


def _laws(rate: Rate, look: Look) -> list[go.Scatter]:
    """The fitted law over the used points, and the predicted curve."""
    lines: list[tuple[Sequence[float], Sequence[float], dict[str, Any]]] = []
    used = [p.variable for p in rate.cloud if p.used]
    if not labels.without_exponent(rate) and used:
        x = [min(used), max(used)]
        depth = x if rate.law == "geometric" else [math.log(value) for value in x]
        fitted = [rate.prefactor * math.exp(-rate.exponent * d) for d in depth]
        lines.append((x, fitted, {"color": look.colour, "width": 1.6}))
    lines.append((*labels.predicted_law(rate), {"color": look.colour, "width": 1.2, "dash": DASH}))
    common = {"mode": "lines", "hoverinfo": "skip", "showlegend": False, "legendgroup": escape(rate.at)}
    return [go.Scatter(x=x, y=y, line=line, **common) for x, y, line in lines if x]


def _local(rate: Rate, look: Look) -> list[go.Scatter]:
    """Exponents between neighbouring used points."""
    used = [p for p in rate.cloud if p.used]
    pairs = [(p, q) for p, q in itertools.pairwise(used) if not math.isnan(p.local_slope)]
    if not pairs:
        return []
    geometric = rate.law == "geometric"
    middle = [0.5 * (p.variable + q.variable) if geometric else math.sqrt(p.variable * q.variable) for p, q in pairs]
    up = [max(0.0, p.local_high - p.local_slope) for p, _ in pairs]
    down = [max(0.0, p.local_slope - p.local_low) for p, _ in pairs]
    bars = {"array": up, "arrayminus": down, "thickness": 1, "width": 0, "color": look.colour}
    hover = [[whole(p.variable), whole(q.variable), span(p.local_low, p.local_high)] for p, q in pairs]
    template = (
        f"{escape(rate.variable)} = %{{customdata[0]}} to %{{customdata[1]}}  {escape(labels.fixed(rate))}<br>"
        f"{UNITS[rate.law]} %{{y:.3f}}<br>95%: %{{customdata[2]}}<extra></extra>"
    )
    trace = go.Scatter(
        x=[value * look.dodge for value in middle],
        y=[p.local_slope for p, _ in pairs],
        yaxis="y2",
        mode="markers",
        marker={"symbol": look.symbol, "size": 6, "color": look.colour},
        error_y={"type": "data", **bars},
        legendgroup=escape(rate.at),
        showlegend=False,
        customdata=hover,
        hovertemplate=template,
    )
    return [trace]


def _band(rate: Rate, look: Look) -> dict[str, Any]:
    """The fitted exponent's interval, across the lower part."""
    place = {"type": "rect", "xref": "x domain", "yref": "y2", "x0": 0, "x1": 1, "layer": "below"}
    return {
        **place,
        "y0": rate.ci_low,
        "y1": rate.ci_high,
        "fillcolor": look.colour,
        "opacity": 0.16,
        "line": {"width": 0},
    }


def _across(rate: Rate, look: Look, ends: Sequence[float]) -> list[go.Scatter]:
    """In the lower part: the predicted exponents, between points or of all, dashed, and that at infinity, dotted."""
    lines = []
    middles, slopes = labels.predicted_exponents(rate)
    if middles:
        lines.append((middles, slopes, DASH))
    elif not math.isnan(rate.predicted):
        lines.append((list(ends), [rate.predicted] * 2, DASH))
    if not math.isnan(rate.expected) and rate.expected != rate.predicted:
        lines.append((list(ends), [rate.expected] * 2, DOTS))
    common = {"yaxis": "y2", "mode": "lines", "hoverinfo": "skip", "showlegend": False, "legendgroup": escape(rate.at)}
    style = {"color": look.colour, "width": 1.2}
    return [go.Scatter(x=x, y=y, line={**style, "dash": dash}, **common) for x, y, dash in lines]


# --- axes ------------------------------------------------------------------------------------------------------


def _ends(rates: Sequence[Rate]) -> tuple[float, float]:
    """The ends of the abscissa: a little beyond the points."""
    values = [p.variable for rate in rates for p in rate.cloud]
    if rates[0].law == "geometric":
        beyond = 0.06 * (max(values) - min(values)) + 0.1
        return min(values) - beyond, max(values) + beyond
    return min(values) / 1.25, max(values) * 1.25


def _abscissa(rates: Sequence[Rate]) -> dict[str, Any]:
    """Powers of two, written out, at most eight; whole numbers for geometric laws."""
    ends = _ends(rates)
    if rates[0].law == "geometric":
        return {"nticks": 8, "range": list(ends)}
    low, high = (math.log2(value) for value in ends)
    powers = range(math.ceil(low), math.floor(high) + 1)
    ticks = [2.0**power for power in powers[:: max(1, math.ceil(len(powers) / 8))]]
    edges = [math.log10(value) for value in ends]
    return {"type": "log", "tickvals": ticks, "ticktext": [whole(tick) for tick in ticks], "range": edges}


def _estimate_view(rates: Sequence[Rate]) -> list[float]:
    """Axis limits from the estimates, not from bars that reach down to zero."""
    cloud = [p for rate in rates for p in rate.cloud]
    values = [p.estimate for p in cloud if p.estimate > 0]
    values += [p.estimate + BAR * p.stderr for p in cloud if p.used]
    values += [p.predicted for p in cloud if p.predicted > 0]
    values += [limit for p in cloud if p.estimate <= 0 and not math.isnan(limit := labels.upper_limit(p))]
    if not values:
        return [0.1, 1.0]
    low, high = min(values), max(values)
    low = min([low, *(max(p.estimate - BAR * p.stderr, low / 2) for p in cloud if p.used)])
    margin = max((high / low) ** 0.05, 1.1)
    return [low / margin, high * margin]


def _local_view(rates: Sequence[Rate]) -> dict[str, Any]:
    """Axis limits from quantiles: a few wild local exponents must not hide the others."""
    marks = [v for rate in rates for v in (rate.exponent, rate.expected, rate.predicted, rate.ci_low, rate.ci_high)]
    marks += [p.local_slope for rate in rates for p in rate.cloud]
    finite = sorted(v for v in marks if math.isfinite(v))
    if not finite:
        return {}
    low, high = (finite[round(q * (len(finite) - 1))] for q in (0.03, 0.97))
    margin = 0.25 * (high - low) + 0.03 * max(abs(low), abs(high)) + 1e-9
    return {"range": [low - margin, high + margin]}


# --- ratios and surfaces ---------------------------------------------------------------------------------------


def _ratio_panel(rates: Sequence[Rate], files: Files) -> Panel:
    """Ratios of measured to predicted constants; single probes thin and grey, all together with bars."""
    traces = []
    for rate in sorted(rates, key=lambda rate: not rate.single):
        single = rate.single
        colour = GREY if single else COLOURS[0]
        traces.append(
            go.Scatter(
                x=[p.variable for p in rate.cloud],
                y=[p.estimate for p in rate.cloud],
                error_y={"array": [BAR * p.stderr for p in rate.cloud], "visible": not single, "width": 0},
                mode="lines" if single else "lines+markers",
                line={"color": colour, "width": 0.7 if single else 1.6},
                marker={"size": 8, "color": colour},
                opacity=0.6 if single else 1.0,
                name=escape(labels.fixed(rate)),
                customdata=[_hover_data(rate, p, files) for p in rate.cloud],
                hovertemplate=_template(rate),
            )
        )
    line = {"type": "line", "xref": "x domain", "x0": 0, "x1": 1, "y0": 1, "y1": 1, "layer": "below"}
    layout = {
        "shapes": [{**line, "line": {"color": GREY, "width": 1.2, "dash": DASH}}],
        "showlegend": False,
        "margin": {"l": 8, "r": 12, "t": 14, "b": 8},
        "xaxis": axis(plain(variable_of(rates[0]).axis), **_abscissa(rates)),
        "yaxis": axis(about(rates[0]).ordinate, nticks=7),
    }
    return panel(about(rates[0]).title, traces, layout, UPPER + BELOW)


def _surfaces(rates: Sequence[Rate]) -> list[tuple[Rate, list[tuple[RatePoint, float]]]]:
    """Each surface's row in N, its points with their K: two rows share the points of one surface."""
    surfaces = []
    for in_n in (rate for rate in rates if rate.variable == "N"):
        in_k = next(rate for rate in rates if rate.at == in_n.at and rate.variable == "K")
        steps = [point.variable for point in in_k.cloud]
        surfaces.append((in_n, list(zip(in_n.cloud, steps, strict=True))))
    return surfaces


def _surface_panels(rates: Sequence[Rate], files: Files) -> list[Panel]:
    return [_surface_panel(rate, points, files) for rate, points in _surfaces(rates)]


def _surface_panel(rate: Rate, points: Sequence[tuple[RatePoint, float]], files: Files) -> Panel:
    steps = sorted({k for _, k in points})
    traces = []
    for k, colour, symbol in zip(steps, itertools.cycle(COLOURS), itertools.cycle(SYMBOLS), strict=False):
        chosen = [p for p, other in points if other == k]
        traces.append(
            go.Scatter(
                x=[p.variable for p in chosen],
                y=[p.estimate for p in chosen],
                error_y={"array": [BAR * p.stderr for p in chosen], "thickness": 1, "width": 0},
                mode="lines+markers",
                line={"color": colour, "width": 1.4},
                marker={"symbol": symbol, "size": 8, "color": colour},
                name=f"K = {whole(k)}",
                customdata=[_hover_data(rate, p, files, N=p.variable, K=k) for p in chosen],
                hovertemplate=_template(rate).replace("</b>", f"</b>, K = {whole(k)}", 1),
            )
        )
    above = room(len(steps), labels.fixed(rate))
    layout = {
        "showlegend": True,
        "legend": legend(len(steps), labels.fixed(rate)),
        "margin": {"l": 8, "r": 12, "t": above, "b": 8},
        "xaxis": axis("width <i>N</i>", **_abscissa([rate])),
        "yaxis": axis(about(rate).ordinate, **logarithmic(*_estimate_view([rate]))),
    }
    return panel(f"{about(rate).title}, {labels.fixed(rate)}", traces, layout, above + UPPER + BELOW + LINE)


# --- tables ----------------------------------------------------------------------------------------------------


def _table(rates: Sequence[Rate], files: Files) -> Table:
    """Every point of every row."""
    columns = (
        "series",
        "estimator",
        rates[0].variable,
        "estimate",
        "95%",
        "replicas",
        "in the fit",
        "predicted",
        UNITS[rates[0].law],
    )
    local = rates[0].law != "ratio"
    rows = [
        [
            labels.fixed(rate),
            rate.estimator,
            whole(p.variable),
            short(p.estimate, 4),
            _interval(p),
            str(p.replicas),
            "yes" if p.used else "no",
            _prediction(p),
            *([short(p.local_slope)] if local else []),
            files.links(rate, **{rate.variable: p.variable}),
        ]
        for rate in rates
        for p in rate.cloud
    ]
    return Table((*columns[: len(columns) if local else -1], "files"), rows)


def _prediction(point: RatePoint) -> str:
    """A predicted value with its standard error."""
    error = f" ± {short(point.predicted_stderr, 2)}" if point.predicted_stderr > 0 else ""
    return short(point.predicted, 4) + error


def _surface_table(rates: Sequence[Rate], files: Files) -> Table:
    rows = [
        [
            labels.fixed(rate),
            whole(p.variable),
            whole(k),
            short(p.estimate, 4),
            _interval(p),
            str(p.replicas),
            "yes" if p.used else "no",
            files.links(rate, N=p.variable, K=k),
        ]
        for rate, points in _surfaces(rates)
        for p, k in points
    ]
    return Table(("series", "N", "K", "estimate", "95%", "replicas", "in the fit", "files"), rows)
