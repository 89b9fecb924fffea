"""Chains and couplings of single kinds: what a burn-in leaves behind, what a contraction is, which noise is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from chain_studies import REPLICAS, SEED, study_of
from numpy.typing import NDArray
from processors import reference

from rnnlimits import kernels
from rnnlimits.base.errors import StudyError
from rnnlimits.base.streams import Stream
from rnnlimits.chains import paths as chains
from rnnlimits.chains.coupled_tanh import CoupledTanh
from rnnlimits.chains.linear_gaussian import LinearGaussian
from rnnlimits.chains.noise_driven import NoiseDrivenPath, NoiseDrivenProcess
from rnnlimits.kernels.interface import Array, Backend, RandomKey, Replicas
from rnnlimits.study import Study
from rnnlimits.theory import couplings
from rnnlimits.theory.laws import ParameterLaw

GAUSSIAN_KINDS = {
    "linear-gaussian": "{kind: linear-gaussian, a: [[0.5, 0.3], [-0.2, 0.6]], q: [[0.5, 0.1], [0.1, 0.3]]}",
    "coupled-tanh": "{kind: coupled-tanh}",
}
RECORDED = "{kind: recorded, file: series.csv, columns: [level]}"


def path_of(study: Study) -> chains.Path:
    return chains.of(study).paths(kernels.backend("numpy"), SEED, Stream.CHAIN_NOISE, REPLICAS)


# --- paths -----------------------------------------------------------------------------------------------------


def test_a_recorded_path_reads_row_after_row(tmp_path: Path) -> None:
    study = study_of(RECORDED, tmp_path)
    chain = chains.of(study)
    start = np.array([0, 5, 22])
    path = chain.paths(kernels.backend("numpy"), SEED, Stream.CHAIN_NOISE, REPLICAS, start=start)
    values = np.sin(0.7 * np.arange(23))
    values = (values - values.mean()) / values.std()
    for first in (0, 3, 7):
        x, _, y = path.take({0: 3, 3: 4, 7: 20}[first])
        rows = (start[:, None] + first + np.arange(x.shape[1])) % 23
        np.testing.assert_allclose(x[..., 0], values[rows], rtol=0, atol=1e-13)
        np.testing.assert_allclose(y, values[(rows + 1) % 23], rtol=0, atol=1e-13)


@pytest.mark.parametrize("kind", GAUSSIAN_KINDS)
def test_the_noise_of_the_burn_in_is_not_used_again(kind: str, tmp_path: Path) -> None:
    """A chain from 0 in one piece, whose steps after the burn-in are the path: step k has noise number k throughout."""
    study = study_of(GAUSSIAN_KINDS[kind], tmp_path)
    chain = chains.of(study)
    assert isinstance(chain, NoiseDrivenProcess)
    state = np.zeros((len(REPLICAS), 2))
    steps = chain.burn_in + 6
    whole, targets = reference.chain_path(chain.kernel, RandomKey(SEED, Stream.CHAIN_NOISE, REPLICAS), state, 0, steps)
    x, z, y = path_of(study).take(6)
    np.testing.assert_allclose(np.concatenate([x, z], axis=-1), whole[:, -6:], rtol=0, atol=1e-13)
    np.testing.assert_allclose(y, targets[:, -6:], rtol=0, atol=1e-13)


@pytest.mark.parametrize("kind", GAUSSIAN_KINDS)
def test_a_start_that_is_given_is_not_burnt_in(kind: str, tmp_path: Path) -> None:
    """H_1 from H_0 by eq. (2) and (3), with noise number 0; the start itself stays as it was."""
    study = study_of(GAUSSIAN_KINDS[kind], tmp_path)
    start = np.array([[0.3, -1.0], [0.0, 2.0], [1.0, 1.0]])
    before = start.copy()
    path = chains.of(study).paths(kernels.backend("numpy"), SEED, Stream.CHAIN_NOISE, REPLICAS, start=start)
    x, z, _ = path.take(1)
    xi = reference.normals(SEED, Stream.CHAIN_NOISE, REPLICAS, 2)
    if isinstance(study.chain, LinearGaussian):
        noise = study.chain.form().noise
        np.testing.assert_allclose(noise @ noise.T, study.chain.gaussian().q, rtol=0, atol=1e-15)
        following = start @ study.chain.gaussian().a.T + xi @ noise.T
    else:
        new_x = 0.5 * start[:, 0] + 0.4 * np.tanh(start[:, 1]) + 0.5 * xi[:, 0]
        following = np.stack([new_x, 0.6 * start[:, 1] + 0.3 * np.sin(start[:, 0]) + 0.5 * xi[:, 1]], axis=1)
    np.testing.assert_allclose(np.concatenate([x, z], axis=-1)[:, 0], following, rtol=0, atol=1e-14)
    np.testing.assert_array_equal(start, before)


# --- couplings -------------------------------------------------------------------------------------------------

# X forgets by 0.2 a step and does not see Z, which forgets by 0.9: without Z the distance would fall much faster.
SLOW_Z = "{kind: linear-gaussian, a: [[0.2, 0.0], [0.0, 0.9]], q: 1.0}"
DRAWS = "draws: {blocks: 2, chains: 5, steps: 8, couplings: 4, coupling_steps: 15, sample: 1}\n"


def test_distance_of_coupled_chains_is_that_of_the_whole_state(tmp_path: Path) -> None:
    """From the two starts by hand: H - H' is multiplied by A at every step, in X and in Z."""
    study = study_of(SLOW_Z, tmp_path, DRAWS)
    be, pairs = kernels.backend("numpy"), np.arange(4, 8, dtype=np.uint32)
    chain = chains.of(study)
    _, found = couplings.coupled_chains(study, chain, be, pairs)
    # Block 1 of 4 pairs; draws use the 10 replicas 0 to 9, and pair p starts from numbers 10 + 2 p and 11 + 2 p.
    starts = [chain.paths(be, SEED, Stream.DRAW_NOISE, 10 + 2 * pairs + np.uint32(k)).state for k in (0, 1)]
    assert np.abs(starts[0] - starts[1]).min() > 1e-3
    gap = np.abs(starts[0] - starts[1])[:, None, :] * np.array([0.2, 0.9]) ** np.arange(1, 16)[:, None]
    np.testing.assert_allclose(found, np.log(np.hypot(gap[..., 0], gap[..., 1])), rtol=0, atol=1e-9)
    # What the test is for: X alone would be another answer.
    assert np.abs(found - np.log(gap[..., 0]))[:, -1].min() > 1


