"""The times of a recorded series, as far as its file has them: a chain does not read them, a person should."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rnnlimits.base.fields import Array, show
from rnnlimits.base.textfiles import number

NAMES = ("time", "times", "date", "datetime", "timestamp", "t")  # the first of these that there is
CALENDAR = ("year", "month", "day", "hour", "minute")  # columns that are times together
COUNTERS = ("second", "minute", "hour", "day", "week", "month", "quarter", "step", "index", "row")  # if they only grow
NONE = "time: no such column; rows are read as steps of one length"
ROUNDING = 1e-6  # of a step, that even times may differ by
UNITS = ((86400.0, "day"), (3600.0, "hour"), (60.0, "minute"), (1.0, "second"))


@dataclass(frozen=True)
class Times:
    """Times of the rows: at (n,), what a step is called, and how a row's time is written."""

    label: str
    at: Array
    step: Callable[[float], str]
    shown: Sequence[str]

    def findings(self, place: Callable[[int], str]) -> list[str]:
        """The line about the times, and a note on those that are not evenly spaced; place: of a row."""
        steps = np.diff(self.at)
        span = f"time: {self.label}, {self.shown[0]} to {self.shown[-1]}"
        usual = float(np.median(steps))
        even = np.abs(steps - usual) <= ROUNDING * max(abs(usual), np.abs(self.at).max() * 1e-9)
        if usual > 0 and even.all():
            return [f"{span}, evenly spaced by {self.step(usual)}"]
        return [f"{span}, not evenly spaced", *self._notes(steps, usual, even, place)]

    def _notes(self, steps: Array, usual: float, even: NDArray[np.bool_], place: Callable[[int], str]) -> list[str]:
        kinds = {
            "goes back": (steps < 0, "several series in one file, or rows out of order? They are read as one series"),
            "stands still": (steps == 0, "times that occur twice? Rows are read as steps of one length"),
            "leaves its usual step": ((steps > 0) & ~even, "gaps? Rows are read as steps of one length"),
        }
        notes = []
        for what, (wrong, question) in kinds.items():
            if not wrong.any():
                continue
            row = int(np.flatnonzero(wrong)[0])
            moved = f"{self.shown[row]} to {self.shown[row + 1]}"
            usually = f", usually {self.step(usual)}" if usual > 0 and "usual" in what else ""
            often = "once," if wrong.sum() == 1 else f"{int(wrong.sum())} times, first"
            count = f"{often} at {place(row + 1)} ({moved}{usually})"
            notes.append(f"note: {self.label} {what} {count}: {question}")
        return notes


def candidates(names: Sequence[str]) -> list[str]:
    """The columns that say the time: one of NAMES, those of CALENDAR from the year on, one of COUNTERS; or none."""
    lower = {name.lower(): name for name in reversed(names)}
    for word in NAMES:
        if word in lower:
            return [lower[word]]
    if CALENDAR[0] not in lower:
        return [lower[word] for word in COUNTERS if word in lower][:1]
    missing = [word not in lower for word in CALENDAR]
    count = missing.index(True) if True in missing else len(CALENDAR)
    return [lower[word] for word in CALENDAR[:count]]


def of_text(names: Sequence[str], fields: Sequence[Sequence[str]]) -> Times | str:
    """Times from fields of a text file, of each row those of `names`; or what cannot be understood."""
    numbers = np.array([[number(field) for field in row] for row in fields])
    if names[0].lower() in COUNTERS and not (np.diff(numbers[:, 0]) > 0).all():
        return NONE
    if len(names) > 1:
        return _of_calendar(names, numbers, fields)
    if np.isfinite(numbers).all():
        return of_numbers(names[0], numbers[:, 0], "")
    return _of_dates(names[0], [row[0] for row in fields])


def of_numbers(name: str, values: Array, units: str) -> Times | str:
    """Times that are numbers; units: as the file states them, or empty; or what cannot be understood."""
    if not np.isfinite(values).all() or (name.lower() in COUNTERS and not (np.diff(values) > 0).all()):
        return NONE
    label = f"{name} ({units})" if units else name
    return Times(label, values, _plain_step, [f"{value:.10g}" for value in values])


def _plain_step(step: float) -> str:
    return f"{step:.6g}"


def _of_calendar(names: Sequence[str], numbers: Array, fields: Sequence[Sequence[str]]) -> Times | str:
    label = ", ".join(names)
    if not np.isfinite(numbers).all():
        row = int(np.flatnonzero(~np.isfinite(numbers).all(axis=1))[0])
        return f"time: {label} not understood ({show('-'.join(fields[row]))}, row {row + 1})"
    shown = ["-".join(row) for row in fields]
    if len(names) == 2:
        return Times(label, numbers[:, 0] * 12 + numbers[:, 1] - 1, lambda step: _counted(step, "month"), shown)
    dates = ["-".join(f"{int(part):02d}" for part in row[:3]) for row in numbers]
    days = _days(dates)
    if days is None:
        return f"time: {label} not understood ({show(shown[0])})"
    seconds = 86400 * days
    for column, length in enumerate((3600.0, 60.0), start=3):
        seconds = seconds + (numbers[:, column] * length if numbers.shape[1] > column else 0)
    return Times(label, seconds, _duration, shown)


def _days(dates: Sequence[str]) -> Array | None:
    try:
        return np.array(dates, dtype="datetime64[D]").astype(np.float64)
    except ValueError:
        return None


def _of_dates(name: str, texts: list[str]) -> Times | str:
    """ISO 8601 dates and times; by months where all have one day of the month and one time."""
    import pandas as pd  # takes half a second to import

    stamps = pd.to_datetime(pd.Series(texts), format="ISO8601", errors="coerce", utc=True)
    if stamps.isna().any():
        row = int(np.flatnonzero(stamps.isna())[0])
        return f"time: {name} not understood ({show(texts[row])}, row {row + 1}); ISO 8601 would be (2020-01-31)"
    seconds = (stamps - pd.Timestamp(0, tz="UTC")).dt.total_seconds().to_numpy()
    month = (stamps.dt.year * 12 + stamps.dt.month).to_numpy(dtype=np.float64)
    same = (stamps.dt.day == stamps.dt.day[0]).all() and np.unique(seconds % 86400).size == 1
    if same and len(month) > 1 and np.median(np.diff(month)) >= 1:
        return Times(name, month, lambda step: _counted(step, "month"), texts)
    return Times(name, seconds, _duration, texts)


def _duration(seconds: float) -> str:
    for length, unit in UNITS:
        if seconds >= length and np.isclose(seconds / length, round(seconds / length)):
            return _counted(seconds / length, unit)
    return f"{seconds:.6g} s"


def _counted(count: float, unit: str) -> str:
    if unit == "month" and count >= 12 and count % 12 == 0:
        return _counted(count / 12, "year")
    return f"1 {unit}" if count == 1 else f"{count:.6g} {unit}s"
