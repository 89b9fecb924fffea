"""Joint bootstrap over replica indices: estimates at all widths when the same replicas are resampled.

Replica r sees the same chain path at every width (common random numbers), so estimates at two widths are correlated
and must be resampled jointly: there is one weight per replica index, and a cell with R replicas uses the first R. The
weights come from a counter-based generator, so the same files give the same table of rates.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

# Not scipy.stats, which gives the same numbers and takes most of a second to import.
from rnnlimits.base.arrays import special

Array = NDArray[np.float64]
Uniforms = Callable[[NDArray[np.int64], int], Array]
"""(units (U,), count) -> (U, count) uniforms in (0, 1), row u depending on units[u] only."""
Combine = Callable[[Array, Array], Array]
"""(weighted means (..., m), concentration (...)) -> value (...); concentration is sum p^2, 1/n for equal weights."""

REPLICATES = 2000
LINEAR_REPLICATES = 400  # of the linear bootstrap: standard errors to 4%
CHUNK = 32  # units weighted at once: bounds memory, and keeps products too small for BLAS to start threads
FLOOR = 0.05  # a resampled value is kept above this fraction of the estimate, so that its logarithm exists
FEWEST_UNITS = 3  # fewer cannot be resampled
SHARED_UNIT = 2**31 - 1  # index of the draw common to all units: the error of the limit itself


@cache
def _poisson_table() -> Array:
    """Distribution function of Poisson(1) at 0, 1, ..."""
    return np.asarray(special().pdtr(np.arange(18), 1.0))


@dataclass(frozen=True)
class Sample:
    """Per-unit statistics of one cell and the function that turns their mean into an estimate.

    statistics: (unit, m), row u belonging to replica (or pair) index u. The estimate is value ** power.
    signed: the value is a debiased square that chance can make negative, so it is tested on its own scale.
    replicas: trainings behind the units.
    """

    statistics: Array
    combine: Combine
    power: float = 1.0
    signed: bool = False
    replicas: int = 0

    def __len__(self) -> int:
        return len(self.statistics)


@dataclass(frozen=True)
class Resampled:
    """A value, its bootstrap replicates (count,) and the influence (unit,) of each unit on it (they sum to zero)."""

    value: float
    replicates: Array
    influence: Array


class Bootstrap:
    """Poisson(1) weights per unit index: mean, variance and third cumulant 1, as for drawing with replacement.

    uniforms: see `Uniforms`; count: number of replicates.
    """

    def __init__(self, uniforms: Uniforms, count: int = REPLICATES) -> None:
        self.uniforms = uniforms
        self.count = count
        self._chunks: list[Array] = []
        self._sums: dict[int, tuple[Array, Array]] = {}

    def chunk(self, index: int) -> Array:
        """Weights (CHUNK, count) of the units index * CHUNK and following."""
        while len(self._chunks) <= index:
            first = len(self._chunks) * CHUNK
            uniform = self.uniforms(np.arange(first, first + CHUNK, dtype=np.int64), self.count)
            self._chunks.append(np.searchsorted(_poisson_table(), uniform).astype(np.float64))
        return self._chunks[index]

    def normal(self) -> Array:
        """One standard normal per replicate (count,), shared by all cells."""
        uniform = self.uniforms(np.array([SHARED_UNIT], dtype=np.int64), self.count)
        return np.asarray(special().ndtri(uniform[0]), dtype=np.float64)

    def means(self, statistics: Array) -> tuple[Array, Array]:
        """Weighted means (count, m) of statistics (unit, m), and the concentration sum p^2 (count,)."""
        total, square = self._totals(len(statistics))
        weighted = np.zeros((self.count, statistics.shape[1]))
        for index in range(-(-len(statistics) // CHUNK)):
            part = statistics[index * CHUNK : (index + 1) * CHUNK]
            weighted += self.chunk(index)[: len(part)].T @ part
        # a replicate with fewer than two units left carries no information: it becomes the full sample
        poor = square >= 0.5 * total**2
        total, square = np.where(poor, 1.0, total), np.where(poor, 1.0 / len(statistics), square)
        means = np.where(poor[:, None], statistics.mean(0), weighted / total[:, None])
        return means, square / total**2

    def _totals(self, units: int) -> tuple[Array, Array]:
        """Sums of the weights of the first units, and of their squares (count,): the same for all cells of a size."""
        if units not in self._sums:
            total, square = np.zeros(self.count), np.zeros(self.count)
            for index in range(-(-units // CHUNK)):
                weight = self.chunk(index)[: units - index * CHUNK]
                total += weight.sum(0)
                square += np.square(weight).sum(0)
            self._sums[units] = total, square
        return self._sums[units]

    def resample(self, sample: Sample) -> Resampled:
        """Value, replicates and influence of one cell's sample.

        Replicates are centred on the value and scaled by sqrt(n / (n - 1)): a debiased square is biased upwards
        among replicates, and resampling n units shows only (n - 1) / n of their variance. Fewer than 3 units give NaN.
        """
        statistics, n = sample.statistics, len(sample)
        if n < FEWEST_UNITS:
            return Resampled(np.nan, np.full(self.count, np.nan), np.zeros(n))
        value, influence = jackknife(sample)
        with np.errstate(invalid="ignore"):  # what is not finite gives NaN, which no row takes for a value
            means, concentration = self.means(statistics)
            drawn = sample.combine(means, concentration)
            return Resampled(value, value + (drawn - drawn.mean()) * np.sqrt(n / (n - 1)), influence)


class LinearBootstrap(Bootstrap):
    """The first replicates of a bootstrap, of the linear part of estimates alone: products of weights and influences.

    For numbers that are shown and not judged. Debiased squares, which are not linear near zero, are resampled whole.
    """

    def __init__(self, whole: Bootstrap, count: int = LINEAR_REPLICATES) -> None:
        super().__init__(whole.uniforms, min(count, whole.count))
        self._whole = whole

    def chunk(self, index: int) -> Array:
        """The weights of the whole bootstrap's first replicates."""
        while len(self._chunks) <= index:
            self._chunks.append(np.ascontiguousarray(self._whole.chunk(len(self._chunks))[:, : self.count]))
        return self._chunks[index]

    def resample(self, sample: Sample) -> Resampled:
        """Value, replicates and influence of one cell's sample; see `Bootstrap.resample`."""
        n = len(sample)
        if n < FEWEST_UNITS or sample.signed:
            return super().resample(sample)
        value, influence = jackknife(sample)
        drawn = self.means(n * influence[:, None])[0][:, 0]
        return Resampled(value, value + (drawn - drawn.mean()) * np.sqrt(n / (n - 1)), influence)


