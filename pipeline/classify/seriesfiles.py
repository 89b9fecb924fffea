"""Labelled series from files of the UCR and UEA archives: .ts (aeon, sktime), .tsv (UCR 2018), .txt (older UCR).

A missing value (`?`, NaN, or in .tsv an empty field) is interpolated between its neighbours in time; missing steps at
the end of a series are cut off, because UCR 2018 writes series of different lengths in that way.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from rnnlimits.base import textfiles
from rnnlimits.base.errors import StudyError
from rnnlimits.classify import columnfiles
from rnnlimits.classify.seriesvalues import Labelled, Refused, numbers, whole
from rnnlimits.kernels.interface import Array

SUFFIXES = (".ts", ".tsv", ".txt")
FLAGS = ("timestamps", "missing", "univariate", "equallength")
Lines = Iterable[tuple[int, str]]


def read(path: Path) -> Labelled:
    """Read one file according to its suffix. Raises StudyError with file and line for a malformed file."""
    lines = list(enumerate(re.split("\r\n|\n|\r", _text(path)), 1))
    labelled = _read_ts(path, lines) if path.suffix == ".ts" else _read_columns(path, lines)
    if not labelled.series:
        raise StudyError(f"{path}: has no series; one line for each is needed")
    return labelled


def _text(path: Path) -> str:
    """The text, in UTF-8 or else Latin-1, in which no two labels become one."""
    try:
        textfiles.require_text(path, "a text file of labelled series")
        content = path.read_bytes()
    except OSError as error:
        raise StudyError(f"{path}: cannot be read: {error.strerror}; give a file of labelled series") from error
    if b"\x00" in content:
        raise StudyError(f"{path}: is no text, or UTF-16; a text file of labelled series is needed")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("latin-1")


def _read_columns(path: Path, lines: Lines) -> Labelled:
    columns = columnfiles.Columns()
    for number, line in lines:
        if line.strip() and not columnfiles.is_comment(line):
            with _at(path, number):
                columns.take(line)
    return columns.found


@contextmanager
def _at(path: Path, number: int) -> Iterator[None]:
    try:
        yield
    except Refused as error:
        raise StudyError(f"{path}:{number}: {error}") from error


# --- .ts ---------------------------------------------------------------------------------------------------


@dataclass
class _Header:
    """Properties of the series from the lines with @, as far as they can be checked."""

    flags: dict[str, bool] = field(default_factory=dict)
    dimensions: int | None = None
    length: int | None = None
    length_from: str = "@seriesLength"
    classes: tuple[str, ...] = ()
    data: bool = False


def _read_ts(path: Path, lines: Lines) -> Labelled:
    header, labelled, last = _Header(), Labelled(), 0
    for number, line in ((number, line.strip()) for number, line in lines):
        if not line or line.startswith("#"):
            continue
        last = number
        with _at(path, number):
            if header.data:
                series, label = _case(line, header)
                labelled.series.append(series)
                labelled.labels.append(label)
            else:
                _read_header(line, header)
    if not header.data:
        raise StudyError(f"{path}:{last}: ends without a line @data; a .ts file needs one before its series")
    return labelled


def _read_header(line: str, header: _Header) -> None:
    if not line.startswith("@"):
        raise Refused(f"{line[:30]!r} before @data; lines of a header begin with @")
    key, *words = line[1:].split()
    key = key.lower()
    if key in FLAGS:
        header.flags[key] = _truth(key, words)
    elif key == "dimensions" or key == "serieslength":
        setattr(header, "dimensions" if key == "dimensions" else "length", _count(key, words))
    elif key == "classlabel":
        header.classes = _classes(words[1:]) if _truth(key, words[:1]) else ()
    elif key == "data":
        if words:
            raise Refused(f"@data {' '.join(words)[:30]}: series begin in the next line")
        _finish_header(header)
    # Other keys (@problemName, @targetLabel, ...) are not needed to read the series.


def _classes(words: list[str]) -> tuple[str, ...]:
    if len(set(words)) < len(words):
        raise Refused("@classLabel has a class twice; a class must not contain a blank")
    return tuple(words)


def _finish_header(header: _Header) -> None:
    if not header.classes:
        raise Refused("@data without @classLabel true and the classes; classification needs labelled series")
    if header.flags.get("timestamps"):
        raise Refused("@timeStamps true is not supported; write the values alone, one step after the other")
    if header.flags.get("univariate"):
        header.dimensions = 1
    header.data = True


def _truth(key: str, words: list[str]) -> bool:
    if len(words) != 1 or words[0].lower() not in ("true", "false"):
        raise Refused(f"@{key} {' '.join(words)}: true or false is needed")
    return words[0].lower() == "true"


def _count(key: str, words: list[str]) -> int:
    if len(words) != 1 or not words[0].isdecimal() or int(words[0]) < 1:
        raise Refused(f"@{key} {' '.join(words)}: a whole number above 0 is needed")
    return int(words[0])


def _case(line: str, header: _Header) -> tuple[Array, str]:
    """One line of .ts: dimensions separated by colons, with the label after the last one."""
    *parts, label = (part.strip() for part in line.split(":"))
    if label not in header.classes:
        raise Refused(f"label {label[:30]!r} is not in @classLabel ({', '.join(header.classes[:12])})")
    if not parts:
        raise Refused("no values before the label; a line is VALUES:LABEL")
    header.dimensions = header.dimensions or len(parts)
    if len(parts) != header.dimensions:
        raise Refused(f"{len(parts)} dimensions, where {header.dimensions} are expected")
    columns = [numbers(part.split(",")) for part in parts]
    series = whole(_side_by_side(columns))
    if header.flags.get("equallength", header.length is not None):
        if header.length is None:
            header.length, header.length_from = len(columns[0]), "@equalLength is true and the first length"
        if len(columns[0]) != header.length:
            raise Refused(f"{len(columns[0])} values, where {header.length_from} is {header.length}")
    return series, label


def _side_by_side(columns: list[Array]) -> Array:
    """The dimensions as columns of one array; a shorter one lacks its last steps."""
    if len({len(column) for column in columns}) == 1:
        return np.stack(columns, axis=1)
    raise Refused(f"dimensions of {', '.join(str(len(c)) for c in columns)} values; all must have the same number")
