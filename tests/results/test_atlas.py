"""Atlases: variants laid over a base, refused in one line, run one after the other, one table and figure of all."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import runs
import yaml
from matplotlib import pyplot as plt

from rnnlimits.base.errors import StudyError
from rnnlimits.results import atlas, atlas_figure
from rnnlimits.statistics.ratefile import Rate

SHIPPED = ("atlas-small", "atlas")
BASE = {key: value for key, value in runs.TINY.items() if key != "name"}


def write(folder: Path, **content: object) -> Path:
    path = folder / "atlas.yaml"
    path.write_text(yaml.safe_dump({"name": "small", "base": BASE, "variants": {"plain": {}}, **content}))
    return path


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_atlases_are_good(name: str) -> None:
    found = atlas.load(runs.ROOT / "config" / f"{name}.yaml")
    assert found.name == name
    assert {study.dimension for study in found.studies.values()} == {1, 3, 10}
    assert {study.network.activation for study in found.studies.values()} == {"tanh", "erf", "logistic"}
    assert min(found.studies["tanh"].training.beta) == 0.55
    assert max(found.studies["tanh"].training.beta) == 0.95


def test_variants_are_laid_over_the_base(tmp_path: Path) -> None:
    variants = {
        "erf": {"network": {"activation": "erf"}},
        "other": {"chain": {"kind": "linear-gaussian", "a": 0.5, "q": 1.0}, "target": {"x": 1.0}},
    }
    found = atlas.load(write(tmp_path, variants=variants)).studies
    assert found["erf"].network.activation == "erf"
    assert found["erf"].chain == found["erf"].chain
    assert found["other"].chain.kind == "linear-gaussian"  # another kind replaces the section, keys of the old one too
    assert found["other"].training == found["erf"].training
    assert found["erf"].name == "small-erf"


def test_merging_keeps_what_is_not_named() -> None:
    base = {"a": {"x": 1, "y": [1, 2]}, "b": 2}
    assert atlas.merged(base, {"a": {"y": [3]}}) == {"a": {"x": 1, "y": [3]}, "b": 2}
    assert atlas.merged({"a": {"kind": "p", "x": 1}}, {"a": {"kind": "q"}}) == {"a": {"kind": "q"}}
    assert base == {"a": {"x": 1, "y": [1, 2]}, "b": 2}


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ({"variants": {}}, "variants is empty"),
        ({"variants": {"p": 3}}, "variants.p is not a mapping"),
        ({"extra": 1}, "an atlas has exactly name, base, variants"),
        ({"variants": {"p": {"training": {"widht": [3]}}}}, r"training.widht is not a key; .*\(variant p\)"),
        ({"variants": {"a b": {}}}, r"name is 'small-a b'; .*\(variant a b\)"),
        ({"base": 3}, "base and variants mappings"),
    ],
)
def test_bad_atlases_get_one_line(tmp_path: Path, content: dict[str, object], says: str) -> None:
    with pytest.raises(StudyError, match=says) as refused:
        atlas.load(write(tmp_path, **content))
    assert "\n" not in str(refused.value)


def test_an_atlas_that_is_not_utf8_gets_one_line(tmp_path: Path) -> None:
    (tmp_path / "atlas.yaml").write_bytes(b"name: \xff")
    with pytest.raises(StudyError, match=r"atlas\.yaml: byte 6 is not UTF-8; give an atlas file"):
        atlas.load(tmp_path / "atlas.yaml")


def example(beta: float, exponent: float, quantity: str = "drift", estimator: str = "plain", note: str = "") -> Rate:
    about = {"exponent": exponent, "stderr": 0.01, "ci_low": exponent - 0.02, "ci_high": exponent + 0.02}
    return Rate("s", quantity, estimator, "N", f"beta={beta}", **about, verdict="as predicted", note=note)


def test_the_table_has_a_column_for_each_variant() -> None:
    text = atlas.table({"p": [example(0.6, 0.4)], "q": [example(0.6, 0.41), example(0.7, 0.3, note="refused: no")]})
    lines = text.splitlines()
    assert lines[0].split() == ["quantity", "in", "at", "p", "q"]
    assert lines[1].split() == ["drift", "(plain)", "N", "beta=0.6", "0.400±0.020", "0.410±0.020"]
    assert lines[2].split() == ["drift", "(plain)", "N", "beta=0.7", "-"]


def test_the_figure_shows_each_exponent_once(tmp_path: Path) -> None:
    found = {
        "p": [example(0.6, 0.4), example(0.7, 0.31), example(0.7, 0.8, "output_bias", "pair-mean")],
        "q": [example(0.6, 0.39), example(0.7, 0.9, note="refused: too few")],
    }
    page = atlas_figure.figure(found)
    drift = page.axes[2]
    shown = [
        value
        for container in drift.containers
        for value in np.asarray(container.lines[0].get_ydata()).tolist()  # type: ignore[attr-defined]
    ]
    assert sorted(shown) == [0.31, 0.39, 0.4]
    plt.close(page)
    paths = atlas_figure.draw(found, tmp_path)
    assert [path.name for path in paths] == ["atlas.svg", "atlas.png"]
    assert all(path.stat().st_size > 5000 for path in paths)


@pytest.mark.workflow
@pytest.mark.needs_mpi
def test_an_atlas_runs_end_to_end(tmp_path: Path) -> None:
    base = yaml.safe_load(runs.write_recorded(tmp_path, training={"width": [8, 12, 16, 20]}).read_text())
    del base["name"]
    path = write(tmp_path, base=base, variants={"plain": {}, "two": {"seed": 3}})
    written = runs.run("atlas", path, "--write-only", "--results", tmp_path / "results", cwd=tmp_path).stdout.split()
    assert [Path(file).name for file in written] == ["small-plain.yaml", "small-two.yaml"]
    done = runs.run("atlas", path, "--results", tmp_path / "results", cwd=tmp_path)
    assert "small/atlas.png" in done.stdout
    with open(tmp_path / "results" / "small" / "atlas.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["variant"] for row in rows} == {"plain", "two"}
    assert {row["quantity"] for row in rows} >= {"drift", "memory_rms", "output_fluctuation"}
    again = runs.run("atlas", path, "--results", tmp_path / "results", cwd=tmp_path)
    assert "unit-steps" not in again.stderr  # everything is there
