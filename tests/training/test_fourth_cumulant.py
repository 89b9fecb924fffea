"""The predicted kurtosis of half-differences against closed forms before training, and against trained networks."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from predicted_cases import STUDY
from processors import reference

import rnnlimits
from rnnlimits import kernels
from rnnlimits import study as studies
from rnnlimits.chains import paths as chains
from rnnlimits.kernels.interface import Array
from rnnlimits.study.grid import RichTwin
from rnnlimits.training import fourth_cumulant
from rnnlimits.training.fourth_cumulant import kurtosis_of

NETWORKS, WIDTH = 16_000, 16


def twin_of(width: int) -> RichTwin:
    return RichTwin(width**-0.5, width, 1, 0.0, 1)


@pytest.mark.needs_compiler
@pytest.mark.parametrize(("kind", "fourth"), [("uniform", 1.8), ("gaussian", 3.0)])
def test_before_training_it_is_that_of_a_sum_of_independent_terms(kind: str, fourth: float) -> None:
    """E C^4 E s^4 / (E C^2 E s^2)^2 - 3 at one input, where there is no memory; training hardly begins.

    The nodes leave half a percent.
    """
    text = STUDY.replace("horizon: 1.0", "horizon: 1.0, alpha: 1.0e-9").replace("length: 16", "length: 1")
    study = studies.loads(text.replace("slope: 0.6}", f"slope: 0.6}}, c: {{kind: {kind}}}"), "predicted.yaml")
    found = kurtosis_of(study, twin_of(64), kernels.backend("host"))
    point, weight = np.polynomial.hermite_e.hermegauss(200)
    s = np.tanh(chains.probe_histories(study, reference)[:, 0] * point)
    second, fourths = (s**power @ weight / weight.sum() for power in (2, 4))
    exact = fourth * fourths / second**2 - 3
    assert found is not None
    assert found.value == pytest.approx(math.sqrt(np.square(exact).mean()), rel=0.01)


class Made:
    """The functional A + cubic A^3 + mixed A E of the means A of an odd and E of an even function over units."""

    def __init__(self, cubic: float, mixed: float) -> None:
        rng = np.random.default_rng(2)
        odd, even, weight = rng.normal(size=8), rng.normal(size=8), rng.random(8)
        self.weight = np.concatenate([weight, weight]) / weight.sum() / 2
        self.odd, self.even = np.concatenate([odd, -odd]), np.concatenate([even, even])
        self.even -= self.weight @ self.even
        self.ends = SimpleNamespace(weight=self.weight)
        self.cubic, self.mixed = cubic, mixed

    def at(self, mass: Array) -> tuple[float, Array]:
        """Its value at these masses, and the influence of each node there."""
        a, e = float(mass @ self.odd), float(mass @ self.even)
        slope = 1 + 3 * self.cubic * a**2 + self.mixed * e
        return a + self.cubic * a**3 + self.mixed * a * e, slope * (self.odd - a) + self.mixed * a * (self.even - e)

    def moved(self, path: int, probe: int, relative: Array) -> tuple[float, Array, Array]:
        half, up = self.at(self.weight * (1 + relative))
        return half, up, self.at(self.weight * (1 - relative))[1]


@pytest.mark.parametrize(("cubic", "mixed"), [(0.0, 0.0), (0.3, 0.0), (0.0, 0.8), (-0.2, -0.5)])
def test_every_term_is_that_of_a_functional_whose_moments_are_known(cubic: float, mixed: float) -> None:
    """From E T^2 and E T^4 to order N^-3, with A and E sums of N independent terms:

    N k = E a^4 / v^2 - 3 + 24 cubic v + 12 mixed E a^2 e / v + 12 mixed^2 w, with v = E a^2 and w = E e^2.
    """
    made = Made(cubic, mixed)
    second, w = made.weight @ made.odd**2, made.weight @ made.even**2
    exact = made.weight @ made.odd**4 / second**2 - 3 + 24 * cubic * second
    exact += 12 * mixed * (made.weight @ (made.odd**2 * made.even)) / second + 12 * mixed**2 * w
    found = fourth_cumulant._of_probe(cast(Any, made), 0, 0, made.odd)
    assert found == pytest.approx(exact, rel=1e-3)


def rms_kurtosis(values: Array) -> float:
    """Of values (network, probe): the root mean square over probes of the excess kurtosis."""
    values = values - values.mean(0)
    return float(np.sqrt(np.square((values**4).mean(0) / (values**2).mean(0) ** 2 - 3).mean()))


@pytest.mark.needs_compiler
def test_trained_networks_have_it() -> None:
    """Within 4 standard errors, a chance of 1e-4, and the order 1/N that is left out; one unit alone gives a tenth."""
    study = studies.loads(STUDY, "predicted.yaml")
    found = kurtosis_of(study, twin_of(WIDTH), kernels.backend("host"))
    output = rnnlimits.train(study, width=WIDTH, beta=0.5, steps_per_time=WIDTH, replicas=NETWORKS).output.values
    half = 0.5 * (output[0::2, -1] - output[1::2, -1])
    groups = np.array_split(half, 20)
    less = [rms_kurtosis(np.concatenate(groups[:j] + groups[j + 1 :])) for j in range(20)]
    error = math.sqrt(19 * np.var(less))
    assert found is not None
    assert (
        abs(WIDTH * rms_kurtosis(half) - found.value)
        < 4 * math.hypot(WIDTH * error, found.stderr) + found.value / WIDTH
    )
    assert WIDTH * error < 0.2 * found.value


def test_a_skewed_law_and_many_nodes_have_none() -> None:
    skewed = STUDY.replace("slope: 0.6}", "slope: 0.6}, c: {kind: two-point, probability: 0.1}")
    many = STUDY.replace("slope: 0.6}", "slope: 0.6, noise: 0.3}").replace(
        "directions: 16", "directions: 16, b_nodes: 9"
    )
    for text in (skewed, many):
        assert kurtosis_of(studies.loads(text, "predicted.yaml"), twin_of(64), reference) is None
