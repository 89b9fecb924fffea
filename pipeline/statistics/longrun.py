"""Long-run variances from independent stationary chains: batch means at every scale in one pass, extrapolated.

sigma^2 = sum over all lags of the autocovariance, the limit of n Var(average of n values).
Source: docs/theory/poisson.md.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

LEVELS = 9  # batches of 1, 2, 4, ... 256 values
FIRST = 3  # batches of fewer than 2^FIRST values are never used
BELIEVED = 2.0  # standard errors by which doubling the batch may change the estimates


@dataclass(frozen=True, eq=False)
class LongRun:
    """Long-run variances of S scalars with their errors.

    chains (R, S): independent estimates, one for each chain, whose mean is the result. bias (S,): the change at the
    last doubling of the batch, a rough upper bound of the remaining bias. mean (S,): averages of the scalars.
    lag_time (S,): the sum of 2 k gamma_k over all lags, divided by sigma^2, so that n Var(average of n) =
    sigma^2 (1 - lag_time/n) for large n.
    batch: values in the longer of the two batches behind the result.
    """

    chains: Array = field(repr=False)
    bias: Array
    mean: Array
    lag_time: Array
    batch: int

    @property
    def value(self) -> Array:
        """sigma^2 (S,)."""
        return np.asarray(self.chains.mean(0))

    @property
    def stderr(self) -> Array:
        """Standard error (S,) of `value`, from the scatter of the chains."""
        return np.asarray(self.chains.std(0, ddof=1) / np.sqrt(len(self.chains)))


class BatchMeans:
    """Running mean squares of the sums over batches of 1, 2, 4, ... values, for S scalars along R chains.

    The stored data do not grow with the length: one number for each chain, scalar and scale. least: what is added are
    sums over 2^least values; squares of shorter batches are left 0, and `long_run` uses none below 2^FIRST.
    """

    def __init__(self, levels: int = LEVELS, least: int = 0) -> None:
        self.longest = 1 << (levels - 1)
        self._least = least
        self._squares: list[Array] = []
        self._sum: Array | float = 0.0
        self._length = 0
        self._levels = levels

    def add(self, values: Array) -> None:
        """The next values (R, L, S) of all chains, or sums of them; L must be a multiple of the longest batch."""
        length = values.shape[1] << self._least
        if length % self.longest:
            raise ValueError(f"{length} values are not a multiple of the longest batch, {self.longest}")
        self._length += length
        sums, squares = values, [np.zeros(values[:, 0].shape) for _ in range(self._least)]
        for level in range(self._least, self._levels):
            if level > self._least:
                sums = sums[:, ::2] + sums[:, 1::2]
            squares.append(np.einsum("rls,rls->rs", sums, sums))
        self._sum = self._sum + sums.sum(1)
        if self._squares:
            squares = [old + new for old, new in zip(self._squares, squares, strict=True)]
        self._squares = squares

    def result(self) -> Scales:
        """The sums over all values added so far."""
        return Scales(np.stack(self._squares), np.asarray(self._sum), self._length)


@dataclass(frozen=True, eq=False)
class Scales:
    """squares (level, R, S): sums of squared batch sums; total (R, S): sums of the values; length: values per chain."""

    squares: Array
    total: Array
    length: int

    @classmethod
    def of_groups(cls, parts: list[Scales]) -> Scales:
        """Scales of chains that were simulated in groups, joined along the chains."""
        squares = np.concatenate([part.squares for part in parts], axis=1)
        return cls(squares, np.concatenate([part.total for part in parts]), parts[0].length)

    def variances(self) -> Array:
        """B Var(mean of B values) (level, R, S), for each chain about the mean of all chains; unbiased on average."""
        batch = (1 << np.arange(len(self.squares)))[:, None, None]
        means = self.total / self.length
        mean = means.mean(0)
        about = self.squares / self.length - batch * mean * (2 * means - mean)
        # The common mean is computed from the same values, which makes squares about it too small by its variance.
        return np.asarray(about + batch * means.var(0, ddof=1) / len(means))


def long_run(scales: Scales, weight: Array | None = None) -> LongRun:
    """Long-run variances (S,), or with weight (S, P) the P weighted sums of them, at least 2 chains.

    B Var(mean of B) = sigma^2 - c/B up to correlations over more than B steps, so that 2 V(2B) - V(B) is free of the
    first order (the lugsail estimator with r = 2, c = 1/2 of Vats and Flegal, Biometrika 109, 2022). B is the first
    length, common to all scalars, at which doubling it makes no difference beyond chance; the result is that of 2 B.
    """
    variances = scales.variances()
    mean = scales.total.mean(0) / scales.length
    if weight is not None:
        variances, mean = variances @ weight, mean @ weight
    extrapolated = 2 * variances[1:] - variances[:-1]
    level = _settled(extrapolated)
    chosen = extrapolated[level]
    batch = 2 << level
    lag = batch * (chosen.mean(0) - variances[level + 1].mean(0))
    with np.errstate(divide="ignore", invalid="ignore"):
        lag_time = lag / chosen.mean(0)
    return LongRun(chosen, chosen.mean(0) - extrapolated[level - 1].mean(0), mean, lag_time, batch)


def _settled(extrapolated: Array) -> int:
    """The level after the first that agrees with its successor within chance, tested on the average of all scalars."""
    top = len(extrapolated) - 1
    scale = np.abs(extrapolated[top].mean(0))
    scale[scale == 0] = 1.0
    averaged = (extrapolated / scale).mean(-1)
    for level in range(min(FIRST, top), top):
        change = averaged[level + 1] - averaged[level]
        if abs(change.mean()) <= BELIEVED * change.std(ddof=1) / np.sqrt(len(change)):
            return level + 1
    return top


def long_run_variance(series: Array, levels: int = LEVELS) -> LongRun:
    """Long-run variance of series (R, L) or (R, L, S) along R independent stationary chains.

    Values beyond the last whole batch of 2^(levels - 1) are left out. Raises ValueError for fewer than 2 chains, or a
    series shorter than one batch.
    """
    values = series[..., None] if series.ndim == 2 else series
    longest = 1 << (levels - 1)
    used = values.shape[1] // longest * longest
    if len(values) < 2 or used == 0:
        raise ValueError(f"{values.shape[:2]} (chains, values): needs 2 chains and {longest} values")
    sums = BatchMeans(levels)
    sums.add(values[:, :used])
    return long_run(sums.result())
