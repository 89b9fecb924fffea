"""The reference of the command line, from its own parser: what `rnnlimits VERB --help` prints, for every verb."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from textwrap import indent
from unittest import mock

INTRODUCTION = """\
Verbs and options
=================

What `--help` prints, written from the program itself when these pages are built.
"""


def page(parser: argparse.ArgumentParser) -> str:
    """The whole page as reStructuredText."""
    with mock.patch.dict(os.environ, {"COLUMNS": "100", "NO_COLOR": "1"}):
        return INTRODUCTION + "".join(_section(name, one) for name, one in parsers(parser))


def parsers(parser: argparse.ArgumentParser) -> Iterator[tuple[str, argparse.ArgumentParser]]:
    """The parser itself and those of its verbs, each with its words: `rnnlimits rntk classify`."""
    yield parser.prog, parser
    for action in parser._actions:  # argparse has no public way to list its verbs
        if isinstance(action, argparse._SubParsersAction):
            for one in action.choices.values():
                yield from parsers(one)


def _section(name: str, parser: argparse.ArgumentParser) -> str:
    shown = indent(parser.format_help().rstrip(), "   ")
    return f"\n{name}\n{'-' * len(name)}\n\n.. code-block:: text\n\n{shown}\n"
