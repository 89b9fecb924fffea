"""Recorded series: what is read, how it is standardised and closed to a circle, and what is refused."""

from __future__ import annotations

import csv
import os
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from rnnlimits.base.errors import StudyError
from rnnlimits.chains.recorded import Recorded
from rnnlimits.chains.series import load_series
from rnnlimits.study import load

CONFIG = Path(__file__).resolve().parent.parent.parent / "config"
ROWS = 20
VALUES = np.random.default_rng(7).normal(5, 3, (ROWS, 2)).round(6)


def chain(**keys: object) -> Recorded:
    return Recorded.model_validate({"kind": "recorded", "file": "series", "columns": ["p", "q"], **keys})


def csv_text(header: str = "t,p,q") -> str:
    rows = (f"{t},{p},{q}" for t, (p, q) in enumerate(VALUES))
    return "\n".join([header, *rows, ""])


def write_csv(path: Path) -> None:
    path.write_text(csv_text(), encoding="utf-8")


def write_hdf5(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file["p"] = VALUES[:, 0]
        file["q"] = VALUES[:, 1].astype(">f8")


BOTH = pytest.mark.parametrize("write", [write_csv, write_hdf5])


@BOTH
def test_raw_values_and_circular_target(write: Callable[[Path], None], tmp_path: Path) -> None:
    write(tmp_path / "series")
    series = load_series(chain(standardize=False, lead=3, target_column="q"), tmp_path / "study.yaml")
    np.testing.assert_array_equal(series.x, VALUES)
    for k in range(ROWS):
        assert series.y[k] == VALUES[(k + 3) % ROWS, 1]
    np.testing.assert_array_equal(series.mean, [0, 0])
    np.testing.assert_array_equal(series.scale, [1, 1])


@BOTH
def test_standardised_columns_and_target(write: Callable[[Path], None], tmp_path: Path) -> None:
    write(tmp_path / "series")
    series = load_series(chain(columns=["p"], target_column="q"), tmp_path / "study.yaml")
    assert series.x.shape == (ROWS, 1)
    for values in (series.x[:, 0], series.y):
        assert values.mean() == pytest.approx(0, abs=1e-14)
        assert values.var() == pytest.approx(1)
    np.testing.assert_allclose(series.x * series.scale + series.mean, VALUES[:, :1], rtol=1e-13)
    back = series.y * series.target_scale + series.target_mean
    np.testing.assert_allclose(back, np.append(VALUES[1:, 1], VALUES[0, 1]), rtol=1e-13)


def test_digest_is_of_the_values(tmp_path: Path) -> None:
    write_csv(tmp_path / "a.csv")
    write_hdf5(tmp_path / "b.h5")
    here = tmp_path / "study.yaml"
    digest = load_series(chain(file="a.csv"), here).digest
    assert load_series(chain(file="b.h5"), here).digest == digest
    assert load_series(chain(file="a.csv", columns=["q", "p"]), here).digest != digest
    assert load_series(chain(file="a.csv", lead=2), here).digest != digest
    assert load_series(chain(file="a.csv", standardize=False), here).digest != digest


def test_a_changed_file_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "series"
    write_csv(path)
    before = load_series(chain(), tmp_path / "study.yaml").digest
    path.write_text(csv_text().replace(f"{VALUES[3, 0]}", "9.25"))
    os.utime(path, ns=(1, 1))
    assert load_series(chain(), tmp_path / "study.yaml").digest != before


def test_byte_order_mark_quotes_blank_lines_and_spaces_are_read(tmp_path: Path) -> None:
    text = csv_text("t, p ,q").replace("\n3,", "\n\n3,").replace(f",{VALUES[0, 1]}", f',"{VALUES[0, 1]}"')
    (tmp_path / "series").write_text("\ufeff" + text, encoding="utf-8")
    series = load_series(chain(standardize=False), tmp_path / "study.yaml")
    np.testing.assert_array_equal(series.x, VALUES)


def spoil(line: int, field: int, value: str) -> bytes:
    """The CSV with one field (counted from 0) of one line (counted from 1, the header's) replaced."""
    lines = csv_text().splitlines()
    fields = lines[line - 1].split(",")
    lines[line - 1] = ",".join([*fields[:field], value, *fields[field + 1 :]])
    return "\n".join(lines).encode()


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (spoil(5, 1, "nan"), "line 5: 'p' is 'nan'; allowed: a finite number"),
        (spoil(5, 2, "inf"), "line 5: 'q' is 'inf'; allowed: a finite number"),
        (spoil(5, 2, ""), "line 5: 'q' is empty; allowed: a finite number"),
        (spoil(5, 2, "n/a"), "line 5: 'q' is 'n/a'; allowed: a finite number"),
        (spoil(5, 2, "1,2"), "line 5 has 4 fields; the header row has 3"),
        (spoil(1, 1, "P"), "has no column 'p'; "),
        (spoil(1, 1, "pp"), "has no column 'p'; did you mean pp?"),
        (spoil(1, 0, "p"), "has 2 columns named 'p'; one is needed"),
        (b"x\n" + b"1\n" * 20, "has one column, 'x', not 'p'; columns are separated by commas"),
        (csv_text().replace(",", ";").encode(), "has one column, 't;p;q', not 'p'; columns are separated by commas"),
        (b"p,q\n" + b",\n" * 20, "line 2: 'p' is empty"),
        (b"", "is empty; it needs a header row and the column 'p'"),
        (b"p,q\n", "has 0 rows; at least 16 are needed"),
        ("\n".join(csv_text().splitlines()[:16]).encode(), "has 15 rows; at least 16 are needed"),
        (b"p,q\n" + b"1,2\n" * 20, "column 'p' is always 1.0; it cannot be standardised"),
        (b"p,q\n\xff\xfe", "is neither HDF5 nor CSV as UTF-8 text"),
    ],
)
def test_bad_csv_gets_one_line(content: bytes, line: str, tmp_path: Path) -> None:
    (tmp_path / "series").write_bytes(content)
    assert_refused(chain(), tmp_path, line)


