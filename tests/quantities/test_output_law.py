"""The law of outputs at beta = 1/2 against laws whose distance and kurtosis are known in closed form.

Random checks allow 4 standard errors at a fixed seed: a false alarm has a chance of about 1e-4 each.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import integrate, stats
from test_quantities import BINS, BOOTSTRAP

from rnnlimits.quantities import output_law
from rnnlimits.quantities.base import NoLaw, registered
from rnnlimits.quantities.output_law import LawQuantity, chance, cramer, kurtosis, reference_slack, wasserstein
from rnnlimits.quantities.trained import Design, Trainings
from rnnlimits.statistics import powerlaw
from rnnlimits.statistics.bootstrap import Sample
from rnnlimits.theory.initial_field import InitialField

Array = NDArray[np.float64]
PROBES = 2
ENTRIES = {(one.name, one.estimator): one for one in registered(LawQuantity)}


def field(deviation: float = 1.0, error: float = 0.0) -> InitialField:
    each = np.ones(PROBES)
    return InitialField(np.ones((PROBES, 1)), deviation * each, error * each)


def of(output: Array, slack: float = 0.0) -> Trainings:
    """Trainings of these outputs (unit, member, probe) less the limit."""
    nothing = np.zeros(output.shape[:2])
    return Trainings(
        output=output,
        memory=output,
        drift=nothing,
        symmetric=True,
        output_slack=slack,
        memory_slack=0.0,
        node_slack=0.0,
        loss=np.zeros((*output.shape[:2], BINS)),
        loss_time=np.arange(BINS) + 0.5,
    )


def value(sample: Sample) -> float:
    return float(sample.combine(sample.statistics.mean(0), np.array(1 / len(sample))))


def apart(mean: float, deviation: float, power: float) -> float:
    """The integral of |F - Phi|^power for F the distribution function of N(mean, deviation^2)."""
    gap = lambda z: abs(stats.norm.cdf((z - mean) / deviation) - stats.norm.cdf(z)) ** power  # noqa: E731
    return float(integrate.quad(gap, -15, 15, limit=500)[0])


def ordered(mean: float, deviation: float, count: int = 4000) -> Array:
    """Quantiles of N(mean, deviation^2), nearly without noise (unit, 1, probe)."""
    quantiles = mean + deviation * stats.norm.ppf((np.arange(count) + 0.5) / count)
    return np.repeat(quantiles, PROBES).reshape(count, 1, PROBES)


@pytest.mark.parametrize(("mean", "deviation"), [(0.0, 1.25), (0.3, 1.0), (-0.2, 0.8), (0.5, 1.6)])
def test_distances_of_two_gaussians_are_those_of_their_formulas(mean: float, deviation: float) -> None:
    """Whatever the unit of the outputs is; Wasserstein's also as SciPy has it, on the same values."""
    cell, unit = of(3 * ordered(mean, deviation)), field(deviation=3.0)
    found, square = value(wasserstein(cell, unit)), value(cramer(cell, unit))
    assert found == pytest.approx(apart(mean, deviation, 1), rel=0.015)
    exact = stats.wasserstein_distance(cell.output[:, 0, 0] / 3, ordered(0, 1)[:, 0, 0])
    assert found == pytest.approx(exact, rel=0.015)
    # Values in order are closer to F than drawn ones, for which the square is debiased.
    variance = integrate.quad(lambda z: stats.norm.cdf(z) * stats.norm.sf(z), -15, 15)[0] * deviation
    assert square + variance / 3999 == pytest.approx(apart(mean, deviation, 2), abs=5e-5)


def studies(
    draw: Callable[[np.random.Generator], Array], measure: Callable[[Trainings, InitialField], Sample]
) -> Array:
    """Values of 1500 small studies."""
    rng = np.random.default_rng(12)
    return np.array([value(measure(of(draw(rng)), field())) for _ in range(1500)])


def singles(rng: np.random.Generator) -> Array:
    return 1.2 * rng.normal(size=(20, 1, PROBES)) + 0.1


def pairs(rng: np.random.Generator) -> Array:
    odd = rng.normal(size=(20, 1, PROBES))
    return np.concatenate([odd, -odd], axis=1)


@pytest.mark.parametrize(
    ("draw", "expected"), [(singles, apart(0.1, 1.2, 2)), (pairs, 0.0)], ids=["other law", "pairs of the law itself"]
)
def test_the_square_of_the_distance_has_no_bias_with_few_networks(
    draw: Callable[[np.random.Generator], Array], expected: float
) -> None:
    found = studies(draw, cramer)
    assert abs(found.mean() - expected) < 4 * found.std() / math.sqrt(len(found))
    assert found.std() / math.sqrt(len(found)) < 0.002


@pytest.mark.parametrize(
    ("draw", "scale"), [(lambda rng: rng.normal(size=(400, 1, PROBES)), 1.288), (pairs, 0.728)], ids=["single", "pairs"]
)
def test_chance_alone_has_the_stated_wasserstein_distance(
    draw: Callable[[np.random.Generator], Array], scale: float
) -> None:
    """The constants are integrals; that of 20 pairs is 4% smaller than a normal law of F makes it."""
    cell = of(draw(np.random.default_rng(1)))
    assert chance(cell) == pytest.approx(scale / math.sqrt(len(cell.output)), rel=0.03)
    found = studies(draw, wasserstein)
    assert found.mean() == pytest.approx(chance(cell), rel=0.05)


