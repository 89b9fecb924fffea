"""The largest of several estimates from the same units, as over the checkpoints of a training, and the bias of that.

The expectation of a maximum exceeds the maximum of the expectations: by at most the expected maximum of the errors of
those estimates that may be the largest. The bootstrap gives that bound. Half of it is subtracted, and half of it counts
as an error. Source: docs/theory/verdicts.md.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from rnnlimits.statistics.bootstrap import Array, Bootstrap, Resampled, Sample
from rnnlimits.statistics.powerlaw import Point, measure, point_of
from rnnlimits.statistics.predictions import Foreseen, Predicted, predicted_of

FAR = 5.0  # standard errors of the difference below the largest: an estimate so far below is never the largest


class Supremum(NamedTuple):
    """The largest estimate as a point, its index, and half the bound of its bias, relative to it."""

    point: Point
    largest: int
    half_bias: float = 0.0


def supremum(variable: float, samples: Sequence[Sample], likely: Sequence[int], bootstrap: Bootstrap) -> Supremum:
    """The largest of the estimates of samples that have the same units and one power; likely: their `contenders`."""
    found = _largest(variable, samples, likely, bootstrap)
    if not found.half_bias or not math.isfinite(found.half_bias):
        return found
    return found._replace(point=found.point.blur(bootstrap, found.half_bias))


def predicted_supremum(
    variable: float, foreseen: Sequence[Foreseen], likely: Sequence[int], bootstrap: Bootstrap
) -> Predicted:
    """The largest of predicted values, which are samples of the same units; likely: their `contenders`."""
    samples = [one.value for one in foreseen if isinstance(one.value, Sample)]
    found = _largest(variable, samples, likely, bootstrap)
    best = foreseen[found.largest]
    return predicted_of(found.point, replace(best, apart=math.hypot(best.apart, found.half_bias)))


def _largest(variable: float, samples: Sequence[Sample], likely: Sequence[int], bootstrap: Bootstrap) -> Supremum:
    """The largest estimate less half the bound of its bias."""
    if len(likely) == 1:
        return Supremum(measure(variable, samples[likely[0]], bootstrap), likely[0])
    drawn = {index: bootstrap.resample(samples[index]) for index in likely}
    largest = max(drawn, key=lambda index: drawn[index].value)
    joint, half = _joint(list(drawn.values()), drawn[largest])
    point = point_of(variable, samples[largest], joint)
    return Supremum(point, largest, point.power * half / joint.value if joint.value > 0 else 0.0)


def contenders(values: Sequence[float], replicates: Sequence[Array | None]) -> list[int]:
    """Indices of the values that may be the largest, by the errors of their differences from it.

    replicates: (count,) of each value, joint. A value without them, which is not finite, is the only contender.
    """
    unknown = [index for index, value in enumerate(values) if replicates[index] is None or not math.isfinite(value)]
    if unknown:
        return unknown[:1]
    joint = np.stack([one for one in replicates if one is not None])
    largest = int(np.argmax(values))
    far = values[largest] - np.asarray(values) > FAR * np.std(joint[largest] - joint, axis=1)
    return [index for index in range(len(values)) if index == largest or not far[index]]


def _joint(drawn: Sequence[Resampled], largest: Resampled) -> tuple[Resampled, float]:
    """The maximum of resampled values, half the bound of its bias subtracted, and that half."""
    errors = np.stack([one.replicates - one.value for one in drawn])
    half = 0.5 * max(0.0, float(errors.max(0).mean()))
    highest = np.stack([one.replicates for one in drawn]).max(0)
    value = largest.value - half
    return Resampled(value, value + highest - highest.mean(), largest.influence), half
