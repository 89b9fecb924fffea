"""V_phi and V_phi' of two Gaussian variables, in float64, by the definition: others are tested against these.

Closed forms for ReLU and erf (docs/rntk.md); for tanh and logistic the trapezoidal rule in two rotated variables.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from rnnlimits.kernels.activations import ACTIVATIONS
from rnnlimits.kernels.interface import Array

REACH = 8.5  # of the nodes: the Gaussian density is below 1e-16 there
# A correlation is known no better than this where it is exactly -1 (no bias, first step): arccos would make 1e-8 of it.
ROUNDING = 4 * float(np.finfo(np.float64).eps)
SMALL_ANGLE = 0.25


class Pair(NamedTuple):
    """E phi(u) phi(v) and E phi'(u) phi'(v)."""

    value: Array
    slope: Array


def expectations(activation: str, q: Array, other: Array, s: Array, distance: Array | None = None) -> Pair:
    """At Var u = q, Var v = other, Cov = s; arrays that broadcast.

    distance: 2 (1 - c) for ReLU, c the correlation, and 2 (1 - z) for erf, z = 2 s / sqrt((1 + 2q)(1 + 2 other)), where
    it is known better than from s, which loses half of the digits near c = 1; other activations do not need it.
    """
    q, other, s = np.broadcast_arrays(q, other, s)
    if activation == "relu":
        return _relu(q, other, _distance(s, root_of_product(q, other)) if distance is None else distance)
    if activation == "erf":
        inner = np.sqrt((1 + 2 * q) * (1 + 2 * other))
        return _erf(inner, _distance(2 * s, inner) if distance is None else distance)
    return _quadrature(activation, q, other, s)


def root_of_product(a: Array, b: Array) -> Array:
    """sqrt(a b), right as well where the product leaves the range of numbers."""
    with np.errstate(over="ignore", under="ignore"):
        product = a * b
    found: Array = np.where(
        (product >= np.finfo(np.float64).tiny) & (product < np.inf), np.sqrt(product), np.sqrt(a) * np.sqrt(b)
    )
    return found


def _distance(s: Array, scale: Array) -> Array:
    correlation: Array = np.divide(s, scale, out=np.zeros_like(scale), where=scale > 0)
    return np.clip(2 - 2 * correlation, 0.0, 4.0)


def own_expectations(activation: str, q: Array) -> Pair:
    """The same where u = v: correlation exactly 1."""
    if activation == "relu":
        return Pair(q / 2, np.full_like(q, 0.5))
    if activation == "erf":
        return Pair(2 / np.pi * np.arcsin(2 * q / (1 + 2 * q)), 4 / np.pi / np.sqrt(1 + 4 * q))
    return _quadrature(activation, q, q, q)


def _relu(q: Array, other: Array, distance: Array) -> Pair:
    angle = angle_of(distance)
    value = root_of_product(q, other) / 2 * (1 - shortfall_of(distance) / 2)
    return Pair(value, (np.pi - angle) / (2 * np.pi))


def _erf(inner: Array, distance: Array) -> Pair:
    cosine = np.sqrt(distance * (4 - distance)) / 2
    return Pair(2 / np.pi * np.arcsin(1 - distance / 2), 4 / np.pi / (inner * cosine))


def angle_of(distance: Array) -> Array:
    """arccos c of y = 2 (1 - c); c within ROUNDING of -1 is -1."""
    above = 4 - distance
    return 2 * np.arctan2(np.sqrt(distance), np.sqrt(np.where(above > 2 * ROUNDING, above, 0.0)))


def shortfall_of(distance: Array) -> Array:
    """2 (1 - k), k = (sin w + (pi - w) cos w) / pi the correlation of two ReLUs, w = arccos c, from 2 (1 - c).

    It is 2 (1 - c) less 2 (sin w - w cos w) / pi, which is small of order w^3: by its series where w is small.
    """
    w = angle_of(distance)
    terms = [2 * k * (-1) ** (k + 1) / math.factorial(2 * k + 1) for k in range(1, 7)]
    small = w**3 * np.polynomial.polynomial.polyval(w**2, terms)
    return distance - 2 / np.pi * np.where(w < SMALL_ANGLE, small, np.sin(w) - w * np.cos(w))


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
        return ACTIVATIONS["erf"].value(a), first, -2 * a * first, (4 * a**2 - 2) * first
    if activation == "logistic":
        t = np.tanh(a / 2)
        first = (1 - t**2) / 4
        return (1 + t) / 2, first, -first * t, first * (6 * t**2 - 2) / 4
    t = np.tanh(a)
    first = 1 - t**2
    return t, first, -2 * t * first, first * (6 * t**2 - 2)