def test_draws_of_the_gaussian_itself_are_left_out() -> None:
    """Three standard errors: a chance of 1e-3 at this seed."""
    point = powerlaw.measure(64, cramer(of(np.random.default_rng(4).normal(size=(512, 1, PROBES))), field()), BOOTSTRAP)
    assert "under 3 standard errors" in point.reason


def test_values_that_are_not_finite_are_no_steps() -> None:
    """A NaN is at most no number, and an infinity at most all of them: both would count as steps."""
    for bad in (math.nan, math.inf):
        output = np.random.default_rng(5).normal(size=(64, 2, PROBES))
        output[3, 1, 0] = bad
        for entry in ENTRIES.values():
            with np.errstate(all="ignore"):
                point = powerlaw.measure(8, entry.sample(of(output), field()), BOOTSTRAP)
            assert point.dropped == powerlaw.NOT_FINITE


# --- kurtosis ----------------------------------------------------------------------------------------------------


def field_at_start(rng: np.random.Generator, units: int, width: int, uniform: bool) -> Array:
    """Networks of this width at t = 0 without a memory: N^-1/2 sum C tanh(w x), at x = 1 and 3, with C and -C."""
    w = rng.normal(size=(units, width, 1)) * np.array([1.0, 3.0])
    c = (
        rng.uniform(-(3**0.5), 3**0.5, size=(units, width, 1))
        if uniform
        else rng.choice([-1.0, 1.0], (units, width, 1))
    )
    output = (c * np.tanh(w)).sum(1) / math.sqrt(width)
    return np.stack([output, -output], axis=1)


def exact_kurtosis(width: int, uniform: bool) -> Array:
    """(E C^4 E s^4 / (E s^2)^2 - 3) / N, s = tanh(w x): the cumulants of a sum of N independent terms."""
    point, weight = np.polynomial.hermite_e.hermegauss(120)
    s = np.tanh(point[:, None] * np.array([1.0, 3.0]))
    second, fourth = (weight @ s**power / weight.sum() for power in (2, 4))
    return np.asarray(((1.8 if uniform else 1.0) * fourth / second**2 - 3) / width)


@pytest.mark.parametrize("uniform", [True, False], ids=["uniform", "two points"])
def test_small_sums_have_the_kurtosis_of_their_cumulants(uniform: bool) -> None:
    """The root mean square over probes, at N = 4, where it is largest."""
    cell = of(field_at_start(np.random.default_rng(9), 20_000, 4, uniform))
    point = powerlaw.measure(4, kurtosis(cell, field()), BOOTSTRAP)
    expected = math.sqrt(np.square(exact_kurtosis(4, uniform)).mean())
    assert abs(point.estimate - expected) < 4 * point.stderr
    assert point.stderr < 0.2 * expected
    assert point.replicas == 40_000


def test_the_square_of_the_kurtosis_has_no_bias_for_a_gaussian_law() -> None:
    found = studies(pairs, kurtosis)
    assert abs(found.mean()) < 4 * found.std() / math.sqrt(len(found))
    assert found.std() / math.sqrt(len(found)) < 0.1


@pytest.mark.parametrize("width", [2, 4])
def test_both_fall_as_the_edgeworth_expansion_says(width: int) -> None:
    """A kurtosis k moves F by -k/24 (z^3 - 3z) phi, so both have order 1. Of sums of uniform numbers k is -1.2/N."""
    output = np.random.default_rng(3).uniform(-(3**0.5), 3**0.5, size=(width, 40_000, 1, PROBES)).sum(0) / width**0.5
    shape = integrate.quad(lambda z: ((z**3 - 3 * z) * stats.norm.pdf(z)) ** 2, -12, 12)[0] ** 0.5 / 24
    for measure, expected in ((kurtosis, 1.2 / width), (cramer, 1.2 / width * shape)):
        point = powerlaw.measure(width, measure(of(output), field()), BOOTSTRAP)
        assert abs(point.estimate - expected) < 4 * point.stderr + 0.05 * expected
        assert point.stderr < 0.15 * expected


# --- words and errors --------------------------------------------------------------------------------------------


def test_the_errors_of_the_reference_are_distances() -> None:
    """A shift or a stretch that is small against the deviation, as the integral has it."""
    one, other = (
        reference_slack(of(ordered(0, 1), slack=0.02), field(2.0)),
        reference_slack(of(ordered(0, 1)), field(error=0.01)),
    )
    assert one == pytest.approx(math.sqrt(apart(0.01, 1.0, 2)), rel=0.01)
    assert other == pytest.approx(math.sqrt(apart(0.0, 1.01, 2)), rel=0.01)


def test_only_the_distance_that_can_be_debiased_has_a_rate() -> None:
    design = Design(symmetric=True, antithetic=True)
    assert isinstance(ENTRIES["output_law_distance", "Wasserstein"].applies(design), NoLaw)
    orders = {key: one.expected(design) for key, one in ENTRIES.items()}
    assert set(orders.values()) == {1.0}
    skewed = Design(symmetric=False, antithetic=False)
    assert ENTRIES["output_law_distance", "Cramer"].expected(skewed) == 0.5
    assert output_law.BETA == 0.5
