"""Where a file comes from: the study, the software, the machine, the command."""

from __future__ import annotations

import platform
import shlex
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

import numpy as np

import rnnlimits
from rnnlimits.study import AnyStudy, to_yaml

# Root attributes that every file has, beside format, format_version, kind and complete.
SOFTWARE = ("software_version", "git_commit", "python", "numpy", "host", "command_line", "created")
FIELDS = ("study", "study_id", "study_yaml", "precision", "seed", *SOFTWARE)


def provenance(study: AnyStudy, command_line: Sequence[str] | None = None) -> dict[str, str | int]:
    """Root attributes FIELDS of a file of `study` that is written now.

    command_line: argument vector, by default this process's. The caller adds what only it knows (cell_id, block,
    backend, device).
    """
    identity, text = _described(study)
    return {
        "study": study.name,
        "study_id": identity,
        "study_yaml": text,
        "precision": study.precision,
        "seed": study.seed,
        **software(command_line),
    }


def _described(study: AnyStudy) -> tuple[str, str]:
    """Identity and text of a study; those of the latest one are kept, as a stage writes many files of one study."""
    global _latest
    if _latest is None or _latest[0] is not study:
        _latest = study, (study.identity, to_yaml(study))
    return _latest[1]


_latest: tuple[AnyStudy, tuple[str, str]] | None = None


def software(command_line: Sequence[str] | None = None) -> dict[str, str | int]:
    """The part of provenance that does not depend on the study; created is UTC, ISO 8601."""
    return {
        "software_version": rnnlimits.__version__,
        "git_commit": git_commit(),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "host": platform.node(),
        "command_line": shlex.join(sys.argv if command_line is None else command_line),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
    }


@cache
def git_commit() -> str:
    """Commit of this software, with "-dirty" if files were changed since; "unknown" outside a clone of it."""
    folder = Path(__file__).resolve().parent.parent.parent
    # An installed copy may lie in somebody else's repository, whose commit means nothing here.
    if not (folder / ".git").exists():
        return "unknown"
    command = ["git", "-C", str(folder), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        found = subprocess.run(command, capture_output=True, encoding="utf-8", errors="replace", check=True, timeout=10)
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return found.stdout.strip()
