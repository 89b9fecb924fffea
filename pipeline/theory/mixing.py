"""The speed at which a chain forgets its start, measured with many independent chains that start in one state.

finite-state: the law after n steps minus the stationary one, whose norm and total variation decay at the same rate.
linear-gaussian: the mean after n steps, a lower bound of the Wasserstein-1 distance from stationarity; the pairs of
pipeline/theory/couplings.py give an upper bound. Source: docs/theory/poisson.md.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rnnlimits.base.arrays import stationary_states
from rnnlimits.base.streams import Stream
from rnnlimits.chains import paths as chains
from rnnlimits.chains.base import FiniteLaw, GaussianLaw
from rnnlimits.kernels.interface import Backend, RandomKey
from rnnlimits.statistics.bootstrap import Bootstrap
from rnnlimits.statistics.powerlaw import Fit, Point, fit, measure
from rnnlimits.statistics.samples import bias
from rnnlimits.study import Study
from rnnlimits.theory import stationary

Array = NDArray[np.float64]

UNITS, EACH = 256, 64  # independent groups of chains, and chains in a group
DECAY = 1e-3  # the slowest mode is followed down to this share
LONGEST = 512  # largest number of steps
MOST_POINTS = 24
OTHERS = 0.05  # steps count once faster modes have shrunk to this share of the slowest
FAR = 10.0  # starting distance of a linear chain in standard deviations


@dataclass(frozen=True, eq=False)
class Departure:
    """step (n,); error (n, unit, component): averages over groups of chains minus their stationary value."""

    step: NDArray[np.int64]
    error: Array


def departure(study: Study, be: Backend) -> Departure | None:
    """How far chains with one start are from stationarity; None for chains without an exact rate."""
    if (states := study.chain.finite()) is not None:
        return _finite_state(study, states, be)
    if (linear := study.chain.gaussian()) is not None:
        return _linear(study, linear, be)
    return None


def mixing(measured: Departure, bootstrap: Bootstrap) -> Fit:
    """The rate r of decay exp(-r n) with its interval; the factor per step is exp(-r).

    Raises RateRefused when fewer than 4 steps stand out from the noise.
    """
    return fit(points(measured, bootstrap), geometric=True)


def points(measured: Departure, bootstrap: Bootstrap) -> list[Point]:
    """Root mean square over components of the mean departure after each step, with its square debiased for noise."""
    return [measure(n, bias(error), bootstrap) for n, error in zip(measured.step, measured.error, strict=True)]


def total_variation(measured: Departure) -> Array:
    """Total variation (n,) of the empirical laws of a finite chain from the stationary one."""
    return np.asarray(0.5 * np.abs(measured.error.mean(1)).sum(-1))


def steps_to_look_at(moduli: Array) -> NDArray[np.int64]:
    """At most 24 steps, from the decay of faster modes to that of the slowest; moduli: of the modes, largest first."""
    slowest = min(float(moduli[0]), 1 - 1e-9)
    if slowest < DECAY:
        return np.arange(1, 5)
    ratio = float(moduli[1]) / slowest if len(moduli) > 1 else 0.0
    last = min(LONGEST, max(4, math.ceil(math.log(DECAY) / math.log(slowest))))
    # A conjugate pair, or two modes of nearly equal modulus, never separate: there is no faster mode to wait for.
    first = math.ceil(math.log(OTHERS) / math.log(ratio)) if 0 < ratio < 0.99 else 1
    first = first if first <= last // 2 else 1
    return np.unique(np.linspace(max(first, 1), last, min(MOST_POINTS, last)).round().astype(np.int64))


def _finite_state(study: Study, states: FiniteLaw, be: Backend) -> Departure:
    law = stationary_states(states.transition)
    values, vectors = np.linalg.eig(states.transition)
    order = np.argsort(-np.abs(values))
    start = int(np.argmax(np.abs(vectors[:, order[min(1, len(order) - 1)]])))  # with most of the slowest mode
    steps = steps_to_look_at(np.abs(values[order[1:]]) if len(order) > 1 else np.zeros(1))
    error = np.empty((len(steps), UNITS, len(values)))
    for unit in range(UNITS):
        numbers = (unit * EACH + np.arange(EACH)).astype(np.uint32)
        state = np.full(EACH, start, dtype=np.int32)
        key = RandomKey(study.seed, int(Stream.MIXING_NOISE), numbers)
        path = be.finite_path(states.transition, key, state, 0, int(steps[-1]))[:, steps - 1]
        error[:, unit] = (path[..., None] == np.arange(len(values))).mean(0) - law
    return Departure(steps, error)


def _linear(study: Study, linear: GaussianLaw, be: Backend) -> Departure:
    a, q = linear
    values, vectors = np.linalg.eig(a)
    order = np.argsort(-np.abs(values))
    steps = steps_to_look_at(np.abs(values[order]))
    lead = np.real(vectors[:, order[0]])
    spread = np.sqrt(np.diag(stationary.stationary_covariance(a, q)).max())
    start = FAR * spread * lead / np.linalg.norm(lead)
    error = np.empty((len(steps), UNITS, len(a)))
    chain = chains.of(study)
    for unit in range(UNITS):
        numbers = (unit * EACH + np.arange(EACH)).astype(np.uint32)
        path = chain.paths(be, study.seed, Stream.MIXING_NOISE, numbers, start=np.tile(start, (EACH, 1)))
        x, z, _ = path.take(int(steps[-1]))
        error[:, unit] = np.concatenate([x, z], axis=-1)[:, steps - 1].mean(0)
    return Departure(steps, error)
