"""Variables of an HDF5 file: values, named dimensions, units, meaning, digest."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import ArrayLike, NDArray

from rnnlimits.files import digests

LABELS = "DIMENSION_LABELS"
CHUNK_BYTES = 256 << 10
COMPRESS_ABOVE = 64 << 10
PAYS = 0.8
# xarray turns a variable with one of these units into dates or durations; "s" stays a number.
TIME_UNITS = {"days", "hours", "minutes", "seconds", "milliseconds", "microseconds", "nanoseconds"}
TEXT = h5py.string_dtype()


def put(
    file: h5py.Group,
    name: str,
    data: ArrayLike,
    dims: tuple[str, ...],
    units: str,
    long_name: str,
    volatile: bool = False,
    compress: bool = True,
) -> h5py.Dataset:
    """Add a variable to a file (or group) opened by `atomic_h5`.

    data: numbers, booleans (stored as uint8) or text, one axis for each of `dims`; a variable with the name of its only
    dimension is that dimension's coordinate. volatile: differs from run to run (a timing), so it gets no digest.
    compress: try to compress, which takes longer than writing.
    Raises ValueError or TypeError for a mistake in the calling code.
    """
    values = _storable(data)
    _check_dims(name, values.shape, dims)
    text = {"dtype": TEXT} if values.dtype.kind == "O" else {}
    dataset = file.create_dataset(name, data=values, **text, **(_storage(values) if compress else {}))
    describe(dataset, dims, units, long_name, None if volatile else digests.of_array(values))
    return dataset


def describe(dataset: h5py.Dataset, dims: tuple[str, ...], units: str, long_name: str, digest: str | None) -> None:
    """Name a dataset's dimensions and attach its attributes; digest None marks it volatile."""
    if units in TIME_UNITS or not units or not long_name:
        raise ValueError(f"{dataset.name}: units {units!r} (write s, or 1), long_name {long_name!r}")
    for axis, dim in zip(dataset.dims, dims, strict=True):
        axis.label = dim
    attributes = {"units": units, "long_name": long_name}
    set_attributes(dataset, attributes | ({"volatile": True} if digest is None else {"digest": digest}))


def set_attributes(target: h5py.Group | h5py.Dataset, attrs: Mapping[str, object]) -> None:
    """Write attributes in the types that HDF5, netCDF and xarray all read: text, int64, float64, uint8, 1-d."""
    for name, value in attrs.items():
        target.attrs[name] = _attribute(name, value)


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


def _storable(data: ArrayLike) -> NDArray[Any]:
    """The array as stored: little-endian numbers, booleans as uint8, text as an object array of str."""
    values = np.asarray(data)
    if values.dtype.kind == "b":
        return values.astype(np.uint8)
    if values.dtype.kind in "UO" and all(isinstance(item, str) for item in values.ravel().tolist()):
        return values.astype(object)
    if values.dtype.kind not in "iuf" or values.dtype.itemsize > 8:
        raise TypeError(f"values of type {values.dtype} cannot be stored: numbers of up to 8 bytes, or text")
    return np.ascontiguousarray(values, dtype=values.dtype.newbyteorder("<")).reshape(values.shape)


def _check_dims(name: str, shape: tuple[int, ...], dims: tuple[str, ...]) -> None:
    """Require one name for each axis, and no name twice."""
    if len(dims) != len(shape) or len(set(dims)) != len(dims):
        raise ValueError(f"{name}: dims {dims} do not name the axes of an array of shape {shape}")


