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
from rnnlimits.base.errors import StudyError
from rnnlimits.files import durable, store
from rnnlimits.statistics import older_rates
from rnnlimits.statistics.verdicts import ExpectedKind, Verdict

COLUMNS = (
    "study",
    "quantity",
    "estimator",
    "variable",
    "at",
    "beta",
    "eps",
    "N",
    "K",
    "time",
    "exponent",
    "stderr",
    "ci_low",
    "ci_high",
    "prefactor",
    "points",
    "replicas",
    "predicted",
    "predicted_stderr",
    "expected",
    "expected_kind",
    "corrected",
    "corrected_low",
    "corrected_high",
    "chi2",
    "chi2_dof",
    "chi2_p",
    "p",
    "p_adjusted",
    "verdict",
    "note",
    "files",
    "study_id",
    "version",
)
JUDGED = ("corrected", "corrected_low", "corrected_high", "p_adjusted", "verdict")  # columns of rates.csv alone
COLUMNS_IN_TIME = tuple(name for name in COLUMNS if name not in JUDGED)
LARGEST_WHOLE = 1e15  # whole numbers up to it, such as widths, are written with all their digits
VERSION = 3  # of the rows: the column `version` of rates.csv, the attribute rates_version of rates.h5


BESIDE = "Other estimates of the same facts, from the same networks and paths:"
REFUSED = "refused: "  # the beginning of the note if no law could be fitted, in rates.csv too


def refusal(reason: str, *remarks: str) -> str:
    """The note of a rate that is refused for this reason, with further remarks; empty remarks are skipped."""
    return "; ".join((REFUSED + reason, *filter(None, remarks)))


