"""What nodes in place of a law change: nothing in one dimension, and what other nodes show in three."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import runs
from processors import reference

from rnnlimits import study as studies
from rnnlimits.theory.laws import ParameterLaw
from rnnlimits.theory.node_errors import NodeErrors, memory_by, variance_error
from rnnlimits.theory.observe import AtProbes
from rnnlimits.theory.units import UnitNodes

THREE = {
    "chain": {"kind": "coupled-tanh", "a": 0.5, "b": 0.4, "s": 0.5, "c": 0.6, "e": 0.3, "r": 0.5, "dimension": 3},
    "network": {"w": {"kind": "gaussian", "std": 0.577}},
}


def setting(folder: Path, **changes: Any) -> tuple[ParameterLaw, AtProbes]:
    study = studies.load(runs.write_study(folder, **changes))
    return ParameterLaw.of(study), AtProbes.of(study, reference)


def nodes(law: ParameterLaw, count: int, kind: str = "grid") -> UnitNodes:
    return UnitNodes.product(law, law.nodes(count, kind), 2, 1)


def test_one_dimension_has_none(tmp_path: Path) -> None:
    law, probes = setting(tmp_path)
    errors = NodeErrors.of(law, nodes(law, 64), nodes(law, 32), probes)
    assert np.abs(errors.memory_error).max() < 1e-7
    assert errors.variance_error < 1e-4


def test_few_nodes_in_three_dimensions_are_coarse(tmp_path: Path) -> None:
    law, probes = setting(tmp_path, **THREE)
    coarse, fine = (NodeErrors.of(law, nodes(law, n), nodes(law, n), probes) for n in (27, 1728))
    assert np.abs(coarse.memory_error).max() > 10 * np.abs(fine.memory_error).max()
    assert coarse.variance_error > 0.02 > fine.variance_error


def test_the_memory_by_many_points_is_the_limits(tmp_path: Path) -> None:
    """Drawn points of the law, whose error is that of a mean: 5 standard errors for some hundred numbers, 1e-4."""
    law, probes = setting(tmp_path, **THREE)
    rng = np.random.default_rng(3)
    w = law.mean + rng.normal(size=(40_000, 3)) @ law.factor.T
    drawn = UnitNodes(w, law.b_given(w), np.zeros(len(w)), np.full(len(w), 1 / len(w)), None)
    error = memory_by(law, drawn, probes.history) - probes.memory
    assert np.abs(error).max() < 5 * (1 + law.contraction) * w.std() / 200
    assert np.abs(memory_by(law, nodes(law, 1728), probes.history) - probes.memory).max() < 2e-3


@pytest.mark.parametrize("noise", [0.0, 0.7])
def test_noise_of_b_is_part_of_a_variance(tmp_path: Path, noise: float) -> None:
    law, probes = setting(tmp_path, network={"b": {"offset": 0.2, "slope": 0.4, "noise": noise}})
    assert variance_error(law, UnitNodes.product(law, law.nodes(48, "grid"), 2, 3), probes) < 1e-4
