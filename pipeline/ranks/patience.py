"""A rank that waits in MPI's start says so: nothing of its own Python runs until all ranks have found each other."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

SAY_SECONDS = 20.0
END_SECONDS = 300.0
LOOK_SECONDS = 0.1
HIGHEST = 1 << 16  # file descriptors


@contextmanager
def limited(what: str) -> Iterator[None]:
    """While the block runs, a small process beside this one says after 20 s that it waits, and ends it after 300 s.

    what: who waits for what, for the lines on stderr.
    """
    parent = os.getpid()
    child = os.fork()
    if child == 0:
        try:
            _watch(parent, what)
        finally:
            os._exit(0)
    try:
        yield
    finally:
        with suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def _watch(parent: int, what: str) -> None:
    """Look after `parent`, holding none of its files but stderr: the launcher would wait for them."""
    os.closerange(0, 2)
    os.closerange(3, min(HIGHEST, os.sysconf("SC_OPEN_MAX")))
    _wait(parent, SAY_SECONDS)
    _say(f"{what}: no answer after {SAY_SECONDS:.0f} s; are all nodes and their network up?")
    _wait(parent, END_SECONDS - SAY_SECONDS)
    _say(f"{what}: no answer after {END_SECONDS:.0f} s: killed")
    os.kill(parent, signal.SIGKILL)


def _wait(parent: int, seconds: float) -> None:
    """Wait, and leave if the parent has ended."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if os.getppid() != parent:
            os._exit(0)
        time.sleep(LOOK_SECONDS)


def _say(line: str) -> None:
    os.write(2, f"rnnlimits: {line}\n".encode())
