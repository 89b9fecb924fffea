"""Labelled series from files of the UCR and UEA archives: .ts (aeon, sktime), .tsv (UCR 2018), .txt (older UCR).

A missing value (`?` or NaN) is interpolated between its neighbours in time; missing steps at the end of a series are
cut off, because UCR 2018 writes series of different lengths in that way.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from rnnlimits.base.errors import StudyError
from rnnlimits.kernels.interface import Array

SUFFIXES = (".ts", ".tsv", ".txt")
FLAGS = ("timestamps", "missing", "univariate", "equallength")


@dataclass
class Labelled:
    """Series (T_i, d) float64 and the label of each."""

    series: list[Array] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)


class _Refused(Exception):
    """The error in a line; the reader adds file and line number."""


def read(path: Path) -> Labelled:
    """Read one file according to its suffix. Raises StudyError with file and line for a malformed file."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise StudyError(f"{path}: cannot be read: {error.strerror}; give a file of labelled series") from error
    lines = ((number, line.strip()) for number, line in enumerate(text.splitlines(), 1))
    useful = ((number, line) for number, line in lines if line and not line.startswith("#"))
    labelled = _read_ts(path, useful) if path.suffix == ".ts" else _read_columns(path, useful)
    if not labelled.series:
        raise StudyError(f"{path}: has no series; one line for each is needed")
    return labelled


# --- .ts ---------------------------------------------------------------------------------------------------


@dataclass
class _Header:
    """Properties of the series from the lines with @, as far as they can be checked."""

    flags: dict[str, bool] = field(default_factory=dict)
    dimensions: int | None = None
    length: int | None = None
    classes: tuple[str, ...] = ()
    data: bool = False


def _read_ts(path: Path, lines: Iterator[tuple[int, str]]) -> Labelled:
    header, labelled, number = _Header(), Labelled(), 0
    for number, line in lines:
        try:
            if header.data:
                series, label = _case(line, header)
                labelled.series.append(series)
                labelled.labels.append(label)
            else:
                _read_header(line, header)
        except _Refused as error:
            raise StudyError(f"{path}:{number}: {error}") from error
    if not header.data:
        raise StudyError(f"{path}:{number}: ends without a line @data; a .ts file needs one before its series")
    return labelled


def _read_header(line: str, header: _Header) -> None:
    if not line.startswith("@"):
        raise _Refused(f"{line[:30]!r} before @data; lines of a header begin with @")
    key, *words = line[1:].split()
    key = key.lower()
    if key in FLAGS:
        header.flags[key] = _truth(key, words)
    elif key == "dimensions" or key == "serieslength":
        setattr(header, "dimensions" if key == "dimensions" else "length", _count(key, words))
    elif key == "classlabel":
        header.classes = tuple(words[1:]) if _truth(key, words[:1]) else ()
    elif key == "data":
        _finish_header(header)
    # Other keys (@problemName, @targetLabel, ...) are not needed to read the series.


def _finish_header(header: _Header) -> None:
    if not header.classes:
        raise _Refused("@data without @classLabel true and the classes; classification needs labelled series")
    if header.flags.get("timestamps"):
        raise _Refused("@timeStamps true is not supported; write the values alone, one step after the other")
    if header.flags.get("univariate"):
        header.dimensions = 1
    header.data = True


def _truth(key: str, words: list[str]) -> bool:
    if len(words) != 1 or words[0].lower() not in ("true", "false"):
        raise _Refused(f"@{key} {' '.join(words)}: true or false is needed")
    return words[0].lower() == "true"


def _count(key: str, words: list[str]) -> int:
    if len(words) != 1 or not words[0].isdecimal() or int(words[0]) < 1:
        raise _Refused(f"@{key} {' '.join(words)}: a whole number above 0 is needed")
    return int(words[0])


def _case(line: str, header: _Header) -> tuple[Array, str]:
    """One line of .ts: dimensions separated by colons, with the label after the last one."""
    *parts, label = (part.strip() for part in line.split(":"))
    if label not in header.classes:
        raise _Refused(f"label {label[:30]!r} is not in @classLabel ({', '.join(header.classes[:12])})")
    if not parts:
        raise _Refused("no values before the label; a line is VALUES:LABEL")
    header.dimensions = header.dimensions or len(parts)
    if len(parts) != header.dimensions:
        raise _Refused(f"{len(parts)} dimensions, where {header.dimensions} are expected")
    columns = [_numbers(part.split(",")) for part in parts]
    series = whole(_side_by_side(columns))
    if header.flags.get("equallength") and header.length not in (None, len(columns[0])):
        raise _Refused(f"{len(columns[0])} values, where @seriesLength is {header.length}")
    return series, label


def _side_by_side(columns: list[Array]) -> Array:
    """The dimensions as columns of one array; a shorter one lacks its last steps."""
    if len({len(column) for column in columns}) == 1:
        return np.stack(columns, axis=1)
    raise _Refused(f"dimensions of {', '.join(str(len(c)) for c in columns)} values; all must have the same number")


# --- .tsv and .txt -----------------------------------------------------------------------------------------


def _read_columns(path: Path, lines: Iterator[tuple[int, str]]) -> Labelled:
    """Read lines of a label and values, separated by tabs, commas or spaces."""
    labelled = Labelled()
    for number, line in lines:
        label, *values = line.replace(",", " ").split()
        try:
            labelled.series.append(whole(_numbers(values)[:, None]))
            labelled.labels.append(_plain(label))
        except _Refused as error:
            raise StudyError(f"{path}:{number}: {error}") from error
    return labelled


def _plain(label: str) -> str:
    """The label, with whole numbers in plain form: 1.0000e+00 becomes "1"."""
    try:
        value = float(label)
    except ValueError:
        return label
    return str(int(value)) if value.is_integer() else label


# --- values ------------------------------------------------------------------------------------------------


def _numbers(words: list[str]) -> Array:
    try:
        return np.array([word.replace("?", "nan") for word in words], dtype=np.float64)
    except ValueError:
        wrong = next(word for word in words if not _is_number(word))
        raise _Refused(f"{wrong.strip()[:30]!r} is not a number; a missing value is written ?") from None


def _is_number(word: str) -> bool:
    try:
        float(word.replace("?", "nan"))
    except ValueError:
        return False
    return True


def whole(series: Array) -> Array:
    """A series (T, d) without missing values (NaN): those at its end are cut off, others are interpolated."""
    if np.isinf(series).any():
        raise _Refused("an infinite value; every value must be a finite number or missing")
    steps = np.flatnonzero(np.isfinite(series).any(axis=1))
    if not steps.size:
        raise _Refused("all values are missing; a series needs at least one")
    trimmed = series[: steps[-1] + 1]
    if np.isfinite(trimmed).all():
        return trimmed
    return np.stack([_filled(column) for column in trimmed.T], axis=1)


def _filled(column: Array) -> Array:
    observed = np.flatnonzero(np.isfinite(column))
    if not observed.size:
        raise _Refused("a dimension whose values are all missing; leave the dimension out")
    return np.interp(np.arange(len(column)), observed, column[observed])
