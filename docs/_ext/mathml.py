"""Equations as MathML, which browsers show by themselves: no script, no font, no request.

A number is written as \\tag{n} and stands at the right edge of its line.
"""

from __future__ import annotations

import re

from docutils import nodes
from latex2mathml.converter import convert
from sphinx.application import Sphinx
from sphinx.writers.html5 import HTML5Translator

TAG = re.compile(r"\\tag\{([^}]*)\}")


def _inline(translator: HTML5Translator, node: nodes.Element) -> None:
    translator.body.append(convert(node.astext()))
    raise nodes.SkipNode


def _block(translator: HTML5Translator, node: nodes.Element) -> None:
    source = node.astext()
    number = TAG.search(source)
    tag = f'<span class="equation-number">({number[1]})</span>' if number else ""
    shown = convert(TAG.sub("", source).strip(), display="block")
    # A long equation scrolls in its own box, which a keyboard can reach.
    translator.body.append(
        f'<div class="equation" tabindex="0" role="group" aria-label="equation">{shown}{tag}</div>\n'
    )
    raise nodes.SkipNode


def setup(app: Sphinx) -> dict[str, bool]:
    """Called by Sphinx."""
    app.add_html_math_renderer("mathml", (_inline, None), (_block, None))
    app.config.html_math_renderer = "mathml"
    return {"parallel_read_safe": True, "parallel_write_safe": True}
