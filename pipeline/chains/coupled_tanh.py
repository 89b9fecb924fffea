"""The kind `coupled-tanh`: nonlinear and half hidden, the standard chain. Source: docs/model.md, eq. (3)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path as File
from typing import ClassVar, Literal, NamedTuple, Self

import numpy as np
from pydantic import Field, model_validator

from rnnlimits.base.fields import (
    Array,
    Count,
    NumberOrMatrix,
    NumberOrVector,
    as_matrix,
    as_vector,
    check_square,
    check_vector,
)
from rnnlimits.chains.base import SAMPLE_SEED, SAMPLE_STEPS, SAMPLES, UNSAVED, Verdict, bounded, register
from rnnlimits.chains.noise_driven import Form, NoiseDriven

LYAPUNOV_STEPS = 2000
STANDARD_ERRORS = 4.0  # an exponent is clearly negative if it is this many standard errors below -MARGIN
MARGIN = 1e-3


class CoupledMatrices(NamedTuple):
    """X' = a X + b tanh(Z) + s xi, Z' = c Z + e sin(X) + r zeta: matrices (d, d), noise sizes s, r (d,)."""

    a: Array
    b: Array
    c: Array
    e: Array
    s: Array
    r: Array


@register
class CoupledTanh(NoiseDriven):
    """X' = a X + b tanh(Z) + s xi, Z' = c Z + e sin(X) + r zeta, with as many components in Z as in X."""

    equation: ClassVar[str] = r"$X' = a X + b \tanh(Z) + s \xi$, $Z' = c Z + e \sin(X) + r \zeta$"
    tag: ClassVar[str] = "(3)"

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

    def form(self, source: File = UNSAVED) -> Form:
        """See NoiseDriven.form."""
        m, zero = self.matrices(), np.zeros((self.dimension, self.dimension))
        linear, coupling = np.block([[m.a, zero], [zero, m.c]]), np.block([[zero, m.b], [m.e, zero]])
        return Form(linear, np.diag(np.concatenate([m.s, m.r])), coupling)

    def contraction(self, source: File = UNSAVED) -> Verdict:
        """Whether paths with common noise contract.

        A bound below 1 on the growth is enough. If that bound fails, the top Lyapunov exponent of the chain
        decides, by simulation.
        """
        radius, remedy = self.radius(), "use smaller a, b, c or e"
        if radius < 1:
            return Verdict(True, f"the chain contracts: its Lipschitz matrix has spectral radius {radius:.4g}")
        mean, error = lyapunov_exponent(self.matrices())
        if not np.isfinite(mean):
            return Verdict(False, "the chain does not contract: its paths grow without bound", remedy=remedy)
        words = f"the chain's top Lyapunov exponent is {mean:.3g} +- {error:.2g}"
        if mean + STANDARD_ERRORS * error < -MARGIN:
            return Verdict(True, f"{words} per step: it contracts (by simulation; the Lipschitz bound is {radius:.4g})")
        return Verdict(False, f"the chain does not contract: {words}, allowed: clearly below 0", remedy=remedy)

    def sample_inputs(self, source: File = UNSAVED) -> Array:
        """See Chain.sample_inputs."""
        rng = np.random.default_rng(SAMPLE_SEED)
        with np.errstate(over="ignore", invalid="ignore"):
            *_, (x, _) = coupled_path(self.matrices(), SAMPLES, SAMPLE_STEPS, rng)
        return bounded(x)


def lyapunov_exponent(matrices: CoupledMatrices, chains: int = 64) -> tuple[float, float]:
    """Top Lyapunov exponent per step of a coupled-tanh chain and its standard error over independent chains.

    A chain that overflows counts as exponent +inf.
    """
    rng = np.random.default_rng(SAMPLE_SEED)
    size = len(matrices.s)
    tangent = rng.standard_normal((chains, 2 * size))
    growth = np.zeros(chains)
    with np.errstate(over="ignore", invalid="ignore"):
        for step, (x, z) in enumerate(coupled_path(matrices, chains, SAMPLE_STEPS + LYAPUNOV_STEPS, rng)):
            tangent = push_tangent(matrices, x, z, tangent)
            length = np.linalg.norm(tangent, axis=1)
            # A tangent can vanish exactly (a nilpotent chain); the smallest number stands for it.
            length = np.maximum(length, np.finfo(np.float64).tiny)
            tangent = tangent / length[:, None]
            growth += np.log(length) * (step >= SAMPLE_STEPS)
    if not np.isfinite(growth).all():
        return float("inf"), 0.0
    rates = growth / LYAPUNOV_STEPS
    return float(rates.mean()), float(rates.std(ddof=1) / np.sqrt(chains))


def push_tangent(matrices: CoupledMatrices, x: Array, z: Array, tangent: Array) -> Array:
    """One step of the chain's derivative along tangents (chains, 2 d) at states x, z (chains, d)."""
    size = x.shape[1]
    dx, dz = tangent[:, :size], tangent[:, size:]
    to_x = dx @ matrices.a.T + (dz / np.cosh(z) ** 2) @ matrices.b.T
    to_z = dz @ matrices.c.T + (dx * np.cos(x)) @ matrices.e.T
    return np.concatenate([to_x, to_z], axis=1)


def coupled_path(
    matrices: CoupledMatrices, chains: int, steps: int, rng: np.random.Generator
) -> Iterator[tuple[Array, Array]]:
    """States (x, z), each (chains, d), of independent coupled-tanh chains that start at 0."""
    x = z = np.zeros((chains, len(matrices.s)))
    for _ in range(steps):
        yield x, z
        xi, zeta = rng.standard_normal((2, *x.shape))
        x, z = (
            x @ matrices.a.T + np.tanh(z) @ matrices.b.T + matrices.s * xi,
            z @ matrices.c.T + np.sin(x) @ matrices.e.T + matrices.r * zeta,
        )
