"""A checksum of the whole file, as its last line, so that damage is detected before HDF5 parses it.

HDF5 ignores bytes after its last object, so every reader still opens the file. Not all of HDF5's own metadata has a
checksum, and the library may crash on damaged metadata without one.
"""

from __future__ import annotations

import hashlib

MARK = b"\nrnnlimits sha256 "
LENGTH = len(MARK) + 64 + 1


def seal(data: bytes) -> bytes:
    """The line to write after the data: "rnnlimits sha256 <64 hexadecimal digits>"."""
    return _line(hashlib.sha256(data))


def is_sealed(data: bytes) -> bool:
    """Return whether the data (a file's bytes, or its last ones) end with a seal, valid or not."""
    return data[-LENGTH:].startswith(MARK) and len(data) >= LENGTH


def is_whole(data: bytes) -> bool:
    """Return whether a file's bytes end with the seal of those before it."""
    return data[-LENGTH:] == _line(hashlib.sha256(memoryview(data)[: max(0, len(data) - LENGTH)]))


def digest_in(data: bytes) -> str:
    """The 64 hexadecimal digits of the seal at the end of the data; empty without one."""
    return data[-LENGTH:][len(MARK) : -1].decode("ascii", "replace") if is_sealed(data) else ""


def _line(digest: hashlib._Hash) -> bytes:
    return MARK + digest.hexdigest().encode() + b"\n"
