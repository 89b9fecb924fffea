"""The report of a study: what is on the page, that it is one file that loads nothing, and how a browser shows it."""

from __future__ import annotations

import csv
import dataclasses
import itertools
import json
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import browser
import example_files
import example_results as made_up
import h5py
import pytest
import yaml
from runs import ROOT

from rnnlimits import experiments, kernels
from rnnlimits.base.errors import StudyError
from rnnlimits.files import store
from rnnlimits.plan.parts import ensembles
from rnnlimits.rates import stage
from rnnlimits.report import citation, cost, curve_plots, in_time_table, page, rate_table
from rnnlimits.report import run as write_report
from rnnlimits.statistics import ratefile
from rnnlimits.study import Study
from rnnlimits.training import plan
from rnnlimits.training.layout import Layout

HOSTILE = "</script><script>hacked=1</script><img src=x onerror=hacked=1>\"'&"
SVG = '<svg xmlns="http://www.w3.org/2000/svg" width="40" height="30"><rect width="40" height="30"/></svg>'
SHARD = 1000  # bytes
FOLDED = {(name, "plain") for name in ("output_fluctuation", "output_bias", "hidden_h1", "hidden_h1_sup")}
VOID = {"meta", "img", "br", "link", "input"}


class Page(HTMLParser):
    """Every element with its attributes and the text directly in it; raises where one is not closed in its place."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str], list[str]]] = []
        self.open: list[int] = []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {key: value or "" for key, value in attrs}, []))
        if tag not in VOID:
            self.open.append(len(self.elements) - 1)

    def handle_endtag(self, tag: str) -> None:
        assert self.elements[self.open.pop()][0] == tag

    def handle_data(self, data: str) -> None:
        if self.open:
            self.elements[self.open[-1]][2].append(data)

    def all(self, tag: str) -> list[tuple[dict[str, str], str]]:
        return [(attrs, "".join(text)) for name, attrs, text in self.elements if name == tag]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Study, Layout]:
    """A made-up study with rates; shards and pictures are stand-ins."""
    study = made_up.make_study(beta="[0.6, 0.75]", replicas="64")
    layout = made_up.write_results(study, tmp_path_factory.mktemp("report"))
    stage.run(study, layout, kernels.backend("numpy"))
    for ensemble in ensembles(experiments.at(study, layout.root).parts()):
        for shard in (block.path for block in ensemble.blocks if ensemble.is_virtual):
            shard.parent.mkdir(parents=True, exist_ok=True)
            shard.write_bytes(bytes(SHARD))
    layout.figures.mkdir()
    for name in {rate.quantity for rate in ratefile.read(layout.rates_h5)} | {"outputs", "loss", "collapse"}:
        layout.figure(name, "svg").write_text(SVG)
    write_report(experiments.at(study, layout.root))
    return study, layout


Finished = tuple[Study, Layout]


@pytest.fixture(scope="module")
def text(finished: Finished) -> str:
    return finished[1].report.read_text()


@pytest.fixture(scope="module")
def parsed(text: str) -> Page:
    return Page(text)


@dataclasses.dataclass(frozen=True)
class Listed:
    """The rows of rates.csv but for single probes, in the order of the page: main table, then folded ones.

    places: of each in the order of rates.csv. main: how many are in the main table.
    """

    rates: list[ratefile.Rate]
    places: list[int]
    main: int

    @property
    def groups(self) -> list[bool]:
        """For each row, whether it has the quantity, the estimator and the variable of the row before in its table."""
        keys = [(rate.quantity, rate.estimator, rate.variable) for rate in self.rates]
        return [at not in (0, self.main) and keys[at] == keys[at - 1] for at in range(len(keys))]


@pytest.fixture(scope="module")
def listed(finished: Finished, parsed: Page) -> Listed:
    """Every row once, by the place in its identity; both tables are in the order of rates.csv, and neither is empty."""
    rates = [rate for rate in ratefile.read(finished[1].rates_h5) if not rate.single]
    places = [int(attrs["id"].removeprefix("rate-")) - 1 for attrs, _ in parsed.all("tr") if "data-group" in attrs]
    assert sorted(places) == list(range(len(rates)))
    main = _rows_of_first_table(parsed)
    assert 0 < main < len(places)
    assert places == [*sorted(places[:main]), *sorted(places[main:])]
    return Listed([rates[place] for place in places], places, main)


def _rows_of_first_table(parsed: Page) -> int:
    tables = [at for at, (tag, attrs, _) in enumerate(parsed.elements) if attrs.get("class") == "sortable rates"]
    assert len(tables) == 2
    return sum("data-group" in attrs for _, attrs, _ in parsed.elements[: tables[1]])


def with_rates(study: Study, layout: Layout, folder: Path, **changes: Any) -> str:
    """The page of the same results with fields of the first row replaced."""
    first, *others = ratefile.read(layout.rates_h5)
    attrs = store.provenance(study, [HOSTILE])
    other = dataclasses.replace(layout, root=folder)
    for path in layout.root.iterdir():
        (folder / path.name).symlink_to(path)
    other.rates_h5.unlink()
    ratefile.write_h5(other.rates_h5, attrs, [dataclasses.replace(first, **changes), *others])
    return page.page(experiments.at(study, other.root))


# --- what is on it ---------------------------------------------------------------------------------------------


def test_the_tables_are_the_table_of_rates(finished: Finished, parsed: Page, listed: Listed) -> None:
    _, layout = finished
    with layout.rates_csv.open() as file:
        in_file = [row for row in csv.DictReader(file) if " probe=" not in row["at"]]
    wanted = [in_file[place] for place in listed.places]
    keys = [attrs["data-key"] for attrs, _ in parsed.all("td") if "data-key" in attrs]
    width = 9  # columns after the heading of a row
    assert len(keys) == width * len(wanted) > 0
    rows = [keys[index : index + width] for index in range(0, len(keys), width)]
    for row, rate in zip(rows, wanted, strict=True):
        numbers = [f"{float(key):.6g}" if key else "" for key in (row[1], row[2], row[4], row[7])]
        assert numbers == [rate[name] for name in ("exponent", "predicted", "expected", "corrected")]
        assert (row[3], row[5], row[8]) == (rate["verdict"], rate["estimator"], rate["note"])
    said = next(words for attrs, words in parsed.all("p") if attrs.get("class") == "lead")
    judged = [rate["verdict"] for rate in wanted if rate["verdict"] != "no prediction"]
    assert f"of {len(judged)} rates" in said
    assert f"{judged.count('as predicted')} are as predicted" in said


def test_other_estimates_of_one_fact_are_folded(parsed: Page, listed: Listed) -> None:
    """Plain estimates are folded under better ones of the same networks."""
    aside = listed.rates[listed.main :]
    assert {(rate.quantity, rate.estimator) for rate in aside} == FOLDED
    assert not [rate for rate in listed.rates[: listed.main] if (rate.quantity, rate.estimator) in FOLDED]
    said = next(words for _, words in parsed.all("summary") if "of the same facts" in words)
    assert said.startswith(f"{len(aside)} more: ")


def test_a_supremum_is_folded_under_its_quantity(listed: Listed) -> None:
    base = next(rate for rate in listed.rates if (rate.quantity, rate.estimator) == ("output_rms", "plain"))
    supremum = dataclasses.replace(base, estimator="plain, sup over t")
    elsewhere = dataclasses.replace(supremum, at="beta=0.9")
    assert [row.is_beside for row in rate_table.rows([base, supremum, elsewhere])] == [False, True, False]


def test_the_table_in_time_is_that_of_the_file(finished: Finished, parsed: Page) -> None:
    with (finished[1].root / "rates_in_time.csv").open() as file:
        wanted = list(csv.DictReader(file))
    start = next(at for at, (_, attrs, _) in enumerate(parsed.elements) if attrs.get("id") == "in-time")
    body = next(at for at in range(start, len(parsed.elements)) if parsed.elements[at][0] == "tbody")
    end = next(at for at in range(body, len(parsed.elements)) if parsed.elements[at][0] == "h3")
    cells = ["".join(text) for tag, _, text in parsed.elements[body:end] if tag in ("code", "td")]
    columns = len(in_time_table.COLUMNS)
    assert len(cells) == columns * len(wanted) > 0
    for row, rate in zip((cells[at : at + columns] for at in range(0, len(cells), columns)), wanted, strict=True):
        assert [row[0], *row[6:9:2]] == [rate[name] for name in ("quantity", "estimator", "note")]
        assert float(row[2]) == pytest.approx(float(rate["time"]))
        for words, number in ((row[3].split(" ± ")[0], rate["exponent"]), (row[4], rate["predicted"])):
            assert words == "–" if number == "" else float(words) == pytest.approx(float(number), abs=6e-4)


def test_notes_are_said_once_beside_their_row(finished: Finished, parsed: Page, listed: Listed) -> None:
    cells = [(attrs, words) for attrs, words in parsed.all("td") if attrs.get("class") == "note"]
    notes = [words for attrs, words in cells if "data-key" in attrs]
    assert notes == [rate.note for rate in listed.rates]
    assert any(notes)
    in_time = [words for attrs, words in cells if "data-key" not in attrs]
    assert in_time == [rate.note for rate in ratefile.read_in_time(finished[1].rates_h5)]
    every = [words for tag, _, text in parsed.elements for words in text if tag != "td"]
    assert not [note for note in notes if note and note in every]


def test_a_strip_of_verdicts_leads_to_the_rows_in_their_order(parsed: Page, listed: Listed) -> None:
    cells = [attrs for attrs, _ in parsed.all("a") if attrs.get("class", "").startswith("cell ")]
    rows = [attrs["id"] for attrs, _ in parsed.all("tr") if "data-group" in attrs]
    assert [cell["href"] for cell in cells] == [f"#{row}" for row in rows]
    for cell, rate in zip(cells, listed.rates, strict=True):
        assert cell["class"] == f"cell {page.css_class(rate.verdict)}"
        assert cell["aria-label"].startswith(f"{rate.quantity} in ")
        assert cell["aria-label"].endswith(f"({rate.estimator}): {rate.verdict}")
    glyphs = [words for attrs, words in parsed.all("span") if attrs == {"aria-hidden": "true"}]
    assert glyphs[: len(cells)] == [page.GLYPHS[rate.verdict] for rate in listed.rates]


def test_pictures_are_those_that_the_study_has(finished: Finished, parsed: Page) -> None:
    """A picture is embedded once: its figure below, if it has one, points to it."""
    figures = [attrs["id"] for attrs, _ in parsed.all("figure") if "id" in attrs]
    assert figures == ["picture-collapse", "picture-outputs"]
    sources = [attrs["src"] for attrs, _ in parsed.all("img")]
    assert len(sources) == len(list(finished[1].figures.glob("*.svg")))
    assert [words for attrs, words in parsed.all("a") if attrs["href"] == "#picture-outputs"]


def test_rows_of_one_estimate_are_one_group(parsed: Page, listed: Listed) -> None:
    found = [attrs for attrs, _ in parsed.all("tr") if "data-group" in attrs]
    assert [attrs.get("class") == "again" for attrs in found] == listed.groups
    assert any(listed.groups[: listed.main])
    assert any(listed.groups[listed.main :])


def test_figures_have_every_point_and_its_file(finished: Finished, parsed: Page) -> None:
    _, layout = finished
    drawings = {
        attrs["id"].removeprefix("drawing-"): json.loads(words)
        for attrs, words in parsed.all("script")
        if attrs.get("type") == "application/json"
    }
    with h5py.File(layout.rates_h5) as file:
        owner = file["point_rate"][()]
        judged = file["in_time"][()][owner] == 0
        values = file["point_estimate"][()][(file["quantity"].asstr()[()][owner] == "drift") & judged]
    drawn = [trace for trace in drawings["drift-1"]["data"] if trace["mode"] == "markers" and "yaxis" not in trace]
    assert sorted(y for trace in drawn for y in trace["y"]) == pytest.approx(sorted(values))
    said = [words for trace in drawn for words in trace["customdata"]]
    assert ["64", "train/N00064-K00064/beta0.6-depth1.h5"] in [[words[0], words[-1]] for words in said]
    for trace in drawn:
        for word in ("estimate", "95%", "replicas", "customdata[5]"):
            assert word in trace["hovertemplate"]


def test_links_lead_to_files_that_are_there(finished: Finished, parsed: Page) -> None:
    _, layout = finished
    relative = {unquote(attrs["href"]) for attrs, _ in parsed.all("a") if not attrs["href"].startswith("#")}
    assert {"rates.csv", "train/N00064-K00064/beta0.6-depth1.h5", "draw.h5"} <= relative
    missing = [path for path in relative if not (layout.root / path).exists()]
    assert missing == []
    identities = {attrs["id"] for _, attrs, _ in parsed.elements if "id" in attrs}
    inside = {attrs["href"][1:] for attrs, _ in parsed.all("a") if attrs["href"].startswith("#")}
    assert inside <= identities


def test_study_provenance_and_citation(finished: Finished, parsed: Page) -> None:
    study, layout = finished
    code = [words for _, words in parsed.all("code")]
    assert any(yaml.safe_load(words) == yaml.safe_load(page.to_yaml(study)) for words in code if "beta:" in words)
    with h5py.File(layout.rates_h5) as file:
        wanted = [str(file.attrs[name]) for name in ("git_commit", "python", "numpy", "created", "study_id")]
    assert set(wanted) <= set(code)
    assert any(words.startswith("@software{") for words in code)


def test_the_citation_is_that_of_the_citation_file() -> None:
    file = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert (file["title"], file["version"]) == (citation.TITLE, citation.VERSION)
    assert str(file["date-released"]) == citation.RELEASED
    assert ", ".join(author["name"] for author in file["authors"]) == citation.AUTHORS
    papers = [
        (
            ", ".join(f"{author['given-names']} {author['family-names']}" for author in paper["authors"]),
            paper["title"],
            paper["notes"],
            paper["year"],
        )
        for paper in file["references"]
    ]
    assert papers == [tuple(paper) for paper in citation.PAPERS]


def test_costs_are_those_of_the_shards(tmp_path: Path) -> None:
    shards = [
        example_files.write_shard(tmp_path, 0, 2, backend="host", device="a core"),
        example_files.write_shard(tmp_path, 2, 2, backend="cuda", device="a GPU"),
    ]
    ensemble = example_files.write_ensemble(tmp_path, shards)
    seconds = []
    for shard in shards:
        with h5py.File(shard) as file:
            seconds.append(float(file["run_seconds"][()].sum()))
    found = cost._of_ensemble(ensemble)
    assert [found.core_seconds, found.gpu_seconds] == pytest.approx(seconds)
    assert (found.replicas, found.shards) == (4, 2)
    assert found.bytes == sum(shard.stat().st_size for shard in shards)
    assert found.devices == {"a core", "a GPU"}


# --- one file, the same again, nothing let in ------------------------------------------------------------------


def test_it_needs_no_other_file(parsed: Page) -> None:
    assert not parsed.all("link")
    assert all("src" not in attrs for attrs, _ in parsed.all("script"))
    assert parsed.all("img")
    assert all(attrs["src"].startswith("data:image/svg+xml;base64,") for attrs, _ in parsed.all("img"))
    addresses = [attrs[name] for _, attrs, _ in parsed.elements for name in ("src", "href") if name in attrs]
    assert not [address for address in addresses if re.match(r"(?i)\s*(https?:|//|javascript:)", address)]
    styles = "".join(words for _, words in parsed.all("style"))
    assert "url(" not in styles
    assert "@import" not in styles
    (policy,) = (attrs["content"] for attrs, _ in parsed.all("meta") if "http-equiv" in attrs)
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "http" not in policy


def test_the_same_results_give_the_same_bytes(finished: Finished, text: str) -> None:
    study, layout = finished
    assert page.page(experiments.at(study, layout.root)) == text


def test_structure_for_readers_of_all_kinds(parsed: Page) -> None:
    levels = [int(tag[1]) for tag, _, _ in parsed.elements if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))
    identities = [attrs["id"] for _, attrs, _ in parsed.elements if "id" in attrs]
    assert len(identities) == len(set(identities))
    tags = [tag for tag, _, _ in parsed.elements]
    assert {"header", "nav", "main", "footer"} <= set(tags)
    assert tags.count("caption") == tags.count("table")
    assert all(attrs.get("scope") in ("col", "row") for attrs, _ in parsed.all("th"))
    pictures = [attrs for attrs, _ in parsed.all("figure") if "id" in attrs]
    folded_tables = 2  # other estimates of the same facts, and rates at the other checkpoints
    assert tags.count("details") == tags.count("figure") - len(pictures) + folded_tables
    assert tags.count("summary") == tags.count("details")
    assert all(attrs["alt"] for attrs, _ in parsed.all("img"))
    assert parsed.all("html")[0][0]["lang"] == "en"


def test_hostile_words_are_only_words(finished: Finished, tmp_path: Path) -> None:
    text = with_rates(*finished, tmp_path, note=HOSTILE, estimator=HOSTILE, at=f"beta=0.6 {HOSTILE}")
    found = Page(text)  # whatever is closed out of place raises
    assert "hacked" not in "".join(words for attrs, words in found.all("script") if "type" not in attrs)
    assert not [attrs for _, attrs, _ in found.elements if any(name.startswith("on") for name in attrs)]
    assert HOSTILE in {words for attrs, words in found.all("td") if attrs.get("class") == "note"}
    assert len([attrs for attrs, _ in found.all("script") if "type" not in attrs]) == 2  # plotly's and ours


def test_what_is_missing_is_named(finished: Finished, tmp_path: Path) -> None:
    study, layout = finished
    with pytest.raises(StudyError, match=r"rates\.h5: is missing"):
        page.page(experiments.at(study, tmp_path))
    other = study.model_copy(update={"seed": 1})
    with pytest.raises(StudyError, match="another study"):
        page.page(experiments.at(other, layout.root))
    picture = layout.figure("drift", "svg")
    kept = picture.read_bytes()
    picture.unlink()
    try:
        with pytest.raises(StudyError, match=r"drift\.svg: cannot be read.*rnnlimits figures"):
            page.page(experiments.at(study, layout.root))
    finally:
        picture.write_bytes(kept)


@pytest.mark.parametrize(
    "text",
    [b"\xff\xfe", b"network,step\nelman,1\n", b"network,kernel,sigma_w,step,weight\na,ntk,1.5,1,\n", b"x" * 200_000],
)
def test_a_table_of_weights_that_is_none_is_named(tmp_path: Path, text: bytes) -> None:
    (tmp_path / "weights.csv").write_bytes(text + b"\n1,2\n")
    with pytest.raises(StudyError, match=r"weights\.csv: .*; run rnnlimits figures STUDY again"):
        curve_plots.weights_plot(tmp_path / "weights.csv")


def test_every_point_of_every_row_has_files(finished: Finished) -> None:
    study, layout = finished
    for rate in ratefile.read(layout.rates_h5):
        for point in rate.cloud:
            files = experiments.at(study, layout.root).behind(rate, **{rate.variable: point.variable})
            assert files, f"{rate.quantity} {rate.at} {point.variable}"
    cells = {layout.ensemble(cell) for cell in plan.cells(study)}
    (drift,) = (r for r in ratefile.read(layout.rates_h5) if (r.quantity, r.at) == ("drift", "beta=0.75"))
    (file,) = experiments.at(study, layout.root).behind(drift, N=128.0)
    assert file in cells
    assert file == layout.root / "train" / "N00128-K00128" / "beta0.75-depth1.h5"


# --- in a browser ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    with browser.chromium() as program:
        yield program


@pytest.mark.needs_browser
class TestInABrowser:
    def test_values_show_under_the_pointer_and_nothing_leaves(self, finished: Finished, chromium: Any) -> None:
        report = finished[1].report
        with browser.open_page(chromium, report) as visit:
            page = visit.page
            page.locator("#figure-drift").scroll_into_view_if_needed()
            point = page.locator("#plot-drift-1 .points path").first
            point.wait_for()
            box = point.bounding_box()
            page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
            tooltip = page.locator("#plot-drift-1 .hovertext")
            tooltip.wait_for()
            said = tooltip.text_content()
            for word in ("N = 64", "estimate", "95%:", "replicas", "train/N00064-K00064/beta0.6-depth1.h5"):
                assert word in said, said
            assert visit.errors == []
            assert visit.requests == [report.resolve().as_uri()]

    def test_the_table_sorts_by_pointer_and_by_keyboard(self, finished: Finished, chromium: Any) -> None:
        with browser.open_page(chromium, finished[1].report) as visit:
            page = visit.page
            rows = "[...document.querySelectorAll('.sortable')[{}].tBodies[0].rows]"
            column, other = (f"{rows.format(table)}.map(row => row.cells[2].dataset.key)" for table in (0, 1))
            apart = page.evaluate(other)
            heading = page.get_by_role("columnheader", name="Measured")
            before = page.evaluate(column)
            heading.get_by_role("button").click()
            numbers = [float(key) for key in page.evaluate(column) if key]
            assert numbers == sorted(numbers)
            assert sorted(page.evaluate(column)) == sorted(before)
            assert heading.get_attribute("aria-sort") == "ascending"
            page.keyboard.press("Enter")  # the button has the focus
            assert [float(key) for key in page.evaluate(column) if key] == sorted(numbers, reverse=True)
            assert heading.get_attribute("aria-sort") == "descending"
            page.keyboard.press("Tab")
            page.keyboard.press("Space")
            assert heading.get_attribute("aria-sort") is None
            assert page.locator("th[aria-sort]").text_content() == "Predicted"
            assert page.evaluate(other) == apart
            page.get_by_text("of the same facts from").click()
            page.locator("details[open]").get_by_role("button", name="Measured").click()
            assert [float(key) for key in page.evaluate(other) if key] == sorted(float(key) for key in apart if key)

    @pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 390)])
    def test_no_serious_fault_and_nothing_sideways(
        self, finished: Finished, chromium: Any, scheme: str, width: int
    ) -> None:
        with browser.open_page(chromium, finished[1].report, width, scheme, bypass_csp=True) as visit:
            page = visit.page
            assert page.evaluate("document.documentElement.scrollWidth") == width
            page.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true; })")
            tables = page.locator("#rates .scroll:has(.sortable)").all()
            assert len(tables) == 2
            for table in tables if width < 400 else []:
                assert table.evaluate("one => one.scrollWidth - one.clientWidth") == 0
                for cell in table.locator("tbody tr").first.locator("th, td:nth-child(3), td:nth-child(5)").all():
                    assert cell.is_visible()
            assert page.evaluate("document.documentElement.scrollWidth") == width
            assert browser.axe(page) == []
            assert visit.errors == []

    def test_figures_follow_the_scheme(self, finished: Finished, chromium: Any) -> None:
        with browser.open_page(chromium, finished[1].report, bypass_csp=True) as visit:
            page = visit.page
            page.locator("#figure-drift").scroll_into_view_if_needed()
            label = page.locator("#plot-drift-1 .xtick text").first
            label.wait_for()
            colour = "one => getComputedStyle(one).fill"
            assert label.evaluate(colour) == "rgb(27, 31, 36)"
            page.emulate_media(color_scheme="dark")
            page.wait_for_function(
                "getComputedStyle(document.querySelector('#plot-drift-1 .xtick text')).fill == 'rgb(232, 234, 237)'"
            )

    def test_print_and_pages_without_scripts_have_pictures(self, finished: Finished, chromium: Any) -> None:
        with browser.open_page(chromium, finished[1].report) as visit:
            picture, drawing = (visit.page.locator(f"#figure-drift .{name}") for name in ("static", "interactive"))
            assert (picture.is_visible(), drawing.is_visible()) == (False, True)
            visit.page.emulate_media(media="print")
            assert (picture.is_visible(), drawing.is_visible()) == (True, False)
        with browser.open_page(chromium, finished[1].report, java_script_enabled=False) as visit:
            assert visit.page.locator("#figure-drift .static").is_visible()
            assert not visit.page.locator("#figure-drift .interactive").is_visible()

    def test_hostile_words_do_nothing(self, finished: Finished, chromium: Any, tmp_path: Path) -> None:
        text = with_rates(*finished, tmp_path, note=HOSTILE, at=f"beta=0.6 {HOSTILE}")
        path = tmp_path / "hostile.html"
        path.write_text(text)
        quantity = ratefile.read(finished[1].rates_h5)[0].quantity
        with browser.open_page(chromium, path) as visit:
            visit.page.locator(f"#figure-{quantity}").scroll_into_view_if_needed()
            visit.page.locator(f"#plot-{quantity}-1 .legendtext").first.wait_for()
            assert visit.page.evaluate("typeof hacked") == "undefined"
            assert visit.errors == []
            assert len(visit.requests) == 1
