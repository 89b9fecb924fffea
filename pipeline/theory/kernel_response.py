"""The empirical tangent kernel of a rich twin, and how it responds to mass that moves from the law to nodes.

The formulas are those of `theory.observe.kernels`, with the weights of nodes in place of 1/N and numbers that carry
derivatives. Source: docs/theory/memory_and_kernel.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from operator import add
from typing import NamedTuple

import numpy as np

from rnnlimits.kernels.activations import ACTIVATIONS
from rnnlimits.theory.jets import Array, Jet, hidden


@dataclass(frozen=True, eq=False)
class Units:
    """Numbers of the units at the nodes (..., Q), and at the ends of all directions (..., D).

    An end has one derivative, along its own direction: `ends.first` is (1, ..., D), and `ends.second` means nothing.
    """

    nodes: Jet
    ends: Jet

    def __mul__(self, other: Units) -> Units:
        return Units(self.nodes * other.nodes, self.ends * other.ends)


@dataclass(frozen=True, eq=False)
class Weights:
    """Rich twins with their derivatives: nodes (Q, d + 2, D + 2) and ends (D, d + 2, 2) as of Tangents.weights.

    mass (Q,) of the nodes; root (D,): of the weights of the ends.
    """

    mass: Array
    root: Array
    nodes: Array
    ends: Array

    def column(self, j: int) -> Units:
        """Component j of the weights: of w, then b and c."""
        value, first = np.moveaxis(self.ends[:, j], -1, 0)
        return Units(Jet.of(self.nodes[:, j]), Jet(value, first[None], 0.0 * value))

    def mean(self, a: Units) -> Jet:
        """The mean over units of numbers (P, .): (P,)."""
        own, slope = a.ends.value.T, a.ends.first[0].T
        return self._moved((self.mass * a.nodes).sum(), own, slope)

    def cross(self, a: Units, b: Units) -> Jet:
        """The mean over units of products of numbers (P, .) at two histories: (P, P)."""
        (one, one_first), (other, other_first) = ((of.ends.value.T, of.ends.first[0].T) for of in (a, b))
        own = one[:, :, None] * other[:, None, :]
        slope = one_first[:, :, None] * other[:, None, :] + one[:, :, None] * other_first[:, None, :]
        return self._moved((self.mass * a.nodes) @ b.nodes.turned, own, slope)

    def _moved(self, mean: Jet, own: Array, slope: Array) -> Jet:
        """The mean when mass moves to the ends, whose own numbers (D, ...) have these derivatives."""
        root = self.root.reshape(-1, *[1] * mean.value.ndim)
        second = mean.second + 2 * (root * (slope - mean.first)).sum(0)
        return Jet(mean.value, mean.first + root * (own - mean.value), second)


class _Layer(NamedTuple):
    x: Array  # (P, d)
    value: Units  # (P, .)
    slope: Units


def kernel_jet(activation: str, weights: Weights, history: Array, memory: Array, depth: int, update_b: bool) -> Jet:
    """The kernel (P, P) of all that training moves, at the ends of histories (P, L, d).

    memory (P, L, D + 2): the twin's own, as of Tangents.probe.
    """
    layers = [_layer(activation, weights, history, memory, step) for step in range(1, depth + 2)]
    odd = _column(weights, -1) * layers[0].slope
    reach = weights.mean(odd)
    terms = [weights.cross(layers[0].value, layers[0].value), _inputs(layers, 0, 0) * weights.cross(odd, odd)]
    chain = [Jet(np.ones_like(reach.value), np.zeros_like(reach.first), np.zeros_like(reach.value))]
    slopes = [odd, *(_column(weights, -2) * layer.slope for layer in layers[1:depth])]  # of the output, and of memories
    for slope in slopes[1:]:
        chain.append(chain[-1] * weights.mean(slope))
    both = _left(reach) * _right(reach)
    if update_b:
        terms += [both * _of_b(weights, layers, chain)]
    if depth > 1:
        cross, rest = _past_w(weights, layers[:depth], slopes, chain)
        terms += [_right(reach) * cross, _left(reach) * cross.turned, both * rest]
    return _total(terms)


def _column(weights: Weights, j: int) -> Units:
    """A weight of every unit, (1, .), for all histories."""
    column = weights.column(j)
    return Units(column.nodes[..., None, :], column.ends[..., None, :])


def _layer(activation: str, weights: Weights, history: Array, memory: Array, back: int) -> _Layer:
    """The layer `back - 1` steps before the last; zero before the first step."""
    inside = float(back <= history.shape[1])
    step = history.shape[1] - min(back, history.shape[1])
    x, of_memory = history[:, step], Jet.of(memory[:, step])
    at_ends = Jet(of_memory.value[:, None], of_memory.first.T[None], 0.0 * of_memory.value[:, None])
    nodes, ends = of_memory[..., None], at_ends
    for j in range(x.shape[1]):
        column = _column(weights, j)
        nodes, ends = nodes + x[:, j, None] * column.nodes, ends + x[:, j, None] * column.ends
    (value, slope), (of_end, slope_of_end) = (hidden(ACTIVATIONS[activation], a) for a in (nodes, ends))
    return _Layer(inside * x, Units(inside * value, inside * of_end), Units(inside * slope, inside * slope_of_end))


def _of_b(weights: Weights, layers: Sequence[_Layer], chain: Sequence[Jet]) -> Jet:
    """The part of B, but for the factors of the last step."""
    every = range(len(chain))
    return _total(
        [
            weights.cross(layers[i + 1].value, layers[j + 1].value) * (_left(chain[i]) * _right(chain[j]))
            for i in every
            for j in every
        ]
    )


def _past_w(
    weights: Weights, layers: Sequence[_Layer], slopes: Sequence[Units], chain: Sequence[Jet]
) -> tuple[Jet, Jet]:
    """What earlier steps add to the part of W: products with the last step, and of earlier steps."""
    later = range(1, len(layers))
    crosses = [_inputs(layers, 0, j) * (weights.cross(slopes[0], slopes[j]) * _right(chain[j - 1])) for j in later]
    rests = [
        _inputs(layers, i, j) * (weights.cross(slopes[i], slopes[j]) * (_left(chain[i - 1]) * _right(chain[j - 1])))
        for i in later
        for j in later
    ]
    return _total(crosses), _total(rests)


def _inputs(layers: Sequence[_Layer], i: int, j: int) -> Array:
    return np.asarray(layers[i].x @ layers[j].x.T)


def _total(jets: Sequence[Jet]) -> Jet:
    return reduce(add, jets)


def _left(jet: Jet) -> Jet:
    return jet[..., :, None]


def _right(jet: Jet) -> Jet:
    return jet[..., None, :]
