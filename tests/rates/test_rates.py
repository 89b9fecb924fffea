"""The rates stage on made-up results with known exponents: numbers, verdicts, refusals, files, table.

Statistical checks allow 4 standard errors at a fixed seed: a false alarm has a chance of about 1e-4 each.
"""

from __future__ import annotations

import csv
import dataclasses
import math
from pathlib import Path

import example_results as made_up
import numpy as np
import pytest
import xarray as xr

from rnnlimits import kernels
from rnnlimits.base.errors import StudyError
from rnnlimits.files import store
from rnnlimits.quantities.base import K, N, registered
from rnnlimits.quantities.contraction import measured_rate
from rnnlimits.quantities.outputs import OUTPUT_RMS
from rnnlimits.quantities.trained import Design, TrainedQuantity, Trainings
from rnnlimits.rates import stage
from rnnlimits.rates.contraction import contraction_rate, resolved_steps
from rnnlimits.rates.ladders import ladders
from rnnlimits.statistics import powerlaw
from rnnlimits.statistics.bootstrap import Bootstrap, quantile
from rnnlimits.statistics.ratefile import COLUMNS, Rate, read_in_time, to_csv
from rnnlimits.statistics.rows import log_point
from rnnlimits.statistics.verdicts import VERDICTS, Expected, error_of_difference
from rnnlimits.study import Study
from rnnlimits.theory import couplings
from rnnlimits.training import plan
from rnnlimits.training.layout import Layout
from rnnlimits.training.plan import Cell

K_LADDER = "[{beta: [0.75], width: [1024], steps_per_time: [16, 32, 64, 128, 256, 512]}]"


def run(study: Study, layout: Layout) -> list[Rate]:
    return stage.run(study, layout, kernels.backend("numpy"))


def of(found: list[Rate], quantity: str, estimator: str = "plain", at: str = "beta=0.75") -> Rate:
    (rate,) = [r for r in found if (r.quantity, r.estimator, r.at) == (quantity, estimator, at)]
    return rate


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> tuple[Study, Layout, list[Rate]]:
    """Symmetric C, antithetic pairs, two betas, a K ladder."""
    study = made_up.make_study(replicas="512", ladders=K_LADDER)
    layout = made_up.write_results(study, tmp_path_factory.mktemp("symmetric"))
    return study, layout, run(study, layout)


Measured = tuple[Study, Layout, list[Rate]]


# --- numbers ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("quantity", "estimator", "at", "true"),
    [
        ("output_fluctuation", "half-difference", "beta=0.6", 0.1),
        ("output_fluctuation", "half-difference", "beta=0.75", 0.25),
        ("output_bias", "pair-mean", "beta=0.75", 0.5),
        ("memory_rms", "plain", "beta=0.6", 0.5),
        ("drift", "plain", "beta=0.6", 0.4),
        ("drift", "plain", "beta=0.75", 0.25),
        ("sgd_noise", "pair-mean", "beta=0.75 N=1024", 0.5),
        ("memory_contraction", "coupling", "N=infinity", made_up.CONTRACTION),
        ("chain_contraction", "coupling", "N=infinity", -math.log(0.7)),
    ],
)
def test_pure_laws_are_recovered(measured: Measured, quantity: str, estimator: str, at: str, true: float) -> None:
    rate = of(measured[2], quantity, estimator, at)
    assert abs(rate.exponent - true) < 4 * rate.stderr
    assert rate.ci_low < rate.exponent < rate.ci_high
    assert rate.ci_high - rate.ci_low < 0.2
    assert rate.expected == pytest.approx(true, abs=4 * rate.stderr)


def test_rms_is_the_sum_of_its_parts(measured: Measured) -> None:
    """At one width: mean square error = variance + square of the bias, to a few times the error of the bias."""
    found = measured[2]
    width = 3
    rms, spread, bias = (
        of(found, name, estimator).cloud[width].estimate
        for name, estimator in (("output_rms", "plain"), ("output_fluctuation", "plain"), ("output_bias", "pair-mean"))
    )
    assert rms**2 == pytest.approx(spread**2 + bias**2, rel=0.02)


