"""Derivatives of V_phi and V_phi' in float64, one pair of variances at a time (docs/rntk.md, "Gradient")."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from rnnlimits.kernels.rntk.expectations import ROUNDING, derivatives, root_of_product, rotated_nodes
from rnnlimits.kernels.rntk.series import REACH


class Partials(NamedTuple):
    """V_phi and V_phi' of (u, v), and what they change by with Var u (q) and with Cov (s)."""

    value: float
    slope: float
    value_q: float
    value_s: float
    slope_q: float
    slope_s: float


class Own(NamedTuple):
    """V_phi and V_phi' of (u, u), and their derivatives by Var u."""

    value: float
    slope: float
    value_q: float
    slope_q: float


def partials(activation: str, q: float, other: float, s: float) -> Partials:
    """At Var u = q, Var v = other, Cov = s."""
    if activation == "relu":
        return _relu(q, other, s)
    if activation == "erf":
        return _erf(q, other, s)
    u, v, weights = rotated_nodes(activation, q, other, s)
    f, g = derivatives(activation, u), derivatives(activation, v)
    # Var u enters as half of the second derivative, Cov as one of each (the heat equation of a Gaussian density).
    orders = [(0, 0), (1, 1), (2, 0), (1, 1), (3, 1), (2, 2)]
    factors = [1.0, 1.0, 0.5, 1.0, 0.5, 1.0]
    found = (a * float((weights * f[i] * g[j]).sum()) for a, (i, j) in zip(factors, orders, strict=True))
    return Partials(*found)


def _relu(q: float, other: float, s: float) -> Partials:
    scale = float(root_of_product(np.asarray(q), np.asarray(other)))
    if scale == 0.0:
        return Partials(0.0, 0.25, 0.0, 0.25, 0.0, 0.0)
    c = float(np.clip(s / scale, -1.0, 1.0))
    if 1.0 - abs(c) <= ROUNDING:  # V_phi' has a root there: it stays at its end for inputs whose correlation stays
        half = 0.5 if c > 0 else 0.0
        return Partials(half * s, half, 0.0, half, 0.0, 0.0)
    angle, sine = np.pi - np.arccos(c), np.sqrt(1.0 - c * c)
    slope, tau = float(angle / (2 * np.pi)), 2 * np.pi
    value = scale * (c * angle + sine) / tau
    slope_q, slope_s = -c / (2 * tau * q * sine), 1 / (tau * sine * scale)
    return Partials(float(value), slope, float(scale * sine / (2 * tau * q)), slope, float(slope_q), float(slope_s))


def _erf(q: float, other: float, s: float) -> Partials:
    inner = (1 + 2 * q) * (1 + 2 * other)
    z, rest = 2 * s / np.sqrt(inner), inner - 4 * s * s
    slope = 4 / np.pi / np.sqrt(rest)
    value_q = -2 / np.pi * z / (1 + 2 * q) / np.sqrt(1 - z * z)
    slope_q = -4 / np.pi * (1 + 2 * other) * rest**-1.5
    found = (2 / np.pi * np.arcsin(z), slope, value_q, slope, slope_q, 16 / np.pi * s * rest**-1.5)
    return Partials(*map(float, found))


def own_partials(activation: str, q: float) -> Own:
    """At Var u = q, for u with itself."""
    if activation == "relu":
        return Own(q / 2, 0.5, 0.5, 0.0)
    if activation == "erf":
        root = float(np.sqrt(1 + 4 * q))
        value = float(2 / np.pi * np.arcsin(2 * q / (1 + 2 * q)))
        return Own(value, 4 / np.pi / root, 4 / np.pi / ((1 + 2 * q) * root), -8 / np.pi * root**-3)
    spacing = min(0.12, 2 * np.pi * np.pi / 2 / np.sqrt(max(q, 1e-6)) / 46.0)
    z = spacing * np.arange(-round(REACH / spacing), round(REACH / spacing) + 1)
    weights = spacing * np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi)
    f = derivatives(activation, np.sqrt(q) * z)
    products = (f[0] ** 2, f[1] ** 2, f[1] ** 2 + f[0] * f[2], f[2] ** 2 + f[1] * f[3])
    return Own(*(float((weights * product).sum()) for product in products))
