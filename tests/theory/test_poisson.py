"""The Poisson equation, long-run variances and mixing against linear algebra, closed forms and direct summation.

Statistical checks allow 4 standard errors of their own stated error, unless they say otherwise: a false alarm has
probability 6e-5 for each of a handful of numbers, and seeds are fixed.
"""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from mpi4py import MPI
from numpy.typing import NDArray

from rnnlimits import kernels
from rnnlimits import study as studies
from rnnlimits.base.arrays import second_modulus, stationary_states
from rnnlimits.base.errors import StudyError
from rnnlimits.base.streams import Stream
from rnnlimits.chains.finite_state import FiniteState
from rnnlimits.files import store
from rnnlimits.kernels.interface import Backend
from rnnlimits.quantities import constants
from rnnlimits.quantities.base import registered
from rnnlimits.quantities.whole import StudyQuantity
from rnnlimits.statistics.bootstrap import Bootstrap
from rnnlimits.statistics.families import settled
from rnnlimits.statistics.longrun import FIRST, BatchMeans, Scales, long_run, long_run_variance
from rnnlimits.statistics.ratefile import Rate
from rnnlimits.statistics.rows import Ratio, ratio_row
from rnnlimits.study import Study
from rnnlimits.theory import mixing, poisson_equation, sgd_noise
from rnnlimits.theory import stationary as exact
from rnnlimits.theory.flow import Flow, probes_of
from rnnlimits.theory.laws import ParameterLaw
from rnnlimits.theory.moments import Moments
from rnnlimits.theory.poisson_equation import Operator, States
from rnnlimits.theory.walks import Stretch
from rnnlimits.training import constants as fluctuations
from rnnlimits.training import draw, twin
from rnnlimits.training.constants import functions
from rnnlimits.training.layout import Layout

Array = NDArray[np.float64]
SIGMAS = 4.0
TRANSITION = np.array([[0.8, 0.15, 0.05], [0.1, 0.75, 0.15], [0.1, 0.2, 0.7]])
SHOWN = np.array([-1.0, 0.3, 1.2])
PERIODIC = np.array([[0.0, 1.0, 0.0], [0.0, 0.0, 1.0], [1.0, 0.0, 0.0]])
FINITE = f"{{kind: finite-state, transition: {TRANSITION.tolist()}, x: [-1.0, 0.3, 1.2], z: [0.5, -1.0, 1.0]}}"
TANH = "{kind: coupled-tanh}"
LINEAR = "{kind: linear-gaussian, a: [[0.6, 0.2], [0.1, 0.5]], q: [[0.5, 0.1], [0.1, 0.4]], dimension: 1}"


def study_of(chain: str, draws: str = "{blocks: 4, chains: 64, steps: 512}") -> Study:
    return studies.loads(
        f"""
name: poisson
seed: 11
chain: {chain}
target: {{sin_x: 1.0, z: 0.5}}
training: {{beta: [0.75], width: [16], replicas: 32, replicas_per_block: 32, checkpoints: [0.0, 2.0], horizon: 2.0}}
probes: {{count: 4, length: 20}}
draws: {draws}
limit: {{nodes: 16}}
twin: {{steps_per_time: [256, 512], paths: 512}}
""",
        "poisson.yaml",
    )


@pytest.fixture(scope="module")
def be() -> Backend:
    return kernels.processor("auto")


def bootstrap(be: Backend) -> Bootstrap:
    return Bootstrap(lambda units, count: be.uniforms(3, Stream.BOOTSTRAP, units.astype(np.uint32), count), 1000)


# --- the equation, exactly -------------------------------------------------------------------------------------


@pytest.mark.parametrize("transition", [TRANSITION, PERIODIC, np.eye(1)], ids=["ergodic", "periodic", "single"])
def test_the_finite_solution_satisfies_the_equation(transition: Array) -> None:
    f = np.random.default_rng(0).normal(size=(len(transition), 5))
    u, law = poisson_equation.finite(transition, f), stationary_states(transition)
    np.testing.assert_allclose(u - transition @ u, f - law @ f, rtol=0, atol=1e-12)
    np.testing.assert_allclose(law @ u, 0, atol=1e-12)
    np.testing.assert_allclose(poisson_equation.finite(transition, f[:, 0]), u[:, 0], rtol=0, atol=1e-13)


