"""Links that work twice: on a host that shows the repository's files, and on the site.

Pages of the site that include a file from elsewhere (cluster/README.md) take its relative links with them, and pages
link to such files by where they lie. Both are rewritten here, when the text is read, to the page with the file.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from sphinx.application import Sphinx

DOCS = Path(__file__).resolve().parent.parent
ROOT = DOCS.parent
# Where files of the repository stand on the site.
PAGES = {
    "README.md": "index.md",
    "CHANGELOG.md": "project/changelog.md",
    "CONTRIBUTING.md": "project/contributing.md",
    "benchmarks/README.md": "project/benchmarks.md",
    "cluster/README.md": "project/cluster.md",
}
LINK = re.compile(r"(?<=\]\()(?P<target>[\w./-]+)(?P<anchor>#[\w-]+)?(?=\))")


def rewritten(text: str, written_in: Path, shown_in: Path) -> str:
    """`text` of the file `written_in`, with its relative links as the page `shown_in` (both below ROOT) needs them."""

    def replace(match: re.Match[str]) -> str:
        found = Path(os.path.normpath(ROOT / written_in.parent / match["target"]))
        if not found.exists():
            return match[0]  # not a path, or a broken link: the build says so
        if found.is_dir():
            found /= "README.md"
        inside = os.path.relpath(found, ROOT)
        page = DOCS / PAGES[inside] if inside in PAGES else found
        return os.path.relpath(page, ROOT / shown_in.parent) + (match["anchor"] or "")

    return LINK.sub(replace, text)


def _page(app: Sphinx, docname: str) -> Path:
    return Path(app.env.doc2path(docname)).resolve().relative_to(ROOT)


def _read_page(app: Sphinx, docname: str, content: list[str]) -> None:
    page = _page(app, docname)
    if page.suffix == ".md":
        content[0] = rewritten(content[0], page, page)


def _read_included(app: Sphinx, included: Path, parent: str, content: list[str]) -> None:
    source = (DOCS / included).resolve().relative_to(ROOT)
    content[0] = rewritten(content[0], source, _page(app, app.env.docname))  # the parent comes without its folder


def setup(app: Sphinx) -> dict[str, bool]:
    """Called by Sphinx."""
    app.connect("source-read", _read_page)
    app.connect("include-read", _read_included)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
