"""Attributes of HDF5 objects, by the calls of HDF5 itself: h5py's own mapping takes several times as long for each."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from h5py import h5a, h5s, h5t

TEXT = h5py.string_dtype()
_TEXT_IN_FILE, _TEXT_IN_MEMORY = h5t.py_create(TEXT, logical=True), h5t.py_create(TEXT)
_SCALAR = h5s.create(h5s.SCALAR)


def set_attributes(target: h5py.Group | h5py.Dataset, attrs: Mapping[str, object]) -> None:
    """Write attributes in the types that HDF5, netCDF and xarray all read: text, int64, float64, uint8, 1-d."""
    for name, value in attrs.items():
        place = name.encode()
        if h5a.exists(target.id, place):
            h5a.delete(target.id, place)
        _write(target.id, place, _attribute(name, value))


def text_attribute(dataset: h5py.Dataset, name: str) -> str | None:
    """An attribute that was written as text; None if it does not exist. Raises what h5py raises for another type."""
    if not h5a.exists(dataset.id, place := name.encode()):
        return None
    attribute = h5a.open(dataset.id, place)
    text = text_in(attribute)
    return str(dataset.attrs[name]) if text is None else text


def text_in(attribute: h5a.AttrID) -> str | None:
    """The text of a scalar attribute; None if it holds something else."""
    kind = attribute.get_type()
    if not isinstance(kind, h5t.TypeStringID) or not kind.is_variable_str() or attribute.shape != ():
        return None
    found = np.empty((), dtype=TEXT)
    attribute.read(found, mtype=_TEXT_IN_MEMORY)
    value = found[()]
    return value.decode("utf-8", "surrogateescape") if isinstance(value, bytes) else str(value or "")


def _write(target: h5py.h5g.GroupID | h5py.h5d.DatasetID, name: bytes, value: Any) -> None:
    if isinstance(value, str):
        h5a.create(target, name, _TEXT_IN_FILE, _SCALAR).write(np.array(value, dtype=TEXT), mtype=_TEXT_IN_MEMORY)
        return
    array = np.asarray(value, order="C")
    space = h5s.create_simple(array.shape) if array.ndim else _SCALAR
    h5a.create(target, name, h5t.py_create(array.dtype, logical=True), space).write(array)


def _attribute(name: str, value: object) -> Any:
    if isinstance(value, bool | np.bool_):
        return np.uint8(value)
    if isinstance(value, int | np.integer):
        return np.int64(value)
    if isinstance(value, float | np.floating):
        return np.float64(value)
    if isinstance(value, str | Path):
        # A command line may contain bytes that are not UTF-8.
        return str(value).encode("utf-8", "replace").decode()
    if isinstance(value, Mapping):
        return json.dumps(value, sort_keys=True)
    array = np.asarray(value)
    if array.dtype.kind not in "iuf" or array.ndim != 1:
        raise TypeError(f"attribute {name}: {value!r} is neither text, a number nor a list of numbers")
    return array
