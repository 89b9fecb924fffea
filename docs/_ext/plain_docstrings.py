"""Docstrings as they are written here, plain English with shapes and formulas, for Sphinx's reStructuredText.

What is special there is escaped, `code` in single backticks becomes code, an indented block stays as it is, and
docs/NAME.md becomes a link to the page.
"""

from __future__ import annotations

import re
from typing import Any

from sphinx.application import Sphinx

PAGE = re.compile(r"\bdocs/([\w/-]+)\.md")
CODE = re.compile(r"`([^`]+)`")
SPECIAL = re.compile(r"([\\*|_])")


def _line(text: str) -> str:
    pieces = CODE.split(text)
    for index, piece in enumerate(pieces):
        if index % 2:
            pieces[index] = f"\\ ``{piece}``\\ "
        else:
            parts = PAGE.split(piece)
            escaped = (SPECIAL.sub(r"\\\1", part) if n % 2 == 0 else f":doc:`/{part}`" for n, part in enumerate(parts))
            pieces[index] = "".join(escaped)
    return "".join(pieces)


def _blocks(lines: list[str]) -> list[list[str]]:
    """Lines cut at empty ones."""
    blocks: list[list[str]] = [[]]
    for line in lines:
        if line.strip():
            blocks[-1].append(line)
        elif blocks[-1]:
            blocks.append([])
    return [block for block in blocks if block]


def restructured(lines: list[str]) -> list[str]:
    """A docstring's lines as reStructuredText: paragraphs, bullet lists and indented blocks."""
    result: list[str] = []
    for block in _blocks(lines):
        if block[0].startswith("  "):
            result += ["::", "", *(f"    {line}" for line in block), ""]
        elif block[0].lstrip().startswith("- "):
            result += [*(_line(line) for line in block), ""]
        else:
            result += [_line(" ".join(line.strip() for line in block)), ""]
    return result


def _process(app: Sphinx, what: str, name: str, obj: object, options: Any, lines: list[str]) -> None:
    lines[:] = restructured(lines)


def _skip(app: Sphinx, what: str, name: str, obj: object, skip: bool, options: Any) -> bool | None:
    """Leave out what others write: fields of named tuples, model_config, scikit-learn's requests for metadata."""
    generated = str(getattr(obj, "__doc__", "")).startswith("Alias for field number")
    return True if generated or name.startswith("model_") or name.endswith("_request") else None


def setup(app: Sphinx) -> dict[str, bool]:
    """Called by Sphinx."""
    app.connect("autodoc-process-docstring", _process)
    app.connect("autodoc-skip-member", _skip)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
