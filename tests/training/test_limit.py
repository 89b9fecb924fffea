"""The limit: flow against an ODE solver and a matrix exponential, kernel against closed forms, errors against truth.

Statistical checks state their false-alarm rate; seeds are fixed.
"""

from __future__ import annotations

import dataclasses
import itertools
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.integrate import solve_ivp
from scipy.linalg import expm
from scipy.special import erf

from rnnlimits import kernels
from rnnlimits import study as studies
from rnnlimits.base.arrays import square_root, stationary_states
from rnnlimits.base.errors import StudyError
from rnnlimits.base.streams import Stream
from rnnlimits.chains import paths as chains
from rnnlimits.chains.finite_state import FiniteState
from rnnlimits.files import store
from rnnlimits.ranks import parallel
from rnnlimits.study import Study
from rnnlimits.theory import flow, stationary, walks
from rnnlimits.theory.flow import Flow
from rnnlimits.theory.laws import Nodes, ParameterLaw
from rnnlimits.theory.moments import Accumulator, Moments, jackknife_error, leave_one_out, pooled
from rnnlimits.training import draw, limit
from rnnlimits.training.layout import Layout

Array = NDArray[np.float64]

FINITE = """
name: limit
seed: 5
chain:
  kind: finite-state
  transition: [[0.6, 0.3, 0.1], [0.2, 0.5, 0.3], [0.3, 0.3, 0.4]]
  x: [-1.0, 0.3, 1.2]
  z: [0.5, -0.2, 0.1]
target: {}
training: {beta: [0.75], width: [64], horizon: 2.0}
probes: {count: 6, length: 7}
draws: {blocks: 16, chains: 20, steps: 30, couplings: 2, coupling_steps: 5, sample: 1}
"""


def states(study: Study) -> tuple[Array, Array, Array]:
    """Transition, x and z of a finite chain."""
    assert isinstance(study.chain, FiniteState)
    return study.chain.finite()


def finite_study() -> Study:
    return studies.loads(FINITE, "limit.yaml")


def random_moments(seed: int, features: int = 6, rank: int = 4) -> Moments:
    """A singular A with a b in its range, as moments always have."""
    rng = np.random.default_rng(seed)
    phi, y = rng.normal(size=(50, rank)) @ rng.normal(size=(rank, features)), rng.normal(size=50)
    return Moments(phi.T @ phi / 50, phi.T @ y / 50, float(y @ y / 50), 50.0)


# --- flow ------------------------------------------------------------------------------------------------------


def test_flow_solves_the_linear_equation() -> None:
    moments, alpha, time = random_moments(1), 0.7, np.array([0.0, 0.3, 1.1, 2.0])
    solved = solve_ivp(
        lambda _, theta: alpha * (moments.b - moments.a @ theta),
        (0.0, 2.0),
        np.zeros(6),
        t_eval=time,
        method="DOP853",
        rtol=1e-12,
        atol=1e-13,
    )
    np.testing.assert_allclose(Flow.of(moments, alpha).theta(time), solved.y.T, rtol=0, atol=1e-10)


def test_flow_starts_at_zero_and_ends_at_the_regression() -> None:
    moments = random_moments(2)
    flow, phi = Flow.of(moments, 1.0), np.eye(6)
    assert np.array_equal(flow.output(np.zeros(1), phi), np.zeros((1, 6)))
    regression = np.linalg.pinv(moments.a, rcond=1e-12) @ moments.b
    np.testing.assert_allclose(flow.output(np.array([1e4]), phi)[0], regression, rtol=0, atol=1e-9)


def test_gain_of_vanishing_and_slightly_negative_eigenvalues_is_time() -> None:
    values = np.array([1.0, 1e-18, 0.0, -1e-17])
    gain = Flow(values, np.eye(4), np.ones(4), 1.0, 0.5).gain(np.array([0.0, 2.0, 1000.0]))
    np.testing.assert_allclose(gain[:, 1:], 0.5 * np.array([[0.0], [2.0], [1000.0]]) * np.ones(3), rtol=1e-12)
    np.testing.assert_allclose(gain[:, 0], 1 - np.exp(-0.5 * np.array([0.0, 2.0, 1000.0])), rtol=1e-12)


