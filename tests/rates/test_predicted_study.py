"""Whole studies, trained and judged: right programs agree with their predictions, and wrong ones do not.

The seed is fixed. Of studies whose predictions hold, one in twenty has a row that is called not as predicted.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from rnnlimits import experiments, kernels
from rnnlimits import study as studies
from rnnlimits.kernels.interface import Training
from rnnlimits.ranks import parallel
from rnnlimits.rates import stage
from rnnlimits.statistics.ratefile import Rate
from rnnlimits.training import limit, train

STUDY = """
name: predicted
seed: 31
chain: {kind: coupled-tanh, a: 0.5, b: 0.4, s: 0.5, c: 0.6, e: 0.3, r: 0.5}
target: {sin_x: 1.0, z: 0.5}
network: {b: {offset: 0.2, slope: 0.6}}
training:
  {beta: [0.9], width: [24, 32, 48, 64], replicas: 256, replicas_per_block: 256, horizon: 1.0, loss_bins: 8,
   checkpoints: [1.0]}
twin: {follow: true}
rich: {follow: true, tangents: 4, directions: 16}
limit: {nodes: 32}
probes: {count: 6, length: 16}
draws: {blocks: 4, chains: 16, steps: 100, couplings: 8, coupling_steps: 8}
"""

WITHOUT = ["time_to_learn", "drift"]  # a time, and a maximum over units

pytestmark = [pytest.mark.needs_compiler, pytest.mark.needs_mpi]


def verdicts(folder: Path, changes: str = "") -> dict[tuple[str, str], Rate]:
    """The rows in N of the study, run in this process, by quantity and estimator, at its greatest depth."""
    text = STUDY.replace("checkpoints: [1.0]", changes or "checkpoints: [1.0]")
    study = studies.loads(text, folder / "predicted.yaml")
    experiment, be = experiments.of(study, folder), kernels.backend("host")
    for part in experiment.parts():
        part.run(parallel.world(), be)
    limit.run(study, experiment.layout, be)
    rates = stage.run(study, experiment.layout, be)
    return {(rate.quantity, rate.estimator): rate for rate in rates if rate.variable == "N"}


def test_networks_do_what_is_predicted(tmp_path: Path) -> None:
    """All but WITHOUT have a prediction, those of the kernel and of two depths too."""
    rows = verdicts(tmp_path, "checkpoints: [0.0, 1.0], kernel: true, depth: [1, 2]")
    judged = [rate for rate in rows.values() if rate.p == rate.p]
    without = [rate.quantity for rate in rows.values() if rate.p != rate.p]
    assert len(judged) > 25
    assert without == WITHOUT
    assert [rate.quantity for rate in judged if rate.verdict == "not as predicted"] == []
    assert rows["drift_rms", "plain"].verdict == "as predicted"


@pytest.mark.parametrize(
    ("wrong", "row"),
    [
        (lambda training: replace(training, alpha=1.1 * training.alpha), ("drift_rms", "plain")),
        (lambda training: replace(training, update_b=False), ("drift_b", "plain")),
    ],
    ids=["alpha", "B stays"],
)
def test_other_networks_do_not(
    wrong: Callable[[Training], Training],
    row: tuple[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Trained otherwise than their rich twins are: by another rate, or without B."""
    right = train.kernel_training
    monkeypatch.setattr(train, "kernel_training", lambda *of: wrong(right(*of)))
    assert verdicts(tmp_path)[row].verdict == "not as predicted"
