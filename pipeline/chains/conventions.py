"""The conventions of netCDF (CF, NUG) by which numbers are stored: packed, with marks of missing values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnnlimits.base.fields import Array, show

PACKING = ("scale_factor", "add_offset")
MARKS = ("_FillValue", "missing_value")
VALID = ("valid_range", "valid_min", "valid_max")
# What netCDF writes where nothing was written, by type; bytes have no such value.
UNWRITTEN: dict[str, float] = {"i2": -32767, "i4": -2147483647, "u2": 65535, "u4": 4294967295}
UNWRITTEN |= {"i8": -9223372036854775806, "u8": 18446744073709551614}
UNWRITTEN |= {"f4": 9.969209968386869e36, "f8": 9.969209968386869e36}


class Refused(Exception):
    """An attribute that cannot be understood; the reader adds file and variable."""


def plain(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Attributes with arrays of one entry as scalars and bytes as text."""
    found = {}
    for name, value in attributes.items():
        value = value.decode("utf-8", "replace") if isinstance(value, bytes) else value
        found[name] = value.reshape(-1)[0] if isinstance(value, np.ndarray) and value.size == 1 else value
    return found


def decoded(raw: NDArray[Any], attributes: Mapping[str, Any]) -> Array:
    """The values (n,) of a variable in its units, float64, NaN where they are missing.

    scale_factor, add_offset and _Unsigned are decoded by xarray. Missing are _FillValue, missing_value, and what is
    outside valid_range, valid_min or valid_max. xarray takes a mark only if it has the type of the values, so that a
    float64's -999.9 would not be found among values of float32. Raises Refused.
    """
    given = {name: attributes[name] for name in (*PACKING, *MARKS, *VALID, "_Unsigned") if name in attributes}
    if not given:
        return raw.astype(np.float64)
    coding = {name: _numbers(name, given[name], 1)[0] for name in PACKING if name in given}
    if coding.get("scale_factor") == 0:
        raise Refused("scale_factor is 0")
    coding |= {name: value for name, value in given.items() if name == "_Unsigned"}
    found = _by_xarray(raw, coding)
    return np.where(_marked(raw, found, given) | _outside(raw, found, given), np.nan, found)


def _marked(raw: NDArray[Any], found: Array, given: Mapping[str, Any]) -> NDArray[np.bool_]:
    """Which values are a mark: as they are stored, which is the convention, or in their units, as some write it."""
    marks = [mark for name in MARKS if name in given for mark in _exact(name, given[name])]
    return np.isin(raw, np.array(_as_stored(marks, raw), dtype=raw.dtype)) | np.isin(found, _as_values(given, raw))


def _by_xarray(raw: NDArray[Any], coding: dict[str, Any]) -> Array:
    """Unpacked values; a unit of time or a date stays the number that it is."""
    import xarray as xr  # takes a second to import, and few files need it

    variable = xr.Variable(("row",), raw, coding)
    with np.errstate(over="ignore", invalid="ignore"):  # marks may be the largest numbers, and are left out later
        values = xr.conventions.decode_cf_variable("", variable, decode_times=False, decode_timedelta=False).values
        return np.asarray(values, dtype=np.float64)


def _as_values(given: Mapping[str, Any], raw: NDArray[Any]) -> Array:
    """Marks in the units of the values: of packed whole numbers those that are no whole numbers by their type.

    The conventions want them as they are stored, but not all programs do so.
    """
    packed = raw.dtype.kind in "iu" and any(name in given for name in PACKING)
    names = [name for name in MARKS if name in given and not (packed and np.asarray(given[name]).dtype.kind in "iu")]
    return np.concatenate([np.empty(0), *(_numbers(name, given[name]) for name in names)])


def _numbers(name: str, value: Any, count: int = 0) -> Array:
    """The numbers of an attribute; count: how many it must have. Raises Refused."""
    try:
        found = np.asarray(value if not isinstance(value, str) else value.split(), dtype=np.float64).reshape(-1)
    except (TypeError, ValueError):
        found = np.empty(0)
    if not found.size or (count and (found.size != count or not np.isfinite(found).all())):
        raise Refused(f"{name} is {show(value.tolist() if isinstance(value, np.ndarray) else value)}")
    return found


def _exact(name: str, value: Any) -> list[int] | list[float]:
    """The numbers of an attribute; whole ones as they are, as a float64 holds them only up to 2**53. Raises Refused."""
    numbers: list[float] = _numbers(name, value).tolist()
    return np.asarray(value).reshape(-1).tolist() if np.asarray(value).dtype.kind in "iu" else numbers


def _as_stored(marks: list[int] | list[float], raw: NDArray[Any]) -> list[Any]:
    """The marks as values of the stored type: a float32 holds a float64's -999.9 as another number."""
    if raw.dtype.kind == "f":
        with np.errstate(over="ignore"):
            return [np.float64(mark).astype(raw.dtype) for mark in marks]
    about = np.iinfo(raw.dtype)
    low, high = about.min, 2 * about.max + 1 if raw.dtype.kind == "i" else about.max
    whole = [int(mark) for mark in marks if np.isfinite(mark) and mark == int(mark) and low <= mark <= high]
    return [
        np.array(mark % 2 ** (8 * raw.dtype.itemsize), f"u{raw.dtype.itemsize}").astype(raw.dtype) for mark in whole
    ]


def _outside(raw: NDArray[Any], found: Array, given: Mapping[str, Any]) -> NDArray[np.bool_]:
    """Which values are not valid. The limits are stored as the values are, or in their units, as their type tells."""
    outside = np.zeros(len(found), dtype=bool)
    packed = any(name in given for name in PACKING)
    for name in (name for name in VALID if name in given):
        limits = _numbers(name, given[name], 2 if name == "valid_range" else 1)
        as_stored = packed and np.asarray(given[name]).dtype.kind in "iu" and raw.dtype.kind in "iu"
        values = _as_read(raw, given).astype(np.float64) if as_stored else found
        if name != "valid_max":
            outside |= values < limits[0]
        if name != "valid_min":
            outside |= values > limits[-1]
    return outside


def _as_read(raw: NDArray[Any], given: Mapping[str, Any]) -> NDArray[Any]:
    unsigned = str(given.get("_Unsigned", "")).lower() == "true" and raw.dtype.kind == "i"
    return raw.view(f"{raw.dtype.byteorder}u{raw.dtype.itemsize}") if unsigned else raw
