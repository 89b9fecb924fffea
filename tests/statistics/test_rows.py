"""Rows say plainly where a number is not finite."""

from __future__ import annotations

import numpy as np
import pytest

from rnnlimits.quantities.contraction import measured_rate
from rnnlimits.statistics import powerlaw
from rnnlimits.statistics.bootstrap import Array, Bootstrap
from rnnlimits.statistics.ratefile import Rate
from rnnlimits.statistics.rows import Ratio, judged_ratio, log_point, ratio_row, scaled
from rnnlimits.statistics.samples import average

BLANK = Rate("demo", "quantity", "plain", "N", "all")
BOOTSTRAP = Bootstrap(lambda units, count: np.random.default_rng(1).random((len(units), count)), 200)


def logs(value: float) -> Array:
    values = np.linspace(-1.0, 1.0, 32)
    values[3] = value
    return values


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e6])
def test_a_mean_of_logarithms(value: float) -> None:
    """exp(1e6 / 32) is out of range."""
    assert log_point(2.0, logs(value), BOOTSTRAP).reason == powerlaw.NOT_FINITE
    assert not log_point(2.0, logs(1.5), BOOTSTRAP).dropped


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_ratio(value: float) -> None:
    point = scaled(powerlaw.measure(4.0, average(np.exp(logs(value))[:, None]), BOOTSTRAP), 2.0)
    assert powerlaw.NOT_FINITE in judged_ratio(BLANK, [point], 4.0, 0.1, "exact").note
    for ratio in (Ratio(value, 0.1, 9.0), Ratio(1.0, value, 9.0)):
        row = ratio_row(BLANK, ratio, 32)
        assert row.refused
        assert row.reason == powerlaw.NOT_FINITE
        assert np.isnan(row.exponent)


def test_an_expected_rate() -> None:
    assert np.isnan(measured_rate(logs(-np.inf), BOOTSTRAP).value)
