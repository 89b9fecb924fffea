"""What is refused: a file that is damaged, incomplete, unsafe, or not the expected one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import NamedTuple

import h5py

from rnnlimits.base.errors import StudyError
from rnnlimits.files import audit, snapshot
from rnnlimits.files.seal import digest_in, is_sealed, is_whole
from rnnlimits.files.snapshot import AGAIN, Unreadable

FORMAT = "rnnlimits"
FORMAT_VERSION = 1
SIGNATURE = b"\x89HDF\r\n\x1a\n"


class Checked(NamedTuple):
    """A file in memory that was checked, the digest in its seal, and its virtual datasets."""

    file: h5py.File
    seal: str
    virtual: list[h5py.Dataset]


@contextmanager
def opened(path: Path, required: Mapping[str, object]) -> Iterator[Checked]:
    """Yield the file, checked. Its virtual datasets must not be read through HDF5: see `shards`.

    required: root attributes and their values. Raises StudyError in one line: missing, empty, truncated, not HDF5, no
    `complete`, other format or version, other kind, from another study, or nothing that this software writes.
    """
    with examined(path, snapshot.bytes_of(path), required) as checked:
        yield checked


@contextmanager
def examined(path: Path, data: bytes, required: Mapping[str, object]) -> Iterator[Checked]:
    """Like `opened`, for bytes that were read from the path."""
    _require_hdf5(path, data)
    with parsed(path, data) as file:
        with translated(path):
            _require_identity(path, file, required)
            if not is_sealed(data):
                raise StudyError(
                    f"{path}: was changed after it was written, or cut short (its checksum is gone); {AGAIN}"
                )
            virtual = audit.require_safe(file, len(data))
        yield Checked(file, digest_in(data), virtual)


@contextmanager
def parsed(path: Path, data: bytes) -> Iterator[h5py.File]:
    """Yield the HDF5 file in memory. Raises StudyError if HDF5 cannot parse it."""
    try:
        file = snapshot.image(data)
    except MemoryError as error:
        raise _memory(path) from error
    except audit.DAMAGE as error:
        raise StudyError(f"{path}: is truncated or damaged (it has {len(data)} bytes); {AGAIN}") from error
    with file:
        yield file


@contextmanager
def translated(path: Path, damage: tuple[type[Exception], ...] = audit.DAMAGE) -> Iterator[None]:
    """Turn what h5py and the audit raise on a forged or damaged file into one line."""
    try:
        yield
    except audit.Unsafe as error:
        raise StudyError(f"{path}: is not safe to read: {shown(error)}; delete it") from error
    except MemoryError as error:
        raise _memory(path) from error
    except damage as error:
        raise damaged(path) from error


def reading_values(path: Path) -> AbstractContextManager[None]:
    """Like `translated`, for a wrong checksum or compressed block; mistakes of the caller's pass."""
    return translated(path, (OSError, RuntimeError))


def attribute_of(file: audit.Attributed, name: str) -> str | int | float | None:
    """A scalar attribute as a plain Python value; None if it does not exist."""
    return audit.scalar(file, name)


def damaged(path: Path) -> StudyError:
    """The refusal of a file whose bytes are wrong."""
    return StudyError(f"{path}: is damaged (its bytes are not the ones that were written); {AGAIN}")


def shown(value: object, limit: int = 200) -> str:
    """A value from a file as a short printable text for one line of a terminal; 'none' for None."""
    if value is None:
        return "none"
    text = "".join(c if c.isprintable() else "?" for c in str(value))
    return text if len(text) <= limit else text[: limit - 3] + "..."


def _memory(path: Path) -> Unreadable:
    return Unreadable(f"{path}: cannot be read: not enough memory for its values; use a machine with more")


def _require_hdf5(path: Path, data: bytes) -> None:
    """Refuse bytes that do not start like an HDF5 file, or do not match their seal."""
    if not data.startswith(SIGNATURE):
        if not data:
            raise StudyError(f"{path}: is empty (0 bytes); {AGAIN}")
        raise StudyError(f"{path}: is not an HDF5 file; if it is a result of this software, {AGAIN}")
    if is_sealed(data) and not is_whole(data):
        raise damaged(path)


def _require_identity(path: Path, file: h5py.File, required: Mapping[str, object]) -> None:
    if (file_format := attribute_of(file, "format")) != FORMAT:
        what = "no attribute format" if file_format is None else f"format {shown(file_format)}"
        raise StudyError(f"{path}: is not a file of this software ({what}, expected {FORMAT}); {AGAIN}")
    if (version := attribute_of(file, "format_version")) != FORMAT_VERSION:
        raise StudyError(
            f"{path}: has format version {shown(version)}, this software reads {FORMAT_VERSION}; "
            "delete it and run the same command again, or read it with the version that wrote it"
        )
    if attribute_of(file, "complete") != 1:
        raise StudyError(f"{path}: is not complete (its writer did not finish); {AGAIN}")
    for name, value in required.items():
        _require_attribute(path, name, attribute_of(file, name), value)


def _require_attribute(path: Path, name: str, value: object, expected: object) -> None:
    if value == expected:
        return
    what = f"({name} {shown(value)}, expected {shown(expected)})"
    whose = "is from another study" if name.endswith("_id") else "is not the right file"
    raise StudyError(f"{path}: {whose} {what}; {AGAIN}")
