"""Columns of an HDF5 or netCDF file: variables of one dimension at its top, decoded as its conventions say."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from rnnlimits.base.errors import StudyError
from rnnlimits.base.fields import Array, nearest, show
from rnnlimits.chains import conventions, heaps

LONGEST = 2**27  # values, a GiB; more is a damaged or hostile file
CLASSIC = b"CDF"  # the first bytes of netCDF-3


@dataclass(frozen=True)
class Variable:
    """A variable as it is stored: values (n,), attributes, and the name of its dimension if it has one."""

    raw: NDArray[Any]
    attributes: Mapping[str, Any]
    dimension: str | None


def is_classic(path: Path) -> bool:
    """Whether the file is netCDF-3."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(len(CLASSIC)) == CLASSIC


def read(path: Path, names: Sequence[str]) -> Array:
    """Variables `names` of an HDF5 or netCDF file, each of one dimension and one length, as (rows, columns).

    Raises StudyError, one line with the file, the variable and its row: a file that cannot be read, a variable that is
    missing or not of numbers, other lengths or dimensions, a missing value.
    """
    found = variables(path, names)
    lengths = {len(one.raw) for one in found}
    if len(lengths) > 1:
        raise StudyError(f"{path}: datasets have lengths {sorted(lengths)}; allowed: one length for all")
    dimensions = {one.dimension: name for name, one in zip(names, found, strict=True) if one.dimension is not None}
    if len(dimensions) > 1:
        (dim, name), (other_dim, other), *_ = dimensions.items()
        raise StudyError(
            f"{path}: {show(name)} lies along {dim}, {show(other)} along {other_dim}; allowed: one dimension"
        )
    return np.stack([_decoded(one, name, path) for name, one in zip(names, found, strict=True)], axis=1)


def variables(path: Path, names: Sequence[str]) -> list[Variable]:
    """Variables `names` as they are stored. Raises StudyError as `read` does."""
    if is_classic(path):
        return _of_classic(path, names)
    with _opened(path) as file:
        return [_of_hdf5(file, name, path) for name in names]


def known(path: Path) -> list[str]:
    """Names of all variables of one dimension at the top of the file."""
    if is_classic(path):
        return [name for name, one in _classic(path).variables.items() if len(one.shape) == 1]
    with _opened(path) as file:
        links = [name for name in file if isinstance(file.get(name, getlink=True), h5py.HardLink)]
        datasets = {name: file[name] for name in links if isinstance(file[name], h5py.Dataset)}
        return [name for name, one in datasets.items() if one.ndim == 1 and not _is_bare_dimension(one)]


def _is_bare_dimension(dataset: h5py.Dataset) -> bool:
    label = conventions.plain({"NAME": dataset.attrs.get("NAME", "")})["NAME"]
    return str(label).startswith("This is a netCDF dimension but not a netCDF variable")


def _decoded(one: Variable, name: str, path: Path) -> Array:
    attributes = conventions.plain(one.attributes)
    try:
        values = conventions.decoded(one.raw, attributes)
    except conventions.Refused as error:
        raise StudyError(f"{path}: {show(name)} has an attribute that cannot be understood: {error}") from error
    bad = np.flatnonzero(~np.isfinite(values))
    if not len(bad):
        return values
    first = int(bad[0])
    if np.isfinite(one.raw[first]):
        marks = ", ".join(key for key in (*conventions.MARKS, *conventions.VALID) if key in attributes)
        raise StudyError(
            f"{path}: {name}[{first}] is missing, as the first of {len(bad)} (stored as {one.raw[first]}; {marks}); "
            "fill missing values, or leave their rows out"
        )
    raise StudyError(f"{path}: {name}[{first}] is {values[first]}; allowed: a finite number")


# --- HDF5 and netCDF-4 ---------------------------------------------------------------------------------------


@contextmanager
def _opened(path: Path) -> Iterator[h5py.File]:
    try:
        if (place := heaps.first_endless(path)) is not None:
            raise StudyError(f"{path}: is damaged: its texts at byte {place} have no end; get an undamaged copy")
        with h5py.File(path, "r") as file:
            yield file
    except OSError as error:
        raise StudyError(f"{path}: cannot be read as HDF5: {' '.join(str(error).split())}") from error