def _storage(values: NDArray[Any]) -> dict[str, Any]:
    """Chunks along the first dimension for large arrays, compressed if that pays (noise hardly shrinks)."""
    if values.ndim == 0 or values.dtype.kind == "O" or values.nbytes <= COMPRESS_ABOVE:
        return {}
    rows = max(1, min(len(values), CHUNK_BYTES * len(values) // values.nbytes))
    chunked = {"chunks": (rows, *values.shape[1:]), "fletcher32": True}
    return chunked | ({"compression": "gzip", "shuffle": True} if _compresses(values) else {})


def _compresses(values: NDArray[Any]) -> bool:
    """Return whether a piece from the middle compresses, with the bytes shuffled as HDF5 does."""
    flat = values.ravel()
    count = COMPRESS_ABOVE // values.itemsize
    start = max(0, (flat.size - count) // 2)
    piece = flat[start : start + count]
    shuffled = piece.view(np.uint8).reshape(piece.size, -1).T.tobytes()
    return len(zlib.compress(shuffled, 4)) < PAYS * len(shuffled)


def dims_of(dataset: h5py.Dataset) -> tuple[str, ...]:
    """The names of a variable's dimensions ("" for an axis without one)."""
    if dataset.is_scale:
        return (dataset.name.rsplit("/", 1)[-1],)
    return tuple(axis.label or (axis[0].name.rsplit("/", 1)[-1] if len(axis) else "") for axis in dataset.dims)


def datasets(group: h5py.Group) -> dict[str, h5py.Dataset]:
    """The datasets directly in a group, in the order in which they were written."""
    return {name: item for name, item in group.items() if isinstance(item, h5py.Dataset)}


def digests_of(group: h5py.Group) -> dict[str, str]:
    """The digest of each variable of a group that is not volatile nor virtual, computed from its values."""
    found = {}
    for dataset in datasets(group).values():
        if "volatile" not in dataset.attrs and not dataset.is_virtual:
            running = digests.RunningDigest(dataset.dtype, dataset.shape)
            for piece in digests.slabs(dataset):
                running.update(piece)
            found[dataset.name] = running.hexdigest()
    return found


def groups(group: h5py.Group) -> Iterator[h5py.Group]:
    """This group and every group below it."""
    yield group
    for item in group.values():
        if isinstance(item, h5py.Group):
            yield from groups(item)


def _lengths(written: Mapping[h5py.Dataset, tuple[str, ...]]) -> dict[str, int]:
    """Length of each dimension of datasets with these dimensions, in which they have to agree."""
    lengths: dict[str, int] = {}
    for dataset, dims in written.items():
        for dim, length in zip(dims, dataset.shape, strict=True):
            if lengths.setdefault(dim, length) != length:
                raise ValueError(f"{dataset.name}: dimension {dim} has length {length} here, {lengths[dim]} elsewhere")
    return lengths


def attach_scales(file: h5py.File) -> None:
    """Turn the dimension names into HDF5 dimension scales, which is where netCDF and xarray look for them.

    This is done last, because variables may be written before the coordinates of their dimensions. Raises ValueError
    for a mistake in the calling code, such as variables that disagree on the length of a dimension.
    """
    for group in groups(file):
        written = {dataset: dims_of(dataset) for dataset in datasets(group).values()}
        scales = {}
        for dim, length in _lengths(written).items():
            scale = scales[dim] = group.get(dim)
            if scale is None:
                scale = scales[dim] = put(group, dim, np.arange(length), (dim,), "1", f"index of {dim}")
                written[scale] = (dim,)
            if dims_of(scale) != (dim,):
                raise ValueError(f"{scale.name}: has the name of a dimension and other dimensions")
            scale.make_scale(dim)
        for dataset, dims in written.items():
            _attach(dataset, [scales[dim] for dim in dims])


def _attach(dataset: h5py.Dataset, scales: Sequence[h5py.Dataset]) -> None:
    if "digest" not in dataset.attrs and "volatile" not in dataset.attrs:
        raise ValueError(f"{dataset.name}: was not written with put")
    if not dataset.is_scale:
        for axis, scale in zip(dataset.dims, scales, strict=True):
            axis.attach_scale(scale)
    if LABELS in dataset.attrs:  # netCDF does not know this attribute and would show it to users
        del dataset.attrs[LABELS]
