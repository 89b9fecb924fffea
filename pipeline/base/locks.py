"""One run at a time for one part of a results folder."""

from __future__ import annotations

import fcntl
import os
import platform
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from rnnlimits.base.errors import StudyError

LOOK_SECONDS = 1.0  # between two looks at a lock that is waited for


@contextmanager
def exclusive(folder: Path, name: str, wait: Callable[[str], object] | None = None) -> Iterator[int]:
    """Hold the lock `name` in `folder` (made if need be); it ends with the process, even a killed one.

    Yields its descriptor: a child process that inherits it holds the lock as well.
    wait: if another process holds it, tell this function so in a line, once, and wait for its end.
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
    """Write into a lock who holds it; child: a process that does too, and may outlive this one."""
    holders = f"process {os.getpid()}" if child is None else f"process {os.getpid()} or its child {child}"
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"{holders} on {platform.node()}\n".encode(), 0)


def _take_in_turn(descriptor: int, path: Path, say: Callable[[str], object]) -> None:
    """Asked for again and again: on a network file system a call that waits could wait for ever."""
    said = False
    while True:
        try:
            return _take(descriptor, path)
        except StudyError as error:
            if not said:
                say(str(error).replace("wait for it or stop it", "waiting for it"))
            said = True
            time.sleep(LOOK_SECONDS)


def _take(descriptor: int, path: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        holder = "another process"
        with suppress(OSError):
            holder = path.read_text().strip() or holder
        raise StudyError(
            f"{path.parent.parent}: {path.stem} is being run by {holder}; wait for it or stop it"
        ) from error
    except OSError:
        return  # a file system without locks: files still appear whole, by rename, so two runs only waste work
