"""Rows of the law of outputs: at beta = 1/2 and nowhere else, with the limit's own Gaussian as the reference."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from predicted_cases import STUDY

from rnnlimits import experiments, kernels
from rnnlimits import study as studies
from rnnlimits.quantities.base import N
from rnnlimits.quantities.output_law import KURTOSIS
from rnnlimits.ranks import parallel
from rnnlimits.rates import laws, stage
from rnnlimits.rates.field import initial_field
from rnnlimits.rates.ladders import ladders
from rnnlimits.rates.reader import Reader
from rnnlimits.statistics.bootstrap import Bootstrap
from rnnlimits.training import limit

pytestmark = [pytest.mark.needs_compiler, pytest.mark.needs_mpi]

TABLE = np.random.default_rng(7).random((512, 400))
BOOTSTRAP = Bootstrap(lambda units, count: TABLE[units % 512, :count], 400)
LAWS = {"output_kurtosis", "output_law_distance"}
CHANGES = {
    "beta: [0.9], width: [24, 32, 48, 64]": "beta: [0.5, 0.9], width: [8, 12, 16, 24]",
    "rich: {follow: true, tangents: 4, directions: 16}": "rich: {follow: false}",
    "twin: {follow: true}": "twin: {follow: false}",
    "replicas: 256, replicas_per_block: 256": "replicas: 1024, replicas_per_block: 1024",
}


def test_only_at_one_half_is_there_a_law_to_compare(tmp_path: Path) -> None:
    """The half-differences have the limit's variance but for 1/N: within 4 standard errors and 2/N, 1e-4 for each."""
    text = STUDY
    for old, new in CHANGES.items():
        assert old in text
        text = text.replace(old, new)
    study, be = studies.loads(text, tmp_path / "predicted.yaml"), kernels.backend("host")
    experiment = experiments.of(study, tmp_path)
    for part in experiment.parts():
        part.run(parallel.world(), be)
    limit.run(study, experiment.layout, be)
    rows = [rate for rate in stage.run(study, experiment.layout, be) if rate.quantity in LAWS]
    assert [(rate.estimator, rate.at) for rate in rows] == [
        (name, "beta=0.5") for name in ("plain", "Cramer", "Wasserstein")
    ]
    assert [rate.expected for rate in rows[:2]] == [1.0, 1.0]
    assert rows[0].verdict == "no prediction"
    assert [len(rate.cloud) for rate in rows] == [4, 4, 4]
    distances, note = [point.estimate for point in rows[2].cloud], rows[2].note
    # 512 pairs of the Gaussian are 0.728 / 512^(1/2) from it.
    assert all(f"0.031 at {width}" in note for width in (8, 12, 16, 24))
    assert distances[0] > 0.05
    rich = studies.loads(STUDY, tmp_path / "predicted.yaml")
    read, field = Reader(study, experiment.layout), initial_field(study, experiment.layout, be)
    for cell in (one for one in read.cells if one.beta == 0.5):
        half = np.ptp(read(cell).output, axis=1) / 2 / field.deviation
        assert np.all(abs(np.square(half).mean(0) - 1) < 4 * (3 / len(half)) ** 0.5 + 2 / cell.width)
    followed = study.model_copy(update={"twin": rich.twin, "rich": rich.rich})
    (ladder,) = (one for one in ladders(N, read.cells) if one.axis.value == 0.5)
    predicted = laws.predicted_kurtosis(ladder, Reader(followed, experiment.layout), be)
    assert laws.predicted_kurtosis(ladder, read, be) == []
    values = np.array([one.value * one.variable for one in predicted])
    np.testing.assert_allclose(values, values[0])
    row = laws._rate(KURTOSIS, ladder, field, read, BOOTSTRAP, predicted)
    assert row.p > 1e-4
    assert row.predicted == pytest.approx(1.0)
    wrong = [replace(one, value=9 * one.value, stderr=9 * one.stderr) for one in predicted]
    assert laws._rate(KURTOSIS, ladder, field, read, BOOTSTRAP, wrong).p < 1e-4
