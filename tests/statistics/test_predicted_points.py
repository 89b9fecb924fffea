"""Measured points against predicted ones: exponents with the errors that both share, and all points at once."""

from __future__ import annotations

import math
import re
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from rnnlimits.statistics import powerlaw, rows
from rnnlimits.statistics.bootstrap import Array, Bootstrap, Sample
from rnnlimits.statistics.powerlaw import Point
from rnnlimits.statistics.predictions import Foreseen, Predicted, compare, gap_of, joint_test, predicted_point
from rnnlimits.statistics.ratefile import Rate
from rnnlimits.statistics.samples import average, bias
from rnnlimits.statistics.verdicts import POWER, Expected, judge_comparison

UNITS, COUNT = 64, 400
TABLE = np.random.default_rng(5).random((UNITS, COUNT))
BOOTSTRAP = Bootstrap(lambda units, count: TABLE[units, :count], COUNT)
WIDTH = 2.0 ** np.arange(6, 12)
BLANK = Rate("s", "q", "plain", "N", "all")


def sample(path: Array, other: Array, j: int) -> Sample:
    """Values of units at width j: their common path, and noise of their own, around WIDTH^-1/2."""
    return average(WIDTH[j] ** -0.5 * (1 + path[:, j] + other[:, j])[:, None])


@pytest.fixture(scope="module")
def noise() -> tuple[Array, Array]:
    rng = np.random.default_rng(6)
    return 0.3 * rng.normal(size=(UNITS, len(WIDTH))), 0.02 * rng.normal(size=(UNITS, len(WIDTH)))


def both(noise: tuple[Array, Array], factor: float = 1.0) -> tuple[list[Point], list[Predicted]]:
    """Points, and predictions that follow their path, times `factor`."""
    path, own = noise
    points = [powerlaw.measure(n, sample(path, own, j), BOOTSTRAP) for j, n in enumerate(WIDTH)]
    followed = [sample(path, 0 * own, j) for j in range(len(WIDTH))]
    scaled = [Sample(factor * one.statistics, one.combine, replicas=UNITS) for one in followed]
    return points, [predicted_point(n, one, BOOTSTRAP) for n, one in zip(WIDTH, scaled, strict=True)]


def test_noise_that_a_prediction_follows_cancels(noise: tuple[Array, Array]) -> None:
    points, predicted = both(noise)
    found, measured = compare(points, predicted), powerlaw.fit(points).slope
    assert found is not None
    assert found.difference is not None
    assert found.difference.half_width < 0.1 * measured.half_width
    assert found.difference.value == pytest.approx(measured.value - found.exponent, abs=1e-9)
    assert found.stderr == pytest.approx(measured.stderr, rel=0.1)
    assert found.joint.p > 0.01
    assert found.p <= 2 * found.joint.p


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_a_prediction_below_zero_has_its_error_too(noise: tuple[Array, Array], sign: float) -> None:
    """Values of either sign, measured 20% off a prediction that is known to 40%: half an error away, either way."""
    path, own = noise
    followed, seen = sample(path, 0 * own, 0), sample(path, own, 0)
    foreseen = replace(followed, statistics=sign * followed.statistics, signed=True)
    measured = replace(seen, statistics=sign * 1.2 * followed.statistics, signed=True)
    gap = gap_of(
        powerlaw.measure(WIDTH[0], measured, BOOTSTRAP),
        predicted_point(WIDTH[0], Foreseen(foreseen, apart=0.4), BOOTSTRAP),
    )
    assert gap is not None
    assert gap.apart > 0.9  # in units of its own error
    assert gap.value == pytest.approx(sign * 0.5, rel=0.1)


def test_an_exact_prediction_leaves_the_noise_of_the_points(noise: tuple[Array, Array]) -> None:
    points, _ = both(noise)
    measured = powerlaw.fit(points).slope
    found = compare(points, [predicted_point(n, n**-0.5, BOOTSTRAP) for n in WIDTH])
    assert found is not None
    assert found.difference is not None
    assert (found.exponent, found.stderr) == (pytest.approx(0.5), 0.0)
    assert found.difference.half_width == pytest.approx(measured.half_width, rel=1e-6)


