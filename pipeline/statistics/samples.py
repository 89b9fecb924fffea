"""Samples: statistics of independent units, and the functions that turn their mean into an estimate.

The first axis of every array is the independent unit, which the bootstrap resamples: a pair (C, -C), a single training,
a path of the chain. Members of a unit may depend on each other.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from rnnlimits.statistics.bootstrap import Array, Sample


def rms(error: Array) -> Sample:
    """Root mean square of error (unit, member, probe) over all axes."""
    return Sample(np.square(error).mean((1, 2))[:, None], _first, power=0.5, replicas=replicas_of(error))


def average(value: Array) -> Sample:
    """Mean of value (unit, member)."""
    return Sample(value.mean(1)[:, None], _first, replicas=replicas_of(value))


def spread(value: Array) -> Sample:
    """S.d. over replicas, as the root mean square over probes; value (unit, member, probe). The variance is unbiased.

    Members of a unit may depend on each other; units are independent.
    """
    value = value - value.mean((0, 1))  # this does not change the variance, but reduces its rounding error
    unit = value.mean(1)
    statistics = [unit, np.square(unit).mean(1)[:, None], np.square(value).mean((1, 2))[:, None]]
    return Sample(np.concatenate(statistics, axis=1), _variance, power=0.5, replicas=replicas_of(value))


def bias(error: Array) -> Sample:
    """Root mean square over probes of the mean of error (unit, probe), its square debiased by the mean's noise."""
    statistics = [error, np.square(error).mean(1)[:, None]]
    return Sample(np.concatenate(statistics, axis=1), _debiased_square, power=0.5, signed=True)


def of_pairs(sample: Sample) -> Sample:
    """The same sample, where each unit is a function of both trainings of a pair."""
    return replace(sample, replicas=2 * len(sample))


def replicas_of(values: Array) -> int:
    """Number of replicas behind values (unit, member, ...)."""
    return int(np.prod(values.shape[:2]))


def _first(mean: Array, concentration: Array) -> Array:
    return np.asarray(mean[..., 0])


def _variance(mean: Array, concentration: Array) -> Array:
    """Mean square minus the square of the mean, plus the expected excess of the latter, the variance of the mean."""
    square = np.square(mean[..., :-2]).mean(-1)
    excess = (mean[..., -2] - square) * concentration / (1 - concentration)
    return np.asarray(mean[..., -1] - square + excess)


def _debiased_square(mean: Array, concentration: Array) -> Array:
    """Square of the mean minus the variance of the mean."""
    square = np.square(mean[..., :-1]).mean(-1)
    return np.asarray(square - (mean[..., -1] - square) * concentration / (1 - concentration))
