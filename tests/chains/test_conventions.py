"""netCDF and HDF5 files of others: values as their conventions say, missing ones refused by row."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import xarray as xr

from rnnlimits.base.errors import StudyError
from rnnlimits.chains import conventions
from rnnlimits.chains.recorded import Recorded
from rnnlimits.chains.series import load_series

A, B = np.random.default_rng(71).normal(size=(2, 200)).round(3)
WITH_GAP = np.where((np.arange(200) >= 10) & (np.arange(200) < 20), np.nan, A)
PACKED = {"dtype": "i2", "scale_factor": 0.001, "_FillValue": -32768}
ENGINES = pytest.mark.parametrize("engine", ["h5netcdf", "scipy"])


def read(folder: Path) -> np.ndarray:
    chain = Recorded.model_validate({"kind": "recorded", "file": "f.nc", "columns": ["a", "b"], "standardize": False})
    return load_series(chain, folder / "study.yaml").x


def write(folder: Path, values: Any, engine: Any = "h5netcdf", attributes: Any = None, **encoding: Any) -> None:
    data = xr.Dataset({"a": ("t", values, attributes or {}), "b": ("t", B)})
    data.to_netcdf(folder / "f.nc", engine=engine, encoding={"a": encoding}, unlimited_dims=encoding.pop("along", None))


def refusal(folder: Path) -> str:
    with pytest.raises(StudyError) as caught:
        read(folder)
    assert "\n" not in str(caught.value)
    return str(caught.value).removeprefix(f"{folder / 'f.nc'}: ")


STORED: dict[str, dict[str, Any]] = {
    "as it is": {},
    "packed": PACKED,
    "packed with an offset": {**PACKED, "add_offset": 5.0},
    "packed by single precision": {**PACKED, "scale_factor": np.float32(0.001)},
    "along an unlimited dimension": {**PACKED, "along": ["t"]},
}


@ENGINES
@pytest.mark.parametrize("encoding", STORED.values(), ids=STORED.keys())
def test_values_are_in_their_units(tmp_path: Path, engine: str, encoding: dict[str, Any]) -> None:
    write(tmp_path, A, engine, **encoding)
    np.testing.assert_allclose(read(tmp_path), np.stack([A, B], axis=1), rtol=0, atol=1e-6)


@ENGINES
@pytest.mark.parametrize("encoding", [PACKED, {"dtype": "f4", "_FillValue": -999.9}])
def test_fill_values_are_refused_by_row(tmp_path: Path, engine: str, encoding: dict[str, Any]) -> None:
    write(tmp_path, WITH_GAP, engine, **encoding)
    stored = np.float32(-999.9) if encoding["dtype"] == "f4" else -32768
    wanted = f"a[10] is missing, as the first of 10 (stored as {stored}; _FillValue); fill missing values, or leave"
    assert refusal(tmp_path).startswith(wanted)


# Stored values, attributes and what is read; NaN where it is missing.
DECODED: dict[str, tuple[Any, dict[str, Any], list[float]]] = {
    "nothing said": (np.array([1, -1], "i2"), {}, [1, -1]),
    "unsigned": (np.array([1, -2, -1], "i1"), {"_Unsigned": "true", "_FillValue": np.int8(-1)}, [1, 254, np.nan]),
    "unsigned, mark in full": (np.array([1, -1], "i1"), {"_Unsigned": "true", "_FillValue": 255}, [1, np.nan]),
    "two marks": (np.array([1.0, 2, 3]), {"_FillValue": 2.0, "missing_value": 3.0}, [1, np.nan, np.nan]),
    "several marks": (np.array([1, 2, 3], "i4"), {"missing_value": np.array([1, 3], "i4")}, [np.nan, 2, np.nan]),
    "double mark of single values": (np.array([1, -999.9], "f4"), {"missing_value": -999.9}, [1, np.nan]),
    "mark as text": (np.array([1, -9.0]), {"missing_value": "-9"}, [1, np.nan]),
    "mark in units": (np.array([10, -990], "i2"), {"scale_factor": 0.1, "missing_value": -99.0}, [1, np.nan]),
    "mark as stored": (np.array([-10, -1], "i2"), {"scale_factor": 0.1, "_FillValue": np.int16(-1)}, [-1, np.nan]),
    "whole numbers of 64 bits": (np.array([5, -(2**63) + 2], "i8"), {"_FillValue": -(2**63) + 2}, [5, np.nan]),
    "the largest of 64 bits, packed": (
        np.array([5, 2**63 - 1, 2**63 - 2], "i8"),
        {"_FillValue": np.int64(2**63 - 1), "scale_factor": 2.0},
        [10, np.nan, 2.0**64],
    ),
    "a mark that overflows in units": (
        np.array([1.0, 1.797e308]),
        {"missing_value": 1.797e308, "scale_factor": 10.0},
        [10, np.nan],
    ),
    "valid range": (np.array([1.0, 7, 3]), {"valid_range": np.array([0.0, 5.0])}, [1, np.nan, 3]),
    "valid range as stored": (
        np.array([10, 70], "i2"),
        {"scale_factor": 0.1, "valid_range": np.array([0, 50], "i2")},
        [1, np.nan],
    ),
    "valid range in units": (
        np.array([10, 70], "i2"),
        {"scale_factor": 0.1, "valid_max": np.float64(5.0)},
        [1, np.nan],
    ),
    "valid unsigned": (np.array([1, -2], "i1"), {"_Unsigned": "true", "valid_min": np.int8(0)}, [1, 254]),
    "valid minimum": (np.array([1.0, -7]), {"valid_min": 0.0}, [1, np.nan]),
    "a unit of time": (np.array([1, 2], "i4"), {"units": "days", "_FillValue": np.int32(-1)}, [1, 2]),
    "dates": (np.array([1, 2], "i4"), {"units": "days since 2000-01-01", "scale_factor": 2.0}, [2, 4]),
    "big-endian": (np.array([1, 2], ">i2"), {"add_offset": 1.0, "_FillValue": np.int16(2)}, [2, np.nan]),
}


@pytest.mark.parametrize(("raw", "attributes", "wanted"), DECODED.values(), ids=DECODED.keys())
def test_decoding(raw: Any, attributes: dict[str, Any], wanted: list[float]) -> None:
    found = conventions.decoded(raw, attributes)
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, wanted, rtol=1e-12)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("scale_factor", "two"),
        ("scale_factor", 0.0),
        ("scale_factor", np.nan),
        ("add_offset", np.array([1.0, 2.0])),
        ("missing_value", "none"),
        ("valid_range", 1.0),
    ],
)
def test_attributes_that_say_nothing(name: str, value: Any) -> None:
    with pytest.raises(conventions.Refused, match=name):
        conventions.decoded(np.ones(3), {name: value})


def hdf5(folder: Path, change: Callable[[h5py.File], object]) -> None:
    with h5py.File(folder / "f.nc", "w") as file:
        file["a"], file["b"] = A, B
        change(file)


def replaced(file: h5py.File, **options: Any) -> h5py.Dataset:
    del file["a"]
    return file.create_dataset("a", **options)


def unwritten(file: h5py.File) -> None:
    replaced(file, shape=(200,), dtype="f8", chunks=(10,), fillvalue=9.969209968386869e36)[:100] = A[:100]


def foreign_filter(file: h5py.File) -> None:
    del file["a"]
    made = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    made.set_chunk((50,))
    made.set_filter(32015, h5py.h5z.FLAG_OPTIONAL, (3,))
    h5py.h5d.create(file.id, b"a", h5py.h5t.NATIVE_DOUBLE, h5py.h5s.create_simple((200,)), made)


def other_dimension(file: h5py.File) -> None:
    for name, column in (("time", "a"), ("station", "b")):
        file[name] = np.arange(200.0)
        file[name].make_scale(name)
        file[column].dims[0].attach_scale(file[name])


REFUSED: dict[str, tuple[Callable[[h5py.File], object], str]] = {
    "never written": (
        unwritten,
        "a[100] is missing, as the first of 100 (stored as 9.969209968386869e+36; _FillValue)",
    ),
    "enumeration": (
        lambda file: replaced(file, data=np.arange(200) % 2, dtype=h5py.enum_dtype({"no": 0, "yes": 1}, "i1")),
        "'a' is an enumeration; numbers are needed",
    ),
    "complex": (lambda file: replaced(file, data=A + 0j), "'a' is not a dataset of numbers with one dimension (shape"),
    "letters": (lambda file: replaced(file, data=np.full((200, 2), b"x")), "'a' is not a dataset of numbers with one"),
    "in a group": (lambda file: file.move("a", "g/a"), "has no dataset 'a'; allowed: b, g (in groups such as 'g' "),
    "foreign filter": (foreign_filter, "'a' is compressed by filter 32015"),
    "other dimensions": (other_dimension, "'a' lies along time, 'b' along station; allowed: one dimension"),
    "scale of two": (
        lambda file: file["a"].attrs.create("scale_factor", [1.0, 2.0]),
        "'a' has an attribute that cannot be understood: scale_factor is [1.0, 2.0]",
    ),
}


@pytest.mark.parametrize(("change", "words"), REFUSED.values(), ids=REFUSED.keys())
def test_hdf5_that_is_refused(tmp_path: Path, change: Callable[[h5py.File], object], words: str) -> None:
    hdf5(tmp_path, change)
    assert refusal(tmp_path).startswith(words)


def test_hdf5_without_conventions_is_read_as_it_is(tmp_path: Path) -> None:
    hdf5(tmp_path, lambda file: replaced(file, data=A, chunks=(50,), compression="gzip"))
    np.testing.assert_array_equal(read(tmp_path), np.stack([A, B], axis=1))


def test_damaged_netcdf_3_gets_one_line(tmp_path: Path) -> None:
    write(tmp_path, A, "scipy")
    whole = (tmp_path / "f.nc").read_bytes()
    (tmp_path / "f.nc").write_bytes(whole[: len(whole) // 2])
    assert refusal(tmp_path).startswith("cannot be read as netCDF-3")
    write(tmp_path, A, "scipy")
    (tmp_path / "f.nc").write_bytes((tmp_path / "f.nc").read_bytes().replace(b"\x00\x01a\x00", b"\x00\x01c\x00"))
    assert "variable 'a'" in refusal(tmp_path)


def test_texts_without_an_end_get_one_line(tmp_path: Path) -> None:
    """HDF5 would read a heap of zeros for ever; no signal ends that."""
    hdf5(tmp_path, lambda file: file["a"].attrs.create("comment", "a text of variable length"))
    content = bytearray((tmp_path / "f.nc").read_bytes())
    heap = content.index(b"GCOL")
    content[heap + 16 : heap + 528] = bytes(512)
    (tmp_path / "f.nc").write_bytes(content)
    assert refusal(tmp_path).startswith(f"is damaged: its texts at byte {heap} have no end")


@pytest.mark.parametrize("chunks", [None, (50,)])
def test_what_was_never_written_is_no_zero(tmp_path: Path, chunks: tuple[int] | None) -> None:
    with h5py.File(tmp_path / "f.nc", "w") as file:
        file["b"] = B
        file.create_dataset("a", (200,), "f8", chunks=chunks)
        if chunks:
            file["a"][:100] = A[:100]
    assert refusal(tmp_path) == "'a' has values that were never written; write them, or leave them out"
