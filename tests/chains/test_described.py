"""What `rnnlimits check` says of a recorded series: three lines, and notes on what looks like a mistake."""

from __future__ import annotations

import datetime
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from rnnlimits.chains.described import findings
from rnnlimits.chains.recorded import Recorded

VALUES = np.random.default_rng(72).normal(size=40).round(3)
DAYS = [datetime.date(2020, 1, 1) + datetime.timedelta(days=day) for day in range(42)]


def said(folder: Path, header: str, rows: Iterable[Any], **keys: object) -> list[str]:
    lines = [header, *(",".join(map(str, row)) for row in rows)]
    (folder / "f.csv").write_text("\n".join([*lines, ""]))
    return lines_of(folder, "f.csv", **keys)


def lines_of(folder: Path, name: str, **keys: object) -> list[str]:
    chain = Recorded.model_validate({"kind": "recorded", "file": name, "columns": ["a"], **keys})
    return findings(chain, folder / "study.yaml")


def test_three_lines_for_a_good_series(tmp_path: Path) -> None:
    found = said(tmp_path, "date,a,c", zip(DAYS, VALUES, VALUES, strict=False), target_column="c", lead=2)
    span = f"{VALUES.min():.6g} to {VALUES.max():.6g} (mean {VALUES.mean():.6g}, s.d. {VALUES.std():.6g})"
    assert found == [
        "columns: a, c of date, a, c, target 'c' 2 rows later; lines 2 to 41 of a CSV file; none missing",
        f"values: a {span}; c {span}; standardised: each less its mean, over its s.d.",
        "time: date, 2020-01-01 to 2020-02-09, evenly spaced by 1 day",
    ]


MONTHS = [f"{1990 + month // 12}-{month % 12 + 1:02d}" for month in range(40)]
CLOCK = [f"2020-01-01T{half // 2:02d}:{30 * (half % 2):02d}:00Z" for half in range(40)]
# Header, the times of the rows, and the end of the lines about them.
TIMES: dict[str, tuple[str, list[Any], list[str]]] = {
    "months": ("date", MONTHS, ["date, 1990-01 to 1993-04, evenly spaced by 1 month"]),
    "years": ("year", list(range(1900, 1940)), ["year, 1900 to 1939, evenly spaced by 1"]),
    "clock": ("Time", CLOCK, [f"Time, {CLOCK[0]} to {CLOCK[-1]}, evenly spaced by 30 minutes"]),
    "numbers": ("t", [round(0.1 * k, 10) for k in range(40)], ["t, 0 to 3.9, evenly spaced by 0.1"]),
    "year and month": (
        "year,month",
        [month.replace("-", ",") for month in MONTHS],
        ["year, month, 1990-01 to 1993-04, evenly spaced by 1 month"],
    ),
    "year, month and day": (
        "year,month,day",
        [str(day).replace("-", ",") for day in DAYS],
        ["year, month, day, 2020-01-01 to 2020-02-09, evenly spaced by 1 day"],
    ),
    "hours": ("hour", list(range(40)), ["hour, 0 to 39, evenly spaced by 1"]),
    "hours of the day": (
        "hour",
        [row % 24 for row in range(40)],
        ["no such column; rows are read as steps of one length"],
    ),
    "none": ("id", ["x"] * 40, ["no such column; rows are read as steps of one length"]),
    "other dates": (
        "date",
        [day.strftime("%m/%d/%Y") for day in DAYS],
        ["date not understood ('01/01/2020', row 1); ISO 8601 would be (2020-01-31)"],
    ),
    "gap": (
        "date",
        DAYS[:20] + DAYS[22:],
        [
            "date, 2020-01-01 to 2020-02-11, not evenly spaced",
            "date leaves its usual step once, at line 22 (2020-01-20 to 2020-01-23, usually 1 day): gaps? Rows are "
            "read as steps of one length",
        ],
    ),
    "twice": (
        "date",
        DAYS[:20] + DAYS[19:39],
        [
            "date, 2020-01-01 to 2020-02-08, not evenly spaced",
            "date stands still once, at line 22 (2020-01-20 to 2020-01-20): times that occur twice? Rows are read as "
            "steps of one length",
        ],
    ),
    "panel": (
        "firm,year",
        [f"{1 + row // 10},{1935 + row % 10}" for row in range(40)],
        [
            "year, 1935 to 1944, not evenly spaced",
            "year goes back 3 times, first at line 12 (1944 to 1935): several series in one file, or rows out of "
            "order? They are read as one series",
        ],
    ),
}


@pytest.mark.parametrize(("header", "at", "wanted"), TIMES.values(), ids=TIMES.keys())
def test_times(tmp_path: Path, header: str, at: list[Any], wanted: list[str]) -> None:
    found = said(tmp_path, f"{header},a", zip(at, VALUES, strict=False))[2:]
    assert found == [f"time: {wanted[0]}", *(f"note: {note}" for note in wanted[1:])]


def replaced(*values: float) -> list[float]:
    return [*values, *VALUES[len(values) :]]


NOTES: dict[str, tuple[Any, str]] = {
    "mark": (replaced(-999, -999), "has -999 2 times, far from all other values: a mark of missing values?"),
    "two marks": (replaced(-999, 9999), "has 9999 once, far from all other values"),
    "offset": (1e9 + 1e-3 * VALUES, "varies by "),
    "whole numbers": ([2**53 + k for k in range(40)], "has whole numbers up to 9.0072e+15; beyond 2^53 not all can"),
    "unit": (1e9 * VALUES, "has values of about 9e+08 and is not standardised: units are linear or saturate"),
}


@pytest.mark.parametrize(("values", "words"), NOTES.values(), ids=NOTES.keys())
def test_notes_on_values(tmp_path: Path, values: Any, words: str) -> None:
    found = said(tmp_path, "t,a", enumerate(values), standardize=False)
    assert any(line.startswith(f"note: column 'a' {words}") for line in found), found


def test_no_note_on_values_that_only_look_like_marks(tmp_path: Path) -> None:
    assert len(said(tmp_path, "t,a", enumerate(990.0 + np.arange(40)))) == 3


@pytest.mark.parametrize("engine", ["h5netcdf", "scipy"])
def test_units_and_calendar_of_netcdf(tmp_path: Path, engine: Any) -> None:
    at = np.array(DAYS[:40], dtype="datetime64[ns]")
    data = xr.Dataset({"a": ("time", VALUES, {"units": "m s-1"})}, coords={"time": at})
    data.to_netcdf(tmp_path / "f.nc", engine=engine)
    found = lines_of(tmp_path, "f.nc")
    assert found[0].startswith("columns: a of a, time, target 'a' 1 row later; ")
    assert f"values: a {VALUES.min():.6g} to {VALUES.max():.6g} m s-1 (mean " in found[1]
    calendar = "days since 2020-01-01 00:00:00, proleptic_gregorian"
    assert found[2:] == [f"time: time ({calendar}), 0 to 39, evenly spaced by 1"]


def test_a_dimension_without_times_is_none(tmp_path: Path) -> None:
    xr.Dataset({"a": ("time", VALUES)}).to_netcdf(tmp_path / "f.nc", engine="h5netcdf")
    assert lines_of(tmp_path, "f.nc")[2] == "time: no such column; rows are read as steps of one length"
