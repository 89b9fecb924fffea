"""Equations as MathML, which browsers show by themselves: no script, no request, and a font of the site's own.

A number is written as \\tag{n} and stands at the right edge of its line.
"""

from __future__ import annotations

import re
from typing import Any

from docutils import nodes
from latex2mathml.converter import convert
from sphinx.application import Sphinx
from sphinx.writers.html5 import HTML5Translator

# Bars do not grow with what is between them; a slash in a line of text has no space around it. The font draws primes
# small and high for those that no one raises: raised ones need its other shape (site.css).
CORRECTED = {
    'stretchy="true" fence="true" form="prefix">&#x0007C;': 'stretchy="false" fence="true" form="prefix">&#x0007C;',
    'stretchy="true" fence="true" form="postfix">&#x0007C;': 'stretchy="false" fence="true" form="postfix">&#x0007C;',
    "<mo>&#x0002F;": '<mo lspace="0" rspace="0">&#x0002F;',
}
TAG = re.compile(r"\\tag\{([^}]*)\}")
# latex2mathml takes these for signs between two terms; as delimiters they have no space around them.
DELIMITERS = {r"\lvert": r"\left|", r"\rvert": r"\right|", r"\lVert": r"\left\|", r"\rVert": r"\right\|"}
TOKEN = re.compile(r"\\[A-Za-z]+|\\.|.", re.DOTALL)
OPENING = {"{", "(", "[", r"\lvert", r"\lVert", r"\langle"}
CLOSING = {"}", ")", "]", r"\rvert", r"\rVert", r"\rangle"}
RELATIONS = {"", "=", "<", ">", ",", r"\le", r"\ge", r"\to", r"\sim", r"\approx", r"\mapsto", r"\pm"}
SHORT = 24  # characters of TeX: about a quarter of the width of a telephone
# A formula with the brackets and marks that touch it, of which browsers would make lines of their own.
MARKED = re.compile(r"([(“]*)(<math [^>]*display=\"inline\">(?:(?!</math>).)*</math>)([,.;:?!)”]*)", re.DOTALL)
# Names of functions have a thin space on each side, but none beside a bracket or sign; latex2mathml leaves out both.
NAMED = re.compile(r"<m([io])>(arcsin|arccos|tanh|sin|cos|exp|log|sup|max|min)</m\1>(?=(<mo)?)")
SPACE = '<mspace width="0.167em"/>'
ALONE = ("<mrow>", "</mo>")
# A minus sign without a term before it.
SIGN = re.compile(r"(<mo[^>]*>&#x0(?:0028|005B|003D|002C|003C|003E|2264|2265);</mo>)<mo>(?=&#x02212;)")
PRIME = re.compile(r"<(m[io])>((?:&#x0203[2-4];)+)</\1>")


def shown(source: str, display: str = "inline") -> str:
    """MathML of a formula in TeX."""
    for name, delimiter in DELIMITERS.items():
        source = source.replace(name, delimiter)
    made = convert(source.strip(), display=display)
    for before, after in CORRECTED.items():
        made = made.replace(before, after)
    made = SIGN.sub(r'\1<mo form="prefix">', NAMED.sub(_spaced, made))
    return PRIME.sub(r'<\1 class="prime">\2</\1>', made)


def _spaced(found: re.Match[str]) -> str:
    name, before = f"<mi>{found[2]}</mi>", found.string[: found.start()]
    if before.endswith(("<msub>", "<msup>", "<munder>", "<msubsup>")):  # whose parts are counted
        return name
    return f"{'' if before.endswith(ALONE) else SPACE}{name}{'' if found[3] else SPACE}"


def pieces(source: str) -> list[str]:
    """A long formula of a line of text cut after relations and sums outside brackets: browsers do not break <math>."""
    cut, depth, before = [""], 0, ""
    for token in TOKEN.findall(source):
        depth += (token in OPENING) - (token in CLOSING)
        cut[-1] += token
        if depth == 0 and (token in RELATIONS or (token in "+-" and before not in RELATIONS)):
            cut.append("")
        before = before if token.isspace() else token
    whole = len(source) <= SHORT or not cut[-1].strip()
    return [source] if whole else cut


def _inline(translator: HTML5Translator, node: nodes.Element) -> None:
    translator.body.append("<wbr>".join(shown(piece) for piece in pieces(node.astext())))
    raise nodes.SkipNode


def _kept_together(app: Sphinx, page: str, template: str, context: dict[str, Any], tree: nodes.document | None) -> None:
    """Marks stay in the line of the formula that they follow."""
    if "body" in context:
        context["body"] = MARKED.sub(_together, context["body"])


def _together(found: re.Match[str]) -> str:
    return f'<span class="together">{found[0]}</span>' if found[1] or found[3] else found[0]


def _block(translator: HTML5Translator, node: nodes.Element) -> None:
    source = node.astext()
    number = TAG.search(source)
    tag = f'<span class="equation-number">({number[1]})</span>' if number else ""
    # A long equation scrolls in its own box, which a keyboard can reach.
    translator.body.append(
        '<div class="equation" tabindex="0" role="group" aria-label="equation">'
        f"{shown(TAG.sub('', source), 'block')}{tag}</div>\n"
    )
    raise nodes.SkipNode


def setup(app: Sphinx) -> dict[str, bool]:
    """Called by Sphinx."""
    app.add_html_math_renderer("mathml", (_inline, None), (_block, None))
    app.config.html_math_renderer = "mathml"
    app.connect("html-page-context", _kept_together)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