def test_loss_is_the_quadratic_form_and_falls_to_its_floor() -> None:
    moments, time = random_moments(3), np.linspace(0, 3, 7)
    flow = Flow.of(moments, 1.0)
    theta = flow.theta(time)
    expected = moments.y2 - 2 * theta @ moments.b + np.einsum("ti,ij,tj->t", theta, moments.a, theta)
    np.testing.assert_allclose(flow.loss(time), expected, rtol=0, atol=1e-13)
    assert (np.diff(flow.loss(time)) < 0).all()
    # 50 targets regressed on features of rank 4: the residual of least squares, from another route.
    rng = np.random.default_rng(3)
    phi, y = rng.normal(size=(50, 4)) @ rng.normal(size=(4, 6)), rng.normal(size=50)
    residual = y - phi @ np.linalg.lstsq(phi, y, rcond=None)[0]
    assert flow.floor() == pytest.approx(float(residual @ residual / 50), abs=1e-12)


# --- kernel ----------------------------------------------------------------------------------------------------


def normal_law(dimension: int, activation: str = "erf", mean: float = 0.0) -> ParameterLaw:
    rng = np.random.default_rng(dimension)
    root = rng.normal(size=(dimension, dimension))
    covariance = 0.5 * np.eye(dimension) + 0.1 * root @ root.T
    return ParameterLaw(
        activation, 7, "gaussian", np.full(dimension, mean), square_root(covariance, "network.w.covariance"),
        0.2, 0.6, np.eye(dimension)[0], 0.0, "uniform", 1.3,
    )  # fmt: skip


def arcsine_kernel(law: ParameterLaw, x: Array, x2: Array) -> Array:
    """Kern at m = m' = 0 for erf and mean-zero normal W, by hand (docs/model.md, eq. 25 and 26)."""
    covariance = law.factor @ law.factor.T
    cross = x @ covariance @ x2.T
    own = 1 + 2 * np.einsum("ni,ij,nj->n", x, covariance, x)[:, None]
    other = 1 + 2 * np.einsum("ni,ij,nj->n", x2, covariance, x2)
    value = 2 / np.pi * np.arcsin(2 * cross / np.sqrt(own * other))
    slope = 4 / np.pi / np.sqrt(own * other - 4 * cross**2)
    return np.asarray(value + law.c_std**2 * (x @ x2.T) * slope)


@pytest.mark.parametrize("dimension", [1, 3])
def test_erf_kernel_is_the_arcsine(dimension: int) -> None:
    law, x = normal_law(dimension), np.random.default_rng(1).normal(size=(5, dimension)) * 0.8
    x[0] = 0.0
    zero = np.zeros(5)
    np.testing.assert_allclose(flow.kernel(law, x, zero, x, zero), arcsine_kernel(law, x, x), rtol=0, atol=1e-12)


def test_kernel_with_memories_is_the_sampled_one() -> None:
    """Within 4.5 standard errors of 1e6 draws: false alarm 7e-6."""
    law, rng = normal_law(3, "tanh", mean=0.2), np.random.default_rng(2)
    x, x2, m, m2 = np.array([0.5, -1.0, 0.3]), np.array([1.1, 0.2, -0.4]), 0.3, -0.6
    w = law.mean + rng.standard_normal((1_000_000, 3)) @ law.factor.T
    s, s2 = np.tanh(w @ x + m), np.tanh(w @ x2 + m2)
    values = s * s2 + 1.69 * (x @ x2) * (1 - s**2) * (1 - s2**2)
    found = flow.kernel(law, x[None], np.array([m]), x2[None], np.array([m2]))[0, 0]
    assert abs(found - values.mean()) < 4.5 * values.std() / 1000


