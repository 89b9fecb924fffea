"""Numbers that carry their first and second derivative along a direction, in NumPy, and moments of products of means.

A mean over the N units of a network is, to second order in the deviation of its units from their law, a Gaussian number
whose mean and covariance follow from derivatives along all directions. Source: docs/model.md, "Finite width".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from rnnlimits.kernels.activations import Activation

Array = NDArray[np.float64]
STEP = 2e-3  # of the differences that give derivatives of sigma': errors of 1e-6 of them
ORDERS = 3  # coefficients of 1, 1/N and 1/N^2 that are kept


@dataclass(frozen=True, eq=False)
class Jet:
    """A value with its first and second derivative, arrays that broadcast."""

    value: Array
    first: Array
    second: Array
    __array_ufunc__: ClassVar[None] = None  # array * jet is a jet

    @classmethod
    def of(cls, a: Array) -> Self:
        """From an array (..., 3)."""
        return cls(*(np.ascontiguousarray(part) for part in np.moveaxis(a, -1, 0)))

    def __add__(self, other: Jet) -> Jet:
        return Jet(self.value + other.value, self.first + other.first, self.second + other.second)

    def __sub__(self, other: Jet) -> Jet:
        return self + -1.0 * other

    def __mul__(self, other: Jet) -> Jet:
        first = self.value * other.first + self.first * other.value
        second = self.value * other.second + 2 * self.first * other.first + self.second * other.value
        return Jet(self.value * other.value, first, second)

    def __rmul__(self, factor: Array | float) -> Jet:
        return Jet(factor * self.value, factor * self.first, factor * self.second)

    def __matmul__(self, other: Jet) -> Jet:
        first = self.value @ other.first + self.first @ other.value
        second = self.value @ other.second + 2 * (self.first @ other.first) + self.second @ other.value
        return Jet(self.value @ other.value, first, second)

    def __getitem__(self, index: Any) -> Jet:
        return Jet(self.value[index], self.first[index], self.second[index])

    @classmethod
    def joined(cls, jets: Sequence[Jet]) -> Self:
        """Along the first axis."""
        parts = zip(*((jet.value, jet.first, jet.second) for jet in jets), strict=True)
        return cls(*(np.concatenate(part) for part in parts))

    @property
    def turned(self) -> Jet:
        """The last two axes exchanged."""
        return Jet(*(part.swapaxes(-1, -2) for part in (self.value, self.first, self.second)))

    def sum(self) -> Jet:
        """The sum over the last axis."""
        return Jet(self.value.sum(-1), self.first.sum(-1), self.second.sum(-1))


def hidden(activation: Activation, a: Jet) -> tuple[Jet, Jet]:
    """sigma(a) and sigma'(a)."""
    value, squares = activation.value(a.value), a.first**2
    slope, curvature, third = _slopes(activation, a.value, value)
    return (
        Jet(value, slope * a.first, slope * a.second + curvature * squares),
        Jet(slope, curvature * a.first, curvature * a.second + third * squares),
    )


def _slopes(activation: Activation, a: Array, value: Array) -> tuple[Array, Array, Array]:
    """The first three derivatives of sigma at a, of this value, by differences of sigma'."""
    function, at = (activation.slope, a) if activation.slope_of_value is None else (activation.slope_of_value, value)
    slope, above, below = (function(at + h) for h in (0.0, STEP, -STEP))
    first, second = (above - below) / (2 * STEP), (above - 2 * slope + below) / STEP**2
    if activation.slope_of_value is None:
        return slope, first, second
    return slope, first * slope, second * slope**2 + first**2 * slope


# --- moments of means over the units of a network ----------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Mean:
    """A mean over units as a Gaussian number: value + second / N, and deviations whose covariance is over N.

    value, second (...); first (direction, ...), of mean zero over the law.
    """

    value: Array
    first: Array
    second: Array

    @classmethod
    def of(cls, jet: Jet, weight: Array) -> Self:
        """From derivatives along all directions (direction, ...), of weights (direction,)."""
        second = 0.5 * np.tensordot(weight, jet.second, 1)
        return cls(jet.value[0], jet.first - np.tensordot(weight, jet.first, 1), second)

    def scaled(self, factor: Array) -> Mean:
        """Times a number (...)."""
        return Mean(factor * self.value, factor * self.first, factor * self.second)


def mean_square(one: Mean, weight: Array) -> Array:
    """Coefficients (ORDERS, ...) in 1/N of E x^2; that of 1/N^2 leaves out the variance of the second order."""
    variance = np.tensordot(weight, one.first**2, 1)
    return np.stack([one.value**2, 2 * one.value * one.second + variance, one.second**2])


def mean_square_of_products(products: Sequence[tuple[Mean, Mean]], weight: Array) -> Array:
    """Coefficients (ORDERS, ...) in 1/N of E (sum_i x_i y_i)^2 for Gaussian means."""

    def covariance(a: Mean, b: Mean) -> Array:
        return np.asarray(np.tensordot(weight, a.first * b.first, 1))

    def four(*of: Mean) -> Array:
        means = [np.stack([one.value, one.second]) for one in of]
        total = _product(*means)
        for i, j in ((0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)):
            k, m = (index for index in range(4) if index not in (i, j))
            pair, rest = covariance(of[i], of[j])[None], _product(means[k], means[m])
            total = total + _shifted(pair * rest, 1)
            if i == 0:
                total = total + _shifted(pair * covariance(of[k], of[m])[None], 2)
        return total

    return np.asarray(sum(four(*one, *other) for one in products for other in products))


def _product(*factors: Array) -> Array:
    """The product of polynomials, coefficients along the first axis, to ORDERS coefficients."""
    total = np.zeros((ORDERS, *factors[0].shape[1:]))
    total[0] = 1.0
    for factor in factors:
        total = np.asarray(sum(_shifted(coefficient * total, power) for power, coefficient in enumerate(factor)))
    return total


def _shifted(coefficients: Array, power: int) -> Array:
    """Times the variable to a power."""
    found = np.zeros((ORDERS, *coefficients.shape[1:]))
    kept = coefficients[: ORDERS - power]
    found[power : power + len(kept)] = kept
    return found