def test_estimates_are_those_of_plain_numpy(measured: Measured) -> None:
    study, layout, found = measured
    cell = next(c for c in plan.cells(study) if (c.width, c.steps_per_time, c.beta) == (256, 256, 0.75))
    with store.open_complete(layout.ensemble(cell), "train-ensemble") as file:
        output, memory = file["output"][:, -1] - made_up.PROFILE, file["memory"][:, -1] - made_up.MEMORY
        drift = file["drift_c_max"][:, -1]
    pairs = output.reshape(-1, 2, 6)
    odd = 0.5 * (pairs[:, 0] - pairs[:, 1])
    expected = {
        ("output_rms", "plain"): np.sqrt((output**2).mean()),
        ("output_fluctuation", "half-difference"): np.sqrt(odd.var(axis=0, ddof=1).mean()),
        ("memory_rms", "plain"): np.sqrt((memory**2).mean()),
        ("drift", "plain"): drift.mean(),
    }
    for (quantity, estimator), value in expected.items():
        point = next(p for p in of(found, quantity, estimator).cloud if p.variable == 256)
        assert point.estimate == pytest.approx(value, rel=1e-10)
        assert point.replicas == 512


def test_pair_mean_sees_a_bias_that_plain_replicas_do_not(measured: Measured) -> None:
    plain, pairs = (of(measured[2], "output_bias", name) for name in ("plain", "pair-mean"))
    assert pairs.verdict == "no prediction"
    assert pairs.corrected_low < 0.5 < pairs.corrected_high
    assert pairs.points == 5
    assert [p.stderr for p in pairs.cloud][-1] < 0.5 * [p.stderr for p in plain.cloud][-1]


def test_steps_near_the_width_are_left_out(measured: Measured) -> None:
    rate = of(measured[2], "sgd_noise", "pair-mean", "beta=0.75 N=1024")
    assert [p.variable for p in rate.cloud if not p.used] == [512, 1024]
    assert "K is not well below N" in rate.note
    assert rate.points == 5


def test_contractions_are_judged_against_exact_rates(measured: Measured) -> None:
    memory, chain = (of(measured[2], f"{name}_contraction", "coupling", "N=infinity") for name in ("memory", "chain"))
    assert (memory.expected_kind, memory.verdict) == ("exact", "as predicted")
    assert (chain.expected_kind, chain.verdict) == ("exact", "as predicted")
    # the linear chain's distances shrink by one exact factor: no scatter at all
    assert chain.stderr < 1e-6
    assert memory.law == chain.law == "geometric"


# --- designs ---------------------------------------------------------------------------------------------------


def test_skewed_law_refuses_the_pair_mean_and_uses_half_of_each_pair(tmp_path: Path) -> None:
    study = made_up.make_study(c=made_up.SKEWED, beta="[0.75]")
    found = run(study, made_up.write_results(study, tmp_path))
    refused = of(found, "output_bias", "pair-mean")
    assert refused.verdict == "no prediction"
    assert math.isnan(refused.exponent)
    assert "C is skewed" in refused.note
    assert of(found, "output_bias", "plain").expected == 0.25
    assert of(found, "output_even_bias", "pair-mean").expected == 0.5
    assert "half of each pair" in of(found, "output_fluctuation").note
    with store.open_complete(Layout(tmp_path).ensemble(plan.cells(study)[0]), "train-ensemble") as file:
        first = file["output"][::2, -1]
    spread = np.sqrt(first.var(axis=0, ddof=1).mean())
    assert of(found, "output_fluctuation").cloud[0].estimate == pytest.approx(spread, rel=1e-10)
    # half of the 128 trainings are of the law; a pair's mean is made of both
    assert of(found, "output_fluctuation").cloud[0].replicas == of(found, "output_rms").replicas == 64
    assert of(found, "drift").replicas == of(found, "output_bias", "plain").cloud[0].replicas == 64
    assert of(found, "output_even_bias", "pair-mean").cloud[0].replicas == 128
    assert of(found, "output_fluctuation", "half-difference").replicas == 128


def test_bias_of_a_skewed_law_is_that_of_its_own_members(tmp_path: Path) -> None:
    """The first of each pair has the law of C; the second's mean is another one."""
    study = made_up.make_study(c=made_up.SKEWED, beta="[0.75]")
    layout = made_up.write_results(study, tmp_path)
    with store.open_complete(layout.ensemble(plan.cells(study)[0]), "train-ensemble") as file:
        error = file["output"][:, -1][file["sign"][()] > 0] - made_up.PROFILE
    square = (np.square(error.mean(0)) - error.var(axis=0, ddof=1) / len(error)).mean()
    point = of(run(study, layout), "output_bias", "plain").cloud[0]
    assert point.estimate == pytest.approx(np.sign(square) * math.sqrt(abs(square)), rel=1e-8)


