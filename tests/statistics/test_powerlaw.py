"""Fits and intervals against known exponents, textbook standard errors, and their stated coverage.

Coverage tests run 1,000 trials at a fixed seed. With a true coverage of 95% a result outside 93 to 97% has a chance of
0.4% (binomial); the other statistical tests state theirs.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from rnnlimits import kernels
from rnnlimits.base.errors import StudyError
from rnnlimits.base.streams import Stream
from rnnlimits.kernels.interface import Backend
from rnnlimits.statistics import powerlaw
from rnnlimits.statistics.bootstrap import CHUNK, Bootstrap, Sample, degrees_of_freedom, quantile
from rnnlimits.statistics.powerlaw import Fit, Point, RateRefused
from rnnlimits.statistics.samples import average, bias, rms, spread

Array = NDArray[np.float64]

TABLE = np.random.default_rng(2024).random((1024, 2000))
WIDTHS = np.array([64, 128, 256, 512, 1024, 2048, 4096, 8192], dtype=np.float64)
PROBES, TRIALS, EXPONENT = 16, 1000, 0.25
MODES = np.linalg.qr(np.random.default_rng(7).normal(size=(PROBES, 4)))[0] * np.sqrt(PROBES)
SIZES = np.sqrt(np.array([1.0, 0.35, 0.15, 0.05]) / 1.55)  # of the modes: neighbouring probes are alike
LEVELS = [256, 128, 128, 64, 64, 32, 32, 32]  # replicas, as a study affords them


def uniforms(units: NDArray[np.int64], count: int) -> Array:
    return np.asarray(TABLE[units % len(TABLE), :count])


def bootstrap(count: int = 400, first: int = 0) -> Bootstrap:
    return Bootstrap(lambda units, wanted: uniforms(units + first, wanted), count)


# --- synthetic fields: (trial, replica, 1, probe) at each width ------------------------------------------------

Draw = Callable[[np.random.Generator, tuple[int, ...]], Array]
SHAPES: dict[str, Draw] = {
    "normal": lambda rng, shape: rng.normal(size=shape),
    "heavy": lambda rng, shape: rng.standard_t(6, size=shape) / np.sqrt(1.5),
    "skewed": lambda rng, shape: (rng.gamma(4, size=shape) - 4) / 2,
}


def fields(draw: Draw, replicas: list[int], common: float, trials: int, seed: int) -> list[Array]:
    """Unit-variance fields; a share `common` of the variance is the same replica's at every width."""
    rng = np.random.default_rng(seed)
    shared = draw(rng, (trials, max(replicas), 4))
    found = []
    for count in replicas:
        own = draw(rng, (trials, count, 4))
        mixed = np.sqrt(common) * shared[:, :count] + np.sqrt(1 - common) * own
        found.append((mixed * SIZES @ MODES.T)[:, :, None, :])
    return found


def signal() -> Array:
    profile = MODES @ np.array([1.0, 0.5, 0.3, 0.1])
    return np.asarray(profile / np.sqrt(np.square(profile).mean()))


KINDS: dict[str, Callable[[Array, float], Sample]] = {
    "rms": lambda field, n: rms(n**-EXPONENT * field),
    "spread": lambda field, n: spread(n**-EXPONENT * (field + 0.3 * signal())),
    "bias": lambda field, n: bias(n**-EXPONENT * signal() + (n**-0.5 * field)[:, 0]),
    "mean of a maximum": lambda field, n: average(n**-EXPONENT * np.exp(0.25 * field[..., 0])),
}


def fit_trial(kind: str, trial: list[Array], boot: Bootstrap, widths: Array = WIDTHS) -> Fit:
    pairs = zip(trial, widths, strict=False)
    return powerlaw.fit([powerlaw.measure(n, KINDS[kind](field, n), boot) for field, n in pairs])


def run_trials(kind: str, shape: str, replicas: list[int], common: float, seed: int, trials: int = TRIALS) -> list[Fit]:
    boot = bootstrap()
    cells = fields(SHAPES[shape], replicas, common, trials, seed)
    return [fit_trial(kind, [cell[t] for cell in cells], boot) for t in range(trials)]


