"""Quantities of Elman networks of finite width against the limit's kernels (docs/rntk.md).

Networks are grouped into at most MOST_UNITS units; unit u contains the replicas u, u + MOST_UNITS, ... A replica is in
the same unit at every width, so that widths, whose weights share their first random numbers, are resampled together.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from rnnlimits.elman.plan import Kind, Ladder
from rnnlimits.quantities.base import DESCENT_STEPS, ELMAN_WIDTH, Quantity, register
from rnnlimits.statistics.bootstrap import Array, Sample
from rnnlimits.statistics.corrections import USUAL
from rnnlimits.statistics.samples import bias, replicas_of, rms, spread
from rnnlimits.study.elman import Named, RntkStudy

MOST_UNITS = 1024


@dataclass(frozen=True, eq=False)
class Limits:
    """The limit's kernels (S, S) for one network, and the step size of the descent (0 without training)."""

    ntk: Array
    nngp: Array
    rate: float = 0.0


Values = Mapping[str, Array]  # by variable: errors of a cell, (unit, member, pair or sequence), see rates.elman.Reader


@dataclass(frozen=True, kw_only=True)
class ElmanQuantity(Quantity):
    """A quantity of Elman networks of finite width, along their width n.

    kind: the kind of cells that it is measured in. ladder: the section of the study whose widths it is measured at.
    sample: per-unit statistics of a cell. expected: exponent at infinity for an activation. remark: a note on every
    row. corrections: orders of what is left out at finite n.
    """

    kind: Kind
    ladder: Ladder
    sample: Callable[[Values], Sample]
    expected: Callable[[str], float]
    remark: str = ""
    corrections: tuple[float, ...] = USUAL

    def widths(self, study: RntkStudy, named: Named) -> tuple[int, ...]:
        """The widths at which it is measured; empty if the study does not have it."""
        ladder = study.ladder(self.ladder, named)
        return tuple(width for width, _ in ladder.rungs()) if ladder else ()


def units(values: Array) -> Array:
    """Values (replica, ...) as (unit, member, ...); beyond MOST_UNITS an incomplete row of units is left out."""
    count = min(len(values), MOST_UNITS)
    members = len(values) // count
    rows = values[: count * members].reshape(members, count, *values.shape[1:])
    return np.ascontiguousarray(rows.swapaxes(0, 1))


def _scatter(name: str) -> Callable[[Values], Sample]:
    return lambda values: spread(values[name])


def _mean_error(name: str) -> Callable[[Values], Sample]:
    def sample(values: Values) -> Sample:
        return replace(bias(values[name].mean(1)), replicas=replicas_of(values[name]))

    return sample


def _gap(first: str, second: str) -> Callable[[Values], Sample]:
    return lambda values: rms(values[first] - values[second])


def _half(_: str) -> float:
    """Exponent of means over n units; kernels are functions of such means."""
    return 0.5


def _one(_: str) -> float:
    """Exponent of the second order in those means, where the first order vanishes."""
    return 1.0


def _second_order(activation: str) -> float:
    """Exponent of the output's second order in the weights: n^-1 for smooth phi (docs/rntk.md), unknown with kinks."""
    return math.nan if activation == "relu" else 1.0


RELATIVE = "root mean square over pairs, relative"
OVER_SEQUENCES = "root mean square over sequences"

register(
    ElmanQuantity(
        name="ntk_fluctuation",
        estimator="plain",
        variable=ELMAN_WIDTH,
        title="Scatter of the empirical NTK at initialisation",
        ordinate=RELATIVE,
        sources=("kernel",),
        kind="kernel",
        ladder="fluctuation",
        sample=_scatter("ntk"),
        expected=_half,
    )
)
register(
    ElmanQuantity(
        name="nngp_fluctuation",
        estimator="plain",
        variable=ELMAN_WIDTH,
        title="Scatter of the empirical NNGP at initialisation",
        ordinate=RELATIVE,
        sources=("kernel",),
        kind="kernel",
        ladder="fluctuation",
        sample=_scatter("nngp"),
        expected=_half,
    )
)
register(
    ElmanQuantity(
        name="ntk_bias",
        estimator="debiased",
        variable=ELMAN_WIDTH,
        title="Mean of the empirical NTK against the limit",
        ordinate=RELATIVE,
        sources=("kernel",),
        kind="kernel",
        ladder="bias",
        sample=_mean_error("ntk"),
        expected=_one,
    )
)
register(
    ElmanQuantity(
        name="nngp_bias",
        estimator="debiased",
        variable=ELMAN_WIDTH,
        title="Mean of the empirical NNGP against the limit",
        ordinate=RELATIVE,
        sources=("kernel",),
        kind="kernel",
        ladder="bias",
        sample=_mean_error("nngp"),
        expected=_one,
    )
)
register(
    ElmanQuantity(
        name="ntk_training_gap",
        estimator="plain",
        variable=ELMAN_WIDTH,
        title="Trained network against its linearisation",
        ordinate=OVER_SEQUENCES,
        sources=("descent",),
        kind="descent",
        ladder="training",
        sample=_gap("network", "linearised"),
        expected=_second_order,
        remark="n^-1/2 is a bound",
    )
)
register(
    ElmanQuantity(
        name="ntk_limit_gap",
        estimator="linearised",
        variable=ELMAN_WIDTH,
        title="Training against descent with the limit's kernel from the same start",
        ordinate=OVER_SEQUENCES,
        sources=("descent",),
        kind="descent",
        ladder="training",
        sample=_gap("linearised", "limit"),
        expected=_half,
    )
)
register(
    ElmanQuantity(
        name="ntk_limit_gap",
        estimator="network",
        variable=ELMAN_WIDTH,
        title="Training against descent with the limit's kernel from the same start",
        ordinate=OVER_SEQUENCES,
        sources=("descent",),
        kind="descent",
        ladder="training",
        sample=_gap("network", "limit"),
        expected=_half,
    )
)
STEP_GAP = register(
    Quantity(
        name="ntk_step_gap",
        estimator="limit",
        variable=DESCENT_STEPS,
        title="Gradient descent against gradient flow with the limit's kernel",
        ordinate=OVER_SEQUENCES,
        expected_kind="exact",
        sources=("start",),
    )
)
