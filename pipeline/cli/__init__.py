"""The command line: results on stdout, everything else on stderr."""

from __future__ import annotations

from rnnlimits.cli.entry import main

__all__ = ["main"]
