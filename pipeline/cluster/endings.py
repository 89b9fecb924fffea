"""One line about each job of a run that did not simply finish, as Snakemake's messages do not give the reason."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from rnnlimits.cluster.leftovers import ask

FIELDS = {"JobID": 20, "State": 20, "RestartCnt": 10, "TimeUsed": 20, "Name": 100, "Comment": 200}
QUIET = {"COMPLETED", "PENDING", "RUNNING", "COMPLETING"}
WORDS = {
    "TIMEOUT": "reached its time limit",
    "CANCELLED": "was cancelled",
    "NODE_FAIL": "lost its node",
    "OUT_OF_MEMORY": "ran out of memory",
    "PREEMPTED": "was preempted",
    "FAILED": "failed",
}


def told(prefix: str, logs: Path) -> list[str]:
    """Lines about jobs with this prefix that Slurm still remembers; logs: the folder with the output of failed ones.

    Raises StudyError if Slurm's commands are missing or do not answer.
    """
    widths = ",".join(f"{name}:{width}" for name, width in FIELDS.items())
    text = ask("squeue", "--noheader", "--me", "--states=all", f"--Format={widths}")
    return [line for row in text.splitlines() if (line := _line(row, prefix, logs))]


def _line(row: str, prefix: str, logs: Path) -> str:
    job = dict(zip(FIELDS, _cells(row), strict=True))
    if not job["Name"].startswith(f"{prefix}_"):
        return ""
    name = f"job {job['JobID']} ({job['Comment'].removeprefix('rule_')})"
    if job["State"] not in QUIET:
        how = WORDS.get(job["State"], f"ended as {job['State']}")
        return f"{name} {how} after {job['TimeUsed']}; what it saved is kept; its output: {logs}"
    times = int(job["RestartCnt"] or 0)
    return f"{name} was preempted or lost its node, and was started again by Slurm" if times else ""


def _cells(row: str) -> Iterator[str]:
    at = 0
    for width in FIELDS.values():
        yield row[at : at + width].strip()
        at += width
