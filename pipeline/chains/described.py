"""What was read of a recorded series, in lines for `rnnlimits check`: a wrong reading is to be seen."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from rnnlimits.base.errors import StudyError
from rnnlimits.base.fields import Array, show
from rnnlimits.chains import binaryseries, conventions, textseries, times
from rnnlimits.chains.series import load_series, reader_of

if TYPE_CHECKING:
    from rnnlimits.chains.recorded import Recorded

MOST_NAMED = 8  # columns in a line
EXACT = 2.0**53  # beyond which not every whole number is a double
FLAT = 1e-6  # of a column's mean, below which its deviation may be lost digits
SMALL, LARGE = 1e-3, 1e3  # sizes of values that need no standardising
FAR = 1.0  # a mark lies this many times the range of the other values away
# Numbers that many programs write where a value is missing.
SENTINELS = {-99.0, -999.0, -9999.0, -99999.0, -99.9, -999.9, -9999.9, 99.0, 999.0, 9999.0, 99999.0, 999.9, 9999.9}
SENTINELS |= {-1e30, 1e20, 1e30, -32768.0, 32767.0, 65535.0, -2147483648.0, 9.96921e36}


def findings(chain: Recorded, source: Path) -> list[str]:
    """Lines on columns, values and times of the series, and notes on what looks like a mistake.

    Raises StudyError for a series that cannot be used.
    """
    path = chain.place(source)
    load_series(chain, source)
    names = list(dict.fromkeys([*chain.columns, chain.target]))
    table = reader_of(path).read(path, names)
    about = _Text(path, names) if reader_of(path) is textseries else _Binary(path, names)
    target = f"target {show(chain.target)} {chain.lead} row{'s' if chain.lead > 1 else ''} later"
    lines = [f"columns: {_few(names)} of {_few(about.known)}, {target}; {about.where}; none missing"]
    lines.append(_values(names, table, about.units, chain.standardize))
    lines += about.times()
    for name, values in zip(names, table.T, strict=True):
        notes = [*_notes(values), *([] if chain.standardize else _size(values))]
        lines += [f"note: column {show(name)} {note}" for note in notes]
    return lines


def _few(names: list[str]) -> str:
    listed = ", ".join(names[:MOST_NAMED])
    return listed if len(names) <= MOST_NAMED else f"{listed} and {len(names) - MOST_NAMED} more"


def _values(names: list[str], table: Array, units: list[str], standardize: bool) -> str:
    parts = []
    for name, unit, values in list(zip(names, units, table.T, strict=True))[:MOST_NAMED]:
        span = f"{name} {values.min():.6g} to {values.max():.6g}{' ' + unit if unit else ''}"
        parts.append(f"{span} (mean {values.mean():.6g}, s.d. {values.std():.6g})")
    more = f"; and {len(names) - MOST_NAMED} more columns" if len(names) > MOST_NAMED else ""
    used = "standardised: each less its mean, over its s.d." if standardize else "not standardised"
    return f"values: {'; '.join(parts)}{more}; {used}"


def _notes(values: Array) -> list[str]:
    notes = []
    mean, deviation = abs(float(values.mean())), float(values.std())
    if deviation and deviation < FLAT * mean:
        notes.append(f"varies by {deviation / mean:.1g} of its mean only: digits may be lost; take off a constant")
    if EXACT <= np.abs(values).max() <= 2.0**64 and (values == np.round(values)).all():
        notes.append(f"has whole numbers up to {np.abs(values).max():.6g}; beyond 2^53 not all can be told apart")
    for end in {float(values.min()), float(values.max())} & SENTINELS:
        others = values[~np.isin(values, list(SENTINELS))]
        if others.size and np.abs(others - end).min() > FAR * np.ptp(others):
            count = int((values == end).sum())
            often = "once" if count == 1 else f"{count} times"
            notes.append(f"has {end:g} {often}, far from all other values: a mark of missing values?")
    return notes


def _size(values: Array) -> list[str]:
    """A note on values that the network would see at a scale far from 1."""
    size = float(np.sqrt((values**2).mean()))
    if SMALL <= size <= LARGE:
        return []
    return [f"has values of about {size:.1g} and is not standardised: units are linear or saturate; standardize: true"]


class _Text:
    """A CSV file: its header row, its lines, its times."""

    def __init__(self, path: Path, names: list[str]) -> None:
        self.path, self.units = path, [""] * len(names)
        header = textseries.columns(path, []).header
        self.known = header
        self.asked = times.candidates([name for name in header if name not in names and header.count(name) == 1])
        self.columns = textseries.columns(path, self.asked)
        self.where = f"lines {self.columns.lines[0]} to {self.columns.lines[-1]} of a CSV file"

    def times(self) -> list[str]:
        if not self.asked:
            return [times.NONE]
        found = times.of_text(self.asked, self.columns.fields)
        return [found] if isinstance(found, str) else found.findings(lambda row: f"line {self.columns.lines[row]}")


class _Binary:
    """An HDF5 or netCDF file: its variables, units, and the coordinate of the rows."""

    def __init__(self, path: Path, names: list[str]) -> None:
        self.path, self.known = path, binaryseries.known(path)
        found = binaryseries.variables(path, names)
        self.units = [str(conventions.plain(one.attributes).get("units", "")) for one in found]
        self.where = "netCDF-3" if binaryseries.is_classic(path) else "HDF5 or netCDF-4"
        self.dimension, self.length = next((one.dimension for one in found if one.dimension), None), len(found[0].raw)
        self.names = names

    def times(self) -> list[str]:
        others = [name for name in self.known if name not in self.names]
        asked = [self.dimension] if self.dimension in others else times.candidates(others)[:1]
        if not asked:
            return [times.NONE]
        try:
            (one,) = binaryseries.variables(self.path, asked)
        except StudyError:
            return [f"time: {asked[0]} is not numbers; rows are read as steps of one length"]
        if len(one.raw) != self.length:
            return [f"time: {asked[0]} has {len(one.raw)} values; rows are read as steps of one length"]
        about = conventions.plain(one.attributes)
        units = ", ".join(str(about[key]) for key in ("units", "calendar") if key in about)
        found = times.of_numbers(asked[0], one.raw.astype(np.float64), units)
        return [found] if isinstance(found, str) else found.findings(lambda row: f"row {row}")
