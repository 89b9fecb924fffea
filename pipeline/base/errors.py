"""The one exception that a user sees: a single clear line, exit code 2, no traceback."""

from __future__ import annotations

import os
from contextlib import suppress

REFUSALS = "RNNLIMITS_REFUSALS"  # names the file where stages of a workflow leave the line they were refused with


class StudyError(Exception):
    """Something the user can put right: the key or file, what was found, what is allowed, what to do."""


def note_refusal(line: str) -> None:
    """Leave word for the workflow that a stage was refused its input, if it runs under one."""
    if path := os.environ.get(REFUSALS):
        with suppress(OSError), open(path, "a") as refusals:
            refusals.write(line + "\n")
