"""What a reader meets on a page: a first sentence, maths that every renderer shows alike, and tables that fit."""

from __future__ import annotations

import re

import pytest
from runs import ROOT
from test_habits import PAGES

MOST_COLUMNS = 6
# Formulas, inline and displayed, as GitHub and the site read them.
MATHS = re.compile(r"\$\$(.+?)\$\$|(?<![\w$\\])\$(?! )([^$`]+?)(?<![ \\])\$(?![\w$])", re.DOTALL)
CODE = re.compile(r"^( *)(`{3,}|~{3,}).*?^\1\2|`[^`]+`|^ {4,}\S.*?$", re.DOTALL | re.MULTILINE)
GREEK = r"(?:alpha|beta|gamma|delta|eps|eta|theta|kappa|lambda|mu|nu|xi|pi|sigma|tau|phi|psi|omega)"
# What only a formula has: a power of a letter, a Greek letter beside a sign or another letter, an expectation.
FORMULA = re.compile(
    rf"\w\^[-({{\w]|^{GREEK}\b[_' ]?(?:[-+<>^\d ]|=(?!\d*\.?\d))|[-+*/\d] ?{GREEK}\b|\bsqrt\b|\bE [A-Z]\b|\bE\["
)
PAGES_OF_THEORY = [page for page in PAGES if re.fullmatch(r"docs/(theory/.*|theory|model|glossary|rntk)\.md", page)]


def without_code(text: str) -> str:
    return CODE.sub("", text)


def formulas(page: str) -> list[str]:
    return [block or inline for block, inline in MATHS.findall(without_code(_text(page)))]


def _text(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def test_the_pattern_of_formulas() -> None:
    assert [found[1] for found in MATHS.findall("a $x_1$, `$HOME` costs $5 or $6, $N^{-1}$.")] == ["x_1", "N^{-1}"]
    assert without_code("a `b $c$`\n```\n$d$\n```\n$e$") == "a \n\n$e$"


@pytest.mark.needs_docs
@pytest.mark.parametrize("page", PAGES)
def test_markdown_leaves_formulas_alone(page: str) -> None:
    """GitHub reads Markdown first and maths afterwards: an escape or a pair of underscores would be lost."""
    from markdown_it import MarkdownIt

    tokens = MarkdownIt("commonmark").enable("table").parse(_text(page))
    inline = [child for token in tokens for child in token.children or []]
    words = {"softbreak": "\n", "hardbreak": "\n"}
    shown = "".join(words.get(child.type, child.content if child.type == "text" else "\0") for child in inline)
    lost = [formula for formula in formulas(page) if _flat(formula) not in _flat(shown)]
    assert lost == [], "use letters (\\lvert, \\thinspace, \\lbrace), or x_1' for x'_1"


def _flat(text: str) -> str:
    return re.sub(r"\s+", "", text)


@pytest.mark.parametrize("page", PAGES)
def test_inline_formulas_stand_in_one_line(page: str) -> None:
    """And GitHub needs a space, a bracket or the end of the line before a formula, and no letter after it."""
    text = without_code(_text(page))
    assert [inline for block, inline in MATHS.findall(text) if "\n" in inline] == []
    assert re.findall(r"[\w\-/]\$\S[^$\n]*\$", re.sub(r"\$\$.*?\$\$", "", MATHS.sub("", text), flags=re.DOTALL)) == []


@pytest.mark.parametrize("page", PAGES_OF_THEORY)
def test_formulas_of_theory_are_not_code(page: str) -> None:
    spans = re.findall(r"`([^`]+)`", re.sub(r"^( *)(`{3,}).*?^\1\2", "", _text(page), flags=re.DOTALL | re.MULTILINE))
    assert [span for span in spans if FORMULA.search(span)] == []


@pytest.mark.parametrize(
    ("span", "formula"),
    [
        *((span, True) for span in ("N^-1/2", "beta = 0.75", "E C^3", "sqrt n", "2 alpha lambda_i")),
        *((span, False) for span in ("rich.epsilon", "beta", "training.beta", "eps=0.25", "x-y.csv")),
    ],
)
def test_the_pattern_of_formulas_in_code(span: str, formula: bool) -> None:
    assert bool(FORMULA.search(span)) == formula


@pytest.mark.parametrize("page", PAGES)
def test_tables_have_at_most_six_columns(page: str) -> None:
    """Wider ones cannot be read on a telephone, nor on half a screen."""
    rules = [line.strip() for line in _text(page).splitlines() if re.fullmatch(r"\s*\|[-:| ]+\|\s*", line)]
    assert [rule for rule in rules if rule.count("|") - 1 > MOST_COLUMNS] == []


INCLUDED = re.compile(r"```\{include\} (\S+)\n```\n")


@pytest.mark.parametrize("page", PAGES)
def test_pages_open_with_a_sentence(page: str) -> None:
    """A title, and then what the page is for: no list, table, picture, block or further heading before it."""
    text = _text(page)
    if included := INCLUDED.fullmatch(text):
        text = ((ROOT / page).parent / included[1]).read_text(encoding="utf-8")
    title, _, rest = text.partition("\n\n")
    assert re.fullmatch(r"# .+", title), title
    opening = re.sub(r"\s+", " ", rest.lstrip().split("\n\n")[0])
    assert re.match(r"(?!\*\*|[*] |```)[A-Z\[*`$]\S* .*\w", opening), opening
    assert re.search(r"[.:!?)](?: |$)", opening), opening


def test_included_pages_are_found() -> None:
    assert INCLUDED.fullmatch((ROOT / "docs" / "project" / "changelog.md").read_text(encoding="utf-8"))
    assert len(PAGES) > 40
