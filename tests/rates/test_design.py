"""Chosen replicas against closed forms, brute force, and the half-widths that fresh data then show.

Statistical tests fix their seeds and state their false-alarm rates.
"""

from __future__ import annotations

import re
from pathlib import Path

import example_results as made_up
import numpy as np
import pytest
from numpy.typing import NDArray
from runs import run
from scipy.optimize import minimize

from rnnlimits import kernels
from rnnlimits import study as studies
from rnnlimits.base.errors import StudyError
from rnnlimits.rates import design
from rnnlimits.rates.design import Goal, Scatter, choose, goals_of, resolve, scatter_of
from rnnlimits.statistics import powerlaw
from rnnlimits.statistics.bootstrap import Bootstrap
from rnnlimits.statistics.samples import spread
from rnnlimits.study import Study
from rnnlimits.training import plan
from rnnlimits.training.layout import Layout

Array = NDArray[np.float64]

TABLE = np.random.default_rng(2024).random((4096, 400))
BOOTSTRAP = Bootstrap(lambda units, count: np.asarray(TABLE[units % len(TABLE), :count]), 400)
WIDTHS = (64, 128, 256, 512, 1024, 2048)
MANY = 1e9  # degrees of freedom of a unit: Student's quantile is then the normal one
NORMAL = 1.959964


def scatter(widths: tuple[int, ...], variance: list[float], correlation: Array | None = None) -> Scatter:
    size = np.sqrt(variance)
    count = len(widths)
    joint = np.eye(count) if correlation is None else correlation
    none = np.zeros(count)
    covariance = joint * np.outer(size, size)
    return Scatter("beta=0.75", np.log(np.array(widths, dtype=float)), covariance, none + MANY, none, none)


def goals(one: Scatter, half_width: float) -> list[Goal]:
    """The exponent alone, without its larger half."""
    return [Goal(one, half_width)]


# --- closed forms ----------------------------------------------------------------------------------------------


def test_two_widths_have_a_closed_form() -> None:
    """Variance (v1/R1 + v2/R2) / log(N2/N1)^2: R_i = sqrt(v_i/c_i) sum_j sqrt(v_j c_j) / (half-width sought)^2 ..."""
    v, cost, half = np.array([0.5, 0.8]), np.array([1.0, 16.0]), 0.001
    found = choose(goals(scatter((64, 256), list(v)), half), cost, np.zeros(2))
    target = (half / NORMAL * np.log(4)) ** 2
    np.testing.assert_allclose(found, np.sqrt(v / cost) * np.sqrt(v * cost).sum() / target, rtol=1e-3)


@pytest.mark.parametrize("cost", [[1.0, 1.0, 1.0], [1.0, 4.0, 16.0], [9.0, 1.0, 2.0]])
def test_three_widths_are_those_of_brute_force(cost: list[float]) -> None:
    """The least cost of numbers that do not grow with N, by a general minimiser; variance 1 / sum w (x - mean)^2."""
    variance, half = np.array([0.5, 0.6, 0.8]), 0.001
    x, price = np.log([64.0, 128.0, 256.0]), np.array(cost)
    target = (half / NORMAL) ** 2

    def total(logs: Array) -> float:
        """The cost of these proportions when scaled to the wanted variance."""
        units = np.exp(logs)[::-1].cumsum()[::-1]
        weight = units / variance
        offset = x - weight @ x / weight.sum()
        return float(price @ units / (weight @ offset**2) / target)

    starts = np.random.default_rng(1).normal(size=(8, 3)) * 2
    best = min(minimize(total, start, method="Nelder-Mead", options={"maxiter": 4000}).fun for start in starts)
    found = choose(goals(scatter((64, 128, 256), list(variance)), half), price, np.zeros(3))
    assert price @ found == pytest.approx(best, rel=0.02)


