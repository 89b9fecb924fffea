"""Columns of a CSV file: a header row, commas, a finite number in every field that is used."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rnnlimits.base import textfiles
from rnnlimits.base.errors import StudyError
from rnnlimits.base.fields import Array, nearest, show

WANTED = "CSV as UTF-8 text, or HDF5"
NO_VALUE = {"", "na", "n/a", "nan", "null", "none", "-", "?", ".", "missing", "#n/a"}


@dataclass(frozen=True)
class Columns:
    """Fields of some columns as text, the header row, and the line of each row."""

    header: list[str]
    lines: list[int]
    fields: list[list[str]]  # of each row, those of the columns asked for


def read(path: Path, names: Sequence[str]) -> Array:
    """Columns `names` as numbers, (rows, columns); blank lines are skipped.

    Raises StudyError, one line with the file and the line: another format or encoding, a column that is missing or
    there twice, rows of unlike lengths, a field that is not a finite number.
    """
    with _rows(path) as (header, rows):
        places = [_place(header, name, path) for name in names]
        found = [_row(row, header, places, line, path) for line, row in rows]
    return np.array(found, dtype=np.float64).reshape(-1, len(names))


def columns(path: Path, names: Sequence[str]) -> Columns:
    """Columns `names` as text. Raises StudyError as `read` does, but for fields that are not numbers."""
    with _rows(path) as (header, rows):
        places = [_place(header, name, path) for name in names]
        found = [(line, [row[place].strip() for place in places]) for line, row in rows]
    return Columns(header, [line for line, _ in found], [fields for _, fields in found])


@contextmanager
def _rows(path: Path) -> Iterator[tuple[list[str], Iterator[tuple[int, list[str]]]]]:
    """The header row, and the other rows with their lines."""
    try:
        textfiles.require_text(path, WANTED)
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, skipinitialspace=True)
            header = [cell.strip() for cell in next(reader, [])]
            if header and header[0].startswith("#"):
                raise StudyError(f"{path}: line 1 begins with #; remove comments: line 1 must be the header row")
            yield header, _checked(reader, header, path)
    except OSError as error:
        raise StudyError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        remedy = "convert it (iconv -f LATIN1 -t UTF-8, if it is Latin-1)"
        raise StudyError(f"{path}: is neither HDF5 nor CSV as UTF-8 text: {error}; {remedy}") from error
    except csv.Error as error:
        raise StudyError(f"{path}: is neither HDF5 nor CSV as UTF-8 text: {error}") from error


def _checked(reader: Iterator[list[str]], header: list[str], path: Path) -> Iterator[tuple[int, list[str]]]:
    for row in reader:
        line: int = reader.line_num  # type: ignore[attr-defined]
        if row and len(row) != len(header):
            raise StudyError(f"{path}: line {line} has {len(row)} fields; the header row has {len(header)}")
        if row:
            yield line, row


def _place(header: list[str], name: str, path: Path) -> int:
    if header.count(name) == 1:
        return header.index(name)
    if name in header:
        raise StudyError(f"{path}: has {header.count(name)} columns named {show(name)}; one is needed")
    if not header:
        raise StudyError(f"{path}: is empty; it needs a header row and the column {show(name)}")
    if len(header) == 1:
        only = f"has one column, {show(header[0])}"
        raise StudyError(f"{path}: {only}, not {show(name)}; columns are separated by commas")
    if all(math.isfinite(textfiles.number(cell)) for cell in header):
        raise StudyError(f"{path}: line 1 has numbers only; a header row with the column {show(name)} is needed")
    raise StudyError(f"{path}: has no column {show(name)}; {nearest(name, header)}")


def _row(row: list[str], header: list[str], places: list[int], line: int, path: Path) -> list[float]:
    values = [textfiles.number(row[place]) for place in places]
    for place, value in zip(places, values, strict=True):
        if not math.isfinite(value):
            text = row[place].strip()
            field = show(text) if text else "empty"
            advice = _advice(text, line)
            raise StudyError(f"{path}: line {line}: {show(header[place])} is {field}; allowed: a finite number{advice}")
    return values


def _advice(text: str, line: int) -> str:
    if text.lower() in NO_VALUE:
        return "; fill missing values, or leave their rows out"
    second = "; a second header row, as of units, must be removed" if line == 2 and text[:1].isalpha() else ""
    return textfiles.hint(text) or second
