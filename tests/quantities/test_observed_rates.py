"""Estimators of what checkpoints show of kernels and depths: which cells they take, and what they make of arrays."""

from __future__ import annotations

import numpy as np
import pytest
from example_results import make_study, write_results

from rnnlimits.kernels.interface import Array
from rnnlimits.quantities.base import Absent, registered
from rnnlimits.quantities.depth import depth_gap
from rnnlimits.quantities.trained import Design, TrainedQuantity, Trainings
from rnnlimits.rates import stage
from rnnlimits.rates.ladders import shallow
from rnnlimits.training import plan
from rnnlimits.training.plan import Cell

RNG = np.random.default_rng(5)
TWO = np.zeros((8, 2, 3))
NAMES = ("memory_sup", "hidden_h1", "hidden_h1_sup", "depth_gap")
OBSERVED = [e for e in registered(TrainedQuantity) if e.name in NAMES or e.name.startswith("ntk_")]


def trainings(**observed: Array) -> Trainings:
    none = np.zeros((8, 2))
    return Trainings(TWO, TWO, none, True, 0.0, 0.0, 0.0, none[..., None], np.zeros(1), **observed)  # type: ignore[arg-type]


def test_every_observed_rms_is_over_units_members_and_the_rest() -> None:
    values = {name: RNG.normal(size=(8, 2, 3)) for name in ("memory_sup", "hidden_h1", "hidden_h1_sup")}
    values |= {"ntk_eigenvalue_error": RNG.normal(size=(8, 2, 3))}
    values |= {name: RNG.normal(size=(8, 2)) for name in ("ntk_error", "ntk_b_part", "ntk_past_part", "ntk_drift")}
    for entry in OBSERVED:
        if "along" in entry.estimator or entry.name == "depth_gap":
            continue
        seen = {name: np.full_like(one, np.nan) for name, one in values.items()}
        name = {"ntk_initial_error": "ntk_error", "ntk_eigenvalue": "ntk_eigenvalue_error"}.get(entry.name, entry.name)
        seen[name] = values[name]
        for when in ("initial", "final"):
            sample = None
            try:
                sample = entry.sample(trainings(**{when: seen}))
            except KeyError:
                continue
            assert sample.statistics.mean() ** 0.5 == pytest.approx(np.sqrt(np.square(values[name]).mean()))
        assert sample is not None or when == "final"


def test_depths_are_compared_where_there_is_depth_1_with_all_replicas() -> None:
    one, two = Cell(0.75, 64, 64, 1, 32), Cell(0.75, 64, 64, 2, 32)
    assert shallow(two, [one, two]) == one
    assert shallow(one, [one, two]) is None
    assert shallow(two, [two]) is None
    assert shallow(two, [Cell(0.75, 64, 64, 1, 16), two]) is None
    assert shallow(two, [Cell(0.6, 64, 64, 1, 32), Cell(0.75, 64, 32, 1, 32), two]) is None


def test_the_gap_of_depths_is_that_of_outputs() -> None:
    other = RNG.normal(size=TWO.shape)
    sample = depth_gap(trainings(shallow=other))
    assert sample.statistics.mean() ** 0.5 == pytest.approx(np.sqrt(np.square(other).mean()))


def test_kernels_are_estimated_where_they_are_measured() -> None:

    def present(**measured: bool) -> list[tuple[str, str]]:
        design = Design(symmetric=True, antithetic=True, **measured)
        return [entry.key for entry in OBSERVED if not isinstance(entry.applies(design), Absent)]

    assert {name for name, _ in present()} == {"memory_sup", "hidden_h1", "hidden_h1_sup"}
    assert {name for name, _ in present(shallow=True)} == {*NAMES}
    late = present(kernel=True)
    assert ("ntk_b_part", "trained") in late
    assert ("ntk_b_part", "initial") not in late
    assert len(present(kernel=True, initial=True, shallow=True)) == len(OBSERVED) == 12


def test_known_exponents_come_back(tmp_path: object) -> None:
    from rnnlimits import kernels

    study = make_study(beta="[0.75]")
    layout = write_results(study, tmp_path)  # type: ignore[arg-type]
    found = {rate.quantity: rate for rate in stage.run(study, layout, kernels.backend("numpy"))}
    for name in ("memory_sup", "hidden_h1", "hidden_h1_sup"):
        assert found[name].exponent == pytest.approx(0.5, abs=0.05)
        assert found[name].corrected_low < 0.5 < found[name].corrected_high
        assert found[name].verdict == "no prediction"
    assert "depth_gap" not in found
    assert plan.cells(study)
