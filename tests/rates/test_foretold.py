"""Studies resolved from predicted values alone, compared with pilots that were trained."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from rnnlimits import experiments, kernels
from rnnlimits import study as studies
from rnnlimits.base.errors import StudyError
from rnnlimits.ranks import parallel
from rnnlimits.rates import design, foretold
from rnnlimits.study import Study
from rnnlimits.training.layout import Layout

STUDY = """
name: foretold
seed: 5
chain: {kind: coupled-tanh, a: 0.5, b: 0.4, s: 0.5, c: 0.6, e: 0.3, r: 0.5}
target: {sin_x: 1.0, z: 0.5}
network: {b: {offset: 0.2, slope: 0.6}}
training:
  {beta: [0.75], width: [24, 32, 48, 64], replicas: 512, replicas_per_block: 64, horizon: 1.0, loss_bins: 8,
   checkpoints: [1.0]}
twin: {follow: true}
rich: {follow: true, tangents: 4, directions: 16}
limit: {nodes: 32}
probes: {count: 6, length: 16}
draws: {blocks: 4, chains: 16, steps: 100, couplings: 8, coupling_steps: 8}
"""

pytestmark = [pytest.mark.needs_compiler, pytest.mark.needs_mpi]


LADDERS = ("output_fluctuation", "memory_rms", "drift_rms")


def scatters(pilot: type[design.Pilot], study: Study, layout: Layout) -> dict[str, design.Scatter]:
    found = {}
    for name in LADDERS:
        made = pilot(study, layout, design.quantity_of(study, name), kernels.backend("host"))
        (found[name],) = made.scatters(design._main_cells(study))
    return found


def test_it_chooses_what_a_trained_pilot_chooses(tmp_path: Path) -> None:
    """Half-widths for equal replicas: above by up to a half, the safe side, or below by a fifth, as pilots scatter."""
    study, be = studies.loads(STUDY, tmp_path / "foretold.yaml"), kernels.backend("host")
    experiment = experiments.of(study, tmp_path)
    assert design.needs_predictions(study, experiment.layout)
    foretold.prepare(study, experiment.layout, parallel.world(), be)
    predicted = scatters(design.PredictedPilot, study, experiment.layout)
    resolved = design.resolve(study, experiment.layout, be, 0.05, "output_fluctuation")
    assert resolved.done == (0,) * 4
    assert f"from predicted values: beta=0.75 {predicted['output_fluctuation'].exponent:.2f} ±" in resolved.report(1.0)
    for part in experiment.parts():
        part.run(parallel.world(), be)
    assert not design.needs_predictions(study, experiment.layout)
    trained = scatters(design.Pilot, study, experiment.layout)
    units = np.full(4, 256.0)
    for name in LADDERS:
        assert 0.8 < predicted[name].half_width(units) / trained[name].half_width(units) < 1.5, name
        assert predicted[name].exponent == pytest.approx(trained[name].exponent, abs=0.12), name


def test_a_quantity_without_predicted_values_needs_a_pilot(tmp_path: Path) -> None:
    study = studies.loads(STUDY, tmp_path / "foretold.yaml")
    layout = experiments.of(study, tmp_path).layout
    with pytest.raises(StudyError, match=r"^--quantity drift: has no predicted values, .*; run a pilot first"):
        design.resolve(study, layout, kernels.backend("host"), 0.05, "drift")
