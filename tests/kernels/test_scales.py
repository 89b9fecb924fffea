"""Sequences of any scale: the kernel is right in its precision, or refused with the argument's name."""

from __future__ import annotations

from typing import Any

import mpmath
import numpy as np
import pytest

from rnnlimits.kernels import rntk
from rnnlimits.kernels.interface import KernelError
from rnnlimits.kernels.rntk import Elman, scales

X = np.random.default_rng(61).standard_normal((3, 6))
BACKENDS = ["numpy", pytest.param("host", marks=pytest.mark.needs_compiler)]
POWERS = {"float32": (-30, -19, -10, -3, -1, 0, 1, 3, 8, 16, 25), "float64": (-200, -155, -120, -5, 0, 4, 9, 120, 200)}
RIGHT = {"float32": 2e-3, "float64": 2e-6}  # twice scales.TOLERANCE


def moments(activation: str, q: Any, other: Any, s: Any) -> tuple[Any, Any]:
    """V_phi and V_phi' in fifty digits; "tanh" is linear, which it is below 1e-10."""
    if activation == "tanh":
        return s, mpmath.mpf(1)
    if activation == "relu":
        root = mpmath.sqrt(q * other)
        c = min(max(s / root, mpmath.mpf(-1)), mpmath.mpf(1)) if root else mpmath.mpf(0)
        angle = mpmath.pi - mpmath.acos(c)
        return root / (2 * mpmath.pi) * (c * angle + mpmath.sqrt(1 - c * c)), angle / (2 * mpmath.pi)
    whole = (1 + 2 * q) * (1 + 2 * other)
    return 2 / mpmath.pi * mpmath.asin(2 * s / mpmath.sqrt(whole)), 4 / mpmath.pi / mpmath.sqrt(whole - 4 * s * s)


def entry(network: Elman, x: Any, y: Any) -> tuple[Any, Any]:
    """(NTK, NNGP) of two sequences of one length by the recursion of docs/rntk.md."""
    w, u = mpmath.mpf(network.sigma_w) ** 2, mpmath.mpf(network.sigma_u) ** 2
    known = [[mpmath.mpf(0)] * 3 for _ in range(network.layers)]
    tangent = [mpmath.mpf(0)] * network.layers
    for a, b in zip(map(mpmath.mpf, x.tolist()), map(mpmath.mpf, y.tolist()), strict=True):
        below, through = [a * a, b * b, a * b], mpmath.mpf(0)
        for layer in range(network.layers):
            q, other, s = (w * old + u * new for old, new in zip(known[layer], below, strict=True))
            value, slope = moments(network.activation, q, other, s)
            through = tangent[layer] = slope * (s + w * tangent[layer] + u * through)
            own = [moments(network.activation, v, v, v)[0] for v in (q, other)]
            below = known[layer] = [*own, value]
    return value + through, value


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("layers", [1, 3])
@pytest.mark.parametrize("activation", ["relu", "erf", "tanh"])
@pytest.mark.parametrize("backend", BACKENDS)
def test_right_or_refused_at_every_scale(backend: str, activation: str, layers: int, dtype: str) -> None:
    network, found = Elman(layers, activation, sigma_w=1.3), set()
    for power in POWERS[dtype]:
        if activation == "tanh" and power > -10:
            continue
        x = (X * 10.0**power).astype(dtype).astype(np.float64)
        options: dict[str, Any] = {"network": network, "dtype": dtype, "backend": backend}
        try:
            both = rntk.gram(x, kernel="both", **options)
        except KernelError:
            found.add("refused")
            with pytest.raises(KernelError, match=r"^x: sequence \d has values up to "):
                rntk.diagonal(x, **options)
            continue
        found.add("right")
        with mpmath.workdps(50):
            wanted = np.array([[entry(network, a, b) for b in x] for a in x], dtype=object)
            for kernel, matrix in enumerate(both):
                for i, j in np.ndindex(3, 3):
                    size = mpmath.sqrt(wanted[i, i, kernel] * wanted[j, j, kernel])
                    assert abs(float(matrix[i, j]) - wanted[i, j, kernel]) <= RIGHT[dtype] * size, (power, i, j)
    assert found == {"right", "refused"}