# --- the interval ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "shape", "replicas", "common"),
    [
        ("rms", "normal", [64] * 6, 0.9),
        ("rms", "heavy", LEVELS, 0.7),
        ("spread", "heavy", [128] * 8, 0.7),
        ("spread", "skewed", [32] * 6, 0.5),
        ("bias", "skewed", [64] * 8, 0.7),
        ("bias", "normal", LEVELS, 0.3),
        ("mean of a maximum", "heavy", [32] * 6, 0.9),
        ("mean of a maximum", "normal", LEVELS, 0.7),
    ],
)
def test_interval_covers_the_exponent_and_misfit_is_rarely_called(
    kind: str, shape: str, replicas: list[int], common: float
) -> None:
    fits = run_trials(kind, shape, replicas, common, seed=5)
    covered = np.mean([fit.slope.low <= EXPONENT <= fit.slope.high for fit in fits])
    assert 0.93 <= covered <= 0.97
    # called at 1%: more than 25 of 1,000 has a chance below 1e-4 if the p-value is right
    assert np.mean([fit.chi2_p < powerlaw.MISFIT for fit in fits]) <= 0.025
    assert np.mean([fit.drifts for fit in fits]) <= 0.025


@pytest.mark.parametrize(("shape", "common"), [("normal", 0.0), ("normal", 0.3), ("skewed", 0.7), ("heavy", 0.9)])
def test_interval_covers_although_weak_points_are_left_out(shape: str, common: float) -> None:
    """A bias N^-0.8 under a noise N^-1/2: of 8 widths about 5.3 stand out of it. Refused ones make no claim.

    Keeping whichever points stand out covers 92.0% of the first of these (the same seed).
    """
    true, boot = 0.8, bootstrap()
    cells = fields(SHAPES[shape], [64] * 8, common, TRIALS, seed=5)
    covered, kept = [], []
    for trial in range(TRIALS):
        samples = [
            bias(5.3 * n**-true * signal() + n**-0.5 * c[trial][:, 0]) for c, n in zip(cells, WIDTHS, strict=True)
        ]
        points = [powerlaw.measure(n, sample, boot) for n, sample in zip(WIDTHS, samples, strict=True)]
        kept.append(sum(not point.reason for point in points))
        try:
            slope = powerlaw.fit(points).slope
        except RateRefused:
            continue
        covered.append(slope.low <= true <= slope.high)
    assert 5.1 <= np.mean(kept) <= 5.5
    assert len(covered) > 0.9 * TRIALS
    assert 0.93 <= np.mean(covered) <= 0.97


def test_local_exponents_cover_too() -> None:
    fits = run_trials("rms", "normal", [64] * 6, 0.7, seed=8)
    covered = np.mean([[slope.low <= EXPONENT <= slope.high for slope in fit.local] for fit in fits], axis=0)
    # five intervals, each outside 93 to 97% with a chance of 0.4%
    assert np.all((covered >= 0.93) & (covered <= 0.97))


def test_common_random_numbers_matter() -> None:
    """Joint resampling knows the scatter of the exponent; resampling each width by itself does not."""
    trials, replicas = 300, [64] * 6
    cells = fields(SHAPES["normal"], replicas, 0.95, trials, seed=6)
    joint = bootstrap()
    apart = [bootstrap(first=97 * (j + 1)) for j in range(6)]
    slopes, joint_error, apart_error = [], [], []
    for trial in range(trials):
        samples = [KINDS["rms"](cell[trial], n) for cell, n in zip(cells, WIDTHS, strict=False)]
        together = powerlaw.fit([powerlaw.measure(n, s, joint) for n, s in zip(WIDTHS, samples, strict=False)])
        alone = powerlaw.fit([powerlaw.measure(n, s, b) for n, s, b in zip(WIDTHS, samples, apart, strict=False)])
        slopes.append(together.slope.value)
        joint_error.append(together.slope.stderr)
        apart_error.append(alone.slope.stderr)
    scatter = np.std(slopes)  # itself known to 4%
    assert np.mean(joint_error) == pytest.approx(scatter, rel=0.15)
    assert np.mean(apart_error) > 2.5 * scatter


