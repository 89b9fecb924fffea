"""Numerical checks against cases whose answer is known without them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from rnnlimits.base.errors import StudyError
from rnnlimits.chains.coupled_tanh import CoupledTanh, lyapunov_exponent
from rnnlimits.study import Study, load, loads
from rnnlimits.theory.laws import ParameterLaw
from rnnlimits.training.checks import check, memory_contraction

CONFIG = Path(__file__).resolve().parent.parent.parent / "config"
DEMO_CHAIN = "{kind: coupled-tanh}"
AT_ZERO = "{kind: finite-state, transition: [[1]], x: [0]}"


def study(chain: str = DEMO_CHAIN, network: str = "{}", more: str = "") -> Study:
    text = f"""
name: small
chain: {chain}
target: {{}}
network: {network}
training: {{beta: [0.75], width: [64], replicas: 16}}
{more}"""
    return loads(text, "small.yaml")


def line_of(refused: Study) -> str:
    with pytest.raises(StudyError) as caught:
        check(refused)
    assert str(caught.value).startswith("small.yaml: ")
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("name", ["demo", "full", "recorded"])
def test_shipped_studies_pass(name: str) -> None:
    findings = check(load(CONFIG / f"{name}.yaml"))
    assert len(findings) == 2
    assert "the memory map contracts" in findings[-1]


# --- chains ------------------------------------------------------------------------------------------------

GROWING = [
    ("{kind: linear-gaussian, a: 1.0, q: 1}", "spectral radius is 1, allowed: below 1"),
    ("{kind: linear-gaussian, a: [[0, 2], [-2, 0]], q: 1}", "spectral radius is 2, allowed: below 1"),
    ("{kind: coupled-tanh, a: 1.1}", "top Lyapunov exponent is"),
    ("{kind: coupled-tanh, a: 1, e: 0}", "top Lyapunov exponent is"),
    ("{kind: coupled-tanh, a: 1.5}", "paths grow without bound"),
    ("{kind: coupled-tanh, a: 0.9, b: 6, e: 6, c: 0.9, s: 0.01, r: 0.01}", "top Lyapunov exponent is"),
    ("{kind: finite-state, transition: [[1, 0], [0, 1]], x: [0, 1]}", "second eigenvalue has modulus 1, allowed"),
    ("{kind: finite-state, transition: [[0, 1], [1, 0]], x: [0, 1]}", "second eigenvalue has modulus 1, allowed"),
]


@pytest.mark.parametrize(("chain", "words"), GROWING)
def test_chain_that_does_not_contract_is_refused(chain: str, words: str) -> None:
    line = line_of(study(chain))
    assert words in line
    assert "set allow_noncontracting: true" in line


@pytest.mark.parametrize(("chain", "words"), GROWING)
def test_chain_that_does_not_contract_is_a_finding_where_the_study_wants_it(chain: str, words: str) -> None:
    assert words in check(study(chain, more="allow_noncontracting: true"))[0]


@pytest.mark.parametrize(
    ("chain", "words"),
    [
        # Not normal: the first steps grow tenfold, the spectral radius is what counts.
        ("{kind: linear-gaussian, a: [[0.5, 10], [0, 0.5]], q: 1}", "spectral radius is 0.5"),
        ("{kind: linear-gaussian, a: [[0, 0.5], [-0.5, 0]], q: 1}", "spectral radius is 0.5"),
        # [[.5, .4], [.3, .6]] has the eigenvalues 0.9 and 0.2.
        (DEMO_CHAIN, "spectral radius 0.9"),
        ("{kind: coupled-tanh, dimension: 3}", "spectral radius 0.9"),
        # The Lipschitz bound 1.4 says nothing; cos(X) and sech(Z)^2 of noisy states are well below 1.
        ("{kind: coupled-tanh, b: 0.9, e: 0.9, c: 0.5, s: 2, r: 2}", "Lyapunov exponent is -"),
        # Two states that keep with probability .9 and .7: eigenvalues 1 and .6.
        ("{kind: finite-state, transition: [[0.9, 0.1], [0.3, 0.7]], x: [0, 1]}", "modulus 0.6"),
        (AT_ZERO, "modulus 0"),
    ],
)
def test_chain_that_contracts_is_accepted(chain: str, words: str) -> None:
    network = "{activation: logistic}" if chain == AT_ZERO else "{}"
    assert words in check(study(chain, network))[0]


@pytest.mark.parametrize(("a", "c"), [(0.5, 0.9), (1.2, 0.3), (-0.7, 0.2)])
def test_lyapunov_exponent_of_uncoupled_chains_is_exact(a: float, c: float) -> None:
    chain = CoupledTanh(kind="coupled-tanh", a=a, b=0.0, c=c, e=0.0)
    mean, error = lyapunov_exponent(chain.matrices())
    assert mean == pytest.approx(np.log(max(abs(a), abs(c))), abs=1e-12)
    assert error < 1e-12


def test_lyapunov_exponent_is_below_the_lipschitz_bound() -> None:
    mean, error = lyapunov_exponent(CoupledTanh(kind="coupled-tanh").matrices())
    assert mean + 4 * error < np.log(0.9)


def test_lyapunov_exponent_against_two_nearby_paths() -> None:
    """The growth of a small difference under common noise; false alarm below 1e-4 (five standard errors)."""
    chain = CoupledTanh(kind="coupled-tanh", b=0.9, e=0.9, c=0.5, s=0.5, r=0.5)
    m, rng = chain.matrices(), np.random.default_rng(3)
    near, far = np.zeros((2, 400)), np.full((2, 400), 1e-7)
    growth = np.zeros(400)
    for step in range(1100):
        noise = rng.standard_normal((2, 400)) * 0.5
        near, far = (np.stack([0.5 * x + 0.9 * np.tanh(z), 0.5 * z + 0.9 * np.sin(x)]) + noise for x, z in (near, far))
        size = np.linalg.norm(far - near, axis=0)
        growth += np.log(size / (1e-7 if step else 1e-7 * 2**0.5)) * (step >= 100)
        far = near + (far - near) * (1e-7 / size)
    mean, error = lyapunov_exponent(m)
    rates = growth / 1000
    assert abs(rates.mean() - mean) < 5 * np.hypot(error, rates.std() / 20)


def test_contraction_is_decided_by_simulation_only_where_the_bound_fails() -> None:
    assert "Lipschitz matrix" in CoupledTanh(kind="coupled-tanh").contraction().words
    words = CoupledTanh(kind="coupled-tanh", b=0.9, e=0.9, c=0.5, s=2.0, r=2.0).contraction().words
    assert "Lipschitz bound is 1.4" in words


@pytest.mark.parametrize(
    ("chain", "network", "key"),
    [
        ("{kind: linear-gaussian, a: 0.5, q: [[1, 2], [2, 1]]}", "{}", "chain.q has the eigenvalue -1"),
        (
            "{kind: coupled-tanh, dimension: 2}",
            "{w: {kind: gaussian, covariance: [[1, 2], [2, 1]]}}",
            "network.w.covariance has the eigenvalue -1",
        ),
    ],
)
def test_matrix_that_is_no_covariance_is_refused(chain: str, network: str, key: str) -> None:
    assert f"{key}; allowed: none below 0" in line_of(study(chain, network))


# --- memory ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("offset", [0.3, 0.9, 1.5])
def test_slope_of_the_memory_map_at_zero_input(offset: float) -> None:
    """With x = 0 and b = 0 for the rest, F(0, m) = offset tanh(m), whose slope is largest at m = 0."""
    zero = study(AT_ZERO, f"{{b: {{offset: {offset}, slope: 0.1}}, activation: tanh}}")
    verdict = memory_contraction(ParameterLaw.of(zero), zero.chain.sample_inputs())
    assert verdict.holds == (offset < 1)
    assert f"{offset:.4g}" in verdict.words


@pytest.mark.parametrize(("activation", "offset"), [("tanh", 8), ("erf", 8), ("logistic", -12)])
def test_memory_map_that_does_not_contract(activation: str, offset: float) -> None:
    network = f"{{activation: {activation}, b: {{offset: {offset}, slope: 0.6}}}}"
    line = line_of(study(network=network))
    assert "network.b: the memory map does not contract: |dF/dm| reaches" in line
    findings = check(study(network=network, more="allow_noncontracting: true"))
    assert "the memory map does not contract" in findings[1]


ZERO_MEMORY = [
    ("tanh", "b: {slope: 0}", "tanh is odd"),
    ("erf", "b: {slope: 0}", "erf is odd"),
    ("tanh", "b: {slope: 0}, w: {kind: uniform}", "tanh is odd"),
    ("logistic", "b: {slope: 0, offset: 0, noise: 1}", "0 for every input; give"),
]


@pytest.mark.parametrize("dimension", [1, 5])
@pytest.mark.parametrize(("activation", "laws", "words"), ZERO_MEMORY)
@pytest.mark.parametrize("more", ["", "allow_noncontracting: true"])
def test_memory_that_is_always_zero_is_refused(
    activation: str, laws: str, words: str, more: str, dimension: int
) -> None:
    chain = f"{{kind: coupled-tanh, dimension: {dimension}}}"
    line = line_of(study(chain, f"{{activation: {activation}, {laws}}}", more))
    assert "network: the limit memory is 0 for every input" in line
    assert words in line


def test_memory_is_zero_where_every_input_is() -> None:
    assert "0 for every input" in line_of(study(AT_ZERO))


@pytest.mark.parametrize(
    "network",
    [
        "{activation: tanh}",
        "{activation: tanh, b: {offset: 0}}",
        "{activation: tanh, b: {slope: 0}, w: {kind: gaussian, mean: 0.5}}",
        "{activation: erf, b: {slope: 0}, w: {kind: uniform, mean: -0.5}}",
        "{activation: logistic, b: {slope: 0}}",
        # |dF/dm| is 2 at m = 0, but no memory stays there: all are near 8.
        "{activation: logistic, b: {slope: 0, offset: 8}}",
    ],
)
def test_memory_that_is_not_always_zero_is_accepted(network: str) -> None:
    assert "the memory map contracts" in check(study(network=network))[1]


# --- recorded series ---------------------------------------------------------------------------------------


def recorded(folder: Path, rows: int) -> Study:
    values = np.random.default_rng(5).normal(size=rows)
    (folder / "a.csv").write_text("\n".join(["p", *map(str, values)]))
    text = """
