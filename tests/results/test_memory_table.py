"""The two-way table of the memory: both directions converge, and the file says what the terminal says."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
import runs
from processors import reference

from rnnlimits import study as studies
from rnnlimits.results import memory_table
from rnnlimits.training.layout import Layout


def test_the_table_converges_in_both_directions(tmp_path: Path) -> None:
    """At rest the distance is N^-1/2 times a constant (ratio 4 from 32 to 512: 64 networks know it to 15%)."""
    study = studies.load(runs.write_study(tmp_path, training={"width": [32, 512]}, probes={"count": 8, "length": 40}))
    layout = Layout.of(study, tmp_path)
    shown = memory_table.run(study, layout, reference).splitlines()
    with open(layout.memory_csv, encoding="utf-8", newline="") as file:
        rows = {(int(row["width"]), row["updates"]): float(row["distance"]) for row in csv.DictReader(file)}
    assert shown[0].split() == ["updates", "N=32", "N=512"]
    assert rows[512, "0"] == rows[32, "0"]  # both start from 0, whatever the width
    assert rows[512, "0"] > 5 * rows[512, "16"]
    assert rows[32, "16"] / rows[512, "16"] == pytest.approx(4, rel=0.6)
    assert rows[32, "law"] / rows[512, "law"] == pytest.approx(4, rel=0.6)
    assert shown[-1].split()[-1] == f"{rows[512, 'law']:.3g}"


def test_as_a_user_runs_it(tmp_path: Path) -> None:
    study = runs.write_study(tmp_path)
    done = runs.run("memory", study, "--results", tmp_path / "results")
    assert "W1 of laws" in done.stdout
    assert (tmp_path / "results" / "tiny" / "memory.csv").exists()
