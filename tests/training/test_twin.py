"""Infinite-width twins: the kernel against its definition, the stage against the limit, and what may not matter."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import runs
from emulation import emulated
from processors import host, reference
from twin_cases import features, paths

from rnnlimits import experiments, kernels
from rnnlimits import study as studies
from rnnlimits.base.errors import StudyError
from rnnlimits.chains import paths as chains
from rnnlimits.files import store
from rnnlimits.kernels.interface import Array
from rnnlimits.plan import due
from rnnlimits.ranks import parallel
from rnnlimits.study import Study
from rnnlimits.theory import flow
from rnnlimits.theory.laws import ParameterLaw
from rnnlimits.training import plan, twin
from rnnlimits.training.draw import record, stationary_walk
from rnnlimits.training.layout import Layout

pytestmark = pytest.mark.needs_compiler

TWIN = {"follow": True, "steps_per_time": [64], "paths": 8}
SHAPES = [("tanh", 1, 9), ("tanh", 3, 70), ("erf", 1, 300), ("erf", 3, 9), ("logistic", 2, 33)]


@pytest.mark.parametrize(("activation", "d", "nodes"), SHAPES)
def test_compiled_twins_against_the_definition(activation: str, d: int, nodes: int) -> None:
    what, (x, m, y) = features(activation, d, nodes), paths(d)
    start = np.random.default_rng(3).normal(size=(3, what.size))
    theta, own, there = start.copy(), start.copy(), emulated().array(start.copy())
    expected = reference.twin_path(what, 0.05, x, m, y, theta)
    on_host, be = host.twin_path(what, 0.05, x, m, y, own), emulated()
    on_device = be.twin_path(what, 0.05, *(be.array(a) for a in (x, m, y)), there)
    # 40 steps of sums of at most 1,200 numbers of size one
    for values, weights in ((on_host, own), (be.numpy(on_device), be.numpy(there))):
        np.testing.assert_allclose(values, expected, rtol=0, atol=1e-12)
        np.testing.assert_allclose(weights, theta, rtol=0, atol=1e-13)
    assert np.abs(theta - start).max() > 1e-2


def test_one_step_is_gradient_descent_on_half_the_squared_error() -> None:
    what, (x, m, y) = features("tanh", 2, 5), paths(2, steps=1)
    start = np.random.default_rng(3).normal(size=(3, what.size))

    def loss(theta: Array) -> float:
        a = x[:, 0] @ what.w.T + m
        value, slope = what.value_scale * np.tanh(a), what.slope_scale * (1 - np.tanh(a) ** 2)
        phi = np.concatenate([value, slope * x[:, 0, :1], slope * x[:, 0, 1:]], axis=1)
        return float(0.5 * np.square((phi * theta).sum(1) - y[:, 0]).sum())

    theta, h = start.copy(), 1e-6
    host.twin_path(what, 1.0, x, m, y, theta)
    for index in ((0, 0), (1, 4), (2, 7), (0, 14)):
        shift = np.zeros_like(start)
        shift[index] = h
        gradient = (loss(start + shift) - loss(start - shift)) / (2 * h)
        assert theta[index] - start[index] == pytest.approx(-gradient, abs=1e-8)


def test_segments_continue_one_another_bitwise() -> None:
    what, (x, m, y) = features("tanh", 1, 33), paths(1)
    for be in (host, emulated()):
        whole, parts = be.array(np.zeros((3, what.size))), be.array(np.zeros((3, what.size)))
        expected = be.numpy(be.twin_path(what, 0.05, *(be.array(a) for a in (x, m, y)), whole))
        cuts = [slice(0, 1), slice(1, 18), slice(18, 40)]
        found = [be.numpy(be.twin_path(what, 0.05, *(be.array(a[:, cut]) for a in (x, m, y)), parts)) for cut in cuts]
        assert np.array_equal(np.concatenate(found, axis=1), expected)
        assert np.array_equal(be.numpy(whole), be.numpy(parts))


def small(tmp_path: Path, **changes: object) -> Study:
    return studies.load(runs.write_study(tmp_path, **{"twin": TWIN, **changes}))


def test_the_mean_twin_follows_the_limit(tmp_path: Path) -> None:
    """At K = 4096 the mean over 128 paths is g_t within 4 standard errors at each of 8 points: false alarms 5e-4."""
    study = small(tmp_path, probes={"count": 8, "length": 20}, draws={"blocks": 2, "chains": 64, "steps": 4000})
    law, block = ParameterLaw.of(study), plan.TwinBlock(plan.Twin(4096, 128), 0, 128)
    found = twin.follow_block(study, host, block, twin.features_at_probes(study, host), lambda _: None).output[:, -1]
    walk = stationary_walk(study, law, chains.of(study), host, 0, lambda _: None)
    nodes = law.nodes(study.limit.nodes, study.features)
    (moments,), _ = record(host, walk, study, (nodes,), lambda _: None, law)
    probes = flow.probes_of(study, law, host)
    expected = flow.Flow.of(moments, 1.0).output(np.array([1.0]), law.features(nodes, probes.last, probes.memory))[0]
    error = found.std(0, ddof=1) / np.sqrt(len(found))
    # the limit itself comes from 256,000 correlated draws: half a standard error of these means, as they are seen here
    assert (np.abs(found.mean(0) - expected) < 4 * np.hypot(error, 0.5 * error) + 1e-3).all()
    assert np.abs(expected).max() > 0.1


def test_any_number_of_ranks_and_any_blocks_give_the_same(tmp_path: Path) -> None:
    digests = []
    for name, ranks, block in (("one", 1, 2), ("two", 2, 2), ("three", 3, 4)):
        study = runs.write_study(tmp_path, twin=TWIN, training={"replicas_per_block": block})
        runs.run("twin", study, "--results", tmp_path / name, ranks=ranks)
        digests.append(runs.digests(tmp_path / name / "tiny", "twin"))
    assert digests[0] == digests[1] == digests[2]
    assert len(digests[0]) == 3


def test_trainings_share_the_twins_of_their_k(tmp_path: Path) -> None:
    study = small(tmp_path)
    assert [(t.steps_per_time, t.paths) for t in plan.twins(study)] == [(16, 4), (33, 4), (64, 8)]
    other = small(tmp_path, training={"beta": [0.6, 0.9], "depth": [1, 3]})
    assert [plan.twin_id(study, t) for t in plan.twins(study)] == [plan.twin_id(other, t) for t in plan.twins(other)]
    seeded = small(tmp_path, seed=8)
    assert plan.twin_id(study, plan.twins(study)[0]) != plan.twin_id(seeded, plan.twins(seeded)[0])


def test_a_finished_shard_is_kept_and_a_foreign_one_refused(tmp_path: Path) -> None:
    study, comm = small(tmp_path), parallel.world()
    layout, chosen = Layout.of(study, tmp_path), plan.twins(study)[0]
    twin.run(study, layout, 16, comm, host)
    path = layout.twin_shard(plan.twin_blocks(study, chosen)[0], plan.twin_id(study, chosen))
    before = path.stat().st_mtime_ns
    twin.run(study, layout, 16, comm, host)
    assert path.stat().st_mtime_ns == before
    other = plan.twin_blocks(study, chosen)[1]
    path.unlink()
    layout.twin_shard(other, plan.twin_id(study, chosen)).rename(path)
    with pytest.raises(StudyError, match=r"paths-00000-00000.h5: is not the right file \(first 1, expected 0\)"):
        twin.run(study, layout, 16, comm, host)


def test_refusals(tmp_path: Path) -> None:
    study = small(tmp_path)
    with pytest.raises(StudyError, match=r"there is no twin with K = 17; allowed: 16, 33, 64"):
        twin.run(study, Layout.of(study, tmp_path), 17, parallel.world(), host)
    bare = studies.load(runs.write_study(tmp_path))
    with pytest.raises(StudyError, match=r"allowed: none \(twin.follow is false"):
        twin.run(bare, Layout.of(bare, tmp_path), 17, parallel.world(), host)
    with pytest.raises(StudyError, match=r"twin.paths is 9; allowed: multiples of the paths of a block, 2"):
        small(tmp_path, twin={**TWIN, "paths": 9}, training={"replicas_per_block": 4})
    with pytest.raises(StudyError, match=r"twin.steps_per_time\[0\].*whole number of steps"):
        small(tmp_path, twin={"steps_per_time": [65]}, training={"width": [16], "checkpoints": [0.0, 0.5, 1.0]})


def test_the_numpy_back_end_agrees_on_a_whole_block(tmp_path: Path) -> None:
    study = small(tmp_path)
    block = plan.twin_blocks(study, plan.twins(study)[1])[0]
    phi = twin.features_at_probes(study, host)
    ours, theirs, device = (
        twin.follow_block(study, be, block, phi, lambda _: None) for be in (host, kernels.backend("numpy"), emulated())
    )
    for other in (theirs, device):
        np.testing.assert_allclose(ours.output, other.output, rtol=0, atol=1e-13)
        np.testing.assert_allclose(ours.loss, other.loss, rtol=0, atol=1e-13)


def test_ensembles_say_what_they_are(tmp_path: Path) -> None:
    study = small(tmp_path)
    layout, chosen = Layout.of(study, tmp_path), plan.twins(study)[-1]
    twin.run(study, layout, 64, parallel.world(), host)
    with store.open_complete(layout.twin(chosen), "twin-ensemble", twin_id=plan.twin_id(study, chosen)) as file:
        assert file["output"].shape == (8, 2, 4)
        assert (file["output"][:, 0] == 0).all()
        assert file.attrs["joined_along"] == "path"


def test_a_twin_that_lost_a_shard_is_made_again(tmp_path: Path) -> None:
    study, comm = small(tmp_path), parallel.world()
    layout, chosen = Layout.of(study, tmp_path), plan.twins(study)[0]
    twin.run(study, layout, 16, comm, host)
    assert layout.twin(chosen) not in due.faults(experiments.of(study, tmp_path))
    layout.twin_shard(plan.twin_blocks(study, chosen)[1], plan.twin_id(study, chosen)).unlink()
    assert "lacks a shard" in str(due.faults(experiments.of(study, tmp_path))[layout.twin(chosen)])
