"""Slurm jobs that a killed run left behind. Snakemake does not adopt them: a new run would write alongside them."""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from rnnlimits.base.errors import StudyError

ANSWER_SECONDS = 30  # for one of Slurm's commands
END_SECONDS = 180  # for the end of cancelled jobs: they save their state, and Slurm waits for them
LOOK_SECONDS = 1.0


def prefix(root: Path) -> str:
    """The common prefix of the names of all jobs of a results folder, at most 50 letters, digits and dashes."""
    digest = hashlib.sha256(str(root.resolve()).encode()).hexdigest()[:8]
    return f"rnnlimits-{re.sub('[^A-Za-z0-9]+', '-', root.name)[:24].strip('-')}-{digest}"


def cancel(prefix: str, say: Callable[[str], object]) -> None:
    """Cancel our jobs with this prefix and wait for their end; report them with `say` if there are any.

    Raises StudyError if Slurm's commands are missing or do not answer, or if a job does not end.
    """
    left = jobs(prefix)
    if not left:
        return
    count = f"{len(left)} job{'s' * (len(left) > 1)} of an earlier run"
    say(f"{count} cancelled ({', '.join(left)}); what was finished or saved is kept")
    ask("scancel", *left)
    end = time.monotonic() + END_SECONDS
    while left := jobs(prefix):
        if time.monotonic() > end:
            raise StudyError(f"job {', '.join(left)} of an earlier run does not end; see: scontrol show job {left[0]}")
        time.sleep(LOOK_SECONDS)


def jobs(prefix: str) -> list[str]:
    """Numbers of our queued or running jobs whose name starts with `prefix`."""
    # Completing jobs count: their last processes may still write.
    lines = ask("squeue", "--noheader", "--me", "--format", "%A %j").splitlines()
    rows = [line.split(" ", 1) for line in lines if " " in line]
    return [number for number, name in rows if name.startswith(f"{prefix}_")]


def ask(*command: str) -> str:
    """The output of one of Slurm's commands. Raises StudyError if it is missing, fails or does not answer."""
    if shutil.which(command[0]) is None:
        raise StudyError(f"{command[0]}: not found on PATH; --profile needs Slurm's commands: run it on a login node")
    try:
        done = subprocess.run(
            command, capture_output=True, encoding="utf-8", errors="replace", timeout=ANSWER_SECONDS, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise StudyError(f"{command[0]}: no answer from Slurm in {ANSWER_SECONDS} s; try again later") from error
    if done.returncode != 0:
        reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise StudyError(f"{command[0]}: {reason}; is this a login node of the cluster?")
    return done.stdout