def test_the_finite_covariance_is_the_sum_of_all_autocovariances() -> None:
    f = np.random.default_rng(1).normal(size=(3, 2))
    operator = poisson_equation.finite_operator(TRANSITION)
    law, fluctuation = operator.law, operator.centred(f)
    total, power = np.zeros((2, 2)), np.eye(3)
    for lag in range(400):  # 0.7^400 is nothing
        term = fluctuation.T @ (law[:, None] * (power @ fluctuation))
        total += term if lag == 0 else term + term.T
        power = power @ TRANSITION
    np.testing.assert_allclose(operator.covariance(f), total, rtol=1e-11)
    np.testing.assert_allclose(operator.variance(f), np.diag(total), rtol=1e-11)
    # Without the correction for the diagonal, 2 mu(f~ u), or with half of the sum, the answer is another one.
    assert np.abs(np.diag(total) / (law @ fluctuation**2) - 1).min() > 0.3


def test_a_periodic_chain_averages_without_any_noise() -> None:
    """Sums over one period of a deterministic circle are constant: the long-run variance is zero."""
    assert abs(poisson_equation.finite_operator(PERIODIC).variance(np.array([[1.0], [5.0], [-2.0]]))[0]) < 1e-13


def known(study: Study) -> tuple[Operator, exact.Atoms]:
    found = poisson_equation.finite_state(study, ParameterLaw.of(study))
    assert found is not None
    return found


def test_with_the_memory_the_state_alone_gives_what_the_finite_chain_gives() -> None:
    operator, atoms = known(study_of(FINITE))
    joint = operator.variance(poisson_equation.at_atoms(functions, atoms))
    alone = poisson_equation.finite_operator(TRANSITION).variance(np.column_stack([SHOWN, SHOWN**2]))
    np.testing.assert_allclose(joint[[0, 2]], alone, rtol=1e-10)


def test_with_the_memory_the_solution_is_the_sum_over_steps() -> None:
    """u(i, m) by running all futures from (i, m): the expectation is propagated backwards through the memory map."""
    study = study_of(FINITE)
    law, (operator, atoms) = ParameterLaw.of(study), known(study)
    u = operator.solve(atoms.m)
    mean = operator.law @ atoms.m
    start = 5  # point of the first state
    states, memory, weight = np.array([0]), np.array([atoms.m[start]]), np.array([1.0])
    total = 0.0
    for _ in range(9):
        total += weight @ (memory - mean)
        memory = np.repeat(law.memory_map(SHOWN[states][:, None], memory), 3)
        weight = (weight[:, None] * TRANSITION[states]).reshape(-1)
        states = np.tile(np.arange(3), len(states))
    # What nine steps leave is the solution itself, averaged over where they lead.
    order = len(atoms.m) // 3
    rest = 0.0
    for state in range(3):
        here = states == state
        points = atoms.m[state * order : (state + 1) * order]
        coefficients = np.polynomial.chebyshev.Chebyshev.fit(points, u[state * order : (state + 1) * order], order - 1)
        rest += float(weight[here] @ coefficients(memory[here]))
    assert abs(total + rest - u[start]) < 1e-9
    assert abs(rest) > 1e-3


# --- by coupled paths ------------------------------------------------------------------------------------------


def test_coupled_paths_give_the_solution_within_their_own_error(be: Backend) -> None:
    """From three (state, memory) points; 12 comparisons, a false alarm in 0.08% of seeds."""
    study = study_of(FINITE)
    operator, atoms = known(study)
    order = len(atoms.m) // 3
    rows = np.array([2, order + 3, 2 * order + 1])
    start = States(np.array([0, 1, 2], dtype=np.int32), atoms.m[rows])
    found = poisson_equation.simulated(study, be, functions, start, replicas=2000, steps=64)
    wanted = operator.solve(poisson_equation.at_atoms(functions, atoms))[rows]
    assert found.value.shape == (3, 4)
    assert found.rest.max() < 0.01
    assert np.all(np.abs(found.value - wanted) < SIGMAS * found.stderr + found.rest)
    # The errors are small enough for the test to mean something, and are no overstatement.
    assert np.all(found.stderr < 0.05 * np.abs(wanted).max())
    assert np.sqrt(np.mean(((found.value - wanted) / found.stderr) ** 2)) > 0.2


def test_too_few_coupled_steps_say_so(be: Backend) -> None:
    study = study_of(FINITE)
    _, atoms = known(study)
    start = States(np.array([2], dtype=np.int32), atoms.m[-1:])
    few, many = (poisson_equation.simulated(study, be, functions, start, 500, steps) for steps in (4, 64))
    assert np.all(few.rest > 5 * many.rest)


def test_coupled_variance_is_the_exact_one(be: Backend) -> None:
    study = study_of(FINITE)
    operator, atoms = known(study)
    wanted = operator.variance(poisson_equation.at_atoms(functions, atoms))
    found = poisson_equation.coupled_variance(study, be, functions, pairs=4000, steps=64)
    assert np.all(np.abs(found.value - wanted) < SIGMAS * found.stderr + found.rest)
    assert np.all(found.stderr < 0.06 * wanted)


def test_coupled_variance_of_a_linear_chain_is_the_closed_form(be: Backend) -> None:
    """Long-run covariance of H' = A H + noise: (1 - A)^-1 Q (1 - A)^-T."""
    a, q = np.array([[0.6, 0.2], [0.1, 0.5]]), np.array([[0.5, 0.1], [0.1, 0.4]])
    root = np.linalg.inv(np.eye(2) - a)
    found = poisson_equation.coupled_variance(study_of(LINEAR), be, functions, pairs=4000, steps=128)
    assert abs(found.value[0] - (root @ q @ root.T)[0, 0]) < SIGMAS * found.stderr[0]
    assert found.rest.max() < 1e-6


def constants_of(study: Study, layout: Layout, be: Backend) -> list[Rate]:
    """The rows of the quantities that compare with poisson.h5."""
    results: Any = SimpleNamespace(study=study, layout=layout)
    names = ("sgd_noise_constant", "ergodic_average", "ergodic_constant", "mixing")
    entries = (entry for entry in registered(StudyQuantity) if entry.name in names)
    return [rate for entry in entries for rate in entry.rates(results, bootstrap(be))]


def test_a_recorded_series_has_no_poisson_equation(tmp_path: Path, be: Backend) -> None:
    """The functions refuse; the stage leaves a file without variables, and the one row says why."""
    (tmp_path / "series.csv").write_text("a\n" + "\n".join(str(k % 7) for k in range(50)) + "\n")
    text = f"""
name: recorded
chain: {{kind: recorded, file: {tmp_path}/series.csv, columns: [a]}}
training: {{beta: [0.75], width: [16]}}
"""
    study = studies.loads(text, str(tmp_path / "recorded.yaml"))
    with pytest.raises(StudyError, match="recorded"):
        poisson_equation.Coupled(study, be)
    layout = Layout.of(study, tmp_path)
    layout.root.mkdir()
    fluctuations.run(study, layout, be)
    with store.open_complete(layout.root / "poisson.h5", "poisson") as file:
        assert len(file) == 0
    (row,) = constants_of(study, layout, be)
    assert row.verdict == "no prediction"
    assert "recorded" in row.note


# --- long-run variances ----------------------------------------------------------------------------------------


def autoregression(phi: Array, chains: int, length: int) -> Array:
    """(chains, length, S): stationary AR(1) of innovations 1, one for each phi, with means of their own."""
    rng = np.random.default_rng(4)
    value = rng.normal(size=(chains, len(phi))) / np.sqrt(1 - phi**2)
    series = np.empty((chains, length, len(phi)))
    for k in range(length):
        series[:, k] = value
        value = phi * value + rng.normal(size=value.shape)
    return series + np.arange(len(phi))


def test_long_run_variance_of_an_autoregression() -> None:
    """sigma^2 = 1/(1 - phi)^2, lag_time = 2 phi/(1 - phi^2); 64 chains of 4096 values."""
    phi = np.array([-0.5, 0.0, 0.5, 0.8, 0.9])
    found = long_run_variance(autoregression(phi, 64, 4096))
    wanted = 1 / (1 - phi) ** 2
    assert np.all(np.abs(found.value - wanted) < SIGMAS * found.stderr)
    assert np.all(found.stderr < 0.05 * wanted)
    np.testing.assert_allclose(found.mean, np.arange(5), atol=0.1)
    assert np.all(np.abs(found.lag_time - 2 * phi / (1 - phi**2)) < 0.1 * found.batch)
    # Batches of eight would have been far off for the slowest: the choice of the batch matters.
    short = long_run_variance(autoregression(phi, 64, 4096), levels=4)
    assert short.value[-1] < wanted[-1] - SIGMAS * short.stderr[-1]


def test_stated_errors_are_the_real_ones() -> None:
    """Scatter of 200 estimates over the mean stated error: within 20% (4 s.d. of a s.d. from 200)."""
    series = autoregression(np.array([0.6]), 200 * 16, 512).reshape(200, 16, 512)
    found = [long_run_variance(part) for part in series]
    values, errors = np.array([f.value[0] for f in found]), np.array([f.stderr[0] for f in found])
    assert abs(values.std() / errors.mean() - 1) < 0.2
    assert abs(values.mean() - 1 / 0.16) < SIGMAS * values.std() / np.sqrt(200) + 0.1


@pytest.mark.parametrize("least", [0, FIRST])
def test_one_pass_in_stretches_and_groups_gives_the_same(least: int) -> None:
    """Also from sums over the batches that are too short to be used."""
    series = autoregression(np.array([0.5, 0.7]), 8, 1024)
    groups = []
    for rows in (slice(0, 3), slice(3, 8)):
        sums = BatchMeans(least=least)
        for first in (0, 512):
            some = series[rows, first : first + 512]
            sums.add(some.reshape(len(some), -1, 1 << least, some.shape[-1]).sum(2))
        groups.append(sums.result())
    found, wanted = long_run(Scales.of_groups(groups)), long_run_variance(series)
    np.testing.assert_allclose(found.chains, wanted.chains, rtol=1e-9)


def test_variances_add_up_with_weights() -> None:
    series = autoregression(np.array([0.5, 0.7]), 32, 1024)
    sums = BatchMeans()
    sums.add(series)
    weight = np.array([[2.0, 0.0], [1.0, 3.0]])
    alone, together = long_run(sums.result()), long_run(sums.result(), weight)
    assert alone.batch == together.batch
    np.testing.assert_allclose(together.value, alone.value @ weight, rtol=1e-12)
    assert np.all(together.stderr <= alone.stderr @ weight * (1 + 1e-12))  # errors of independent scalars partly cancel


def test_bad_series_are_refused() -> None:
    with pytest.raises(ValueError, match="2 chains"):
        long_run_variance(np.zeros((1, 512)))
    with pytest.raises(ValueError, match="multiple"):
        BatchMeans().add(np.zeros((2, 100, 1)))


def test_batch_means_of_a_finite_chain_are_within_3_percent_of_the_exact_constants(be: Backend) -> None:
    """x, y, x^2 and m of 256 chains of 16,384 steps: the s.d.s are known to about 0.4%."""
    study = study_of(FINITE)
    found = fluctuations.averages(study, be)
    ratio = np.sqrt(found.batch.value / found.predicted.value)
    np.testing.assert_allclose(ratio, 1, atol=0.03)
    assert np.all(np.abs(found.batch.value - found.predicted.value) < SIGMAS * found.batch.stderr)


# --- the constant of one-pass noise ----------------------------------------------------------------------------


def flow_of(study: Study, operator: Operator, atoms: exact.Atoms, be: Backend) -> tuple[Flow, Array, Array]:
    """The exact flow, features at the atoms (n, F) and at the probes (P, F)."""
    law = ParameterLaw.of(study)
    nodes, probes = law.nodes(study.limit.nodes, study.features), probes_of(study, law, be)
    phi = law.features(nodes, atoms.x, atoms.m)
    a, b = phi.T @ (operator.law[:, None] * phi), phi.T @ (operator.law * atoms.y)
    flow = Flow.of(Moments((a + a.T) / 2, b, 1.0, 1.0), study.training.alpha)
    return flow, phi, law.features(nodes, probes.last, probes.memory)


def test_the_constant_is_the_integral_of_eq_37(be: Backend) -> None:
    """The full long-run covariance matrix Sigma_s, matrix exponentials and a midpoint rule, against the scalars."""
    from scipy.linalg import expm

    study = study_of(FINITE)
    law, (operator, atoms) = ParameterLaw.of(study), known(study)
    flow, phi, at_probes = flow_of(study, operator, atoms, be)
    scores = sgd_noise.Scores.of(flow, at_probes, 2.0)
    observable = scores.observable(law, law.nodes(study.limit.nodes, study.features))
    found = sgd_noise.exact_noise(operator, poisson_equation.at_atoms(observable, atoms), scores.combination)
    a = (flow.vector * flow.eigenvalue) @ flow.vector.T
    times, wanted = (np.arange(40) + 0.5) * 2.0 / 40, np.zeros(len(at_probes))
    for s in times:
        theta = flow.theta(np.array([s]))[0]
        sigma = operator.covariance((phi @ theta - atoms.y)[:, None] * phi)
        carried = at_probes @ expm(-flow.alpha * a * (2.0 - s))
        wanted += flow.alpha**2 * 2.0 / 40 * np.einsum("pi,ij,pj->p", carried, sigma, carried)
    np.testing.assert_allclose(found.constant, np.sqrt(wanted), rtol=1e-4)


