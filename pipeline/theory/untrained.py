"""Memory and kernel of networks before training: their law at width N, from the response of the limit to a unit's mass.

A network is a sample of N units, so that to first order an error is the mean over its units of a response, and the
covariance of errors is that of responses over the law of a unit, divided by N. Parts of the kernel that start from zero
are products of two such means, whose moments are exact for factors of mean zero. Source: docs/model.md, "Finite width".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np

from rnnlimits.base.streams import Stream
from rnnlimits.kernels.activations import ACTIVATIONS
from rnnlimits.kernels.interface import Backend
from rnnlimits.theory.laws import Array, ParameterLaw
from rnnlimits.theory.observe import NULL
from rnnlimits.theory.units import UnitNodes

DRAWS = 4096  # of Gaussian kernels: errors below 1% of a root mean square
CHUNK = 512  # of them at a time
STEP = 1e-3  # of the difference that gives sigma'': an error of 1e-7
Products = Sequence[tuple[Array, Array]]


@dataclass(frozen=True, eq=False)
class Untrained:
    """Responses at Q nodes of the law of a unit, each of mean zero over it, at the ends of P probe histories.

    kernel (P, P): the limit's. direct (Q, P, P): the response of the kernel of C and W in the last layer, that of the
    memory included. What else a network has is quadratic in means over its units: lists of pairs (Q, P, P) of factors
    whose products of means add up to the part of B (b), and to all that training moves at its depth beside the last
    layer, with the memory's effect on the units' own deviation (second). beyond: N times what the scatter of the third
    factor of the part of B, which is taken at its mean, adds to the part's mean square, relative to it.
    """

    weight: Array
    kernel: Array
    direct: Array
    b: Products
    second: Products
    beyond: float
    seed: int

    @classmethod
    def of(cls, law: ParameterLaw, nodes: UnitNodes, be: Backend, history: Array, depth: int, update_b: bool) -> Self:
        """The responses on histories (P, L, d); `be` has NumPy arrays."""
        memory = law.memory_path(be, history, np.zeros(len(history)))[:, :-1]
        layers = _Layers.of(law, nodes, history, memory, max(depth, 2))
        response = memory_response(law, nodes, history, memory)[..., -1]
        b, of_w, of_b = layers.of_b(), layers.past_w(), layers.past_b()
        moved = [*(of_w if depth > 1 else ()), *(b if update_b else ()), *(of_b if update_b and depth > 1 else ())]
        second, direct = [*moved, *layers.tilted(response)], layers.direct(response)
        return cls(nodes.weight, layers.kernel(), direct, b, second, layers.beyond_b(), law.seed)

    def error_square(self, width: int) -> tuple[float, float]:
        """E |K^N - Kern|^2 over |Kern|^2 in the Frobenius norm, and the part of it that is of order N^-2."""
        first = self._relative(self._mean(self.direct**2)) / width
        cross = sum((self._mean(self.direct * x * y) for x, y in self.second), np.zeros_like(self.kernel))
        second = self._relative(2 * cross / width**2 + self._square(self.second, width))
        return first + second, second

    def b_square(self, width: int) -> float:
        """The mean square of the part of B, relative to the limit's kernel."""
        return self._relative(self._square(self.b, width))

    def eigenvalue_square(self, width: int, leading: int, second: bool = True) -> float:
        """Mean square over kernels and leading eigenvalues of their relative error, by Gaussian draws of the kernel.

        second: with what is quadratic in means over units, which the draws make too.
        """
        if (width, leading, second) not in self._found:
            self._found[width, leading, second] = self._eigenvalue_square(width, leading, second)
        return self._found[width, leading, second]

    @cached_property
    def _found(self) -> dict[tuple[int, int, bool], float]:
        return {}

    def _eigenvalue_square(self, width: int, leading: int, second: bool) -> float:
        values = np.linalg.eigvalsh(self.kernel)[::-1][:leading]
        squares = []
        for linear, quadratic in self._draws:
            drawn = self.kernel + linear / width**0.5 + (quadratic / width if second else 0.0)
            errors = np.linalg.eigvalsh(drawn)[:, ::-1][:, :leading] / np.maximum(values, NULL * values[0]) - 1
            squares.append(np.square(errors).mean())
        return float(np.mean(squares))

    @cached_property
    def _draws(self) -> list[tuple[Array, Array]]:
        """Gaussian draws (CHUNK, P, P) of what is linear and what is quadratic in means, for a network of one unit."""
        rng = np.random.default_rng([self.seed, int(Stream.KERNEL_FIELD)])
        found = []
        for _ in range(DRAWS // CHUNK):
            unit = rng.normal(size=(CHUNK, len(self.weight))) * np.sqrt(self.weight)
            terms = (np.tensordot(unit, x, 1) * np.tensordot(unit, y, 1) for x, y in self.second)
            found.append((np.tensordot(unit, self.direct, 1), sum(terms, np.zeros(()))))
        return found

    def _mean(self, values: Array) -> Array:
        return np.asarray(np.tensordot(self.weight, values, 1))

    def _square(self, products: Products, width: int) -> Array:
        return square_of_products(self.weight, products, width)

    def _relative(self, squares: Array) -> float:
        return float(np.sum(squares) / np.square(self.kernel).sum())


def memory_response(law: ParameterLaw, nodes: UnitNodes, history: Array, memory: Array) -> Array:
    """The response (Q, P, L) of the limit's memory (P, L) along histories (P, L, d) to mass at each node, from 0."""
    value, slope = ACTIVATIONS[law.activation].value, law.memory_slope(history, memory)
    response = np.zeros((len(nodes), *memory.shape))
    for k in range(memory.shape[1] - 1):
        own = nodes.b[:, None] * value(nodes.w @ history[:, k].T + memory[:, k])
        response[:, :, k + 1] = own - memory[:, k + 1] + slope[:, k] * response[:, :, k]
    return response


def square_of_products(weight: Array, products: Products, width: int) -> Array:
    """E (sum_i x_i y_i)^2 (...) for pairs of means x_i, y_i over N = `width` units of functions of mean zero.

    products: their values (Q, ...) at nodes of the law of a unit, with weights (Q,). Exact at every N.
    """

    def mean(*factors: Array) -> Array:
        return np.asarray(np.tensordot(weight, np.prod(factors, axis=0), 1))

    total = np.zeros(np.broadcast_shapes(*(x.shape[1:] for x, _ in products)) if products else ())
    for x, y in products:
        for u, v in products:
            pairs = mean(x, y) * mean(u, v) + mean(x, u) * mean(y, v) + mean(x, v) * mean(y, u)
            total = total + ((1 - 1 / width) * pairs + mean(x, y, u, v) / width) / width**2
    return total


@dataclass(frozen=True, eq=False)
class _Layers:
    """The last layers of the limit at Q nodes, latest first: inputs (P, d), values and slopes (Q, P).

    curvature (Q, P): sigma'' in the last layer. reach: by layer, what a memory's change becomes at the last step (P,).
    """

    nodes: UnitNodes
    x: list[Array]
    value: list[Array]
    slope: list[Array]
    curvature: Array
    reach: list[Array]

    @classmethod
    def of(cls, law: ParameterLaw, nodes: UnitNodes, history: Array, memory: Array, back: int) -> Self:
        """The last back + 1 layers; those before the first step are zero."""
        sigma, x, value, slope = ACTIVATIONS[law.activation], [], [], []
        for step in range(history.shape[1] - 1, history.shape[1] - 2 - back, -1):
            inside = float(step >= 0)
            x.append(inside * history[:, max(step, 0)])
            a = nodes.w @ history[:, max(step, 0)].T + memory[:, max(step, 0)]
            value.append(inside * sigma.value(a))
            slope.append(inside * sigma.slope(a))
        last = nodes.w @ history[:, -1].T + memory[:, -1]
        curvature = (sigma.slope(last + STEP) - sigma.slope(last - STEP)) / (2 * STEP)
        reach = [np.ones(len(history))]
        for one in slope[1:back]:
            reach.append(reach[-1] * ((nodes.weight * nodes.b) @ one))
        return cls(nodes, x[:back], value, slope[:back], curvature, reach)

    def _mean(self, values: Array) -> Array:
        return np.asarray(np.tensordot(self.nodes.weight, values, 1))

    def _inputs(self, i: int, j: int) -> Array:
        return np.asarray(self.x[i] @ self.x[j].T)

    def kernel(self) -> Array:
        """Kern (P, P) by the nodes."""
        return self._mean(self._unit_kernel())

    def _unit_kernel(self) -> Array:
        square = np.square(self.nodes.c)[:, None, None]
        return _outer(self.value[0], self.value[0]) + square * _outer(self.slope[0], self.slope[0]) * self._inputs(0, 0)

    def _tilt(self) -> Array:
        """The derivative (Q, P, P) of a unit's kernel with respect to the memory of the first history."""
        square = np.square(self.nodes.c)[:, None, None]
        return np.asarray(
            _outer(self.slope[0], self.value[0]) + square * _outer(self.curvature, self.slope[0]) * self._inputs(0, 0)
        )

    def direct(self, memory: Array) -> Array:
        """The response (Q, P, P) of the kernel of C and W, with that of the memory (Q, P)."""
        unit, through = self._unit_kernel(), memory[:, :, None] * self._mean(self._tilt())
        return np.asarray(unit - self._mean(unit) + through + through.swapaxes(1, 2))

    def tilted(self, memory: Array) -> Products:
        """How the memory (Q, P) changes the deviation of a network's units from their law."""
        tilt = self._tilt()
        tilt, left = tilt - self._mean(tilt), np.broadcast_to(memory[:, :, None], tilt.shape)
        return [(tilt, left), (tilt.swapaxes(1, 2), left.swapaxes(1, 2))]

    def _odd(self) -> tuple[Array, Array]:
        """C sigma' in the last layer, at the first and at the second history (Q, P, P)."""
        odd = self.nodes.c[:, None] * self.slope[0]
        shape = (*odd.shape, odd.shape[1])
        return np.broadcast_to(odd[:, :, None], shape), np.broadcast_to(odd[:, None, :], shape)

    def of_b(self) -> Products:
        """The part of B at depth 1."""
        left, right = self._odd()
        return [(left, right * self._mean(_outer(self.value[1], self.value[1])))]

    def past_w(self) -> Products:
        """What earlier steps add to the part of W: products with the last step, and of earlier steps."""
        left, right = self._odd()
        slopes = [self.nodes.b[:, None] * slope for slope in self.slope]
        later = range(1, len(self.x))
        crosses = [left * (self.reach[j - 1] * self._inputs(0, j)) * slopes[j][:, None, :] for j in later]
        cross = np.asarray(np.sum(crosses, axis=0))
        pairs = [(i, j) for i in later for j in later]
        rest = sum(
            self._reaching(i - 1, j - 1) * self._inputs(i, j) * self._mean(_outer(slopes[i], slopes[j]))
            for i, j in pairs
        )
        return [(right, cross), (left, np.swapaxes(cross, 1, 2)), (left, right * rest)]

    def past_b(self) -> Products:
        """What earlier steps add to the part of B."""
        left, right = self._odd()
        every = range(len(self.x))
        pairs = [(i, j) for i in every for j in every if i + j > 0]
        rest = sum(self._reaching(i, j) * self._mean(_outer(self.value[i + 1], self.value[j + 1])) for i, j in pairs)
        return [(left, right * rest)]

    def _reaching(self, i: int, j: int) -> Array:
        return np.asarray(np.outer(self.reach[i], self.reach[j]))

    def beyond_b(self) -> float:
        """N times the first order that the mean square of the part of B leaves out, relative to it.

        The part is x y (e + e'), with x and y the means of C sigma', and e' the deviation of <S S'> from its limit e.
        C is independent and of mean zero, so that e' is correlated with neither x nor y, and to this order
        E x^2 y^2 e'^2 = E x^2 y^2 E e'^2, and E x^2 y^2 e' is the sum of third cumulants times variances. All terms
        count as of one sign.
        """
        x, y = self._odd()
        unit = _outer(self.value[1], self.value[1])
        e = self._mean(unit)
        own, mean = unit - e, self._mean
        of_x, of_y, both = mean(x * x), mean(y * y), mean(x * y)
        square = of_x * of_y + 2 * both**2
        third = mean(x * x * own) * of_y + mean(y * y * own) * of_x + 4 * mean(x * y * own) * both
        beyond = 2 * np.abs(e * third) + mean(own**2) * square
        return float(beyond.sum() / (e**2 * square).sum())


def _outer(a: Array, b: Array) -> Array:
    return a[:, :, None] * b[:, None, :]
