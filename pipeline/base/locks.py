"""Locks that allow only one run at a time for each part of a results folder.

What holds is the lock that the system keeps for a process, never the file, which remains and may be another user's.
"""

from __future__ import annotations

import errno
import fcntl
import os
import platform
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from rnnlimits.base.errors import StudyError

LOOK_SECONDS = 1.0  # between two attempts to take a lock that another process holds


@contextmanager
def exclusive(folder: Path, name: str, wait: Callable[[str], object] | None = None) -> Iterator[int]:
    """Hold the lock `name` in `folder` (created if necessary); it is released when the process ends, even if killed.

    Yields the file descriptor: a child process that inherits it holds the lock as well.
    wait: if another process holds the lock, pass one line about it to this function and wait until it is released.
    Raises StudyError if another process holds it, saying which, or if the folder cannot be written.
    """
    path = folder / f"{name}.lock"
    _create(folder)
    descriptor = _taken(path, wait)
    try:
        sign(descriptor)
        yield descriptor
    finally:
        os.close(descriptor)


def sign(descriptor: int, child: int | None = None) -> None:
    """Write the holder into a lock; child: a process that also holds it and may outlive this one."""
    holders = f"process {os.getpid()}" if child is None else f"process {os.getpid()} or its child {child}"
    with suppress(OSError):  # another user's file in a folder of others; or the disk is full
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{holders} on {platform.node()}\n".encode(), 0)


def unreadable(path: Path) -> str | None:
    """A line about a lock file of another user that cannot be opened, else None."""
    if os.access(path, os.R_OK) or not path.exists():
        return None
    try:
        owner = path.owner()
    except (OSError, KeyError):
        owner = "of another name"
    return f"{path}: belongs to user {owner} and cannot be opened; ask them to remove it once their run has ended"


def _create(folder: Path) -> None:
    """Create the folder of locks, for all who may write in the folder that holds it."""
    try:
        if folder.is_dir():
            return
        folder.parent.mkdir(parents=True, exist_ok=True)
        folder.mkdir(exist_ok=True)
        with suppress(OSError):
            folder.chmod(folder.stat().st_mode | folder.parent.stat().st_mode & 0o1022)
    except OSError as error:
        raise _refusal(folder, error) from error


def _refusal(path: Path, error: OSError) -> StudyError:
    return StudyError(f"{path}: cannot be written: {error.strerror}; choose another --results folder")


def _taken(path: Path, wait: Callable[[str], object] | None) -> int:
    """The descriptor of the lock file, locked."""
    while True:
        descriptor, foreign = _opened(path)
        try:
            if wait is None:
                _take(descriptor, path)
            else:
                _take_in_turn(descriptor, path, wait)
            if _is_at(descriptor, path):
                return _replaced(descriptor, path) if foreign else descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)  # another process has replaced the file in the meantime, and may hold the new one


def _opened(path: Path) -> tuple[int, bool]:
    """The lock file, and whether it is another user's, which can only be read."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    except PermissionError as error:
        try:
            return os.open(path, os.O_RDONLY | os.O_CLOEXEC), True
        except OSError:
            line = unreadable(path)
            raise (StudyError(line) if line else _refusal(path.parent, error)) from error
    except OSError as error:
        raise _refusal(path.parent if error.errno == errno.EROFS else path, error) from error
    _open_to_others(descriptor, path)
    return descriptor, False


def _open_to_others(descriptor: int, path: Path) -> None:
    """Give the lock file the write permissions of its folder, so that whoever may write there can take the lock."""
    with suppress(OSError):
        writers = path.parent.stat().st_mode & 0o022
        os.fchmod(descriptor, os.fstat(descriptor).st_mode | writers | writers << 1)


def _is_at(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except OSError:
        return False


def _replaced(descriptor: int, path: Path) -> int:
    """A file of our own, locked, in place of another user's that is held; that one again if the folder forbids it."""
    new = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        own = os.open(new, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    except OSError:
        return descriptor
    try:
        _open_to_others(own, path)
        with suppress(OSError):
            fcntl.flock(own, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.replace(new, path)
    except OSError:  # a sticky folder
        os.close(own)
        with suppress(OSError):
            new.unlink()
        return descriptor
    os.close(descriptor)
    return own


def _take_in_turn(descriptor: int, path: Path, say: Callable[[str], object]) -> None:
    """Try repeatedly: on a network file system a blocking call could wait for ever."""
    announced = False
    while True:
        try:
            return _take(descriptor, path)
        except StudyError as error:
            if not announced:
                say(str(error).replace("wait for it or stop it", "waiting for it"))
            announced = True
            time.sleep(LOOK_SECONDS)


def _take(descriptor: int, path: Path) -> None:
    try:
        _lock(descriptor)
    except BlockingIOError as error:
        holder = "another process"
        with suppress(OSError):
            holder = path.read_text(encoding="utf-8", errors="replace").strip() or holder
        raise StudyError(
            f"{path.parent.parent}: {path.stem} is being run by {holder}; wait for it or stop it"
        ) from error
    except OSError:
        return  # a file system without locks: files still appear complete, by rename, so two runs only waste work


def _lock(descriptor: int) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno != errno.EBADF:
            raise
        # NFS gives an exclusive lock only to those who can write; a shared one still shows whether it is held.
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
