"""Rates as rows, as rates.h5 and rates.csv, and as a table for a terminal."""

from __future__ import annotations

import csv
import io
import math
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from rnnlimits.base import tables
from rnnlimits.files import durable, store
from rnnlimits.statistics.verdicts import ExpectedKind, Verdict

COLUMNS = (
    "study",
    "quantity",
    "estimator",
    "variable",
    "at",
    "exponent",
    "stderr",
    "ci_low",
    "ci_high",
    "prefactor",
    "points",
    "replicas",
    "expected",
    "expected_kind",
    "verdict",
    "note",
    "study_id",
)


REFUSED = "refused: "  # the beginning of the note if no law could be fitted, in rates.csv too


def refusal(reason: str, *remarks: str) -> str:
    """The note of a rate that is refused for this reason, with further remarks; empty remarks are skipped."""
    return "; ".join((REFUSED + reason, *filter(None, remarks)))


@dataclass(frozen=True)
class Rate:
    """One row of rates.csv (COLUMNS) and the points behind it.

    exponent: p in prefactor * variable^-p (law "power") or prefactor * exp(-p variable) ("geometric"), NaN if it does
    not exist; the ratio of a measured to a predicted constant (law "ratio"). verdict: consistent, inconsistent or
    undetermined (then `note` says why). chi2_p: probability of residuals this large. study_id: identity of the study.
    """

    study: str
    quantity: str
    estimator: str
    variable: str
    at: str
    exponent: float = math.nan
    stderr: float = math.nan
    ci_low: float = math.nan
    ci_high: float = math.nan
    prefactor: float = math.nan
    points: int = 0
    replicas: int = 0
    expected: float = math.nan
    expected_kind: ExpectedKind = ""
    verdict: Verdict = "undetermined"
    note: str = ""
    law: str = "power"
    chi2_p: float = math.nan
    cloud: tuple[RatePoint, ...] = field(default=(), repr=False)
    study_id: str = ""

    @property
    def refused(self) -> bool:
        """Whether no law could be fitted; `reason` says why."""
        return self.note.startswith(REFUSED)

    @property
    def reason(self) -> str:
        """The note without the word that marks a refusal."""
        return self.note.removeprefix(REFUSED)

    @property
    def where(self) -> Mapping[str, str]:
        """The fixed coordinates: {"beta": "0.75", "N": "64"}; a word that is not a coordinate ("all") has value ""."""
        parts = (part.partition("=") for part in self.at.split())
        return {key: value for key, _, value in parts}

    @property
    def single(self) -> bool:
        """Whether this is the row of a single probe; tables do not show such rows."""
        return "probe" in self.where


@dataclass(frozen=True)
class RatePoint:
    """One point of a rate. The local exponent, with its 95% interval, is that between this used point and the next."""

    variable: float
    estimate: float
    stderr: float
    used: bool
    replicas: int
    local_slope: float = math.nan
    local_low: float = math.nan
    local_high: float = math.nan


# --- files -----------------------------------------------------------------------------------------------------

RATE_VARIABLES = {
    "study": "name of the study",
    "quantity": "what is measured",
    "estimator": "how it is estimated",
    "variable": "what goes to infinity",
    "at": "fixed coordinates",
    "exponent": "p in prefactor variable^-p, or the rate p in prefactor exp(-p variable), or a ratio of constants",
    "stderr": "standard error of the exponent",
    "ci_low": "lower end of the 95% interval of the exponent",
    "ci_high": "upper end of the 95% interval of the exponent",
    "prefactor": "prefactor of the fitted law",
    "points": "points used by the fit",
    "replicas": "smallest number of trainings, or coupled pairs, behind a used point",
    "expected": "expected exponent",
    "expected_kind": "theorem, heuristic, exact, or empty",
    "verdict": "consistent, inconsistent or undetermined",
    "note": "what a reader of the number must know",
    "law": "power, geometric, or ratio (of a measured constant to the predicted one)",
    "chi2_p": "chance of residuals this large if one law holds",
}
POINT_VARIABLES = {
    "variable": "value of what goes to infinity",
    "estimate": "estimate (minus its root for a negative debiased square)",
    "stderr": "standard error of the estimate",
    "used": "1 if the fit uses the point",
    "replicas": "trainings, or coupled pairs, behind the point",
    "local_slope": "exponent between this used point and the next",
    "local_low": "lower end of its 95% interval",
    "local_high": "upper end of its 95% interval",
}


def write_h5(path: Path, attrs: Mapping[str, object], rates: Sequence[Rate]) -> None:
    """Write the rates with every point behind them, complete or not at all; attrs: root attributes."""
    points = [point for rate in rates for point in rate.cloud]
    owner = np.array([index for index, rate in enumerate(rates) for _ in rate.cloud], dtype=np.int64)
    with store.atomic_h5(path, "rates", attrs) as file:
        store.put(file, "rate", np.arange(len(rates)), ("rate",), "1", "row of rates.csv")
        for name, about in RATE_VARIABLES.items():
            store.put(file, name, [getattr(rate, name) for rate in rates], ("rate",), "1", about)
        store.put(file, "point_rate", owner, ("point",), "1", "index of the rate that the point belongs to")
        for name, about in POINT_VARIABLES.items():
            store.put(file, f"point_{name}", [getattr(p, name) for p in points], ("point",), "1", about)


