"""The gradient of the NTK by the inputs of a sequence: a reverse sweep through the recursion, in float64."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnnlimits.kernels.interface import Array, KernelError
from rnnlimits.kernels.rntk import scales
from rnnlimits.kernels.rntk.network import Elman, network_of, require_one_of
from rnnlimits.kernels.rntk.partials import Own, Partials, own_partials, partials
from rnnlimits.kernels.rntk.sequences import batch, require_alike


def input_gradient(
    x: NDArray[Any], y: NDArray[Any] | None = None, *, network: Elman | None = None, kernel: str = "ntk"
) -> Array:
    """d K(x, y) / d x, of the shape of x: (T, m) or (T,). Without y: the total derivative of K(x, x).

    For the last-step output, any number of layers, every activation; cost linear in T. ReLU's V' has a root at
    correlation 1 and -1: there (one input, no bias, first step) the correlation does not change and counts as fixed.
    Raises KernelError for bad input and for the outputs "mean" and "average".
    """
    asked = network_of(network)
    require_one_of("kernel", kernel, ("ntk", "nngp"))
    if asked.output != "last":
        raise KernelError(f"input_gradient: output {asked.output!r} is not supported; use output='last'")
    left = batch([x], "x")
    right = None if y is None else batch([y], "y")
    if right is not None:
        require_alike(left, right)
        scales.require(right, asked, "float64", "y")
    scales.require(left, asked, "float64")
    by_tangent = 1.0 if kernel == "ntk" else 0.0
    if right is None:
        found = _own_gradient(left[0], asked, by_tangent)
    else:
        found = _pair_gradient(left[0], right[0], asked, by_tangent)
    scales.require_finite([found], asked, "float64")
    return found.reshape(np.shape(x))


def _variances(x: Array, network: Elman) -> tuple[Array, list[list[Own]]]:
    """q (T, layers) of a sequence, and its own moments there."""
    squares, value = (x**2).sum(axis=1) / x.shape[1], [network.sigma_h**2] * network.layers
    q, moments = np.empty((len(x), network.layers)), []
    for t, square in enumerate(squares):
        below, row = float(square), []
        for layer in range(network.layers):
            q[t, layer] = network.sigma_w**2 * value[layer] + network.sigma_u**2 * below + network.sigma_b**2
            row.append(own_partials(network.activation, float(q[t, layer])))
            below = value[layer] = row[layer].value
        moments.append(row)
    return q, moments


def _thetas(network: Elman, covariances: Array, slopes: Callable[[int, int], float]) -> Array:
    """Theta (T, layers) of a recursion whose S is known."""
    theta, tangent = np.empty(covariances.shape), np.zeros(network.layers)
    for t, row in enumerate(covariances):
        below = 0.0
        for layer, s in enumerate(row):
            theta[t, layer] = s + network.sigma_w**2 * tangent[layer] + network.sigma_u**2 * below
            below = tangent[layer] = slopes(t, layer) * theta[t, layer]
    return theta


def _own_gradient(x: Array, network: Elman, by_tangent: float) -> Array:
    q, own = _variances(x, network)
    theta = _thetas(network, q, lambda t, layer: own[t][layer].slope)
    w, u = network.sigma_w**2, network.sigma_u**2
    value, tangent = _last(network), by_tangent * _last(network)  # d Theta / d (V, V' Theta) of each layer after a step
    gradient = np.empty_like(x)
    for t in range(len(x) - 1, -1, -1):
        for layer in range(network.layers - 1, -1, -1):
            at, through = own[t][layer], tangent[layer] * own[t][layer].slope
            s = value[layer] * at.value_q + tangent[layer] * theta[t, layer] * at.slope_q + through
            value[layer], tangent[layer] = w * s, w * through
            if layer:
                value[layer - 1] += u * s
                tangent[layer - 1] += u * through
        gradient[t] = s * u * 2 * x[t] / x.shape[1]
    return gradient


def _last(network: Elman) -> Array:
    """The output as a function of the last layer after the last step."""
    adjoint = np.zeros(network.layers)
    adjoint[-1] = network.sigma_v**2
    return adjoint


def _pair_moments(x: Array, y: Array, q: Array, network: Elman) -> tuple[Array, list[list[Partials]]]:
    """S (steps, layers) along the steps that both have, and the moments of the pair there."""
    steps = min(len(x), len(y))
    other = _variances(y, network)[0][-steps:]
    products = (x[-steps:] * y[-steps:]).sum(axis=1) / x.shape[1]
    value, s, moments = [0.0] * network.layers, np.empty((steps, network.layers)), []
    for t in range(steps):
        below, row = float(products[t]), []
        for layer in range(network.layers):
            s[t, layer] = network.sigma_w**2 * value[layer] + network.sigma_u**2 * below + network.sigma_b**2
            variances = float(q[len(q) - steps + t, layer]), float(other[t, layer])
            row.append(partials(network.activation, *variances, float(s[t, layer])))
            below = value[layer] = row[layer].value
        moments.append(row)
    return s, moments


def _pair_gradient(x: Array, y: Array, network: Elman, by_tangent: float) -> Array:
    q, own = _variances(x, network)
    s_all, moments = _pair_moments(x, y, q, network)
    theta = _thetas(network, s_all, lambda t, layer: moments[t][layer].slope)
    w, u, steps = network.sigma_w**2, network.sigma_u**2, len(s_all)
    value, tangent, of_own = _last(network), by_tangent * _last(network), np.zeros(network.layers)
    gradient = np.empty_like(x)
    for t in range(len(x) - 1, -1, -1):
        k = t - (len(x) - steps)  # the step of the pair; before it only the variances of x go on
        s = 0.0
        for layer in range(network.layers - 1, -1, -1):
            q_here = of_own[layer] * own[t][layer].value_q
            if k >= 0:
                at = moments[k][layer]
                through, by_slope = tangent[layer] * at.slope, tangent[layer] * theta[k, layer]
                s = value[layer] * at.value_s + by_slope * at.slope_s + through
                q_here += value[layer] * at.value_q + by_slope * at.slope_q
                value[layer], tangent[layer] = w * s, w * through
                if layer:
                    value[layer - 1] += u * s
                    tangent[layer - 1] += u * through
            of_own[layer] = w * q_here
            if layer:
                of_own[layer - 1] += u * q_here
        gradient[t] = u / x.shape[1] * (2 * x[t] * q_here + (s * y[t - len(x)] if k >= 0 else 0.0))
    return gradient