@pytest.mark.parametrize("activation", ["relu", "erf", "tanh", "logistic"])
def test_large_data_are_named_not_the_network(activation: str) -> None:
    network = Elman(activation=activation)
    for act in (rntk.gram, rntk.diagonal):
        with pytest.raises(KernelError, match=r"^x: sequence 0 has values up to .*e\+200; .*scale x"):
            act(X * 1e200, network=network, backend="numpy")
    with pytest.raises(KernelError, match=r"^y: sequence 0 has values up to"):
        rntk.gram(X, X * 1e200, network=network, backend="numpy")
    for pair in ((X[0] * 1e200, X[1]), (X[1], X[0] * 1e200)):
        with pytest.raises(KernelError, match=r"values up to .*e\+200"):
            rntk.input_gradient(*pair, network=network)


@pytest.mark.parametrize("activation", ["relu", "erf", "tanh"])
def test_gradients_of_small_data_are_refused(activation: str) -> None:
    with pytest.raises(KernelError, match=r"^x: sequence 0 .* too small"):
        rntk.input_gradient(X[0] * 1e-170, X[1], network=Elman(activation=activation))
    with pytest.raises(KernelError, match=r"^y: sequence 0 .* too small"):
        rntk.input_gradient(X[0], X[1] * 1e-170, network=Elman(activation=activation))


def test_gradient_of_relu_scales_as_its_kernel_does() -> None:
    whole = rntk.input_gradient(X[0], X[1])
    for power in (-100, 100):
        np.testing.assert_allclose(rntk.input_gradient(X[0] * 2.0**power, X[1]), whole, rtol=1e-12)
        np.testing.assert_allclose(rntk.input_gradient(X[0], X[1] * 2.0**power), whole * 2.0**power, rtol=1e-12)


def test_a_state_that_decays_below_rounding_is_refused_and_a_bias_keeps_it() -> None:
    x = np.zeros((2, 120))
    x[:, 0] = [1.0, -2.0]
    with pytest.raises(KernelError, match=r"leads to a variance of .*too small for relu in float32"):
        rntk.gram(x, network=Elman(sigma_w=0.5), dtype="float32", backend="numpy")
    assert rntk.gram(x, network=Elman(sigma_w=0.5), backend="numpy")[0, 0] > 0
    assert rntk.gram(x, network=Elman(sigma_w=0.5, sigma_b=0.1), dtype="float32", backend="numpy")[0, 0] > 0


def test_weights_that_are_too_large_are_named() -> None:
    with pytest.raises(KernelError, match=r"^sigma_w=500, sigma_u=1, sigma_b=0: .* too large for erf in float32"):
        rntk.gram(X, network=Elman(activation="erf", sigma_w=500.0), dtype="float32", backend="numpy")
    with pytest.raises(KernelError, match=r"^sigma_w=1e\+10, .* too large for tanh"):
        rntk.gram(X, network=Elman(activation="tanh", sigma_w=1e10), backend="numpy")


@pytest.mark.parametrize("activation", ["relu", "erf", "tanh", "logistic"])
def test_ordinary_data_are_allowed_whatever_the_network(activation: str) -> None:
    long = rntk.batch(np.random.default_rng(62).standard_normal((4, 400)))
    for sigma_w in (0.1, 1.0, 1.4, 3.0):
        for output in ("last", "mean"):
            network = Elman(2, activation, sigma_w, 1.0, 0.0, 0.1, 1.0, output)
            for dtype in ("float32", "float64"):
                scales.require(long, network, dtype)


def test_zeros_have_a_kernel_of_zero() -> None:
    assert not rntk.gram(np.zeros((2, 5)), backend="numpy").any()
    assert not rntk.gram(X, network=Elman(sigma_u=0.0), backend="numpy").any()


@pytest.mark.filterwarnings("error")
def test_output_weights_that_leave_the_range_are_named() -> None:
    with pytest.raises(KernelError, match=r"sigma_v=1e\+20: the kernel leaves the range of float32"):
        rntk.gram(X, network=Elman(sigma_v=1e20), dtype="float32", backend="numpy")


def test_the_bound_of_refusal_is_a_bound() -> None:
    """Data at the largest scale that a message names are allowed."""
    for activation in ("relu", "erf"):
        with pytest.raises(KernelError) as caught:
            rntk.gram(X * 1e30, network=Elman(activation=activation), dtype="float32", backend="numpy")
        bound = float(str(caught.value).rsplit(" ", 1)[1])
        scales.require(rntk.batch(X * (0.5 * bound / np.abs(X).max())), Elman(activation=activation), "float32")
