"""The draw stage: stationary laws against exact ones, couplings against known contraction, the same bits for any ranks.

Statistical checks allow 4.5 standard errors: a false alarm has probability 7e-6 each (larger by a factor of about 60
where the error itself is estimated from 16 blocks); seeds are fixed.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from runs import HANG

from rnnlimits import kernels
from rnnlimits import study as studies
from rnnlimits.base.arrays import stationary_states
from rnnlimits.base.errors import StudyError
from rnnlimits.base.streams import Stream
from rnnlimits.chains import paths as chains
from rnnlimits.chains.finite_state import FiniteState
from rnnlimits.chains.linear_gaussian import LinearGaussian
from rnnlimits.files import store
from rnnlimits.ranks import parallel
from rnnlimits.study import Study
from rnnlimits.theory import couplings, walks
from rnnlimits.theory import stationary as exact
from rnnlimits.theory.laws import ParameterLaw
from rnnlimits.training import draw, plan
from rnnlimits.training.layout import Layout

Array = NDArray[np.float64]
SIGMAS = 4.5

LINEAR = """
name: draw
seed: 3
chain: {kind: linear-gaussian, a: [[0.5, 0.3], [-0.2, 0.6]], q: [[0.5, 0.1], [0.1, 0.3]], dimension: 1}
target: {}
training: {beta: [0.75], width: [64]}
limit: {nodes: 12}
draws: {blocks: 16, chains: 40, steps: 25, couplings: 6, coupling_steps: 30, sample: 3}
"""

FINITE = """
name: draw
seed: 3
chain:
  kind: finite-state
  transition: [[0.6, 0.3, 0.1], [0.2, 0.5, 0.3], [0.3, 0.3, 0.4]]
  x: [-1.0, 0.3, 1.2]
  z: [0.5, -0.2, 0.1]
