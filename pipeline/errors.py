"""The one exception that a user sees: a single clear line, exit code 2, no traceback."""

from __future__ import annotations


class StudyError(Exception):
    """Something the user can put right: the key or file, what was found, what is allowed, what to do."""