def test_what_would_narrow_a_wide_interval(noise: tuple[Array, Array]) -> None:
    """Replicas, if it is the measured points' noise; wider networks, if it is the prediction's own error."""
    points, predicted = both(noise)
    rough = [replace(one, apart=0.5) for one in predicted]
    found, sure = compare(points, rough), compare(points, predicted)
    assert found is not None
    assert sure is not None
    assert (sure.apart, found.apart) == (0.0, pytest.approx(found.stderr, rel=0.1))
    doubt = judge_comparison(found, 0.5, POWER).doubt
    assert re.fullmatch(r"half-width .* is over 0\.15, that of the prediction alone is .*: larger widths .*", doubt)
    apart = 0.5 * np.log(2) * np.std(np.arange(6)) * 6**0.5 / np.square(np.log(WIDTH) - np.log(WIDTH).mean()).sum()
    assert found.apart == pytest.approx(apart, rel=0.2)  # with equal weights


def test_independent_errors_of_a_prediction_add(noise: tuple[Array, Array]) -> None:
    points, _ = both(noise)
    error = 0.05
    found = compare(points, [Predicted(n, n**-0.5, error * n**-0.5) for n in WIDTH])
    assert found is not None
    assert found.difference is not None
    contrast = powerlaw.Line(np.log(WIDTH), points).contrast()
    assert found.stderr == pytest.approx(error * np.sqrt(np.square(contrast).sum()))
    assert found.difference.stderr == pytest.approx(
        math.hypot(powerlaw.fit(points).slope.stderr, found.stderr), rel=1e-6
    )


def test_a_wrong_constant_shows_in_all_points_not_in_the_exponent(noise: tuple[Array, Array]) -> None:
    right, wrong = (compare(*both(noise, factor)) for factor in (1.0, 1.03))
    assert right is not None
    assert wrong is not None
    assert right.difference is not None
    assert wrong.difference is not None
    assert wrong.difference.value == pytest.approx(right.difference.value, abs=1e-9)
    assert wrong.joint.p < 1e-6 < right.joint.p


def test_points_without_a_prediction_take_no_part(noise: tuple[Array, Array]) -> None:
    points, predicted = both(noise)
    fewer = [Predicted(predicted[0].variable, math.nan, math.nan), *predicted[1:]]
    found, without = compare(points, fewer), compare(points[1:], predicted)
    assert found is not None
    assert found.points == len(WIDTH) - 1
    assert repr(found) == repr(without)
    assert compare(points, []) is None
    assert compare([point.drop("spoiled") for point in points], predicted) is None


def test_a_single_point_has_no_exponent_but_a_test(noise: tuple[Array, Array]) -> None:
    points, predicted = both(noise, 1.5)
    found = compare(points[:1], predicted)
    assert found is not None
    assert found.difference is None
    assert math.isnan(found.exponent)
    assert found.p == found.joint.p < 1e-6


def test_a_row_has_all_three_numbers_and_its_points_their_predictions(noise: tuple[Array, Array]) -> None:
    points, predicted = both(noise)
    row = rows.judged(BLANK, points, Expected(0.45, "heuristic"), predicted=predicted)
    assert row.exponent == pytest.approx(0.5, abs=4 * row.stderr)
    assert row.predicted == pytest.approx(row.exponent, abs=0.02)
    assert row.expected == 0.45
    assert math.isnan(row.corrected)
    assert row.chi2_dof == len(WIDTH)
    assert [point.predicted for point in row.cloud] == [one.value for one in predicted]
    assert [point.predicted_stderr for point in row.cloud] == [one.stderr for one in predicted]


def test_too_few_points_exclude_but_do_not_confirm(noise: tuple[Array, Array]) -> None:
    for factor in (1.0, 1.5):
        points, predicted = both(noise, factor)
        row = rows.judged(BLANK, points[:3], Expected(0.5, "heuristic"), predicted=predicted)
        assert row.refused
        assert row.verdict == "cannot tell"
        assert row.doubt
        assert (row.p < 1e-6) == (factor > 1)


def test_values_that_are_not_positive_are_no_predictions() -> None:
    bad = average(np.linspace(-2.0, 1.0, UNITS)[:, None])
    assert math.isnan(predicted_point(64, bad, BOOTSTRAP).value)
    assert predicted_point(64, 0.25, BOOTSTRAP).stderr == 0.0


# --- the joint test --------------------------------------------------------------------------------------------