def test_known_law_is_recovered() -> None:
    rng = np.random.default_rng(1)
    noise = 1 + 0.01 * rng.normal(size=(40, 1))
    points = [powerlaw.measure(n, average(3.0 * n**-0.4 * noise), bootstrap()) for n in WIDTHS]
    found = powerlaw.fit(points)
    # all widths share their noise: the exponent is exact, the prefactor is not
    assert found.slope.value == pytest.approx(0.4, abs=1e-4)
    assert found.slope.half_width < 1e-4
    assert found.prefactor == pytest.approx(3.0, rel=0.01)
    assert [slope.value for slope in found.local] == pytest.approx([0.4] * 7, abs=1e-4)
    assert found.notes == []


def test_geometric_law_is_recovered() -> None:
    noise = np.exp(0.1 * np.random.default_rng(2).normal(size=(64, 1)))
    points = [powerlaw.measure(k, average(2.0 * np.exp(-0.7 * k) * noise), bootstrap()) for k in range(1, 9)]
    found = powerlaw.fit(points, geometric=True)
    assert found.slope.value == pytest.approx(0.7, abs=1e-4)
    assert found.prefactor == pytest.approx(2.0, rel=0.05)


def test_order_of_points_does_not_matter() -> None:
    cells = [cell[0] for cell in fields(SHAPES["normal"], [32] * 6, 0.5, 1, seed=3)]
    points = [powerlaw.measure(n, KINDS["rms"](cell, n), bootstrap()) for cell, n in zip(cells, WIDTHS, strict=False)]
    assert powerlaw.fit(points[::-1]).slope.value == powerlaw.fit(points).slope.value


def test_two_laws_are_told_from_one_and_widen_the_interval() -> None:
    cells = [cell[0] for cell in fields(SHAPES["normal"], [256] * 8, 0.7, 1, seed=4)]
    both = [rms((n**-0.2 + 8.0 / n) * cell) for cell, n in zip(cells, WIDTHS, strict=True)]
    found = powerlaw.fit([powerlaw.measure(n, sample, bootstrap()) for n, sample in zip(WIDTHS, both, strict=True)])
    assert found.chi2_p < powerlaw.MISFIT
    assert found.scale > 1
    small, large = (half.value for half in found.halves)
    assert found.drifts
    assert small > large
    assert any("not one law" in note and "widened" in note for note in found.notes)
    assert any("drifts" in note for note in found.notes)
    # wider than the bootstrap alone would have it, by the factor it states and by Student's for 6 residuals
    assert found.slope.stderr == pytest.approx(found.scale * np.std(found.slope.replicates), rel=1e-6)
    assert found.slope.dof <= 6


# --- refusals --------------------------------------------------------------------------------------------------


def refusal_of(points: list[Point]) -> RateRefused:
    with pytest.raises(RateRefused) as caught:
        powerlaw.fit(points)
    assert isinstance(caught.value, StudyError)
    assert "\n" not in str(caught.value)
    return caught.value


def test_three_widths_are_refused_and_the_estimate_travels() -> None:
    cells = [cell[0] for cell in fields(SHAPES["normal"], [128] * 3, 0.9, 1, seed=9)]
    refusal = refusal_of(
        [powerlaw.measure(n, KINDS["rms"](c, n), bootstrap()) for c, n in zip(cells, WIDTHS, strict=False)]
    )
    assert "3 usable points, 4 are needed" in str(refusal)
    assert "add 1 or more values" in str(refusal)
    assert refusal.estimate is not None
    # 128 replicas: the exponent's own standard error is about 0.02
    assert refusal.estimate.slope.value == pytest.approx(EXPONENT, abs=0.1)


