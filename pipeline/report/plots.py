"""Parts of an interactive figure: panels drawn by plotly, a caption, and the values as a table."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Any, NamedTuple

import plotly.graph_objects as go

from rnnlimits.report.numbers import short

FONT = 'system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif'
SYMBOLS = ("circle", "square", "triangle-up", "diamond", "triangle-left", "cross", "x", "star")
LINE = 20  # height of a line of the legend in pixels
DASH, DOTS = "6px,3px", "1px,3px"


class Link(NamedTuple):
    """A link to a file, by its path relative to the page."""

    text: str
    address: str


@dataclass(frozen=True)
class Table:
    """Values as text; a cell may contain links to files."""

    columns: Sequence[str]
    rows: Sequence[Sequence[str | Sequence[Link]]]


@dataclass(frozen=True)
class Panel:
    """One drawing: its label, its height in pixels, and plotly's data and layout."""

    label: str
    height: int
    drawing: Mapping[str, Any]


@dataclass(frozen=True)
class Plot:
    """One figure of the report. name: that of the figure's files. caption: how to read it."""

    name: str
    title: str
    caption: str
    panels: Sequence[Panel]
    table: Table = field(repr=False)


def panel(label: str, traces: Sequence[go.Scatter], layout: Mapping[str, Any], height: int) -> Panel:
    """A panel, checked by plotly. The page adds the colours of text and grid, which follow the reader's scheme."""
    figure = go.Figure(data=list(traces), layout={**BASE, **layout, "height": height})
    drawing = json.loads(figure.to_json(engine="json"))
    drawing["layout"].pop("template", None)
    return Panel(label, height, drawing)


BASE: dict[str, Any] = {
    "template": "none",
    "autosize": True,
    "font": {"family": FONT, "size": 12},
    "hoverlabel": {"align": "left", "namelength": -1},
    "hovermode": "closest",
    "paper_bgcolor": "rgba(0,0,0,0)",
    "plot_bgcolor": "rgba(0,0,0,0)",
    "dragmode": False,
}


def legend(entries: int, title: str = "") -> dict[str, Any]:
    """A legend above the panel, one line for each entry; it needs a margin of `room(entries, title)`."""
    place: dict[str, Any] = {"x": 0, "xanchor": "left", "y": 1.0, "yanchor": "bottom", "yref": "paper"}
    look: dict[str, Any] = {"bgcolor": "rgba(0,0,0,0)", "font": {"size": 12}, "tracegroupgap": 0, "itemwidth": 30}
    heading: dict[str, Any] = {"title": {"text": f"<b>{escape(title)}</b>", "font": {"size": 12}}} if title else {}
    return {"orientation": "v", **place, **look, **heading}


def room(entries: int, title: str = "") -> int:
    """Pixels above a panel for a legend with `entries` entries."""
    return LINE * (entries + bool(title)) + 14


def axis(title: str, **further: Any) -> dict[str, Any]:
    """An axis without lines, zero line or other decoration."""
    return {
        "title": {"text": title, "standoff": 8, "font": {"size": 12}},
        "automargin": True,
        "zeroline": False,
        "ticks": "outside",
        "ticklen": 4,
        **further,
    }


def plain(mathtext: str) -> str:
    """Matplotlib's mathematics as the few tags that plotly supports: $N$ becomes N in italics."""
    pieces = escape(mathtext.replace("$\\sigma_w$", "σ_w")).split("$")
    return "".join(f"<i>{piece}</i>" if index % 2 else piece for index, piece in enumerate(pieces))


def logarithmic(low: float, high: float) -> dict[str, Any]:
    """A logarithmic axis from low to high; its ticks are written out as long as they are readable."""
    first, last = math.log10(low), math.log10(high)
    powers = range(math.floor(first), math.ceil(last) + 1)
    if last - first >= 3:
        step = math.ceil((last - first) / 7)
        labelled = [power for power in powers if first <= power <= last and power % step == 0]
        ticks = {10.0**power: f"10<sup>{power}</sup>".replace("-", "−") if power else "1" for power in labelled}
    else:
        leading = (1, 2, 5) if last - first > 0.7 else range(1, 10)
        values = (digit * 10.0**power for power in powers for digit in leading)
        ticks = {value: short(value) for value in values if low <= value <= high}
    texts = {"tickvals": list(ticks), "ticktext": list(ticks.values())}
    return {"type": "log", "range": [first, last], **texts}
