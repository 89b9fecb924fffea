"""What mpiexec says of ranks that were asked to end, which is no bad termination: kept from the user.

Hydra, of MPICH and of Intel, prints a box about a rank that a signal ends, on stdout, where no stage of a run prints
anything else. Before an interrupt every byte passes at once; after it, lines that are not those of the box.
"""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Callable

PIECE = 1 << 16
_BOX = re.compile(
    rb"""=+
    |=\ \ \ (BAD\ TERMINATION\ OF\ ONE\ OF\ YOUR\ APPLICATION\ PROCESSES|PID\ \d+\ RUNNING\ AT\ .*|(EXIT\ CODE|RANK)\b.*
            |KILLED\ BY\ SIGNAL:\ .*|CLEANING\ UP\ REMAINING\ PROCESSES|YOU\ CAN\ IGNORE\ THE\ BELOW\ CLEANUP\ MESSAGES)
    |\[mpiexec@[^]]*\]\ (Sending\ Ctrl-C\ to\ processes\ as\ requested|Press\ Ctrl-C\ again\ to\ force\ abort)
    |YOUR\ APPLICATION\ TERMINATED\ WITH\ THE\ EXIT\ STRING:\ .*
    |This\ typically\ refers\ to\ a\ problem\ with\ your\ application\.
    |Please\ see\ the\ FAQ\ page\ for\ debugging\ suggestions""",
    re.VERBOSE,
)


class WithoutBox:
    """Passes bytes on; once `is_asked` is true, whole lines, without those of the box and the empty one before it."""

    def __init__(self, write: Callable[[bytes], object], is_asked: Callable[[], bool]) -> None:
        self._write, self._is_asked = write, is_asked
        self._held = b""  # the beginning of a line, after the interrupt
        self._blank = b""  # an empty line that may belong to the box
        self._is_within = False  # whether the beginning of the present line was passed on before

    def feed(self, data: bytes) -> None:
        """Take the next bytes."""
        if not self._is_asked():
            self._write(data)
            self._is_within = not data.endswith(b"\n")
            return
        *lines, self._held = (self._held + data).split(b"\n")
        for line in lines:
            self._line(line)

    def close(self) -> None:
        """Pass on what is left of a line without an end."""
        if self._is_within or not _BOX.fullmatch(self._held):
            self._write(self._blank + self._held)
        self._held = self._blank = b""

    def _line(self, line: bytes) -> None:
        if self._is_within:
            self._write(line + b"\n")
            self._is_within = False
        elif not line:
            self._write(self._blank)
            self._blank = b"\n"
        else:
            if not _BOX.fullmatch(line):
                self._write(self._blank + line + b"\n")
            self._blank = b""


def forwarded(descriptor: int, is_asked: Callable[[], bool]) -> threading.Thread:
    """A thread, started, that passes the bytes of a pipe on to stdout until it is closed; see WithoutBox."""
    thread = threading.Thread(target=_forward, args=(descriptor, WithoutBox(_to_stdout, is_asked)), daemon=True)
    thread.start()
    return thread


def _forward(descriptor: int, box: WithoutBox) -> None:
    reading = True
    while reading:
        data = os.read(descriptor, PIECE)
        reading = bool(data)
        try:
            box.feed(data) if data else box.close()
        except OSError:  # nobody reads our stdout: the pipe is still emptied, so that nobody waits
            box = WithoutBox(len, bool)


def _to_stdout(data: bytes) -> None:
    left = memoryview(data)
    while left:
        left = left[os.write(1, left) :]