def test_noise_without_a_bias_is_refused() -> None:
    cells = [cell[0] for cell in fields(SHAPES["normal"], [64] * 8, 0.5, 1, seed=10)]
    points = [powerlaw.measure(n, bias(cell[:, 0]), bootstrap()) for cell, n in zip(cells, WIDTHS, strict=True)]
    refusal = refusal_of(points)
    # at one point, noise reaches 3 standard errors with a chance of about 2%
    assert refusal.estimate is None
    assert all(point.reason == "debiased square under 3 standard errors" for point in refusal.points)
    assert "more replicas are needed" in str(refusal) or "times the replicas" in str(refusal)


def test_refusal_says_how_many_more_replicas() -> None:
    """Significance grows with the root of their number: with 2 standard errors, 3 need 9/4 as many, so about 3."""
    strong = [Point(n, 1.0, 0.1, 10.0, 0.0, np.zeros(9), np.zeros(9), 64, 64) for n in (1.0, 2.0, 3.0)]
    weak = [Point(n, 1.0, 0.5, s, 0.0, np.zeros(9), np.zeros(9), 64, 64) for n, s in ((4.0, 2.0), (5.0, 1.0))]
    assert "about 3 times the replicas at 4 would do" in str(refusal_of(strong + weak))


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("count", [1, 2, 3, 6])
def test_a_few_replicas_are_refused(count: int, kind: str) -> None:
    cells = [cell[0] for cell in fields(SHAPES["normal"], [count] * 8, 0.5, 1, seed=11)]
    refusal = refusal_of(
        [powerlaw.measure(n, KINDS[kind](c, n), bootstrap()) for c, n in zip(cells, WIDTHS, strict=True)]
    )
    assert "run at least 8 replicas" in str(refusal)


def test_dropped_points_do_not_enter() -> None:
    cells = [cell[0] for cell in fields(SHAPES["normal"], [64] * 6, 0.5, 1, seed=12)]
    points = [powerlaw.measure(n, KINDS["rms"](c, n), bootstrap()) for c, n in zip(cells, WIDTHS, strict=False)]
    wrong = powerlaw.measure(4096.0, rms(50 * cells[0]), bootstrap()).drop("known to be wrong")
    found = powerlaw.fit([*points, wrong])
    assert found.slope.value == powerlaw.fit(points).slope.value
    assert found.notes == ["left out at 4096: known to be wrong"]
    assert found.used.tolist() == [True] * 6 + [False]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("value", [np.nan, np.inf, 1e200])
def test_values_that_are_not_finite_never_reach_a_fit(kind: str, value: float) -> None:
    """One in one replica; the square of 1e200 is out of range, and so is its exponential."""
    cells = [cell[0] for cell in fields(SHAPES["normal"], [64] * 6, 0.5, 1, seed=12)]
    points = [powerlaw.measure(n, KINDS[kind](c, n), bootstrap()) for c, n in zip(cells, WIDTHS, strict=False)]
    spoilt = cells[2].copy()
    spoilt[5, 0, 0] = value
    with np.errstate(all="ignore"):
        wrong = powerlaw.measure(WIDTHS[2], KINDS[kind](spoilt, WIDTHS[2]), bootstrap())
    assert wrong.reason == powerlaw.NOT_FINITE
    assert wrong.units == 64
    found = powerlaw.fit([*points[:2], wrong, *points[3:]])
    assert found.slope.value == powerlaw.fit([*points[:2], *points[3:]]).slope.value
    assert f"left out at 256: {powerlaw.NOT_FINITE}" in found.notes
    refusal = str(refusal_of([wrong] * 4))
    assert powerlaw.NOT_FINITE in refusal
    assert "replicas" not in refusal


def test_a_blur_that_is_not_finite_drops_the_point() -> None:
    assert debiased(64, 9).blur(bootstrap(100), np.nan).reason == powerlaw.NOT_FINITE


def debiased(variable: float, significance: float, units: int = 64) -> Point:
    rng = np.random.default_rng(int(variable))
    replicates, influence = rng.normal(size=(2, 100)) * 0.1
    log = -0.5 * np.log(variable)
    found = Point(variable, np.exp(log), 0.1, significance, log, replicates, influence, units, units, signed=True)
    return found


