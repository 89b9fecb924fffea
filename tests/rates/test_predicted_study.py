"""Whole studies, trained and judged: right programs agree with their predictions, and wrong ones do not.

The seed is fixed. Of studies whose predictions hold, one in twenty has a row that is called not as predicted.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from predicted_cases import STUDY

import rnnlimits
from rnnlimits import experiments, kernels
from rnnlimits import study as studies
from rnnlimits.kernels.interface import Training
from rnnlimits.quantities import trained
from rnnlimits.ranks import parallel
from rnnlimits.rates import stage
from rnnlimits.statistics.ratefile import Rate
from rnnlimits.training import limit, train

FIXED = STUDY.replace("beta: [0.9]", "richness: [0.25]").replace("replicas: 256,", "replicas: 512,")
AGAINST_THE_LIMIT = {
    *("output_rms", "output_bias", "output_in_n", "loss_excess", "time_to_learn", "memory_rms", "memory_bias"),
    *("memory_sup", "hidden_h1", "hidden_h1_sup", "drift", "drift_rms", "drift_b"),
}

WITHOUT = {"time_to_learn", "drift", "ntk_b_part", "ntk_past_part"}

pytestmark = [pytest.mark.needs_compiler, pytest.mark.needs_mpi]


def verdicts(folder: Path, text: str = STUDY) -> dict[tuple[str, str], Rate]:
    """The rows in N of the study, run in this process, by quantity and estimator."""
    study = studies.loads(text, folder / "predicted.yaml")
    experiment, be = experiments.of(study, folder), kernels.backend("host")
    for part in experiment.parts():
        part.run(parallel.world(), be)
    limit.run(study, experiment.layout, be)
    rates = stage.run(study, experiment.layout, be)
    return {(rate.quantity, rate.estimator): rate for rate in rates if rate.variable == "N"}


def test_networks_do_what_is_predicted(tmp_path: Path) -> None:
    """All but WITHOUT have a prediction, suprema along histories and the kernel too."""
    rows = verdicts(tmp_path, STUDY.replace("checkpoints: [1.0]", "checkpoints: [0.0, 1.0], kernel: true"))
    judged = [rate for rate in rows.values() if rate.p == rate.p]
    assert {rate.quantity for rate in rows.values() if rate.p != rate.p} == WITHOUT
    assert len(judged) > 21
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


# --- at a fixed richness -----------------------------------------------------------------------------------------


def test_networks_of_one_richness_do_what_is_predicted(tmp_path: Path) -> None:
    """They tend to the rich twin: around it as N^-1/2, while what is held against the kernel limit has no rate."""
    rows = verdicts(tmp_path, FIXED)
    assert {rate.at for rate in rows.values()} == {"eps=0.25"}
    assert [rate.quantity for rate in rows.values() if rate.verdict == "not as predicted"] == []
    assert {rate.quantity for rate in rows.values() if trained.CONSTANT in rate.note} == AGAINST_THE_LIMIT
    for key in (("output_fluctuation", "plain"), ("output_fluctuation", "half-difference")):
        rate = rows[key]
        assert (rate.verdict, rate.expected) == ("as predicted", 0.5)
        # Four standard errors: a chance of 1e-4 each. At these widths a few hundredths are left to 1/2.
        assert abs(rate.exponent - 0.5) < 4 * rate.stderr
        assert rate.predicted == pytest.approx(0.5, abs=0.04)
    assert rows["output_beyond_rich", "rich twin"].expected == 1.0
    drift = rows["drift_rms", "plain"]
    assert (drift.verdict, drift.exponent != drift.exponent) == ("as predicted", True)
    opened = rnnlimits.open(tmp_path / "predicted")
    assert opened.cells.richness.tolist() == [0.25] * 4
    with opened.ensemble(richness=0.25, width=32) as networks:
        assert float(networks.attrs["beta"]) == pytest.approx(1 - 2 / 5)


def test_constants_are_held_against_their_values(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A drift has no exponent there, but networks of a richness a tenth larger have another drift."""
    right = train.kernel_training
    richer = lambda *of: replace(right(*of), unit_richness=0.275)  # noqa: E731
    monkeypatch.setattr(train, "kernel_training", richer)
    assert verdicts(tmp_path, FIXED)["drift_rms", "plain"].verdict == "not as predicted"
