"""Studies resolved from predicted values alone, compared with pilots that were trained."""

from __future__ import annotations

from pathlib import Path

import pytest

from rnnlimits import experiments, kernels
from rnnlimits import study as studies
from rnnlimits.ranks import parallel
from rnnlimits.rates import design, foretold
from rnnlimits.study import Study

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


@pytest.fixture
def study(tmp_path: Path) -> Study:
    return studies.loads(STUDY, tmp_path / "foretold.yaml")


@pytest.mark.parametrize("name", ["output_fluctuation", "memory_rms", "drift_rms"])
def test_it_chooses_what_a_trained_pilot_chooses(study: Study, name: str, tmp_path: Path) -> None:
    """Half-widths for equal replicas within a third: probes count as fully correlated, and pilots scatter by 10%."""
    be, layout = kernels.backend("host"), experiments.of(study, tmp_path).layout
    quantity, cells = design.quantity_of(study, name), design._main_cells(study)
    foretold.prepare(study, layout, parallel.world(), be)
    (predicted,) = design.PredictedPilot(study, layout, quantity, be).scatters(cells)
    for part in experiments.of(study, tmp_path).parts():
        part.run(parallel.world(), be)
    (trained,) = design.Pilot(study, layout, quantity, be).scatters(cells)
    units = 256.0 * predicted.least / predicted.least
    ratio = predicted.half_width(units) / trained.half_width(units)
    print(name, ratio, predicted.exponent, trained.exponent)
    assert 0.8 < ratio < 1.5
