"""The law of one unit's parameters, against closed forms, adaptive integrals and brute-force sampling.

Statistical checks allow 4.5 standard errors: a false alarm has probability 7e-6 each, and seeds are fixed.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.integrate import dblquad, quad
from scipy.special import erf

from rnnlimits import kernels
from rnnlimits import study as studies
from rnnlimits.base.arrays import square_root
from rnnlimits.base.errors import StudyError
from rnnlimits.theory.laws import ParameterLaw, mean_abs_normal, normal_grid

Array = NDArray[np.float64]
SIGMAS = 4.5
BACKENDS = ["numpy", pytest.param("host", marks=pytest.mark.needs_compiler)]


def law_of(**changes: Any) -> ParameterLaw:
    """A law in one dimension, with fields replaced."""
    one = np.ones(1)
    law = ParameterLaw("tanh", 7, "gaussian", 0 * one, np.eye(1), 0.2, 0.6, one, 0.0, "uniform", 1.0)
    return dataclasses.replace(law, **changes)


def correlated(activation: str, noise: float = 0.0) -> ParameterLaw:
    """Three correlated weights with a mean, B along a slanted direction."""
    covariance = np.array([[1.0, 0.5, -0.3], [0.5, 0.8, 0.2], [-0.3, 0.2, 0.6]])
    direction = np.array([1.0, -2.0, 0.5]) / np.sqrt(5.25)
    mean = np.array([0.3, -0.2, 0.1])
    return law_of(
        activation=activation,
        mean=mean,
        factor=square_root(covariance, "network.w.covariance"),
        direction=direction,
        noise=noise,
    )


def uniform_law(dimension: int, activation: str = "tanh") -> ParameterLaw:
    direction = np.ones(dimension) / np.sqrt(dimension)
    mean = np.linspace(0.1, 0.3, dimension)
    return law_of(
        activation=activation,
        w_kind="uniform",
        mean=mean,
        factor=np.diag(np.linspace(0.8, 1.2, dimension)),
        direction=direction,
    )


def closed_form_erf(law: ParameterLaw, x: Array, m: Array) -> Array:
    """E[B erf(W.x + m)] for normal W, worked out by hand (docs/model.md, eq. 24)."""
    covariance = law.factor @ law.factor.T
    value = x @ law.mean + m
    q = 1 + 2 * np.einsum("ni,ij,nj->n", x, covariance, x)
    along = x @ covariance @ law.direction
    return np.asarray(
        law.offset * erf(value / np.sqrt(q)) + law.slope * along * 2 / np.sqrt(np.pi * q) * np.exp(-(value**2) / q)
    )


def sampled(law: ParameterLaw, x: Array, m: float, count: int = 2_000_000) -> tuple[float, float]:
    """E[B tanh(W.x + m)] and its standard error, from NumPy's own generator."""
    rng = np.random.default_rng(1)
    draw = rng.standard_normal if law.w_kind == "gaussian" else lambda shape: rng.uniform(-(3**0.5), 3**0.5, shape)
    w = law.mean + draw((count, law.dimension)) @ law.factor.T
    b = law.offset + law.slope * (w - law.mean) @ law.direction + law.noise * rng.standard_normal(count)
    values = b * np.tanh(w @ x + m)
    return float(values.mean()), float(values.std() / np.sqrt(count))


# --- memory map ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("law", [law_of(activation="erf"), correlated("erf"), correlated("erf", noise=0.5)])
def test_erf_memory_map_is_the_closed_form(law: ParameterLaw) -> None:
    rng = np.random.default_rng(2)
    x = rng.normal(size=(50, law.dimension))
    x[0] = 0.0
    m = rng.uniform(-1, 1, 50)
    expected = closed_form_erf(law, x, m)
    np.testing.assert_allclose(law.memory_map(x, m, refine=2), expected, rtol=0, atol=1e-12)
    np.testing.assert_allclose(law.memory_map(x, m), expected, rtol=0, atol=1e-6)
    near = np.einsum("ni,ij,nj->n", x, law.covariance, x) < 1.5**2
    np.testing.assert_allclose(law.memory_map(x, m)[near], expected[near], rtol=0, atol=1e-12)
    assert near.any()
    assert not near.all()


def test_memory_map_of_correlated_weights_is_the_sampled_one() -> None:
    law, x = correlated("tanh", noise=0.3), np.array([0.7, -1.1, 0.4])
    mean, error = sampled(law, x, 0.2)
    assert abs(float(law.memory_map(x, 0.2)) - mean) < SIGMAS * error
    # The test has power: dropping the correlation of B and W.x is seen.
    blind = dataclasses.replace(law, slope=0.0)
    assert abs(float(blind.memory_map(x, 0.2)) - mean) > 20 * error


