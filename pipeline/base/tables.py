"""Text tables for a terminal: columns if they fit, otherwise one block for each row."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Iterator, Sequence

UNLIMITED = 10_000  # width of a file or a pipe, whose reader may be a program


def terminal_width() -> int:
    """Width of the terminal, or COLUMNS if that is set; UNLIMITED if the output is not a terminal."""
    return shutil.get_terminal_size((UNLIMITED, 24)).columns


def fits(lines: Sequence[str], width: int) -> bool:
    """Return whether no line is wider than `width`."""
    return max(map(len, lines), default=0) <= width


def block(header: Sequence[str], row: Sequence[str], width: int) -> Iterator[str]:
    """A row as its first cell and, below it, "name value" for each other cell that is not empty."""
    yield row[0]
    pairs = ", ".join(f"{name} {cell}".strip() for name, cell in zip(header[1:], row[1:], strict=True) if cell)
    indent = " " * (len(row[0]) - len(row[0].lstrip()) + 2)
    yield from textwrap.wrap(pairs, max(width, 20), initial_indent=indent, subsequent_indent=indent)
