"""Small linear algebra on matrices that a study gives: covariances, transition matrices, spectra. All float64."""

from __future__ import annotations

from types import ModuleType

import numpy as np
from numpy.typing import NDArray

from rnnlimits.base.errors import StudyError

Array = NDArray[np.float64]

ROUNDING = 1e-12  # a negative eigenvalue this small relative to the largest one is rounding


def eigenpairs(covariance: Array, key: str) -> tuple[Array, Array]:
    """Eigenvalues (d,), none below 0, and eigenvectors (d, d) in columns of a covariance, which may be singular.

    `key` says where the user wrote it. Raises StudyError for a matrix with a negative eigenvalue.
    """
    values, vectors = np.linalg.eigh(covariance)
    if values[0] < -ROUNDING * values[-1]:
        raise StudyError(f"{key} has the eigenvalue {values[0]:.3g}; allowed: none below 0")
    return np.maximum(values, 0.0), np.asarray(vectors)


def square_root(covariance: Array, key: str) -> Array:
    """Symmetric square root (d, d) of a covariance. Raises StudyError as `eigenpairs` does."""
    values, vectors = eigenpairs(covariance, key)
    return np.asarray((vectors * np.sqrt(values)) @ vectors.T)


def spectral_radius(matrix: Array) -> float:
    """Largest modulus of an eigenvalue of a square matrix."""
    return float(np.abs(np.linalg.eigvals(matrix)).max())


def second_modulus(transition: Array) -> float:
    """Second largest modulus of the eigenvalues of a transition matrix (P, P), counted often; 0 for one state."""
    moduli = np.sort(np.abs(np.linalg.eigvals(transition)))
    return float(moduli[-2]) if len(moduli) > 1 else 0.0


def stationary_states(transition: Array) -> Array:
    """The stationary law (P,) of a transition matrix (P, P), periodic or not.

    Raises StudyError when there is more than one.
    """
    size = len(transition)
    guess = np.full(size, 1 / size)
    matrix = np.eye(size) - transition.T + np.outer(guess, np.ones(size))
    if np.linalg.cond(matrix) > 1e12:
        raise StudyError(
            "chain.transition: has more than one stationary law; let every state be reached from every other"
        )
    law = np.clip(np.linalg.solve(matrix, guess), 0, None)
    return np.asarray(law / law.sum())


def deviation(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Standard deviation over the first axis, n - 1 in the denominator; NaN for a single value, which has none."""
    if len(values) < 2:
        return np.full(values.shape[1:], np.nan)
    return np.asarray(values.std(axis=0, ddof=1))


def special() -> ModuleType:
    """SciPy's special functions, imported when they are needed: that takes a quarter of a second."""
    from scipy import special

    return special  # type: ignore[no-any-return]