def _of_hdf5(file: h5py.File, name: str, path: Path) -> Variable:
    # Links, virtual and external datasets could lead anywhere; a series must be stored in the file itself.
    if "/" in name or not isinstance(file.get(name, getlink=True), h5py.HardLink):
        raise StudyError(f"{path}: has no dataset {show(name)}; {nearest(name, list(file))}{_groups(file)}")
    dataset = file[name]
    if not isinstance(dataset, h5py.Dataset) or dataset.ndim != 1 or dataset.dtype.kind not in "iuf":
        raise StudyError(f"{path}: {show(name)} is not a dataset of numbers with one dimension{_what(dataset)}")
    if h5py.check_enum_dtype(dataset.dtype) is not None:
        raise StudyError(f"{path}: {show(name)} is an enumeration; numbers are needed")
    if dataset.is_virtual or dataset.external or len(dataset) > LONGEST:
        raise StudyError(f"{path}: {show(name)} must lie in this file and have at most {LONGEST} values")
    _require_filters(dataset, name, path)
    attributes = dict(dataset.attrs)
    if (fill := _fill_value(dataset)) is not None:
        attributes.setdefault("_FillValue", fill)
    if "_FillValue" not in attributes and not _is_written(dataset):
        raise StudyError(f"{path}: {show(name)} has values that were never written; write them, or leave them out")
    return Variable(dataset[()], attributes, _dimension(dataset))


def _groups(file: h5py.File) -> str:
    groups = [name for name in file if isinstance(file.get(name, getlink=True), h5py.HardLink)]
    groups = [name for name in groups if isinstance(file[name], h5py.Group)]
    return f" (in groups such as {show(groups[0])} nothing is read)" if groups else ""


def _what(dataset: h5py.Dataset | h5py.Group) -> str:
    return f" (shape {dataset.shape}, type {dataset.dtype})" if isinstance(dataset, h5py.Dataset) else " (a group)"


def _require_filters(dataset: h5py.Dataset, name: str, path: Path) -> None:
    made = dataset.id.get_create_plist()
    for index in range(made.get_nfilters()):
        code, _, _, label = made.get_filter(index)
        if not h5py.h5z.filter_avail(code):
            words = label.decode("utf-8", "replace").split(";")[0] or "no name"
            raise StudyError(
                f"{path}: {show(name)} is compressed by filter {code} ({words}), which is not installed here; "
                "rewrite the file with gzip (h5repack -f GZIP=4 FILE NEW)"
            )


def _fill_value(dataset: h5py.Dataset) -> Any:
    """What HDF5 returns where nothing was written, if the file says so itself; 0 is taken for a number."""
    if dataset.id.get_create_plist().fill_value_defined() != h5py.h5d.FILL_VALUE_USER_DEFINED:
        return None
    fill = dataset.fillvalue
    return fill if np.isfinite(fill) and fill != 0 else None


def _is_written(dataset: h5py.Dataset) -> bool:
    """Whether all values were written: HDF5 keeps no room for others, and shows a fill value."""
    if dataset.chunks is None:
        return bool(dataset.id.get_storage_size()) or len(dataset) == 0
    return bool(dataset.id.get_num_chunks() == -(-len(dataset) // dataset.chunks[0]))


def _dimension(dataset: h5py.Dataset) -> str | None:
    """The name of its dimension, without that of a dimension without coordinate, which other tools number."""
    if dataset.is_scale:
        return str(dataset.name).rsplit("/", 1)[-1]
    axis = dataset.dims[0]
    return str(axis[0].name).rsplit("/", 1)[-1] if len(axis) else None


# --- netCDF-3 ------------------------------------------------------------------------------------------------


def _classic(path: Path) -> Any:
    from scipy.io import netcdf_file

    try:
        return netcdf_file(path, "r", mmap=False)
    except OSError as error:
        raise StudyError(f"{path}: cannot be read: {error.strerror or error}") from error
    except Exception as error:  # of a damaged file the reader raises whatever comes
        raise StudyError(
            f"{path}: cannot be read as netCDF-3 ({type(error).__name__}); convert it to netCDF-4 (nccopy -k nc4)"
        ) from error


def _of_classic(path: Path, names: Sequence[str]) -> list[Variable]:
    file, found = _classic(path), []
    for name in names:
        if name not in file.variables:
            raise StudyError(f"{path}: has no variable {show(name)}; {nearest(name, file.variables)}")
        one = file.variables[name]
        raw = np.asarray(one[()] if one.shape == () else one[:])
        if raw.ndim != 1 or raw.dtype.kind not in "iuf":
            what = f"(shape {raw.shape}, type {raw.dtype})"
            raise StudyError(f"{path}: {show(name)} is not a variable of numbers with one dimension {what}")
        attributes = dict(one._attributes)
        if raw.dtype.str[1:] in conventions.UNWRITTEN:
            attributes.setdefault("_FillValue", conventions.UNWRITTEN[raw.dtype.str[1:]])
        found.append(Variable(raw, attributes, one.dimensions[0]))
    return found
