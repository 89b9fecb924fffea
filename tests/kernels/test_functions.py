"""The elementary functions of kernels/src/functions.h keep the errors that the file states.

References: extended precision (64-bit mantissa) where NumPy has it, and for erf a table made with mpmath.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scipy import special

from rnnlimits.kernels import host
from rnnlimits.kernels.interface import Array

pytestmark = pytest.mark.needs_compiler

WIDE = np.longdouble
PI = WIDE("3.14159265358979323846264338327950288")
needs_wide = pytest.mark.skipif(np.finfo(WIDE).nmant < 63, reason="no extended precision on this machine")


def dense(limit: float) -> Array:
    """Both signs of a fine grid up to the limit, of random points, and of all sizes down to 1e-300."""
    rng = np.random.default_rng(1)
    positive = [np.linspace(0, limit, 200001), rng.uniform(0, limit, 50000), 10.0 ** rng.uniform(-300, 0, 10000)]
    points = np.concatenate(positive)
    return np.concatenate([points, -points])


def turns() -> Array:
    """The range of the uniforms, with its ends and the corners between quadrants."""
    corners = np.array([0.125, 0.25, 0.5, 0.75, 0.875])
    inside = np.random.default_rng(2).uniform(0, 1, 400000)
    return np.concatenate([inside, corners, corners - 2.0**-53, corners + 2.0**-52, [2.0**-53, 1 - 2.0**-53]])


def near_one() -> Array:
    """Arguments of log as the uniforms give them: all sizes down to 2^-53, and as near to 1."""
    rng = np.random.default_rng(3)
    small = 2.0 ** rng.uniform(-53, 0, 200000)
    return np.concatenate([small, 1 - small / 2, [2.0**-53, 1 - 2.0**-53, 0.5, np.sqrt(0.5)]])


# function, arguments, exact values, stated error relative to max(1, |value|)
STATED: list[tuple[str, Callable[[], Array], Callable[[Array], Array], float]] = [
    ("tanh", lambda: dense(25.0), np.tanh, 3e-16),
    ("exp", lambda: -np.abs(dense(720.0)), np.exp, 3e-16),
    ("log", near_one, np.log, 3e-16),
    ("sin", lambda: dense(10.0), np.sin, 3e-16),
    ("sin", lambda: dense(1e5), np.sin, 3e-16),
    ("sin_turns", turns, lambda u: np.sin(2 * PI * u), 3e-16),
    ("cos_turns", turns, lambda u: np.cos(2 * PI * u), 3e-16),
]


@needs_wide
@pytest.mark.parametrize(
    ("name", "points", "exact", "stated"), STATED, ids=[f"{row[0]}-{i}" for i, row in enumerate(STATED)]
)
def test_double_precision(
    name: str, points: Callable[[], Array], exact: Callable[[Array], Array], stated: float
) -> None:
    x = points()
    value = exact(x.astype(WIDE))
    error = np.abs(host.evaluate(name, x) - value) / np.maximum(1, np.abs(value))
    assert error.max() < stated, f"at {x[error.argmax()]!r}"


@needs_wide
@pytest.mark.parametrize(("column", "name"), [(1, "erf"), (2, "erf_slope")])
def test_erf_and_its_slope_against_a_table(column: int, name: str) -> None:
    table = Path(__file__).parent.parent / "data" / "erf.csv"
    lines = [line.split(",") for line in table.read_text().splitlines()[1:]]
    x = np.array([float.fromhex(line[0]) for line in lines])
    value = np.array([WIDE(line[column]) for line in lines])
    assert len(x) > 300
    assert np.abs(host.evaluate(name, x) - value).max() < 4e-16


def test_erf_and_its_slope_between_the_points_of_the_table() -> None:
    x = dense(8.0)
    assert np.abs(host.evaluate("erf", x) - special.erf(x)).max() < 4e-16 + 1.2e-16  # SciPy's own rounding
    slope = 2 / np.sqrt(np.pi) * np.exp(-(x**2))
    assert np.abs(host.evaluate("erf_slope", x) - slope).max() < 4e-16 + 2.3e-16


@pytest.mark.parametrize("name", ["tanh", "erf"])
def test_odd_bounded_monotone_and_honest_about_what_is_not_a_number(name: str) -> None:
    x = np.sort(np.concatenate([dense(30.0), [1e10, 1e200, 1.7e308, np.inf]]))
    value = host.evaluate(name, x)
    np.testing.assert_array_equal(host.evaluate(name, -x), -value)
    assert np.abs(value).max() == 1.0
    assert host.evaluate(name, np.array([0.0, np.inf, -np.inf])).tolist() == [0.0, 1.0, -1.0]
    assert np.diff(value).min() > -4e-16  # rising up to rounding
    assert np.isnan(host.evaluate(name, np.array([np.nan]))).all()


def test_the_slope_of_erf_ends_at_zero() -> None:
    far = host.evaluate("erf_slope", np.array([27.0, 1e3, 1e200, np.inf]))
    assert (far >= 0).all()
    assert far.max() < 1e-300
    assert np.isnan(host.evaluate("erf_slope", np.array([np.nan]))).all()