def jackknife(sample: Sample) -> tuple[float, Array]:
    """The value of a sample of at least FEWEST_UNITS units, and the influence (unit,) of each of them on it."""
    statistics, n = sample.statistics, len(sample)
    with np.errstate(invalid="ignore"):
        mean = statistics.mean(0)
        value = float(sample.combine(mean, np.array(1.0 / n)))
        without = sample.combine((n * mean - statistics) / (n - 1), np.full(n, 1.0 / (n - 1)))
        return value, np.asarray((without.mean() - without) * (n - 1) / n)


def standard_error(replicates: Array) -> float:
    """Standard deviation of bootstrap replicates."""
    return float(np.std(replicates))


def degrees_of_freedom(influence: Array) -> float:
    """Degrees of freedom of a variance that is the sum of squared influences (Satterthwaite's approximation).

    influence: (unit,), zero where a unit takes no part. Heavy tails and a few dominating replicas leave fewer degrees
    of freedom than there are replicas; at least 3, at most n - 1.
    """
    n = len(influence)
    second, fourth = float(np.square(influence).sum()), float((influence**4).sum())
    spread = fourth - second**2 / n
    dof = 2.0 * second**2 / spread if spread > 1e-12 * second**2 else np.inf
    return float(np.clip(dof, 3.0, max(3.0, n - 1.0)))


def quantile(dof: float, level: float = 0.95) -> float:
    """Two-sided Student quantile: half-width of an interval in standard errors."""
    return float(special().stdtrit(dof, 0.5 + level / 2))
