"""The documentation site: built without a warning; its links, what it loads, and that the reference is complete."""

from __future__ import annotations

import html
import json
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit
from xml.etree import ElementTree

import architecture
import browser
import pytest
from runs import ENVIRONMENT, HANG, ROOT

from rnnlimits.study import json_schema

if TYPE_CHECKING:
    from playwright.sync_api import Browser

DOCS = ROOT / "docs"
# Written by Sphinx beside our pages.
EXTRA = {"genindex.html", "py-modindex.html", "search.html"}


@dataclass
class Page(HTMLParser):
    """What a test wants to know of one page: anchors, links, what is loaded, and the rows of its tables by section."""

    ids: set[str] = field(default_factory=set)
    links: list[str] = field(default_factory=list)
    loads: list[str] = field(default_factory=list)
    rows: dict[str, list[list[str]]] = field(default_factory=dict)
    text: str = ""

    def __post_init__(self) -> None:
        super().__init__()
        self.section = ""
        self.in_cell = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        if "id" in values:
            self.ids.add(values["id"])
            if tag in ("section", "span") and values["id"].startswith("schema-"):
                self.section = values["id"]
        if tag == "a" and "href" in values:
            self.links.append(values["href"])
        if tag == "link" and values.get("rel") not in ("index", "search", "next", "prev", "canonical"):
            self.loads.append(values["href"])
        self.loads += [values[name] for name in ("src", "srcset", "poster", "data") if name in values and tag != "a"]
        if tag == "tr":
            self.rows.setdefault(self.section, []).append([])
        if tag in ("td", "th") and self.rows:
            self.rows[self.section][-1].append("")
            self.in_cell = True

    def handle_endtag(self, tag: str) -> None:
        if tag in ("td", "th"):
            self.in_cell = False

    def handle_data(self, data: str) -> None:
        self.text += data
        if self.in_cell:
            self.rows[self.section][-1][-1] += data


@cache
def read(path: Path) -> Page:
    page = Page()
    page.feed(path.read_text(encoding="utf-8"))
    return page


