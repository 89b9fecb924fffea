"""The recorded series of a `recorded` chain, read from CSV, HDF5 or netCDF. Source: docs/model.md section 1."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import h5py
import numpy as np

from rnnlimits.base import textfiles
from rnnlimits.base.errors import StudyError
from rnnlimits.base.fields import Array, show
from rnnlimits.chains import binaryseries, textseries

if TYPE_CHECKING:
    from rnnlimits.chains.recorded import Recorded

SHORTEST = 16  # rows; fewer do not define a useful empirical law
LEAST, LARGEST = 1e-100, 1e100  # of a column's largest absolute value


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
        textfiles.require_file(path)
    except OSError as error:
        raise StudyError(f"{path}: cannot be read: {error.strerror}; chain.file is {chain.file}") from error
    # Time stamps can be set back; the time of the last change of the file's entry cannot.
    return _load(chain, path, (state.st_mtime_ns, state.st_ctime_ns, state.st_size))


def reader_of(path: Path) -> ModuleType:
    """The module that reads the file: binaryseries or textseries, both with a function `read`."""
    return binaryseries if h5py.is_hdf5(path) or binaryseries.is_classic(path) else textseries


@lru_cache(maxsize=4)
def _load(chain: Recorded, path: Path, stamp: tuple[int, int, int]) -> Series:
    """The series, cached by the file's time stamps and size, because every cell's identity needs the digest."""
    names = list(dict.fromkeys([*chain.columns, chain.target]))
    table = reader_of(path).read(path, names)
    needed = max(SHORTEST, chain.lead + 1)
    if len(table) < needed:
        raise StudyError(f"{path}: has {len(table)} rows; at least {needed} are needed")
    _require_moderate(table, names, path)
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


def _require_moderate(table: Array, names: Sequence[str], path: Path) -> None:
    """Squares of values beyond these sizes leave the range of numbers: a column would be standardised to zeros."""
    for name, size in zip(names, np.abs(table).max(axis=0), strict=True):
        if size and not LEAST <= size <= LARGEST:
            raise StudyError(
                f"{path}: column {show(name)} has values up to {size:.3g}; allowed: from {LEAST:g} to {LARGEST:g}; "
                "give it in another unit"
            )


def _no_standards(count: int) -> tuple[Array, Array]:
    return np.zeros(count), np.ones(count)


def _digest(x: Array, y: Array) -> str:
    running = hashlib.sha256(f"{x.shape}".encode())
    for values in (x, y):
        running.update(np.ascontiguousarray(values, dtype="<f8").tobytes())
    return running.hexdigest()
