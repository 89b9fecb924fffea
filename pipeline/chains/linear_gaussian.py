"""The kind `linear-gaussian`, whose law is known exactly. Source: docs/model.md, eq. (2)."""

from __future__ import annotations

from pathlib import Path as File
from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from rnnlimits.base.arrays import square_root
from rnnlimits.base.fields import Count, NumberOrMatrix, as_matrix, check_square, check_symmetric, refusal
from rnnlimits.chains.base import UNSAVED, GaussianLaw, Verdict, below_one, register
from rnnlimits.chains.noise_driven import Form, NoiseDriven


@register
class LinearGaussian(NoiseDriven):
    """H' = A H + Q^(1/2) xi with H = (X, Z); X is the first `dimension` components."""

    equation: ClassVar[str] = (
        r"$H' = A H + Q^{1/2} \xi$, spectral radius of $A$ below 1; stationary law $N(0, S)$, $S = A S A^T + Q$"
    )
    tag: ClassVar[str] = "(2)"

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
        """Number of components of Z: the rows of the matrices beyond those of X."""
        sizes = [len(value) for value in (self.a, self.q) if isinstance(value, tuple)]
        return (sizes[0] if sizes else self.dimension) - self.dimension

    def gaussian(self) -> GaussianLaw:
        """(A, Q), each float64 of shape (d + dz, d + dz)."""
        size = self.dimension + self.hidden
        return GaussianLaw(as_matrix(self.a, size), as_matrix(self.q, size))

    def form(self, source: File = UNSAVED) -> Form:
        """See NoiseDriven.form. The symmetric root of Q is unique: a seed means the same path on every machine."""
        a, q = self.gaussian()
        return Form(a, square_root(q, f"{source}: chain.q"))

    def contraction(self, source: File = UNSAVED) -> Verdict:
        """H' = A H + noise is stationary exactly if the spectral radius of A is below 1."""
        self.form(source)  # a q that is not a covariance is refused, whatever a is
        radius = self.radius()
        words = f"the chain's spectral radius is {radius:.4g}"
        return below_one(radius, words, "the chain does not contract", "chain.a", "use a smaller a")
