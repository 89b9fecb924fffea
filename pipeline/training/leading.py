"""The leading noise of twins along their own paths: of mean zero, so that a twin less it shows the bias in K.

To leading order a twin is the limit plus a sum of scores along its path, weighted by what is left of each at the
horizon (docs/theory/poisson.md, eq. (d)). What remains after that sum is subtracted is of order 1/K, mean and scatter
alike. Errors of the moments A and b cancel to first order: they move the limit as they move the mean of the sum.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from rnnlimits.chains import paths as chains
from rnnlimits.kernels.interface import Array, Backend, FeatureMap
from rnnlimits.theory.flow import Flow
from rnnlimits.theory.laws import ParameterLaw
from rnnlimits.theory.walks import Stretch, Walk, burn_in, stationary_walk
from rnnlimits.training.plan import Twin
from rnnlimits.training.twin import feature_map

if TYPE_CHECKING:
    from rnnlimits.study import Study

MOST_PATHS = 1024  # of each K; the scatter that remains is about ten times the bias
PIECES = 64  # per unit of time; limit and weights are those at the middle of a piece
STARTS = 1024  # chains that show what the memory's start from zero does to the mean
STARTS_BEYOND = 1 << 21  # first replica of these chains, far from the other walks of their stream
START_LEFT = 1e-6  # part of the memory's start that no longer matters to the mean
UNMOVED = 2.0**-34  # a rate so small that theta stays where it is; a power of 2, so that dividing by it is exact


def paths_of(twin: Twin) -> int:
    """The number of paths whose noise is computed."""
    return min(twin.paths, MOST_PATHS)


@dataclass(frozen=True, eq=False)
class LeadingNoise:
    """The leading noise of the twins of a study at the horizon, at probes with features phi (P, F).

    `be` has NumPy's arrays.
    """

    study: Study
    law: ParameterLaw
    be: Backend
    flow: Flow
    phi: Array

    def of(self, twin: Twin) -> Array:
        """The noise (path, P) on the first paths of a twin."""
        replicas = np.arange(paths_of(twin), dtype=np.uint32)
        walk = Walk(chains.training_paths(self.study, self.be, replicas), self.law, self.be, len(replicas))
        k, total = twin.steps_per_time, np.zeros((len(replicas), len(self.phi)))
        for time, steps in _pieces(k, round(self.study.training.horizon * k)):
            part = walk.take(steps)
            total += self._answer(part, part.m, time, k) - self._mean(time, steps, k)
        return total - self._of_start(k)

    def _answer(self, part: Stretch, memory: Array, time: float, k: int) -> Array:
        """What the updates along a stretch, at the theta of the limit, do to the outputs at the horizon (path, P)."""
        start = np.tile(self.flow.theta(np.array([time])), (len(memory), 1))
        moved, x, m = start.copy(), *(np.ascontiguousarray(values) for values in (part.x, memory))
        self.be.twin_path(self._features, UNMOVED, x, m, part.y, moved)
        rate = self.study.training.alpha / k
        return np.asarray((moved - start) * (rate / UNMOVED) @ self._left(time).T)

    @cached_property
    def _features(self) -> FeatureMap:
        return feature_map(self.study, self.law)

    def _left(self, time: float) -> Array:
        """What is left at the horizon, of each probe, of a change of theta (P, F)."""
        decay = np.exp(-self.flow.alpha * self.flow.eigenvalue * (self.study.training.horizon - time))
        return np.asarray((self.phi @ self.flow.vector * decay) @ self.flow.vector.T)

    def _mean(self, time: float, steps: int, k: int) -> Array:
        """The mean (P,) of `_answer` over stationary stretches."""
        flow = self.flow
        drift = flow.eigenvalue * (flow.theta(np.array([time]))[0] @ flow.vector) - flow.along
        return np.asarray(-steps * self.study.training.alpha / k * self._left(time) @ (flow.vector @ drift))

    def _of_start(self, k: int) -> Array:
        """By how much memories that start from zero, as those of trainings do, move the mean of the noise (P,)."""
        replicas = (STARTS_BEYOND + np.arange(STARTS)).astype(np.uint32)
        walk = stationary_walk(self.study, self.law, self.be, replicas)
        memory, there = np.zeros(STARTS), self.law.on(self.be)
        total, longest = np.zeros(len(self.phi)), burn_in(self.law, walk.take(1).x[:, 0], START_LEFT)
        for time, steps in _pieces(k, min(longest, round(self.study.training.horizon * k))):
            part = walk.take(steps)
            along = there.memory_path(self.be, part.x, memory)
            memory = along[:, -1].copy()
            total += (self._answer(part, along[:, :-1], time, k) - self._answer(part, part.m, time, k)).mean(0)
        return total


def _pieces(k: int, steps: int) -> Iterator[tuple[float, int]]:
    """Middle and number of steps of each piece of a path."""
    most = max(1, k // PIECES)
    for first in range(0, steps, most):
        count = min(most, steps - first)
        yield (first + count / 2) / k, count
