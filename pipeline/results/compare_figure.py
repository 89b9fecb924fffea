"""The figure of a comparison: exponents with their intervals, one row for each quantity, a colour for each study."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rnnlimits.figures.drawings import METADATA, write
from rnnlimits.figures.rates import COLOURS, GREY, MARKERS, style
from rnnlimits.results.compare import LEVEL, Row, usable
from rnnlimits.statistics.ratefile import Rate

ROW = 0.27  # inches
MARGIN = 1.1  # inches for axis and legend
SPREAD = 0.5  # part of a row over which its studies are spread


def write_to(path: Path, labels: Sequence[str], rows: Sequence[Row]) -> None:
    """Draw the rows of two studies or more to a file, in the format given by its ending."""
    suffix = path.suffix.removeprefix(".")
    METADATA.setdefault(suffix, {"CreationDate": None})
    with style():
        write(figure(labels, [row for row in rows if len(row.known) > 1]), {suffix: path})


def figure(labels: Sequence[str], rows: Sequence[Row]) -> Figure:
    """Rows from top to bottom; a star marks those that differ after adjustment."""
    page = plt.figure(figsize=(8.4, MARGIN + ROW * max(1, len(rows))))
    ax = page.subplots()
    for index, label in enumerate(labels):
        _study(ax, index, len(labels), label, [row.rates[index] for row in rows])
    _names(ax, rows)
    ax.set_xlabel("exponent, or rate or ratio, with its 95% interval")
    page.legend(loc="outside lower center", ncols=min(4, max(1, len(labels))))
    return page


def _study(ax: Axes, index: int, count: int, label: str, rates: Sequence[Rate | None]) -> None:
    points = [(row, rate) for row, rate in enumerate(rates) if rate is not None and usable(rate)]
    y = [row + SPREAD * ((index + 0.5) / count - 0.5) for row, _ in points]
    x = [rate.exponent for _, rate in points]
    bars = [[rate.exponent - rate.ci_low for _, rate in points], [rate.ci_high - rate.exponent for _, rate in points]]
    marker, colour = MARKERS[index % len(MARKERS)], COLOURS[index % len(COLOURS)]
    ax.errorbar(x, y, xerr=bars, fmt=marker, color=colour, markersize=3.5, elinewidth=0.8, label=label)


def _names(ax: Axes, rows: Sequence[Row]) -> None:
    names = [f"{row.key.heading}  {row.key.at}{'  *' if row.p_holm < LEVEL else ''}" for row in rows]
    ax.set_yticks(range(len(rows)), names)
    ax.set_ylim(len(rows) - 0.5, -0.5)
    for edge in range(1, len(rows)):
        if rows[edge].key.heading != rows[edge - 1].key.heading:
            ax.axhline(edge - 0.5, color=GREY, linewidth=0.4)
