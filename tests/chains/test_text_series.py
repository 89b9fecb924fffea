"""CSV files as others write them: read rightly, or refused with line and column."""

from __future__ import annotations

import gzip
import os
from pathlib import Path

import numpy as np
import pytest

from rnnlimits.base.errors import StudyError
from rnnlimits.chains.recorded import Recorded
from rnnlimits.chains.series import load_series

VALUES = np.random.default_rng(70).normal(size=(20, 2)).round(3)
LINES = ["t,a,b", *(f"{t},{a},{b}" for t, (a, b) in enumerate(VALUES))]
TEXT = "\n".join([*LINES, ""])
CHAIN = Recorded.model_validate({"kind": "recorded", "file": "f.csv", "columns": ["a", "b"], "standardize": False})


def with_field(text: str, line: int = 6) -> str:
    """The file with another field `a` in one line."""
    t, _, b = LINES[line - 1].split(",")
    return "\n".join([*LINES[: line - 1], f"{t},{text},{b}", *LINES[line:], ""])


def read(folder: Path, content: str | bytes) -> np.ndarray:
    (folder / "f.csv").write_bytes(content if isinstance(content, bytes) else content.encode())
    return load_series(CHAIN, folder / "study.yaml").x


READ = {
    "quotes after a blank": TEXT.replace("t,a,b", 't, "a", "b"'),
    "quotes": TEXT.replace("t,a,b", '"t","a","b"').replace(str(VALUES[2, 0]), f'"{VALUES[2, 0]}"'),
    "CRLF": TEXT.replace("\n", "\r\n"),
    "CR": TEXT.replace("\n", "\r"),
    "byte order mark": b"\xef\xbb\xbf" + TEXT.encode(),
    "blank lines": TEXT.replace("\n", "\n\n"),
    "commas at the end": TEXT.replace("\n", ",\n"),
    "an index without a name": TEXT.replace("t,a,b", ",a,b"),
    "text in other columns": TEXT.replace("\n7,", "\nseven,"),
}


@pytest.mark.parametrize("content", READ.values(), ids=READ.keys())
def test_files_that_are_read(tmp_path: Path, content: str | bytes) -> None:
    np.testing.assert_array_equal(read(tmp_path, content), VALUES)


@pytest.mark.parametrize(("text", "value"), [("1.", 1.0), ("+.5", 0.5), ("1e5", 1e5), (" 1.5 ", 1.5), ("0e-400", 0.0)])
def test_fields_that_are_numbers(tmp_path: Path, text: str, value: float) -> None:
    assert read(tmp_path, with_field(text))[4, 0] == value


FIELDS = {
    "1_000": "; thousands are not separated",
    "1 000": "; thousands are not separated",
    '"1,234.5"': "; thousands are not separated",
    '"1,5"': "; write a decimal point instead of a comma, and no thousands separators",
    "1.5D+03": "; write the exponent with e",
    "2020-01-31": "; a date is not a number",
    "31.01.2020": "; a date is not a number",
    **dict.fromkeys(["NA", "NaN", "null", "-", "?", "#N/A", "None"], "; fill missing values, or leave their rows out"),
    **dict.fromkeys(["inf", "-Infinity", "0x10", "1e400", "1e-400", "\uff11\uff12", "\u22121.5", "1.5%", "$1"], ""),
}


@pytest.mark.parametrize(("text", "advice"), FIELDS.items())
def test_fields_that_are_no_numbers(tmp_path: Path, text: str, advice: str) -> None:
    with pytest.raises(StudyError) as caught:
        read(tmp_path, with_field(text))
    written = text.strip('"')
    assert str(caught.value) == f"{tmp_path / 'f.csv'}: line 6: 'a' is '{written}'; allowed: a finite number{advice}"


REFUSED = {
    "gzip": (gzip.compress(TEXT.encode()), "is gzip; CSV as UTF-8 text, or HDF5 is needed: unpack it with gunzip"),
    "Parquet": (b"PAR1....", "is Parquet; CSV as UTF-8 text, or HDF5 is needed: convert it with pandas: read_parquet"),
    "Excel": (b"PK\x03\x04....", "is a zip file (.zip, .npz, .xlsx, .ods); "),
    "web page": (b"<!DOCTYPE html>", "is a page in HTML; "),
    "UTF-16": (TEXT.encode("utf-16"), "is UTF-16 or UTF-32 text; "),
    "UTF-16 without a mark": (TEXT.encode("utf-16-le"), "is UTF-16 or UTF-32 text; "),
    "UTF-32": (TEXT.encode("utf-32"), "is UTF-16 or UTF-32 text; "),
    "Latin-1": (TEXT.replace("t,", "t\xe9,").encode("latin-1"), "is neither HDF5 nor CSV as UTF-8 text"),
    "comment": ("# of me\n" + TEXT, "line 1 begins with #; remove comments: line 1 must be the header row"),
    "comment within": (TEXT.replace("\n5,", "\n# note\n5,"), "line 7 has 1 fields; the header row has 3"),
    "no header": (TEXT.partition("\n")[2], "line 1 has numbers only; a header row with the column 'a' is needed"),
    "semicolons": (TEXT.replace(",", ";").replace(".", ","), "has one column, 't;a;b', not 'a'; columns are separated"),
    "decimal commas": (TEXT.replace(".", ","), "line 2 has 5 fields; the header row has 3"),
    "units": (TEXT.replace("a,b\n", "a,b\ns,m,kg\n"), "line 2: 'a' is 'm'; allowed: a finite number; a second header"),
    "commas in rows alone": (TEXT.replace("\n", ",\n").replace("b,\n", "b\n"), "line 2 has 4 fields"),
    "title": ("Data\n" + TEXT, "has one column, 'Data', not 'a'; columns are separated by commas"),
    "large": (with_field("1e200"), "column 'a' has values up to 1e+200; allowed: from 1e-100 to 1e+100; give it in"),
    "small": ("a,b\n" + "".join(f"{i}e-300,{i}\n" for i in range(20)), "column 'a' has values up to 1.9e-299; "),
}


@pytest.mark.parametrize(("content", "words"), REFUSED.values(), ids=REFUSED.keys())
def test_files_that_are_refused(tmp_path: Path, content: str | bytes, words: str) -> None:
    with pytest.raises(StudyError) as caught:
        read(tmp_path, content)
    assert str(caught.value).startswith(f"{tmp_path / 'f.csv'}: {words}"), caught.value
    assert "\n" not in str(caught.value)


def test_what_cannot_be_read_twice_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "f.csv")
    with pytest.raises(StudyError, match="is not a regular file"):
        load_series(CHAIN, tmp_path / "study.yaml")
    (tmp_path / "f.csv").unlink()
    (tmp_path / "f.csv").mkdir()
    (tmp_path / "f.csv" / "zarr.json").touch()
    with pytest.raises(StudyError, match=r"is a zarr folder; write it as netCDF: xarray.open_zarr"):
        load_series(CHAIN, tmp_path / "study.yaml")
