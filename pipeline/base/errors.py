"""The one exception that a user sees: a single clear line, exit code 2, no traceback."""

from __future__ import annotations

import os
from contextlib import suppress

REFUSALS = "RNNLIMITS_REFUSALS"  # names the file to which stages of a workflow write the line of a refusal


class StudyError(Exception):
    """An error that the user can correct: the key or file, what was found, what is allowed, what to do."""


def note_refusal(line: str) -> None:
    """Record for the workflow, if there is one, that a stage refused its input."""
    if path := os.environ.get(REFUSALS):
        with suppress(OSError), open(path, "a", encoding="utf-8") as refusals:
            refusals.write(line + "\n")
