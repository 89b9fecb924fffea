"""V_phi and V_phi' of two Gaussian variables, in float64, by the definition: others are tested against these.

Closed forms for ReLU and erf (docs/rntk.md); for tanh and logistic the trapezoidal rule in two rotated variables.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.special import erf

from rnnlimits.kernels.activations import ACTIVATIONS
from rnnlimits.kernels.interface import Array

REACH = 8.5  # of the nodes: the Gaussian density is below 1e-16 there
# A correlation is known no better than this, but where it is exactly 1 or -1 (one input, no bias, first step) arccos
# would make 1e-8 of it.
ROUNDING = 4 * float(np.finfo(np.float64).eps)


class Pair(NamedTuple):
    """E phi(u) phi(v) and E phi'(u) phi'(v)."""

    value: Array
    slope: Array


def expectations(activation: str, q: Array, other: Array, s: Array) -> Pair:
    """At Var u = q, Var v = other, Cov = s; arrays that broadcast."""
    q, other, s = np.broadcast_arrays(q, other, s)
    if activation == "relu":
        return _relu(q, other, s)
    if activation == "erf":
        inner = (1 + 2 * q) * (1 + 2 * other)
        return Pair(2 / np.pi * np.arcsin(2 * s / np.sqrt(inner)), 4 / np.pi / np.sqrt(inner - 4 * s**2))
    return _quadrature(activation, q, other, s)


def own_expectations(activation: str, q: Array) -> Pair:
    """The same where u = v: correlation exactly 1."""
    if activation == "relu":
        return Pair(q / 2, np.full_like(q, 0.5))
    if activation == "erf":
        return Pair(2 / np.pi * np.arcsin(2 * q / (1 + 2 * q)), 4 / np.pi / np.sqrt(1 + 4 * q))
    return _quadrature(activation, q, q, q)


def _relu(q: Array, other: Array, s: Array) -> Pair:
    scale = np.sqrt(q * other)
    c = np.clip(np.divide(s, scale, out=np.zeros_like(scale), where=scale > 0), -1, 1)
    c = np.where(1 - np.abs(c) <= ROUNDING, np.sign(c), c)
    angle = np.pi - np.arccos(c)
    return Pair(scale / (2 * np.pi) * (c * angle + np.sqrt(1 - c**2)), angle / (2 * np.pi))


def rotated_nodes(activation: str, q: float, other: float, s: float) -> tuple[Array, Array, Array]:
    """Nodes u, v and weights of a product rule for N(0, [[q, s], [s, other]])."""
    largest = max(q, other, 1e-6)
    pole = np.pi if activation == "logistic" else np.pi / 2
    spacing = min(0.35, 2 * np.pi * pole / np.sqrt(largest) / 46.0)
    half = int(np.ceil(REACH / spacing))
    z = spacing * np.arange(-half, half + 1)
    density = spacing * np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi)
    slope = s / np.sqrt(q) if q > 0 else 0.0
    u = np.sqrt(q) * z[:, None]
    v = slope * z[:, None] + np.sqrt(max(other - slope**2, 0.0)) * z
    return u, v, density[:, None] * density


def _quadrature(activation: str, q: Array, other: Array, s: Array) -> Pair:
    phi = ACTIVATIONS[activation]
    value, slope = np.empty(q.shape), np.empty(q.shape)
    for index in np.ndindex(q.shape):
        u, v, weights = rotated_nodes(activation, float(q[index]), float(other[index]), float(s[index]))
        value[index] = (weights * phi.value(u) * phi.value(v)).sum()
        slope[index] = (weights * phi.slope(u) * phi.slope(v)).sum()
    return Pair(value, slope)


def derivatives(activation: str, a: Array) -> tuple[Array, Array, Array, Array]:
    """phi, phi', phi'', phi''' of a smooth activation."""
    if activation == "erf":
        first = 2 / np.sqrt(np.pi) * np.exp(-(a**2))
        return erf(a), first, -2 * a * first, (4 * a**2 - 2) * first
    if activation == "logistic":
        t = np.tanh(a / 2)
        first = (1 - t**2) / 4
        return (1 + t) / 2, first, -first * t, first * (6 * t**2 - 2) / 4
    t = np.tanh(a)
    first = 1 - t**2
    return t, first, -2 * t * first, first * (6 * t**2 - 2)
