"""Patterns of the contents that no page matches are left out, so that a folder of pages may still be empty."""

from __future__ import annotations

from sphinx.application import Sphinx
from sphinx.util.matching import patfilter


def _read(app: Sphinx, docname: str, content: list[str]) -> None:
    if docname == app.config.root_doc:
        names = app.env.found_docs
        lines = content[0].split("\n")
        content[0] = "\n".join(line for line in lines if not line.endswith("*") or any(patfilter(names, line)))


def setup(app: Sphinx) -> dict[str, bool]:
    """Called by Sphinx."""
    app.connect("source-read", _read)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