def test_with_units_enough_it_is_hotellings() -> None:
    """Its statistic by hand, its p-value from its law."""
    rng = np.random.default_rng(8)
    mixing = rng.normal(size=(4, 4)) + 2 * np.eye(4)
    covariance, gap = mixing @ mixing.T, rng.normal(size=4)
    found = joint_test(np.arange(4.0), gap, covariance, 40.0)
    statistic = float(gap @ np.linalg.solve(covariance, gap))
    assert found.combinations == 4
    assert found.statistic == pytest.approx(statistic)
    assert found.p == pytest.approx(stats.f.sf(statistic * 37 / (40 * 4), 4, 37))


@pytest.mark.parametrize(("units", "combinations"), [(200, 8), (12, 2), (8, 1)])
def test_p_values_are_uniform_with_few_units_too(units: int, combinations: int) -> None:
    """Of 2000 tests of a true hypothesis 5% are below 5%, give or take 0.5% (allowed: four times that)."""
    rng, x = np.random.default_rng(9), np.arange(8.0)
    mixing = np.eye(8) + 0.5
    p = []
    for _ in range(2000):
        drawn = rng.normal(size=(units, 8)) @ mixing
        found = joint_test(x, drawn.mean(0), np.cov(drawn.T) / units, units - 1.0)
        p.append(found.p)
    assert found.combinations == combinations
    assert np.mean(np.array(p) < 0.05) == pytest.approx(0.05, abs=0.02)


def test_few_units_test_the_level_first() -> None:
    covariance = 0.01 * np.eye(8)
    level, zigzag = np.full(8, 0.5), 0.5 * (-1.0) ** np.arange(8)
    assert joint_test(np.arange(8.0), level, covariance, 6.0).p < 0.01
    assert joint_test(np.arange(8.0), zigzag, covariance, 6.0).p > 0.1


def biased(rng: np.random.Generator, mean: float, units: int = UNITS) -> Sample:
    """The debiased square of a mean over 4 probes, under noise of 1."""
    return bias(mean + rng.normal(size=(units, 4)))


def test_small_debiased_squares_are_compared_too() -> None:
    """Predicted well below the noise, and right: flagged at 5% in at most 5% of 300 seeds (binomial bound 9%).

    Points that stand out by chance alone would all be too large; so all points count, also the negative ones.
    """
    truth, flagged, unused = 0.05, 0, 0
    for seed in range(300):
        rng = np.random.default_rng(seed)
        points = [powerlaw.measure(n, biased(rng, truth), BOOTSTRAP) for n in WIDTH[:4]]
        unused += sum(bool(point.reason) for point in points)
        found = compare(points, [Predicted(n, truth, 0.0) for n in WIDTH[:4]])
        assert found is not None
        assert found.points == 4
        flagged += found.p < 0.05
    assert unused > 900, "most points must not be significant"
    assert flagged < 0.09 * 300


def test_a_wrong_prediction_of_small_squares_is_found() -> None:
    """A bias of a third of the noise of one unit where 0.02 is predicted."""
    rng = np.random.default_rng(1)
    points = [powerlaw.measure(n, biased(rng, 0.33), BOOTSTRAP) for n in WIDTH[:4]]
    found = compare(points, [Predicted(n, 0.02, 0.0) for n in WIDTH[:4]])
    assert found is not None
    assert found.p < 0.01


def test_the_predicted_exponent_is_there_without_usable_points() -> None:
    rng = np.random.default_rng(2)
    points = [powerlaw.measure(n, biased(rng, 0.0), BOOTSTRAP) for n in WIDTH]
    found = compare(points, [Predicted(n, 0.3 / n, 0.03 / n) for n in WIDTH])
    assert found is not None
    assert found.difference is None
    assert found.exponent == pytest.approx(1.0)
    slope = np.log(WIDTH) - np.log(WIDTH).mean()
    assert found.stderr == pytest.approx(0.1 / np.sqrt(np.square(slope).sum()))


def test_what_does_not_move_at_all_is_not_what_was_predicted_to_move() -> None:
    """Measured values of exactly 0, which have no logarithm, where theory predicts others."""
    points = [powerlaw.measure(n, average(np.zeros((UNITS, 1))), BOOTSTRAP) for n in WIDTH]
    found = compare(points, [Predicted(n, 1 / n, 0.1 / n) for n in WIDTH])
    assert found is not None
    assert found.p < 1e-6


