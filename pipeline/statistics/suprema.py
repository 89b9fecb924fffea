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

from rnnlimits.statistics.bootstrap import FEWEST_UNITS, Array, Bootstrap, Resampled, Sample, jackknife
from rnnlimits.statistics.powerlaw import Point, measure, point_of
from rnnlimits.statistics.predictions import Foreseen, Predicted, predicted_of

FAR = 5.0  # standard errors of the difference below the largest: an estimate so far below is never the largest


class Supremum(NamedTuple):
    """The largest estimate as a point, its index, and half the bound of its bias, relative to it."""

    point: Point
    largest: int
    half_bias: float = 0.0


def supremum(variable: float, samples: Sequence[Sample], bootstrap: Bootstrap) -> Supremum:
    """The largest of the estimates of samples that have the same units and one power."""
    found = _largest(variable, samples, bootstrap)
    if not found.half_bias or not math.isfinite(found.half_bias):
        return found
    return found._replace(point=found.point.blur(bootstrap, found.half_bias))


def predicted_supremum(variable: float, foreseen: Sequence[Foreseen], bootstrap: Bootstrap) -> Predicted:
    """The largest of predicted values, which are samples of the same units."""
    samples = [one.value for one in foreseen if isinstance(one.value, Sample)]
    found = _largest(variable, samples, bootstrap)
    best = foreseen[found.largest]
    return predicted_of(found.point, replace(best, apart=math.hypot(best.apart, found.half_bias)))


def _largest(variable: float, samples: Sequence[Sample], bootstrap: Bootstrap) -> Supremum:
    """The largest estimate less half the bound of its bias."""
    broken = next((sample for sample in samples if not np.isfinite(sample.statistics).all()), None)
    if broken is not None or len(samples[0]) < FEWEST_UNITS:
        return Supremum(measure(variable, broken or samples[0], bootstrap), 0)
    drawn = {index: bootstrap.resample(samples[index]) for index in contenders([*map(jackknife, samples)])}
    largest = max(drawn, key=lambda index: drawn[index].value)
    joint, half = _joint(list(drawn.values()), drawn[largest])
    point = point_of(variable, samples[largest], joint)
    return Supremum(point, largest, point.power * half / joint.value if joint.value > 0 else 0.0)


def contenders(found: Sequence[tuple[float, Array]]) -> list[int]:
    """Indices of values, each with the influences (unit,) of the units on it, of which any may be the largest."""
    largest = max(range(len(found)), key=lambda index: found[index][0])
    value, influence = found[largest]
    far = [value - one > FAR * float(np.sqrt(np.square(influence - own).sum())) for one, own in found]
    return [index for index in range(len(found)) if index == largest or not far[index]]


def _joint(drawn: Sequence[Resampled], largest: Resampled) -> tuple[Resampled, float]:
    """The maximum of resampled values, half the bound of its bias subtracted, and that half."""
    if len(drawn) == 1:
        return largest, 0.0
    errors = np.stack([one.replicates - one.value for one in drawn])
    half = 0.5 * max(0.0, float(errors.max(0).mean()))
    highest = np.stack([one.replicates for one in drawn]).max(0)
    value = largest.value - half
    return Resampled(value, value + highest - highest.mean(), largest.influence), half
