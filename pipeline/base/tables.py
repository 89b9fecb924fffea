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


def table(header: tuple[str, ...], rows: list[tuple[str, ...]]) -> list[str]:
    """Lines of a table: the first column to the left, the others to the right; the last row under a rule.

    Where the terminal is too narrow for it, a block of lines for each row.
    """
    widths = [max(len(row[i]) for row in (header, *rows)) for i in range(len(header))]
    lines = [_aligned(row, widths) for row in (header, *rows)]
    if not fits(lines, width := terminal_width()):
        return [line for row in rows for line in block(header, row, width)]
    return [*lines[:-1], "-" * len(lines[0]), lines[-1]]


def _aligned(row: tuple[str, ...], widths: list[int]) -> str:
    first, *others = (cell.rjust(width) for cell, width in zip(row, widths, strict=True))
    return "  ".join([first.strip().ljust(widths[0]), *others])


def duration(seconds: float) -> str:
    """A length of time in two or three digits and the unit that suits it."""
    for unit, length in (("ms", 1e-3), ("s", 1.0), ("min", 60.0)):
        if seconds < 99.5 * length:  # which would be rounded to 1e+02
            return f"{seconds / length:.2g} {unit}"
    return f"{seconds / 3600:.3g} h"


def size_text(count: float) -> str:
    """Bytes for people: 812 B, 3.1 kB, 20 MB."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} TB"
