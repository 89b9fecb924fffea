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
from rnnlimits.kernels.activations import ACTIVATIONS
from rnnlimits.kernels.problem import Array, Training

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
    lines = [line.split(",") for line in (Path(__file__).parent / "data" / "erf.csv").read_text().splitlines()[1:]]
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


def single_precision(activation: str, x: Array) -> Array:
    """sigma(x) as the float32 trainer computes it: one unit with W = C = 1, so that the output is sigma(x)."""
    trainer = host.trainer(Training(1, 1, 0.75, 1, activation, precision="float32"), 1)
    trainer.fill(0, np.ones((1, 1)), np.zeros(1), np.ones(1))
    output, _ = trainer.probe(x[:, None, None])
    return np.asarray(output[0])


@pytest.mark.parametrize(("activation", "stated"), [("tanh", 1.5e-7), ("erf", 1.5e-7), ("logistic", 1.5e-7)])
def test_single_precision(activation: str, stated: float) -> None:
    inside = np.concatenate([np.linspace(-12, 12, 20001), 10.0 ** np.linspace(-35, 0, 2000)])
    x = np.concatenate([inside, [50.0, -50.0, 1e4, 1e20, -1e20, 3e38, -3e38]]).astype(np.float32).astype(np.float64)
    error = np.abs(single_precision(activation, x) - ACTIVATIONS[activation].value(x))
    assert error.max() < stated, f"at {x[error.argmax()]!r}"


@pytest.mark.parametrize("activation", list(ACTIVATIONS))
def test_single_precision_is_honest_about_what_is_not_a_number(activation: str) -> None:
    assert np.isnan(single_precision(activation, np.array([np.nan, 1.0]))).tolist() == [True, False]


@pytest.mark.parametrize("activation", list(ACTIVATIONS))
def test_definitions_in_numpy_have_the_slopes_and_bounds_they_say(activation: str) -> None:
    """Central differences of the value against the slope; the bound is attained at 0."""
    sigma, x, h = ACTIVATIONS[activation], np.linspace(-6, 6, 1201), 1e-4
    assert np.abs((sigma.value(x + h) - sigma.value(x - h)) / (2 * h) - sigma.slope(x)).max() < 1e-8
    assert sigma.slope(x).max() == pytest.approx(sigma.slope_bound, abs=1e-15)
    assert sigma.odd == (np.abs(sigma.value(x) + sigma.value(-x)).max() < 1e-15)
