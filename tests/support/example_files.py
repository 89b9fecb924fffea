"""Small files in the project's format, for the tests of storage."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np

from rnnlimits.files import seal
from rnnlimits.files.ensembles import build_ensemble
from rnnlimits.files.shards import TABLE
from rnnlimits.files.store import atomic_h5, put

PROVENANCE = {
    "study": "demo",
    "study_id": "0123456789ab",
    "study_yaml": "name: demo\nseed: 1\n",
    "precision": "float64",
    "seed": 1,
    "software_version": "0.1.0",
    "git_commit": "unknown",
    "python": "3.11",
    "numpy": "2.0",
    "host": "here",
    "command_line": "rnnlimits train",
    "created": "2024-01-01T00:00:00+00:00",
    "backend": "host",
    "device": "cpu",
}
CELL = {
    "cell_id": "ba9876543210",
    "cell": '{"width": 64}',
    "beta": 0.6,
    "width": 64,
    "steps_per_time": 64,
    "depth": 1,
    "alpha": 1.0,
    "horizon": 2.0,
}
TIMES = np.array([0.0, 1.0, 2.0])


def outputs(first: int, count: int) -> np.ndarray:
    """A number for each (replica, time, probe) that depends on the replica alone, not on the block."""
    replica, time, probe = np.ix_(np.arange(first, first + count), TIMES, np.arange(5))
    return np.sin(1.7 * replica) + time**2 * np.cos(probe)


def shard_path(root: Path, first: int, count: int) -> Path:
    return root / "shards" / "N00064-K00064_beta0.6_ba9876543210" / f"replicas-{first:05d}-{first + count - 1:05d}.h5"


def write_shard(root: Path, first: int, count: int, **attrs: object) -> Path:
    """A train-shard with a little of everything: joined, copied, whole numbers, text, scalar, volatile."""
    path = shard_path(root, first, count)
    rows = np.arange(first, first + count)
    with atomic_h5(path, "train-shard", {**PROVENANCE, **CELL, "first": first, "count": count, **attrs}) as file:
        put(file, "output", outputs(first, count), ("replica", "time", "probe"), "1", "output on probe histories")
        put(file, "pair", rows // 2, ("replica",), "1", "antithetic pair")
        put(file, "note", [f"run {row} é" for row in rows], ("replica",), "1", "a remark")
        put(file, "floor", 0.25, (), "1", "loss floor")
        put(file, "run_seconds", np.random.default_rng().random(count), ("replica",), "s", "run time", volatile=True)
        put(file, "time", TIMES, ("time",), "1", "training time t")
        put(file, "replica", rows, ("replica",), "1", "replica")
    return path


def write_shards(root: Path, replicas: int = 8, block: int = 2) -> list[Path]:
    return [write_shard(root, first, block) for first in range(0, replicas, block)]


def write_ensemble(root: Path, shards: list[Path]) -> Path:
    path = root / "train" / "N00064-K00064" / "beta0.6-depth1.h5"
    build_ensemble(root, shards, path, "train-ensemble", {**PROVENANCE, **CELL}, {"cell_id": CELL["cell_id"]})
    return path


def forge(path: Path, edit: Callable[[h5py.File], object]) -> None:
    """Change a finished file and give it a valid checksum again, as somebody hostile would."""
    path.write_bytes(path.read_bytes()[: -seal.LENGTH])
    with h5py.File(path, "r+") as file:
        edit(file)
    path.write_bytes(path.read_bytes() + seal.seal(path.read_bytes()))


def without_list(ensemble: Path) -> Path:
    """The ensemble as older versions of this software wrote it: without the list of the shards that were joined."""
    forge(ensemble, lambda file: [file.__delitem__(name) for name in reversed(TABLE)])
    return ensemble
