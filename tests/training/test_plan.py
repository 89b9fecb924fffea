"""The plan: which cells there are, what their identities depend on, what they cost, where they are put."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import yaml

from rnnlimits.study import Study, load, loads
from rnnlimits.training.layout import Layout
from rnnlimits.training.plan import (
    Block,
    Cell,
    blocks,
    cell_id,
    cells,
    draw_id,
    output_bytes,
    packs,
    study_id,
    summary,
    unit_steps,
)

CONFIG = Path(__file__).resolve().parent.parent.parent / "config"
TEXT = """
name: small
seed: 1
chain: {kind: coupled-tanh, a: 0.5}
target: {sin_x: 1, z: 0.5}
network: {activation: tanh, b: {offset: 0.2, slope: 0.6}}
training:
  beta: [0.6, 0.75]
  width: [64, 128]
  replicas: [64, 32]
  ladders: [{beta: [0.75], width: [64], steps_per_time: [16, 64], replicas: 128}]
"""


def small(*edits: tuple[str, str]) -> Study:
    text = TEXT
    for old, new in edits:
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    return loads(text, "small.yaml")


def ids(study: Study) -> dict[str, str]:
    return {f"{cell.pack}/{cell.name}": cell_id(study, cell) for cell in cells(study)}


# --- cells -------------------------------------------------------------------------------------------------


def test_cells_are_the_products_merged() -> None:
    assert cells(small()) == (
        Cell(0.75, 64, 16, 1, 128),
        Cell(0.6, 64, 64, 1, 64),
        Cell(0.75, 64, 64, 1, 128),  # in the grid with 64 replicas, in the ladder with 128
        Cell(0.6, 128, 128, 1, 32),
        Cell(0.75, 128, 128, 1, 32),
    )


def test_names() -> None:
    cell = Cell(0.6, 64, 16, 2, 64)
    assert (cell.name, cell.pack) == ("beta0.6-depth2", "N00064-K00016")
    assert Block(cell, 32, 16).name == "replicas-00032-00047"
    assert Cell(0.6, 131072, 131072, 1, 64).pack == "N131072-K131072"


def test_a_pack_is_one_width_and_one_k() -> None:
    grouped = packs(small())
    assert list(grouped) == ["N00064-K00016", "N00064-K00064", "N00128-K00128"]
    assert tuple(cell for members in grouped.values() for cell in members) == cells(small())


def test_blocks_cover_the_replicas_once() -> None:
    study = small()
    for cell in cells(study):
        covered = [r for block in blocks(study, cell) for r in range(block.first, block.first + block.count)]
        assert covered == list(range(cell.replicas))


# --- identities --------------------------------------------------------------------------------------------


def test_ids_are_twelve_hexadecimal_digits_and_differ_between_cells() -> None:
    study = small()
    found = [*ids(study).values(), draw_id(study), study_id(study)]
    assert len(set(found)) == len(found)
    assert all(len(one) == 12 and set(one) <= set("0123456789abcdef") for one in found)


def test_a_new_width_leaves_the_other_cells_alone() -> None:
    edits = ("[64, 128]", "[64, 128, 256]"), ("[64, 32]", "[64, 32, 16]")
    before, after = ids(small()), ids(small(*edits))
    assert after.items() >= before.items()
    assert set(after) - set(before) == {"N00256-K00256/beta0.6-depth1", "N00256-K00256/beta0.75-depth1"}
    assert draw_id(small(*edits)) == draw_id(small())
    assert study_id(small(*edits)) != study_id(small())


def test_spelling_changes_no_id() -> None:
    study = small()
    raw = yaml.safe_load(TEXT)
    backwards = {key: raw[key] for key in reversed(raw)}
    spelt = (
        yaml.safe_dump(backwards, sort_keys=False).replace("sin_x: 1\n", "sin_x: 1.0e+0\n").replace("- 64", "- 64.0")
    )
    assert spelt.count("- 64.0\n") == 4
    assert "sin_x: 1.0e+0" in spelt
    again = loads(spelt, "elsewhere/other.yaml")
    assert ids(again) == ids(study)
    assert (draw_id(again), study_id(again)) == (draw_id(study), study_id(study))


CELL, DRAW, STUDY = "cells", "draw", "study"
ADD = "name: small"


@pytest.mark.parametrize(
    ("old", "new", "changed"),
    [
        ("name: small", "name: other", set()),
        ("seed: 1", "seed: 2", {CELL, DRAW, STUDY}),
        ("a: 0.5", "a: 0.4", {CELL, DRAW, STUDY}),
        ("z: 0.5", "z: 0.4", {CELL, DRAW, STUDY}),
        ("activation: tanh", "activation: erf", {CELL, DRAW, STUDY}),
        ("slope: 0.6", "slope: 0.5", {CELL, DRAW, STUDY}),
        (ADD, "name: small\nprobes: {count: 8}", {CELL, DRAW, STUDY}),
        (ADD, "name: small\nprecision: float64", {CELL, STUDY}),
        (ADD, "name: small\nallow_noncontracting: true", set()),
        (ADD, "name: small\ndraws: {steps: 400}", {DRAW, STUDY}),
        (ADD, "name: small\nlimit: {nodes: 32}", {DRAW, STUDY}),
        (ADD, "name: small\nlimit: {features: quasi-random}", {DRAW, STUDY}),
        (ADD, "name: small\nlimit: {features: grid}", set()),  # the default of this study
        ("  width:", "  alpha: 2\n  width:", {CELL, STUDY}),
        ("  width:", "  horizon: 4\n  width:", {CELL, STUDY}),
        ("  width:", "  checkpoints: [0, 2]\n  width:", {CELL, STUDY}),
        ("  width:", "  clip: 0.1\n  width:", {CELL, STUDY}),
        ("  width:", "  update_b: false\n  width:", {CELL, STUDY}),
        ("  width:", "  antithetic: false\n  width:", {CELL, STUDY}),
        ("  width:", "  loss_bins: 16\n  width:", {CELL, STUDY}),
        ("  width:", "  replicas_per_block: 32\n  width:", set()),
        ("[64, 32]", "[64, 64]", {STUDY}),
        ("[64, 32]", "[128, 32]", {STUDY}),
        # A ladder that adds nothing to the grid.
        ("[16, 64]", "[16]", {STUDY}),
    ],
)
def test_what_changes_which_id(old: str, new: str, changed: set[str]) -> None:
    before, after = small(), small((old, new))
    shared = ids(before).keys() & ids(after).keys()
    assert len(shared) == 5
    differing = {ids(before)[name] != ids(after)[name] for name in shared}
    assert differing == {CELL in changed}
    assert (draw_id(before) != draw_id(after)) == (DRAW in changed)
    assert (study_id(before) != study_id(after)) == (STUDY in changed)


def test_a_recorded_series_is_known_by_its_values(tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    shutil.copytree(CONFIG, here)
    shutil.copytree(CONFIG, there)
    (there / "data" / "sunspots_monthly.csv").rename(there / "moved.csv")
    text = (there / "recorded.yaml").read_text().replace("data/sunspots_monthly.csv", "moved.csv")
    (there / "recorded.yaml").write_text(text)
    study, moved = load(here / "recorded.yaml"), load(there / "recorded.yaml")
    assert ids(moved) == ids(study)
    assert (draw_id(moved), study_id(moved)) == (draw_id(study), study_id(study))

    lines = (there / "moved.csv").read_text().replace("1749,1,58.0", "1749,1,58.1")
    (there / "changed.csv").write_text(lines)
    changed = loads(text.replace("moved.csv", "changed.csv"), there / "recorded.yaml")
    assert not set(ids(changed).values()) & set(ids(study).values())
    assert draw_id(changed) != draw_id(study)


# --- costs -------------------------------------------------------------------------------------------------


def test_unit_steps() -> None:
    study = small(("  width:", "  horizon: 4\n  width:"))
    cell = Cell(0.6, 64, 16, 1, 32)
    assert unit_steps(cell, study) == 64 * 16 * 4 * 32
    assert sum(unit_steps(block, study) for block in blocks(study, cell)) == unit_steps(cell, study)


def test_demo_trains_in_under_40_s_on_two_cores() -> None:
    study = load(CONFIG / "demo.yaml")
    core_seconds = 0.5e-9 * sum(unit_steps(cell, study) for cell in cells(study))
    assert core_seconds / 2 < 40


@pytest.mark.parametrize("name", ["demo", "full", "recorded"])
def test_no_shipped_width_that_takes_a_second_is_left_to_one_rank_alone(name: str) -> None:
    study = load(CONFIG / f"{name}.yaml")
    assert all(len(blocks(study, cell)) >= 2 for cell in cells(study) if unit_steps(cell, study) > 1e9)


def test_summary_adds_up() -> None:
    study = small()
    lines = summary(study, 0.5).splitlines()
    assert lines[1].split()[:4] == ["N00064-K00016", "1", "128", "1"]
    total = next(line for line in lines if line.startswith("all trainings")).split()
    assert total[2:5] == ["5", "384", "5"]
    steps = 2 * (64 * 16 * 128 + 64 * 64 * (64 + 128) + 128 * 128 * 64)
    assert total[5] == f"{steps:.3g}"
    assert f"{steps * 0.5 / 3.6e12:.3g} core-hours" in "\n".join(lines)
    assert len({len(line) for line in lines[:6]}) == 1


def test_output_bytes_grow_with_what_is_stored() -> None:
    study = small()
    cell = cells(study)[0]
    outputs = 8 * cell.replicas * 4 * 16  # replicas x times x probes, float64
    assert output_bytes(cell, study) > 2 * outputs
    more = small((ADD, "name: small\nprobes: {count: 32}"))
    assert output_bytes(cell, more) - output_bytes(cell, study) == 2 * outputs


# --- paths -------------------------------------------------------------------------------------------------


def test_paths() -> None:
    layout = Layout.of(small(), Path("results"))
    cell = Cell(0.6, 64, 64, 1, 64)
    root = "results/small"
    assert str(layout.root) == root
    assert str(layout.shard(Block(cell, 0, 16), "abc")) == (
        f"{root}/shards/N00064-K00064_beta0.6-depth1_abc/replicas-00000-00015.h5"
    )
    assert str(layout.ensemble(cell)) == f"{root}/train/N00064-K00064/beta0.6-depth1.h5"
    assert str(layout.draw_shard(3, "def")) == f"{root}/shards/draw_def/block-0003.h5"
    assert str(layout.figure("drift", "svg")) == f"{root}/figures/drift.svg"


def test_every_block_has_its_own_shard_and_every_cell_its_own_ensemble() -> None:
    study = load(CONFIG / "demo.yaml")
    layout = Layout.of(study)
    shards = [layout.shard(block, cell_id(study, cell)) for cell in cells(study) for block in blocks(study, cell)]
    ensembles = [layout.ensemble(cell) for cell in cells(study)]
    assert len(set(shards)) == len(shards)
    assert len(set(ensembles)) == len(ensembles) == len(cells(study))


def test_another_seed_is_another_folder() -> None:
    cell = cells(small())[0]
    one, other = (Layout.of(s).shard_folder(cell, cell_id(s, cell)) for s in (small(), small(("seed: 1", "seed: 2"))))
    assert one != other
