"""The predicted constant of the noise of one-pass training: Var g^{inf,K}_T(h) ~ constant(h)^2 / K.

Source: docs/model.md, eq. (37); docs/theory/poisson.md.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.polynomial.legendre import leggauss
from numpy.typing import NDArray

from rnnlimits.statistics.longrun import LongRun
from rnnlimits.theory.flow import Flow
from rnnlimits.theory.laws import Nodes, ParameterLaw
from rnnlimits.theory.poisson_equation import Observable, Operator
from rnnlimits.theory.walks import Stretch

Array = NDArray[np.float64]

TIMES = 8  # Gauss-Legendre points in [0, T], and one more for each 3 relaxation times of the fastest mode
ROWS = 2048  # steps whose features are held at once


@dataclass(frozen=True, eq=False)
class Noise:
    """sqrt(K) times the s.d. of g^{inf,K}_T at each probe, (P,) each.

    constant: the prediction; stderr: its error from the simulated walks, 0 if exact; bias: the change at the last
    doubling of the batches.
    """

    constant: Array
    stderr: Array
    bias: Array


@dataclass(frozen=True, eq=False)
class Scores:
    """The scalars whose long-run variances make up the constant, one for each (time, probe).

    theta (T, F): the flow at the times; direction (T, P, F): exp(-alpha A (horizon - s)) phi(h); weight (T,):
    alpha^2 times the quadrature weight of each time. A score is (phi.theta_s - y)(phi.direction).
    """

    theta: Array
    direction: Array
    weight: Array

    @classmethod
    def of(cls, flow: Flow, phi: Array, horizon: float, times: int | None = None) -> Scores:
        """Scores of probes with features phi (P, F); times: Gauss-Legendre points, by default for errors of 1e-7."""
        relaxations = float(flow.alpha * flow.eigenvalue[0] * horizon)
        points, weight = leggauss(times or math.ceil(TIMES + relaxations / 3))
        time = horizon * (1 + points) / 2
        decay = np.exp(-flow.alpha * flow.eigenvalue * (horizon - time)[:, None])
        direction = (decay[:, None] * (phi @ flow.vector)) @ flow.vector.T
        return cls(flow.theta(time), direction, flow.alpha**2 * weight * horizon / 2)

    @property
    def combination(self) -> Array:
        """Weights (T P, P) with which variances of scores add up to those of the probes."""
        probes = self.direction.shape[1]
        return np.asarray(np.kron(self.weight[:, None], np.eye(probes)))

    def observable(self, law: ParameterLaw, nodes: Nodes) -> Observable:
        """The scores (R, L, T P) along a stretch."""
        times, probes, size = self.direction.shape
        both = np.concatenate([self.direction.reshape(-1, size), self.theta]).T.copy()

        def along(part: Stretch) -> Array:
            x, m, y = part.x.reshape(-1, law.dimension), part.m.reshape(-1), part.y.reshape(-1)
            scores = np.empty((len(y), times, probes))
            for first in range(0, len(y), ROWS):
                rows = slice(first, first + ROWS)
                product = law.features(nodes, x[rows], m[rows]) @ both
                miss = product[:, times * probes :] - y[rows, None]
                np.multiply(product[:, : times * probes].reshape(-1, times, probes), miss[:, :, None], out=scores[rows])
            return scores.reshape(*part.y.shape, times * probes)

        return along

    def batches(self, law: ParameterLaw, nodes: Nodes, size: int) -> Observable:
        """The scores (R, L / size, T P), summed over batches of `size` steps of a stretch.

        The sum of (phi.theta - y)(phi.direction) is that of (phi.theta - y) phi, times the direction: that product is
        taken once for each batch, not for each step.
        """
        times, _, features = self.direction.shape
        theta, direction = self.theta.T.copy(), self.direction.swapaxes(1, 2).copy()

        def along(part: Stretch) -> Array:
            phi = law.features(nodes, part.x.reshape(-1, law.dimension), part.m.reshape(-1))
            miss = (phi @ theta - part.y.reshape(-1, 1)).reshape(-1, size, times)
            pushes = miss.swapaxes(1, 2) @ phi.reshape(-1, size, features)
            scores = (pushes.swapaxes(0, 1) @ direction).swapaxes(0, 1)
            return np.ascontiguousarray(scores).reshape(len(part.y), part.y.shape[1] // size, -1)

        return along


def exact_noise(operator: Operator, scores: Array, combination: Array) -> Noise:
    """The constant of a finite-state study; scores (n, T P) at the points of the operator."""
    return _noise(operator.variance(scores) @ combination, np.zeros(combination.shape[1]))


def simulated_noise(long_run: LongRun) -> Noise:
    """The constant from long-run variances already combined over times."""
    return _noise(long_run.value, long_run.stderr, long_run.bias)


def _noise(variance: Array, stderr: Array, bias: Array | float = 0.0) -> Noise:
    constant = np.sqrt(np.maximum(variance, 0.0))
    slope = 0.5 / np.maximum(constant, 1e-300)
    return Noise(constant, slope * stderr, slope * bias * np.ones_like(constant))
