"""The `target` of a study: the function of a chain that has to be learned. Source: docs/model.md, eq. (6)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from pydantic import Field

from rnnlimits.base.errors import StudyError
from rnnlimits.base.fields import Array, Number, NumberOrVector, Section, as_vector, check_vector


class TargetVectors(NamedTuple):
    """Y = sin_x . sin(X) + x . X + z . Z + constant; sin_x and x (d,), z (dz,)."""

    sin_x: Array
    x: Array
    z: Array
    constant: float


class Target(Section):
    """Y = sum_j sin_x_j sin(X_j) + sum_j x_j X_j + sum_j z_j Z_j + constant."""

    sin_x: NumberOrVector = Field(default=1.0, description="Coefficient of sin(X): a number for all components, or d")
    x: NumberOrVector = Field(default=0.0, description="Coefficient of X: a number for all components, or d")
    z: NumberOrVector = Field(default=0.5, description="Coefficient of Z: a number for all components, or dz")
    constant: Number = Field(default=0.0, description="Constant")

    def check(self, dimension: int, hidden: int) -> None:
        """Refuse a list whose length does not match the chain."""
        check_vector("target.sin_x", self.sin_x, dimension, "the components of X")
        check_vector("target.x", self.x, dimension, "the components of X")
        check_vector("target.z", self.z, hidden, "the components of Z")

    def vectors(self, dimension: int, hidden: int) -> TargetVectors:
        """The coefficients at full size, float64."""
        return TargetVectors(
            as_vector(self.sin_x, dimension),
            as_vector(self.x, dimension),
            as_vector(self.z, hidden),
            self.constant,
        )

    def coefficients(self, dimension: int, hidden: int) -> Array:
        """The coefficients in the order of the kernels, (1 + 2 d + dz,): constant, sin_x, x, z."""
        part = self.vectors(dimension, hidden)
        return np.concatenate([[part.constant], part.sin_x, part.x, part.z])

    def values(self, x: Array, z: Array) -> Array:
        """Y (...) at x (..., d), z (..., dz)."""
        part = self.vectors(x.shape[-1], z.shape[-1])
        return np.asarray(np.sin(x) @ part.sin_x + x @ part.x + z @ part.z + part.constant)


def required(target: Target | None) -> Target:
    """The target itself. Raises StudyError if it is missing."""
    if target is None:
        raise StudyError("target: is missing; a chain that is not recorded needs one")
    return target
