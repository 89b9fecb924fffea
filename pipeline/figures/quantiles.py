"""Quantiles of the outputs of trained networks against those of the normal law, with the band that chance allows."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import NormalDist
from typing import TYPE_CHECKING

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rnnlimits.base.arrays import deviation
from rnnlimits.figures.curves import Curves, axis_words, diagonal, outputs, spread_axes
from rnnlimits.figures.labels import BLACK, COLOURS, GREY
from rnnlimits.statistics.bootstrap import Array
from rnnlimits.training.plan import Axis, Cell

if TYPE_CHECKING:
    from rnnlimits.study import Study
    from rnnlimits.training.layout import Layout

LEVELS = 41  # quantiles that are drawn, evenly spaced on the normal axis
FEWEST, MOST = 16, 2048  # networks behind a series
REDRAWS = 200  # normal samples behind a band
SEED = 20_240_717


def standardised(output: Array) -> Array:
    """Outputs (replica, probe) less the mean of their probe, over its standard deviation. Raises no errors.

    Replicas and probes with a value that is not finite, and probes without scatter, are left out.
    """
    output = output[np.isfinite(output).all(1)]
    if len(output) < 2:
        return output[:0]
    scatter = deviation(output)
    output, scatter = output[:, scatter > 0], scatter[scatter > 0]
    return np.asarray((output - output.mean(0)) / scatter)


def normal_quantiles(count: int) -> tuple[Array, Array]:
    """Places (LEVELS,) on the normal axis, as far out as `count` independent values tell, and their probabilities."""
    normal = NormalDist()
    end = normal.inv_cdf(1 - 0.5 / count)
    places = np.linspace(-end, end, LEVELS)
    return places, np.array([normal.cdf(place) for place in places.tolist()])


def chance(values: Array, probabilities: Array) -> tuple[Array, Array]:
    """Ends (LEVELS,) of the band in which each quantile lies in 95 of 100 samples of a normal law.

    values: standardised outputs (replica, probe). The samples have as many replicas, with the same correlations between
    probes, and are standardised in the same way.
    """
    rng = np.random.default_rng(SEED)
    half = values / np.sqrt(len(values) - 1)  # half^T half: correlations of the probes
    _, size, axes = np.linalg.svd(half, full_matrices=False)
    root = size[:, None] * axes
    drawn = (rng.standard_normal((len(values), len(root))) @ root for _ in range(REDRAWS))
    found = np.array([np.quantile(standardised(one), probabilities) for one in drawn])
    low, high = np.quantile(found, (0.025, 0.975), axis=0)
    return low, high


Panels = dict[Axis, dict[Cell, Array]]  # standardised outputs (replica, probe)


def quantile_figure(study: Study, layout: Layout, cells: Sequence[Cell], limit: Curves) -> Figure | None:
    """A panel for each axis: outputs at the final time of the smallest and the largest width; None without enough."""
    found = panels(study, layout, cells, limit)
    return panels_figure(found, limit) if found else None


def panels(study: Study, layout: Layout, cells: Sequence[Cell], limit: Curves) -> Panels:
    """What the figure shows: outputs of enough networks at the final time, by axis and cell. Raises StudyError."""
    probes, found = range(limit.output.shape[1]), {}
    for axis in spread_axes(cells):
        ladder = diagonal(cells, axis)
        ends = dict.fromkeys((ladder[0], ladder[-1]))
        series = {cell: standardised(outputs(study, layout, cell, probes)[1][:MOST, -1]) for cell in ends}
        found[axis] = {cell: values for cell, values in series.items() if values.size and len(values) >= FEWEST}
    return {axis: series for axis, series in found.items() if series}


def panels_figure(panels: Panels, limit: Curves) -> Figure:
    """The figure of these panels."""
    figure = plt.figure(figsize=(0.8 + 2.7 * len(panels), 3.7))
    every = figure.subplots(1, len(panels), sharex=True, sharey=True, squeeze=False)[0]
    for ax, (axis, series) in zip(every, panels.items(), strict=True):
        draw_panel(ax, {f"N = {cell.width}": values for cell, values in series.items()})
        ax.set_title(axis_words(axis))
    every[0].set_ylabel("standardised output")
    every[0].legend(loc="upper left")
    figure.suptitle("Quantiles of the outputs at the final time against the normal law")
    words = f"all {limit.output.shape[1]} probes, each standardised;  band: 95 of 100 normal samples;  line: normal law"
    figure.supxlabel(words, fontsize=7, color=GREY)
    return figure


def draw_panel(ax: Axes, series: dict[str, Array]) -> None:
    """Each series of standardised outputs (replica, probe), and its band, against the line of the normal law."""
    for (label, values), colour, marker in zip(series.items(), COLOURS, ("o", "s"), strict=False):
        places, probabilities = normal_quantiles(len(values))
        low, high = chance(values, probabilities)
        ax.fill_between(places, low, high, color=colour, alpha=0.18, linewidth=0)
        ax.plot(places, np.quantile(values, probabilities), marker, color=colour, markersize=3, label=label, zorder=3)
        ax.plot(places[[0, -1]], places[[0, -1]], color=BLACK, linewidth=0.8, zorder=2)
    ax.set_xlabel("normal quantile")
