"""Text files of others: their encoding, formats that are no text at all, and numbers as such files write them."""

from __future__ import annotations

import codecs
import math
import re
import stat
from pathlib import Path

from rnnlimits.base.errors import StudyError

# First bytes of formats that users have: what the format is, and what to do.
FORMATS = {
    b"\x1f\x8b": ("gzip", "unpack it with gunzip"),
    b"BZh": ("bzip2", "unpack it with bunzip2"),
    b"\xfd7zXZ\x00": ("xz", "unpack it with unxz"),
    b"\x28\xb5\x2f\xfd": ("Zstandard", "unpack it with unzstd"),
    b"7z\xbc\xaf": ("7-Zip", "unpack it"),
    b"PK\x03\x04": ("a zip file (.zip, .npz, .xlsx, .ods)", "unpack it, or export its table as CSV"),
    b"PAR1": ("Parquet", "convert it with pandas: read_parquet(...).to_csv(..., index=False)"),
    b"ARROW1": ("Arrow (Feather)", "convert it with pandas: read_feather(...).to_csv(..., index=False)"),
    b"FEA1": ("Feather", "convert it with pandas: read_feather(...).to_csv(..., index=False)"),
    b"ORC": ("ORC", "convert it with pandas: read_orc(...).to_csv(..., index=False)"),
    b"\x93NUMPY": ("an array of NumPy", "write it with numpy.savetxt or h5py, with names of columns"),
    b"SQLite format 3": ("a database of SQLite", "export a table as CSV"),
    b"MATLAB 5.0": ("a MAT-file before version 7.3", "export the columns as CSV"),
    b"\xd0\xcf\x11\xe0": ("an old Excel sheet", "export it as CSV"),
    b"<!DOCTYPE": ("a page in HTML", "download the table itself"),
    b"<!doctype": ("a page in HTML", "download the table itself"),
    b"<html": ("a page in HTML", "download the table itself"),
    b"<?xml": ("XML", "export a table as CSV"),
    b"%PDF": ("PDF", "export a table as CSV"),
    b"version https://git-lfs": ("a pointer of Git LFS, not the file itself", "run git lfs pull"),
}
UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
LONGEST_MAGIC = 32


def require_file(path: Path) -> None:
    """Raises StudyError for a pipe or a device, which could be read once or for ever, and for a folder of zarr."""
    mode = path.stat().st_mode
    if stat.S_ISDIR(mode):
        if path.suffix == ".zarr" or any((path / name).exists() for name in ("zarr.json", ".zgroup", ".zarray")):
            raise StudyError(f"{path}: is a zarr folder; write it as netCDF: xarray.open_zarr(...).to_netcdf(...)")
    elif not stat.S_ISREG(mode):
        raise StudyError(f"{path}: is not a regular file; every process reads it again, so give a file")


def require_text(path: Path, wanted: str) -> None:
    """Raises StudyError for a format that can be told by its first bytes, and for UTF-16; wanted: what is needed."""
    with path.open("rb") as file:
        head = file.read(LONGEST_MAGIC)
    for magic, (what, remedy) in FORMATS.items():
        if head.startswith(magic):
            raise StudyError(f"{path}: is {what}; {wanted} is needed: {remedy}")
    if head.startswith(UTF16) or b"\x00" in head[:4]:
        raise StudyError(f"{path}: is UTF-16 or UTF-32 text; {wanted} is needed: convert it (iconv -f UTF-16 -t UTF-8)")


def read_utf8(path: Path, remedy: str) -> str:
    """The text of a file. Raises StudyError if it cannot be read or is not UTF-8; remedy: what to do then."""
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise StudyError(f"{path}: cannot be read: {error.strerror}; {remedy}") from error
    except UnicodeDecodeError as error:
        raise StudyError(f"{path}: byte {error.start} is not UTF-8; {remedy}") from error


def number(text: str) -> float:
    """The number that a field of a text file is; NaN if it is none.

    Python's own liberties, underscores and digits of other scripts, do not count, nor does a number that double
    precision would round to zero.
    """
    try:
        value = float(text)
    except ValueError:
        return math.nan
    if "_" in text or not text.isascii():
        return math.nan
    if value == 0.0 and re.search("[1-9]", text.lower().partition("e")[0]):
        return math.nan
    return value


def hint(text: str) -> str:
    """What is odd about a field that is not a number, for the end of a message; empty if nothing is known."""
    word = text.strip()
    if re.fullmatch(r"[+-]?\d+,\d+", word):
        return "; write a decimal point instead of a comma, and no thousands separators"
    if re.fullmatch(r"[+-]?\d{1,3}([ ,'_]\d{3})+(\.\d*)?", word) or re.fullmatch(r"[+-]?\d+(_\d+)+", word):
        return "; thousands are not separated"
    if re.fullmatch(r"[+-]?[\d.]+[dD][+-]?\d+", word):
        return "; write the exponent with e"
    if re.fullmatch(r"\d{4}-\d\d.*|\d\d?[./]\d\d?[./]\d{2,4}.*", word):
        return "; a date is not a number"
    return ""