target: {}
training: {beta: [0.75], width: [64]}
limit: {nodes: 12}
draws: {blocks: 4, chains: 50, steps: 40, couplings: 40, coupling_steps: 12, sample: 4}
"""


def matrices(study: Study) -> tuple[Array, Array]:
    """A and Q of a linear chain."""
    assert isinstance(study.chain, LinearGaussian)
    return study.chain.gaussian()


def states(study: Study) -> tuple[Array, Array, Array]:
    """Transition, x and z of a finite chain."""
    assert isinstance(study.chain, FiniteState)
    return study.chain.finite()


def ran(text: str, folder: Path) -> tuple[Study, Layout]:
    """A study whose draws are done."""
    study = studies.loads(text, folder / "study.yaml")
    layout = Layout.of(study, folder)
    draw.run(study, layout, parallel.world(), kernels.backend("numpy"))
    return study, layout


def values(layout: Layout) -> dict[str, Array]:
    with store.open_complete(layout.draw, "draw") as file:
        return {name: item[()] for name, item in file.variables.items()}


@pytest.fixture(scope="module")
def linear(tmp_path_factory: pytest.TempPathFactory) -> tuple[Study, Layout]:
    return ran(LINEAR, tmp_path_factory.mktemp("linear"))


@pytest.fixture(scope="module")
def finite(tmp_path_factory: pytest.TempPathFactory) -> tuple[Study, Layout]:
    return ran(FINITE, tmp_path_factory.mktemp("finite"))


# --- the stationary law ----------------------------------------------------------------------------------------


def test_drawn_covariance_is_the_lyapunov_solution(linear: tuple[Study, Layout]) -> None:
    """Blocks are independent, so their spread is the standard error."""
    study, layout = linear
    found = values(layout)
    h = np.concatenate([found["sample_x"], found["sample_z"]], axis=-1).reshape(16, -1, 2)
    products = np.einsum("bni,bnj->bij", h, h) / h.shape[1]
    error = products.std(axis=0, ddof=1) / 4
    expected = exact.stationary_covariance(*matrices(study))
    assert np.abs((products.mean(axis=0) - expected) / error).max() < SIGMAS
    assert (error < 0.15 * np.abs(np.diag(expected)).max()).all()


def test_paths_start_stationary() -> None:
    """The first state of 20,000 chains has the stationary covariance; estimates vary by (S_ii S_jj + S_ij^2)/n."""
    study = studies.loads(LINEAR, "study.yaml")
    path = chains.of(study).paths(kernels.backend(), 3, Stream.DRAW_NOISE, np.arange(20_000, dtype=np.uint32))
    x, z, _ = path.take(1)
    h = np.concatenate([x, z], axis=-1)[:, 0]
    expected = exact.stationary_covariance(*matrices(study))
    variance = np.diag(expected)
    spread = np.sqrt((np.outer(variance, variance) + expected**2) / len(h))
    assert np.abs((h.T @ h / len(h) - expected) / spread).max() < SIGMAS


def test_moments_are_averages_over_the_draws(linear: tuple[Study, Layout]) -> None:
    """Block 2 again, in one piece, from its definition."""
    study, layout = linear
    law, be = ParameterLaw.of(study), kernels.backend("numpy")
    path = chains.of(study).paths(be, 3, Stream.DRAW_NOISE, np.arange(80, 120, dtype=np.uint32))
    walk = walks.Walk(path, law, be, 40)
    first = walk.take(1).x[:, 0]
    walk.skip(walks.burn_in(law, first), lambda _: None)
    part = walk.take(25)
    phi = law.features(law.nodes(12, study.features), part.x, part.m).reshape(1000, 24)
    found = values(layout)
    np.testing.assert_allclose(found["A"][2], phi.T @ phi / 1000, rtol=0, atol=1e-13)
    np.testing.assert_allclose(found["b"][2], phi.T @ part.y.reshape(-1) / 1000, rtol=0, atol=1e-13)
    assert found["y2"][2] == pytest.approx(np.mean(part.y**2))
    np.testing.assert_array_equal(found["count"], 1000)
    np.testing.assert_array_equal(found["sample_m"][2], part.m[:, [7, 15, 24]])


def test_moments_on_the_check_nodes_are_pooled_over_blocks(linear: tuple[Study, Layout]) -> None:
    study, layout = linear
    identity, parts = plan.draw_id(study), []
    for index in range(16):
        with store.open_complete(layout.draw_shard(index, identity), "draw-shard") as file:
            parts.append(file["A_check"][()])
    found = values(layout)
    assert found["A_check"].shape == (22, 22)
    np.testing.assert_allclose(found["A_check"], np.mean(parts, axis=0), rtol=0, atol=1e-15)
    assert not np.allclose(found["A_check"], parts[0], rtol=0, atol=1e-6)


def test_simulated_moments_are_the_exact_ones(finite: tuple[Study, Layout]) -> None:
    """40 independent groups of 30 chains against the file, which was computed without drawing."""
    study, layout = finite
    law, be, found = ParameterLaw.of(study), kernels.backend(), values(layout)
    path = chains.of(study).paths(be, 3, Stream.DRAW_NOISE, np.arange(1200, dtype=np.uint32))
    walk = walks.Walk(path, law, be, 1200)
    walk.skip(60, lambda _: None)
    part = walk.take(40)
    phi = law.features(law.nodes(12, study.features), part.x, part.m).reshape(40, 1200, 24)
    a = np.einsum("gni,gnj->gij", phi, phi) / 1200
    error = a.std(axis=0, ddof=1) / np.sqrt(40)
    # Neighbouring pieces of 30 chains x 40 steps are whole chains, so the groups are independent.
    score = np.abs(a.mean(axis=0) - found["A"][0]) / np.maximum(error, 1e-12)
    assert score.max() < 5.5  # 300 entries, error from 40 groups: false alarm 8e-4
    assert found["A"].shape == (1, 24, 24)
    assert found["y2"][0] == pytest.approx(np.mean(part.y**2), rel=0.05)


def test_walks_do_not_depend_on_how_they_are_cut() -> None:
    study = studies.loads(LINEAR, "study.yaml")
    law, be, replicas = ParameterLaw.of(study), kernels.backend("numpy"), np.arange(3, dtype=np.uint32)

    def walk() -> walks.Walk:
        return walks.Walk(chains.of(study).paths(be, 3, Stream.DRAW_NOISE, replicas), law, be, 3)

    whole, cut = walk().take(9), walk()
    parts = [cut.take(4), cut.take(5)]
    for name in ("x", "z", "y", "m"):
        pieces = np.concatenate([getattr(part, name) for part in parts], axis=1)
        np.testing.assert_array_equal(pieces, getattr(whole, name))


def test_burn_in_forgets_the_start_and_is_not_wasteful() -> None:
    study = studies.loads(LINEAR, "study.yaml")
    law, be = ParameterLaw.of(study), kernels.backend("numpy")
    steps = walks.burn_in(law, np.zeros((1, 1)))
    x = chains.of(study).paths(be, 3, Stream.DRAW_NOISE, np.arange(50, dtype=np.uint32)).take(steps)[0]
    ends = [law.memory_path(be, x, np.full(50, start))[:, -1] for start in (-law.memory_bound, 0.0, law.memory_bound)]
    assert np.ptp(ends, axis=0).max() < 1e-14
    assert steps < 100


def test_burn_in_where_the_general_bound_is_above_one() -> None:
    """erf has slope 1.13, so E|B| = .95 proves nothing; the slopes at the inputs do."""
    law = ParameterLaw.of(studies.loads(LINEAR, "study.yaml"))
    steep = ParameterLaw("erf", 1, "gaussian", law.mean, law.factor, 0.9, 0.3, law.direction, 0.0, "uniform", 1.0)
    assert steep.contraction > 1
    assert 1 < walks.burn_in(steep, np.array([[1.0], [-2.0]])) < 1000
    assert walks.burn_in(steep, np.array([[0.0], [1.0]])) == walks.MOST_BURN_IN


# --- couplings -------------------------------------------------------------------------------------------------


def test_coupled_linear_chains_approach_by_the_matrix(tmp_path: Path) -> None:
    """Scalar chain: with common noise every distance shrinks by exactly a = 0.7 a step."""
    text = LINEAR.replace("a: [[0.5, 0.3], [-0.2, 0.6]], q: [[0.5, 0.1], [0.1, 0.3]]", "a: 0.7, q: 0.4")
    _, layout = ran(text, tmp_path)
    found = values(layout)
    np.testing.assert_allclose(np.diff(found["chain_log_distance"], axis=-1), np.log(0.7), rtol=0, atol=1e-8)
    assert found["mixing_rate"] == pytest.approx(0.7)
    np.testing.assert_array_equal(found["chain_step"], np.arange(1, 31))
    starts = found["chain_log_distance"][..., 0].reshape(-1) - np.log(0.7)
    # Two independent stationary states differ by N(0, 2 S), S = .4/(1 - .49): E log of its size is known.
    expected = 0.5 * np.log(2 * 0.4 / 0.51) - 0.5 * (np.euler_gamma + np.log(2))
    assert abs(starts.mean() - expected) < SIGMAS * np.pi / np.sqrt(8 * len(starts))


def test_coupled_memories_start_at_the_range_and_end_at_the_lyapunov_rate(linear: tuple[Study, Layout]) -> None:
    study, layout = linear
    law, found = ParameterLaw.of(study), values(layout)
    distance = found["memory_log_distance"]
    np.testing.assert_allclose(distance[..., 0], np.log(law.memory_bound), rtol=0, atol=1e-14)
    known = ~np.isnan(distance)
    assert (known[..., :-1] >= known[..., 1:]).all()
    falls = np.diff(distance, axis=-1)
    assert (falls[~np.isnan(falls)] <= np.log(law.contraction) + 1e-3).all()
    # Over steps 2 to 8 all pairs are known; their mean fall is the mean of log|dF/dm|, up to both standard errors.
    fall = falls[..., 2:8].mean(axis=-1).reshape(-1)
    slope = found["log_slope"].reshape(-1)
    error = np.hypot(fall.std(ddof=1), slope.std(ddof=1)) / np.sqrt(len(fall))
    assert abs(fall.mean() - slope.mean()) < SIGMAS * error
    assert slope.mean() < np.log(law.contraction)


def test_coupled_finite_chains_meet(finite: tuple[Study, Layout]) -> None:
    """A pair that is together has no distance and stays together."""
    distance = values(finite[1])["chain_log_distance"][0]
    lost = np.isnan(distance)
    assert 0.2 < lost[:, 0].mean() < 0.9
    assert (lost[:, :-1] <= lost[:, 1:]).all()
    assert lost[:, -1].mean() > 0.9


def test_log_distance_is_nan_from_the_first_lost_step_on() -> None:
    found = couplings.log_distance(np.array([[1.0, np.e, 1e-14, 1.0], [0.5, 0.25, 1.0, 2.0]]))
    expected = np.array([[0, 1, np.nan, np.nan], [-np.log(2), -np.log(4), 0, np.log(2)]])
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-15)


# --- recorded --------------------------------------------------------------------------------------------------


def test_recorded_series_is_averaged_over_exactly(tmp_path: Path) -> None:
    series = np.sin(np.arange(40) * 0.7) + 0.3 * np.cos(np.arange(40) * 2.1)
    (tmp_path / "series.csv").write_text("level,other\n" + "".join(f"{v!r},0\n" for v in series.tolist()))
    text = """
