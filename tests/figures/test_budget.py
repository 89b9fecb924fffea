"""The error budget: squares of measured and predicted points, and which rows are its parts."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

import matplotlib
import numpy as np
import pytest

matplotlib.use("Agg")

from matplotlib import pyplot as plt

from rnnlimits.figures.budget import budget_figure, budgets
from rnnlimits.figures.overview import overview
from rnnlimits.statistics.ratefile import Rate, RatePoint

WIDTHS = (64.0, 256.0, 1024.0)


@pytest.fixture(autouse=True)
def closed() -> Iterator[None]:
    """No figure stays open for other tests to see."""
    yield
    plt.close("all")


def rate(
    key: tuple[str, str], level: float, order: float, variable: str = "N", at: str = "beta=0.9", predicted: bool = True
) -> Rate:
    """Points 2% above what is predicted, level * N^-order."""
    cloud = []
    for width in WIDTHS:
        value = level * width**-order
        cloud.append(
            RatePoint(
                width, 1.02 * value, 0.01 * value, used=True, replicas=64, predicted=value * predicted or math.nan
            )
        )
    return Rate("s", *key, variable, at, cloud=tuple(cloud))


TOTAL = rate(("output_rms", "plain"), 0.5, 0.3)
PLAIN = rate(("output_fluctuation", "plain"), 0.45, 0.3)
ODD = rate(("output_fluctuation", "half-difference"), 0.4, 0.4)
BIAS = rate(("output_bias", "twin"), 0.02, 0.2)
NOISE = rate(("sgd_noise", "twin"), 0.3, 0.5, "K", "N=infinity", predicted=False)


def test_parts_are_squares_of_their_rows_and_the_better_estimator_counts() -> None:
    found = budgets([TOTAL, PLAIN, ODD, BIAS])
    assert list(found) == ["beta=0.9"]
    parts = found["beta=0.9"]
    assert list(parts) == ["all", "fluctuation", "bias"]
    for one, width in zip(parts["fluctuation"], WIDTHS, strict=True):
        assert one.value == pytest.approx((1.02 * 0.4) ** 2 * width**-0.8)
        assert one.predicted == pytest.approx(0.4**2 * width**-0.8)
        assert one.half == pytest.approx(2 * 1.96 * 0.01 / 1.02 * one.value)
        assert one.clear


def test_noise_is_that_of_as_many_steps_and_its_constant_predicts_it() -> None:
    """sqrt(K) times the noise over its constant is the ratio; the squared prediction is 0.09 / K."""
    cloud = (RatePoint(256.0, 1.02, 0.01, used=True, replicas=64),)
    ratio = Rate("s", "sgd_noise_constant", "twin", "K", "K=256 all probes", law="ratio", cloud=cloud)
    longer = replace(NOISE, cloud=(*NOISE.cloud, replace(NOISE.cloud[0], variable=16.0)))
    noise = budgets([TOTAL, ODD, longer, ratio])["beta=0.9"]["one-pass noise"]
    assert [one.width for one in noise] == list(WIDTHS)
    assert [one.predicted for one in noise] == pytest.approx([0.09 / width for width in WIDTHS])
    without = budgets([TOTAL, ODD, NOISE])["beta=0.9"]["one-pass noise"]
    assert np.isnan([one.predicted for one in without]).all()


def test_points_that_may_be_zero_are_upper_limits() -> None:
    noisy = replace(BIAS, cloud=tuple(replace(p, estimate=-p.estimate, stderr=p.estimate) for p in BIAS.cloud))
    bias = budgets([TOTAL, ODD, noisy])["beta=0.9"]["bias"]
    assert not any(one.clear for one in bias)
    assert [one.value for one in bias] == pytest.approx([(1.96 * p.stderr) ** 2 for p in noisy.cloud])


def test_panels_show_measured_points_and_predicted_lines() -> None:
    others = [replace(one, at="beta=0.6") for one in (TOTAL, ODD, BIAS)]
    figure = dict(overview([TOTAL, ODD, BIAS, *others]))["error_budget"]
    assert [ax.get_title() for ax in figure.axes] == [r"$\beta$ = 0.9", r"$\beta$ = 0.6"]
    for ax in figure.axes:
        assert (ax.get_xscale(), ax.get_yscale()) == ("log", "log")
        values = [np.asarray(bar[0].get_ydata())[0] for bar in ax.containers if len(bar[0].get_ydata())]
        assert values == pytest.approx([one.cloud[0].estimate ** 2 for one in (TOTAL, ODD, BIAS)])


def test_a_study_without_parts_has_no_budget() -> None:
    assert budgets([TOTAL, ODD]) == {}
    assert budgets([ODD, BIAS]) == {}
    infinite = tuple(replace(p, stderr=math.nan) for p in ODD.cloud)
    figure = budget_figure(budgets([TOTAL, replace(ODD, cloud=infinite), PLAIN, BIAS]))
    assert len(figure.axes) == 1
