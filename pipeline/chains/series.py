"""The recorded series of a `recorded` chain, read from CSV or HDF5. Source: docs/model.md section 1."""

from __future__ import annotations

import csv
import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import h5py
import numpy as np

from rnnlimits.base.errors import StudyError
from rnnlimits.base.fields import Array, nearest, show

if TYPE_CHECKING:
    from rnnlimits.chains.recorded import Recorded

SHORTEST = 16  # rows; fewer do not define a useful empirical law
LONGEST = 2**27  # values, a GiB; more is a damaged or hostile file


@dataclass(frozen=True, eq=False)
class Series:
    """A recorded series in the form that the network sees; row n - 1 is followed by row 0.

    x (n, d); y (n,) with y[k] = target at row (k + lead) mod n;
    mean, scale (d,) with x = (column - mean) / scale;
    target_mean, target_scale likewise for y; digest: SHA-256 over the values of x and y, in hexadecimal;
    file: its path as written in the study.
    """

    x: Array
    y: Array
    mean: Array
    scale: Array
    target_mean: float
    target_scale: float
    digest: str
    file: str


def load_series(chain: Recorded, study_source: Path) -> Series:
    """The series of a study, standardised column by column if the study says so.

    Raises StudyError, one line, for a file that is missing or unreadable, a column that it lacks, a value
    that is not a finite number (with its line), too few rows, a constant column.
    """
    path = chain.place(study_source)
    try:
        state = path.stat()
    except OSError as error:
        raise StudyError(f"{path}: cannot be read: {error.strerror}; chain.file is {chain.file}") from error
    # Time stamps can be set back; the time of the last change of the file's entry cannot.
    return _load(chain, path, (state.st_mtime_ns, state.st_ctime_ns, state.st_size))


@lru_cache(maxsize=4)
def _load(chain: Recorded, path: Path, stamp: tuple[int, int, int]) -> Series:
    """The series, cached by the file's time stamps and size, because every cell's identity needs the digest."""
    names = list(dict.fromkeys([*chain.columns, chain.target]))
    table = _read_hdf5(path, names) if h5py.is_hdf5(path) else _read_csv(path, names)
    needed = max(SHORTEST, chain.lead + 1)
    if len(table) < needed:
        raise StudyError(f"{path}: has {len(table)} rows; at least {needed} are needed")
    mean, scale = _standards(table, names, path) if chain.standardize else _no_standards(len(names))
    values = (table - mean) / scale
    x, target = values[:, : len(chain.columns)], names.index(chain.target)
    y = np.roll(values[:, target], -chain.lead)
    columns = slice(len(chain.columns))
    digest = _digest(x, y)
    return Series(x, y, mean[columns], scale[columns], float(mean[target]), float(scale[target]), digest, chain.file)


def _standards(table: Array, names: Sequence[str], path: Path) -> tuple[Array, Array]:
    mean, scale = table.mean(axis=0), table.std(axis=0)
    for name, low, high in zip(names, table.min(axis=0), table.max(axis=0), strict=True):
        if low == high:
            raise StudyError(f"{path}: column {show(name)} is always {low}; it cannot be standardised")
    return mean, scale


def _no_standards(count: int) -> tuple[Array, Array]:
    return np.zeros(count), np.ones(count)


def _digest(x: Array, y: Array) -> str:
    running = hashlib.sha256(f"{x.shape}".encode())
    for values in (x, y):
        running.update(np.ascontiguousarray(values, dtype="<f8").tobytes())
    return running.hexdigest()


def _read_csv(path: Path, names: Sequence[str]) -> Array:
    """Columns `names` of a CSV file with a header row, (rows, columns); blank lines are skipped."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file)
            header = [cell.strip() for cell in next(reader, [])]
            places = [_place(header, name, path) for name in names]
            rows = [_row(row, header, places, reader.line_num, path) for row in reader if row]
    except OSError as error:
        raise StudyError(f"{path}: cannot be read: {error.strerror}") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise StudyError(f"{path}: is neither HDF5 nor CSV as UTF-8 text: {error}") from error
    return np.array(rows, dtype=np.float64).reshape(-1, len(names))


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
    raise StudyError(f"{path}: has no column {show(name)}; {nearest(name, header)}")


def _row(row: list[str], header: list[str], places: list[int], line: int, path: Path) -> list[float]:
    if len(row) != len(header):
        raise StudyError(f"{path}: line {line} has {len(row)} fields; the header row has {len(header)}")
    values = [_number(row[place]) for place in places]
    for place, value in zip(places, values, strict=True):
        if not math.isfinite(value):
            field = show(row[place].strip()) if row[place].strip() else "empty"
            raise StudyError(f"{path}: line {line}: {show(header[place])} is {field}; allowed: a finite number")
    return values


def _number(text: str) -> float:
    """The number in a field, NaN if it is not a number."""
    try:
        return float(text)
    except ValueError:
        return math.nan


def _read_hdf5(path: Path, names: Sequence[str]) -> Array:
    """Datasets `names` of an HDF5 file, each of one dimension and one length, as (rows, columns)."""
    try:
        with h5py.File(path, "r") as file:
            columns = [_dataset(file, name, path) for name in names]
    except OSError as error:
        raise StudyError(f"{path}: cannot be read as HDF5: {' '.join(str(error).split())}") from error
    lengths = {len(column) for column in columns}
    if len(lengths) > 1:
        raise StudyError(f"{path}: datasets have lengths {sorted(lengths)}; allowed: one length for all")
    return np.stack(columns, axis=1)


def _dataset(file: h5py.File, name: str, path: Path) -> Array:
    # Links, virtual and external datasets could lead anywhere; a series must be stored in the file itself.
    if "/" in name or not isinstance(file.get(name, getlink=True), h5py.HardLink):
        raise StudyError(f"{path}: has no dataset {show(name)}; {nearest(name, list(file))}")
    dataset = file[name]
    if not isinstance(dataset, h5py.Dataset) or dataset.ndim != 1 or dataset.dtype.kind not in "iuf":
        raise StudyError(f"{path}: {show(name)} is not a dataset of numbers with one dimension")
    if dataset.is_virtual or dataset.external or len(dataset) > LONGEST:
        raise StudyError(f"{path}: {show(name)} must lie in this file and have at most {LONGEST} values")
    values = np.asarray(dataset[()], dtype=np.float64)
    bad = np.flatnonzero(~np.isfinite(values))
    if len(bad):
        raise StudyError(f"{path}: {name}[{bad[0]}] is {values[bad[0]]}; allowed: a finite number")
    return values
