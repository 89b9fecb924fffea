"""The loss along the training path compared with that of the infinite-width twin on the same path."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from rnnlimits.quantities import prediction
from rnnlimits.quantities.base import N, register
from rnnlimits.quantities.trained import (
    Design,
    TrainedQuantity,
    Trainings,
    bias_corrections,
    fluctuation_corrections,
    fluctuation_order,
    half_with_twins,
    loss_order,
)
from rnnlimits.statistics.bootstrap import Array, Sample
from rnnlimits.statistics.samples import average, replicas_of, spread


def excess_loss(trainings: Trainings) -> Array:
    """Loss minus the twin's (unit, member) over the last quarter of the bins; on one path the data's noise cancels."""
    assert trainings.twin_loss is not None
    late = slice(3 * trainings.loss.shape[-1] // 4, None)
    excess = trainings.of_law(trainings.loss)[..., late].mean(-1) - trainings.twin_loss[:, None, late].mean(-1)
    return np.asarray(excess)


def delay(trainings: Trainings) -> Sample:
    """Delay against the twin until the mean loss has fallen half-way from the twin's first bin to its last."""
    assert trainings.twin_loss is not None
    both = np.concatenate([trainings.of_law(trainings.loss).mean(1), trainings.twin_loss], axis=1)
    time = trainings.loss_time

    def later(mean: Array, concentration: Array) -> Array:
        rows = np.atleast_2d(mean)
        delays = np.array([_half_way(time, row[len(time) :], row) for row in rows])
        return delays.reshape(np.shape(mean)[:-1])

    return Sample(both, later, signed=True, replicas=replicas_of(trainings.of_law(trainings.loss)))


def _half_way(time: Array, twin: Array, both: Array) -> float:
    """Difference of the times at which two falling curves reach the middle of the second one's range."""
    level = (twin[0] + twin[-1]) / 2
    ours, theirs = (first_below(time, curve, level) for curve in (both[: len(time)], twin))
    return ours - theirs


def first_below(time: Array, curve: Array, level: float) -> float:
    """Time at which the curve first falls below a level, by interpolation; the last time if it never does."""
    below = np.flatnonzero(curve <= level)
    if not len(below):
        return float(time[-1])
    if below[0] == 0:
        return float(time[0])
    late = below[0]
    fraction = (curve[late - 1] - level) / (curve[late - 1] - curve[late])
    return float(time[late - 1] + fraction * (time[late] - time[late - 1]))


def _fluctuation_order(beta: float, design: Design) -> float:
    """Exponent of a term linear in the initial field, times the residual."""
    return min(fluctuation_order(beta, design), 0.5)


register(
    TrainedQuantity(
        name="loss_excess",
        estimator="twin",
        variable=N,
        title="Loss compared with that of the infinite-width twin",
        ordinate="mean over replicas, last quarter of the time",
        sources=("train", "twin"),
        sample=lambda t: replace(average(excess_loss(t)), signed=True),
        predicted=prediction.loss_excess,
        expected=loss_order,
        corrections=bias_corrections,
        applies=half_with_twins,
        when="",  # over the last quarter of the time
    )
)
register(
    TrainedQuantity(
        name="loss_fluctuation",
        estimator="twin",
        variable=N,
        title="Fluctuation of the loss compared with that of the twin",
        ordinate="standard deviation over replicas, last quarter of the time",
        sources=("train", "twin"),
        sample=lambda t: spread(excess_loss(t)[..., None]),
        predicted=prediction.loss_fluctuation,
        expected=_fluctuation_order,
        corrections=fluctuation_corrections,
        applies=half_with_twins,
        when="",  # over the last quarter of the time
    )
)
register(
    TrainedQuantity(
        name="time_to_learn",
        estimator="twin",
        variable=N,
        title="Delay in reaching half of the twin's progress",
        ordinate="difference of times",
        units="units of training time",
        sources=("train", "twin"),
        sample=delay,
        expected=loss_order,
        corrections=bias_corrections,
        applies=half_with_twins,
        when="",
    )
)
