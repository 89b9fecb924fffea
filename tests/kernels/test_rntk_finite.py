"""Networks of finite width: against autodiff, finite differences and the limit; bits whatever the stack."""

from __future__ import annotations

import importlib
import math
from typing import Any

import numpy as np
import pytest
from scipy.special import erf

from rnnlimits.kernels import rntk
from rnnlimits.kernels.interface import Array, KernelError
from rnnlimits.kernels.rntk import finite
from rnnlimits.kernels.rntk.finite import Weights

ACTIVATIONS = {
    "relu": lambda g: np.maximum(g, 0.0),
    "erf": erf,
    "tanh": np.tanh,
    "logistic": lambda g: 1 / (1 + np.exp(-g)),
}
LENGTHS = (3, 5, 1, 4)


def network(activation: str, layers: int) -> rntk.Elman:
    return rntk.Elman(layers, activation, sigma_w=1.3, sigma_u=0.8, sigma_b=0.4, sigma_h=0.5, sigma_v=1.1)


def inputs(m: int = 2) -> rntk.Batch:
    rng = np.random.default_rng(5)
    return rntk.batch([rng.standard_normal((length, m)) for length in LENGTHS])


def weights(layers: int, n: int = 7, replicas: int = 2, m: int = 2, seed: int = 3, dtype: Any = np.float64) -> Weights:
    rng, count = np.random.default_rng(seed), len(LENGTHS)

    def normal(*shape: int) -> Any:
        return rng.standard_normal((replicas, *shape)).astype(dtype)

    return Weights(
        tuple(normal(n, n) for _ in range(layers)),
        tuple(normal(n, n if layer else m) for layer in range(layers)),
        tuple(normal(n) for _ in range(layers)),
        normal(n),
        tuple(normal(n, count) for _ in range(layers)),
    )


def flat(w: Weights, replica: int) -> list[Array]:
    """Trained parameters of one replica, in one order."""
    return [a[replica] for group in (w.recurrent, w.below, w.bias, (w.output,)) for a in group]


def plain_output(np_: Any, phi: Any, net: rntk.Elman, parameters: Any, starts: Any, x: Any) -> Any:
    """f of one network and one sequence, step by step as docs/rntk.md writes it; np_ is NumPy or jax.numpy."""
    layers = net.layers
    w, u, b, v = parameters[:layers], parameters[layers : 2 * layers], parameters[2 * layers : -1], parameters[-1]
    h, n = [net.sigma_h * start for start in starts], len(v)
    for step in x:
        below = step
        for layer in range(layers):
            g = net.sigma_w / math.sqrt(n) * w[layer] @ h[layer] + net.sigma_b * b[layer]
            g = g + net.sigma_u / math.sqrt(len(below)) * u[layer] @ below
            h[layer] = below = phi(g)
    return net.sigma_v / math.sqrt(n) * np_.dot(v, h[-1])


@pytest.mark.parametrize("layers", [1, 2, 3])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_outputs_are_those_of_the_definition(activation: str, layers: int) -> None:
    net, w, x = network(activation, layers), weights(layers), inputs()
    at = finite.columns(x)
    found = finite.outputs(net, w, finite.forward(net, w, at), at)
    for replica in range(2):
        for s in range(len(x)):
            starts = [start[replica, :, s] for start in w.start]
            expected = plain_output(np, ACTIVATIONS[activation], net, flat(w, replica), starts, x[s])
            assert found[replica, s] == pytest.approx(expected, rel=1e-12)


