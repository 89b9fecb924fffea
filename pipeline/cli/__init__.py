"""The command line: results on stdout, everything else on stderr."""

from __future__ import annotations

from collections.abc import Sequence

from rnnlimits.base import surroundings

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb; returns the exit code. Without `arguments` this is the program: those of its command line count."""
    if arguments is None:
        surroundings.enter()  # before anything is imported that reads the environment, or that a file could replace
    from rnnlimits.cli import streams
    from rnnlimits.cli.entry import main as run

    if arguments is None:
        streams.prepare()
    return run(arguments)
