"""Walks: paths of the chain with their infinite-width memory, one stretch at a time.

Source: docs/model.md section 4.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rnnlimits.base.streams import Stream
from rnnlimits.chains import paths as chains
from rnnlimits.kernels.interface import Array, Backend
from rnnlimits.study import Study
from rnnlimits.theory.laws import ParameterLaw

STRETCH_VALUES = 1 << 14  # chain states taken at once; fixed, so that results do not depend on the ranks
FORGOTTEN = 1e-14  # remaining effect of the memory's start, relative to its range, after the burn-in
SLOWEST = 0.995  # a contraction factor closer to 1 is replaced by the steepest observed slope
MOST_BURN_IN = 20_000

Tick = Callable[[int], None]


@dataclass(frozen=True, eq=False)
class Stretch:
    """Consecutive steps: x (R, L, d), z (R, L, dz), y (R, L), m (R, L), the memory that goes with x.

    The arrays are those of a back end.
    """

    x: Array
    z: Array
    y: Array
    m: Array

    def of(self, rows: slice) -> Stretch:
        """The same steps of some of the chains."""
        return Stretch(self.x[rows], self.z[rows], self.y[rows], self.m[rows])


class Walk:
    """A path of the chain and its infinite-width memory, one stretch at a time."""

    def __init__(self, path: chains.Path, law: ParameterLaw, be: Backend, replicas: int) -> None:
        self._path, self._law, self._be = path, law, be
        self.memory = be.array(np.zeros(replicas))
        self._most = max(1, STRETCH_VALUES // replicas)

    def lengths(self, steps: int) -> list[int]:
        """Lengths of the stretches that make up `steps`, each small enough for the memory."""
        whole, rest = divmod(steps, self._most)
        return [self._most] * whole + ([rest] if rest else [])

    def take(self, steps: int) -> Stretch:
        """The next `steps` steps."""
        x, z, y = self._path.take(steps)
        path = self._law.memory_path(self._be, x, self.memory)
        self.memory = path[:, -1].copy()
        return Stretch(x, z, y, path[:, :-1])

    def skip(self, steps: int, tick: Tick) -> None:
        """Advance by `steps` steps without returning them."""
        for length in self.lengths(steps):
            self.take(length)
            tick(0)


def burn_in(law: ParameterLaw, inputs: Array, forgotten: float = FORGOTTEN) -> int:
    """Number of steps after which the effect of the memory's start is below `forgotten` of its range.

    It follows from the uniform bound on |dF/dm| or, if that is too close to 1, from the steepest slope at inputs
    (n, d) that the chain visits. At most 20,000.
    """
    rate = law.contraction
    if rate > SLOWEST:
        m = np.linspace(-law.memory_bound, law.memory_bound, 17)
        rate = float(np.abs(law.memory_slope(inputs[:, None, :], m[None, :])).max())
    if rate > SLOWEST:
        return MOST_BURN_IN
    return max(1, math.ceil(math.log(forgotten) / math.log(max(rate, 1e-300))))


def stationary_walk(study: Study, law: ParameterLaw, be: Backend, replicas: NDArray[np.uint32]) -> Walk:
    """Chains of the stream of the poisson stage, stationary, with memories that have forgotten their start."""
    path = chains.of(study).paths(be, study.seed, Stream.POISSON_NOISE, replicas)
    walk = Walk(path, law, be, len(replicas))
    walk.skip(burn_in(law, walk.take(1).x[:, 0]), lambda _: None)
    return walk