@pytest.mark.parametrize(("kind", "fall"), [("grid", 10.0), ("gauss-hermite", 2.0)])
def test_features_approach_the_kernel_as_nodes_are_added(kind: str, fall: float) -> None:
    """Each doubling of the nodes divides the kernel's error by at least `fall`."""
    law, x = normal_law(1), np.linspace(-1.5, 1.5, 7)[:, None]
    expected, zero = arcsine_kernel(law, x, x), np.zeros(7)
    errors = []
    for count in (8, 16, 32, 64):
        phi = law.features(law.nodes(count, kind), x, zero)
        errors.append(np.abs(phi @ phi.T - expected).max())
    assert all(later < earlier / fall for earlier, later in itertools.pairwise(errors)), errors
    assert errors[-1] < 1e-3


def test_quasi_random_features_approach_the_kernel() -> None:
    """Sobol points: eight times the points, and an error smaller by 3 at least (plain sampling: by 2.8 on average)."""
    law, x = normal_law(3), np.random.default_rng(4).normal(size=(6, 3)) * 0.6
    expected, zero = arcsine_kernel(law, x, x), np.zeros(6)
    errors = []
    for count in (32, 256, 2048):
        phi = law.features(law.nodes(count, "quasi-random"), x, zero)
        errors.append(np.sqrt(np.mean((phi @ phi.T - expected) ** 2)))
    assert errors[1] < errors[0] / 3
    assert errors[2] < errors[1] / 3


def test_kernel_of_uniform_weights_is_that_of_many_features() -> None:
    law = dataclasses.replace(normal_law(1, "tanh"), w_kind="uniform")
    x, m = np.array([[0.4], [-1.0]]), np.array([0.1, -0.3])
    phi = law.features(law.nodes(60, "grid"), x, m)
    np.testing.assert_allclose(flow.kernel(law, x, m, x, m), phi @ phi.T, rtol=0, atol=1e-5)


# --- the limit of a study --------------------------------------------------------------------------------------


def exact_draws(study: Study, law: ParameterLaw, count: int, kind: str = "grid") -> flow.Draws:
    sets = law.node_sets(count, kind)
    found = draw.exact_moments(kernels.backend("numpy"), law, stationary.atoms(study, kernels.backend("numpy")), sets)
    draws = flow.Draws(sets[0], found[:1], True)
    return draws if kind == "quasi-random" else dataclasses.replace(draws, check_nodes=sets[1], check=found[1])


def solve(study: Study, draws: flow.Draws) -> flow.Limit:
    law, be = ParameterLaw.of(study), kernels.backend("numpy")
    return flow.solve(draws, law, flow.probes_of(study, law, be), np.array([0.0, 1.0, 2.0]), 1.0)


def kernel_equation(study: Study, law: ParameterLaw, times: tuple[float, ...]) -> Array:
    """dg/dt = -Int (g - y) Kern dmu as a matrix exponential over the atoms of mu: the exact kernel, no features."""
    transition, x, z = states(study)
    joint = stationary.collocated_memory(law, transition, x, 8)
    atoms = stationary.finite_state_atoms(joint, 0.0, x, z, stationary.target_values(study, x, z))
    probes = flow.probes_of(study, law, kernels.backend("numpy"))
    both_x, both_m = np.concatenate([atoms.x, probes.last]), np.concatenate([atoms.m, probes.memory])
    rate = flow.kernel(law, both_x, both_m, atoms.x, atoms.m) * atoms.weight
    # State (g, 1), atoms first, then probes: dg/dt = -rate (g_atoms - y).
    size, count = len(both_m) + 1, len(atoms.m)
    system = np.zeros((size, size))
    system[:-1, :count], system[:-1, -1] = -rate, rate @ atoms.y
    return np.array([expm(system * time)[count:-1, -1] for time in times])


def test_limit_is_the_kernel_equation_on_atoms() -> None:
    study = finite_study()
    law = ParameterLaw.of(study)
    found = solve(study, exact_draws(study, law, 64))
    expected = kernel_equation(study, law, (0.0, 1.0, 2.0))
    np.testing.assert_allclose(found.output, expected, rtol=0, atol=1e-7)
    assert np.abs(expected).max() > 0.1


