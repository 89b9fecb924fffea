"""The law of the output over networks at beta = 1/2, where it does not shrink: its distance from the limit's Gaussian.

Distances are those of distribution functions F and Phi, of the output less the limit in units of the limit's standard
deviation, so that a network's values enter as steps on a fixed grid. Source: docs/theory/outputs.md, "Law".
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from rnnlimits.base.arrays import special
from rnnlimits.quantities.base import Applies, Availability, N, NoLaw, Quantity, When, register
from rnnlimits.quantities.outputs import half_difference
from rnnlimits.quantities.trained import Design, Trainings
from rnnlimits.statistics.bootstrap import Array, Sample
from rnnlimits.statistics.samples import bias, of_pairs, replicas_of
from rnnlimits.theory.initial_field import InitialField

BETA = 0.5
FURTHEST = 6.0  # standard deviations: beyond it a law that is twice as wide has a mass of 0.003
GRID = np.linspace(-FURTHEST, FURTHEST, 25)  # F - Phi is smooth: the trapezoidal rule converges exponentially
FINE_GRID = np.linspace(-FURTHEST, FURTHEST, 49)  # |F - Phi| is not: its error is 1% at most
SHIFT = 0.5 * math.pi**-0.25 * math.sqrt(2)  # the distance of N(s, 1) from N(0, 1) is this times s, for small s
STRETCH = 0.5 * math.pi**-0.25  # that of N(0, (1 + s)^2)
FEWEST = 4.0  # values have a kurtosis
UNMATCHED = "chance alone gives a distance that cannot be subtracted from an absolute value"


@dataclass(frozen=True, kw_only=True)
class LawQuantity(Quantity):
    """A quantity of the law of outputs over networks, along N at beta = 1/2.

    sample: statistics of a cell, given the limit's field. expected: the order in N. slack: the error that those of the
    limit and of its standard deviation leave, in the estimate's norm. applies: whether it has a rate. floor: the value
    that as many draws of the Gaussian itself have, if it is not subtracted.
    """

    sample: Callable[[Trainings, InitialField], Sample]
    expected: Callable[[Design], float]
    slack: Callable[[Trainings, InitialField], float] = lambda *_: 0.0
    applies: Callable[[Design], Availability] = lambda _: Applies()
    floor: Callable[[Trainings], float] | None = None
    when: When = "end"


# --- distances ---------------------------------------------------------------------------------------------------


def cramer(trainings: Trainings, field: InitialField) -> Sample:
    """The root of the integral of (F - Phi)^2, mean over probes; its square is debiased, exactly.

    A step of a network is an unbiased F, so that (F - Phi)^2 less the variance of F is what is left of it.
    """
    steps = _steps(trainings, field, GRID) - _normal(GRID)
    spacing = GRID[1] - GRID[0]
    scaled = math.sqrt(len(GRID) * spacing) * steps.reshape(len(steps), -1)
    return replace(bias(scaled), replicas=replicas_of(trainings.of_law(trainings.output)))


def wasserstein(trainings: Trainings, field: InitialField) -> Sample:
    """Wasserstein's distance of first order, the integral of |F - Phi|, mean over probes; not debiased."""
    steps = _steps(trainings, field, FINE_GRID)
    spacing, probes = FINE_GRID[1] - FINE_GRID[0], steps.shape[1]

    def combine(mean: Array, concentration: Array) -> Array:
        gap = np.abs(mean.reshape(*mean.shape[:-1], probes, len(FINE_GRID)) - _normal(FINE_GRID))
        return np.asarray(spacing * gap.sum(-1).mean(-1))

    return Sample(steps.reshape(len(steps), -1), combine, replicas=replicas_of(trainings.of_law(trainings.output)))


def chance(trainings: Trainings) -> float:
    """The mean of Wasserstein's distance of as many draws of the Gaussian from it, in pairs of opposite sign if so."""
    units, members = trainings.of_law(trainings.output).shape[:2]
    below = _normal(FINE_GRID)
    tail = np.minimum(below, 1 - below)
    variance = 0.5 * tail * (1 - 2 * tail) if members == 2 else tail * (1 - tail)
    return float((FINE_GRID[1] - FINE_GRID[0]) * np.sqrt(2 / math.pi * variance / units).sum())


