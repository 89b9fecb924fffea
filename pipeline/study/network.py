"""The `network` section of a study: sigma, laws of W, B given W, and C. Source: docs/model.md section 2."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import AfterValidator, Field, WithJsonSchema

from rnnlimits.base import ownfiles
from rnnlimits.base.fields import (
    FINITE,
    Allowed,
    Array,
    Found,
    FullMatrix,
    FullVector,
    NonNegative,
    Number,
    NumberOrVector,
    Positive,
    PositiveOrVector,
    Section,
    as_vector,
    check_square,
    check_symmetric,
    check_vector,
    refusal,
)
from rnnlimits.kernels.activations import ACTIVATIONS
from rnnlimits.study.own_activation import SUFFIX

Probability = Annotated[float, FINITE, Field(gt=0, lt=1), Allowed("strictly between 0 and 1")]


class GaussianW(Section):
    """W ~ N(mean, diag(std^2)), or N(mean, covariance)."""

    kind: Literal["gaussian"]
    mean: NumberOrVector = Field(default=0.0, description="Mean of W: a number for each component, or d of them")
    std: PositiveOrVector = Field(default=1.0, description="S.d. of each component: a number or d of them")
    covariance: FullMatrix | None = Field(default=None, description="d x d covariance, instead of std")

    def check(self, dimension: int) -> None:
        """Refuse shapes that do not match the chain's dimension, and a std given together with a covariance."""
        check_moments(self, dimension)
        if self.covariance is None:
            return
        if self.std != 1.0:
            raise refusal("network.w.std", self.std, "give either std or covariance")
        check_square("network.w.covariance", self.covariance, dimension, "the components of X")
        check_symmetric("network.w.covariance", self.covariance)

    def mean_vector(self, dimension: int) -> Array:
        """E W, float64 (d,)."""
        return as_vector(self.mean, dimension)

    def covariance_matrix(self, dimension: int) -> Array:
        """Cov W, float64 (d, d)."""
        if self.covariance is not None:
            return np.array(self.covariance, dtype=np.float64)
        return np.diag(as_vector(self.std, dimension) ** 2)


class UniformW(Section):
    """Independent uniform components, each of half-width std sqrt(3) about its mean."""

    kind: Literal["uniform"]
    mean: NumberOrVector = Field(default=0.0, description="Mean of W: a number for each component, or d of them")
    std: PositiveOrVector = Field(default=1.0, description="S.d. of each component: a number or d of them")

    def check(self, dimension: int) -> None:
        """Refuse shapes that do not match the chain's dimension."""
        check_moments(self, dimension)

    def mean_vector(self, dimension: int) -> Array:
        """E W, float64 (d,)."""
        return as_vector(self.mean, dimension)

    def covariance_matrix(self, dimension: int) -> Array:
        """Cov W, float64 (d, d)."""
        return np.diag(as_vector(self.std, dimension) ** 2)


class LawB(Section):
    """B = offset + slope direction.(W - E W) + noise N(0, 1)."""

    offset: Number = Field(default=0.2, description="Mean of B")
    slope: Number = Field(default=0.6, description="How B follows W; without it an odd activation has no memory")
    direction: FullVector | None = Field(
        default=None, description="Direction in R^d, scaled to length 1; default: axis 1"
    )
    noise: NonNegative = Field(default=0.0, description="S.d. of the part of B that is independent of W")

    def check(self, dimension: int) -> None:
        """Refuse a direction of another length than the chain's dimension, or of length 0."""
        if self.direction is None:
            return
        if len(self.direction) != dimension:
            problem = Found(f"has {len(self.direction)} entries")
            raise refusal("network.b.direction", problem, f"allowed: {dimension} (the components of X)")
        if not any(self.direction):
            raise refusal("network.b.direction", self.direction, "allowed: a vector other than 0")

    def unit(self, dimension: int) -> Array:
        """The direction as a unit vector, float64 (d,)."""
        first_axis = (1.0, *[0.0] * (dimension - 1))
        vector = np.array(self.direction or first_axis, dtype=np.float64)
        unit: Array = vector / np.linalg.norm(vector)
        return unit


class SymmetricC(Section):
    """C with mean 0 and a symmetric law."""

    kind: Literal["uniform", "gaussian"]
    std: Positive = Field(default=1.0, description="S.d. of C")


class TwoPointC(Section):
    """C = std sqrt((1-p)/p) with probability p, else -std sqrt(p/(1-p)); skewed unless p = 1/2."""

    kind: Literal["two-point"]
    std: Positive = Field(default=1.0, description="S.d. of C")
    probability: Probability = Field(default=0.5, description="Of the positive value; 0.1 gives 3 and -1/3")

    def values(self) -> tuple[float, float]:
        """(positive, negative) value of C."""
        odds = (1 - self.probability) / self.probability
        return self.std * odds**0.5, -self.std * odds**-0.5


LawW = Annotated[GaussianW | UniformW, Field(discriminator="kind")]
LawC = Annotated[SymmetricC | TwoPointC, Field(discriminator="kind")]


def _known_activation(value: str) -> str:
    *others, last = names = [name for name, one in ACTIVATIONS.items() if one.source]  # not those from files
    if value in names or value.endswith(SUFFIX):
        return value
    allowed = f"allowed: {', '.join(others)} or {last}, or a Python file (my.py)"
    raise refusal("", value, allowed)


def _activation_schema() -> dict[str, Any]:
    return {"anyOf": [{"enum": list(ACTIVATIONS)}, {"type": "string", "pattern": r"\.py$"}]}


ActivationName = Annotated[
    str,
    Field(strict=True),
    Allowed("the name of an activation, or a Python file (my.py)"),
    AfterValidator(_known_activation),
    WithJsonSchema(_activation_schema()),
]


class Network(Section):
    """Activation and initial laws; B given W is drawn after W."""

    activation: ActivationName = Field(default="tanh", description="sigma: a name, or a Python file (my.py)")
    w: LawW = Field(default=GaussianW(kind="gaussian"), description="Law of the input weights W in R^d")
    b: LawB = Field(default=LawB(), description="Law of the memory weight B given W")
    c: LawC = Field(default=SymmetricC(kind="uniform"), description="Law of the output weight C")

    @property
    def activation_file(self) -> str | None:
        """The name of the file that defines the activation, None for one that is known by name."""
        return self.activation if self.activation.endswith(SUFFIX) else None

    def moved(self, old: Path, new: Path) -> Network:
        """The same network for a study file in folder `new` instead of `old`."""
        file = self.activation_file
        return self if file is None else self.model_copy(update={"activation": ownfiles.moved(file, old, new)})

    def check(self, dimension: int) -> None:
        """Refuse laws whose shapes do not match the chain's dimension."""
        self.w.check(dimension)
        self.b.check(dimension)


def check_moments(law: GaussianW | UniformW, dimension: int) -> None:
    """Refuse a mean or std whose length is not the chain's dimension."""
    check_vector("network.w.mean", law.mean, dimension, "the components of X")
    check_vector("network.w.std", law.std, dimension, "the components of X")
