"""What is estimated from networks of finite width: a registry of quantities, each a few lines (docs/rntk.md).

Networks are grouped into at most MOST_UNITS units, unit u the replicas u, u + MOST_UNITS, ...: the same replica is in
the same unit at every width, so that widths, whose weights share their first numbers, are resampled together.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from rnnlimits.elman.plan import Kind, Ladder
from rnnlimits.quantities.estimators import ExpectedKind, bias, rms, spread
from rnnlimits.statistics.bootstrap import Array, Sample
from rnnlimits.study.elman import Named, RntkStudy

MOST_UNITS = 1024


@dataclass(frozen=True, eq=False)
class Limits:
    """Of one network: the limit's kernels (S, S), and the step size of the descent (0 without training)."""

    ntk: Array
    nngp: Array
    rate: float = 0.0


Values = Mapping[str, Array]  # of a cell, by variable, (unit, member, pair or sequence): errors, see rates.Reader


@dataclass(frozen=True)
class Entry:
    """One quantity and one estimator of it.

    ladder: the section of the study whose widths carry it. sample: per-unit statistics of a cell. expected: exponent
    for an activation, of `expected_kind`. remark: always noted.
    """

    name: str
    estimator: str
    kind: Kind
    ladder: Ladder
    title: str
    ordinate: str
    sample: Callable[[Values], Sample]
    expected: Callable[[str], float]
    expected_kind: ExpectedKind = "heuristic"
    remark: str = ""

    def widths(self, study: RntkStudy, named: Named) -> tuple[int, ...]:
        """The widths that carry it; none where the study does not have it."""
        ladder = study.ladder(self.ladder, named)
        return tuple(width for width, _ in ladder.rungs()) if ladder else ()


def units(values: Array) -> Array:
    """Values (replica, ...) as (unit, member, ...); of more than MOST_UNITS, what fills no row of units is left out."""
    count = min(len(values), MOST_UNITS)
    members = len(values) // count
    rows = values[: count * members].reshape(members, count, *values.shape[1:])
    return np.ascontiguousarray(rows.swapaxes(0, 1))


def _scatter(name: str) -> Callable[[Values], Sample]:
    return lambda values: spread(values[name])


def _mean_error(name: str) -> Callable[[Values], Sample]:
    def sample(values: Values) -> Sample:
        found = bias(values[name].mean(1))
        return Sample(found.statistics, found.combine, found.power, True, int(np.prod(values[name].shape[:2])))

    return sample


def _gap(first: str, second: str) -> Callable[[Values], Sample]:
    return lambda values: rms(values[first] - values[second])


def _half(_: str) -> float:
    """Means over n units, of which kernels are functions."""
    return 0.5


def _one(_: str) -> float:
    """Second order of those means; none in first order."""
    return 1.0


def _second_order(activation: str) -> float:
    """Of the output in the weights: n^-1 for smooth phi (docs/rntk.md). With kinks units switch; none is derived."""
    return math.nan if activation == "relu" else 1.0


RELATIVE = "root mean square over pairs, relative"
OVER_SEQUENCES = "root mean square over sequences"

ENTRIES = (
    Entry(
        "ntk_fluctuation",
        "plain",
        "kernel",
        "fluctuation",
        "Scatter of the empirical NTK at initialisation",
        RELATIVE,
        _scatter("ntk"),
        _half,
    ),
    Entry(
        "nngp_fluctuation",
        "plain",
        "kernel",
        "fluctuation",
        "Scatter of the empirical NNGP at initialisation",
        RELATIVE,
        _scatter("nngp"),
        _half,
    ),
    Entry(
        "ntk_bias",
        "debiased",
        "kernel",
        "bias",
        "Mean of the empirical NTK against the limit",
        RELATIVE,
        _mean_error("ntk"),
        _one,
    ),
    Entry(
        "nngp_bias",
        "debiased",
        "kernel",
        "bias",
        "Mean of the empirical NNGP against the limit",
        RELATIVE,
        _mean_error("nngp"),
        _one,
    ),
    Entry(
        "ntk_training_gap",
        "plain",
        "descent",
        "training",
        "Trained network against its linearisation",
        OVER_SEQUENCES,
        _gap("network", "linearised"),
        _second_order,
        remark="n^-1/2 is a bound",
    ),
    Entry(
        "ntk_limit_gap",
        "linearised",
        "descent",
        "training",
        "Training against descent with the limit's kernel from the same start",
        OVER_SEQUENCES,
        _gap("linearised", "limit"),
        _half,
    ),
    Entry(
        "ntk_limit_gap",
        "network",
        "descent",
        "training",
        "Training against descent with the limit's kernel from the same start",
        OVER_SEQUENCES,
        _gap("network", "limit"),
        _half,
    ),
)
STEP_GAP = "ntk_step_gap"
TITLES = {entry.name: entry.title for entry in ENTRIES} | {
    STEP_GAP: "Gradient descent against gradient flow with the limit's kernel"
}
ORDINATES = {entry.name: entry.ordinate for entry in ENTRIES} | {STEP_GAP: OVER_SEQUENCES}
