"""The leading noise of twins: its definition step by step, its mean, and what it leaves."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import runs
from processors import host

from rnnlimits import experiments
from rnnlimits import study as studies
from rnnlimits.chains import paths as chains
from rnnlimits.kernels.interface import Array
from rnnlimits.ranks import parallel
from rnnlimits.study import Study
from rnnlimits.theory.flow import Flow, probes_of
from rnnlimits.theory.laws import ParameterLaw
from rnnlimits.theory.moments import pooled
from rnnlimits.training import leading as noises
from rnnlimits.training import twin
from rnnlimits.training.drawn import read_draws
from rnnlimits.training.leading import LeadingNoise
from rnnlimits.training.plan import Twin, TwinBlock

pytestmark = [pytest.mark.needs_compiler, pytest.mark.needs_mpi]

CHAIN = {
    "kind": "finite-state",
    "transition": [[0.6, 0.3, 0.1], [0.2, 0.5, 0.3], [0.1, 0.3, 0.6]],
    "x": [-1.2, 0.1, 1.0],
    "z": [0.5, -1.0, 0.6],
}
NETWORK = {"b": {"offset": 0.5, "slope": 0.6}}  # a memory far from its start


@pytest.fixture
def leading(tmp_path: Path) -> LeadingNoise:
    """Of a study whose moments are sums over the states of its chain: A and b have no statistical error."""
    study = studies.load(
        runs.write_study(tmp_path, chain=CHAIN, network=NETWORK, limit={"nodes": 12}, probes={"count": 4, "length": 12})
    )
    experiment = experiments.of(study, tmp_path)
    next(part for part in experiment.parts() if part.name == "draw").run(parallel.world(), host)
    law, probes, draws = (
        ParameterLaw.of(study),
        probes_of(study, ParameterLaw.of(study), host),
        read_draws(study, experiment.layout),
    )
    assert draws.exact
    flow = Flow.of(pooled(draws.blocks), study.training.alpha)
    return LeadingNoise(study, law, host, flow, law.features(draws.nodes, probes.last, probes.memory))


def scores(leading: LeadingNoise, k: int, paths: int) -> Array:
    """Scores of each step, (path, step, probe), from the features of each history, times -alpha / K."""
    study, law, flow = leading.study, leading.law, leading.flow
    steps = round(study.training.horizon * k)
    x, _, y = chains.training_paths(study, host, np.arange(paths, dtype=np.uint32)).take(steps)
    memory = law.memory_path(host, x, np.zeros(paths))[:, :-1]
    phi = law.features(law.nodes(study.limit.nodes, study.features), x.reshape(-1, x.shape[-1]), memory.reshape(-1))
    phi = phi.reshape(paths, steps, -1)
    time = (np.arange(steps) + 0.5) / k
    left = np.exp(-flow.alpha * flow.eigenvalue * (study.training.horizon - time)[:, None])
    direction = np.einsum("pf,sf,gf->spg", leading.phi @ flow.vector, left, flow.vector)
    miss = np.einsum("rsf,sf->rs", phi, flow.theta(time)) - y
    return np.asarray(-study.training.alpha / k * np.einsum("rs,rsf,spf->rsp", miss, phi, direction))


def outputs(study: Study, k: int, paths: int) -> Array:
    block = TwinBlock(Twin(k, paths), 0, paths)
    return twin.follow_block(study, host, block, twin.features_at_probes(study, host), lambda _: None).output[:, -1]


def test_it_is_the_sum_of_the_scores(leading: LeadingNoise) -> None:
    """Up to a constant of all paths, its mean; one step in each piece."""
    expected = scores(leading, 32, 8).sum(1)
    noise = leading.of(Twin(32, 8))
    difference = noise - expected
    assert np.abs(difference - difference.mean(0)).max() < 1e-6 * np.abs(expected).max()


def test_its_mean_is_zero(leading: LeadingNoise, monkeypatch: pytest.MonkeyPatch) -> None:
    """At K = 8, where a memory that starts from zero matters most, within 4.5 standard errors at 4 probes.

    False alarms: 3e-5.
    """
    monkeypatch.setattr(noises, "MOST_PATHS", 1 << 14)
    monkeypatch.setattr(noises, "STARTS", 1 << 13)
    noise = leading.of(Twin(8, 1 << 14))
    error = noise.std(0, ddof=1) / len(noise) ** 0.5
    assert (np.abs(noise.mean(0)) < 4.5 * error).all()
    assert np.abs(leading._of_start(8) / error).max() > 9, "where the start does not matter, this shows nothing"


def test_what_it_leaves_is_of_the_next_order(leading: LeadingNoise) -> None:
    """From K = 64 to 512 the s.d. falls 8-fold, not sqrt(8)-fold: within 30%, 4 standard errors. False alarms: 1e-4."""
    left = {k: outputs(leading.study, k, 256) - leading.of(Twin(k, 256)) for k in (64, 512)}
    ratio = left[64].std(0).mean() / left[512].std(0).mean()
    assert ratio == pytest.approx(8, rel=0.3)