@dataclass(frozen=True)
class Rate:
    """One row of rates.csv (COLUMNS) and the points behind it.

    exponent: p in prefactor * variable^-p (law "power") or prefactor * exp(-p variable) ("geometric") over the study's
    own points, NaN if it does not exist; the ratio of a measured to a predicted constant (law "ratio"). predicted: what
    it should be over the same points. expected: its value at infinity. corrected: the exponent at infinity as the
    points show it, where there is no prediction. chi2, chi2_dof, chi2_p: all points against their predictions jointly.
    p: of the row against its prediction; p_adjusted: for the number of rows of the study. doubt: why an agreement would
    not count (statistics/families.py makes a verdict and a note of it). line_p: probability of residuals this large if
    one law holds. time: training time at which networks are looked at, the end of the interval for a supremum or a mean
    in time. files: those behind the row, relative to the results folder, in the shell's braces. in_time: a row of
    rates_in_time.csv, which is not judged. study_id: identity of the study. version: of these columns.
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
    predicted: float = math.nan
    predicted_stderr: float = math.nan
    expected: float = math.nan
    expected_kind: ExpectedKind = ""
    corrected: float = math.nan
    corrected_low: float = math.nan
    corrected_high: float = math.nan
    chi2: float = math.nan
    chi2_dof: int = 0
    chi2_p: float = math.nan
    p: float = math.nan
    p_adjusted: float = math.nan
    verdict: Verdict = "no prediction"
    note: str = ""
    law: str = "power"
    line_p: float = math.nan
    time: float = math.nan
    files: str = ""
    in_time: bool = False
    cloud: tuple[RatePoint, ...] = field(default=(), repr=False)
    study_id: str = ""
    version: int = VERSION
    doubt: str = field(default="", repr=False)

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
    def beta(self) -> float:
        """The fixed beta; NaN if none is fixed."""
        return self._fixed("beta")

    @property
    def eps(self) -> float:
        """The fixed richness N^-(1 - beta); NaN if none is fixed."""
        return self._fixed("eps")

    @property
    def N(self) -> float:
        """The fixed width, perhaps infinite; NaN if none is fixed."""
        return self._fixed("N")

    @property
    def K(self) -> float:
        """The fixed number of steps for each unit of time; NaN if none is fixed."""
        return self._fixed("K")

    def _fixed(self, name: str) -> float:
        try:
            return float(self.where.get(name, "nan"))
        except ValueError:  # a word of some other experiment
            return math.nan

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
    predicted: float = math.nan
    predicted_stderr: float = math.nan


# --- files -----------------------------------------------------------------------------------------------------

RATE_VARIABLES = {
    "study": "name of the study",
    "quantity": "what is measured",
    "estimator": "how it is estimated",
    "variable": "what goes to infinity",
    "at": "fixed coordinates",
    "exponent": "p in prefactor variable^-p, or the rate p in prefactor exp(-p variable), or a ratio, at these points",
    "stderr": "standard error of the exponent",
    "ci_low": "lower end of the 95% interval of the exponent",
    "ci_high": "upper end of the 95% interval of the exponent",
    "prefactor": "prefactor of the fitted law",
    "points": "points used by the fit",
    "replicas": "smallest number of trainings, or coupled pairs, behind a used point",
    "predicted": "what the exponent should be over the same points",
    "predicted_stderr": "standard error of the predicted exponent",
    "expected": "exponent at infinity, by theory",
    "expected_kind": "theorem, heuristic, exact, or empty",
    "corrected": "exponent at infinity by a fit with corrections to scaling, where there is no prediction",
    "corrected_low": "lower end of its 95% interval",
    "corrected_high": "upper end of its 95% interval",
    "chi2": "all points against their predictions jointly: Hotelling's statistic",
    "chi2_dof": "combinations of points that it tests; 0 without predicted points",
    "chi2_p": "chance of a statistic this large if the prediction holds",
    "p": "chance of a difference this large if the prediction of the row holds",
    "p_adjusted": "the same, adjusted for the number of rows of the study (Holm)",
    "verdict": "as predicted, not as predicted, cannot tell, or no prediction",
    "note": "what a reader of the number must know",
    "law": "power, geometric, or ratio (of a measured constant to the predicted one)",
    "line_p": "chance of residuals this large if one law holds",
    "time": "training time at which networks are looked at; for suprema and means in time, its end",
    "files": "files behind the row, relative to the results folder",
    "in_time": "1 for a row of rates_in_time.csv, which is not judged",
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
    "predicted": "predicted value",
    "predicted_stderr": "standard error of the predicted value",
}


def write_h5(path: Path, attrs: Mapping[str, object], rates: Sequence[Rate]) -> None:
    """Write the rates with every point behind them, complete or not at all; attrs: root attributes."""
    points = [point for rate in rates for point in rate.cloud]
    owner = np.array([index for index, rate in enumerate(rates) for _ in rate.cloud], dtype=np.int64)
    with store.atomic_h5(path, "rates", {**attrs, "rates_version": VERSION}) as file:
        store.put(file, "rate", np.arange(len(rates)), ("rate",), "1", "row of rates.csv")
        for name, about in RATE_VARIABLES.items():
            store.put(file, name, [getattr(rate, name) for rate in rates], ("rate",), "1", about)
        store.put(file, "point_rate", owner, ("point",), "1", "index of the rate that the point belongs to")
        for name, about in POINT_VARIABLES.items():
            store.put(file, f"point_{name}", [getattr(p, name) for p in points], ("point",), "1", about)


def write_csv(path: Path, rates: Iterable[Rate], columns: Sequence[str] = COLUMNS) -> None:
    """Write rates.csv, or with COLUMNS_IN_TIME rates_in_time.csv, complete or not at all."""
    durable.require_folder(path)
    durable.write_bytes(path, to_csv(rates, columns).encode())


def write_tables(path: Path, path_in_time: Path | None, rates: Sequence[Rate]) -> None:
    """Write rates.csv, and rates_in_time.csv, which may have no rows; path_in_time: None for studies without it."""
    write_csv(path, [rate for rate in rates if not rate.in_time])
    if path_in_time is not None:
        write_csv(path_in_time, [rate for rate in rates if rate.in_time], COLUMNS_IN_TIME)


def to_csv(rates: Iterable[Rate], columns: Sequence[str] = COLUMNS) -> str:
    """The rows as CSV text with a header; numbers that do not exist are empty."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    for rate in rates:
        writer.writerow(cells(rate, columns))
    return text.getvalue()


def cells(rate: Rate, columns: Sequence[str] = COLUMNS) -> list[object]:
    """One row of rates.csv."""
    return [_cell(getattr(rate, name)) for name in columns]


def _cell(value: object) -> object:
    if isinstance(value, float):
        if 1e6 <= abs(value) < LARGEST_WHOLE and value.is_integer():
            return str(int(value))
        return "" if math.isnan(value) else f"{value:.6g}"
    return value


def read(path: Path, **expected: object) -> list[Rate]:
    """The rows of rates.csv from a rates.h5, with their points. Raises StudyError if that is not a complete file.

    Rows of version 1 are read as older_rates says: they were not held against a prediction. Those of version 2 lack
    time and files.
    """
    return [rate for rate in read_all(path, **expected) if not rate.in_time]


def read_in_time(path: Path, **expected: object) -> list[Rate]:
    """The rows of rates_in_time.csv from a rates.h5, with their points; see `read`."""
    return [rate for rate in read_all(path, **expected) if rate.in_time]


