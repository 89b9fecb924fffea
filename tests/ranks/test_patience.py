"""A rank that waits in MPI's start says so, and is ended."""

from __future__ import annotations

import signal
import subprocess
import sys

from runs import ENVIRONMENT, HANG

PROGRAM = """
import time
from rnnlimits.ranks import patience
patience.SAY_SECONDS, patience.END_SECONDS = {say}, {end}
with patience.limited("MPI: rank 1 of 2"):
    time.sleep({block})
print("through")
"""


def waiting(**seconds: float) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-P", "-c", PROGRAM.format(**seconds)]
    return subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, timeout=HANG)


def test_it_says_that_it_waits_and_is_ended() -> None:
    done = waiting(say=0.1, end=0.4, block=2 * HANG)
    assert done.returncode == -signal.SIGKILL
    first, last = done.stderr.splitlines()
    assert first.startswith("rnnlimits: MPI: rank 1 of 2: no answer after 0 s")
    assert last == "rnnlimits: MPI: rank 1 of 2: no answer after 0 s: killed"


def test_nothing_is_said_in_time() -> None:
    done = waiting(say=HANG, end=HANG, block=0)
    assert (done.returncode, done.stdout, done.stderr) == (0, "through\n", "")
