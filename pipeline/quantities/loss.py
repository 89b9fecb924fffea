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
        delays = _half_way(time, rows[:, len(time) :], rows[:, : len(time)])
        return delays.reshape(np.shape(mean)[:-1])

    return Sample(both, later, signed=True, replicas=replicas_of(trainings.of_law(trainings.loss)))


def _half_way(time: Array, twin: Array, ours: Array) -> Array:
    """Difference (n,) of the times at which falling curves (n, bin) reach the middle of the second ones' range."""
    level = (twin[:, 0] + twin[:, -1]) / 2
    return first_below(time, ours, level) - first_below(time, twin, level)


def first_below(time: Array, curves: Array, level: Array) -> Array:
    """Times (n,) at which curves (n, bin) first fall below levels (n,), interpolated; the last if one never does."""
    below = curves <= level[:, None]
    late, row = np.maximum(below.argmax(1), 1), np.arange(len(curves))
    before, after = curves[row, late - 1], curves[row, late]
    there = time[late - 1] + (before - level) / (before - after) * (time[late] - time[late - 1])
    return np.asarray(np.where(below.any(1), np.where(below[:, 0], time[0], there), time[-1]))


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