def test_memory_of_a_probe_runs_from_zero_over_all_but_its_last_input() -> None:
    study = finite_study()
    law, be = ParameterLaw.of(study), kernels.backend("numpy")
    probes = flow.probes_of(study, law, be)
    assert probes.history.shape == (6, 7, 1)
    memory = np.zeros(6)
    for k in range(6):
        memory = law.memory_map(probes.history[:, k], memory)
    np.testing.assert_allclose(probes.memory, memory, rtol=0, atol=1e-14)
    np.testing.assert_array_equal(probes.last, probes.history[:, 6])


@pytest.mark.parametrize(("kind", "count"), [("grid", 20), ("gauss-hermite", 20), ("gauss-hermite", 33)])
def test_node_error_covers_the_truth(kind: str, count: int) -> None:
    study = finite_study()
    law = ParameterLaw.of(study)
    truth = solve(study, exact_draws(study, law, 128)).output[-1]
    found = solve(study, exact_draws(study, law, count, kind))
    error, stated = np.abs(found.output[-1] - truth).max(), found.output_error_nodes[-1].max()
    assert error < stated < 5 * error
    assert (found.output_error_draws == 0).all()


def test_leaving_nodes_out_is_using_the_others() -> None:
    study = finite_study()
    law, kept = ParameterLaw.of(study), np.array([0, 1, 2, 5, 7])
    nodes, atoms = law.nodes(8, "quasi-random"), stationary.atoms(study, kernels.backend("numpy"))
    some = Nodes(nodes.w[kept], np.full(5, 0.2), nodes.b[kept], nodes.b_squared[kept])
    be = kernels.backend("numpy")
    (every,), (expected,) = (draw.exact_moments(be, law, atoms, (chosen,)) for chosen in (nodes, some))
    phi, phi_some = (law.features(chosen, atoms.x, atoms.m) for chosen in (nodes, some))
    found, phi_found = flow.without_nodes(every, phi, kept, 8)
    np.testing.assert_allclose(found.a, expected.a, rtol=0, atol=1e-14)
    np.testing.assert_allclose(found.b, expected.b, rtol=0, atol=1e-14)
    np.testing.assert_allclose(phi_found, phi_some, rtol=0, atol=1e-14)


def test_node_error_of_quasi_random_nodes_covers_the_truth() -> None:
    """20 scrambles in three dimensions: the stated error may be too large, up to 5 times, but not too small.

    Were it exact, the mean square of 20 scores with 7 degrees of freedom would pass 3 with probability below 1e-2.
    """
    study = studies.loads(
        FINITE.replace("[-1.0, 0.3, 1.2]", "[[-1, 0.2, 0], [0.3, 1, -0.5], [1.2, 0, 1]]"), "limit.yaml"
    )
    law = ParameterLaw.of(study)
    truth = kernel_equation(study, law, (2.0,))[0]
    scores = []
    for seed in range(20):
        found = solve(study, exact_draws(study, dataclasses.replace(law, seed=seed), 64, "quasi-random"))
        scores.append((found.output[-1] - truth) / found.output_error_nodes[-1])
    mean_square = np.mean(np.square(scores), axis=0)
    assert (mean_square < 3).all(), mean_square
    assert (mean_square > 1 / 25).all(), mean_square


def drawn(study: Study, law: ParameterLaw, seed: int, nodes: Nodes, blocks: int) -> flow.Draws:
    """Moments of the finite chain by simulation, as if its law were not known."""
    be, chain, parts = kernels.backend(), chains.of(study), []
    for block in range(blocks):
        replicas = np.arange(20, dtype=np.uint32) + block * 20
        walk = walks.Walk(chain.paths(be, seed, Stream.DRAW_NOISE, replicas), law, be, 20)
        walk.skip(50, lambda _: None)
        sums = Accumulator(kernels.backend("numpy"), nodes.features)
        draw.accumulate(sums, law, nodes, walk.take(30))
        parts.append(sums.result())
    return flow.Draws(nodes, parts, False)


