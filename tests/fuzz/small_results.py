"""Small results in calm surroundings, made once in each process, with which others are compared."""

from __future__ import annotations

import atexit
import os
import random
import shutil
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from draws import Done, Fault, command

from rnnlimits.results.inspection import digest

STUDY: dict[str, Any] = {
    "name": "drawn",
    "seed": 1,
    "chain": {"kind": "recorded", "file": "series.csv", "columns": ["p", "q"]},
    "network": {"b": {"offset": 0.2, "slope": 0.6}},
    "training": {
        "beta": [0.75], "width": [4, 6, 8, 12], "replicas": 16, "replicas_per_block": 8, "loss_bins": 2,
        "horizon": 1.0, "checkpoints": [0.0, 1.0],
    },
    "probes": {"count": 2, "length": 4},
    "draws": {"blocks": 2, "chains": 4, "steps": 10, "couplings": 8, "coupling_steps": 6, "sample": 2},
    "limit": {"nodes": 4},
}  # fmt: skip
RESULTS = Path("results") / STUDY["name"]
STAGES = ("draw", "train", "limit", "poisson", "rates")


def write_study(folder: Path, **changes: Any) -> Path:
    """The study file and its series, with keys of the top level replaced, those of `training` updated."""
    source = random.Random(1)
    rows = (f"{source.gauss(0, 1)!r},{source.gauss(0, 1)!r}" for _ in range(24))
    (folder / "series.csv").write_text("\n".join(["p,q", *rows, ""]))
    training = {**STUDY["training"], **changes.pop("training", {})}
    path = folder / "drawn.yaml"
    path.write_text(yaml.safe_dump({**STUDY, **changes, "training": training}))
    return path


def good(done: Done) -> Done:
    """What a command did that must succeed."""
    if done.code != 0:
        raise Fault(f"exit code {done.code} in calm surroundings: {done.err}")
    return done


@cache
def calm(seed: int) -> Path:
    """A folder with the study and finished results, without pictures."""
    folder = temporary()
    study = write_study(folder, seed=seed)
    (folder / RESULTS).mkdir(parents=True)
    good(command(folder, "check", study.name, "--resolved", RESULTS / "study.yaml"))
    for stage in STAGES:
        good(command(folder, stage, study.name, "--backend", "numpy"))
    return folder


@cache
def pictured() -> Path:
    """The same with pictures, which take longer than all the rest, for the report."""
    folder = temporary() / "pictured"
    shutil.copytree(calm(1), folder)
    good(command(folder, "figures", "drawn.yaml", "--backend", "numpy"))
    return folder


def temporary() -> Path:
    """A folder that is removed when this process ends."""
    folder = Path(tempfile.mkdtemp(prefix="fuzz-calm-")).resolve()
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def digests(results: Path) -> dict[str, str]:
    """Digest of each HDF5 file of a results folder."""
    return {line.split(maxsplit=1)[1]: line.split(maxsplit=1)[0] for line in digest(results)}


def copied(source: Path, draw_folder: Path) -> Path:
    """A copy of a calm folder below the folder of a draw."""
    folder = draw_folder / "copy"
    shutil.copytree(source, folder, symlinks=True)
    return folder


def files(folder: Path, pattern: str = "*.h5") -> list[Path]:
    """Files of the results that match, sorted, relative to the folder of results."""
    root = folder / RESULTS
    return sorted(path.relative_to(root) for path in root.rglob(pattern) if ".locks" not in path.parts)


def is_root() -> bool:
    """Whether permissions do not count."""
    return os.geteuid() == 0