def test_shared_replicas_make_it_cheaper() -> None:
    """Estimates of correlation 0.9: equal numbers cost a tenth of what independent ones do, chosen ones no more."""
    variance, cost = [0.5] * 6, np.array(WIDTHS, dtype=float) ** 2
    tied = 0.1 * np.eye(6) + 0.9
    alone, shared = (scatter(WIDTHS, variance, joint) for joint in (None, tied))
    equal = np.full(6, 500.0)
    assert shared.half_width(equal) == pytest.approx(np.sqrt(0.1) * alone.half_width(equal), rel=1e-6)
    half = alone.half_width(equal)
    assert cost @ choose(goals(shared, half), cost, np.zeros(6)) <= 0.1 * cost @ equal
    # a block of every width adds less than the largest alone: they go together
    units = choose(goals(shared, half), cost, np.zeros(6))
    assert units.max() < 4 * units.min()


def test_pull_is_the_variance_of_shared_replicas() -> None:
    rng = np.random.default_rng(2)
    one = scatter(WIDTHS, [0.5] * 6, np.corrcoef(rng.normal(size=(6, 20))))
    units = np.array([300.0, 250.0, 250.0, 120.0, 60.0, 60.0])
    assert NORMAL * np.sqrt(np.sum(one.pull(units) / units)) == pytest.approx(one.half_width(units), rel=1e-6)


def test_half_width_is_that_of_nested_means() -> None:
    """Means over the first R_i of the same normals, correlated between widths: 4,000 draws know a s.d. to 1.1%."""
    rng = np.random.default_rng(3)
    units, joint = np.array([64, 32, 8]), np.array([[1.0, 0.7, 0.4], [0.7, 1.0, 0.6], [0.4, 0.6, 1.0]])
    one = scatter((64, 128, 256), [0.5, 0.6, 0.8], joint)
    drawn = rng.normal(size=(4000, 64, 3)) @ np.linalg.cholesky(one.covariance).T
    means = np.stack([drawn[:, :count, i].mean(1) for i, count in enumerate(units)], axis=1)
    weight = units / np.diag(one.covariance)
    exponent = [-np.polyfit(one.x, mean, 1, w=np.sqrt(weight))[0] for mean in means]
    assert NORMAL * np.std(exponent) == pytest.approx(one.half_width(units.astype(float)), rel=0.05)


# --- the choice ------------------------------------------------------------------------------------------------


def half_widths(aims: list[Goal], units: Array) -> list[float]:
    return [aim.excess(units) for aim in aims]


def test_every_goal_is_met_in_whole_blocks_and_what_is_done_is_kept() -> None:
    cost = np.array(WIDTHS, dtype=float) ** 2
    ladders = [scatter(WIDTHS, [v] * 6) for v in (0.2, 0.5, 0.9)]
    aims = goals_of(ladders, 0.05)
    assert len(aims) == 6
    done = np.array([2000, 16, 16, 16, 16, 16], dtype=float)
    units = choose(aims, cost, done, step=16)
    assert max(half_widths(aims, units)) <= 1
    assert np.all(units % 16 == 0)
    assert np.all(units >= done)
    # a block less at the dearest width that has more than it had misses a goal
    less = units - 16 * np.eye(6)[np.flatnonzero(units > done)[-1]]
    assert max(half_widths(aims, less)) > 1


def test_chosen_replicas_are_cheaper_than_equal_ones() -> None:
    cost = np.array(WIDTHS, dtype=float) ** 2
    aims = goals_of([scatter(WIDTHS, [0.5] * 6)], 0.03)
    equal = next(n for n in range(1, 10**5) if max(half_widths(aims, np.full(6, float(n)))) <= 1)
    assert cost @ choose(aims, cost, np.zeros(6)) < 0.8 * equal * cost.sum()


