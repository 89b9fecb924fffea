"""Comparison of classifiers over data sets: accuracies with intervals, ranks, tests of equality.

J. Demsar, Statistical comparisons of classifiers over multiple data sets, JMLR 7 (2006); P90, P95 and PMA as in
M. Fernandez-Delgado et al., JMLR 15 (2014).
"""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from rnnlimits.files.store import open_complete
from rnnlimits.kernels.interface import Array

LEVEL = 0.05  # of tests; intervals have 1 - LEVEL
FEWEST_SETS = 2  # for ranks and tests


@dataclass(frozen=True)
class Score:
    """The result of one method on one data set: `correct` of `count` test series; validation: held-out accuracy."""

    data_set: str
    method: str
    correct: int
    count: int
    validation: float
    chosen: dict[str, float]
    about: dict[str, Any]
    seconds: float

    @property
    def accuracy(self) -> float:
        """Fraction of the test series that are classified correctly."""
        return self.correct / self.count

    @property
    def interval(self) -> tuple[float, float]:
        """Wilson's 95% interval for the accuracy, over the choice of a test part of this size."""
        bounds = stats.binomtest(self.correct, self.count).proportion_ci(1.0 - LEVEL, method="wilson")
        return float(bounds.low), float(bounds.high)


ABOUT = ("source", "grid", "folds", "train_count", "test_count", "dimension", "shortest", "longest")


def read(path: Path, identity: str) -> Score:
    """The score in a result file. Raises StudyError if it is missing, damaged or of another job."""
    with open_complete(path, "classification", classification_id=identity) as file:
        attrs = file.attrs
        truth, prediction = file["truth"][()], file["prediction"][()]
        chosen = json.loads(attrs["chosen"])
        best = int(file["validation_correct"][()].max())
        about = {name: attrs[name] if isinstance(attrs[name], str) else int(attrs[name]) for name in ABOUT}
        about["classes"] = len(file["label"])
        return Score(
            str(attrs["data_set"]),
            str(attrs["method"]),
            int(np.count_nonzero(truth == prediction)),
            len(truth),
            best / int(attrs["train_count"]),
            chosen,
            about,
            float(file["seconds"][()]),
        )


@dataclass(frozen=True)
class Summary:
    """Summary of one method over all data sets; p90, p95, pma as fractions."""

    method: str
    mean_accuracy: float
    p90: float
    p95: float
    pma: float
    mean_rank: float


@dataclass(frozen=True)
class Comparison:
    """Methods over data sets. friedman: p-value of equal ranks; critical: Nemenyi's difference of mean ranks; pairs:
    p-values of Wilcoxon's signed ranks after Holm. NaN, and no pairs, if there are too few data sets."""

    methods: tuple[str, ...]
    accuracy: Array
    summaries: tuple[Summary, ...]
    friedman: float
    critical: float
    pairs: dict[tuple[str, str], float]


def compare(methods: Sequence[str], accuracy: Array) -> Comparison:
    """Compare methods by accuracy (data set, method)."""
    relative = accuracy / np.maximum(accuracy.max(axis=1, keepdims=True), np.finfo(np.float64).tiny)
    rank = mean_ranks(accuracy)
    summaries = tuple(
        Summary(
            method,
            float(accuracy[:, index].mean()),
            float((relative[:, index] >= 0.90).mean()),
            float((relative[:, index] >= 0.95).mean()),
            float(relative[:, index].mean()),
            float(rank[index]),
        )
        for index, method in enumerate(methods)
    )
    enough = len(accuracy) >= FEWEST_SETS
    pairs = holm(wilcoxon(methods, accuracy)) if enough else {}
    critical = critical_difference(len(methods), len(accuracy)) if enough else math.nan
    return Comparison(tuple(methods), accuracy, summaries, friedman(accuracy), critical, pairs)


def mean_ranks(accuracy: Array) -> Array:
    """Mean over data sets of the rank of each method, 1 for the best; ties share the mean of their ranks."""
    return np.asarray(stats.rankdata(-accuracy, axis=1).mean(axis=0))


def friedman(accuracy: Array) -> float:
    """p-value of Friedman's test of equal ranks; NaN with fewer than two sets or three methods."""
    if len(accuracy) < FEWEST_SETS or accuracy.shape[1] < 3:
        return math.nan
    if np.all(accuracy == accuracy[:, :1]):
        return 1.0
    return float(stats.friedmanchisquare(*accuracy.T).pvalue)


def critical_difference(methods: int, sets: int, level: float = LEVEL) -> float:
    """Nemenyi's critical difference: two methods differ if their mean ranks differ by more."""
    studentized = float(stats.studentized_range.ppf(1.0 - level, methods, np.inf))
    return studentized / math.sqrt(2.0) * math.sqrt(methods * (methods + 1) / (6.0 * sets))


def wilcoxon(methods: Sequence[str], accuracy: Array) -> dict[tuple[str, str], float]:
    """p-value of Wilcoxon's signed ranks for every pair of methods; 1 if they are equal on all sets."""
    p_values = {}
    for (i, a), (j, b) in itertools.combinations(enumerate(methods), 2):
        difference = accuracy[:, i] - accuracy[:, j]
        p_values[a, b] = float(stats.wilcoxon(difference).pvalue) if np.any(difference) else 1.0
    return p_values


def holm(p_values: dict[tuple[str, str], float]) -> dict[tuple[str, str], float]:
    """p-values with Holm's correction for their number, which bounds the family-wise error by the level."""
    order = sorted(p_values, key=lambda pair: p_values[pair])
    corrected, largest = {}, 0.0
    for place, pair in enumerate(order):
        largest = max(largest, min(1.0, (len(order) - place) * p_values[pair]))
        corrected[pair] = largest
    return {pair: corrected[pair] for pair in p_values}


def groups(comparison: Comparison) -> list[tuple[int, int]]:
    """First and last place, by mean rank, of each maximal run of methods that do not differ by Nemenyi's test."""
    ranks = sorted(summary.mean_rank for summary in comparison.summaries)
    runs: list[tuple[int, int]] = []
    for first, rank in enumerate(ranks):
        last = max(place for place, other in enumerate(ranks) if other - rank <= comparison.critical)
        if last > first and (not runs or last > runs[-1][1]):
            runs.append((first, last))
    return runs
