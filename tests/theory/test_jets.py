"""Numbers with derivatives against differences along a curve, and moments of means against closed forms."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from rnnlimits.kernels.activations import ACTIVATIONS
from rnnlimits.theory.jets import Array, Jet, Mean, hidden, mean_square, mean_square_of_products

H = 1e-3
RNG = np.random.default_rng(6)
A, B = (Jet.of(RNG.normal(size=(2, 4, 4, 3))) for _ in range(2))


def along(jet: Jet, s: float) -> Array:
    return np.asarray(jet.value + s * jet.first + 0.5 * s**2 * jet.second)


@pytest.mark.parametrize(
    ("of_jets", "of_numbers"),
    [
        (lambda a, b: a * b + 0.5 * a, lambda a, b: a * b + 0.5 * a),
        (lambda a, b: a @ b.turned - b, lambda a, b: a @ b.swapaxes(-1, -2) - b),
        (lambda a, b: (a * b).sum(), lambda a, b: (a * b).sum(-1)),
        (lambda a, b: hidden(ACTIVATIONS["tanh"], a)[0] * b, lambda a, b: np.tanh(a) * b),
        (lambda a, b: hidden(ACTIVATIONS["erf"], a)[1], lambda a, b: ACTIVATIONS["erf"].slope(a)),
        (lambda a, b: Jet.joined([a[:1], b[1:]]), lambda a, b: np.concatenate([a[:1], b[1:]])),
    ],
    ids=["product", "matrix product", "sum", "sigma", "slope", "joined"],
)
def test_derivatives_are_those_along_the_curve(
    of_jets: Callable[[Jet, Jet], Jet], of_numbers: Callable[[Array, Array], Array]
) -> None:
    below, at, above = (of_numbers(along(A, s), along(B, s)) for s in (-H, 0.0, H))
    found = of_jets(A, B)
    np.testing.assert_allclose(found.value, at, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(found.first, (above - below) / (2 * H), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(found.second, (above - 2 * at + below) / H**2, rtol=1e-3, atol=1e-3)


def mean_of(value: float, first: list[float], second: float) -> Mean:
    return Mean(np.array(value), np.array(first), np.array(second))


def test_a_mean_takes_half_the_second_derivatives_and_centres_the_first() -> None:
    weight = np.array([0.25, 0.75])
    found = Mean.of(Jet(np.array([2.0, 2.0]), np.array([3.0, 7.0]), np.array([1.0, 5.0])), weight)
    assert found.value == 2.0
    assert found.second == 0.5 * (0.25 + 3.75)
    np.testing.assert_allclose(found.first, [-3.0, 1.0])


def test_squares_of_means_have_the_moments_of_gaussian_numbers() -> None:
    """One product x y of means a / N + N^-1/2 z: E x^2 y^2 by Isserlis' theorem, in powers of 1/N."""
    weight, one, two = np.array([0.5, 0.5]), [1.0, -1.0], [2.0, -2.0]
    x, y = mean_of(0.3, one, 0.2), mean_of(-0.4, two, 0.5)
    np.testing.assert_allclose(mean_square(x, weight), [0.09, 2 * 0.3 * 0.2 + 1.0, 0.04])
    found = mean_square_of_products([(x, y)], weight)
    of_first = 0.3**2 * 4.0 + 0.4**2 * 1.0 - 4 * 0.3 * 0.4 * 2.0  # pairs of deviations times the means of the others
    of_first += 2 * 0.3 * 0.2 * 0.16 - 2 * 0.4 * 0.5 * 0.09
    np.testing.assert_allclose(found[:2], [0.09 * 0.16, of_first])
    free = mean_of(0.0, one, 0.0), mean_of(0.0, two, 0.0)
    np.testing.assert_allclose(mean_square_of_products([free], weight), [0, 0, 1.0 * 4.0 + 2 * 2.0**2])


def test_sums_of_products_have_their_cross_terms() -> None:
    """x y + y x is 2 x y."""
    weight = np.array([0.2, 0.3, 0.5])
    x, y = mean_of(0.3, [1.0, 1.0, -1.0], 0.2), mean_of(-0.4, [0.5, -2.0, 1.0], 0.5)
    both = mean_square_of_products([(x, y), (y, x)], weight)
    np.testing.assert_allclose(both, 4 * mean_square_of_products([(x, y)], weight))
