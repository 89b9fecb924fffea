"""Numbers with derivatives against differences along curves."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from rnnlimits.kernels.activations import ACTIVATIONS
from rnnlimits.theory.jets import Array, Jet, hidden

H = 1e-3
RNG = np.random.default_rng(6)
A, B = (Jet(RNG.normal(size=(4, 4)), RNG.normal(size=(3, 4, 4)), RNG.normal(size=(4, 4))) for _ in range(2))


def along(jet: Jet, direction: int, s: float) -> Array:
    """A curve in one of the directions, whose second derivatives add up to the jet's."""
    return np.asarray(jet.value + s * jet.first[direction] + 0.5 * s**2 * jet.second / len(jet.first))


@pytest.mark.parametrize(
    ("of_jets", "of_numbers"),
    [
        (lambda a, b: a * b + 0.5 * a, lambda a, b: a * b + 0.5 * a),
        (lambda a, b: a @ b.turned - b, lambda a, b: a @ b.swapaxes(-1, -2) - b),
        (lambda a, b: (a * b).sum(), lambda a, b: (a * b).sum(-1)),
        (lambda a, b: a[..., :, None] * b[..., None, :], lambda a, b: a[..., :, None] * b[..., None, :]),
        (lambda a, b: hidden(ACTIVATIONS["tanh"], a)[0] * b, lambda a, b: np.tanh(a) * b),
        (lambda a, b: hidden(ACTIVATIONS["erf"], a)[1], lambda a, b: ACTIVATIONS["erf"].slope(a)),
    ],
    ids=["product", "matrix product", "sum", "outer product", "sigma", "slope"],
)
def test_derivatives_are_those_along_the_curves(
    of_jets: Callable[[Jet, Jet], Jet], of_numbers: Callable[[Array, Array], Array]
) -> None:
    found, second = of_jets(A, B), 0.0
    for q in range(len(A.first)):
        below, at, above = (of_numbers(along(A, q, s), along(B, q, s)) for s in (-H, 0.0, H))
        np.testing.assert_allclose(found.value, at, rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(found.first[q], (above - below) / (2 * H), rtol=1e-4, atol=1e-4)
        second = second + (above - 2 * at + below) / H**2
    np.testing.assert_allclose(found.second, second, rtol=1e-3, atol=1e-3)


def test_a_jet_has_its_derivatives_on_the_last_axis() -> None:
    values = RNG.normal(size=(2, 5))
    found = Jet.of(values)
    np.testing.assert_array_equal(found.value, values[:, 0])
    np.testing.assert_array_equal(found.first, values[:, 1:-1].T)
    np.testing.assert_array_equal(found.second, values[:, -1])