def test_only_the_mean_responds_to_a_shifted_limit() -> None:
    """rms(e + s) - rms(e) = s . mean(e) / rms(e) to first order; the share is its largest size for |s| = 1."""
    error = np.random.default_rng(22).normal(size=(30, 2, 6)) + made_up.PROFILE
    mean = error.mean((0, 1))
    shift = 1e-6 * mean / np.sqrt(np.square(mean).mean())
    change = np.sqrt(np.square(error + shift).mean()) - np.sqrt(np.square(error).mean())
    trainings = Trainings(error, error, np.ones((30, 2)), True, 1.0, 1.0, 0.0, np.ones((30, 2, 4)), np.arange(4.0))
    assert OUTPUT_RMS.leverage(trainings) == pytest.approx(change / 1e-6, rel=1e-4)


def test_without_pairs_there_are_plain_estimators_only(tmp_path: Path) -> None:
    study = made_up.make_study(antithetic="false", beta="[0.75]", ladders=K_LADDER)
    found = run(study, made_up.write_results(study, tmp_path))
    assert {r.estimator for r in found} == {"plain", "coupling"}
    noise = of(found, "sgd_noise", "plain", "beta=0.75 N=1024")
    assert noise.note.startswith("refused: no pairs: it contains the initial field")
    assert noise.verdict == "no prediction"
    assert math.isnan(noise.exponent)
    assert math.isnan(noise.expected)
    assert [point.variable for point in noise.cloud] == [16, 32, 64, 128, 256, 512, 1024]
    assert all(point.estimate > 0 for point in noise.cloud)


def test_errors_of_the_limit_drop_points(tmp_path: Path) -> None:
    """The bias is 0.3 * 0.85 / sqrt(N): at 1024, 0.008; an error of 0.004 in the limit is more than a third of it."""
    study = made_up.make_study(replicas="512", beta="[0.75]")
    found = run(study, made_up.write_results(study, tmp_path, limit_error=0.004))
    rate = of(found, "output_bias", "pair-mean")
    assert [p.used for p in rate.cloud] == [True, True, True, False, False]
    assert "limit's own error" in rate.note
    assert rate.refused
    assert of(found, "output_rms").points == 5


def test_a_smaller_error_of_the_limit_widens_the_interval(tmp_path: Path) -> None:
    study = made_up.make_study(replicas="512", beta="[0.75]")
    clean = of(run(study, made_up.write_results(study, tmp_path / "a")), "output_bias", "pair-mean")
    error = made_up.write_results(study, tmp_path / "b", limit_error=0.0015)
    blurred = of(run(study, error), "output_bias", "pair-mean")
    assert blurred.points == clean.points == 5
    assert blurred.stderr > 1.2 * clean.stderr


def test_three_widths_are_refused_with_their_estimate(tmp_path: Path) -> None:
    study = made_up.make_study(width="[64, 128, 256]", beta="[0.75]")
    rate = of(run(study, made_up.write_results(study, tmp_path)), "drift")
    assert (rate.verdict, rate.points) == ("no prediction", 3)
    assert rate.note.startswith("refused: 3 usable points, 4 are needed")
    assert rate.exponent == pytest.approx(0.25, abs=0.1)


def test_chains_that_meet_are_refused(tmp_path: Path) -> None:
    study = made_up.make_study(beta="[0.75]", replicas="32")
    found = run(study, made_up.write_results(study, tmp_path, lost=True))
    rate = of(found, "chain_contraction", "coupling", "N=infinity")
    assert rate.verdict == "cannot tell"
    assert "below rounding, or to zero" in rate.note


