"""Global heaps of an HDF5 file, where texts of variable length are: whether HDF5 comes to their end.

A free space of no size, as in a sector of zeros, makes HDF5 read the same place for ever, and no signal ends that.
"""

from __future__ import annotations

import mmap
import re
import struct
from collections.abc import Iterator
from pathlib import Path

_COLLECTION = re.compile(rb"GCOL\x01\0{3}(.{8})", re.DOTALL)  # signature, version, size with this header
_HEADER = 16  # bytes of a collection's header, and of an object's
_OBJECT = struct.Struct("<HHIQ")  # index (0: free space), references, reserved, size


def first_endless(path: Path) -> int | None:
    """The place of the first global heap that does not come to its end, or None. Raises OSError."""
    if path.stat().st_size == 0:
        return None
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        ends = {
            found.start(): found.start() + int.from_bytes(found[1], "little") for found in _COLLECTION.finditer(data)
        }
        return next((start for start, end in ends.items() if not all(_sizes(data, start + _HEADER, end))), None)


def _sizes(data: mmap.mmap, place: int, end: int) -> Iterator[int]:
    """Bytes that each object of a collection takes; 0 as the last one where it does not end."""
    while place + _HEADER <= min(end, len(data)):
        index, _, _, size = _OBJECT.unpack_from(data, place)
        taken = size if index == 0 else _HEADER + -(-size // 8) * 8
        yield taken
        if taken == 0:
            return
        place += taken