def reference_slack(trainings: Trainings, field: InitialField) -> float:
    """The distance that the errors of the limit and of its standard deviation make."""
    shift = trainings.output_slack * np.sqrt(np.square(1 / field.deviation).mean())
    stretch = np.sqrt(np.square(field.deviation_error).mean())
    return math.hypot(SHIFT * float(shift), STRETCH * float(stretch))


def _steps(trainings: Trainings, field: InitialField, grid: Array) -> Array:
    """Whether an output is at most a point of the grid (unit, probe, point), mean over members; NaN stays NaN."""
    values = trainings.of_law(trainings.output) / field.deviation
    below = np.zeros((len(values), values.shape[2], len(grid)))
    for member in values.swapaxes(0, 1):
        below += np.expand_dims(member, -1) <= grid
    below[~np.isfinite(values).all(1)] = np.nan
    return np.asarray(below / values.shape[1])


def _normal(grid: Array) -> Array:
    return np.asarray(special().ndtr(grid), dtype=np.float64)


# --- kurtosis ----------------------------------------------------------------------------------------------------


def kurtosis(trainings: Trainings, field: InitialField) -> Sample:
    """Root mean square over probes of the excess kurtosis; its square is debiased, exactly for a Gaussian law.

    Of half-differences of pairs, which are free of the data's noise, or of single networks. Signs of probes differ.
    """
    if trainings.antithetic:
        return of_pairs(_kurtosis(half_difference(trainings.output)[:, 0] / field.deviation))
    return _kurtosis(trainings.output[:, 0] / field.deviation)


def _kurtosis(values: Array) -> Sample:
    """Of values (unit, probe)."""
    values = values - values.mean(0)
    powers = np.stack([values, values**2, values**3, values**4], axis=1)
    shape = powers.shape[1:]

    def combine(mean: Array, concentration: Array) -> Array:
        first, second, third, fourth = np.moveaxis(mean.reshape(*mean.shape[:-1], *shape), -2, 0)
        variance = second - first**2
        ratio = (fourth - 4 * first * third + 6 * first**2 * second - 3 * first**4) / variance**2
        count = np.maximum(1 / concentration, FEWEST)
        return np.asarray(np.square(_fisher(ratio, count[..., None])).mean(-1) - _noise(count))

    return Sample(powers.reshape(len(values), -1), combine, power=0.5, signed=True, replicas=len(values))


def _fisher(ratio: Array, count: Array) -> Array:
    """The excess kurtosis from the ratio of sample moments, of mean 0 for `count` Gaussian values (Fisher's G2)."""
    return (count - 1) / ((count - 2) * (count - 3)) * ((count + 1) * ratio - 3 * (count - 1))


def _noise(count: Array) -> Array:
    """The variance of Fisher's G2 for `count` Gaussian values."""
    return 24 * count * (count - 1) ** 2 / ((count - 3) * (count - 2) * (count + 3) * (count + 5))


# --- orders ------------------------------------------------------------------------------------------------------


def distance_order(design: Design) -> float:
    """Mean, variance and shape differ by 1/N; for a skewed law of C mean and skewness by N^-1/2."""
    return 1.0 if design.symmetric else 0.5


def _no_rate(design: Design) -> Availability:
    return NoLaw(f"{UNMATCHED}; see {DISTANCE}")


KURTOSIS = register(
    LawQuantity(
        name="output_kurtosis",
        estimator="plain",
        variable=N,
        title="Excess kurtosis of the output at beta = 1/2",
        sample=kurtosis,
        expected=lambda design: 1.0,
    )
)
DISTANCE = "output_law_distance"
register(
    LawQuantity(
        name=DISTANCE,
        estimator="Cramer",
        variable=N,
        title="Distance of the law of the output from the limit's Gaussian at beta = 1/2",
        ordinate="distance, in standard deviations of the limit",
        sample=cramer,
        expected=distance_order,
        slack=reference_slack,
    )
)
register(
    LawQuantity(
        name=DISTANCE,
        estimator="Wasserstein",
        variable=N,
        title="Wasserstein distance of the law of the output from the limit's Gaussian at beta = 1/2",
        ordinate="distance, in standard deviations of the limit",
        sample=wasserstein,
        expected=distance_order,
        applies=_no_rate,
        floor=chance,
    )
)
