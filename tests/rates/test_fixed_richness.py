"""Rates, figures and report of made-up networks of one richness: which quantities have a rate in N, and which not."""

from __future__ import annotations

from pathlib import Path

import example_results as made_up
import pytest
from matplotlib import pyplot as plt

from rnnlimits import kernels
from rnnlimits.base.errors import StudyError
from rnnlimits.figures import rates as figures
from rnnlimits.figures.curves import read_limit
from rnnlimits.figures.labels import series
from rnnlimits.figures.overview import overview
from rnnlimits.quantities.base import Applies, K, N, NoLaw, registered
from rnnlimits.quantities.trained import CONSTANT, Design, TrainedQuantity
from rnnlimits.rates import stage
from rnnlimits.rates.design import quantity_of
from rnnlimits.rates.sources import of_trainings
from rnnlimits.report.curve_plots import curve_plots
from rnnlimits.report.plots import Link
from rnnlimits.statistics.ratefile import Rate
from rnnlimits.study import Study
from rnnlimits.training import plan
from rnnlimits.training.layout import Layout

AROUND_THE_RICH_TWIN = {  # and their orders in N
    **{("output_fluctuation", estimator): 0.5 for estimator in ("plain", "half-difference")},
    ("output_even_in_n", "twin"): 0.5,
    ("output_beyond_rich", "rich twin"): 1.0,
    ("memory_fluctuation", "plain"): 0.5,
    ("loss_fluctuation", "twin"): 0.5,
    ("ntk_initial_error", "plain"): 0.5,
    ("ntk_eigenvalue", "plain"): 0.5,
    ("ntk_b_part", "initial"): 1.0,
    ("ntk_past_part", "initial"): 1.0,
}
EVERYTHING = {"twins": True, "rich": True, "kernel": True, "initial": True, "shallow": True}
Measured = tuple[Study, Layout, list[Rate]]


@pytest.mark.parametrize("symmetric", [True, False])
def test_what_is_held_against_the_kernel_limit_has_no_rate(symmetric: bool) -> None:
    design = Design(symmetric=symmetric, antithetic=True, fixed_richness=True, **EVERYTHING)
    orders, constants = {}, set()
    for entry in registered(TrainedQuantity):
        found = entry.availability(design)
        if entry.variable is N and isinstance(found, Applies):
            orders[entry.key] = entry.expected(1.0, design)
        if isinstance(found, NoLaw):
            assert (entry.variable, found.why) == (N, CONSTANT)
            constants.add(entry.key)
    assert orders == AROUND_THE_RICH_TWIN
    assert {name for name, _ in constants} >= {"output_rms", "output_bias", "hidden_h1", "drift", "ntk_drift"}


def test_a_fixed_beta_has_the_rates_that_it_had() -> None:
    design = Design(symmetric=True, antithetic=True, **EVERYTHING)
    assert all(entry.availability(design) == entry.applies(design) for entry in registered(TrainedQuantity))


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Measured:
    ladders = "[{width: [1024], steps_per_time: [16, 32, 64, 128, 256]}]"
    study = made_up.make_study(beta="null", richness="[0.25]", ladders=ladders)
    layout = made_up.write_results(study, tmp_path_factory.mktemp("richness"))
    return study, layout, stage.run(study, layout, kernels.backend("numpy"))


def test_rows_of_one_richness(measured: Measured) -> None:
    """Four standard errors: a chance of 1e-4."""
    *_, rates = measured
    rows = {(rate.quantity, rate.estimator, rate.at): rate for rate in rates}
    fluctuation = rows["output_fluctuation", "half-difference", "eps=0.25"]
    assert fluctuation.expected == 0.5
    assert abs(fluctuation.exponent - 0.5) < 4 * fluctuation.stderr
    noise = rows["sgd_noise", "pair-mean", "eps=0.25 N=1024"]
    assert noise.variable == K.name
    assert abs(noise.exponent - 0.5) < 4 * noise.stderr
    bias = rows["output_bias", "pair-mean", "eps=0.25"]
    assert bias.note == f"refused: {CONSTANT}"
    assert (bias.verdict, bias.exponent != bias.exponent, len(bias.cloud)) == ("no prediction", True, 5)


def test_files_behind_its_points(measured: Measured) -> None:
    study, layout, rates = measured
    (row,) = (rate for rate in rates if (rate.quantity, rate.at) == ("drift", "eps=0.25"))
    cell = next(cell for cell in plan.cells(study) if cell.width == cell.steps_per_time == 256)
    assert of_trainings(study, layout, row, {"N": 256.0}) == [layout.ensemble(cell)]


def test_figures_name_the_richness(measured: Measured) -> None:
    study, layout, rates = measured
    cells = [cell for cell in plan.cells(study) if cell.width == cell.steps_per_time]
    limit = read_limit(study, layout)
    outputs, loss = (draw(study, layout, cells, limit) for draw in (figures.output_figure, figures.loss_figure))
    assert [ax.get_title() for ax in outputs.axes] == ["ε = 0.25,  N = 64", "ε = 0.25,  N = 1024"]
    assert [ax.get_title() for ax in loss.axes] == ["ε = 0.25"]
    plt.close("all")
    drift = [rate for rate in rates if rate.quantity == "drift"]
    assert [series(rate) for rate in drift] == ["ε = 0.25:  a constant"]
    assert figures.headline(drift) == "Largest drift of an output weight: a constant, no rate at t = 2"
    assert list(dict(overview(rates))) == ["error_budget"]  # nothing is predicted here
    plots = curve_plots(study, layout, lambda path: Link(str(path), str(path)))
    assert {row[0] for plot in plots for row in plot.table.rows} == {"ε = 0.25"}


def test_resolve_offers_what_has_a_rate(measured: Measured) -> None:
    assert quantity_of(measured[0], "output_fluctuation").estimator == "half-difference"
    with pytest.raises(StudyError, match=r"allowed: output_fluctuation, memory_fluctuation$"):
        quantity_of(measured[0], "output_rms")


def test_a_surface_says_why_it_has_no_exponents(tmp_path: Path) -> None:
    grid = {"width": "[32, 64]", "steps": "[16, 32, 64]", "replicas": "32"}
    study = made_up.make_study(beta="null", richness="[0.25]", **grid)
    layout = made_up.write_results(study, tmp_path)
    rates = stage.run(study, layout, kernels.backend("numpy"))
    surface = [rate for rate in rates if rate.quantity == "output_surface"]
    assert [(rate.variable, rate.note) for rate in surface] == [(name, f"refused: {CONSTANT}") for name in "NK"]