@pytest.mark.needs_jax
@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("activation", ["relu", "erf", "tanh"])
def test_the_empirical_ntk_is_that_of_autodiff(activation: str, layers: int) -> None:
    jax = importlib.import_module("jax")
    jax.config.update("jax_enable_x64", True)
    phi = {"relu": jax.nn.relu, "erf": jax.scipy.special.erf, "tanh": jax.numpy.tanh}[activation]
    net, w, x = network(activation, layers), weights(layers), inputs()
    found = finite.empirical(net, w, finite.columns(x))

    def gradient(replica: int, s: int) -> Array:
        starts = [start[replica, :, s] for start in w.start]
        derivative = jax.grad(lambda p: plain_output(jax.numpy, phi, net, p, list(starts), x[s]))
        return np.concatenate([np.ravel(part) for part in derivative(flat(w, replica))])

    for replica in range(2):
        rows = np.array([gradient(replica, s) for s in range(len(x))])
        np.testing.assert_allclose(found.ntk[replica], rows @ rows.T, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("activation", ["relu", "erf"])
def test_a_step_of_descent_is_that_of_finite_differences(activation: str) -> None:
    """The change of every parameter against differences of the loss, written with the plain network."""
    net, w, x, target, rate = network(activation, 2), weights(2, n=4), inputs(), np.array([0.7, -0.4]), 0.01
    phi = ACTIVATIONS[activation]

    def loss(parameters: list[Array], replica: int) -> float:
        outputs = [
            plain_output(np, phi, net, parameters, [start[replica, :, s] for start in w.start], x[s]) for s in (0, 1)
        ]
        return 0.5 * float(np.square(np.array(outputs) - target).sum())

    after = w.copy()
    list(finite.descend(net, after, finite.columns(x), target, rate, 1))
    for replica in range(2):
        before = flat(w, replica)
        for index, (old, new) in enumerate(zip(before, flat(after, replica), strict=True)):
            for place in np.ndindex(old.shape):
                values = []
                for sign in (1, -1):
                    moved = [np.array(part) for part in before]
                    moved[index][place] += sign * 1e-6
                    values.append(loss(moved, replica))
                slope = (values[0] - values[1]) / 2e-6
                assert (old[place] - new[place]) / rate == pytest.approx(slope, rel=1e-5, abs=1e-7)


@pytest.mark.parametrize("activation", ["relu", "erf"])
def test_the_mean_nears_the_limit(activation: str) -> None:
    """The mean of 2000 networks within 5 standard errors and 10/n of the limit (false alarm < 1e-4)."""
    net, x, n = network(activation, 2), inputs(), 64
    found = finite.empirical(net, weights(2, n=n, replicas=2000), finite.columns(x))
    for name, limit in zip(("ntk", "nngp"), rntk.gram(x, network=net, kernel="both"), strict=True):
        values = getattr(found, name)
        error = values.std(0) / math.sqrt(len(values))
        scale = np.sqrt(np.outer(np.diag(limit), np.diag(limit)))
        assert np.all(np.abs(values.mean(0) - limit) <= 5 * error + 10 / n * scale)


def test_one_step_of_one_layer_has_no_bias() -> None:
    """NNGP of sequences of one step: a mean over n independent units, so unbiased (5 s.e., false alarm 1e-5)."""
    rng = np.random.default_rng(1)
    x = rntk.batch([rng.standard_normal((1, 2)) for _ in LENGTHS])
    net = network("relu", 1)
    values = finite.empirical(net, weights(1, n=4, replicas=20000), finite.columns(x)).nngp
    limit = rntk.gram(x, network=net, kernel="nngp")
    assert np.all(np.abs(values.mean(0) - limit) <= 5 * values.std(0) / math.sqrt(len(values)))


@pytest.mark.parametrize("n", [5, 33, 130])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_a_replica_has_the_same_bits_in_any_stack(n: int, dtype: Any) -> None:
    net, x, every = network("erf", 2), inputs(), weights(2, n=n, replicas=5, dtype=dtype)
    together = finite.empirical(net, every, finite.columns(x))
    for replica in range(5):
        groups = (every.recurrent, every.below, every.bias, (every.output,), every.start)
        w, u, b, v, h = (tuple(a[replica : replica + 1].copy() for a in group) for group in groups)
        alone = finite.empirical(net, Weights(w, u, b, v[0], h), finite.columns(x))
        assert np.array_equal(alone.ntk[0], together.ntk[replica])
        assert np.array_equal(alone.nngp[0], together.nngp[replica])


def test_kernels_are_symmetric_and_positive() -> None:
    found = finite.empirical(network("relu", 2), weights(2), finite.columns(inputs()))
    assert np.array_equal(found.ntk, found.ntk.transpose(0, 2, 1))
    assert np.linalg.eigvalsh(found.ntk).min() > 0


def test_other_outputs_are_refused() -> None:
    with pytest.raises(KernelError, match="output 'mean' is not supported"):
        finite.empirical(rntk.Elman(output="mean"), weights(1), finite.columns(inputs()))
