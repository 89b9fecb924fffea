"""The command line: results on stdout, everything else on stderr."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from rnnlimits.base import surroundings

__all__ = ["main"]

MISSING = (
    "no such package in {python}; if a folder of PYTHONPATH has it, which is not searched, name it in "
    "RNNLIMITS_PYTHONPATH"
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb; returns the exit code. Without `arguments` this is the program: those of its command line count."""
    if arguments is None:
        surroundings.enter()  # before anything is imported that reads the environment, or that a file could replace
    from rnnlimits.cli import streams
    from rnnlimits.cli.entry import main as run

    if arguments is None:
        streams.prepare()
    try:
        return run(arguments)
    except ModuleNotFoundError as error:
        if str(error.name).startswith("rnnlimits"):
            raise
        print(f"rnnlimits: {error.name}: {MISSING.format(python=sys.executable)}", file=sys.stderr)
        return 2