def test_uniform_memory_map_is_the_adaptive_integral() -> None:
    law, half = uniform_law(1), 3**0.5 * 0.8

    def integrand(w: float) -> float:
        return float((0.2 + 0.6 * (w - 0.1)) * np.tanh(1.3 * w - 0.4) / (2 * half))

    expected = quad(integrand, 0.1 - half, 0.1 + half, epsabs=1e-14)[0]
    assert float(law.memory_map(np.array([1.3]), -0.4)) == pytest.approx(expected, abs=1e-12)


def test_uniform_memory_map_in_two_dimensions_is_the_adaptive_integral() -> None:
    law, x = uniform_law(2), np.array([1.3, -0.6])
    reach = 3**0.5 * np.diag(law.factor)
    low, high = law.mean - reach, law.mean + reach

    def integrand(w1: float, w0: float) -> float:
        b = 0.2 + 0.6 * (w0 - law.mean[0] + w1 - law.mean[1]) / 2**0.5
        return float(b * np.tanh(w0 * x[0] + w1 * x[1] + 0.3) / np.prod(high - low))

    expected = dblquad(integrand, low[0], high[0], low[1], high[1], epsabs=1e-12)[0]
    assert float(law.memory_map(x, 0.3)) == pytest.approx(expected, abs=1e-10)


@pytest.mark.parametrize("dimension", [3, 5])
def test_uniform_memory_map_in_many_dimensions_is_the_sampled_one(dimension: int) -> None:
    law, x = uniform_law(dimension), np.linspace(-1, 1, dimension)
    mean, error = sampled(law, x, 0.1, 1_000_000)
    assert abs(float(law.memory_map(x, 0.1)) - mean) < SIGMAS * error + 1e-4


@pytest.mark.parametrize("law", [law_of(), correlated("logistic"), uniform_law(2), correlated("erf")])
def test_memory_slope_is_the_difference_quotient(law: ParameterLaw) -> None:
    rng = np.random.default_rng(3)
    x, m, step = rng.normal(size=(20, law.dimension)), rng.uniform(-1, 1, 20), 1e-5
    quotient = (law.memory_map(x, m + step) - law.memory_map(x, m - step)) / (2 * step)
    np.testing.assert_allclose(law.memory_slope(x, m), quotient, rtol=0, atol=1e-9)


@pytest.mark.parametrize("law", [law_of(), correlated("erf"), uniform_law(3), law_of(activation="logistic")])
def test_contraction_bounds_the_slope(law: ParameterLaw) -> None:
    x = np.random.default_rng(4).normal(size=(200, law.dimension))
    steepest = np.abs(law.memory_slope(x, np.linspace(-1, 1, 200))).max()
    assert 0 < steepest <= law.contraction


@pytest.mark.parametrize("name", BACKENDS)
@pytest.mark.parametrize("law", [law_of(), correlated("erf"), uniform_law(2, "logistic"), uniform_law(4)])
def test_memory_path_iterates_the_map(name: str, law: ParameterLaw) -> None:
    x = np.random.default_rng(5).normal(size=(3, 12, law.dimension))
    x[:, 4] = 0.0
    start = np.array([-0.5, 0.0, 0.7])
    path = law.memory_path(kernels.backend(name), x, start)
    expected = [start]
    for k in range(12):
        expected.append(law.memory_map(x[:, k], expected[-1]))
    np.testing.assert_allclose(path, np.stack(expected, axis=1), rtol=0, atol=1e-13)


def test_large_inputs_are_worked_through_in_pieces() -> None:
    law, x = law_of(), np.random.default_rng(6).normal(size=(40_000, 1))
    whole = law.memory_map(x, 0.1)
    assert whole.shape == (40_000,)
    np.testing.assert_allclose(whole[39_000:], law.memory_map(x[39_000:], 0.1), rtol=0, atol=1e-15)


@pytest.mark.parametrize("scale", [0.5, 1.0, 2.0])
def test_quadrature_error_falls_with_the_node_count(scale: float) -> None:
    """E[erf(scale xi + .3)] is known; doubling the points must divide the error by at least 10."""
    exact = erf(0.3 / np.sqrt(1 + 2 * scale**2))
    errors = []
    for count in (8, 16, 32):
        points, weight = normal_grid(count)
        errors.append(abs(weight @ erf(scale * points + 0.3) - exact))
    assert errors[1] < errors[0] / 4
    assert errors[2] < errors[1] / 10
    points, weight = normal_grid(64)
    assert abs(weight @ erf(scale * points + 0.3) - exact) < 1e-12


# --- moments ---------------------------------------------------------------------------------------------------


