"""Interactive figures of curves in time: outputs and losses with those of the limit, and the weight of time steps."""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
import plotly.graph_objects as go

from rnnlimits.base import arrays
from rnnlimits.base.errors import StudyError
from rnnlimits.base.textfiles import number, read_utf8
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
from rnnlimits.figures.labels import BAR, BLACK, COLOURS, GREY, spaced
from rnnlimits.report.numbers import short, span, whole
from rnnlimits.report.plots import SYMBOLS, Panel, Plot, Table, axis, legend, logarithmic, panel, room
from rnnlimits.report.rate_plots import ToLink
from rnnlimits.study import Study
from rnnlimits.training import plan
from rnnlimits.training.layout import Layout
from rnnlimits.training.plan import Cell

HEIGHT = 300
TIME = "training time <i>t</i>"
DRAW_AGAIN = "run rnnlimits figures STUDY again"
WEIGHTS_FLOOR = 1e-8  # lower end of the axis; smaller weights are negligible


def curve_plots(study: Study, layout: Layout, link: ToLink) -> list[Plot]:
    """Plots of outputs and losses along the diagonal K = N; empty without such cells.

    Raises StudyError for an invalid file.
    """
    cells = [cell for cell in plan.cells(study) if cell.width == cell.steps_per_time]
    if not cells:
        return []
    limit = read_limit(study, layout)
    ladders = [diagonal(cells, axis) for axis in spread_axes(cells)]
    return [_outputs(study, layout, ladders, limit, link), _losses(study, layout, ladders, limit, link)]


def _outputs(study: Study, layout: Layout, ladders: Sequence[list[Cell]], limit: Curves, link: ToLink) -> Plot:
    probes = spread_probes(limit)
    panels, rows = [], []
    for cell in dict.fromkeys([ladder[0] for ladder in ladders] + [ladder[-1] for ladder in ladders]):
        figure_panel, more = _output_panel(study, layout, cell, limit, probes, link)
        panels.append(figure_panel)
        rows += more
    columns = ("at", "N", "probe", "t", "mean", "s.d.", "limit", "replicas", "files")
    heading = f"Outputs of trained networks and the limit, on {len(probes)} probes"
    about = "Lines: limit. Markers with bars: mean and standard deviation over replicas, smallest and largest width."
    return Plot("outputs", heading, about, panels, Table(columns, rows))


def _output_panel(
    study: Study, layout: Layout, cell: Cell, limit: Curves, probes: Sequence[int], link: ToLink
) -> tuple[Panel, list[list[Any]]]:
    time, output = outputs(study, layout, cell, probes)
    mean, deviation = output.mean(0), arrays.deviation(output)
    file = link(layout.ensemble(cell))
    step = float(limit.fine_time[-1]) * 0.016
    exact = limit.output[len(limit.output) - len(time) :]
    traces, rows = [], []
    for index, probe in enumerate(probes):
        colour = COLOURS[index]
        about = f"probe {probe}"
        curve = {"x": limit.fine_time.tolist(), "y": limit.output_fine[:, probe].tolist(), "line": {"color": colour}}
        traces.append(go.Scatter(mode="lines", hovertemplate=f"limit, {about}<br>%{{y:.4g}}<extra></extra>", **curve))
        shift = step * (index - (len(probes) - 1) / 2)
        numbers = zip(time, mean[:, index], deviation[:, index], strict=True)
        hover = [[whole(t), short(m, 4), short(d)] for t, m, d in numbers]
        text = (
            f"<b>t = %{{customdata[0]}}</b>  N = {cell.width}, {about}<br>mean %{{customdata[1]}}<br>"
            f"s.d. %{{customdata[2]}}<br>{len(output)} replicas<br>{escape(file.text)}<extra></extra>"
        )
        bars = {"array": deviation[:, index].tolist(), "thickness": 1, "width": 0, "color": colour}
        marker = {"symbol": SYMBOLS[index], "size": 8, "color": colour}
        places = {"x": (time + shift).tolist(), "y": mean[:, index].tolist(), "mode": "markers"}
        traces.append(go.Scatter(error_y=bars, marker=marker, customdata=hover, hovertemplate=text, **places))
        fixed = [axis_words(cell.axis), str(cell.width), str(probe)]
        rows += [
            [*fixed, *words, short(g, 4), str(len(output)), [file]]
            for words, g in zip(hover, exact[:, probe], strict=True)
        ]
    heading = named(f"{axis_words(cell.axis)}, N = {cell.width}", output)
    curves = limit.output_fine[:, list(probes)]
    low, high = float(curves.min()), float(curves.max())
    margin = 0.6 * (high - low) + 1e-9
    return _plain_panel(heading, traces, axis("output", range=[low - margin, high + margin], nticks=6)), rows


def _plain_panel(heading: str, traces: Sequence[go.Scatter], ordinate: dict[str, Any]) -> Panel:
    layout = {
        "title": {"text": escape(heading), "font": {"size": 13}, "x": 0, "xref": "paper", "y": 0.98, "yanchor": "top"},
        "showlegend": False,
        "margin": {"l": 8, "r": 12, "t": 34, "b": 8},
        "xaxis": axis(TIME, nticks=6),
        "yaxis": ordinate,
    }
    return panel(heading, traces, layout, HEIGHT)


def _losses(study: Study, layout: Layout, ladders: Sequence[list[Cell]], limit: Curves, link: ToLink) -> Plot:
    panels, rows = [], []
    for ladder in ladders:
        figure_panel, more = _loss_panel(study, layout, ladder, limit, link)
        panels.append(figure_panel)
        rows += more
    about = "Markers: mean over replicas with 95% bars. Line: the limit's loss; dotted: its value for large t."
    columns = ("at", "N", "t", "squared error", "95%", "replicas", "files")
    return Plot("loss", "Loss along the training path and the limit's loss", about, panels, Table(columns, rows))