def test_every_bias_order_of_the_registry() -> None:
    symmetric, skewed = (Design(symmetric=one, antithetic=True) for one in (True, False))
    expected = {entry.key: entry.expected for entry in registered(TrainedQuantity)}
    assert expected["output_bias", "plain"](0.75, symmetric) == 0.5
    assert expected["output_bias", "plain"](0.75, skewed) == 0.25
    assert expected["output_rms", "plain"](0.6, symmetric) == pytest.approx(0.1)
    assert expected["output_rms", "plain"](0.9, symmetric) == pytest.approx(0.2)
    assert expected["output_rms", "plain"](0.9, skewed) == pytest.approx(0.1)
    assert expected["drift", "plain"](0.9, skewed) == pytest.approx(0.1)


# --- ladders, verdicts -----------------------------------------------------------------------------------------


def test_ladders() -> None:
    cells = [Cell(0.6, n, n, depth, 8) for n in (64, 128) for depth in (1, 2)]
    cells += [Cell(0.6, 128, k, 1, 8) for k in (16, 32, 64)]
    diagonal = ladders(N, cells)
    assert {ladder.at: [c.width for c in ladder.cells] for ladder in diagonal} == {
        "beta=0.6 depth=1": [64, 128],
        "beta=0.6 depth=2": [64, 128],
    }
    assert all(not ladder.refusal for ladder in diagonal)
    (ladder,) = ladders(K, cells)
    assert (ladder.at, ladder.refusal) == ("beta=0.6 depth=1 N=128", "")
    assert [c.steps_per_time for c in ladder.cells] == [16, 32, 64, 128]


@pytest.mark.parametrize(
    ("steps", "left", "said"),
    [
        (100, [], "no widths with K = N (of 5)"),
        (64, [64], "1 of 5 widths with K = N (64), 4 are needed; set steps_per_time: [width]"),
    ],
)
def test_widths_at_a_fixed_k_are_not_dropped_in_silence(steps: int, left: list[int], said: str) -> None:
    cells = [Cell(0.6, n, steps, 1, 8) for n in (64, 128, 256, 512, 1024)]
    (ladder,) = ladders(N, cells)
    assert [cell.width for cell in ladder.cells] == left
    assert said in ladder.refusal
    # a single K at each width is no ladder in K; nor are off-diagonal cells a loss where the diagonal is complete
    assert ladders(K, cells) == []
    whole = cells + [Cell(0.6, n, n, 1, 8) for n in (128, 256, 512, 1024)]
    assert all(not ladder.refusal for ladder in ladders(N, whole))


def test_one_width_is_no_ladder_of_widths() -> None:
    cells = [Cell(0.6, 64, k, 1, 8) for k in (4, 8, 16)]
    assert ladders(N, cells) == []
    (ladder,) = ladders(K, cells)
    assert ladder.refusal == "3 values of K, 4 are needed"


def test_short_ladders_are_rows_with_points_and_a_refusal(tmp_path: Path) -> None:
    ladder = "[{beta: [0.75], width: [1024], steps_per_time: [16, 32]}]"
    study = made_up.make_study(steps="[64]", beta="[0.75]", replicas="32", ladders=ladder)
    found = run(study, made_up.write_results(study, tmp_path))
    drift, noise = of(found, "drift"), of(found, "sgd_noise", "pair-mean", "beta=0.75 N=1024")
    assert drift.note.startswith("refused: 1 of 5 widths with K = N (64)")
    assert noise.note == "refused: 3 values of K, 4 are needed"
    for rate, variables in ((drift, [64]), (noise, [16, 32, 64])):
        assert [point.variable for point in rate.cloud] == variables
        assert (rate.verdict, rate.points) == ("no prediction", 0)
        assert math.isnan(rate.exponent)


def contraction(pairs: int = 256) -> tuple[np.ndarray, np.ndarray, Bootstrap]:
    """Log distances (pair, 20) of independent walks, their mean log factors (pair,), and a bootstrap."""
    rng = np.random.default_rng(21)
    logs = -0.7 + 0.3 * rng.normal(size=(pairs, 20))
    table = rng.random((1024, 800))
    return logs.cumsum(1), logs.mean(1), Bootstrap(lambda units, count: table[units, :count], 800)


