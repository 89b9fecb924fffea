"""docs/format.md against files that the pipeline writes: names, dimensions, types, units; and its examples."""

from __future__ import annotations

import math
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import runs
from format_page import SHORT, TEXT, documented
from interrupted import OfRich, OfTraining, OfTwin, Ticks
from runs import HANG

from rnnlimits import study as studies
from rnnlimits.elman.grams import gram_to
from rnnlimits.files.provenance import FIELDS, SOFTWARE
from rnnlimits.files.store import open_complete
from rnnlimits.kernels import processor
from rnnlimits.ranks.checkpoints import Pace
from rnnlimits.ranks.parallel import Stopped
from rnnlimits.results.inspection import ATTRIBUTES, OF_NO_STUDY, validate

ENSEMBLE = "train/N00016-K00016/beta0.75-depth1.h5"
FILES = {
    "train-shard": "shards/N00016-K00016_beta0.75-depth1_*/replicas-00000-00001.h5",
    "train-ensemble": ENSEMBLE,
    "draw-shard": "shards/draw_*/block-0000.h5",
    "twin-shard": "shards/twin-K00016_*/paths-00000-00000.h5",
    "twin-ensemble": "twin/K00016.h5",
    "rich-shard": "shards/rich-K00016-eps0.5_*/paths-00000-00003.h5",
    "rich-ensemble": "rich/K00016-eps0.5.h5",
    "tangents-shard": "shards/tangents-K00016-eps0.5_*/paths-00000-00001.h5",
    "tangents-ensemble": "tangents/K00016-eps0.5.h5",
    "draw": "draw.h5",
    "limit": "limit.h5",
    "poisson": "poisson.h5",
    "rates": "rates.h5",
    "kernel-shard": "../tiny-rntk/shards/kernel-n00008_erf-L1_*/replicas-000000-000049.h5",
    "kernel-ensemble": "../tiny-rntk/kernel/n00008/erf-L1.h5",
    "descent-shard": "../tiny-rntk/shards/descent-n00016_erf-L1_*/replicas-000000-000011.h5",
    "descent-ensemble": "../tiny-rntk/descent/n00016/erf-L1.h5",
    "rntk-limit": "../tiny-rntk/kernels.h5",
    "gram-shard": "../gram/shards/gram_*/rows-0000000-0000003.h5",
    "gram-ensemble": "../gram/gram.h5",
    "train-state": "checkpoints/N00016-K00016_beta0.75-depth1_*/replicas-00000-00001.h5",
    "twin-state": "checkpoints/twin-K00016_*/paths-00000-00000.h5",
    "rich-state": "checkpoints/rich-K00016-eps0.5_*/paths-00000-00003.h5",
}
# The precision in which units are kept is the back end's.
COMPILED = ("train-state", "rich-state")
KINDS = [pytest.param(kind, marks=pytest.mark.needs_compiler if kind in COMPILED else []) for kind in FILES]


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All stages of a tiny study."""
    folder = tmp_path_factory.mktemp("format")
    rich = {"follow": True, "tangents": 2, "directions": 4, "c_nodes": 2}
    study = runs.write_study(folder, twin={"follow": True}, rich=rich, training={"kernel": True})
    for stage in ("draw", "train", "twin", "limit", "poisson", "rates"):
        runs.run(stage, study, "--results", folder / "results")
        if stage == "twin":
            runs.run("work", study, "rich", "tangents", "--results", folder / "results")
    for work in (OfTraining, OfTwin, OfRich):
        with pytest.raises(Stopped):
            work(studies.load(study), processor(), folder / "results").live(Ticks(1, Stopped), Pace(math.inf))
    networks = runs.write_rntk(folder)
    for stage in ("train", "rates"):
        runs.run(stage, networks, "--results", folder / "results")
    gram_to(folder / "results" / "gram", np.ones((4, 5)), kernel="both")
    return folder / "results" / "tiny"


def file_of(results: Path, kind: str) -> Path:
    name = FILES[kind]
    beside = name.startswith("../")
    (path,) = (results.parent if beside else results).glob(name.removeprefix("../"))
    return path


@pytest.mark.parametrize("kind", KINDS)
def test_the_tables_are_what_files_hold(results: Path, kind: str) -> None:
    fields, optional = documented(kind)
    path = file_of(results, kind)
    with open_complete(path, kind) as file:
        found = {
            name: (", ".join(data.dims), SHORT[data.dtype.name], data.attrs["units"])
            for name, data in file.variables.items()
            if data.attrs["long_name"] != f"index of {name}"
        }
    assert found.keys() - fields.keys() == set()
    assert fields.keys() - found.keys() <= optional
    assert found == {name: fields[name] for name in found}


@pytest.mark.parametrize("kind", KINDS)
def test_the_tables_of_attributes_are_what_files_have(results: Path, kind: str) -> None:
    path = file_of(results, kind)
    known = set(re.findall(r"^\| `(\w+)` \|", TEXT, re.M))
    with open_complete(path, kind) as file:
        assert set(file.attrs) - known == set()
        always = SOFTWARE if kind in OF_NO_STUDY else FIELDS
        assert set(always) | set(ATTRIBUTES[kind]) <= set(file.attrs)


def test_the_results_are_valid(results: Path) -> None:
    assert validate(results.parent) == []


@pytest.mark.parametrize("code", re.findall(r"^```python\n(.*?)^```", TEXT, re.M | re.S))
def test_the_examples_run(results: Path, code: str) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        cwd=results.parent.parent,
        env={**os.environ, "PYTHONPATH": str(runs.ROOT / "src")},
        capture_output=True,
        text=True,
        timeout=HANG,
    )
    assert done.returncode == 0, done.stderr