def test_larger_widths_are_not_starved() -> None:
    """Small widths alone would be cheapest; the exponent over the larger half is resolved as well."""
    cost = np.array(WIDTHS, dtype=float) ** 2
    one = scatter(WIDTHS, [0.5] * 6)
    units = choose(goals_of([one], 0.03), cost, np.full(6, float(design.LEAST_UNITS)))
    assert one.half_width(units, 3) <= design.LARGER * 0.03
    alone = choose(goals(one, 0.03), cost, np.full(6, float(design.LEAST_UNITS)))
    assert one.half_width(alone, 3) > 1.5 * design.LARGER * 0.03


def test_limits_error_sets_a_floor_that_replicas_cannot_pass() -> None:
    one = scatter(WIDTHS, [0.5] * 6)
    slack = Scatter(one.at, one.x, one.covariance, one.dof, np.linspace(0, 0.2, 6), one.least)
    with pytest.raises(StudyError, match=r"out of reach at beta=0.75: .* leaves a half-width of 0\.11;"):
        choose(goals(slack, 0.03), np.ones(6), np.zeros(6))


# --- from a pilot to data --------------------------------------------------------------------------------------


def fields(rng: np.random.Generator, replicas: Array, common: float = 0.6) -> list[Array]:
    """N^-1/4 times fields (replica, 1, probe) of which a share `common` of the variance is that of every width."""
    shared = rng.standard_t(8, size=(int(max(replicas)), 4))
    mixed = [
        np.sqrt(common) * shared[: int(count)] + np.sqrt(1 - common) * rng.standard_t(8, size=(int(count), 4))
        for count in replicas
    ]
    return [n**-0.25 * one[:, None, :] * [1.0, 0.6, 0.4, 0.3] for n, one in zip(WIDTHS, mixed, strict=True)]


def points(data: list[Array]) -> list[powerlaw.Point]:
    return [powerlaw.measure(n, spread(one), BOOTSTRAP) for n, one in zip(WIDTHS, data, strict=True)]


def test_prediction_is_what_the_fit_says_of_the_same_data() -> None:
    """Unequal numbers of replicas that share: influence and bootstrap, line and raw variances differ."""
    data = fields(np.random.default_rng(3), np.array([512, 512, 256, 256, 128, 128]))
    found = points(data)
    one = scatter_of("beta=0.75", WIDTHS, found, [0.0] * 6)
    units = np.array([point.units for point in found], dtype=float)
    assert one.half_width(units) == pytest.approx(powerlaw.fit(found).slope.half_width, rel=0.15)


def test_half_width_reached_is_the_one_wanted() -> None:
    """Pilots of 128 units choose for 0.04; fresh data reach it within 15%, in the mean of 6 pilots of 4 runs each.

    What a run says of its own half-width scatters by a fifth, and pilots by a tenth, so the mean by some 5%: 15% is 3
    of them, a false alarm of 0.3%.
    """
    cost, half, reached = np.array(WIDTHS, dtype=float) ** 2, 0.04, []
    for seed in range(6):
        rng = np.random.default_rng([4, seed])
        one = scatter_of("beta=0.75", WIDTHS, points(fields(rng, np.full(6, 128))), [0.0] * 6)
        units = choose(goals_of([one], half), cost, np.full(6, float(design.LEAST_UNITS)), step=8)
        reached += [powerlaw.fit(points(fields(rng, units))).slope.half_width for _ in range(4)]
    assert np.mean(reached) == pytest.approx(half, rel=0.15)


def test_widths_without_a_pilot_are_extrapolated() -> None:
    rng = np.random.default_rng(5)
    whole = points(fields(rng, np.full(6, 512)))
    part = scatter_of("beta=0.75", WIDTHS, whole[:4], [0.0] * 4)
    assert part.covariance.shape == (6, 6)
    full = scatter_of("beta=0.75", WIDTHS, whole, [0.0] * 6)
    # variances from 512 units are known to 8%; two octaves beyond four the line adds as much again
    np.testing.assert_allclose(np.diag(part.covariance), np.diag(full.covariance), rtol=0.5)
    # ratios of 16 and more are not in the pilot: no correlation, but for what makes it a correlation matrix
    assert np.abs(part.covariance[[0, 0, 1], [4, 5, 5]]).max() < 0.02
    assert part.covariance[3, 4] > 0.1 * part.covariance[3, 3]