name: small
chain: {kind: recorded, file: a.csv, columns: [p]}
training: {beta: [0.75], width: [64], replicas: 16}
"""
    return loads(text, folder / "small.yaml")


def test_recorded_series_is_found_beside_the_study(tmp_path: Path) -> None:
    assert check(recorded(tmp_path, 50))[0] == f"{tmp_path / 'a.csv'}: 50 rows of p"


def test_probes_longer_than_the_series_are_refused(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match=r"small.yaml: probes.length is 40; allowed: at most 39, the rows of a.csv"):
        check(recorded(tmp_path, 39))


def test_missing_series_is_refused(tmp_path: Path) -> None:
    lost = recorded(tmp_path, 50)
    (tmp_path / "a.csv").unlink()
    with pytest.raises(StudyError, match=r"a.csv: cannot be read: No such file"):
        check(lost)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("limit: {nodes: 1001}", "limit.nodes is 1001, which makes 2002 features"),
        ("limit: {nodes: 1000}\ndraws: {blocks: 100}", "draws.blocks is 100"),
    ],
)
def test_moments_that_do_not_fit_in_memory_are_refused(change: str, says: str) -> None:
    study = loads(
        "name: s\nchain: {kind: coupled-tanh}\ntarget: {}\ntraining: {beta: [0.75], width: [32], replicas: 16}\n"
        + change,
        "s.yaml",
    )
    with pytest.raises(StudyError, match=r"^s\.yaml: ") as refused:
        check(study)
    assert says in str(refused.value)


def test_tiny_inputs_are_blamed_on_the_column(tmp_path: Path) -> None:
    tiny = recorded(tmp_path, 50)
    lines = (tmp_path / "a.csv").read_text().splitlines()
    (tmp_path / "a.csv").write_text("\n".join([lines[0], *(f"{row}e-30" for row in range(1, 51)), ""]))
    chain = tiny.chain.model_copy(update={"standardize": False})
    small = tiny.model_copy(update={"chain": chain})
    small._source = tiny.source
    with pytest.raises(StudyError, match=r"chain: its inputs are at most 5e-29.*give chain.standardize: true"):
        check(small)
