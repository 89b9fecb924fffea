"""The figure of an atlas: measured exponents against beta, with their intervals and the expected orders."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rnnlimits.figures.drawings import write
from rnnlimits.figures.rates import COLOURS, GREY, MARKERS, STYLE
from rnnlimits.statistics.ratefile import Rate

Order = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Panel:
    """One panel: its (quantity, estimator), of which the first that a variant has is shown, and the expected orders."""

    title: str
    sources: tuple[tuple[str, str], ...]
    orders: Mapping[str, Order]


PANELS = (
    Panel(
        "Fluctuation of the output",
        (("output_fluctuation", "half-difference"), ("output_fluctuation", "plain")),
        {"β - 1/2": lambda beta: beta - 0.5},
    ),
    Panel(
        "Bias of the output",
        tuple(("output_bias", name) for name in ("less unit noise", "twin", "pair-mean", "plain")),
        {"2(1 - β)": lambda beta: 2 * (1 - beta), "1 - β": lambda beta: 1 - beta},
    ),
    Panel("Largest drift of an output weight", (("drift", "plain"),), {"1 - β": lambda beta: 1 - beta}),
    Panel(
        "Memory",
        (("hidden_h1", "plain"), ("memory_rms", "plain")),
        {"1/2": lambda beta: np.full_like(beta, 0.5)},
    ),
)
SPREAD = 0.03  # width along the axis over which the variants at one beta are spread


def draw(by_variant: Mapping[str, Sequence[Rate]], folder: Path) -> list[Path]:
    """Write atlas.svg and atlas.png into a folder; by_variant: rates by variant. Returns their paths."""
    style: Any = matplotlib.rcParamsDefault | STYLE | {"backend": "Agg"}
    with plt.rc_context(style):
        return write(figure(by_variant), {suffix: folder / f"atlas.{suffix}" for suffix in ("svg", "png")})


def figure(by_variant: Mapping[str, Sequence[Rate]]) -> Figure:
    """Four panels, a colour and a marker for each variant."""
    page = plt.figure(figsize=(8.4, 6.6))
    axes = page.subplots(2, 2).reshape(-1)
    for ax, panel in zip(axes, PANELS, strict=True):
        _orders(ax, panel)
        for index, (variant, rates) in enumerate(by_variant.items()):
            _variant(ax, panel, rates, index, len(by_variant), variant)
        ax.set_title(panel.title, loc="left")
        ax.set_xlabel("β")
    for ax in axes[::2]:
        ax.set_ylabel("exponent p of $N^{-p}$")
    handles, labels = axes[0].get_legend_handles_labels()
    unique = dict(zip(labels, handles, strict=True))
    page.legend(unique.values(), unique.keys(), loc="outside lower center", ncols=min(5, len(unique)))
    return page


def _orders(ax: Axes, panel: Panel) -> None:
    beta = np.linspace(0.5, 1.0, 51)
    for (name, order), dashes in zip(panel.orders.items(), ((0, ()), (0, (4, 2))), strict=False):
        ax.plot(beta, order(beta), color=GREY, linestyle=dashes, zorder=1)
        at = 0.985 if order(beta)[-1] > 0.25 else 0.53
        ax.annotate(name, (at, float(order(np.array([at]))[0])), ha="right" if at > 0.9 else "left", va="bottom")


def _variant(ax: Axes, panel: Panel, rates: Sequence[Rate], index: int, count: int, name: str) -> None:
    """Points of one variant, moved a little sideways so that intervals of many variants do not overlap."""
    chosen = _chosen(panel, rates)
    dodge = SPREAD * ((index + 0.5) / count - 0.5)
    colour = next(itertools.islice(itertools.cycle(COLOURS), index, None))
    marker = next(itertools.islice(itertools.cycle(MARKERS), index, None))
    x = np.array([beta for beta, _ in chosen]) + dodge
    value, low, high = (np.array([getattr(r, key) for _, r in chosen]) for key in ("exponent", "ci_low", "ci_high"))
    bars = np.array([value - low, high - value])
    ax.errorbar(x, value, bars, fmt=marker, color=colour, markersize=3.5, elinewidth=0.8, label=name, zorder=3)


def _chosen(panel: Panel, rates: Sequence[Rate]) -> list[tuple[float, Rate]]:
    """(beta, rate) of the first source with a rate that was not refused; at depth 1 if several depths exist."""
    for source in panel.sources:
        members = [rate for rate in rates if (rate.quantity, rate.estimator) == source and _has_exponent(rate)]
        if members:
            return [(_beta(rate), rate) for rate in members]
    return []


def _has_exponent(rate: Rate) -> bool:
    shown = "beta" in rate.where and rate.where.get("depth", "1") == "1"  # not those of a fixed richness
    return shown and bool(np.isfinite(rate.exponent)) and not rate.refused


def _beta(rate: Rate) -> float:
    return float(rate.where["beta"])