def assert_refused(recorded: Recorded, folder: Path, line: str) -> None:
    with pytest.raises(StudyError) as caught:
        load_series(recorded, folder / "study.yaml")
    assert str(caught.value).startswith(f"{folder / 'series'}: ")
    assert line in str(caught.value)
    assert "\n" not in str(caught.value)


def test_lead_needs_a_row_to_lead_to(tmp_path: Path) -> None:
    write_csv(tmp_path / "series")
    assert len(load_series(chain(lead=ROWS - 1), tmp_path / "study.yaml").y) == ROWS
    assert_refused(chain(lead=ROWS), tmp_path, f"has {ROWS} rows; at least {ROWS + 1} are needed")


def test_missing_file_and_folder(tmp_path: Path) -> None:
    assert_refused(chain(), tmp_path, "cannot be read: No such file or directory; chain.file is series")
    (tmp_path / "series").mkdir()
    assert_refused(chain(), tmp_path, "cannot be read: Is a directory")


def hdf5_nan(file: h5py.File) -> None:
    file["p"][4] = np.nan


def hdf5_two_dimensions(file: h5py.File) -> None:
    del file["p"]
    file["p"] = np.ones((20, 2))


def hdf5_text(file: h5py.File) -> None:
    del file["p"]
    file["p"] = ["a"] * 20


def hdf5_lengths(file: h5py.File) -> None:
    del file["p"]
    file["p"] = np.arange(30.0)


def hdf5_group(file: h5py.File) -> None:
    del file["p"]
    file.create_group("p")


def hdf5_missing(file: h5py.File) -> None:
    del file["p"]


def hdf5_external_link(file: h5py.File) -> None:
    del file["p"]
    file["p"] = h5py.ExternalLink("other.h5", "p")


def hdf5_virtual(file: h5py.File) -> None:
    del file["p"]
    layout = h5py.VirtualLayout((20,), "f8")
    layout[:] = h5py.VirtualSource("other.h5", "p", (20,))
    file.create_virtual_dataset("p", layout)


def hdf5_huge(file: h5py.File) -> None:
    del file["p"]
    file.create_dataset("p", (10**12,), "f8", chunks=(1024,))


@pytest.mark.parametrize(
    ("spoiler", "line"),
    [
        (hdf5_nan, "p[4] is nan; allowed: a finite number"),
        (hdf5_two_dimensions, "'p' is not a dataset of numbers with one dimension"),
        (hdf5_text, "'p' is not a dataset of numbers with one dimension"),
        (hdf5_group, "'p' is not a dataset of numbers with one dimension"),
        (hdf5_lengths, "datasets have lengths [20, 30]; allowed: one length for all"),
        (hdf5_missing, "has no dataset 'p'; "),
        (hdf5_external_link, "has no dataset 'p'; "),
        (hdf5_virtual, "'p' must lie in this file"),
        (hdf5_huge, "'p' must lie in this file and have at most"),
    ],
)
def test_bad_hdf5_gets_one_line(spoiler: Callable[[h5py.File], None], line: str, tmp_path: Path) -> None:
    write_hdf5(tmp_path / "other.h5")
    write_hdf5(tmp_path / "series")
    with h5py.File(tmp_path / "series", "a") as file:
        spoiler(file)
    assert_refused(chain(), tmp_path, line)


def test_truncated_hdf5_gets_one_line(tmp_path: Path) -> None:
    write_hdf5(tmp_path / "series")
    whole = (tmp_path / "series").read_bytes()
    (tmp_path / "series").write_bytes(whole[: len(whole) // 2])
    assert_refused(chain(), tmp_path, "cannot be read as HDF5")


# --- the shipped series ------------------------------------------------------------------------------------


def test_sunspots_are_whole_and_in_order() -> None:
    with (CONFIG / "data" / "sunspots_monthly.csv").open() as file:
        rows = list(csv.DictReader(file))
    months = [12 * int(row["year"]) + int(row["month"]) - 1 for row in rows]
    assert months == list(range(12 * 1749, 12 * 2009 + 6))
    assert all(float(row["sunspots"]) >= 0 for row in rows)
    assert (rows[0]["sunspots"], rows[-1]["sunspots"]) == ("58.0", "2.6")


def test_recorded_study_predicts_next_month() -> None:
    study = load(CONFIG / "recorded.yaml")
    assert isinstance(study.chain, Recorded)
    series = load_series(study.chain, study.source)
    np.testing.assert_array_equal(series.y[:-1], series.x[1:, 0])
    assert series.y[-1] == series.x[0, 0]