def write_csv(path: Path, rates: Iterable[Rate]) -> None:
    """Write rates.csv, complete or not at all."""
    durable.require_folder(path)
    durable.write_bytes(path, to_csv(rates).encode())


def to_csv(rates: Iterable[Rate]) -> str:
    """The rows as CSV text with a header; numbers that do not exist are empty."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for rate in rates:
        writer.writerow(cells(rate))
    return text.getvalue()


def cells(rate: Rate) -> list[object]:
    """One row of rates.csv."""
    return [_cell(getattr(rate, name)) for name in COLUMNS]


def _cell(value: object) -> object:
    if isinstance(value, float):
        return "" if math.isnan(value) else f"{value:.6g}"
    return value


def read(path: Path, **expected: object) -> list[Rate]:
    """The rates in a rates.h5, with their points. Raises StudyError if it is not a complete file of rates."""
    with store.open_complete(path, "rates", **expected) as file:
        fields = {name: _values(file[name]) for name in RATE_VARIABLES}
        points = {name: _values(file[f"point_{name}"]) for name in POINT_VARIABLES}
        owner = file["point_rate"][()].tolist()
        study_id = str(store.attribute_of(file, "study_id") or "")
    points["used"] = [bool(used) for used in points["used"]]
    clouds: dict[int, list[RatePoint]] = {}
    for index, row in zip(owner, zip(*points.values(), strict=True), strict=True):
        clouds.setdefault(index, []).append(RatePoint(**dict(zip(points, row, strict=True))))
    rows = zip(*fields.values(), strict=True)
    return [
        Rate(**dict(zip(fields, row, strict=True)), cloud=tuple(clouds.get(index, ())), study_id=study_id)
        for index, row in enumerate(rows)
    ]


def _values(dataset: store.Variable) -> list[object]:
    """A variable's values as plain Python objects."""
    return list(dataset.values().tolist())


# --- table -----------------------------------------------------------------------------------------------------


def table(rates: Sequence[Rate], width: int = 100, room: int = tables.UNLIMITED) -> str:
    """A plain-text table of at most `room` columns, followed by each note of its rows once, `width` wide.

    Rows of single probes are only in the files.
    """
    rates = [rate for rate in rates if not rate.single]
    notes = list(dict.fromkeys(rate.note for rate in rates if rate.note))
    header = ("", "exponent ± half", "95% interval", "expected", "verdict")
    rows = [_row(rate, notes) for rate in rates]
    first, *lines = _lines(header, rows, room)
    heading, body = None, []
    for rate, line in zip(rates, lines, strict=True):
        if heading != (heading := f"{rate.quantity} in {rate.variable} ({rate.estimator})"):
            body.append(heading)
        body.append(line)
    return "\n".join([*filter(None, [first]), *body, *_footnotes(notes, width)])


def _lines(header: tuple[str, ...], rows: Sequence[tuple[str, ...]], room: int) -> list[str]:
    """Header and rows in columns; if too narrow, without the intervals (± shows them), or as blocks without header."""
    without = [(*row[:2], *row[3:]) for row in (header, *rows)]
    for cells in ([header, *rows], without):
        sizes = [max(map(len, column)) for column in zip(*cells, strict=True)]
        lines = [_aligned(row, sizes) for row in cells]
        if tables.fits(lines, room):
            return lines
    return ["", *("\n".join(tables.block(("",) * len(header), row, room)) for row in rows)]


def _row(rate: Rate, notes: Sequence[str]) -> tuple[str, ...]:
    number = interval = "-"
    if not math.isnan(rate.exponent):
        digits = 3 if rate.stderr >= 0.0005 else 4
        number = f"{rate.exponent:.{digits}f} ± {0.5 * (rate.ci_high - rate.ci_low):.{digits}f}"
        interval = f"{rate.ci_low:.{digits}f} to {rate.ci_high:.{digits}f}"
    expected = "-" if math.isnan(rate.expected) else f"{rate.expected:.3g} ({rate.expected_kind})"
    mark = f" [{notes.index(rate.note) + 1}]" if rate.note else ""
    return f"  {rate.at}", number, interval, expected, rate.verdict + mark


def _aligned(row: tuple[str, ...], sizes: Sequence[int]) -> str:
    return "  ".join(cell.ljust(size) for cell, size in zip(row, sizes, strict=True)).rstrip()


def _footnotes(notes: Sequence[str], width: int) -> Iterator[str]:
    for number, note in enumerate(notes, 1):
        yield from textwrap.wrap(f"[{number}] {note}", width, subsequent_indent="    ")
