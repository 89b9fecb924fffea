"""The bytes of a file at one moment: what was checked is what is read, whatever happens to the file meanwhile.

A file is read whole into memory, and HDF5 reads it there. So there is no descriptor to run out of, no lock, and no way
to replace or change a file between its check and a read.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py

from rnnlimits.base import progress
from rnnlimits.base.errors import StudyError
from rnnlimits.files.seal import LENGTH, digest_in

AGAIN = "delete it and run the same command again"
ATTEMPTS = 5
PAUSE_SECONDS = 0.05
PIECE = 1 << 20  # bytes of a file that are in memory while its seal is checked

_whole: set[tuple[int, ...]] = set()  # states of files whose bytes matched their seals


class Unreadable(StudyError):
    """A file could not be read for a reason outside it: permission, too many open files, memory, a failing disk."""


def bytes_of(path: Path) -> bytes:
    """All bytes of a file. Raises StudyError if it is missing or not a file, Unreadable if it cannot be read."""
    progress.reading(path)
    with _refusals(path):
        for attempt in range(ATTEMPTS):
            if attempt:
                time.sleep(PAUSE_SECONDS)
            if (data := _bytes(path)) is not None:
                return data
    raise Unreadable(f"{path}: changes while it is read; wait until it is written, and run the same command again")


def end_of(path: Path) -> bytes:
    """The last bytes of a file, as many as a seal has. Raises like `bytes_of`."""
    with _refusals(path):
        return tail(path)


def tail(path: Path) -> bytes:
    """Like `end_of`; raises OSError if the file cannot be read, StudyError if it is none."""
    with _opened(path) as descriptor:
        size = os.fstat(descriptor).st_size
        return os.pread(descriptor, LENGTH, max(0, size - LENGTH))


def glanced(path: Path) -> h5py.File:
    """An HDF5 file, open for a look at its attributes. Raises what h5py raises, and OSError for damaged bytes.

    Its bytes are compared with its seal first, once for each state of the file: in damaged ones HDF5 can loop for ever.
    With HDF5's usual lock if that works, else without: some cluster file systems have no locks.
    """
    with _opened(path) as descriptor:
        state = os.fstat(descriptor)
        key = (state.st_dev, state.st_ino, state.st_size, state.st_mtime_ns, state.st_ctime_ns)
        if key not in _whole:
            if not _matches_its_seal(descriptor, state.st_size):
                raise OSError(f"{path}: its bytes are not the ones that were written")
            _whole.add(key)
    try:
        return h5py.File(path, "r")
    except OSError:
        return h5py.File(path, "r", locking=False)


def _matches_its_seal(descriptor: int, size: int) -> bool:
    """Whether a file ends with the seal of the bytes before it, which are read in pieces."""
    running, place = hashlib.sha256(), 0
    while place < size - LENGTH:
        piece = os.pread(descriptor, min(PIECE, size - LENGTH - place), place)
        if not piece:
            return False
        running.update(piece)
        place += len(piece)
    return digest_in(os.pread(descriptor, LENGTH, max(0, size - LENGTH))) == running.hexdigest()


def image(data: bytes) -> h5py.File:
    """The HDF5 file whose bytes these are, read-only, in memory. Raises what h5py raises on damaged ones."""
    return h5py.File(h5py.h5f.open_file_image(data))


def _bytes(path: Path) -> bytes | None:
    """All bytes, or None if the file changed while it was read."""
    try:
        with _opened(path) as descriptor, os.fdopen(descriptor, "rb", buffering=0, closefd=False) as raw:
            before = _state(descriptor)
            data = raw.readall()
            return data if _state(descriptor) == before and len(data) == before[0] else None
    except OSError as error:
        if error.errno == errno.ESTALE:  # replaced on another machine of a network file system
            return None
        raise


@contextmanager
def _opened(path: Path) -> Iterator[int]:
    """Yield a descriptor of a regular file."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)  # a pipe without a writer would block
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise StudyError(f"{path}: is not a file; {AGAIN}")
        yield descriptor
    finally:
        os.close(descriptor)


def _state(descriptor: int) -> tuple[int, int]:
    state = os.fstat(descriptor)
    return state.st_size, state.st_mtime_ns


@contextmanager
def _refusals(path: Path) -> Iterator[None]:
    try:
        yield
    except (FileNotFoundError, NotADirectoryError) as error:
        raise StudyError(f"{path}: is missing; run the command that makes it") from error
    except OSError as error:
        raise Unreadable(f"{path}: cannot be read: {error.strerror or error}") from error
    except MemoryError as error:
        raise Unreadable(f"{path}: cannot be read: not enough memory; use a machine with more") from error
