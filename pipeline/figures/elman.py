"""The figures stage of a study of the recurrent NTK: rates, and the weight of time steps, to SVG, PNG and CSV."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from functools import partial

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from rnnlimits.base import progress
from rnnlimits.elman import plan, weights
from rnnlimits.elman.layout import RntkLayout
from rnnlimits.elman.weights import KERNELS, Curve
from rnnlimits.figures import rates as figures
from rnnlimits.figures.drawings import Drawing, save_all
from rnnlimits.kernels.interface import Backend
from rnnlimits.quantities.own import quantities_of
from rnnlimits.statistics.ratefile import read
from rnnlimits.study.elman import RntkStudy

DASHES = {"ntk": "-", "nngp": (0, (3, 2))}


def run(study: RntkStudy, layout: RntkLayout, be: Backend) -> list[str]:
    """Draw every figure of a study into its folder figures/, and write weights.csv; returns the figures' names.

    Raises StudyError for a file that is missing, damaged or from another study.
    """
    with quantities_of(study), figures.style():
        names = save_all(layout, plan.study_id(study), _drawings(study, layout, be))
    if study.weights is None:
        layout.weights_csv.unlink(missing_ok=True)  # of an earlier study
    progress.note(f"{layout.figures}: {', '.join(names)}")
    return names


def _drawings(study: RntkStudy, layout: RntkLayout, be: Backend) -> Iterator[Drawing]:
    rates = read(layout.rates_h5, study_id=plan.study_id(study))
    for name, group in itertools.groupby(rates, key=lambda rate: rate.quantity):
        if members := [rate for rate in group if rate.cloud]:
            yield Drawing(name, partial(figures.rate_figure, members), f"{members}")
    curves = weights.curves(study, be)
    if curves:
        weights.write_csv(layout.weights_csv, study, curves)
        yield Drawing("weights", partial(weights_figure, curves), layout.weights_csv.read_text())


def weights_figure(curves: list[Curve]) -> Figure:
    """A panel for each network: weight against time step, a colour for each sigma_w, both kernels."""
    names = list(dict.fromkeys(curve.network for curve in curves))
    sigmas = sorted({curve.sigma_w for curve in curves})
    colours = dict(zip(sigmas, itertools.cycle(figures.COLOURS), strict=False))
    figure = plt.figure(figsize=(0.7 + 2.6 * len(names), 3.4))
    panels = figure.subplots(1, len(names), sharey=True, squeeze=False)[0]
    for ax, name in zip(panels, names, strict=True):
        for curve in (curve for curve in curves if curve.network == name):
            step = np.arange(1, len(curve.weight) + 1)
            label = f"$\\sigma_w$ = {curve.sigma_w:.4g}" if curve.kernel == KERNELS[0] else None
            style = {"color": colours[curve.sigma_w], "linestyle": DASHES[curve.kernel], "label": label}
            ax.plot(step, curve.weight, **style)
        ax.set_yscale("log")
        ax.set_ylim(max(1e-8, 0.5 * min(float(curve.weight.min()) for curve in curves)), 2)
        ax.set_xlabel("time step $t$")
        ax.set_title(name, loc="left")
    panels[0].set_ylabel("$|dK(x, x)/dx_t|$, largest 1")
    panels[0].legend()
    figure.suptitle("Weight of time steps in the limit's kernels")
    figure.supxlabel("full: NTK;  dashed: NNGP", fontsize=7, color=figures.GREY)
    return figure
