"""Studies resolved from predicted values alone, compared with pilots that were trained."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import predicted_cases
import pytest

from rnnlimits import experiments, kernels
from rnnlimits import study as studies
from rnnlimits.base.errors import StudyError
from rnnlimits.ranks import parallel
from rnnlimits.rates import design, foretold
from rnnlimits.study import Study
from rnnlimits.training.layout import Layout

CHANGES = {
    "replicas: 256, replicas_per_block: 256": "replicas: 512, replicas_per_block: 64",
    "beta: [0.9]": "beta: [0.75]",
}


def text() -> str:
    """In blocks that are small beside the whole, since a pilot is one of them."""
    changed = predicted_cases.STUDY
    for old, new in CHANGES.items():
        assert old in changed
        changed = changed.replace(old, new)
    return changed


pytestmark = [pytest.mark.needs_compiler, pytest.mark.needs_mpi]


# By how much a half-width may be larger than that of a trained pilot.
LADDERS = {"output_fluctuation": 1.5, "memory_rms": 6**0.5, "drift_rms": 1.5}


def scatters(pilot: type[design.Pilot], study: Study, layout: Layout) -> dict[str, design.Scatter]:
    found = {}
    for name in LADDERS:
        made = pilot(study, layout, design.quantity_of(study, name), kernels.backend("host"))
        (found[name],) = made.scatters(design.main_cells(study))
    return found


def test_it_chooses_what_a_trained_pilot_chooses(tmp_path: Path) -> None:
    """Half-widths for equal replicas: larger is the safe side, and a fifth less is how pilots scatter.

    The 6 probes of the memory count as one, so that at most the root of 6 is lost.
    """
    study, be = studies.loads(text(), tmp_path / "foretold.yaml"), kernels.backend("host")
    experiment = experiments.of(study, tmp_path)
    assert design.needs_predictions(study, experiment.layout)
    foretold.prepare(study, experiment.layout, parallel.world(), be)
    predicted = scatters(design.PredictedPilot, study, experiment.layout)
    resolved = design.resolve(study, experiment.layout, be, 0.05, "output_fluctuation")
    assert resolved.done == (0,) * 4
    assert f"from predicted values: beta=0.75 {predicted['output_fluctuation'].exponent:.2f} ±" in resolved.report(1.0)
    alone = resolved.at_widths["beta=0.75"]
    assert resolved.laws == {"beta=0.75": 0.25}  # 1 - beta
    assert f"predicted: {alone:.3f} in place of 0.25, by {alone - 0.25:+.3f}, " in resolved.report(1.0)
    for part in experiment.parts():
        part.run(parallel.world(), be)
    again = design.resolve(study, experiment.layout, be, 0.05, "output_fluctuation")
    assert (again.learned, again.at_widths) == ("from trainings", resolved.at_widths)
    assert not design.needs_predictions(study, experiment.layout)
    trained = scatters(design.Pilot, study, experiment.layout)
    units = np.full(4, 256.0)
    for name, most in LADDERS.items():
        assert 0.8 < predicted[name].half_width(units) / trained[name].half_width(units) < most, name
        assert predicted[name].exponent == pytest.approx(trained[name].exponent, abs=0.12), name


def test_a_quantity_without_predicted_values_needs_a_pilot(tmp_path: Path) -> None:
    study = studies.loads(text(), tmp_path / "foretold.yaml")
    layout = experiments.of(study, tmp_path).layout
    with pytest.raises(StudyError, match=r"^--quantity drift: has no predicted values, .*; run a pilot first"):
        design.resolve(study, layout, kernels.backend("host"), 0.05, "drift")