def test_debiased_squares_need_replicas_to_stand_out() -> None:
    shape = np.zeros(9)
    influence = np.random.default_rng(6).normal(size=64) / 64
    weak, strong = (
        powerlaw.Point(n, 1.0, 0.1, significance, 0.0, shape, influence, 64, 128, signed=True)
        for n, significance in ((64.0, 1.0), (128.0, 50.0))
    )
    least = scatter_of("beta=0.75", (64, 128), [weak, strong], [0.0] * 2).least
    assert least.tolist() == pytest.approx([64 * (design.MARGIN * powerlaw.SIGNIFICANCE) ** 2, design.LEAST_UNITS])


# --- a study ---------------------------------------------------------------------------------------------------


def resolved(study: Study, layout: Layout, half: float = 0.03, name: str = "output_fluctuation") -> design.Resolved:
    return resolve(study, layout, kernels.backend("numpy"), half, name)


def test_a_study_is_resolved_from_its_own_trainings(tmp_path: Path) -> None:
    """The pilot has 64 replicas, the study asks for another number; all betas share one list."""
    pilot = made_up.make_study(replicas="64")
    layout = made_up.write_results(pilot, tmp_path)
    study = made_up.make_study(replicas="1024")
    found = resolved(study, layout)
    assert found.quantity.key == ("output_fluctuation", "half-difference")
    assert found.done == (64,) * 5
    assert all(count >= 64 and count % 32 == 0 for count in found.replicas)
    assert set(found.half_widths) == {"beta=0.6", "beta=0.75"}
    assert 0.7 * 0.03 < max(found.half_widths.values()) <= 0.03
    assert [cell.replicas for cell in plan.cells(found.study)] == [count for count in found.replicas for _ in range(2)]
    text = found.report(0.5)
    assert text.startswith("pack ")
    assert f"replicas: [{', '.join(map(str, found.replicas))}]" in text.splitlines()
    steps = {n: 2 * n * n * 2 for n in study.training.width}
    share = sum(64 * one for one in steps.values()) / sum(
        count * one for count, one in zip(found.replicas, steps.values(), strict=True)
    )
    assert f"{100 * share:.0f}% of the training steps in width are done" in text


def test_the_written_study_keeps_every_shard(tmp_path: Path) -> None:
    study = made_up.make_study(replicas="64")
    found = resolved(study, made_up.write_results(study, tmp_path))
    again = studies.loads(found.to_yaml(tmp_path), tmp_path / "resolved.yaml")
    assert again.training.replicas == found.replicas
    assert again.name == study.name
    for before, after in zip(plan.cells(study), plan.cells(again), strict=True):
        assert plan.cell_id(study, before) == plan.cell_id(again, after)
        assert set(plan.blocks(study, before)) <= {
            plan.Block(before, block.first, block.count) for block in plan.blocks(again, after)
        }


def test_ladders_keep_the_replicas_that_they_have(tmp_path: Path) -> None:
    """Also those that have the number of the main product, of which there is one for each width afterwards."""
    study = made_up.make_study(replicas="64", ladders="[{width: [64], steps_per_time: [16, 32]}]")
    found = resolved(study, made_up.write_results(study, tmp_path))
    again = studies.loads(found.to_yaml(tmp_path), tmp_path / "resolved.yaml")
    assert {cell.replicas for cell in plan.cells(again) if cell.width != cell.steps_per_time} == {64}
    assert found.report(0.5).startswith("pack ")


def test_a_pilot_of_small_widths_is_enough(tmp_path: Path) -> None:
    layout = made_up.write_results(made_up.make_study(width="[64, 128, 256]", replicas="64"), tmp_path)
    found = resolved(made_up.make_study(), layout, 0.05)
    assert found.done == (64, 64, 64, 0, 0)