def test_a_rate_measured_on_the_same_pairs_is_compared_by_the_difference() -> None:
    """The pairs' own scatter is common to both numbers; independent errors would be several times as wide.

    The difference of the fitted and the mean factor has an s.d. of about a third of that of either, by their weights.
    """
    walk, factor, boot = contraction()
    points = [log_point(k + 1.0, walk[:, k], boot) for k in range(20)]
    slope = powerlaw.fit(points, geometric=True).slope
    expected = measured_rate(factor, boot)
    assert expected.value == pytest.approx(-factor.mean())
    stderr, dof = error_of_difference(slope, expected)
    half = quantile(dof) * stderr
    own = np.std(factor) / np.sqrt(len(factor))
    independent = 1.96 * math.hypot(slope.stderr, own)
    assert half < 0.7 * independent
    # the direct way: regress each pair's walk on the steps, subtract its mean factor, take the s.d. of the mean
    weight = powerlaw.Line(np.arange(1.0, 21.0), points).contrast()
    difference = walk @ weight + factor
    assert half == pytest.approx(1.96 * np.std(difference) / np.sqrt(len(factor)), rel=0.12)


def test_rounding_and_transient_are_left_out() -> None:
    """Distances 1, 1e-1, ...: NaN where rounding begins; the first two decades are the transient."""
    logs = np.tile(-math.log(10) * np.arange(12.0), (200, 1))
    logs[:, 10:] = np.nan
    logs[:1, 9] = np.nan  # one pair in 200 is below the tolerated 1%
    assert resolved_steps(logs) == list(range(2, 10))
    logs[:10, 9] = np.nan
    assert resolved_steps(logs) == list(range(2, 9))
    assert resolved_steps(np.full((4, 3), np.nan)) == []


def test_a_distance_below_rounding_counts_as_the_smallest_that_is_resolved() -> None:
    logs = np.tile(-math.log(10) * np.arange(1.0, 9.0), (200, 1))
    logs[:1, 7] = np.nan
    blank = Rate("s", "memory_contraction", "coupling", "hidden_updates", "N=infinity", law="geometric")
    table = np.random.default_rng(24).random((256, 200))
    boot = Bootstrap(lambda units, count: table[units, :count], 200)
    last = contraction_rate(blank, np.arange(8.0), logs, Expected(2.3, "exact"), boot).cloud[-1]
    assert math.log(last.estimate) == pytest.approx((199 * logs[1, 7] + math.log(couplings.RESOLVED)) / 200)


def test_large_errors_of_a_geometric_mean_are_no_reason_to_leave_it_out() -> None:
    """A random walk of 16 pairs: its mean is uncertain by over a factor e at the end, its rate by 0.3 or so."""
    rng = np.random.default_rng(20)
    walk = np.cumsum(-2.0 + 1.5 * rng.normal(size=(16, 12)), axis=1)
    blank = Rate("s", "memory_contraction", "coupling", "hidden_updates", "N=infinity", law="geometric")
    table = rng.random((64, 500))
    boot = Bootstrap(lambda units, count: table[units, :count], 500)
    found = contraction_rate(blank, np.arange(1.0, 13.0), walk, Expected(2.0, "exact"), boot)
    assert found.points >= 10
    assert found.cloud[-1].stderr > found.cloud[-1].estimate
    assert abs(found.exponent - 2.0) < 4 * found.stderr


# --- bad input -------------------------------------------------------------------------------------------------


def test_a_missing_ensemble_is_named(tmp_path: Path) -> None:
    study = made_up.make_study(beta="[0.75]", replicas="32")
    layout = made_up.write_results(study, tmp_path)
    gone = layout.ensemble(plan.cells(study)[2])
    gone.unlink()
    with pytest.raises(StudyError, match=f"{gone}: is missing"):
        run(study, layout)
    assert not layout.rates_csv.exists()


def test_an_ensemble_of_another_study_is_refused(tmp_path: Path) -> None:
    study = made_up.make_study(beta="[0.75]", replicas="32")
    layout = made_up.write_results(study, tmp_path)
    other = made_up.make_study(beta="[0.75]", replicas="32", c="{kind: gaussian}")
    cell = plan.cells(study)[0]
    made_up.write_ensemble(other, layout, cell)
    with pytest.raises(StudyError, match="is from another study"):
        run(study, layout)


def test_fewer_replicas_than_the_study_has_are_refused(tmp_path: Path) -> None:
    study = made_up.make_study(beta="[0.75]", replicas="64")
    layout = made_up.write_results(study, tmp_path)
    cell = plan.cells(study)[0]
    made_up.write_ensemble(study, layout, dataclasses.replace(cell, replicas=32))
    with pytest.raises(StudyError, match="has 32 replicas, the study 64"):
        run(study, layout)


