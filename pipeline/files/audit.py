"""Safety check of an HDF5 file before any of its values is read.

Files travel between people, and HDF5 can point outside itself (external links, external storage, virtual
sources) or declare arrays larger than any memory. Only what this software writes is accepted.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, Protocol

import h5py

from rnnlimits.files.attributes import text_in

MAX_DEPTH = 16
MAX_OBJECTS = 100_000
MAX_ATTRIBUTE_BYTES = 1 << 20
# Deflate cannot compress by more than 1032:1, so a larger ratio cannot come from compressed data.
MAX_RATIO = 1100
FILTERS = {h5py.h5z.FILTER_DEFLATE, h5py.h5z.FILTER_SHUFFLE, h5py.h5z.FILTER_FLETCHER32}
# What h5py raises, as well as OSError, on a file whose bytes were damaged or forged.
DAMAGE = (OSError, RuntimeError, LookupError, ValueError, TypeError, OverflowError, MemoryError)


class Unsafe(Exception):
    """The file has a feature that this software neither writes nor reads; the message is a clause without a subject."""


@dataclass(frozen=True)
class Source:
    """A block of consecutive rows of a virtual dataset, and where its values are."""

    file: str
    dataset: str
    rows: int


class Attributed(Protocol):
    """Whatever has HDF5 attributes."""

    @property
    def attrs(self) -> Any: ...  # noqa: D102


def scalar(group: Attributed, name: str) -> str | int | float | None:
    """The scalar attribute `name` as a plain Python value; None if it does not exist. Raises Unsafe."""
    if name not in group.attrs:
        return None
    attribute = group.attrs.get_id(name)
    if attribute.shape != () or attribute.get_storage_size() > MAX_ATTRIBUTE_BYTES:
        raise Unsafe(f"attribute {name} is not a scalar")
    if (text := text_in(attribute)) is not None:
        return text
    value = group.attrs[name]
    value = value.item() if hasattr(value, "item") else value
    if not isinstance(value, str | int | float):
        raise Unsafe(f"attribute {name} is neither text nor a number")
    return value


def require_safe(file: h5py.File, size: int) -> list[h5py.Dataset]:
    """Visit every object of an open file of `size` bytes, following no link out of it. Returns its virtual datasets.

    Raises Unsafe at the first link, type, filter, storage or declared size that this software does not write;
    on damaged metadata h5py raises one of DAMAGE.
    """
    datasets = list(_datasets(file))
    for dataset in datasets:
        _require_known_type(dataset)
        _require_stored(dataset, size)
    declared = sum(_declared_bytes(dataset) for dataset in datasets)
    if declared > _memory_bytes():
        raise Unsafe(f"declares {declared / 2**30:.0f} GiB of data, more than this machine's memory")
    return [dataset for dataset in datasets if dataset.is_virtual]


def stored(file: h5py.File, name: str, size: int) -> h5py.Dataset:
    """The dataset `name` of the root of a file of `size` bytes, whose values are in the file. Raises Unsafe."""
    place = name.encode()
    if not file.id.links.exists(place) or file.id.links.get_info(place).type != h5py.h5l.TYPE_HARD:
        raise Unsafe(f"/{name} is not a variable")
    member = h5py.h5o.open(file.id, place)
    if not isinstance(member, h5py.h5d.DatasetID):
        raise Unsafe(f"/{name} is not a variable")
    dataset = h5py.Dataset(member)
    _require_known_type(dataset)
    if not _require_stored(dataset, size):
        raise Unsafe(f"{dataset.name} takes its values from another file")
    return dataset


def sources(dataset: h5py.Dataset) -> list[Source]:
    """The row blocks of a virtual dataset in order. Raises Unsafe unless they cover it exactly once."""
    mappings = dataset.virtual_sources()
    blocks = [_source(dataset, mapping) for mapping in mappings]
    if sum(source.rows for source in blocks) != dataset.shape[0]:
        raise Unsafe(f"{dataset.name} has rows without a source")
    rows = 0
    for source, mapping in zip(blocks, mappings, strict=True):
        first, last = mapping.vspace.get_select_bounds()
        rest = tuple(n - 1 for n in dataset.shape[1:])
        if first != (rows, *(0 for _ in rest)) or last != (rows + source.rows - 1, *rest):
            raise Unsafe(f"{dataset.name} is not made of consecutive blocks of rows")
        rows += source.rows
    return blocks


def _source(dataset: h5py.Dataset, mapping: h5py.VDSmap) -> Source:
    """One mapping as a block of rows; its file must be a relative path, its source a whole dataset."""
    file = mapping.file_name
    # HDF5 would expand a pattern with '%' into many file names; '.' means the file itself.
    if not file or file == "." or "%" in file or PurePosixPath(file).is_absolute():
        raise Unsafe(f"{dataset.name} takes values from {file!r}, which is not a relative path")
    if mapping.src_space.get_select_type() != h5py.h5s.SEL_ALL:
        raise Unsafe(f"{dataset.name} takes a part of {file!r}, not the whole")
    row = math.prod(dataset.shape[1:])
    return Source(file, mapping.dset_name, mapping.vspace.get_select_npoints() // max(1, row))


def _datasets(file: h5py.File) -> Iterator[h5py.Dataset]:
    """Every dataset reached by hard links; each object is visited once, so that a cycle of groups terminates."""
    seen: set[int] = set()
    stack: list[tuple[h5py.Group, int]] = [(file["/"], 0)]
    while stack:
        group, depth = stack.pop()
        for name in group:
            member = _member(group, name)
            address = h5py.h5o.get_info(member.id).addr
            if address in seen or depth > MAX_DEPTH or len(seen) > MAX_OBJECTS:
                raise Unsafe(f"{member.name} is linked twice, or too deep, or one of too many objects")
            seen.add(address)
            if isinstance(member, h5py.Dataset):
                yield member
            else:
                stack.append((member, depth + 1))


def _member(group: h5py.Group, name: str) -> h5py.Group | h5py.Dataset:
    """A member reached by a hard link; the kind of link is checked first, so nothing outside the file is opened."""
    place = name.encode("utf-8", "surrogateescape")
    if group.id.links.get_info(place).type != h5py.h5l.TYPE_HARD:
        raise Unsafe(f"{group.name.rstrip('/')}/{name} is a soft or external link")
    member = h5py.h5o.open(group.id, place)
    if isinstance(member, h5py.h5d.DatasetID):
        return h5py.Dataset(member, readonly=True)
    if not isinstance(member, h5py.h5g.GroupID):
        raise Unsafe(f"{group.name.rstrip('/')}/{name} is neither a group nor a variable")
    return h5py.Group(member)


def _require_known_type(dataset: h5py.Dataset) -> None:
    """Accept numbers of at most eight bytes and UTF-8 strings; no references, compounds, sequences or bare objects."""
    dtype = dataset.dtype
    text = h5py.check_string_dtype(dtype)
    number = dtype.kind in "iuf" and dtype.itemsize <= 8 and not dtype.subdtype
    if dataset.shape is None or not (number or (text is not None and text.length is None)):
        raise Unsafe(f"{dataset.name} has the type {dtype}, neither a number nor text")


def _require_stored(dataset: h5py.Dataset, file_size: int) -> bool:
    """Require that all values are stored in this file, or else are virtual. Returns whether they are stored here."""
    properties = dataset.id.get_create_plist()
    if properties.get_external_count():
        raise Unsafe(f"{dataset.name} keeps its values in another file")
    if properties.get_layout() == h5py.h5d.VIRTUAL:
        return False
    if any(properties.get_filter(i)[0] not in FILTERS for i in range(properties.get_nfilters())):
        raise Unsafe(f"{dataset.name} is stored through a filter other than gzip, shuffle and fletcher32")
    stored, declared = dataset.id.get_storage_size(), _declared_bytes(dataset)
    if properties.get_layout() != h5py.h5d.CHUNKED:
        # Text takes more space on disk (a length and an address) than the pointer that its type declares.
        whole = stored >= declared and stored + (dataset.id.get_offset() or 0) <= file_size
    else:
        whole = dataset.id.get_num_chunks() == _chunk_count(dataset) and stored <= file_size
    if not whole or declared > MAX_RATIO * stored:
        shape = " x ".join(map(str, dataset.shape))
        raise Unsafe(f"{dataset.name} declares {shape} values but {stored} bytes are stored")
    return True


def _chunk_count(dataset: h5py.Dataset) -> int:
    return math.prod(-(-n // chunk) for n, chunk in zip(dataset.shape, dataset.chunks, strict=True))


def _declared_bytes(dataset: h5py.Dataset) -> int:
    return int(math.prod(dataset.shape) * dataset.id.get_type().get_size())


def _memory_bytes() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