def test_widths_off_the_diagonal_keep_their_number(tmp_path: Path) -> None:
    study = made_up.make_study(steps="[64, 128, 256, 512]", replicas="64")
    found = resolved(study, made_up.write_results(study, tmp_path), 0.03)
    assert found.replicas[-1] == 64
    assert max(found.replicas[:-1]) > 64


def test_nothing_is_taken_away(tmp_path: Path) -> None:
    study = made_up.make_study(replicas="128")
    found = resolved(study, made_up.write_results(study, tmp_path), 0.5)
    assert found.replicas == found.done == (128,) * 5
    assert "100% of the training steps in width are done, 0 core-hours remain" in found.report(0.5)


@pytest.mark.parametrize(
    ("change", "name", "words"),
    [
        ({}, "sgd_noise", r"--quantity sgd_noise: is not a quantity in N .* allowed: output_rms, output_fluctuation"),
        ({"steps": "[16]"}, "output_rms", "has no ladder K = N to resolve"),
        ({"width": "[2048]"}, "output_rms", "run a pilot first: rnnlimits run made-up.yaml"),
        ({"width": "[1024, 2048]"}, "output_rms", "the pilot has 1 widths at beta=0.6; run 2 or more"),
        ({}, "output_bias", "does not stand out of its noise; run a pilot with more replicas or smaller widths"),
    ],
)
def test_what_cannot_be_resolved_is_one_line(tmp_path: Path, change: dict[str, str], name: str, words: str) -> None:
    layout = made_up.write_results(made_up.make_study(replicas="32", ladders="[{steps_per_time: [16]}]"), tmp_path)
    with pytest.raises(StudyError, match=words) as caught:
        resolved(made_up.make_study(**change), layout, name=name)
    assert "\n" not in str(caught.value)


def test_a_pilot_of_a_few_replicas_is_refused(tmp_path: Path) -> None:
    study = made_up.make_study(replicas="32")
    layout = made_up.write_results(study, tmp_path)
    pilot = design.Pilot(study, layout, design.quantity_of(study, "output_rms"), kernels.backend("numpy"))
    point = powerlaw.Point(64.0, 1.0, 0.1, 9.0, 0.0, np.zeros(9), np.zeros(4), 4, 8)
    with pytest.raises(StudyError, match="has 4 independent replicas; run a pilot of at least 8"):
        pilot._good(point, "beta=0.6")


# --- the command line ------------------------------------------------------------------------------------------


def test_plan_resolves_and_writes(tmp_path: Path) -> None:
    study = made_up.make_study(replicas="64")
    made_up.write_results(study, tmp_path / "results" / "made-up")
    path = tmp_path / "made-up.yaml"
    path.write_text(studies.to_yaml(study))
    words = ("plan", path, "--backend", "numpy", "--resolve", "0.04", "--write", tmp_path / "new" / "resolved.yaml")
    done = run(*words, cwd=tmp_path)
    line = re.search(r"^replicas: \[(.*)\]$", done.stdout, flags=re.MULTILINE)
    assert line is not None
    written = studies.load(tmp_path / "new" / "resolved.yaml")
    assert written.training.replicas == tuple(int(word) for word in line.group(1).split(", "))
    assert "core-hours remain" in done.stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--resolve", "0.02"), "has no trainings to learn the scatter from; run a pilot first: rnnlimits run"),
        (("--resolve", "-1"), "'-1' is not a number above 0"),
        (("--resolve", "nan"), "'nan' is not a number above 0"),
        (("--write", "x.yaml"), "--write: needs --resolve"),
    ],
)
def test_bad_words_are_refused(tmp_path: Path, words: tuple[str, ...], said: str) -> None:
    path = tmp_path / "made-up.yaml"
    path.write_text(studies.to_yaml(made_up.make_study()))
    done = run("plan", path, "--backend", "numpy", *words, check=False, cwd=tmp_path)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr
