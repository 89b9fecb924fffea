"""Stationary laws without drawing, against enumeration of all histories, simulation and hand calculation.

Statistical checks allow 4.5 standard errors: a false alarm has probability 7e-6 each, and seeds are fixed.
"""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from numpy.typing import NDArray

from rnnlimits import kernels
from rnnlimits import study as studies
from rnnlimits.base.arrays import stationary_states
from rnnlimits.base.errors import StudyError
from rnnlimits.chains.finite_state import FiniteState
from rnnlimits.chains.linear_gaussian import LinearGaussian
from rnnlimits.kernels.interface import RandomKey
from rnnlimits.study import Study
from rnnlimits.theory import stationary as exact
from rnnlimits.theory.laws import ParameterLaw
from rnnlimits.training import plan

Array = NDArray[np.float64]
SIGMAS = 4.5


def states(study: Study) -> tuple[Array, Array, Array]:
    """Transition, x and z of a finite chain."""
    assert isinstance(study.chain, FiniteState)
    return study.chain.finite()


def matrices(study: Study) -> tuple[Array, Array]:
    """A and Q of a linear chain."""
    assert isinstance(study.chain, LinearGaussian)
    return study.chain.gaussian()


TRANSITION = [[0.6, 0.3, 0.1], [0.2, 0.5, 0.3], [0.3, 0.3, 0.4]]


def finite(
    transition: list[list[float]] = TRANSITION,
    x: str = "[-1.0, 0.3, 1.2]",
    b: str = "{offset: 0.2, slope: 0.6}",
    activation: str = "tanh",
    extra: str = "",
) -> Study:
    return studies.loads(
        f"""
name: exact
chain: {{kind: finite-state, transition: {transition}, x: {x}, z: {list(range(len(transition)))}}}
target: {{sin_x: 1.0, z: 0.5}}
network: {{activation: {activation}, b: {b} {extra}}}
training: {{beta: [0.75], width: [64]}}
""",
        "exact.yaml",
    )


def expectations(atoms: exact.Atoms, law: ParameterLaw) -> Array:
    """A handful of smooth functions of (x, y, m), integrated over the atoms."""
    return np.array([atoms.weight @ f for f in functions(atoms.x, atoms.y, atoms.m)])


def functions(x: Array, y: Array, m: Array) -> list[Array]:
    first = x[..., 0]
    return [m, m**2, y * m, np.tanh(1.5 * first + m), np.tanh(0.7 * first + m) * y, np.cos(3 * m) * first]


def enumerated(study: Study, law: ParameterLaw, length: int) -> Array:
    """The same expectations by running every history of `length` states from memory 0."""
    transition, x, z = states(study)
    start = stationary_states(transition)
    history = np.array(list(itertools.product(range(len(x)), repeat=length)))
    weight = start[history[:, 0]]
    for k in range(1, length):
        weight = weight * transition[history[:, k - 1], history[:, k]]
    values = np.unique(history[:, 0])
    memory = np.zeros(len(history))
    for k in range(length - 1):
        for state in values:
            here = history[:, k] == state
            memory[here] = law.memory_map(x[state], memory[here])
    last = history[:, -1]
    y = exact.target_values(study, x, z)[last]
    return np.array([weight @ f for f in functions(x[last], y, memory)])


def test_finite_state_law_is_the_sum_over_all_histories() -> None:
    """Two states, 15 steps: a memory forgets its start by better than 0.25 a step, so 0.25^14 = 4e-9 is left."""
    study = finite([[0.7, 0.3], [0.4, 0.6]], "[-0.8, 1.1]", "{offset: 0.05, slope: 0.25}")
    law = ParameterLaw.of(study)
    assert law.contraction < 0.25
    found = expectations(exact.atoms(study, kernels.backend("numpy")), law)
    np.testing.assert_allclose(found, enumerated(study, law, 15), rtol=0, atol=1e-8)
    # The test has power: shorter histories are visibly wrong.
    assert np.abs(found - enumerated(study, law, 3)).max() > 1e-6


def test_finite_state_law_in_two_dimensions_is_the_sum_over_all_histories() -> None:
    study = finite(
        [[0.7, 0.3], [0.4, 0.6]],
        "[[-0.8, 0.5], [1.1, 0.2]]",
        "{offset: 0.05, slope: 0.25, direction: [1, 1]}",
        "logistic",
        extra=", w: {kind: uniform, mean: 0.2}",
    )
    law = ParameterLaw.of(study)
    found = expectations(exact.atoms(study, kernels.backend("numpy")), law)
    np.testing.assert_allclose(found, enumerated(study, law, 12), rtol=0, atol=1e-8)


def test_finite_state_law_is_the_simulated_one() -> None:
    study = finite(b="{offset: 0.3, slope: 0.6}")
    law, be = ParameterLaw.of(study), kernels.backend("numpy")
    transition, x, z = states(study)
    chains, steps, burn = 400, 300, 60
    state = np.zeros(chains, dtype=np.int32)
    path = be.finite_path(transition, RandomKey(3, 8, np.arange(chains, dtype=np.uint32)), state, 0, steps + burn)
    memory = law.memory_path(be, x[path], np.zeros(chains))[:, burn:-1]
    seen = path[:, burn:]
    y = exact.target_values(study, x, z)[seen]
    means = np.stack([f.mean(axis=1) for f in functions(x[seen], y, memory)])
    error = means.std(axis=1, ddof=1) / np.sqrt(chains)
    atoms = exact.atoms(study, be)
    assert np.abs((expectations(atoms, law) - means.mean(axis=1)) / error).max() < SIGMAS
    assert atoms.error < 1e-12


def test_collocation_converges_spectrally() -> None:
    """A slowly forgetting memory; each doubling of the points must square the error, roughly: divide by 30 at least."""
    study = finite(b="{offset: 0.5, slope: 0.8}")
    law = ParameterLaw.of(study)
    transition, x, z = states(study)
    y = exact.target_values(study, x, z)

    def at(order: int) -> Array:
        joint = exact.collocated_memory(law, transition, x, order)
        return expectations(exact.finite_state_atoms(joint, 0.0, x, z, y), law)

    fine = at(48)
    errors = [np.abs(at(order) - fine).max() for order in (3, 6, 12)]
    assert errors[1] < errors[0] / 30
    assert errors[2] < errors[1] / 30
    np.testing.assert_allclose(at(24), fine, rtol=0, atol=1e-13)


def test_marginal_is_the_law_of_the_states_and_support_is_invariant() -> None:
    study = finite()
    law = ParameterLaw.of(study)
    transition, x, _ = states(study)
    joint, _ = exact.joint_law(law, transition, x)
    values, vectors = np.linalg.eig(transition.T)
    stationary = np.real(vectors[:, np.argmax(values.real)])
    np.testing.assert_allclose(joint.weight.sum(axis=1), stationary / stationary.sum(), atol=1e-14)
    assert joint.weight.sum() == pytest.approx(1.0, abs=2e-15)
    image = law.memory_map(x[:, None, :], np.linspace(joint.low, joint.high, 1000)[None, :])
    assert joint.low <= image.min()
    assert image.max() <= joint.high


def test_a_periodic_chain_visits_two_memories() -> None:
    """States alternate, so the memory does: M_0 = F(x_1, M_1), M_1 = F(x_0, M_0), solved by iteration here."""
    study = finite([[0.0, 1.0], [1.0, 0.0]], "[-0.8, 1.1]")
    law = ParameterLaw.of(study)
    x = states(study)[1]
    memory = np.zeros(2)
    for _ in range(200):
        memory = np.array([law.memory_map(x[1], memory[1]), law.memory_map(x[0], memory[0])])
    atoms = exact.atoms(study, kernels.backend("numpy"))
    for state in range(2):
        here = atoms.x[:, 0] == x[state, 0]
        assert atoms.weight[here].sum() == pytest.approx(0.5, abs=1e-14)
        for power in (1, 2, 3):
            mean = atoms.weight[here] @ atoms.m[here] ** power / 0.5
            assert mean == pytest.approx(memory[state] ** power, abs=1e-12)


def test_a_reducible_chain_is_refused() -> None:
    with pytest.raises(StudyError, match="more than one stationary law"):
        stationary_states(np.eye(3))


def test_stationary_states_of_a_transient_state() -> None:
    law = stationary_states(np.array([[0.5, 0.5, 0.0], [0.0, 0.2, 0.8], [0.0, 0.4, 0.6]]))
    np.testing.assert_allclose(law, [0.0, 1 / 3, 2 / 3], atol=1e-14)


def test_cardinal_polynomials_reproduce_polynomials() -> None:
    nodes = np.cos(np.pi * (np.arange(6) + 0.5) / 6)
    points = np.linspace(-1, 1, 11)
    polynomial = np.polynomial.Polynomial([0.3, -1, 2, 0, 1, -0.5])
    np.testing.assert_allclose(exact.cardinal_values(points, nodes) @ polynomial(nodes), polynomial(points), atol=1e-13)
    np.testing.assert_allclose(exact.cardinal_values(nodes, nodes), np.eye(6), atol=1e-14)


# --- recorded --------------------------------------------------------------------------------------------------


def test_memory_of_a_recorded_series_is_periodic_and_follows_the_map() -> None:
    law, be = ParameterLaw.of(finite(b="{offset: 0.4, slope: 0.8}")), kernels.backend("numpy")
    x = np.random.default_rng(4).normal(size=(9, 1))
    atoms = exact.recorded_atoms(law, be, x, np.arange(9.0))
    for k in range(9):
        assert atoms.m[(k + 1) % 9] == pytest.approx(float(law.memory_map(x[k], atoms.m[k])), abs=1e-14)
    np.testing.assert_allclose(atoms.weight, 1 / 9)
    assert np.abs(atoms.m).max() > 0.05


def test_only_finite_state_and_recorded_laws_are_exact() -> None:
    study = studies.loads(
        "{name: a, chain: {kind: coupled-tanh}, target: {}, training: {beta: [0.75], width: [64]}}", "a.yaml"
    )
    assert not plan.has_exact_law(study)
    assert plan.has_exact_law(finite())
    with pytest.raises(StudyError, match="coupled-tanh has no exact stationary law"):
        exact.atoms(study, kernels.backend("numpy"))
    assert exact.mixing_rate(study) is None


# --- mixing and covariance -------------------------------------------------------------------------------------


def test_mixing_rate_of_two_states() -> None:
    """The eigenvalues of [[1-a, a], [b, 1-b]] are 1 and 1 - a - b."""
    assert exact.mixing_rate(finite([[0.7, 0.3], [0.1, 0.9]], "[0.0, 1.0]")) == pytest.approx(0.6)


def test_mixing_rate_and_covariance_of_a_linear_chain() -> None:
    """Eigenvalues .5 +- .3i; for a scalar chain S = q/(1 - a^2)."""
    study = studies.loads(
        """
name: linear
chain: {kind: linear-gaussian, a: [[0.5, 0.3], [-0.3, 0.5]], q: 1.0, dimension: 1}
target: {}
training: {beta: [0.75], width: [64]}
""",
        "linear.yaml",
    )
    assert exact.mixing_rate(study) == pytest.approx(np.hypot(0.5, 0.3))
    assert exact.stationary_covariance(np.array([[0.8]]), np.array([[0.5]]))[0, 0] == pytest.approx(0.5 / 0.36)
    a, q = matrices(study)
    s = exact.stationary_covariance(a, q)
    np.testing.assert_allclose(s, a @ s @ a.T + q, atol=1e-14)


@pytest.mark.parametrize("second", [0.6, -0.5])
def test_mixing_rate_of_three_states_is_the_second_modulus(second: float) -> None:
    """P = sum of projections: eigenvalues 1, `second` and .1 by construction, all three moduli different."""
    vectors = np.array([[1.0, 1.0, 1.0], [1.0, -1.0, 0.0], [1.0, 1.0, -2.0]]).T
    vectors /= np.linalg.norm(vectors, axis=0)
    transition = vectors @ np.diag([1.0, second, 0.1]) @ vectors.T
    assert transition.min() >= 0
    assert exact.mixing_rate(finite(transition.tolist())) == pytest.approx(abs(second), abs=1e-12)
