"""Named dimensions of variables as HDF5 dimension scales, which is where netCDF and xarray look for them.

The references between variables and scales are written once, when all of a file's variables are known: H5DSattach_scale
writes all references of a scale anew for every variable that is attached, which took longer than all values.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import h5py
import numpy as np
from h5py import h5a, h5d, h5ds, h5f, h5i, h5r, h5s, h5t

LABELS, DIMENSIONS, REFERENCES = b"DIMENSION_LABELS", b"DIMENSION_LIST", b"REFERENCE_LIST"

REFERENCE = h5py.ref_dtype
AXIS = h5py.vlen_dtype(REFERENCE)  # the scales of one axis
USE = np.dtype({"names": ["dataset", "dimension"], "formats": [REFERENCE, "<u4"], "offsets": [0, 8], "itemsize": 16})
_AXIS_IN_FILE, _AXIS_IN_MEMORY = h5t.vlen_create(h5t.STD_REF_OBJ), h5t.py_create(AXIS)


class Named(NamedTuple):
    """A variable that was written, the names of its dimensions, and its attributes."""

    id: h5d.DatasetID
    dims: tuple[str, ...]
    units: str
    long_name: str
    digest: str | None


# By HDF5's names of open files and of their groups: every variable by name. Names of files in memory are unique.
_named: dict[bytes, dict[bytes, dict[str, Named]]] = {}


def name_dimensions(
    dataset: h5py.Dataset, dims: tuple[str, ...], units: str, long_name: str, digest: str | None
) -> None:
    """Give the axes of a new variable names, which `connect` writes, and remember its attributes until then."""
    group, _, name = h5i.get_name(dataset.id).rpartition(b"/")
    in_file = _named.setdefault(h5f.get_name(dataset.id), {})
    in_file.setdefault(group, {})[name.decode()] = Named(dataset.id, dims, units, long_name, digest)


def named_in(group: h5py.Group) -> dict[str, Named]:
    """The variables of a group whose dimensions were named, in the order in which they were written."""
    return dict(_named.get(h5f.get_name(group.id), {}).get(h5i.get_name(group.id).rstrip(b"/"), {}))


def forget(file: h5py.File) -> None:
    """Forget the names of a file that is about to be closed."""
    _named.pop(h5f.get_name(file.id), None)


def connect(group: h5py.Group, variables: Mapping[str, Named]) -> None:
    """Make scales of all variables that have the name of their only dimension, and attach them to all others."""
    uses: dict[str, list[tuple[Any, int]]] = {}
    for name, variable in variables.items():
        if variable.dims == (name,):
            h5ds.set_scale(variable.id, name.encode())
            uses.setdefault(name, [])
    cells = {name: np.array([h5r.create(group.id, name.encode(), h5r.OBJECT)], dtype=REFERENCE) for name in uses}
    for name, variable in variables.items():
        if name in uses or not variable.dims:
            continue
        _write_axes(variable.id, [cells[dim] for dim in variable.dims])
        own = h5r.create(group.id, name.encode(), h5r.OBJECT)
        for axis, dim in enumerate(variable.dims):
            uses[dim].append((own, axis))
    for name, of_scale in uses.items():
        if of_scale:
            _write_uses(variables[name].id, of_scale)


def _write_axes(variable: h5d.DatasetID, cells: Sequence[np.ndarray[Any, Any]]) -> None:
    axes = np.empty(len(cells), dtype=AXIS)
    for axis, cell in enumerate(cells):
        axes[axis] = cell
    space = h5s.create_simple(axes.shape)
    h5a.create(variable, DIMENSIONS, _AXIS_IN_FILE, space).write(axes, mtype=_AXIS_IN_MEMORY)


def _write_uses(scale: h5d.DatasetID, uses: Sequence[tuple[Any, int]]) -> None:
    in_file = h5t.create(h5t.COMPOUND, USE.itemsize)
    in_file.insert(b"dataset", 0, h5t.STD_REF_OBJ)
    in_file.insert(b"dimension", 8, h5t.NATIVE_UINT32)
    array = np.array(uses, dtype=USE)
    h5a.create(scale, REFERENCES, in_file, h5s.create_simple(array.shape)).write(array, mtype=h5t.py_create(USE))


def dims_of(dataset: h5py.Dataset) -> tuple[str, ...]:
    """The names of the dimensions of a finished variable ("" for an axis without one)."""
    if h5ds.is_scale(dataset.id):
        return (str(dataset.name).rsplit("/", 1)[-1],)
    if h5a.exists(dataset.id, LABELS) or not h5a.exists(dataset.id, DIMENSIONS):  # another software's
        return tuple(axis.label or (axis[0].name.rsplit("/", 1)[-1] if len(axis) else "") for axis in dataset.dims)
    attribute = h5a.open(dataset.id, DIMENSIONS)
    if attribute.shape != (dataset.ndim,):
        raise ValueError(f"{dataset.name}: has dimensions of shape {attribute.shape} and {dataset.ndim} axes")
    axes = np.empty(dataset.ndim, dtype=AXIS)
    attribute.read(axes, mtype=_AXIS_IN_MEMORY)
    return tuple(_name_of(axis[0], dataset) if len(axis) else "" for axis in axes)


def _name_of(reference: Any, dataset: h5py.Dataset) -> str:
    # Its name as a scale is that as a variable, which HDF5 would have to search for.
    name: bytes = h5ds.get_scale_name(h5r.dereference(reference, dataset.id))
    return name.decode()
