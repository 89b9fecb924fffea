"""The empirical tangent kernel of a rich twin, and how it responds to mass that moves from the law to one node.

The formulas are those of `theory.observe.kernels`, with the weights of nodes in place of 1/N and numbers that carry
derivatives. Source: docs/theory/memory_and_kernel.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from rnnlimits.kernels.activations import ACTIVATIONS
from rnnlimits.theory.jets import Array, Jet, Mean, hidden, mean_square, mean_square_of_products

CHUNK_VALUES = 2**15  # hidden values of one layer at a time, so that they stay in cache
Factors = tuple[Jet, ...]  # two


class Weights(NamedTuple):
    """Nodes of rich twins, each number with its derivatives: mass, b, c (R, Q, 3), w (R, Q, d, 3)."""

    mass: Array
    w: Array
    b: Array
    c: Array


@dataclass(frozen=True, eq=False)
class KernelJets:
    """The kernel of the parameters that a training moves, (R, P, P), and what its small parts are made of.

    b, past: pairs of factors (R, P, P) whose products add up to the part of B and to what earlier steps add.
    """

    total: Jet
    b: Sequence[Factors]
    past: Sequence[Factors]


class _Layer(NamedTuple):
    x: Array  # (P, d)
    value: Jet  # (R, P, Q), as the others
    slope: Jet
    of_b: Jet  # B sigma'
    heavy: Jet  # value and of_b times the mass
    heavy_b: Jet


def kernel_jets(
    activation: str, weights: Weights, history: Array, memory: Array, depth: int, update_b: bool
) -> KernelJets:
    """The kernel at the ends of histories (P, L, d), whose memories are (R, P, L, 3)."""
    some = max(1, CHUNK_VALUES // (weights.b.shape[1] * len(history)))
    pieces = []
    for first in range(0, len(memory), some):
        part = Weights(*(a[first : first + some] for a in weights))
        pieces.append(_kernel_jets(activation, part, history, memory[first : first + some], depth, update_b))
    b, past = (
        [tuple(Jet.joined(jets) for jets in zip(*factors, strict=True)) for factors in zip(*lists, strict=True)]
        for lists in ([piece.b for piece in pieces], [piece.past for piece in pieces])
    )
    return KernelJets(Jet.joined([piece.total for piece in pieces]), b, past)


def _kernel_jets(
    activation: str, weights: Weights, history: Array, memory: Array, depth: int, update_b: bool
) -> KernelJets:
    back, mass, c = max(depth, 2), Jet.of(weights.mass)[:, None], Jet.of(weights.c)[:, None]
    layers = [_layer(activation, weights, history, memory, step) for step in range(1, back + 2)]
    odd = c * layers[0].slope
    heavy = mass * odd
    direct = layers[0].heavy @ layers[0].value.turned + _inputs(layers, 0, 0) * (heavy @ odd.turned)
    reach = heavy.sum()
    chain = [Jet(np.ones_like(reach.value), np.zeros_like(reach.value), np.zeros_like(reach.value))]
    for layer in layers[1:back]:
        chain.append(chain[-1] * layer.heavy_b.sum())
    b = [(_left(reach), _right(reach) * (layers[1].heavy @ layers[1].value.turned))]
    of_w, of_b = _past_w(heavy, layers[:back], chain, reach), _past_b(layers, chain, reach)
    moved = [*(b if update_b else ()), *(of_w if depth > 1 else ()), *(of_b if depth > 1 and update_b else ())]
    total = direct
    for one, other in moved:
        total = total + one * other
    return KernelJets(total, b, [*of_w, *of_b])


def _layer(activation: str, weights: Weights, history: Array, memory: Array, back: int) -> _Layer:
    """The layer `back - 1` steps before the last; zero before the first step."""
    inside = float(back <= history.shape[1])
    step = history.shape[1] - min(back, history.shape[1])
    x = inside * history[:, step]
    w = Jet.of(weights.w)
    a = Jet(*(np.einsum("rqd,pd->rpq", part, history[:, step]) for part in (w.value, w.first, w.second)))
    value, slope = hidden(ACTIVATIONS[activation], a + Jet.of(memory[:, :, step])[:, :, None])
    value, slope = inside * value, inside * slope
    mass, of_b = Jet.of(weights.mass)[:, None], Jet.of(weights.b)[:, None] * slope
    return _Layer(x, value, slope, of_b, mass * value, mass * of_b)


def _past_w(heavy: Jet, layers: Sequence[_Layer], chain: Sequence[Jet], reach: Jet) -> list[Factors]:
    """What earlier steps add to the part of W: products with the last step, and of earlier steps."""
    later = range(1, len(layers))
    crosses = [_inputs(layers, 0, j) * ((heavy @ layers[j].of_b.turned) * _right(chain[j - 1])) for j in later]
    rests = [
        _inputs(layers, i, j)
        * ((layers[i].heavy_b @ layers[j].of_b.turned) * (_left(chain[i - 1]) * _right(chain[j - 1])))
        for i in later
        for j in later
    ]
    cross, rest = _total(crosses), _total(rests)
    return [(_right(reach), cross), (_left(reach), cross.turned), (_left(reach), _right(reach) * rest)]


def _past_b(layers: Sequence[_Layer], chain: Sequence[Jet], reach: Jet) -> list[Factors]:
    """What earlier steps add to the part of B."""
    every = range(len(chain))
    rests = [
        (layers[i + 1].heavy @ layers[j + 1].value.turned) * (_left(chain[i]) * _right(chain[j]))
        for i in every
        for j in every
        if i + j > 0
    ]
    return [(_left(reach), _right(reach) * _total(rests))]


def _inputs(layers: Sequence[_Layer], i: int, j: int) -> Array:
    return np.asarray(layers[i].x @ layers[j].x.T)


def _total(jets: Sequence[Jet]) -> Jet:
    total = jets[0]
    for jet in jets[1:]:
        total = total + jet
    return total


def _left(jet: Jet) -> Jet:
    return jet[..., :, None]


def _right(jet: Jet) -> Jet:
    return jet[..., None, :]


# --- what networks of width N have -------------------------------------------------------------------------------


def drift(start: KernelJets, end: KernelJets, limit: Array, weight: Array) -> tuple[Jet, Array]:
    """The component of a change along the limit's kernel (R,), and the coefficients in 1/N of its mean square (3,).

    Both relative to the limit's kernel (P, P); weight (R,) of the directions.
    """
    norm = float(np.linalg.norm(limit))
    change = (1 / norm) * (end.total - start.total)
    along = (limit / norm) * change
    flat = Jet(*(part.reshape(len(weight), -1) for part in (along.value, along.first, along.second)))
    return flat.sum(), mean_square(Mean.of(change, weight), weight).sum(axis=(1, 2))


def part_square(factors: Sequence[Factors], limit: Array, weight: Array) -> Array:
    """The coefficients (3,) in 1/N of the mean square of a small part, relative to the limit's kernel."""
    products = []
    for one, other in factors:
        shape = np.broadcast_shapes(one.value.shape, other.value.shape)
        whole = (
            Jet(*(np.broadcast_to(part, shape) for part in (jet.value, jet.first, jet.second))) for jet in (one, other)
        )
        left, right = (Mean.of(jet, weight) for jet in whole)
        products.append((left, right))
    return np.asarray(mean_square_of_products(products, weight).sum(axis=(1, 2)) / np.square(limit).sum())


def second_square(start: KernelJets, end: KernelJets, limit: Array) -> float:
    """The mean square over random directions of half the second derivative of a change, relative to the limit's."""
    second = 0.5 * (end.total - start.total).second
    return float(np.square(second).sum(axis=(1, 2)).mean() / np.square(limit).sum())