def test_a_limit_at_other_times_is_refused(tmp_path: Path) -> None:
    study = made_up.make_study(beta="[0.75]", replicas="32")
    layout = made_up.write_results(study, tmp_path)
    other = made_up.make_study(beta="[0.75]", replicas="32", checkpoints="[0.0, 0.5, 2.0]")
    with pytest.raises(StudyError, match="is from another study"):
        run(other, layout)


# --- files and table -------------------------------------------------------------------------------------------


def test_csv_has_the_rows(measured: Measured) -> None:
    _, layout, found = measured
    with layout.rates_csv.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == COLUMNS
    assert len(rows) == len(found)
    for row, rate in zip(rows, found, strict=True):
        assert row["study"] == "made-up"
        assert (row["quantity"], row["at"], row["verdict"], row["note"]) == (
            rate.quantity,
            rate.at,
            rate.verdict,
            rate.note,
        )
        number = float(row["exponent"]) if row["exponent"] else math.nan
        assert number == pytest.approx(rate.exponent, rel=1e-5, nan_ok=True)
        assert row["verdict"] in VERDICTS
        assert row["expected_kind"] in ("theorem", "heuristic", "exact", "")
        # a number has an interval, and what has none, or cannot be judged, says why
        assert bool(row["exponent"]) == bool(row["ci_low"]) == bool(row["ci_high"])
        assert row["note"] or (row["exponent"] and row["verdict"] in ("as predicted", "no prediction"))
        # a prediction and an extrapolation exclude each other
        assert not (row["predicted"] and row["corrected"])
        assert bool(row["p"]) == bool(row["p_adjusted"])
        assert row["version"] == "3"


def test_numbers_that_do_not_exist_are_empty_cells() -> None:
    line = to_csv([Rate("s", "q", "e", "N", "beta=0.6", note="a, b", study_id="0123")]).splitlines()[1]
    assert line == 's,q,e,N,beta=0.6,0.6,,,,,,,,,,0,0,,,,,,,,,0,,,,no prediction,"a, b",,0123,3'


def test_h5_gives_the_rates_back(measured: Measured) -> None:
    _, layout, found = measured
    back = stage.read(layout.rates_h5)
    assert stage.table(back) == stage.table(found)
    assert repr(back) == repr(found)  # repr, because NaN differs from itself
    assert repr([r.cloud for r in back]) == repr([r.cloud for r in found])


def test_h5_opens_in_xarray(measured: Measured) -> None:
    _, layout, found = measured
    with xr.open_dataset(layout.rates_h5, engine="h5netcdf") as data:
        assert data.exponent.dims == ("rate",)
        assert data.point_estimate.dims == ("point",)
        assert data.sizes["rate"] == len(found) + len(read_in_time(layout.rates_h5))
        assert data.exponent.attrs["units"] == "1"
        assert "long_name" in data.point_local_slope.attrs
        at_end = (data.quantity == "drift") & (data["at"] == "beta=0.75") & (data.in_time == 0)
        drift = data.where(at_end, drop=True)
        assert float(drift.exponent[0]) == of(found, "drift").exponent


def test_running_twice_gives_the_same_numbers(measured: Measured) -> None:
    study, layout, _ = measured
    before, text = store.digest_of(layout.rates_h5), layout.rates_csv.read_bytes()
    run(study, layout)
    assert store.digest_of(layout.rates_h5) == before
    assert layout.rates_csv.read_bytes() == text


def test_table_fits_a_terminal(measured: Measured) -> None:
    found = measured[2]
    lines = stage.table(found).splitlines()
    assert max(map(len, lines)) <= 100
    assert lines[0].split() == ["measured", "±", "half", "predicted", "at", "infinity", "extrapolated", "verdict"]
    drift = lines[lines.index("drift in N (plain)") + 1]
    rate = of(found, "drift", at="beta=0.6")
    assert f"{rate.exponent:.3f} ± {0.5 * (rate.ci_high - rate.ci_low):.3f}" in drift
    assert "0.4 (heuristic)" in drift
    notes = [r.note for r in found if r.note]
    assert sum(line.startswith("[") for line in lines) == len(set(notes))
