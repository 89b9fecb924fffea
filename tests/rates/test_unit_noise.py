"""The noise of units as read from the files of a study: of the right replicas, members and signs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from predicted_cases import STUDY

from rnnlimits import experiments, kernels
from rnnlimits import study as studies
from rnnlimits.quantities.outputs import mean_beyond_rich
from rnnlimits.ranks import parallel
from rnnlimits.rates.reader import LAST, Reader
from rnnlimits.statistics.bootstrap import Array
from rnnlimits.theory.node_errors import NodeErrors
from rnnlimits.training import limit
from rnnlimits.training.layout import Layout

PAIRS = STUDY.replace("replicas: 256,", "replicas: 256, antithetic: true,").replace("[24, 32, 48, 64]", "[64]")
SKEWED = PAIRS.replace("slope: 0.6}}", "slope: 0.6}, c: {kind: two-point, probability: 0.1}}")

pytestmark = [pytest.mark.needs_compiler, pytest.mark.needs_mpi]


def reader(folder: Path, text: str) -> Reader:
    """Of a study that has been trained in this process."""
    study = studies.loads(text, folder / "predicted.yaml")
    for part in experiments.of(study, folder).parts():
        part.run(parallel.world(), kernels.backend("host"))
    limit.run(study, Layout.of(study, folder), kernels.backend("host"))
    return Reader(study, Layout.of(study, folder))


def left(values: Array, noise: Array) -> float:
    """The part of the standard deviation over units (unit, probe) that is left."""
    return float(np.sqrt((values - noise).var(0).mean() / values.var(0).mean()))


@pytest.mark.parametrize("text", [PAIRS, SKEWED], ids=["symmetric", "skewed"])
def test_it_is_that_of_each_member_and_subtracted(text: str, tmp_path: Path) -> None:
    """Each member alone is explained by its own units, all but products of two deviations (N = 64) and of paths."""
    read = reader(tmp_path, text)
    (cell,) = read.cells
    trainings = read(cell)
    error = {"output": trainings.minus_twin, "memory": trainings.memory}
    for name, values in error.items():
        for member in range(2):
            assert left(values[:, member], trainings.unit_noise[name][:, member]) < 0.4
    assert trainings.rich is not None
    alone = (trainings.output - trainings.rich).mean(1)
    scatter = mean_beyond_rich(trainings).statistics[:, :-1]
    assert np.sqrt(scatter.var(0).mean() / alone.var(0).mean()) < 0.4


def test_the_memory_by_nodes_is_no_error_of_networks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What nodes add to the memory before training is taken from what rich twins predict."""
    read = reader(tmp_path, PAIRS.replace("replicas: 256,", "replicas: 16,").replace("block: 256", "block: 16"))
    (cell,) = read.cells
    before = read._read_rich(cell, LAST)["memory"]
    shift = NodeErrors(read._nodes.memory_error + 0.1, 0.0)
    monkeypatch.setitem(read.__dict__, "_nodes", shift)
    np.testing.assert_allclose(read._read_rich(cell, LAST)["memory"], before - 0.1, atol=1e-12)
