"""The units of a network expressed by the nodes of a quadrature: how many of them each node stands for.

A function f of one unit is interpolated between its values at the nodes, f ~ sum_q f(q) L_q. The mean of f over the
units of a network is then sum_q share_q f(q), where share_q is the mean of L_q over the units. Expected shares are
known, so that sum_q (share_q - E share_q) f(q) has mean zero over networks whatever f is, and differs from a network's
deviation only by what interpolation leaves: a control variate. Source: docs/model.md, "Finite width".
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import combinations_with_replacement
from typing import Self

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import BSpline, make_interp_spline
from scipy.sparse import csr_array
from scipy.special import eval_hermitenorm, eval_legendre, factorial, roots_hermitenorm

from rnnlimits.theory.laws import ParameterLaw
from rnnlimits.theory.units import UnitNodes, c_rule

Array = NDArray[np.float64]

FINE = 20_001  # points for the mean of a spline: it is known to 1e-8 of its size
REACH = 9.0  # of these points, for a normal law
UNITS_AT_ONCE = 1 << 19  # units whose functions fit in memory


@dataclass(frozen=True, eq=False)
class Axis:
    """Functions of some coordinates of a unit, and their means: L(x) = functions(x) @ at_nodes.

    functions: coordinates (n, d), or (n,) of B's noise and C, to (n, J), dense or sparse. expected (J,): their means
    over the law. at_nodes (J, Q): the coefficients of L_q, the function that is 1 at node q and 0 at the others (or
    nearest to it in least squares).
    """

    functions: Callable[[Array], Array | csr_array]
    expected: Array
    at_nodes: Array

    @classmethod
    def lagrange(cls, nodes: Array, weight: Array) -> Self:
        """Polynomials through Gauss nodes, or functions on the atoms of a law, whose means are the weights."""

        def functions(x: Array) -> Array:
            others = [np.delete(nodes, q) for q in range(len(nodes))]
            factors = [np.prod((x[:, None] - o) / (nodes[q] - o), axis=1) for q, o in enumerate(others)]
            return np.stack(factors, axis=1)

        return cls(functions, weight, np.eye(len(nodes)))

    @classmethod
    def splines(cls, nodes: Array, normal: bool) -> Self:
        """Cubic splines through the nodes (Q, 1), constant beyond the first and the last."""
        degree, order = min(3, len(nodes) - 1), np.argsort(nodes[:, 0])
        at = nodes[order, 0]
        interpolated = make_interp_spline(at, np.eye(len(at))[order], k=degree)

        def functions(x: Array) -> csr_array:
            inside = np.clip(x[:, 0], at[0], at[-1])
            return csr_array(BSpline.design_matrix(inside, interpolated.t, degree))

        points, weight = _fine(normal)
        return cls(functions, weight @ functions(points[:, None]), np.asarray(interpolated.c))

    @classmethod
    def polynomials(cls, nodes: Array, weight: Array, normal: bool) -> Self:
        """Orthonormal polynomials of all coordinates (Q, d), half as many as nodes at most, by least squares."""
        powers = _powers(nodes.shape[1], len(nodes) // 2)

        def functions(x: Array) -> Array:
            return np.stack([np.prod(_orthonormal(p, x, normal), axis=1) for p in powers], axis=1)

        root = np.sqrt(weight)
        at_nodes = np.linalg.pinv(root[:, None] * functions(nodes)) * root
        return cls(functions, np.eye(len(powers))[0], np.asarray(at_nodes, dtype=np.float64))


@dataclass(frozen=True, eq=False)
class NodeShares:
    """The shares of the nodes `ends` of a law in networks: see the module."""

    law: ParameterLaw
    of_w: Axis
    of_noise: Axis
    of_c: Axis

    @classmethod
    def of(cls, law: ParameterLaw, ends: UnitNodes, c_nodes: int, b_nodes: int) -> Self:
        """For nodes that `UnitNodes.product` made of these numbers. W must have a covariance of full rank."""
        c, c_weight = c_rule(law, c_nodes)
        noise, b_weight = roots_hermitenorm(b_nodes) if law.noise else (np.zeros(1), np.ones(1))
        each = len(c) * len(noise)
        nodes, normal = law.standardised(ends.w[::each]), law.w_kind == "gaussian"
        weight = ends.weight.reshape(-1, each).sum(1)
        of_w = Axis.splines(nodes, normal) if law.dimension == 1 else Axis.polynomials(nodes, weight, normal)
        return cls(law, of_w, Axis.lagrange(noise, b_weight / b_weight.sum()), Axis.lagrange(c, c_weight))

    def __call__(self, w: Array, b: Array, c: Array) -> Array:
        """Shares less expected ones (R, Q) of networks w (R, N, d), b (R, N), c (R, N), UNITS_AT_ONCE units or so."""
        means = self._means(w, b, c)
        expected = np.einsum("j,k->jk", self.of_w.expected, self._outer(self.of_noise.expected, self.of_c.expected))
        found = np.einsum("jq,rjk->rqk", self.of_w.at_nodes, means - expected)
        return np.asarray(found.reshape(len(b), -1))

    def _means(self, w: Array, b: Array, c: Array) -> Array:
        """Means over units of the functions of W times those of B and C (R, J, K)."""
        replicas, width = b.shape
        z = self.law.standardised(w.reshape(-1, w.shape[-1]))
        of_w = csr_array(self.of_w.functions(z))
        noise = (b - self.law.b_given(w)).reshape(-1) / (self.law.noise or 1.0)
        others = self._outer(np.asarray(self.of_noise.functions(noise)), np.asarray(self.of_c.functions(c.reshape(-1))))
        rows = np.repeat(np.arange(replicas), np.diff(of_w.indptr).reshape(replicas, width).sum(1))
        count = len(self.of_w.expected)
        apart = csr_array((of_w.data, of_w.indices + count * rows, of_w.indptr), (len(others), count * replicas))
        means: Array = np.asarray(apart.T @ others) / width
        return means.reshape(replicas, count, -1)

    @staticmethod
    def _outer(noise: Array, c: Array) -> Array:
        """Products in the order of `UnitNodes.product`: C runs fastest."""
        return np.asarray((noise[..., :, None] * c[..., None, :]).reshape(*noise.shape[:-1], -1))


def _fine(normal: bool) -> tuple[Array, Array]:
    """Many points of the standardised law of one coordinate, and their weights."""
    if normal:
        points = np.linspace(-REACH, REACH, FINE)
        weight = np.exp(-(points**2) / 2)
    else:
        points = np.sqrt(3.0) * ((np.arange(FINE) + 0.5) * 2 / FINE - 1)
        weight = np.ones(FINE)
    return points, weight / weight.sum()


def _powers(dimension: int, most: int) -> list[tuple[int, ...]]:
    """Degrees in each coordinate of the products of lowest total degree: whole degrees, `most` at most."""
    powers: list[tuple[int, ...]] = []
    for total in range(most + 1):
        of_degree = [
            np.bincount(np.array(axes, dtype=np.intp), minlength=dimension)
            for axes in combinations_with_replacement(range(dimension), total)
        ]
        if total and len(powers) + len(of_degree) > most:
            break
        powers += [tuple(int(p) for p in degrees) for degrees in of_degree]
    return powers


def _orthonormal(degrees: tuple[int, ...], x: Array, normal: bool) -> Array:
    """Orthonormal polynomials of these degrees, each of its own coordinate (n, d)."""
    each = np.array(degrees)
    if normal:
        return np.asarray(eval_hermitenorm(each, x) / np.sqrt(factorial(each)))
    return np.asarray(eval_legendre(each, x / np.sqrt(3.0)) * np.sqrt(2 * each + 1))
