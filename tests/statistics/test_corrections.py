"""Exponents at infinity from finite widths: their intervals cover, whichever law with corrections is true."""

from __future__ import annotations

import math

import numpy as np
import pytest

from rnnlimits.statistics import corrections, powerlaw
from rnnlimits.statistics.bootstrap import Array
from rnnlimits.statistics.corrections import Corrected, corrected
from rnnlimits.statistics.powerlaw import Point

WIDTH = 2.0 ** np.arange(6, 14)
TRUE = 0.3
UNITS, COUNT = 64, 200
SIZE = 0.5  # s.d. of the corrections at the smallest width: a quarter more than the fits take for typical
WEIGHTS = np.random.default_rng(1).poisson(1.0, size=(COUNT, UNITS)).astype(np.float64)
WEIGHTS /= WEIGHTS.sum(1, keepdims=True)


def points(law: Array, noise: float, rng: np.random.Generator) -> list[Point]:
    """Points whose logarithms are those of `law` with errors of s.d. `noise`, a third of the variance in common."""
    unit = math.sqrt(1 / 3) * rng.normal(size=(UNITS, 1)) + math.sqrt(2 / 3) * rng.normal(size=(UNITS, len(law)))
    logs = np.log(law) + noise * math.sqrt(UNITS) * unit
    mean = logs.mean(0)
    replicates = (WEIGHTS @ logs - mean) * math.sqrt(UNITS / (UNITS - 1)) + mean
    influence = (logs - mean) / UNITS
    columns = zip(WIDTH, mean, replicates.T, influence.T, strict=False)
    return [Point(n, math.exp(y), noise * math.exp(y), 99.0, y, r, i, UNITS, UNITS) for n, y, r, i in columns]


def drawn(terms: int, rng: np.random.Generator) -> tuple[Array, tuple[float, ...]]:
    """A law with one correction, or with two, the second of the order of the first one's square; its orders."""
    orders = [(0.5, 1.0), (0.2, 0.8)][rng.integers(2)]
    w, relative = orders[rng.integers(2)], WIDTH / WIDTH[0]
    size = min(max(rng.normal() * SIZE, -0.8), 1.5)
    law = 1 + size * relative**-w
    if terms == 2:
        law = np.maximum(law + 0.5 * SIZE * rng.normal() * relative ** (-2 * w), 0.1)
    return WIDTH**-TRUE * law, orders


@pytest.mark.parametrize("terms", [1, 2])
def test_intervals_cover(terms: int) -> None:
    """Of 400 laws 95% should be covered, with a standard error of 1.1%; a plain line covers far fewer."""
    rng, runs = np.random.default_rng(7), 400
    found: list[tuple[bool, bool]] = []
    for _ in range(runs):
        law, orders = drawn(terms, rng)
        same = points(law, [0.01, 0.03, 0.06][rng.integers(3)], rng)
        interval, line = corrected(same, orders), powerlaw.fit(same).slope
        assert interval is not None
        found.append((interval.low <= TRUE <= interval.high, line.low <= TRUE <= line.high))
    covered, by_line = np.mean(found, axis=0)
    assert 0.93 <= covered <= 0.97
    assert by_line < 0.5


def fitted(law: Array, noise: float, orders: tuple[float, ...] = corrections.USUAL) -> Corrected:
    found = corrected(points(law, noise, np.random.default_rng(3)), orders)
    assert found is not None
    return found


def test_a_correction_is_taken_off() -> None:
    """N^-0.3 (1 + N_0/N): the local exponent at the smallest widths is 0.3 + 1/2."""
    found = fitted(WIDTH**-TRUE * (1 + WIDTH[0] / WIDTH), 0.003, (1.0,))
    assert found.value == pytest.approx(TRUE, abs=0.02)
    assert found.high - found.low < 0.08


def test_slower_corrections_leave_more_open() -> None:
    law = WIDTH**-TRUE
    widths = [found.high - found.low for found in (fitted(law, 0.02, (w,)) for w in (1.0, 0.5, 0.2))]
    assert widths == sorted(widths)


def test_orders_that_are_no_corrections_are_left_out() -> None:
    law = WIDTH**-TRUE
    assert fitted(law, 0.02, (0.0, -0.6)) == fitted(law, 0.02)
    assert fitted(law, 0.02, (0.5, -0.6)) == fitted(law, 0.02, (0.5,))


def test_three_points_have_no_exponent_at_infinity() -> None:
    assert corrected(points(WIDTH[:3] ** -TRUE, 0.01, np.random.default_rng(3))) is None
    assert corrected(points(WIDTH[:4] ** -TRUE, 0.01, np.random.default_rng(3))) is not None


def test_points_without_noise_have_an_interval() -> None:
    found = fitted(WIDTH**-TRUE * (1 - 0.4 * WIDTH[0] / WIDTH + 0.2 * (WIDTH[0] / WIDTH) ** 2), 1e-9, (1.0,))
    assert found.low < TRUE < found.high
    assert found.high - found.low < 0.05
