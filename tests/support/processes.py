"""Finding and killing the processes of a run."""

from __future__ import annotations

import os
import signal
import subprocess
from contextlib import suppress
from pathlib import Path


def processes(results: Path) -> list[int]:
    """The ranks at work on `results`, without the launcher; they have sessions of their own."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            words = (entry / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if str(results).encode() in words and b"mpiexec" not in words[0] and b"hydra" not in words[0]:
            found.append(int(entry.name))
    return found


def kill_all(job: subprocess.Popen[bytes], results: Path) -> None:
    """SIGKILL for the launcher and all ranks: a node that goes down."""
    for process in (job.pid, *processes(results)):
        with suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)
    job.wait()
