"""Atomic writing: a file appears complete or not at all, even if a process or the machine dies."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

from rnnlimits.base.errors import StudyError

NO_SPACE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


def require_folder(path: Path) -> None:
    """Create the folder of `path`, and refuse before any work is done if nothing can be written there.

    Raises StudyError naming the folder and the reason.
    """
    folder = path.parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise refusal(folder, error) from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise StudyError(f"{folder}: folder is not writable; make it writable, or write the results elsewhere")


def write_bytes(path: Path, *pieces: bytes) -> None:
    """Write the pieces, one after the other, to a temporary file next to `path`, sync it and rename it to `path`.

    A reader sees the old file or the new one, never part of one. Raises StudyError with path and reason
    (disk full, not writable); the temporary file is removed in every case.
    """
    temporary = path.with_name(f".{path.name}.part-{uuid4().hex[:12]}")
    try:
        _write_synced(temporary, pieces)
        os.replace(temporary, path)
    except OSError as error:
        raise refusal(path, error) from error
    finally:
        with suppress(OSError):
            temporary.unlink()
    _sync_folder(path.parent)


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """Yield a new folder next to `path` that becomes `path` when the block ends, and vanishes if it raises.

    Raises StudyError with path and reason if `path` exists or cannot be written; nothing is ever replaced.
    """
    _require_absent(path)
    require_folder(path)
    temporary = path.with_name(f".{path.name}.part-{uuid4().hex[:12]}")
    try:
        temporary.mkdir()
        yield temporary
        _require_absent(path)
        os.rename(temporary, path)
    except OSError as error:
        raise refusal(path, error) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    _sync_folder(path.parent)


def _require_absent(path: Path) -> None:
    if os.path.lexists(path):
        raise StudyError(f"{path}: exists already, and nothing is overwritten; move it away, or choose another folder")


def refusal(path: Path, error: OSError) -> StudyError:
    """A one-line error for an error of the operating system: the path, the reason, and what to do."""
    if error.errno in NO_SPACE:
        advice = "free some space and run the same command again (finished files are kept)"
    else:
        advice = "make the folder writable, or write the results elsewhere"
    return StudyError(f"{path}: cannot be written: {error.strerror or error}; {advice}")


def _write_synced(path: Path, pieces: Iterable[bytes]) -> None:
    """Create `path` (it must not exist) with the user's umask, and return once its bytes are on the disk."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    try:
        for piece in pieces:
            left = memoryview(piece)
            while left:
                left = left[os.write(descriptor, left) :]
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sync_folder(folder: Path) -> None:
    """Make the rename itself durable."""
    # Some network file systems cannot sync a folder; by now the file is complete and in place.
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