def pages(site: Path) -> list[Path]:
    return sorted(path for path in site.rglob("*.html") if "_static" not in path.parts)


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built pages. The build itself is judged here: a warning is an error."""
    folder = tmp_path_factory.mktemp("site")
    options = ["-q", "-W", "-n", "--keep-going", "-j", "2", "-b", "html", "-d", str(folder / "doctrees")]
    command = [sys.executable, "-m", "sphinx", *options, str(DOCS), str(folder / "html")]
    done = subprocess.run(command, cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "WARNING" not in done.stderr, done.stderr
    return folder / "html"


@pytest.mark.needs_docs
def test_every_page_is_built(site: Path) -> None:
    sources = [path for kind in ("md", "ipynb") for path in DOCS.rglob(f"*.{kind}") if "_build" not in path.parts]
    built = {path.relative_to(site).with_suffix("") for path in pages(site)}
    assert len(sources) > 20
    assert [path for path in sources if path.relative_to(DOCS).with_suffix("") not in built] == []


@pytest.mark.needs_docs
def test_links_and_anchors_resolve(site: Path) -> None:
    broken = []
    checked = 0
    for page in pages(site):
        for link in read(page).links:
            parts = urlsplit(link)
            if parts.scheme:
                continue
            target = (page.parent / unquote(parts.path)).resolve() if parts.path else page
            anchored = not parts.fragment or target.suffix != ".html" or unquote(parts.fragment) in read(target).ids
            checked += 1
            if not target.is_file() or not anchored:
                broken.append(f"{page.relative_to(site)}: {link}")
    assert broken == []
    assert checked > 1000


@pytest.mark.needs_docs
def test_pages_load_nothing_from_elsewhere(site: Path) -> None:
    foreign = [(page.name, one) for page in pages(site) for one in read(page).loads if _is_foreign(one)]
    assert foreign == []
    for style in site.rglob("*.css"):
        sheet = style.read_text(encoding="utf-8")
        assert not re.search(r"(url\(|@import)\s*['\"]?(https?:)?//", sheet), style


def _is_foreign(address: str) -> bool:
    return address.startswith("//") or urlsplit(address).scheme in ("http", "https")


@pytest.mark.needs_docs
def test_tables_of_built_pages_have_at_most_six_columns(site: Path) -> None:
    wide = {
        page.name: len(row) for page in pages(site) for rows in read(page).rows.values() for row in rows if len(row) > 6
    }
    assert wide == {}


@pytest.mark.needs_docs
def test_the_font_of_formulas_has_all_their_characters(site: Path) -> None:
    from fontTools.ttLib import TTFont

    font = TTFont(site / "_static" / "stix-two-math.woff")
    drawn = set(font.getBestCmap())
    shown: Counter[str] = Counter()
    for page in pages(site):
        for formula in re.findall(r"<math .*?</math>", page.read_text(encoding="utf-8"), re.DOTALL):
            shown.update(html.unescape(re.sub(r"<[^>]*>", "", formula)))
    assert len(shown) > 60
    assert {letter for letter in shown if ord(letter) not in drawn and not letter.isspace()} == set()


@pytest.mark.needs_docs
def test_every_page_is_reached_from_the_index(site: Path) -> None:
    reached: set[Path] = set()
    todo = [site / "index.html"]
    while todo:
        page = todo.pop()
        if page not in reached:
            reached.add(page)
            paths = [urlsplit(link).path for link in read(page).links if not urlsplit(link).scheme]
            todo += [(page.parent / unquote(path)).resolve() for path in paths if path.endswith(".html")]
    assert {page for page in pages(site) if page.name not in EXTRA} - reached == set()


def sections() -> Iterator[tuple[str, str, dict[str, Any], bool]]:
    """Every key of every section of the schema: section, key, what is said of it, whether it must be given."""
    for name, section in json_schema()["$defs"].items():
        for key, value in section.get("properties", {}).items():
            yield name, key, value, key in section.get("required", [])


@pytest.mark.needs_docs
def test_the_page_of_study_files_has_every_key(site: Path) -> None:
    rows = read(site / "reference" / "generated" / "study.html").rows
    listed = list(sections())
    assert len(listed) > 80
    assert {"Study", "RntkStudy"} <= {name for name, *_ in listed}
    for name, key, value, required in listed:
        (row,) = [row for row in rows[f"schema-{name.lower()}"] if row[0] == key]
        about = f"{name}.{key}: {row}"
        assert _plain(value.get("description", "-")) == _plain(row[4]), about
        if required:
            assert row[2] == "required", about
        elif "default" in value:
            assert _plain(row[2]) == _plain(json.dumps(value["default"])), about
        for bound in _bounds(value):
            assert bound in row[3], about


def _plain(text: str) -> str:
    """Without what typography changes: quotes, dashes, dots, spaces."""
    return re.sub(r"[^\w=<>()+*/|^]", "", text).replace("_", "")


def _bounds(value: Any) -> Iterator[str]:
    """Numbers that limit a value, wherever the schema has them."""
    if isinstance(value, dict):
        for name, one in value.items():
            if name in ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"):
                yield f"{one:g}" if isinstance(one, float) else str(one)
            elif name not in ("default", "$ref"):
                yield from _bounds(one)
    elif isinstance(value, list):
        for one in value:
            yield from _bounds(one)


@pytest.mark.needs_docs
def test_every_verb_is_in_the_reference(site: Path) -> None:
    command = [sys.executable, "-m", "rnnlimits", "--help"]
    shown = subprocess.run(command, cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True, check=True).stdout
    named = re.findall(r"^(?:\w+ +| {8})((?:\w+, )*\w+)  ", shown, flags=re.MULTILINE)
    verbs = [verb for names in named for verb in names.split(", ")]
    assert {"run", "check", "train", "validate", "watch", "report"} <= set(verbs)
    text = read(site / "reference" / "generated" / "commands.html").text
    for verb in verbs:
        assert f"usage: rnnlimits {verb} " in text, verb


@pytest.mark.needs_docs
def test_every_module_is_in_the_reference(site: Path) -> None:
    ids = {one for page in (site / "reference").rglob("modules-*.html") for one in read(page).ids}
    for module in architecture.modules():
        assert module == "rnnlimits.__main__" or f"module-{module}" in ids, module
    assert {
        "rnnlimits.theory.flow.Flow",
        "rnnlimits.kernels.rntk.matrices.gram",
        "rnnlimits.base.errors.StudyError",
    } <= ids


@pytest.mark.needs_docs
def test_links_of_included_files_are_those_of_the_page() -> None:
    from repository_links import rewritten

    text = "[a](slurm/site.yaml) [b](../docs/loopback.md#up) [c](../benchmarks/) [d](https://x.org) [e](no/such.md)"
    shown = rewritten(text, Path("cluster/README.md"), Path("docs/project/cluster.md"))
    links = ["[a](../../cluster/slurm/site.yaml)", "[b](../loopback.md#up)", "[c](benchmarks.md)"]
    assert shown == " ".join([*links, "[d](https://x.org)", "[e](no/such.md)"])


@pytest.mark.needs_docs
def test_docstrings_become_paragraphs_code_and_links() -> None:
    from plain_docstrings import restructured

    lines = ["A |x| of `f_`,", "docs/theory/poisson.md.", "", "    a * b", "", "- one", "- two"]
    assert restructured(lines) == [
        r"A \|x\| of \ ``f_``\ , :doc:`/theory/poisson`.",
        "",
        "::",
        "",
        "        a * b",
        "",
        "- one",
        "- two",
        "",
    ]


@pytest.mark.needs_docs
@pytest.mark.parametrize(
    ("formula", "part"),
    [
        (r"b \tanh(Z)", '<mi>b</mi><mspace width="0.167em"/><mi>tanh</mi><mo stretchy="false">&#x00028;</mo>'),
        (r"\sup_k x", "<msub><mi>sup</mi><mi>k</mi></msub>"),
        (r"(-1, x)", '<mo form="prefix">&#x02212;</mo><mn>1</mn>'),
        (r"x - 1", "<mi>x</mi><mo>&#x02212;</mo><mn>1</mn>"),
        (r"\zeta'", '<mi class="prime">&#x02032;</mi>'),
        (r"\lvert x \rvert", '<mo stretchy="false" fence="true" form="postfix">&#x0007C;</mo>'),
    ],
)
def test_formulas_have_the_spaces_of_maths(formula: str, part: str) -> None:
    import mathml

    shown = mathml.shown(formula)
    assert part in shown
    ElementTree.fromstring(shown)


@pytest.mark.needs_docs
def test_long_formulas_are_cut_where_a_line_may_end() -> None:
    import mathml

    assert mathml.pieces(r"N^{-(1 - \beta)} + 1") == [r"N^{-(1 - \beta)} + 1"]
    long = r"\lvert a = b \rvert = \langle S, S' \rangle - x^{-1 + \beta} (y + z)"
    assert mathml.pieces(long) == [r"\lvert a = b \rvert =", r" \langle S, S' \rangle -", r" x^{-1 + \beta} (y + z)"]
    assert mathml.pieces(r"\gamma_{first} = -\alpha_{second}")[1] == r" -\alpha_{second}"


# --- in a browser ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with browser.chromium() as program:
        yield program


SHOWN = ["index", "model", "theory/poisson", "gallery", "architecture", "reference/generated/study"]
# What leaves the window, and is in no box that scrolls.
CUT = """() => [...document.querySelectorAll("article *")].filter(one => {
    if (one.getBoundingClientRect().right <= innerWidth + 1 || !one.getClientRects().length) return false;
    for (let box = one; box !== document.body; box = box.parentElement)
        if (["auto", "scroll"].includes(getComputedStyle(box).overflowX)) return false;
    return true;
}).map(one => one.outerHTML.slice(0, 200))"""


@pytest.mark.needs_docs
@pytest.mark.needs_browser
@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
@pytest.mark.parametrize("name", [*SHOWN, "reference/generated/modules-theory", "reference/generated/commands"])
def test_pages_in_a_browser(site: Path, chromium: Browser, name: str, width: int, scheme: str) -> None:
    with browser.open_page(chromium, site / f"{name}.html", width, scheme, bypass_csp=True) as visit:
        assert visit.errors == []
        assert visit.left == []
        assert len(visit.requests) > 3
        assert visit.page.evaluate("document.documentElement.scrollWidth") <= width
        assert visit.page.evaluate(CUT) == []
        assert visit.page.evaluate("[...document.images].filter(image => !image.naturalWidth).length") == 0
        assert browser.axe(visit.page) == []


@pytest.mark.needs_docs
@pytest.mark.needs_browser
@pytest.mark.parametrize("name", ["theory", "theory/outputs", "theory/memory_and_kernel", "theory/surface", "rntk"])
def test_formulas_fit_on_a_telephone(site: Path, chromium: Browser, name: str) -> None:
    with browser.open_page(chromium, site / f"{name}.html", 390) as visit:
        assert visit.page.evaluate("document.documentElement.scrollWidth") <= 390
        assert visit.page.evaluate(CUT) == []
        assert visit.page.evaluate("document.fonts.check('16px \"STIX Two Math\"', '\u2211')")


@pytest.mark.needs_docs
@pytest.mark.needs_browser
def test_search_finds_a_page(site: Path, chromium: Browser) -> None:
    with browser.open_page(chromium, f"{(site / 'search.html').as_uri()}?q=lugsail") as visit:
        visit.page.wait_for_selector("#search-results a[href*='theory/poisson']", timeout=1000 * HANG)
        assert visit.errors == []
        assert visit.left == []