def test_debiased_points_are_a_run_from_the_smallest_on() -> None:
    """Beyond the first that does not stand out, one that does is a fluctuation."""
    points = [debiased(n, s) for n, s in zip(WIDTHS, (40, 20, 9, 6, 4, 2, 5, 1), strict=True)]
    found = powerlaw.fit(points[::-1])
    assert found.used.tolist() == [True] * 5 + [False] * 3
    assert "left out at 2048, 8192: debiased square under 3 standard errors" in found.notes
    assert f"left out at 4096: {powerlaw.BEYOND}" in found.notes
    # a point that the limit's own error spoils is as small; one that is never judged by its size is no reason
    spoilt = powerlaw.fit(
        [points[0], *(debiased(n, 9) for n in WIDTHS[1:5]), debiased(2048, 9).drop("limit"), *points[6:]]
    )
    assert spoilt.used.sum() == 5
    assert powerlaw.fit([debiased(64, 9, units=4), *points[1:5]]).used.sum() == 4


def test_refusal_of_a_short_run_says_how_many_more_replicas() -> None:
    points = [debiased(n, s) for n, s in zip(WIDTHS[:6], (40, 20, 9, 2, 5, 1), strict=True)]
    refusal = refusal_of(points)
    assert "3 usable points, 4 are needed" in str(refusal)
    assert "about 3 times the replicas at 512 would do" in str(refusal)


def test_weights_favour_the_points_that_are_known_best() -> None:
    """Errors of the logarithm that grow from 1% to 100%: the fit is about as sure as the best there is."""
    errors = np.geomspace(0.01, 1.0, 8)
    rng = np.random.default_rng(23)
    replicates, influence = errors * rng.normal(size=(4000, 8)), errors * rng.normal(size=(64, 8)) / 8
    points = [
        Point(n, 1.0, e, 9.0, 0.0, r, i, 64, 64)
        for n, e, r, i in zip(WIDTHS, errors, replicates.T, influence.T, strict=True)
    ]
    x = np.log(WIDTHS)
    weight = errors**-2 / np.sum(errors**-2)
    best = 1 / np.sqrt(np.sum(errors**-2) * (weight @ (x - weight @ x) ** 2))
    # 4,000 replicates know a standard error to 1.1%
    assert powerlaw.fit(points).slope.stderr == pytest.approx(best, rel=0.06)


# --- resampling and estimators ---------------------------------------------------------------------------------