@pytest.mark.parametrize("joint_replicates", [False, True])
def test_errors_apart_from_the_replicas_count_in_the_joint_test(
    noise: tuple[Array, Array], joint_replicates: bool
) -> None:
    """A constant that is 3% off is found, and is not where the prediction itself is uncertain by 3% at each point."""
    points, predicted = both(noise, 1.03)
    if not joint_replicates:
        points = [powerlaw.measure(n, sample(0 * noise[0], noise[1], j), BOOTSTRAP) for j, n in enumerate(WIDTH)]
        predicted = [Predicted(n, 1.03 * n**-0.5, 0.0) for n in WIDTH]
    sure = compare(points, predicted)
    unsure = compare(points, [
        replace(one, apart=0.03) if joint_replicates else replace(one, stderr=0.03 * one.value) for one in predicted
    ])  # fmt: skip
    assert sure is not None
    assert unsure is not None
    assert sure.joint.p < 1e-6
    assert unsure.joint.p > 0.01


@pytest.mark.parametrize(
    ("factor", "above", "agrees"),
    [(1.0, 0.0, True), (0.8, 0.0, False), (0.8, 0.4, True), (0.3, 0.4, False), (1.2, 0.4, False)],
    ids=["right", "too small", "within what is left out", "beyond that", "too large, which nothing excuses"],
)
def test_terms_that_are_left_out_only_raise(
    noise: tuple[Array, Array], factor: float, above: float, agrees: bool
) -> None:
    """The prediction is `factor` times the truth; never negative terms may raise it by the part `above`."""
    points, predicted = both(noise, factor)
    found = compare(points, [replace(one, above=above) for one in predicted])
    assert found is not None
    assert (found.joint.p > 0.01) == agrees


# --- how many replicas -----------------------------------------------------------------------------------------


def biases(rng: np.random.Generator, size: Array, units: int) -> list[Point]:
    """Debiased squares of means that have these sizes (width,), in unit noise of one probe."""
    table = rng.random((units, COUNT))
    drawn = Bootstrap(lambda index, count: table[index % units, :count], COUNT)
    values = (bias(one + rng.normal(size=(units, 1))) for one in size)
    return [powerlaw.measure(n, value, drawn) for n, value in zip(WIDTH, values, strict=False)]


def note_of(points: list[Point], predicted: list[Predicted]) -> str:
    return rows.judged(BLANK, points, Expected(0.5, "theorem"), predicted=predicted).note


def test_a_prediction_says_how_many_replicas_a_weak_value_needs() -> None:
    """The fourth of five sizes is .17 of the noise: with the number that the note names, its square is 3 errors.

    Whatever 48 replicas showed by chance, which often is a square below zero. The factor follows from the bootstrap's
    error, known to a third; as the significance of the largest sample scatters by 1, a median of 9 is known to .4.
    """
    rng, size = np.random.default_rng(21), np.array([3.0, 2.0, 1.5, 0.17, 0.12])
    predicted = [Predicted(n, one, 0.0) for n, one in zip(WIDTH, size, strict=False)]
    said = [note_of(biases(rng, size, 48), predicted) for _ in range(9)]
    factors = [int(found[1]) for note in said if (found := re.search(r"about (\d+) times the replicas at 512 ", note))]
    assert len(factors) == len(said)
    assert all(note.endswith("would do, by prediction") for note in said)
    median = int(np.median(factors))
    assert 2.0 < np.median([biases(rng, size, 48 * median)[3].significance for _ in range(9)]) < 5.0


def test_without_a_prediction_only_a_measured_value_says_it() -> None:
    """A square far below its noise tells nothing; nor does a prediction that is known no better."""
    rng, size = np.random.default_rng(22), np.array([3.0, 2.0, 1.5, 0.0])
    points = biases(rng, size, 48)
    points[3] = replace(points[3], significance=0.1)
    assert "far more replicas are needed" in note_of(points, [])
    vague = predicted_point(WIDTH[3], bias(np.random.default_rng(23).normal(size=(UNITS, 1))), BOOTSTRAP)
    assert vague.natural_replicates is not None
    vague = replace(vague, natural=1.5 * float(np.std(vague.natural_replicates)))
    assert "far more replicas are needed" in note_of(points, [vague])


def test_the_note_names_all_widths_that_need_more() -> None:
    rng, size = np.random.default_rng(24), np.array([3.0, 2.0, 0.2, 0.15, 0.1])
    predicted = [Predicted(n, one, 0.0) for n, one in zip(WIDTH, size, strict=False)]
    assert re.search(
        r"about \d+ times the replicas at 256 to 512 would do, by prediction", note_of(biases(rng, size, 48), predicted)
    )