def test_mean_abs_b_of_normal_weights() -> None:
    law = correlated("tanh", noise=0.4)
    std = np.sqrt(0.6**2 * law.direction @ law.factor @ law.factor.T @ law.direction + 0.4**2)
    expected = quad(
        lambda t: abs(0.2 + std * t) * np.exp(-t * t / 2) / np.sqrt(2 * np.pi), -12, 12, points=[-0.2 / std]
    )
    assert law.mean_abs_b == pytest.approx(expected[0], abs=1e-10)


def test_mean_abs_b_of_one_uniform_weight() -> None:
    """E|o + a U| = (o^2 + a^2)/(2 a) for U uniform on (-1, 1) and o < a."""
    reach = 0.6 * 0.8 * 3**0.5
    assert uniform_law(1).mean_abs_b == pytest.approx((0.2**2 + reach**2) / (2 * reach), abs=1e-5)


def test_mean_abs_of_a_constant_is_its_size() -> None:
    assert float(mean_abs_normal(-0.7, 0.0)) == 0.7


def test_third_moment_of_c() -> None:
    skewed = law_of(c_kind="two-point", c_probability=0.1)
    assert skewed.third_moment_c == pytest.approx(0.1 * 3**3 - 0.9 / 3**3)
    assert not skewed.symmetric_c
    assert law_of(c_kind="two-point", c_probability=0.5).symmetric_c
    assert law_of().symmetric_c


# --- nodes -----------------------------------------------------------------------------------------------------


def test_gauss_hermite_nodes_are_exact_for_low_moments() -> None:
    law = correlated("tanh", noise=0.4)
    nodes = law.nodes(4**3, "gauss-hermite")
    assert len(nodes.weight) == 64
    centred = nodes.w - law.mean
    np.testing.assert_allclose(nodes.weight @ nodes.w, law.mean, atol=1e-13)
    np.testing.assert_allclose((centred.T * nodes.weight) @ centred, law.covariance, atol=1e-13)
    b_variance = 0.36 * law.direction @ law.covariance @ law.direction + 0.16
    assert nodes.weight @ nodes.b_squared - (nodes.weight @ nodes.b) ** 2 == pytest.approx(b_variance)


@pytest.mark.parametrize("law", [correlated("tanh"), uniform_law(3)])
def test_quasi_random_nodes_reach_low_moments(law: ParameterLaw) -> None:
    """Plain sampling with 1,024 points would be off by 0.03; these have to be ten times closer."""
    nodes = law.nodes(1024, "quasi-random")
    centred = nodes.w - law.mean
    np.testing.assert_allclose(nodes.weight @ nodes.w, law.mean, atol=3e-3)
    np.testing.assert_allclose((centred.T * nodes.weight) @ centred, law.covariance, atol=1e-2)


def test_scrambles_differ_and_repeat() -> None:
    law = uniform_law(3)
    (first,) = law.node_sets(128, "quasi-random")
    check = law.nodes(128, "quasi-random", shift=1)
    assert not np.isclose(first.w, check.w).any(axis=1).any()
    np.testing.assert_array_equal(first.w, law.nodes(128, "quasi-random").w)
    assert not np.array_equal(first.w, dataclasses.replace(law, seed=8).nodes(128, "quasi-random").w)


def test_the_check_nodes_of_a_product_have_one_point_fewer_on_each_axis() -> None:
    first, check = correlated("tanh").node_sets(6**3, "gauss-hermite")
    assert (len(first.weight), len(check.weight)) == (216, 125)
    assert not np.isclose(first.w[:, None], check.w[None]).all(axis=-1).any()


def test_a_grid_of_uniform_weights_is_exact_for_polynomials() -> None:
    """E U^4 = 9/5 for U uniform with variance 1."""
    law = dataclasses.replace(uniform_law(2), mean=np.zeros(2), factor=np.eye(2))
    nodes = law.nodes(3**2, "grid")
    assert nodes.weight @ nodes.w[:, 0] ** 4 == pytest.approx(1.8, abs=1e-13)
    assert nodes.weight @ (nodes.w[:, 0] * nodes.w[:, 1]) ** 2 == pytest.approx(1.0, abs=1e-13)


def test_gauss_hermite_of_uniform_weights_is_refused() -> None:
    with pytest.raises(StudyError, match=r"limit\.features.*quasi-random"):
        uniform_law(2).nodes(64, "gauss-hermite")


def test_a_matrix_that_is_no_covariance_is_refused() -> None:
    with pytest.raises(StudyError, match=r"network\.w\.covariance.*eigenvalue"):
        square_root(np.array([[1.0, 2.0], [2.0, 1.0]]), "network.w.covariance")


