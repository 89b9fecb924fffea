"""The kernels of two sequences to fifty digits, with mpmath: the definition of docs/rntk.md, nothing carried along.

Half of the digits are lost where a correlation is near 1; fifty leave more than the sixteen that are compared.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

from mpmath import mp

from rnnlimits.kernels.rntk.network import Elman

DIGITS, QUADRATURE_DIGITS = 50, 34
DIFFERENCES = (0.0, 1e-3, 1e-6, 1e-9, 1e-12, 1e-15)
Moments = tuple[Any, Any]


def relu(q: Any, other: Any, s: Any) -> Moments:
    scale = mp.sqrt(q * other)
    c = max(mp.mpf(-1), min(mp.mpf(1), s / scale if scale else mp.mpf(0)))
    angle = mp.pi - mp.acos(c)
    return scale / (2 * mp.pi) * (c * angle + mp.sqrt(1 - c * c)), angle / (2 * mp.pi)


def erf(q: Any, other: Any, s: Any) -> Moments:
    inner = (1 + 2 * q) * (1 + 2 * other)
    return 2 / mp.pi * mp.asin(2 * s / mp.sqrt(inner)), 4 / mp.pi / mp.sqrt(inner - 4 * s * s)


def smooth(phi: Callable[[Any], Moments], pole: float) -> Callable[[Any, Any, Any], Moments]:
    """By the trapezoidal rule in two independent variables; phi gives value and slope."""

    def moments(q: Any, other: Any, s: Any) -> Moments:
        largest = max(float(q), float(other), 1e-6)
        spacing = min(0.3, 2 * 3.14 * pole / largest**0.5 / (2.4 * QUADRATURE_DIGITS))
        half = int((2 * 2.4 * QUADRATURE_DIGITS) ** 0.5 / spacing) + 1
        z = [spacing * k for k in range(-half, half + 1)]
        weight = [spacing * mp.exp(-(a * mp.mpf(a)) / 2) / mp.sqrt(2 * mp.pi) for a in z]
        along = s / mp.sqrt(q)
        across = mp.sqrt(max(other - along * along, mp.mpf(0)))
        value = slope = mp.mpf(0)
        for a, w in zip(z, weight, strict=True):
            one = phi(mp.sqrt(q) * a)
            if across == 0:
                inner = phi(along * a)
            else:
                parts = [phi(along * a + across * b) for b in z]
                inner = tuple(mp.fdot(weight, [part[k] for part in parts]) for k in (0, 1))  # type: ignore[assignment]
            value, slope = value + w * one[0] * inner[0], slope + w * one[1] * inner[1]
        return value, slope

    return moments


def tanh(a: Any) -> Moments:
    t = mp.tanh(a)
    return t, 1 - t * t


def logistic(a: Any) -> Moments:
    t = mp.tanh(a / 2)
    return (1 + t) / 2, (1 - t * t) / 4


MOMENTS = {"relu": relu, "erf": erf, "tanh": smooth(tanh, 1.57), "logistic": smooth(logistic, 3.14)}


def kernels(x: Any, y: Any, network: Elman, same: bool = False, digits: int = DIGITS) -> Moments:
    """(ntk, nngp) at the last step of x (T, m) and y (T', m); digits: more of them for inputs far from 1."""
    with mp.workdps(QUADRATURE_DIGITS if network.activation in ("tanh", "logistic") else digits):
        return _kernels(_exact(x), _exact(y), network, same)


def _exact(x: Any) -> tuple[tuple[Any, ...], ...]:
    return tuple(tuple(mp.mpf(float(value)) for value in step) for step in x)


@cache
def _variances(x: Any, network: Elman) -> list[list[Any]]:
    of, found = MOMENTS[network.activation], []
    value = [mp.mpf(network.sigma_h) ** 2] * network.layers
    for step in x:
        row: list[Any] = []
        for layer in range(network.layers):
            row.append(_covariance(network, value, layer, step, step))
            value[layer] = of(row[-1], row[-1], row[-1])[0]
        found.append(row)
    return found


def _covariance(network: Elman, value: Any, layer: int, step: Any, other: Any) -> Any:
    w, u, b = (mp.mpf(sigma) ** 2 for sigma in (network.sigma_w, network.sigma_u, network.sigma_b))
    below = value[layer - 1] if layer else mp.fdot(step, other) / len(step)
    return w * value[layer] + u * below + b


def _kernels(x: Any, y: Any, network: Elman, same: bool) -> Moments:
    of, own, others = MOMENTS[network.activation], _variances(x, network), _variances(y, network)
    w, u = mp.mpf(network.sigma_w) ** 2, mp.mpf(network.sigma_u) ** 2
    value = [mp.mpf(network.sigma_h) ** 2 if same else mp.mpf(0)] * network.layers
    tangent = [mp.mpf(0)] * network.layers
    steps = min(len(x), len(y))
    for k in range(-steps, 0):
        for layer in range(network.layers):
            s = _covariance(network, value, layer, x[k], y[k])
            theta = s + w * tangent[layer] + (u * tangent[layer - 1] if layer else 0)
            value[layer], slope = of(own[k][layer], others[k][layer], s)
            tangent[layer] = slope * theta
    scale = mp.mpf(network.sigma_v) ** 2
    return scale * (value[-1] + tangent[-1]), scale * value[-1]


def relative_error(found: float, exact: Any) -> float:
    with mp.workdps(DIGITS):
        return float(abs(mp.mpf(float(found)) / exact - 1))
