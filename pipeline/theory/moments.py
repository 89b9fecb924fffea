"""Second moments of the features over stationary draws: accumulated in batches, pooled over blocks.

Source: docs/model.md, eq. (28). Shared by the stage that draws and the stage that solves for the limit.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rnnlimits.kernels.interface import Backend, FeatureMap

Array = NDArray[np.float64]

BATCH_VALUES = 1 << 17  # features held at once, 1 MiB, to stay in cache; fixed, so that sums have one order of addition


@dataclass(frozen=True, eq=False)
class Moments:
    """a (F, F) = E phi phi^T, b (F,) = E phi y, y2 = E y^2, over draws of total weight `weight`."""

    a: Array
    b: Array
    y2: float
    weight: float


class Accumulator:
    """Running sums for `Moments`, on the back end; memory does not grow with the number of draws."""

    def __init__(self, be: Backend, features: int) -> None:
        self._be = be
        self._a = be.array(np.zeros((features, features)))
        self._b = be.array(np.zeros(features))
        self._y2 = 0.0
        self._weight = 0.0

    def add(self, features: FeatureMap, x: Array, m: Array, y: Array) -> None:
        """Add draws of equal weight: x (n, d), m (n,), y (n,), arrays of the back end."""
        self._be.add_moments(features, x, m, y, self._a, self._b)
        self._y2 += float(y @ y)
        self._weight += len(y)

    def add_weighted(self, phi: Array, y: Array, weight: Array) -> None:
        """Add atoms with weights (n,), which may be negative."""
        weighted = phi * weight[:, None]
        product = weighted.T @ phi
        self._a += (product + product.T) / 2
        self._b += weighted.T @ y
        self._y2 += float(weight @ y**2)
        self._weight += float(weight.sum())

    def result(self) -> Moments:
        """The averages so far, as NumPy arrays; at least one draw must have been added."""
        total, numpy = self._weight, self._be.numpy
        return Moments(numpy(self._a / total), numpy(self._b / total), self._y2 / total, total)


def add_in_batches(
    accumulator: Accumulator, features: Callable[[slice], Array], y: Array, count: int, weight: Array
) -> None:
    """Add atoms of these weights, with y (n,) and features(part), of `count` columns, a batch of rows at a time."""
    rows = max(1, BATCH_VALUES // count)
    for first in range(0, len(y), rows):
        part = slice(first, first + rows)
        accumulator.add_weighted(features(part), y[part], weight[part])


def pooled(blocks: list[Moments]) -> Moments:
    """The moments over all draws of several blocks, added in the order of the list."""
    total = sum(block.weight for block in blocks)
    a = np.zeros_like(blocks[0].a)
    for block in blocks:
        a += block.a * (block.weight / total)
    b = sum((block.b * (block.weight / total) for block in blocks), np.zeros_like(blocks[0].b))
    return Moments(a, b, sum(block.y2 * block.weight for block in blocks) / total, total)


def leave_one_out(blocks: list[Moments], every: Moments, index: int) -> Moments:
    """`every`, the pool of all blocks, with block `index` taken away."""
    gone = blocks[index]
    rest = every.weight - gone.weight
    keep, drop = every.weight / rest, gone.weight / rest
    return Moments(
        keep * every.a - drop * gone.a,
        keep * every.b - drop * gone.b,
        keep * every.y2 - drop * gone.y2,
        rest,
    )


def jackknife_error(replicates: Array) -> Array:
    """Standard error (...) from the estimates (n, ...), each without one of n blocks; 0 for n = 1.

    Source: docs/model.md section 5.
    """
    count = len(replicates)
    if count < 2:
        return np.zeros(replicates.shape[1:])
    centred = replicates - replicates.mean(axis=0)
    return np.asarray(np.sqrt((count - 1) / count * np.sum(centred**2, axis=0)))