def test_the_simulated_constant_is_the_exact_one(be: Backend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = study_of(FINITE, "{blocks: 4, chains: 64, steps: 1024}")
    layout = Layout.of(study, tmp_path)
    draw.run(study, layout, MPI.COMM_SELF, be)
    wanted = fluctuations.noise(study, layout, be)
    monkeypatch.setattr(poisson_equation, "LARGEST", 1)
    found = fluctuations.noise(study, layout, be)
    assert np.all(wanted.stderr == 0)
    assert np.all(found.stderr < 0.03 * wanted.constant)
    assert np.all(np.abs(found.constant - wanted.constant) < SIGMAS * found.stderr)


# --- mixing ----------------------------------------------------------------------------------------------------


def test_empirical_laws_are_the_powers_of_the_transition_matrix(be: Backend) -> None:
    """16,384 chains from one state: total variation within 0.02 (sqrt(P / chains) = 0.014) of the n-step law."""
    study = study_of(FINITE)
    found = mixing.departure(study, be)
    assert found is not None
    stationary = stationary_states(TRANSITION)
    empirical = found.error.mean(1) + stationary
    np.testing.assert_allclose(empirical.sum(-1), 1, atol=1e-12)
    powers = np.array([np.linalg.matrix_power(TRANSITION, int(n)) for n in found.step])  # (n, start, state)
    distance = 0.5 * np.abs(powers - empirical[:, None]).sum(-1)
    assert distance.max(0).min() < 0.02  # of the one start that it was
    assert distance.max(0).max() > 0.2  # and not of another
    start = int(distance.max(0).argmin())
    wanted = 0.5 * np.abs(powers[:, start] - stationary).sum(-1)
    np.testing.assert_allclose(mixing.total_variation(found), wanted, atol=0.02)


@pytest.mark.parametrize("chain", [FINITE, LINEAR], ids=["finite-state", "linear-gaussian"])
def test_the_rate_of_mixing_is_the_second_eigenvalue(be: Backend, chain: str) -> None:
    """The exact rate in an interval of 99.99%: the 95% one, doubled."""
    study = study_of(chain)
    found = mixing.departure(study, be)
    rate = exact.mixing_rate(study)
    assert found is not None
    assert rate is not None
    slope = mixing.mixing(found, bootstrap(be)).slope
    assert abs(slope.value + np.log(rate)) < 2 * slope.half_width
    assert slope.half_width < 0.15 * slope.value


def test_steps_wait_for_the_faster_modes() -> None:
    steps = mixing.steps_to_look_at(np.array([0.9, 0.6]))
    assert (0.6 / 0.9) ** steps[0] <= mixing.OTHERS
    assert 0.9 ** steps[-1] <= mixing.DECAY
    assert len(steps) <= mixing.MOST_POINTS
    assert list(mixing.steps_to_look_at(np.zeros(1))) == [1, 2, 3, 4]
    assert mixing.steps_to_look_at(np.array([1.0, 1.0]))[-1] == mixing.LONGEST


# --- the stage and its rows ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory, be: Backend) -> dict[str, list[Rate]]:
    """Rows of a coupled-tanh and a finite-state study, by quantity; 512 twins at K = 256 and 512."""
    found: dict[str, list[Rate]] = {}
    for chain in (TANH, FINITE):
        study = study_of(chain)
        layout = Layout.of(study, tmp_path_factory.mktemp("rows"))
        draw.run(study, layout, MPI.COMM_SELF, be)
        twin.run(study, layout, None, MPI.COMM_SELF, be)
        fluctuations.run(study, layout, be)
        for rate in constants_of(study, layout, be):
            found.setdefault(rate.quantity, []).append(rate)
    return found


def test_twins_have_the_predicted_noise(rows: dict[str, list[Rate]]) -> None:
    """Each s.d. from 512 paths has an error of 3.1%, nearly the same for all probes: allowed are 13%, 4 errors."""
    found = rows["sgd_noise_constant"]
    assert [rate.at for rate in found[:2]] == ["K=512 all probes", "K=512 probe=0"]
    assert len(found) == 2 * (1 + 4)
    for rate in found:
        assert abs(rate.exponent - 1) < 0.13, rate
        assert 0.02 < rate.stderr < 0.06
        assert rate.ci_low < rate.exponent < rate.ci_high
        assert (rate.expected, rate.expected_kind, rate.law, rate.replicas) == (1.0, "heuristic", "ratio", 512)
        assert [point.variable for point in rate.cloud] == [256.0, 512.0]


def test_averages_shrink_with_the_root_of_their_length(rows: dict[str, list[Rate]]) -> None:
    for rate in rows["ergodic_average"]:
        assert abs(rate.exponent - 0.5) < SIGMAS * rate.stderr
        assert rate.points >= 4
    assert {rate.at for rate in rows["ergodic_average"]} == {"f=x", "f=y", "f=x^2", "f=m"}


def test_batch_means_have_the_predicted_constant(rows: dict[str, list[Rate]]) -> None:
    for rate in rows["ergodic_constant"]:
        assert abs(rate.exponent - 1) < SIGMAS * rate.stderr
        assert rate.stderr < 0.03


def test_mixing_is_judged_where_its_rate_is_known(rows: dict[str, list[Rate]]) -> None:
    (rate,) = settled(rows["mixing"])  # that of the finite chain
    assert rate.law == "geometric"
    assert rate.expected == pytest.approx(-np.log(second_modulus(TRANSITION)))
    assert rate.verdict == "as predicted"


def test_the_judged_k_is_the_largest_with_paths_enough() -> None:
    paths = {64: 256, 512: 256, 1024: 128, 2048: 128, 4096: 64, 8192: 32}
    assert constants._judged_k({k: np.zeros((n, 1)) for k, n in paths.items()}) == 2048


def test_times_are_enough_for_fast_flows() -> None:
    """The rule integrates exp(-2 r (1 - s)) exp(..) to 1e-7 however many relaxation times r the horizon holds."""
    for relaxations in (0.1, 1.0, 5.0, 20.0, 50.0):
        flow = Flow(np.array([relaxations]), np.eye(1), np.zeros(1), 1.0, 1.0)
        scores = sgd_noise.Scores.of(flow, np.ones((1, 1)), 1.0)
        found = scores.weight @ scores.direction[:, 0, 0] ** 2
        assert found == pytest.approx((1 - np.exp(-2 * relaxations)) / (2 * relaxations), rel=1e-7)


def test_a_wrong_constant_is_not_as_predicted() -> None:
    blank = Rate("s", "sgd_noise_constant", "twin", "K", "", expected=1.0)
    for stderr, verdict in [(0.02, "not as predicted"), (0.06, "as predicted"), (0.2, "cannot tell")]:
        (row,) = settled([ratio_row(blank, Ratio(1.1, stderr, 1e6), 9)])
        assert (row.verdict, row.predicted) == (verdict, 1.0)


def test_the_file_of_the_stage_is_reproducible(tmp_path: Path, be: Backend) -> None:
    study = study_of(TANH, "{blocks: 2, chains: 32, steps: 64}")
    digests = []
    for name in ("first", "second"):
        layout = Layout.of(study, tmp_path / name)
        draw.run(study, layout, MPI.COMM_SELF, be)
        fluctuations.run(study, layout, be)
        digests.append(store.digest_of(layout.root / "poisson.h5"))
    assert digests[0] == digests[1]


def test_scores_are_those_of_the_definition(be: Backend) -> None:
    study = study_of(FINITE)
    law, (operator, atoms) = ParameterLaw.of(study), known(study)
    flow, _, at_probes = flow_of(study, operator, atoms, be)
    scores, nodes = sgd_noise.Scores.of(flow, at_probes, 2.0, times=3), law.nodes(16, study.features)
    rng = np.random.default_rng(2)
    part = Stretch(rng.normal(size=(2, 3, 1)), np.zeros((2, 3, 1)), rng.normal(size=(2, 3)), rng.normal(size=(2, 3)))
    found = scores.observable(law, nodes)(part).reshape(2, 3, 3, 4)
    phi = law.features(nodes, part.x[1, 2], part.m[1, 2])
    wanted = (phi @ scores.theta[2] - part.y[1, 2]) * (phi @ scores.direction[2, 3])
    assert found[1, 2, 2, 3] == pytest.approx(wanted, rel=1e-12)
    (batch,) = scores.batches(law, nodes, 3)(part)[1]
    np.testing.assert_allclose(batch, found[1].sum(0).reshape(-1), rtol=1e-12)
    assert isinstance(study.chain, FiniteState)
