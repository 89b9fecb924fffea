"""The figure of a comparison: accuracies with intervals, and mean ranks with bars joining those that do not differ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rnnlimits.classify import scores
from rnnlimits.classify.methods import METHODS
from rnnlimits.classify.scores import Comparison, Score
from rnnlimits.figures.drawings import write
from rnnlimits.figures.rates import BLACK, COLOURS, GREY, MARKERS, STYLE

SPREAD = 0.6  # height of the methods of one set within its row


def draw(results: Sequence[Score], comparison: Comparison, paths: Mapping[str, Path]) -> list[Path]:
    """Write the figure to `paths`, by suffix ("svg", "png"). Returns them."""
    style: Any = matplotlib.rcParamsDefault | STYLE | {"backend": "Agg"}
    with plt.rc_context(style):
        return write(figure(results, comparison), dict(paths))


def figure(results: Sequence[Score], comparison: Comparison) -> Figure:
    """Accuracies above; mean ranks below, if there are enough sets."""
    names = sorted({score.data_set for score in results}, key=str.lower)
    ranked = bool(comparison.pairs)
    page = plt.figure(figsize=(7.2, 1.2 + 0.34 * len(names) + (1.7 if ranked else 0.0)))
    heights = [0.34 * len(names) + 0.6, 1.5] if ranked else [1.0]
    axes = page.subplots(len(heights), 1, height_ratios=heights, squeeze=False)[:, 0]
    _accuracies(axes[0], results, names, comparison.methods)
    if ranked:
        _ranks(axes[1], comparison)
    return page


def _accuracies(ax: Axes, results: Sequence[Score], names: Sequence[str], methods: Sequence[str]) -> None:
    for index, method in enumerate(methods):
        members = {score.data_set: score for score in results if score.method == method}
        value = np.array([members[name].accuracy for name in names])
        ends = np.array([members[name].interval for name in names]).T
        y = np.arange(len(names)) + SPREAD * ((index + 0.5) / len(methods) - 0.5)
        bars = np.maximum([value - ends[0], ends[1] - value], 0.0)
        label, colour, marker = METHODS[method].title, COLOURS[index], MARKERS[index]
        ax.errorbar(value, y, xerr=bars, fmt=marker, color=colour, markersize=3.5, elinewidth=0.8, label=label)
    ax.set_yticks(np.arange(len(names)), names)
    ax.set_ylim(len(names) - 0.5, -0.5)
    ax.set_xlim(right=1.01)
    ax.set_xlabel("accuracy on the test part, 95% interval")
    ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=len(methods))


def _ranks(ax: Axes, comparison: Comparison) -> None:
    """The diagram of Demsar (2006): methods at their mean ranks, those joined by a bar do not differ."""
    count = len(comparison.methods)
    members = sorted(enumerate(comparison.summaries), key=lambda pair: pair[1].mean_rank)
    ax.axhline(0.0, color=BLACK, linewidth=0.8)
    for place, (index, summary) in enumerate(members):
        left = place < (count + 1) // 2
        height = -0.9 - 0.8 * (place if left else count - 1 - place)
        end = 0.85 if left else count + 0.15
        ax.plot([summary.mean_rank, summary.mean_rank, end], [0.0, height, height], color=GREY, linewidth=0.8)
        ax.plot(summary.mean_rank, 0.0, MARKERS[index], color=COLOURS[index], markersize=5, clip_on=False)
        text = f"{METHODS[summary.method].title} ({summary.mean_rank:.2f})"
        ax.text(end, height, f"{text} " if left else f" {text}", ha="right" if left else "left", va="center")
    ranks = [summary.mean_rank for _, summary in members]
    for number, (first, last) in enumerate(scores.groups(comparison)):
        height = -0.25 - 0.2 * number
        ax.plot([ranks[first] - 0.02, ranks[last] + 0.02], [height, height], color=BLACK, linewidth=2.5)
    _critical(ax, comparison.critical)
    _frame(ax, count)


def _critical(ax: Axes, critical: float) -> None:
    ax.plot([1.0, 1.0 + critical], [1.1, 1.1], "|-", color=BLACK, linewidth=0.8, markersize=6)
    ax.text(1.0 + critical / 2.0, 1.2, f"critical difference {critical:.2f}", ha="center", va="bottom")


def _frame(ax: Axes, count: int) -> None:
    ax.set_xlim(0.0, count + 1.0)
    ax.set_ylim(-0.9 - 0.8 * ((count - 1) // 2) - 0.3, 1.9)
    for rank in range(1, count + 1):
        ax.plot([rank, rank], [0.0, 0.12], color=BLACK, linewidth=0.8)
        ax.text(rank, 0.2, str(rank), ha="center", va="bottom")
    ax.grid(visible=False)
    ax.set_axis_off()
    ax.set_title("mean rank", loc="left")
