"""What mpiexec prints about ranks that were interrupted: kept from the user, and nothing else with it."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest

from rnnlimits.run import workflow
from rnnlimits.run.launched import WithoutBox

# As Hydra of MPICH 4 prints it.
BOX = b"""[mpiexec@node] Sending Ctrl-C to processes as requested
[mpiexec@node] Press Ctrl-C again to force abort

===================================================================================
=   BAD TERMINATION OF ONE OF YOUR APPLICATION PROCESSES
=   PID 31371 RUNNING AT node
=   EXIT CODE: 2
=   CLEANING UP REMAINING PROCESSES
=   YOU CAN IGNORE THE BELOW CLEANUP MESSAGES
===================================================================================
YOUR APPLICATION TERMINATED WITH THE EXIT STRING: Interrupt (signal 2)
This typically refers to a problem with your application.
Please see the FAQ page for debugging suggestions
"""
OTHER = b"""train: 12 of 64 blocks

= a remark =
=   EXITS
[mpiexec@node] HYDU_sock_write: write error (Broken pipe)

no line end"""


def passed(data: bytes, piece: int, asked_after: int = 0) -> bytes:
    """What comes of data that arrive in pieces, if the interrupt comes after so many bytes."""
    out: list[bytes] = []
    seen = 0
    box = WithoutBox(out.append, lambda: seen >= asked_after)
    for first in range(0, len(data), piece):
        box.feed(data[first : first + piece])
        seen += piece
    box.close()
    return b"".join(out)


@pytest.mark.parametrize("piece", [1, 7, 10_000])
def test_the_box_alone_is_left_out(piece: int) -> None:
    assert passed(BOX, piece) == b""
    assert passed(OTHER, piece) == OTHER
    assert passed(OTHER + b"\n" + BOX + OTHER, piece) == OTHER + b"\n" + OTHER
    assert passed(BOX.removesuffix(b"\n"), piece) == b""


def test_without_an_interrupt_nothing_is_left_out() -> None:
    data = OTHER + b"\n" + BOX
    assert passed(data, 7, asked_after=len(data) + 7) == data


def test_bytes_pass_at_once_before_an_interrupt() -> None:
    out: list[bytes] = []
    WithoutBox(out.append, bool).feed(b"half a li")
    assert out == [b"half a li"]


@pytest.mark.parametrize("at", [*range(0, len(OTHER), 5)])
def test_a_line_that_an_interrupt_cuts_is_whole(at: int) -> None:
    assert passed(OTHER + b"\n" + BOX, 5, asked_after=at) == OTHER + b"\n"


CHILD = f"""
import os, signal, time
def end(*_):
    os.write(1, {BOX!r})
    os._exit(130)
signal.signal(signal.SIGINT, end)
os.write(1, b"live\\n")
while True:  # until it is passed on: at first the parent may not listen yet
    os.kill(os.getppid(), signal.SIGINT)
    time.sleep(0.05)
"""


def test_an_interrupted_run_says_one_line(capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    lock = os.open(tmp_path / "lock", os.O_RDWR | os.O_CREAT)
    before = signal.signal(signal.SIGINT, lambda *_: None)
    try:
        with pytest.raises(KeyboardInterrupt):
            workflow.supervise([sys.executable, "-c", CHILD], lock, dict(os.environ))
    finally:
        signal.signal(signal.SIGINT, before)
        os.close(lock)
    assert tuple(capfd.readouterr()) == ("live\n", "rnnlimits: stopping\n")
