"""The kernel of a rich twin with its derivatives: against the kernel code of networks, and the law before training."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from processors import reference

from rnnlimits.kernels.interface import Training
from rnnlimits.theory import kernel_response, observe
from rnnlimits.theory.kernel_response import KernelJets, Weights, kernel_jets
from rnnlimits.theory.laws import ParameterLaw
from rnnlimits.theory.units import UnitNodes
from rnnlimits.theory.untrained import Array, Untrained

HISTORY = np.random.default_rng(2).normal(size=(3, 5, 1))
LAW = ParameterLaw("tanh", 7, "gaussian", np.zeros(1), np.eye(1), 0.2, 0.6, np.ones(1), 0.0, "uniform", 1.0)
NODES = UnitNodes.product(LAW, LAW.nodes(24, "grid"), 3, 1)
DEPTH, PLACES = 3, (3, 20, 47)
every_place = np.arange(len(NODES))


def moved(place: int, s: float) -> Array:
    return np.asarray((1 - s) * NODES.weight + s * (every_place == place))


def memory_of(weight: Array) -> Array:
    """The memory (probe, step) of nodes with weights (Q,)."""
    memory = np.zeros(HISTORY.shape[:2])
    for k in range(HISTORY.shape[1] - 1):
        memory[:, k + 1] = (weight * NODES.b) @ np.tanh(NODES.w @ HISTORY[:, k].T + memory[:, k])
    return memory


def derivatives(at: Any) -> Array:
    """Value, first and second derivative (..., 3) of a function of s, by differences."""
    h = 1e-3
    below, middle, above = (at(s) for s in (-h, 0.0, h))
    return np.stack([middle, (above - below) / (2 * h), (above - 2 * middle + below) / h**2], axis=-1)


def kernels_at(place: int, s: float) -> observe.Kernels:
    """By the code for networks, with these weights in place of 1/N."""
    weight = moved(place, s)
    training = Training(len(NODES), 1, 0.75, 8, "tanh", depth=DEPTH)
    weights = (NODES.w[None], NODES.b[None], NODES.c[None])
    return observe.kernels(reference, training, weights, HISTORY, memory_of(weight)[None], weight)


@pytest.fixture(scope="module")
def jets() -> KernelJets:
    def fixed(values: Array) -> Array:
        found = np.zeros((len(PLACES), *values.shape, 3))
        found[..., 0] = values
        return found

    mass = np.stack([derivatives(lambda s, place=place: moved(place, s)) for place in PLACES])
    memory = np.stack([derivatives(lambda s, place=place: memory_of(moved(place, s))) for place in PLACES])
    weights = Weights(mass, *(fixed(values) for values in (NODES.w, NODES.b, NODES.c)))
    return kernel_jets("tanh", weights, HISTORY, memory, DEPTH, True)


def test_values_and_derivatives_are_those_of_the_kernel_of_networks(jets: KernelJets) -> None:
    training = Training(len(NODES), 1, 0.75, 8, "tanh", depth=DEPTH)
    for row, place in enumerate(PLACES):
        wanted = derivatives(lambda s, place=place: kernels_at(place, s).trained(training)[0])
        for order, part in enumerate((jets.total.value, jets.total.first, jets.total.second)):
            np.testing.assert_allclose(part[row], wanted[..., order], rtol=1e-4, atol=10**-6 * 100.0**order)


def test_small_parts_are_sums_of_products(jets: KernelJets) -> None:
    def product_at(factors: list[Any]) -> Array:
        """The sum of products at s = 0, where both sides are known."""
        return np.asarray(sum(one.value[0] * other.value[0] for one, other in factors))

    parts = kernels_at(PLACES[0], 0.0)
    np.testing.assert_allclose(product_at(list(jets.b)), parts.b[0], atol=1e-12)
    np.testing.assert_allclose(product_at(list(jets.past)), (parts.past_w + parts.past_b)[0], atol=1e-12)


def test_before_training_it_is_the_response_of_the_law(jets: KernelJets) -> None:
    """Two derivations: by formulas for the law, and by arithmetic that differentiates itself."""
    start = Untrained.of(LAW, NODES, reference, HISTORY, DEPTH, True)
    np.testing.assert_allclose(jets.total.first, start.direct[list(PLACES)], rtol=1e-3, atol=1e-4)
    products = sum(2 * x * y for x, y in start.b)
    second = sum(2 * one.first * other.first for one, other in jets.b)
    np.testing.assert_allclose(second, products[list(PLACES)], rtol=1e-4, atol=1e-6)


def test_mean_squares_of_small_parts_are_those_of_many_units() -> None:
    """With all directions, to leading order: as of networks of many units before training."""
    mass = np.zeros((len(NODES), len(NODES), 3))
    mass[..., 0], mass[..., 1] = NODES.weight, np.eye(len(NODES)) - NODES.weight
    memory = np.stack([derivatives(lambda s, place=place: memory_of(moved(place, s))) for place in every_place])
    fixed = [np.zeros((len(NODES), *values.shape, 3)) for values in (NODES.w, NODES.b, NODES.c)]
    for array, values in zip(fixed, (NODES.w, NODES.b, NODES.c), strict=True):
        array[..., 0] = values
    every = kernel_jets("tanh", Weights(mass, *fixed), HISTORY, memory, DEPTH, True)
    start, width = Untrained.of(LAW, NODES, reference, HISTORY, DEPTH, True), 10**6
    for factors, square in ((every.b, start.b_square), (every.past, start.past_square)):
        found = kernel_response.part_square(factors, start.kernel, NODES.weight)
        assert found[2] == pytest.approx(square(width) * width**2, rel=1e-4)
        assert abs(found[:2]).max() < 1e-6 * found[2]
