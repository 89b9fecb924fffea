"""The `chain` section of a study, and the `target` read off a chain. Source: docs/model.md section 1."""

from __future__ import annotations

from typing import Annotated, Literal, NamedTuple, Self

import numpy as np
from pydantic import Field, model_validator

from rnnlimits.base.fields import (
    Array,
    Count,
    Found,
    FullMatrix,
    Matrix,
    Name,
    Number,
    NumberOrMatrix,
    NumberOrVector,
    Section,
    Switch,
    Vector,
    VectorOrMatrix,
    as_matrix,
    as_vector,
    check_square,
    check_symmetric,
    check_vector,
    refusal,
)

ROW_SUM_TOLERANCE = 1e-5  # decimals such as 0.333333 are meant as thirds


class LinearGaussian(Section):
    """H' = A H + Q^(1/2) xi with H = (X, Z); X is the first `dimension` components."""

    kind: Literal["linear-gaussian"]
    a: NumberOrMatrix = Field(description="Matrix A of H' = A H + noise, or a number times the identity")
    q: NumberOrMatrix = Field(description="Covariance of the noise, or a number times the identity")
    dimension: Count = Field(default=1, description="How many components of H the network sees")

    @model_validator(mode="after")
    def _shapes(self) -> Self:
        size, why = self.dimension + self.hidden, "the dimension of H = (X, Z)"
        if self.hidden < 0:
            rows = self.dimension + self.hidden
            raise refusal("dimension", self.dimension, f"allowed: at most {rows}, the rows of a or q")
        check_square("a", self.a, size, why)
        check_square("q", self.q, size, why)
        check_symmetric("q", self.q)
        return self

    @property
    def hidden(self) -> int:
        """Number of components of Z: what the matrices have beyond X."""
        given = [len(value) for value in (self.a, self.q) if isinstance(value, tuple)]
        return (given[0] if given else self.dimension) - self.dimension

    def matrices(self) -> tuple[Array, Array]:
        """(A, Q), each float64 of shape (d + dz, d + dz)."""
        size = self.dimension + self.hidden
        return as_matrix(self.a, size), as_matrix(self.q, size)


class CoupledMatrices(NamedTuple):
    """X' = a X + b tanh(Z) + s xi, Z' = c Z + e sin(X) + r zeta: matrices (d, d), noise sizes s, r (d,)."""

    a: Array
    b: Array
    c: Array
    e: Array
    s: Array
    r: Array


class CoupledTanh(Section):
    """X' = a X + b tanh(Z) + s xi, Z' = c Z + e sin(X) + r zeta, with as many components in Z as in X."""

    kind: Literal["coupled-tanh"]
    a: NumberOrMatrix = Field(default=0.5, description="X to X: a number times the identity, or a d x d matrix")
    b: NumberOrMatrix = Field(default=0.4, description="tanh(Z) to X: a number times the identity, or d x d")
    s: NumberOrVector = Field(default=0.5, description="Noise size of X: a number or d of them")
    c: NumberOrMatrix = Field(default=0.6, description="Z to Z: a number times the identity, or a d x d matrix")
    e: NumberOrMatrix = Field(default=0.3, description="sin(X) to Z: a number times the identity, or d x d")
    r: NumberOrVector = Field(default=0.5, description="Noise size of Z: a number or d of them")
    dimension: Count = Field(default=1, description="Components of X, and of Z")

    @model_validator(mode="after")
    def _shapes(self) -> Self:
        why = "chain.dimension"
        for key in ("a", "b", "c", "e"):
            check_square(key, getattr(self, key), self.dimension, why)
        for key in ("s", "r"):
            check_vector(key, getattr(self, key), self.dimension, why)
        return self

    @property
    def hidden(self) -> int:
        """Number of components of Z."""
        return self.dimension

    def matrices(self) -> CoupledMatrices:
        """All coefficients at full size, float64."""
        size = self.dimension
        a, b, c, e = (as_matrix(value, size) for value in (self.a, self.b, self.c, self.e))
        return CoupledMatrices(a, b, c, e, as_vector(self.s, size), as_vector(self.r, size))


class FiniteState(Section):
    """A finite Markov chain; each state has its x (seen) and z (hidden). Every expectation is exact."""

    kind: Literal["finite-state"]
    transition: FullMatrix = Field(description="P x P transition probabilities; each row sums to 1")
    x: VectorOrMatrix = Field(description="What the network sees in each state: P numbers or P lists")
    z: VectorOrMatrix | None = Field(default=None, description="Hidden part of each state: P numbers or P lists")

    @model_validator(mode="after")
    def _shapes(self) -> Self:
        states = len(self.transition)
        check_square("transition", self.transition, states, "one row and one column for each state")
        for index, row in enumerate(self.transition):
            if min(row) < 0 or abs(sum(row) - 1) > ROW_SUM_TOLERANCE:
                raise refusal(f"transition[{index}]", row, "allowed: probabilities that sum to 1")
        check_embedding("x", self.x, states)
        if self.z is not None:
            check_embedding("z", self.z, states)
        return self

    @property
    def dimension(self) -> int:
        """Number of components of X."""
        return int(self.arrays()[1].shape[1])

    @property
    def hidden(self) -> int:
        """Number of components of Z; 0 without `z`."""
        return int(self.arrays()[2].shape[1])

    def arrays(self) -> tuple[Array, Array, Array]:
        """Transition (P, P), its rows scaled to sum to 1 to rounding, x (P, d) and z (P, dz), float64."""
        transition = np.array(self.transition, dtype=np.float64)
        states = len(transition)
        x = np.array(self.x, dtype=np.float64).reshape(states, -1)
        z = np.array([] if self.z is None else self.z, dtype=np.float64).reshape(states, -1 if self.z else 0)
        return transition / transition.sum(axis=1, keepdims=True), x, z


class Recorded(Section):
    """A recorded series, run through in a circle; Y_k is the target column `lead` rows later."""

    kind: Literal["recorded"]
    file: Name = Field(description="CSV with a header row, or HDF5; a path relative to the study file")
    columns: tuple[Name, ...] = Field(min_length=1, description="Columns that the network sees")
    standardize: Switch = Field(default=True, description="Take off each column's mean, divide by its s.d.")
    lead: Count = Field(default=1, description="How many rows ahead the target is")
    target_column: Name | None = Field(default=None, description="Column to predict; default: the first of columns")

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        for index, column in enumerate(self.columns):
            if column in self.columns[:index]:
                raise refusal(f"columns[{index}]", column, "allowed: each column once")
        return self

    @property
    def dimension(self) -> int:
        """Number of components of X."""
        return len(self.columns)

    @property
    def hidden(self) -> int:
        """A recorded series has no hidden part."""
        return 0

    @property
    def target(self) -> str:
        """Name of the column to predict."""
        return self.columns[0] if self.target_column is None else self.target_column


Chain = Annotated[LinearGaussian | CoupledTanh | FiniteState | Recorded, Field(discriminator="kind")]


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
        """Refuse a list whose length is not the chain's."""
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


def check_embedding(key: str, value: Vector | Matrix, states: int) -> None:
    """Refuse an embedding that does not give every state one vector of one length."""
    if len(value) != states:
        raise refusal(key, Found(f"has {len(value)} entries"), f"allowed: {states}, one for each state")
    lengths = {len(row) for row in value if isinstance(row, tuple)}
    if len(lengths) > 1:
        raise refusal(key, Found(f"has entries of lengths {sorted(lengths)}"), "allowed: one length for all")