def test_a_singular_covariance_is_allowed() -> None:
    root = square_root(np.ones((2, 2)), "network.w.covariance")
    np.testing.assert_allclose(root @ root, np.ones((2, 2)), atol=1e-14)


# --- draws -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", BACKENDS)
def test_a_wider_network_starts_with_the_same_units(name: str) -> None:
    be, law = kernels.backend(name), correlated("tanh", noise=0.3)
    replicas = np.array([0, 5, 9], dtype=np.uint32)
    narrow, wide = law.draw(be, 7, replicas, 33), law.draw(be, 7, replicas, 66)
    for small, large in zip(narrow, wide, strict=True):
        np.testing.assert_array_equal(small, large[:, :33])
    alone = law.draw(be, 7, replicas[1:2], 33)
    for one, all_three in zip(alone, narrow, strict=True):
        np.testing.assert_array_equal(one[0], all_three[1])


def test_antithetic_pairs_differ_in_the_sign_of_c_only() -> None:
    law = law_of(noise=0.3)
    w, b, c = law.draw(kernels.backend("numpy"), 7, np.arange(2, 8, dtype=np.uint32), 20, antithetic=True)
    np.testing.assert_array_equal(w[0::2], w[1::2])
    np.testing.assert_array_equal(b[0::2], b[1::2])
    np.testing.assert_array_equal(c[0::2], -c[1::2])
    assert not np.isclose(c[0], np.abs(c[2])).any()


def test_drawn_weights_have_their_law() -> None:
    law = correlated("tanh", noise=0.4)
    w, b, _ = law.draw(kernels.backend("numpy"), 7, np.arange(50, dtype=np.uint32), 4000)
    flat, count = w.reshape(-1, 3), 200_000
    assert np.abs((flat.mean(axis=0) - law.mean) / np.sqrt(np.diag(law.covariance) / count)).max() < SIGMAS
    variance = np.diag(law.covariance)
    spread = np.sqrt((np.outer(variance, variance) + law.covariance**2) / count)  # of a normal's covariances
    assert np.abs((np.cov(flat.T) - law.covariance) / spread).max() < SIGMAS
    rest = b.reshape(-1) - law.b_given(flat)
    assert abs(rest.std() - 0.4) < SIGMAS * 0.4 / np.sqrt(2 * count)
    assert np.abs(np.corrcoef(rest, flat[:, 0])[0, 1]) < SIGMAS / np.sqrt(count)


@pytest.mark.parametrize(
    ("kind", "probability", "fourth"), [("uniform", 0.5, 1.8), ("gaussian", 0.5, 3.0), ("two-point", 0.1, 8.1 + 1 / 90)]
)
def test_drawn_c_has_its_moments(kind: str, probability: float, fourth: float) -> None:
    law = law_of(c_kind=kind, c_probability=probability)
    _, _, c = law.draw(kernels.backend("numpy"), 7, np.arange(50, dtype=np.uint32), 4000)
    root = np.sqrt(c.size)
    assert abs(c.mean()) < SIGMAS / root
    assert abs((c**2).mean() - 1) < SIGMAS * np.sqrt(fourth - 1) / root
    spread = float((c**3).std())
    assert abs((c**3).mean() - law.third_moment_c) < SIGMAS * spread / root


def test_uniform_weights_stay_in_their_range() -> None:
    law = uniform_law(2)
    w, _, _ = law.draw(kernels.backend("numpy"), 7, np.arange(10, dtype=np.uint32), 5000)
    reach = 3**0.5 * np.diag(law.factor)
    assert (np.abs(w - law.mean) <= reach).all()
    assert np.abs(w - law.mean).max(axis=(0, 1)) == pytest.approx(reach, rel=1e-3)


# --- from a study ----------------------------------------------------------------------------------------------

STUDY = """
name: laws
chain: {kind: coupled-tanh, dimension: 2}
target: {}
network:
  activation: erf
  w: {kind: gaussian, mean: [0.1, 0.2], covariance: [[1.0, 0.3], [0.3, 0.5]]}
  b: {offset: 0.1, slope: 0.4, direction: [3.0, 4.0], noise: 0.2}
  c: {kind: two-point, std: 2.0, probability: 0.1}
training: {beta: [0.75], width: [64]}
"""


def test_the_law_of_a_study() -> None:
    law = ParameterLaw.of(studies.loads(STUDY, "laws.yaml"))
    np.testing.assert_allclose(law.covariance, [[1.0, 0.3], [0.3, 0.5]])
    np.testing.assert_allclose(law.direction, [0.6, 0.8])
    assert (law.activation, law.offset, law.slope, law.noise) == ("erf", 0.1, 0.4, 0.2)
    assert law.variance_c == 4.0
    assert law.third_moment_c == pytest.approx(8 * (2.7 - 1 / 30))
