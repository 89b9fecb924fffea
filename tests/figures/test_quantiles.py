"""Quantiles of outputs against the normal law: known laws inside and outside the band of chance."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import example_results as made_up
import numpy as np
import pytest
from matplotlib import pyplot as plt

from rnnlimits.figures import quantiles
from rnnlimits.figures.curves import read_limit
from rnnlimits.training import plan

MIXED = np.array([[1.0, 0.8, 0.0], [0.0, 0.6, 1.0]])  # probes share two normals


@pytest.fixture(autouse=True)
def closed() -> Iterator[None]:
    """No figure stays open for other tests to see."""
    yield
    plt.close("all")


def test_standardised_outputs_have_mean_0_and_deviation_1_at_each_probe() -> None:
    output = np.random.default_rng(1).normal(size=(50, 4)) * [1.0, 1e-6, 3.0, 0.0] + [0.0, 5.0, -2.0, 1.0]
    output[3, 1] = np.nan
    values = quantiles.standardised(output)
    assert values.shape == (49, 3)  # without the replica that is not finite, and the constant probe
    assert values.mean(0) == pytest.approx(0, abs=1e-6)
    assert values.std(0, ddof=1) == pytest.approx(1)


def test_the_band_holds_most_normal_samples_and_few_others() -> None:
    """Of 40 normal samples 5% leave the band at each place: more than 6 of 40 at the median has chance 0.3%."""
    rng = np.random.default_rng(2)
    places, probabilities = quantiles.normal_quantiles(200)
    low, high = quantiles.chance(quantiles.standardised(rng.normal(size=(200, 2)) @ MIXED), probabilities)
    assert (low < places).mean() > 0.9
    assert (high > places).mean() > 0.9
    outside = 0
    for _ in range(40):
        found = np.quantile(quantiles.standardised(rng.normal(size=(200, 2)) @ MIXED), probabilities)
        outside += not low[20] <= found[20] <= high[20]
    assert outside <= 6
    bounded = quantiles.standardised(rng.uniform(size=(200, 3)))
    assert np.quantile(bounded, probabilities)[-1] < low[-1]


def test_probes_that_move_together_widen_the_band() -> None:
    rng = np.random.default_rng(3)
    _, probabilities = quantiles.normal_quantiles(100)
    together = quantiles.standardised(rng.normal(size=(100, 1)) @ np.ones((1, 8)))
    apart = quantiles.standardised(rng.normal(size=(100, 8)))
    wide, narrow = (high[-4] - low[-4] for low, high in (quantiles.chance(v, probabilities) for v in (together, apart)))
    assert wide > 1.5 * narrow


def test_a_study_has_a_panel_for_each_axis_with_its_smallest_and_largest_width(tmp_path: Path) -> None:
    study = made_up.make_study(beta="[0.6, 0.75]", replicas="64", width="[64, 128, 256]")
    layout = made_up.write_results(study, tmp_path)
    cells = plan.cells(study)
    figure = quantiles.quantile_figure(study, layout, cells, read_limit(study, layout))
    assert figure is not None
    assert [ax.get_title() for ax in figure.axes] == ["β = 0.6", "β = 0.75"]
    _, names = figure.axes[0].get_legend_handles_labels()
    assert names == ["N = 64", "N = 256"]


def test_too_few_networks_have_no_figure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = made_up.make_study(beta="[0.75]", replicas="32", width="[64, 128]")  # 16 pairs
    monkeypatch.setattr(quantiles, "FEWEST", 17)
    layout = made_up.write_results(study, tmp_path)
    assert quantiles.quantile_figure(study, layout, plan.cells(study), read_limit(study, layout)) is None
