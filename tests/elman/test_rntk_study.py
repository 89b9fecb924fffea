"""Studies of the recurrent NTK: the study file, cells, numbers whatever the blocks, estimates."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from processors import reference
from runs import ROOT, TINY_RNTK, write_rntk

from rnnlimits import experiments
from rnnlimits.base.errors import StudyError
from rnnlimits.cli import main
from rnnlimits.elman import chunks, plan, train, world
from rnnlimits.elman.train import World, block_values
from rnnlimits.kernels import processor
from rnnlimits.quantities.base import registered
from rnnlimits.quantities.elman import MOST_UNITS, ElmanQuantity, units
from rnnlimits.statistics import powerlaw
from rnnlimits.statistics.bootstrap import Bootstrap
from rnnlimits.study import RntkStudy, load_any, loads, loads_any, to_yaml


def study(**changes: Any) -> RntkStudy:
    found = loads_any(yaml.safe_dump({**TINY_RNTK, **changes}), "tiny.yaml")
    assert isinstance(found, RntkStudy)
    return found


# --- the study file ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["rntk.yaml", "rntk-rates.yaml"])
def test_shipped_studies_load(name: str) -> None:
    assert isinstance(load_any(ROOT / "config" / name), RntkStudy)


def test_a_study_written_out_is_the_same_study() -> None:
    assert loads_any(to_yaml(study()), "again.yaml").model_dump() == study().model_dump()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"experiment": "rtnk"}, "experiment is 'rtnk'; did you mean rntk?"),
        ({"fluctuation": {"widht": [8]}}, "fluctuation.widht is not a key; did you mean width?"),
        ({"fluctuation": {"width": [8, 8]}}, "fluctuation.width[1] is 8; allowed: each value once"),
        ({"bias": {"width": [8, 9], "replicas": [3]}}, "bias.replicas has 1 entries; allowed: a number, or 2"),
        (
            {"networks": [{"activation": "sin"}]},
            "networks[0].activation is 'sin'; allowed: relu, erf",
        ),
        ({"networks": [{"sigma_w": -1}]}, "networks[0].sigma_w is -1; allowed: a number from 0 to 1e6"),
        ({"networks": [{}, {}]}, "networks[1]"),
        ({"training": {"width": [8], "trained": 4}}, "training.trained is 4; allowed: at most the 3 sequences"),
        ({"training": {"width": [8], "rate": 1.5}}, "training.rate is 1.5; allowed: at most 1"),
        ({"training": {"width": [8], "step_ladder": [2]}}, "training.step_ladder has 2, a step of 4"),
        ({"sequences": {"lengths": []}}, "sequences.lengths is []; allowed: a list of 1 to 64 whole numbers"),
        (dict.fromkeys(("fluctuation", "bias", "training", "weights")), "measures nothing"),
    ],
)
def test_bad_studies_get_one_line(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(StudyError) as caught:
        study(**changes)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_verbs_of_trainings_refuse_it_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(StudyError, match="experiment is rntk, which has no such stage"):
        loads(yaml.safe_dump(TINY_RNTK), "tiny.yaml")
    path = write_rntk(tmp_path)
    for words in (["draw", path], ["limit", path], ["memory", path], ["plan", path, "--resolve", "0.1"]):
        assert main([*map(str, words), "--results", str(tmp_path)] if words[0] != "plan" else [*map(str, words)]) == 2
        said = capsys.readouterr().err.strip()
        assert len(said.splitlines()) == 1
        assert "experiment is rntk" in said


def test_a_kernel_beyond_all_numbers_is_refused_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_rntk(tmp_path, networks=[{"sigma_w": 1e6}], sequences={"lengths": [60]}, training=None)
    assert main(["check", str(path)]) == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 1


# --- cells and identities ----------------------------------------------------------------------------------


def test_a_width_of_two_ladders_is_one_cell_with_the_larger_replicas() -> None:
    kernels = {(c.network, c.width): c.replicas for c in plan.cells(study()) if c.kind == "kernel"}
    assert kernels["erf-L1", 8] == 50
    assert sorted(width for name, width in kernels if name == "erf-L2") == [8, 16]


def test_a_network_may_have_widths_of_its_own() -> None:
    own = {"activation": "relu", "bias": {"width": [5], "replicas": 7}}
    found = plan.cells(study(networks=[*TINY_RNTK["networks"], own], fluctuation=None))
    assert {(c.network, c.width) for c in found if c.kind == "kernel"} == {("erf-L1", 8), ("erf-L2", 8), ("relu-L1", 5)}


def test_identities_hold_what_changes_numbers() -> None:
    base = study()
    cell = plan.cells(base)[0]
    other = {
        "seed": study(seed=4),
        "sequences": study(sequences={"lengths": [3, 4], "dimension": 2}),
        "network": study(networks=[{"activation": "erf", "layers": [1, 2], "sigma_h": 0.4}]),
        "precision": study(precision="float32"),
    }
    assert all(plan.cell_id(changed, cell) != plan.cell_id(base, cell) for changed in other.values())
    same = study(name="other", training=None, fluctuation={"width": [8], "replicas": 99}, weights=None)
    assert plan.cell_id(same, cell) == plan.cell_id(base, cell)


def test_blocks_hold_every_replica_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan, "BLOCK_WORK", 2**17)
    for cell in plan.cells(study()):
        held = [r for b in plan.blocks(study(), cell) for r in range(b.first, b.first + b.count)]
        assert held == list(range(cell.replicas))


# --- numbers -----------------------------------------------------------------------------------------------


def test_weights_are_functions_of_their_indices() -> None:
    """Against the counter-based generator itself, by the numbers of the streams."""
    this = study()
    drawn = world.draw(this, processor(), this.elmans[1].elman, 8, np.array([7, 5], dtype=np.uint32))
    row = np.array([5], dtype=np.uint32)
    second = reference.normals(3, 19, row, 64, 0, 1).reshape(8, 8)
    np.testing.assert_allclose(drawn.recurrent[1][1], second, rtol=1e-12)
    np.testing.assert_allclose(drawn.below[0][1], reference.normals(3, 20, row, 16, 0, 0).reshape(8, 2), rtol=1e-12)
    np.testing.assert_allclose(drawn.start[1][1][:, 2], reference.normals(3, 23, row, 8, 2, 1)[0], rtol=1e-12)


@pytest.mark.parametrize("kind", plan.KINDS)
def test_blocks_of_any_size_have_the_same_bits(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    this, be = study(), processor()
    cell = next(cell for cell in plan.cells(this) if (cell.kind, cell.network, cell.width) == (kind, "erf-L2", 16))
    shared = World.of(this, be)
    whole = block_values(this, be, shared, plan.Block(cell, 0, 12))
    monkeypatch.setattr(chunks, "HOST_ENTRIES", 3 * 16**2)
    parts = [block_values(this, be, shared, plan.Block(cell, first, 4)) for first in (0, 4, 8)]
    for name, values in whole.items():
        assert np.array_equal(values, np.concatenate([part[name] for part in parts]))


def test_linear_descent_nears_the_flow() -> None:
    rng = np.random.default_rng(0)
    root = rng.standard_normal((5, 5))
    kernel, f, target = root @ root.T, rng.standard_normal((3, 5)), rng.standard_normal(2)
    flow = train.linear_flow(kernel, f, target, 0.7)
    gaps = [np.abs(train.linear_descent(kernel, f, target, 0.7 / k, k) - flow).max() for k in (1000, 2000)]
    assert gaps[0] / gaps[1] == pytest.approx(2.0, rel=0.02)
    late = train.linear_flow(kernel, f, target, 1e6)  # kernel regression on the first two
    regressed = f + (target - f[:, :2]) @ np.linalg.solve(kernel[:2, :2], kernel[:2])
    np.testing.assert_allclose(late, regressed, atol=1e-9)


def test_units_are_the_same_replicas_at_every_width() -> None:
    few, many = units(np.arange(100)), units(np.arange(3 * MOST_UNITS + 7))
    assert few.shape == (100, 1)
    assert many.shape == (MOST_UNITS, 3)
    assert list(many[5]) == [5, 5 + MOST_UNITS, 5 + 2 * MOST_UNITS]


# Widths, seed fixed: intervals of 95% for four rates, all of which hold the truth with chance 0.8 at least; the test
# asks for twice the interval, so that it fails by chance in fewer than 1 of 1000 seeds.
@pytest.mark.parametrize("name", ["ntk_fluctuation", "ntk_bias", "ntk_training_gap", "ntk_limit_gap"])
def test_known_exponents_are_recovered(name: str) -> None:
    rng = np.random.default_rng(11)
    entry = next(entry for entry in registered(ElmanQuantity) if entry.name == name)
    bootstrap = Bootstrap(lambda unit, count: reference.uniforms(1, 12, unit.astype(np.uint32), count), 400)
    truth = entry.expected("erf")
    points = []
    for width in (32, 64, 128, 256):
        noise = rng.standard_normal((4096, 6)) / math.sqrt(width)
        scattered = noise + 2.0 / width if entry.kind == "kernel" else noise * width ** (0.5 - truth)
        values = {"ntk": scattered, "network": scattered, "linearised": np.zeros_like(noise)}
        if entry.estimator == "linearised":
            values |= {"linearised": scattered, "limit": np.zeros_like(noise)}
        sample = entry.sample({key: units(value) for key, value in values.items()})
        points.append(powerlaw.measure(width, sample, bootstrap))
    slope = powerlaw.fit(points).slope
    assert abs(slope.value - truth) <= 2 * slope.half_width
    assert slope.half_width < 0.15


def test_nngp_of_relu_forgets_at_the_rate_of_its_recursion() -> None:
    """d NNGP(x, x) / d x_t is proportional to (sigma_w^2 / 2)^(T - t) x_t for ReLU and one layer (docs/rntk.md)."""
    from rnnlimits.elman import weights

    this = study(networks=[{"activation": "relu"}], weights={"length": 9, "sigma_w": [1.3], "sequences": 4})
    (curve,) = (c for c in weights.curves(this, processor()) if c.kernel == "nngp")
    x = world.weighed(this, processor(), 4, 9)
    expected = 0.845 ** np.arange(8, -1, -1) * np.sqrt(np.square(x).sum(-1).mean(0))
    np.testing.assert_allclose(curve.weight, expected / expected.max(), rtol=1e-10)


def test_a_plan_prints_cells_and_cost() -> None:
    experiment = experiments.of(study())
    text = experiment.summary(experiment.pace(processor))
    assert "kernel-n00008" in text
    assert "core time" in text
    assert plan.study_id(study()) in text