name: draw
chain: {kind: recorded, file: series.csv, columns: [level], standardize: false, lead: 2}
training: {beta: [0.75], width: [64]}
limit: {nodes: 12}
probes: {length: 5}
draws: {blocks: 4, chains: 5, steps: 8, couplings: 3, coupling_steps: 6, sample: 2}
"""
    study, layout = ran(text, tmp_path)
    law, found = ParameterLaw.of(study), values(layout)
    memory = np.zeros(40 * 5 + 1)
    for k in range(200):
        memory[k + 1] = law.memory_map(series[k % 40, None], memory[k])
    phi = law.features(law.nodes(12, study.features), series[:, None], memory[160:200])
    np.testing.assert_allclose(found["A"][0], phi.T @ phi / 40, rtol=0, atol=1e-13)
    np.testing.assert_allclose(found["b"][0], phi.T @ np.roll(series, -2) / 40, rtol=0, atol=1e-13)
    assert "chain_log_distance" not in found
    assert "mixing_rate" not in found
    assert np.isin(found["sample_x"], series).all()


# --- files, restart, ranks -------------------------------------------------------------------------------------


def test_finished_shards_are_kept_and_a_missing_one_is_redrawn_the_same(tmp_path: Path) -> None:
    study, layout = ran(LINEAR, tmp_path)
    identity = plan.draw_id(study)
    shards = [layout.draw_shard(index, identity) for index in range(16)]
    digest, stamps = store.digest_of(layout.draw), [shard.stat().st_mtime_ns for shard in shards]
    shards[5].unlink()
    draw.run(study, layout, parallel.world(), kernels.backend("numpy"))
    assert store.digest_of(layout.draw) == digest
    again = [shard.stat().st_mtime_ns for shard in shards]
    assert [index for index in range(16) if again[index] != stamps[index]] == [5]


def test_a_damaged_shard_is_refused_by_name(tmp_path: Path) -> None:
    study, layout = ran(LINEAR, tmp_path)
    shard = layout.draw_shard(3, plan.draw_id(study))
    shard.write_bytes(shard.read_bytes()[:2000])
    with pytest.raises(StudyError, match=r"block-0003\.h5"):
        draw.run(study, layout, parallel.world(), kernels.backend("numpy"))


def test_a_merged_file_says_what_it_is(linear: tuple[Study, Layout], finite: tuple[Study, Layout]) -> None:
    for (study, layout), is_exact in ((linear, 0), (finite, 1)):
        with store.open_complete(layout.draw, "draw", draw_id=plan.draw_id(study)) as file:
            assert file.attrs["exact"] == is_exact
            assert file["A"].dims[0] == "block"
            assert file["sample_x"].shape[1:3] == (study.draws.chains, study.draws.sample)


def test_atoms_of_an_exact_law_are_in_the_file(finite: tuple[Study, Layout]) -> None:
    study, layout = finite
    found, (transition, x, _) = values(layout), states(study)
    stationary = stationary_states(transition)
    assert found["atom_weight"] @ found["atom_x"][:, 0] == pytest.approx(stationary @ x[:, 0], abs=1e-13)
    # Stationarity itself: E m = E F(X, m).
    law = ParameterLaw.of(study)
    after = law.memory_map(found["atom_x"], found["atom_m"])
    assert found["atom_weight"] @ after == pytest.approx(found["atom_weight"] @ found["atom_m"], abs=1e-13)
    assert found["atom_error"] < 1e-12


@pytest.mark.needs_mpi
@pytest.mark.parametrize("ranks", [2, 3])
def test_the_number_of_ranks_changes_no_bit(ranks: int, linear: tuple[Study, Layout], tmp_path: Path) -> None:
    (tmp_path / "study.yaml").write_text(LINEAR)
    program = (
        "import sys, pathlib, kernels; from rnnlimits import study; from rnnlimits.ranks import parallel;"
        "from rnnlimits.training import draw; from rnnlimits.training.layout import Layout;"
        "s = study.load(sys.argv[1]); l = Layout.of(s, pathlib.Path(sys.argv[2]));"
        "draw.run(s, l, parallel.world(), kernels.backend('numpy'))"
    )
    command = [str(Path(sys.executable).parent / "mpiexec"), "-n", str(ranks), sys.executable, "-c", program]
    root = Path(__file__).parent.parent.parent
    done = subprocess.run(
        [*command, str(tmp_path / "study.yaml"), str(tmp_path)], cwd=root, capture_output=True, text=True, timeout=HANG
    )
    assert done.returncode == 0, done.stderr
    assert store.digest_of(tmp_path / "draw" / "draw.h5") == store.digest_of(linear[1].draw)
