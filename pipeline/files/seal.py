"""A checksum of the whole file, as its last line, so that damage is detected before HDF5 parses it.

HDF5 ignores bytes after its last object, so every reader still opens the file. Not all of HDF5's own metadata has a
checksum, and the library may crash on damaged metadata without one.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

MARK = b"\nrnnlimits sha256 "
LENGTH = len(MARK) + 64 + 1
BLOCK = 1 << 20


def seal(data: bytes) -> bytes:
    """The line to write after the data: "rnnlimits sha256 <64 hexadecimal digits>"."""
    return _line(hashlib.sha256(data))


def is_sealed(path: Path) -> bool:
    """Return whether the file ends with a seal, valid or not. Raises OSError if it cannot be read."""
    return _tail(path).startswith(MARK)


def is_whole(path: Path) -> bool:
    """Return whether the seal matches the file's bytes, all of which are read. Raises OSError if it cannot be read."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        left = max(0, path.stat().st_size - LENGTH)
        while left and (block := file.read(min(BLOCK, left))):
            digest.update(block)
            left -= len(block)
        return file.read() == _line(digest)


def _tail(path: Path) -> bytes:
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - LENGTH))
        return file.read()


def _line(digest: hashlib._Hash) -> bytes:
    return MARK + digest.hexdigest().encode() + b"\n"