def read_all(path: Path, **expected: object) -> list[Rate]:
    """All rows of a rates.h5: those of rates.csv, then those of rates_in_time.csv; see `read`."""
    with store.open_complete(path, "rates", **expected) as file:
        version = _version(path, store.attribute_of(file, "rates_version"))
        names = older_rates.variables_of(version, tuple(RATE_VARIABLES))
        point_names = older_rates.POINT_VARIABLES if version == 1 else tuple(POINT_VARIABLES)
        fields = {name: _values(file[name]) for name in names}
        points = {name: _values(file[f"point_{name}"]) for name in point_names}
        owner = file["point_rate"][()].tolist()
        study_id = str(store.attribute_of(file, "study_id") or "")
    if version == 1:
        fields = older_rates.translated(fields)
    if "in_time" in fields:
        fields["in_time"] = [bool(value) for value in fields["in_time"]]
    points["used"] = [bool(used) for used in points["used"]]
    clouds: dict[int, list[RatePoint]] = {}
    for index, row in zip(owner, zip(*points.values(), strict=True), strict=True):
        clouds.setdefault(index, []).append(RatePoint(**dict(zip(points, row, strict=True))))
    rows = zip(*fields.values(), strict=True)
    return [
        Rate(
            **dict(zip(fields, row, strict=True)),
            cloud=tuple(clouds.get(index, ())),
            study_id=study_id,
            version=version,
        )
        for index, row in enumerate(rows)
    ]


def _version(path: Path, attribute: object) -> int:
    """The version of the rows of a file, which has no attribute for it in version 1."""
    if attribute is None:
        return 1
    if attribute not in (older_rates.WITHOUT_TIME, VERSION):
        raise StudyError(f"{path}: has rates of version {attribute}, this software reads 1 to {VERSION}")
    return int(str(attribute))


def _values(dataset: store.Variable) -> list[object]:
    """A variable's values as plain Python objects."""
    return list(dataset.values().tolist())


# --- table -----------------------------------------------------------------------------------------------------


def table(rates: Sequence[Rate], width: int = 100, room: int = tables.UNLIMITED, beside: Sequence[bool] = ()) -> str:
    """A plain-text table of at most `room` columns, followed by each note of its rows once, `width` wide.

    Rows of single probes are only in the files. beside: for each row, whether it comes last, under a line of its own,
    since another says nearly the same from the same units and paths.
    """
    last = {id(rate) for rate, is_last in zip(rates, beside, strict=False) if is_last}
    rates = sorted((rate for rate in rates if not rate.single), key=lambda rate: id(rate) in last)
    notes = list(dict.fromkeys(rate.note for rate in rates if rate.note))
    header = ("", "measured ± half", "predicted", "at infinity", "extrapolated", "verdict")
    rows = [_row(rate, notes) for rate in rates]
    first, *lines = _lines(header, rows, room)
    heading, body = None, []
    for rate, line in zip(rates, lines, strict=True):
        if id(rate) in last and BESIDE not in body:
            body += ["", BESIDE]
        if heading != (heading := f"{rate.quantity} in {rate.variable} ({rate.estimator})"):
            body.append(heading)
        body.append(line)
    return "\n".join([*filter(None, [first]), *body, *_footnotes(notes, width)])


def _lines(header: tuple[str, ...], rows: Sequence[tuple[str, ...]], room: int) -> list[str]:
    """Header and rows in columns; if too narrow, without what is extrapolated, then without the kind of what is
    expected at infinity, or as blocks without header.
    """
    without = [(*row[:4], *row[5:]) for row in (header, *rows)]
    bare = [(*row[:3], row[3].partition(" (")[0], *row[4:]) for row in without]
    for cells in ([header, *rows], without, bare):
        sizes = [max(map(len, column)) for column in zip(*cells, strict=True)]
        lines = [_aligned(row, sizes) for row in cells]
        if tables.fits(lines, room):
            return lines
    return ["", *("\n".join(tables.block(("",) * len(header), row, room)) for row in rows)]


def _row(rate: Rate, notes: Sequence[str]) -> tuple[str, ...]:
    digits = 3 if not rate.stderr < 0.0005 else 4
    number = "-"
    if not math.isnan(rate.exponent):
        number = f"{rate.exponent:.{digits}f} ± {0.5 * (rate.ci_high - rate.ci_low):.{digits}f}"
    predicted = "-" if math.isnan(rate.predicted) else f"{rate.predicted:.{digits}f}"
    expected = "-" if math.isnan(rate.expected) else f"{rate.expected:.3g} ({rate.expected_kind})"
    extrapolated = "-" if math.isnan(rate.corrected) else f"{rate.corrected_low:.2f} to {rate.corrected_high:.2f}"
    mark = f" [{notes.index(rate.note) + 1}]" if rate.note else ""
    return f"  {rate.at}", number, predicted, expected, extrapolated, rate.verdict + mark


def _aligned(row: tuple[str, ...], sizes: Sequence[int]) -> str:
    return "  ".join(cell.ljust(size) for cell, size in zip(row, sizes, strict=True)).rstrip()


def _footnotes(notes: Sequence[str], width: int) -> Iterator[str]:
    for number, note in enumerate(notes, 1):
        yield from textwrap.wrap(f"[{number}] {note}", width, subsequent_indent="    ")
