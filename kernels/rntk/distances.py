"""How far two sequences are apart, without a difference of large numbers: what ReLU and erf need near correlation 1.

A variance q is a sum of squares: of the state before, of the inputs (or of the state of the layer below), of the bias.
Divided by sqrt(q) they are components of a unit vector. For erf the vector is that of 1 + 2q, with a component 1 that
correlates with nothing. The correlation of a pair is the product of two such vectors, but that two states are only as
alike as V_phi says; so 2 (1 - correlation) is the squared distance of the vectors, and what the states lack.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rnnlimits.kernels.interface import Array
from rnnlimits.kernels.rntk.network import Elman


@dataclass(frozen=True, eq=False)
class Unit:
    """Components at one step and layer of n sequences: inputs (n, m) of the first layer, states and bias (n,).

    before: of the state before; below: of the layer below, 0 for the first; alone: of the 1 of erf, 0 for ReLU.
    """

    inputs: Array
    before: Array
    below: Array
    bias: Array
    alone: Array

    def taken(self, rows: object) -> Unit:
        """Of some of the sequences."""
        return Unit(*(getattr(self, name)[rows] for name in self.__dataclass_fields__))


def unit(network: Elman, q: Array, x: Array, before: Array, below: Array) -> Unit:
    """From variances q (n,), inputs x (n, m) (m = 0 above the first layer), and V_phi of the states (n,)."""
    factor = 2.0 if network.activation == "erf" else 1.0
    length = np.sqrt(1 + 2 * q if network.activation == "erf" else q)
    scale = np.divide(np.sqrt(factor), length, out=np.zeros_like(length), where=length > 0)
    return Unit(
        _inputs(network, x) * scale[:, None] if factor > 1 else _over(_inputs(network, x), length[:, None]),
        network.sigma_w * np.sqrt(before) * scale,
        network.sigma_u * np.sqrt(below) * scale,
        network.sigma_b * scale,
        scale / np.sqrt(2) if factor > 1 else np.zeros_like(scale),
    )


def _inputs(network: Elman, x: Array) -> Array:
    scaled: Array = network.sigma_u * x / np.sqrt(max(x.shape[1], 1))
    return scaled


def _over(values: Array, length: Array) -> Array:
    """A single input without bias is exactly 1 or -1."""
    return np.divide(values, length, out=np.zeros_like(values), where=length > 0)


def distance(network: Elman, one: Unit, other: Unit, link: Array, link_below: Array) -> Array:
    """2 (1 - correlation) of all pairs, (n_x, n_y).

    link, link_below: of the states before and of the layer below; for ReLU 2 (1 - k), k their correlation, and for erf
    V_phi, whose rounding is small compared with 2 (1 - correlation) as long as q is not large from weights.
    """
    found = _square(one.bias, other.bias) + one.alone[:, None] ** 2 + other.alone**2
    for j in range(one.inputs.shape[1]):
        found = found + _square(one.inputs[:, j], other.inputs[:, j])
    scale = 4 * one.alone[:, None] * other.alone
    states = ((one.before, other.before, link, network.sigma_w), (one.below, other.below, link_below, network.sigma_u))
    for a, b, alike, sigma in states:
        if network.activation == "erf":
            found = found + (a[:, None] ** 2 + b**2 - scale * sigma**2 * alike)
        else:
            found = found + _square(a, b) + a[:, None] * b * alike
    least = scale / 2
    return np.clip(found, least, 4 - least)


def _square(a: Array, b: Array) -> Array:
    return (a[:, None] - b) ** 2
