"""The initial field after training against the same flow in function space, where it is an equation for the kernel."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.linalg import expm

from rnnlimits.theory.flow import Draws, Probes
from rnnlimits.theory.initial_field import InitialField
from rnnlimits.theory.laws import Nodes, ParameterLaw
from rnnlimits.theory.moments import Moments

Array = NDArray[np.float64]
ALPHA, STD_C = 0.7, 1.3
RNG = np.random.default_rng(6)
ATOMS, PROBES = RNG.normal(size=(5, 1)), RNG.normal(size=(3, 1))
MASS = RNG.dirichlet(np.ones(5))
BLOCKS = 4


def law() -> ParameterLaw:
    one = np.ones(1)
    return ParameterLaw("tanh", 7, "gaussian", 0.1 * one, np.eye(1), 0.2, 0.6, one, 0.0, "uniform", STD_C)


def moments(nodes: Nodes, mass: Array) -> Moments:
    phi = law().features(nodes, ATOMS, np.zeros(5))
    return Moments((phi.T * mass) @ phi, phi.T @ (mass * ATOMS[:, 0]), 1.0, 1.0)


def field(time: float, blocks: list[Moments], nodes: Nodes, exact: bool = True) -> InitialField:
    probes = Probes(PROBES[:, None], np.zeros(3), np.zeros(3))
    return InitialField.of(Draws(nodes, blocks, exact), law(), probes, ALPHA, time)


def covariance(nodes: Nodes, mass: Array, time: float) -> Array:
    """That of the field at the probes: on atoms and probes df/dt = -alpha Kern diag(mass) f, and f_0 is Gaussian."""
    everywhere = np.concatenate([ATOMS, PROBES])
    phi = law().features(nodes, everywhere, np.zeros(8))
    moving = np.concatenate([mass, np.zeros(3)])
    flow = expm(-ALPHA * time * (phi @ phi.T) * moving)
    start = np.tanh(everywhere * nodes.w[:, 0]) * np.sqrt(nodes.weight) * STD_C
    return np.asarray((flow @ start @ start.T @ flow.T)[5:, 5:])


@pytest.mark.parametrize("time", [0.0, 1.5])
def test_it_is_carried_by_the_kernel(time: float) -> None:
    nodes = law().nodes(24, "grid")
    found, expected = field(time, [moments(nodes, MASS)], nodes), covariance(nodes, MASS, time)
    np.testing.assert_allclose(found.response @ found.response.T, expected, rtol=1e-10)
    np.testing.assert_allclose(found.deviation, np.sqrt(np.diag(expected)), rtol=1e-10)
    scale = np.outer(found.deviation, found.deviation)
    np.testing.assert_allclose(found.root @ found.root.T, expected / scale, rtol=1e-10)
    assert not found.deviation_error.any()


def test_its_error_is_that_of_the_draws() -> None:
    """The jackknife: each block left out in turn."""
    nodes, masses = law().nodes(24, "grid"), RNG.dirichlet(np.ones(5), size=BLOCKS)
    found = field(1.5, [moments(nodes, mass) for mass in masses], nodes, exact=False)
    without = [np.delete(masses, block, axis=0).mean(0) for block in range(BLOCKS)]
    left = np.sqrt([np.diag(covariance(nodes, mass, 1.5)) for mass in without])
    error = np.sqrt((BLOCKS - 1) * left.var(0)) / found.deviation
    np.testing.assert_allclose(found.deviation_error, error, rtol=1e-8)
