"""Variables of an HDF5 file: values, named dimensions, units, meaning, digest."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import h5py
import numpy as np
from h5py import h5a, h5d, h5o, h5p, h5s, h5t
from numpy.typing import ArrayLike, NDArray

from rnnlimits.files import digests, scales
from rnnlimits.files.attributes import TEXT, set_attributes
from rnnlimits.files.scales import Named

CHUNK_BYTES = 256 << 10
COMPRESS_ABOVE = 64 << 10
PAYS = 0.8
# xarray turns a variable with one of these units into dates or durations; "s" stays a number.
TIME_UNITS = {"days", "hours", "minutes", "seconds", "milliseconds", "microseconds", "nanoseconds"}
PLAIN = h5p.create(h5p.DATASET_CREATE)
PLAIN.set_obj_track_times(False)


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
    dataset = _created(file, name, values, _storage(values) if compress else {})
    describe(dataset, dims, units, long_name, None if volatile else digests.of_array(values))
    return dataset


def _created(file: h5py.Group, name: str, values: NDArray[Any], storage: Mapping[str, Any]) -> h5py.Dataset:
    if values.dtype.kind == "O":
        return file.create_dataset(name, data=values, dtype=TEXT, **storage)
    if storage:
        return file.create_dataset(name, data=values, **storage)
    kind = h5t.py_create(values.dtype, logical=True)
    created = h5d.create(file.id, name.encode(), kind, h5s.create_simple(values.shape), PLAIN)
    if values.size:
        created.write(h5s.ALL, h5s.ALL, np.asarray(values, order="C"))
    return h5py.Dataset(created)


def describe(dataset: h5py.Dataset, dims: tuple[str, ...], units: str, long_name: str, digest: str | None) -> None:
    """Name a dataset's dimensions and attach its attributes; digest None marks it volatile."""
    if units in TIME_UNITS or not units or not long_name:
        raise ValueError(f"{dataset.name}: units {units!r} (write s, or 1), long_name {long_name!r}")
    scales.name_dimensions(dataset, dims, units, long_name, digest)
    attributes = {"units": units, "long_name": long_name}
    set_attributes(dataset, attributes | ({"volatile": True} if digest is None else {"digest": digest}))


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


def datasets(group: h5py.Group) -> dict[str, h5py.Dataset]:
    """The datasets directly in a group of a finished file, in the order in which they were written."""
    members = {name: h5o.open(group.id, name.encode("utf-8", "surrogateescape")) for name in group}
    found = {name: member for name, member in members.items() if isinstance(member, h5d.DatasetID)}
    return {name: h5py.Dataset(member, readonly=True) for name, member in found.items()}


def digests_of(group: h5py.Group) -> dict[str, str]:
    """The digest of each variable of a group that is not volatile nor virtual, computed from its values."""
    return digests_of_each(datasets(group).values())


def digests_of_each(found: Iterable[h5py.Dataset]) -> dict[str, str]:
    """Like `digests_of`, of these datasets of a finished file."""
    computed = {}
    for dataset in found:
        if not h5a.exists(dataset.id, b"volatile") and not dataset.is_virtual:
            running = digests.RunningDigest(dataset.dtype, dataset.shape)
            for piece in digests.slabs(dataset):
                running.update(piece)
            computed[dataset.name] = running.hexdigest()
    return computed


def groups(group: h5py.Group) -> Iterator[h5py.Group]:
    """This group and every group below it."""
    yield group
    for name in group:
        if h5o.get_info(group.id, name.encode()).type == h5o.TYPE_GROUP:
            yield from groups(group[name])


def _lengths(written: Mapping[str, Named]) -> dict[str, int]:
    """Length of each dimension of variables with these dimensions, in which they have to agree."""
    lengths: dict[str, int] = {}
    for name, variable in written.items():
        for dim, length in zip(variable.dims, variable.id.shape, strict=True):
            if lengths.setdefault(dim, length) != length:
                raise ValueError(f"{name}: dimension {dim} has length {length} here, {lengths[dim]} elsewhere")
    return lengths


def attach_scales(file: h5py.File) -> None:
    """Write the names of all dimensions, with an index for each dimension that has no coordinate.

    This is done last, because variables may be written before the coordinates of their dimensions. Raises ValueError
    for a mistake in the calling code, such as variables that disagree on the length of a dimension.
    """
    for group in groups(file):
        written = scales.named_in(group)
        _require_named(group, written)
        for dim, length in _lengths(written).items():
            if dim not in written:
                put(group, dim, np.arange(length), (dim,), "1", f"index of {dim}")
            elif written[dim].dims != (dim,):
                raise ValueError(f"{dim}: has the name of a dimension and other dimensions")
        scales.connect(group, scales.named_in(group))


def _require_named(group: h5py.Group, written: Mapping[str, Named]) -> None:
    for name in group:
        if name not in written and not isinstance(group[name], h5py.Group):
            raise ValueError(f"{name}: was not written with put")