def test_no_two_coupled_chains_share_a_start(tmp_path: Path) -> None:
    """Both members of every pair of every block are replicas of their own, beyond those that are drawn."""
    study = study_of(SLOW_Z, tmp_path, DRAWS)
    asked: list[int] = []

    class Watched(NoiseDrivenProcess):
        def paths(
            self, be: Backend, seed: int, stream: Stream, replicas: Replicas, start: NDArray[np.generic] | None = None
        ) -> NoiseDrivenPath:
            if stream == Stream.DRAW_NOISE:
                asked.extend(replicas.tolist())
            return super().paths(be, seed, stream, replicas, start)

    assert isinstance(study.chain, LinearGaussian)
    assert study.target is not None
    process = study.chain.process(study.target)
    chain, law = Watched(process.kernel, study.target, process.burn_in), ParameterLaw.of(study)
    for block in range(2):
        couplings.couplings(study, law, chain, kernels.backend("numpy"), block, lambda _: None)
    assert sorted(asked) == list(range(10, 10 + 2 * 4 * 2))


# --- contraction -----------------------------------------------------------------------------------------------


def largest_growth(matrix: Array) -> float:
    """Spectral radius by Gelfand's formula, without eigenvalues."""
    return float(np.linalg.norm(np.linalg.matrix_power(matrix, 400), 2) ** (1 / 400))


@pytest.mark.parametrize("a", [[[0.5, 0.4], [-0.4, 0.5]], [[0.5, -0.3], [0.2, -0.6]], [[0.9, 0.0], [5.0, 0.1]]])
def test_a_linear_chain_contracts_by_its_matrix_signs_and_all(a: list[list[float]]) -> None:
    """With |A| in place of A, the first of these, sqrt(.41), would come out as .9."""
    section = LinearGaussian(kind="linear-gaussian", a=a, q=1.0)
    assert section.radius() == pytest.approx(largest_growth(np.array(a)), rel=1e-2)
    assert f"{section.radius():.4g}" in section.contraction().words


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_a_coupled_chain_contracts_by_the_sizes_of_its_coefficients(sign: float) -> None:
    """sin and tanh can have slopes of either sign: only |a|, |b|, |c|, |e| count. Eigenvalues .9 and .2."""
    section = CoupledTanh(kind="coupled-tanh", a=0.5, b=sign * 0.4, c=0.6, e=0.3)
    assert section.radius() == pytest.approx(0.9, abs=1e-12)
    assert "spectral radius 0.9" in section.contraction().words


# --- covariances -----------------------------------------------------------------------------------------------

NO_COVARIANCE = "[[1, 2], [2, 1]]"


def test_noise_that_has_no_covariance_is_refused_with_the_file_name(tmp_path: Path) -> None:
    study = study_of(f"{{kind: linear-gaussian, a: 0.5, q: {NO_COVARIANCE}}}", tmp_path)
    with pytest.raises(StudyError) as refused:
        chains.of(study)
    assert str(refused.value) == f"{study.source}: chain.q has the eigenvalue -1; allowed: none below 0"


def test_weights_that_have_no_covariance_are_refused_with_the_file_name(tmp_path: Path) -> None:
    network = f"network: {{w: {{kind: gaussian, covariance: {NO_COVARIANCE}}}}}\n"
    study = study_of("{kind: coupled-tanh, dimension: 2}", tmp_path, network)
    with pytest.raises(StudyError) as refused:
        ParameterLaw.of(study)
    assert str(refused.value) == f"{study.source}: network.w.covariance has the eigenvalue -1; allowed: none below 0"


@pytest.mark.parametrize(("q", "rank"), [("[[1, 1], [1, 1]]", 1), ("[[0, 0], [0, 0]]", 0), ("[[2, 0], [0, 1]]", 2)])
def test_noise_may_be_singular(q: str, rank: int, tmp_path: Path) -> None:
    study = study_of(f"{{kind: linear-gaussian, a: 0.5, q: {q}}}", tmp_path)
    noise = study.chain.form().noise
    assert isinstance(study.chain, LinearGaussian)
    np.testing.assert_allclose(noise @ noise.T, study.chain.gaussian().q, rtol=0, atol=1e-15)
    assert np.linalg.matrix_rank(noise) == rank
