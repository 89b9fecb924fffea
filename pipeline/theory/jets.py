"""Numbers that carry their first derivatives along D directions and the sum of their second ones, in NumPy.

The arithmetic of `kernels/src/jets.h`, for what is not part of training. Source: docs/model.md, "Finite width".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from rnnlimits.kernels.activations import Activation

Array = NDArray[np.float64]
STEP = 2e-3  # of the differences that give derivatives of sigma': errors of 1e-6 of them


@dataclass(frozen=True, eq=False)
class Jet:
    """A value (...), its first derivatives (D, ...), and the sum (...) over directions of the second ones."""

    value: Array
    first: Array
    second: Array
    __array_ufunc__: ClassVar[None] = None  # array * jet is a jet

    @classmethod
    def of(cls, a: Array) -> Self:
        """From an array (..., D + 2)."""
        return cls(a[..., 0], np.ascontiguousarray(np.moveaxis(a[..., 1:-1], -1, 0)), a[..., -1])

    def __add__(self, other: Jet) -> Jet:
        return Jet(self.value + other.value, self.first + other.first, self.second + other.second)

    def __sub__(self, other: Jet) -> Jet:
        return self + -1.0 * other

    def __mul__(self, other: Jet) -> Jet:
        first = self.value * other.first + self.first * other.value
        crossed = (self.first * other.first).sum(0)
        return Jet(self.value * other.value, first, self.value * other.second + self.second * other.value + 2 * crossed)

    def __rmul__(self, factor: Array | float) -> Jet:
        return Jet(factor * self.value, factor * self.first, factor * self.second)

    def __matmul__(self, other: Jet) -> Jet:
        """Of two matrices."""
        first = self.value @ other.first + self.first @ other.value
        crossed = np.tensordot(self.first, other.first, ((0, 2), (0, 1)))
        return Jet(self.value @ other.value, first, self.value @ other.second + self.second @ other.value + 2 * crossed)

    def __getitem__(self, index: Any) -> Jet:
        """An index that begins with an ellipsis."""
        return Jet(self.value[index], self.first[index], self.second[index])

    @property
    def turned(self) -> Jet:
        """The last two axes exchanged."""
        return Jet(*(part.swapaxes(-1, -2) for part in (self.value, self.first, self.second)))

    def sum(self) -> Jet:
        """The sum over the last axis."""
        return Jet(self.value.sum(-1), self.first.sum(-1), self.second.sum(-1))


def hidden(activation: Activation, a: Jet) -> tuple[Jet, Jet]:
    """sigma(a) and sigma'(a)."""
    value, squares = activation.value(a.value), (a.first**2).sum(0)
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