def _loss_panel(
    study: Study, layout: Layout, ladder: Sequence[Cell], limit: Curves, link: ToLink
) -> tuple[Panel, list[list[Any]]]:
    traces, rows = _limit_loss(limit), []
    for cell, colour, symbol in zip(spaced(ladder, 3), COLOURS, SYMBOLS, strict=False):
        time, mean, stderr = losses(study, layout, cell)
        file = link(layout.ensemble(cell))
        hover = [
            [short(t), short(m, 4), span(m - BAR * e, m + BAR * e)] for t, m, e in zip(time, mean, stderr, strict=True)
        ]
        text = (
            f"<b>t = %{{customdata[0]}}</b>  N = {cell.width}<br>squared error %{{customdata[1]}}<br>"
            f"95%: %{{customdata[2]}}<br>{cell.replicas} replicas<br>{escape(file.text)}<extra></extra>"
        )
        bars = {"array": (BAR * stderr).tolist(), "thickness": 1, "width": 0, "color": colour}
        marker = {"symbol": symbol, "size": 6, "color": colour}
        places = {"x": time.tolist(), "y": mean.tolist(), "mode": "markers", "name": named(f"N = {cell.width}", mean)}
        traces.append(go.Scatter(error_y=bars, marker=marker, customdata=hover, hovertemplate=text, **places))
        rows += [[axis_words(cell.axis), str(cell.width), *numbers, str(cell.replicas), [file]] for numbers in hover]
    heading = axis_words(ladder[0].axis)
    highest = max(limit.loss.max(), *(np.nanmax(trace.y, initial=0.0) for trace in traces))
    above = room(len(traces), heading)
    layout_ = {
        "legend": legend(len(traces), heading),
        "showlegend": True,
        "margin": {"l": 8, "r": 12, "t": above, "b": 8},
        "xaxis": axis(TIME, nticks=6),
        "yaxis": axis("squared error", nticks=7, range=[0, 1.1 * highest]),
    }
    return panel(f"Loss, {heading}", traces, layout_, HEIGHT + above), rows


def _limit_loss(limit: Curves) -> list[go.Scatter]:
    time = limit.fine_time.tolist()
    line = {"x": time, "y": limit.loss.tolist(), "mode": "lines", "line": {"color": BLACK, "width": 1.6}}
    ends = {"x": [time[0], time[-1]], "y": [limit.loss_floor] * 2, "mode": "lines", "name": "floor"}
    return [
        go.Scatter(name="limit", hovertemplate="limit %{y:.4g}<extra></extra>", **line),
        go.Scatter(line={"color": GREY, "dash": "dot", "width": 1.2}, hoverinfo="skip", **ends),
    ]


def weights_plot(path: Path) -> list[Plot]:
    """The plot of weight against time step from weights.csv: a panel for each network; empty if the file has no rows.

    Raises StudyError if it cannot be read, or is not such a table.
    """
    columns = ("network", "kernel", "sigma_w", "step", "weight")
    rows = _table(path, columns)
    if not rows:
        return []
    lowest = min(float(row["weight"]) for row in rows)
    panels = []
    for network in dict.fromkeys(row["network"] for row in rows):
        panels.append(_weights_panel(network, [row for row in rows if row["network"] == network], lowest))
    about = "Root mean square over sequences of |dK(x, x)/dx_t|, its largest value 1. Full lines: NTK; dashed: NNGP."
    table = Table(columns, [[row[name] for name in columns] for row in rows])
    return [Plot("weights", "Weight of time steps in the limit's kernels", about, panels, table)]


def _table(path: Path, columns: Sequence[str]) -> list[dict[str, str]]:
    """The rows of a CSV file whose last three columns are numbers."""
    try:
        rows = list(csv.DictReader(read_utf8(path, DRAW_AGAIN).splitlines()))
        whole = all(row[name] for row in rows for name in columns)
        whole = whole and all(math.isfinite(number(row[name])) for row in rows for name in columns[-3:])
    except (csv.Error, KeyError):
        whole = False
    if not whole:
        raise StudyError(f"{path}: is not a table of {', '.join(columns)}; {DRAW_AGAIN}")
    return rows


def _weights_panel(network: str, rows: Sequence[dict[str, str]], lowest: float) -> Panel:
    sigmas = list(dict.fromkeys(row["sigma_w"] for row in rows))
    traces = []
    for kernel, dash in (("ntk", "solid"), ("nngp", "6px,4px")):
        for sigma, colour in zip(sigmas, COLOURS, strict=False):
            chosen = [row for row in rows if row["kernel"] == kernel and row["sigma_w"] == sigma]
            name = f"{kernel.upper()}, σ<sub>w</sub> = {float(sigma):.4g}"
            text = f"<b>step %{{x}}</b>  {name}<br>weight %{{y:.4g}}<extra></extra>"
            places = {"x": [int(float(row["step"])) for row in chosen], "y": [float(row["weight"]) for row in chosen]}
            line = {"color": colour, "dash": dash, "width": 1.6}
            traces.append(go.Scatter(mode="lines", name=name, line=line, hovertemplate=text, **places))
    above = room(len(traces), network)
    layout = {
        "legend": legend(len(traces), network),
        "showlegend": True,
        "margin": {"l": 8, "r": 12, "t": above, "b": 8},
        "xaxis": axis("time step <i>t</i>", nticks=6),
        "yaxis": axis("weight, largest 1", **logarithmic(max(WEIGHTS_FLOOR, 0.5 * lowest), 2.0)),
    }
    return panel(f"Weight of time steps, {network}", traces, layout, HEIGHT + above)
