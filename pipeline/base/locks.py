"""Locks that allow only one run at a time for each part of a results folder."""

from __future__ import annotations

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
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = path.open("a+")  # closed below: held for as long as the caller works
    except OSError as error:
        raise StudyError(f"{folder}: cannot be written: {error.strerror}; choose another --results folder") from error
    with lock:
        if wait is None:
            _take(lock.fileno(), path)
        else:
            _take_in_turn(lock.fileno(), path, wait)
        sign(lock.fileno())
        yield lock.fileno()


def sign(descriptor: int, child: int | None = None) -> None:
    """Write the holder into a lock; child: a process that also holds it and may outlive this one."""
    holders = f"process {os.getpid()}" if child is None else f"process {os.getpid()} or its child {child}"
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"{holders} on {platform.node()}\n".encode(), 0)


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
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        holder = "another process"
        with suppress(OSError):
            holder = path.read_text(encoding="utf-8").strip() or holder
        raise StudyError(
            f"{path.parent.parent}: {path.stem} is being run by {holder}; wait for it or stop it"
        ) from error
    except OSError:
        return  # a file system without locks: files still appear complete, by rename, so two runs only waste work