def test_weights_are_poisson_and_belong_to_units() -> None:
    whole = Bootstrap(uniforms, 2000)
    weight = np.concatenate([whole.chunk(index) for index in range(256 // CHUNK)])
    # 512,000 weights: mean and variance have standard errors 0.0014 and 0.0025; 5 of them
    assert weight.mean() == pytest.approx(1, abs=0.007)
    assert weight.var() == pytest.approx(1, abs=0.0125)
    assert np.mean(weight == 0) == pytest.approx(np.exp(-1), abs=0.0035)
    later = Bootstrap(uniforms, 2000)
    later.chunk(3)
    np.testing.assert_array_equal(later.chunk(0), weight[:CHUNK])


def test_weights_from_the_kernels_are_the_same_on_every_back_end() -> None:
    be = kernels.backend("numpy")
    other = kernels.backend("auto")

    def of(chosen: Backend) -> Array:
        draw = Bootstrap(lambda units, count: chosen.uniforms(3, Stream.BOOTSTRAP, units.astype(np.uint32), count), 50)
        return draw.chunk(1)

    np.testing.assert_array_equal(of(be), of(other))


@pytest.mark.parametrize("count", [24, 700])
def test_error_of_a_mean_is_the_textbook_one(count: int) -> None:
    """Also across chunks of units. 2,000 replicates know a standard error to 1.6%: five of these, with a margin."""
    values = np.random.default_rng(13).gamma(3.0, size=(count, 1))
    point = powerlaw.measure(1.0, average(values), Bootstrap(uniforms, 2000))
    assert point.estimate == pytest.approx(values.mean(), rel=1e-12)
    assert point.stderr == pytest.approx(values.std(ddof=1) / np.sqrt(count), rel=0.09)
    # influences are deviations over n: their square sum is the variance of the mean
    influence = point.log_influence * point.estimate
    np.testing.assert_allclose(influence, (values[:, 0] - values.mean()) / count, rtol=0.05, atol=1e-4)


def test_error_of_a_standard_deviation_is_the_textbook_one() -> None:
    """s.e. of s is sigma / sqrt(2 n) for normal values; 400 of them, averaged over 200 data sets."""
    rng = np.random.default_rng(14)
    errors = [powerlaw.measure(1.0, spread(rng.normal(size=(400, 1, 1))), bootstrap()).stderr for _ in range(200)]
    assert np.mean(errors) == pytest.approx(1 / np.sqrt(800), rel=0.03)


def test_pairs_give_an_unbiased_variance() -> None:
    """12 antithetic pairs whose members are odd and even parts together; 20,000 data sets know the mean to 0.4%."""
    rng = np.random.default_rng(15)
    odd, even = rng.normal(size=(20000, 12, 1)), 0.5 * rng.normal(size=(20000, 12, 1))
    values = np.stack([odd + even, even - odd], axis=2) + 3.0
    found = [spread(one) for one in values]
    variance = [float(s.combine(s.statistics.mean(0), np.array(1 / 12))) for s in found]
    assert np.mean(variance) == pytest.approx(1.25, rel=0.02)


def test_debiased_square_is_unbiased() -> None:
    """10 units, mean of size 0.3, noise 1: the plain square would be 0.19; 20,000 data sets know the mean to 0.001."""
    rng = np.random.default_rng(16)
    found = [bias(0.3 + rng.normal(size=(10, 4))) for _ in range(20000)]
    square = [float(s.combine(s.statistics.mean(0), np.array(0.1))) for s in found]
    assert np.mean(square) == pytest.approx(0.09, abs=0.005)


def test_mean_far_from_zero_does_not_spoil_the_spread() -> None:
    noise = np.random.default_rng(17).normal(size=(50, 1, 3))
    near, far = (powerlaw.measure(1.0, spread(noise + offset), bootstrap()) for offset in (0.0, 1e7))
    assert far.estimate == pytest.approx(near.estimate, rel=1e-6)
    assert near.estimate == pytest.approx(np.sqrt(noise.var(axis=0, ddof=1).mean()), rel=1e-12)


def test_degrees_of_freedom() -> None:
    equal = np.tile([1.0, -1.0], 20)
    assert degrees_of_freedom(equal) == 39
    normal = np.random.default_rng(18).normal(size=4000)
    # fourth moment 3: n degrees of freedom, of which sampling leaves about 5% uncertain
    assert degrees_of_freedom(normal) == pytest.approx(3999, rel=0.2)
    one = np.array([1.0] + [1e-6] * 99)
    assert degrees_of_freedom(one) == 3
    assert quantile(1e9) == pytest.approx(1.959964, abs=1e-5)


def test_common_error_moves_all_points_together() -> None:
    """Blurring every point by the same relative error leaves the exponent's error alone; growing ones do not."""
    cells = [cell[0] for cell in fields(SHAPES["normal"], [64] * 6, 0.5, 1, seed=19)]
    boot = bootstrap(2000)
    points = [powerlaw.measure(n, KINDS["rms"](c, n), boot) for c, n in zip(cells, WIDTHS, strict=False)]
    before = powerlaw.fit(points).slope.stderr
    same = powerlaw.fit([p.blur(boot, 1e-4) for p in points]).slope.stderr
    growing = powerlaw.fit([p.blur(boot, 0.1 * j) for j, p in enumerate(points)]).slope.stderr
    assert same == pytest.approx(before, rel=0.01)
    assert growing > 1.5 * before
