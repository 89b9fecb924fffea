"""The table of a comparison as text and CSV, its figure, and their paths."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from rnnlimits.classify import scores
from rnnlimits.classify.jobs import FOLDER, Job
from rnnlimits.classify.methods import METHODS
from rnnlimits.classify.scores import LEVEL, Comparison, Score
from rnnlimits.files import durable

COLUMNS = (
    *("data_set", "method", "source", "train_count", "test_count", "dimension", "shortest", "longest", "classes"),
    *("grid", "folds", "validation", "correct", "accuracy", "low", "high", "chosen", "seconds"),
)
SUMMARY_COLUMNS = ("method", "sets", "mean_accuracy", "P90", "P95", "PMA", "mean_rank")


def paths(results: Path) -> dict[str, Path]:
    """Paths of all files of the report, by name."""
    names = ("scores.csv", "summary.csv", "scores.txt", "classification.svg", "classification.png")
    return {name: results / FOLDER / name for name in names}


def write(jobs: Sequence[Job], results: Path) -> str:
    """Read the results of all jobs, write table and figure; returns the table. Raises StudyError if one is missing."""
    every = [scores.read(job.result, job.identity) for job in jobs]
    comparison = compared(every)
    text = table(every, comparison)
    places = paths(results)
    durable.write_bytes(places["scores.csv"], _scores_csv(every).encode())
    durable.write_bytes(places["summary.csv"], _summary_csv(comparison).encode())
    durable.write_bytes(places["scores.txt"], (text + "\n").encode())
    from rnnlimits.classify import figure  # plotting takes a second to import

    figure.draw(every, comparison, {path.suffix[1:]: path for path in list(places.values())[3:]})
    return text


def sets_of(results: Sequence[Score]) -> list[str]:
    """Names of the data sets, sorted."""
    return sorted({score.data_set for score in results}, key=str.lower)


def compared(results: Sequence[Score]) -> Comparison:
    """The comparison of all methods over all sets."""
    accuracy = {(score.data_set, score.method): score.accuracy for score in results}
    methods = list(METHODS)
    return scores.compare(
        methods, np.array([[accuracy[name, method] for method in methods] for name in sets_of(results)])
    )


def table(results: Sequence[Score], comparison: Comparison) -> str:
    """Accuracies with their intervals, then their summary."""
    by_place = {(score.data_set, score.method): score for score in results}
    rows = [["accuracy (95%)", *(METHODS[method].title for method in comparison.methods), "", ""]]
    for name in sets_of(results):
        about = by_place[name, comparison.methods[0]]
        cells = [_accuracy(by_place[name, method]) for method in comparison.methods]
        rows.append([name, *cells, _size(about), _grids([by_place[name, m] for m in comparison.methods])])
    rows += [[], *_summary_rows(comparison)]
    return "\n".join([*_aligned(rows), "", *_tests(comparison)])


def _accuracy(score: Score) -> str:
    low, high = score.interval
    return f"{score.accuracy:.3f} ({low:.3f}-{high:.3f})"


def _size(score: Score) -> str:
    about = score.about
    ends = (about["shortest"], about["longest"])
    steps = str(ends[0]) if ends[0] == ends[1] else f"{ends[0]}..{ends[1]}"
    return (
        f"{about['train_count']}/{about['test_count']}, T {steps}, d {about['dimension']}, {about['classes']} classes"
    )


def _grids(members: Sequence[Score]) -> str:
    coarse = [score.method for score in members if score.about["grid"] != "full"]
    return f"coarse grid: {', '.join(coarse)}" if coarse else ""


def _summary_rows(comparison: Comparison) -> list[list[str]]:
    members = comparison.summaries
    return [
        ["mean accuracy", *(f"{one.mean_accuracy:.3f}" for one in members)],
        ["mean rank", *(f"{one.mean_rank:.2f}" for one in members)],
        ["P90", *(f"{one.p90:.0%}" for one in members)],
        ["P95", *(f"{one.p95:.0%}" for one in members)],
        ["PMA", *(f"{one.pma:.1%}" for one in members)],
    ]


def _tests(comparison: Comparison) -> list[str]:
    if not comparison.pairs:
        return ["one data set: no ranks to compare"]
    lines = [
        f"Friedman: p = {comparison.friedman:.2g} that all rank alike over {len(comparison.accuracy)} sets; "
        f"critical difference of mean ranks (Nemenyi, {LEVEL:.0%}): {comparison.critical:.2f}",
        "Wilcoxon's signed ranks, p after Holm:",
    ]
    return [*lines, *(f"  {a} - {b}: {p:.2g}" for (a, b), p in comparison.pairs.items())]


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    count = max(len(row) for row in rows)
    widths = [max((len(row[i]) for row in rows if i < len(row)), default=0) for i in range(count)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=False)).rstrip() for row in rows]


def _scores_csv(results: Sequence[Score]) -> str:
    order = list(METHODS)
    rows = sorted(results, key=lambda score: (score.data_set.lower(), order.index(score.method)))
    return _csv(COLUMNS, [_cells(score) for score in rows])


def _cells(score: Score) -> list[object]:
    low, high = score.interval
    derived = {"low": f"{low:.6g}", "high": f"{high:.6g}", "chosen": json.dumps(score.chosen)}
    measured = {"accuracy": f"{score.accuracy:.6g}", "validation": f"{score.validation:.6g}"}
    measured |= {"seconds": f"{score.seconds:.3g}"}
    values = {**score.about, **derived, **measured}
    return [values[name] if name in values else getattr(score, name) for name in COLUMNS]


def _summary_csv(comparison: Comparison) -> str:
    rows = [
        [one.method, len(comparison.accuracy), *(f"{getattr(one, name.lower()):.6g}" for name in SUMMARY_COLUMNS[2:])]
        for one in comparison.summaries
    ]
    return _csv(SUMMARY_COLUMNS, rows)


def _csv(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return text.getvalue()
