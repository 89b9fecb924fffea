"""Gaussian expectations of smooth odd activations as a series in the correlation (docs/rntk.md, "tanh and logistic").

With Hermite coefficients a_n(q) = E phi(sqrt(q) Z) He_n(Z) / sqrt(n!), E phi(u) phi(v) = sum a_n(q) a_n(q') c^n: what
is costly belongs to one sequence, a pair only adds up. What a sum leaves out at c = 1 and q = q' is known, E phi^2 less
the squares; its root stands as one more coefficient for all that follow, so that equal and nearly equal sequences miss
nothing. V_phi and V_phi' are smooth at c = 1: there 1 - c needs no more digits than c has.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from rnnlimits.kernels.interface import Array, KernelError

REACH = 13.0  # of the nodes: exp(-z^2/4) is below 1e-18 there
MOST_TERMS = 512
LEFT_OUT = 1e-11  # of E phi'^2, relative, where terms suffice
REFUSED = 1e-4  # a bound at c = 1, which only equal sequences reach
CHUNK = 1 << 22  # values at a time
LEAST_VARIANCE = 1e-30


@dataclass(frozen=True)
class Smooth:
    """phi = constant + an odd function; constant is E phi."""

    odd: Callable[[Array], Array]
    slope: Callable[[Array], Array]
    constant: float
    pole: float  # distance of the nearest singularity from the real line


def _half_tanh(a: Array) -> Array:
    return 0.5 * np.tanh(0.5 * a)


SMOOTH = {
    "tanh": Smooth(np.tanh, lambda a: 1.0 - np.tanh(a) ** 2, 0.0, np.pi / 2),
    "logistic": Smooth(_half_tanh, lambda a: 0.25 * (1.0 - np.tanh(0.5 * a) ** 2), 0.5, np.pi),
}


class Moments:
    """Expectations of one activation for variances up to `largest`, by the trapezoidal rule."""

    def __init__(self, activation: str, largest: float, terms: int = 0) -> None:
        self.smooth = SMOOTH[activation]
        width = self.smooth.pole / np.sqrt(max(largest, 1e-6))
        spacing = min(0.12, 2 * np.pi * width / 46.0, 2 * np.pi / (np.sqrt(2.0 * terms) + REACH))
        half = int(np.ceil(REACH / spacing))
        self.nodes = spacing * np.arange(-half, half + 1)
        self.spacing = spacing
        self.weights = spacing * np.exp(-(self.nodes**2) / 2) / np.sqrt(2 * np.pi)

    def squares(self, q: Array) -> tuple[Array, Array]:
        """E phi^2 and E phi'^2 at variances q (n,)."""
        at = np.sqrt(q)[:, None] * self.nodes
        value = (self.smooth.odd(at) ** 2) @ self.weights + self.smooth.constant**2
        return value, (self.smooth.slope(at) ** 2) @ self.weights

    def coefficients(self, q: Array, terms: int) -> Array:
        """a_1, a_3, ..., a_(2 terms - 1) at variances q: (n, terms)."""
        functions = _hermite_functions(self.nodes, terms) * (self.spacing / (2 * np.pi) ** 0.25)
        functions *= np.exp(-(self.nodes**2) / 4)
        rows = max(1, CHUNK // len(self.nodes))
        parts = [self.smooth.odd(np.sqrt(part)[:, None] * self.nodes) @ functions.T for part in _split(q, rows)]
        return np.concatenate(parts)

    def with_rest(self, q: Array, terms: int) -> Array:
        """`coefficients`, and the roots of what they leave out of E phi^2 and of q E phi'^2: (n, terms + 2)."""
        numbers = self.coefficients(q, terms)
        value, slope = self.squares(q)
        degree = 2 * np.arange(terms) + 1
        left = [
            value - self.smooth.constant**2 - (numbers**2).sum(axis=1),
            q * slope - (degree * numbers**2).sum(axis=1),
        ]
        return np.concatenate([numbers, np.sqrt(np.maximum(left, 0.0)).T], axis=1)


def _split(q: Array, rows: int) -> list[Array]:
    return [q[first : first + rows] for first in range(0, len(q), rows)]


def _hermite_functions(z: Array, terms: int) -> Array:
    """psi_n(z) = He_n(z) exp(-z^2/4) / sqrt(n! sqrt(2 pi)) for odd n, (terms, len(z)), upwards."""
    before, now = np.zeros_like(z), np.exp(-(z**2) / 4) / (2 * np.pi) ** 0.25
    odd = np.empty((terms, len(z)))
    for n in range(1, 2 * terms):
        before, now = now, (z * now - np.sqrt(n - 1.0) * before) / np.sqrt(n)
        if n % 2:
            odd[n // 2] = now
    return odd


def terms_needed(activation: str, largest: float) -> int:
    """Terms after which what is left out of E phi'^2 at c = 1 and the largest variance is LEFT_OUT of it.

    Raises KernelError where MOST_TERMS leave out more than REFUSED.
    """
    q = np.array([max(largest, LEAST_VARIANCE)])
    moments = Moments(activation, largest, 2 * MOST_TERMS)
    degree = 2 * np.arange(MOST_TERMS) + 1
    parts = np.cumsum(degree * moments.coefficients(q, MOST_TERMS)[0] ** 2) / q[0]
    left = 1.0 - parts / moments.squares(q)[1][0]
    if left[-1] > REFUSED:
        raise KernelError(
            f"{activation}: a hidden unit's variance of {largest:.3g} is too large for its series ({left[-1]:.1g} of "
            "V' would be left out); scale the inputs or sigma_w, sigma_u, sigma_b down, or use erf"
        )
    enough = np.flatnonzero(left <= LEFT_OUT)
    return int(enough[0]) + 1 if enough.size else MOST_TERMS