def test_jackknife_error_covers_the_truth() -> None:
    """25 repetitions of 16 blocks: (drawn - exact)/stated has Student's t law with 15 degrees, of rms 1.07.

    The mean square of 25 such values leaves (0.45, 2.4) with probability below 1e-3 at each end.
    """
    study = finite_study()
    law = ParameterLaw.of(study)
    nodes = law.nodes(12, "grid")
    truth = solve(study, exact_draws(study, law, 12)).output[-1]
    scores = []
    for seed in range(25):
        found = solve(study, drawn(study, law, seed, nodes, 16))
        scores.append((found.output[-1] - truth) / found.output_error_draws[-1])
    mean_square = np.mean(np.square(scores), axis=0)
    assert (mean_square > 0.45).all(), mean_square
    assert (mean_square < 2.4).all(), mean_square


def test_jackknife_of_a_mean_is_its_standard_error() -> None:
    values = np.random.default_rng(1).normal(size=12)
    left_out = (values.sum() - values) / 11
    assert jackknife_error(left_out) == pytest.approx(values.std(ddof=1) / np.sqrt(12))


def test_leaving_a_block_out_is_pooling_the_others() -> None:
    blocks = [
        dataclasses.replace(random_moments(seed), weight=weight) for seed, weight in ((1, 5.0), (2, 8.0), (3, 2.0))
    ]
    rest, expected = leave_one_out(blocks, pooled(blocks), 1), pooled([blocks[0], blocks[2]])
    np.testing.assert_allclose(rest.a, expected.a, atol=1e-12)
    np.testing.assert_allclose(rest.b, expected.b, atol=1e-12)
    assert rest.y2 == pytest.approx(expected.y2)


# --- the stage -------------------------------------------------------------------------------------------------


def test_stage_writes_the_limit_of_an_exact_law(tmp_path: Path) -> None:
    study = finite_study()
    layout, be = Layout.of(study, tmp_path), kernels.backend("numpy")
    draw.run(study, layout, parallel.world(), be)
    limit.run(study, layout, be)
    truth = solve(study, exact_draws(study, ParameterLaw.of(study), 128)).output[-1]
    with store.open_complete(layout.limit, "limit") as file:
        np.testing.assert_array_equal(file["time"][()], [0.0, 0.5, 1.0, 2.0])
        error = np.abs(file["output"][-1] - truth)
        assert (error <= file["output_error_nodes"][-1] + 1e-12).all()
        assert (file["output"][0] == 0).all()
        assert (file["output_error_draws"][()] == 0).all()
        np.testing.assert_allclose(file["output_fine"][-1], file["output"][-1], rtol=0, atol=1e-14)
        assert file["loss"][0] == pytest.approx(exact_y2(study))
        assert 0 < file["loss_floor"][()] < file["loss"][-1] < file["loss"][0]


def exact_y2(study: Study) -> float:
    transition, x, z = states(study)
    return float(stationary_states(transition) @ stationary.target_values(study, x, z) ** 2)


def test_stage_refuses_draws_of_another_study(tmp_path: Path) -> None:
    study, other = finite_study(), studies.loads(FINITE.replace("seed: 5", "seed: 6"), "limit.yaml")
    layout, be = Layout.of(study, tmp_path), kernels.backend("numpy")
    with pytest.raises(StudyError, match="missing"):
        limit.run(study, layout, be)
    draw.run(study, layout, parallel.world(), be)
    with pytest.raises(StudyError, match="another study"):
        limit.run(other, layout, be)


def test_erf_activation_of_kernels_is_the_plain_error_function() -> None:
    """The closed forms here assume erf without a rescaled argument."""
    assert kernels.activations.ACTIVATIONS["erf"].value(np.array([0.7]))[0] == erf(0.7)
