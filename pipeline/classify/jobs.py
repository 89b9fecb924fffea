"""The jobs of a comparison: one for each data set and method, in parts where its grid takes long.

They follow from sizes by a fixed cost model, never from measured times: the same data give the same jobs everywhere.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rnnlimits.base.errors import StudyError
from rnnlimits.classify import datasets
from rnnlimits.classify.datasets import DataSet
from rnnlimits.classify.methods import METHODS, Candidate, Method
from rnnlimits.classify.protocol import COSTS, SEED

VERSION = 1  # of the protocol; increase it when the same data give other results
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
MOST_SECONDS = 900.0  # for one method on one set, above which the coarse grid is used instead
PART_SECONDS = 60.0  # for one part of a job
PAIR_STEP, FIT, FIT_PAIR = 1.5e-9, 1.2e-3, 4e-8  # seconds: a step of a pair, a machine, for each pair of its series
SMALL = 100  # largest number of training series with ten folds
FOLDER = "classification"


@dataclass(frozen=True, eq=False)
class Job:
    """One method on one data set. level: "full" or "coarse"; parts: candidates first .. last - 1 of each."""

    data: DataSet
    method: Method
    level: str
    folds: int
    candidates: tuple[Candidate, ...]
    parts: tuple[tuple[int, int], ...]
    root: Path

    @property
    def name(self) -> str:
        """Name of the data set and the method."""
        return f"{self.data.name}/{self.method.name}"

    @property
    def identity(self) -> str:
        """12 hexadecimal digits: a hash of everything that changes the result."""
        about = [VERSION, self.data.digest, self.method.name, self.candidates, COSTS, self.folds, SEED]
        return hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()[:12]

    @property
    def result(self) -> Path:
        """Path of the result; another grid or other data have another file."""
        return self.root / self.data.name / f"{self.method.name}-{self.identity}.h5"

    def part(self, number: int) -> Path:
        """Path of a part of the validation."""
        return self.root / "parts" / f"{self.data.name}-{self.method.name}-{self.identity}" / f"part-{number:02d}.h5"

    @property
    def part_paths(self) -> list[Path]:
        """Files of the parts; empty for a job that is not divided."""
        return [self.part(number) for number in range(len(self.parts))] if len(self.parts) > 1 else []


def plan(names: Sequence[str], archive: Path | None, results: Path, quick: bool) -> list[Job]:
    """The jobs for these data sets (all if no names are given), the longest first.

    Raises StudyError for a data set that is unknown or cannot be read.
    """
    set_names = list(dict.fromkeys(names or datasets.names(archive)))
    for name in set_names:
        if not NAME.fullmatch(name):
            raise StudyError(f"{name!r}: is not the name of a data set; letters, digits and _.- are allowed")
    data_sets = (datasets.load(name, archive) for name in set_names)
    return sorted(of_sets(data_sets, results, quick), key=lambda job: -_seconds(job.data, job.method, job.candidates))


def of_sets(data_sets: Iterable[DataSet], results: Path, quick: bool) -> list[Job]:
    """A job for every set and method."""
    return [_job(data, method, results / FOLDER, quick) for data in data_sets for method in METHODS.values()]


def fold_count(train_count: int) -> int:
    """Ten for a small training part, five for a large one, never more than the number of series."""
    return min(10 if train_count <= SMALL else 5, train_count)


def _job(data: DataSet, method: Method, root: Path, quick: bool) -> Job:
    level, longest = "coarse" if quick else "full", data.lengths[1]
    candidates = method.candidates(level, longest)
    if level == "full" and _seconds(data, method, candidates) > MOST_SECONDS:
        level, candidates = "coarse", method.candidates("coarse", longest)
    count = max(1, min(len(candidates), round(_seconds(data, method, candidates) / PART_SECONDS)))
    ends = [len(candidates) * number // count for number in range(count + 1)]
    parts = tuple(itertools.pairwise(ends))
    return Job(data, method, level, fold_count(len(data.train)), candidates, parts, root)


def _seconds(data: DataSet, method: Method, candidates: Sequence[Candidate]) -> float:
    """Approximate time of the validation on one core of 2020, in seconds."""
    n, k = len(data.train), fold_count(len(data.train))
    fits = k * len(COSTS) * (FIT + FIT_PAIR * (n * (k - 1) / k) ** 2)
    steps = 1.0 if method.reads_vectors else float(np.mean([len(series) for series in data.train]))
    layers = sum(2.0 * candidate.get("layers", candidate.get("depth", 1.0)) - 1.0 for candidate in candidates)
    return layers * 0.5 * n**2 * steps * PAIR_STEP + len(candidates) * fits
