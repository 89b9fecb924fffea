"""Geometric laws in coupled paths of draw.h5; expected rates are those of the law of large numbers."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from rnnlimits.files.store import File
from rnnlimits.quantities.base import CHAIN_STEPS, HIDDEN_UPDATES, Quantity, register
from rnnlimits.statistics.bootstrap import Array, Bootstrap
from rnnlimits.statistics.samples import average
from rnnlimits.statistics.verdicts import Expected

if TYPE_CHECKING:
    from rnnlimits.study import Study

MOST_COUPLINGS = 1024  # pairs are averaged into this many units: more would only cost memory


@dataclass(frozen=True, kw_only=True)
class Contraction(Quantity):
    """A distance of coupled paths that decays geometrically.

    distance: variable of draw.h5 with its logarithms (..., step), NaN where a distance is rounding error. expected: the
    rate that follows from a study and its draw.h5.
    """

    distance: str
    expected: Callable[[Study, File, Bootstrap], Expected]


def grouped(values: Array) -> Array:
    """Values (pair,) averaged over consecutive pairs into at most MOST_COUPLINGS units of equal size."""
    size = -(-len(values) // MOST_COUPLINGS)
    return np.asarray(values[: len(values) // size * size].reshape(-1, size).mean(1))


def measured_rate(log_slope: Array, bootstrap: Bootstrap) -> Expected:
    """A rate of decay: minus the mean of log_slope (unit,), with what a joint comparison needs."""
    mean = bootstrap.resample(average(log_slope[:, None]))
    if not math.isfinite(mean.value) or not np.isfinite(mean.replicates).all():
        return Expected(math.nan, "")
    return Expected(-mean.value, "exact", mean.value - mean.replicates, -mean.influence, everywhere=True)


def _of_memories(study: Study, file: File, bootstrap: Bootstrap) -> Expected:
    """The expected rate for memories: E log|dF/dm| on the same pairs."""
    return measured_rate(grouped(file["log_slope"][()].reshape(-1)), bootstrap)


def _of_chains(study: Study, file: File, bootstrap: Bootstrap) -> Expected:
    """The expected rate for chains: the spectral radius of a linear chain; not known for others."""
    if study.chain.gaussian() is not None and "mixing_rate" in file:
        return Expected(-math.log(float(file["mixing_rate"][()])), "exact", everywhere=True)
    return Expected(math.nan, "")


register(
    Contraction(
        name="memory_contraction",
        estimator="coupling",
        variable=HIDDEN_UPDATES,
        title="Distance of two memories on one path",
        ordinate="geometric mean over pairs",
        expected_kind="exact",
        sources=("draw",),
        law="geometric",
        distance="memory_log_distance",
        expected=_of_memories,
    )
)
register(
    Contraction(
        name="chain_contraction",
        estimator="coupling",
        variable=CHAIN_STEPS,
        title="Distance of two chains with the same noise",
        ordinate="geometric mean over pairs",
        expected_kind="exact",
        sources=("draw",),
        law="geometric",
        distance="chain_log_distance",
        expected=_of_chains,
    )
)
