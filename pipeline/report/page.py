"""The report page: its content, laid out by page/report.html.j2 in one self-contained file."""

from __future__ import annotations

import base64
import hashlib
import itertools
from collections.abc import Mapping, Sequence
from functools import partial
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from rnnlimits import __version__
from rnnlimits.base import progress
from rnnlimits.base.errors import StudyError
from rnnlimits.files import durable
from rnnlimits.plan.copies import page_mark
from rnnlimits.plan.layout import StudyFolder
from rnnlimits.quantities.own import quantities_of
from rnnlimits.quantities.suprema import is_supremum
from rnnlimits.report import citation, in_time_table, places
from rnnlimits.report.cost import costs
from rnnlimits.report.cost_table import cost_rows
from rnnlimits.report.glossary import glossary
from rnnlimits.report.headline import headline
from rnnlimits.report.origins import provenance
from rnnlimits.report.pictures import Picture, pictures
from rnnlimits.report.plots import Plot
from rnnlimits.report.rate_plots import Files, ToLink, rate_plot
from rnnlimits.report.rate_table import rows
from rnnlimits.report.subject import Subject
from rnnlimits.statistics import older_rates
from rnnlimits.statistics.families import counted
from rnnlimits.statistics.ratefile import Rate, read_all
from rnnlimits.statistics.verdicts import Verdict
from rnnlimits.study import to_yaml

COLUMNS = (
    *("Quantity", "at", "Measured", "Predicted", "Verdict", "At infinity", "Estimator", "in", "Extrapolated"),
    "Note",
)
NUMBERS = ("Measured", "Predicted", "At infinity", "Extrapolated")
GLYPHS: Mapping[Verdict, str] = {
    "as predicted": "●",
    "not as predicted": "▲",
    "cannot tell": "○",
    "no prediction": "–",
}


def run(subject: Subject) -> Path:
    """Write the report of a finished study into its folder; returns its path.

    Equal results give equal bytes. Raises StudyError for a file that is missing, damaged or of another study.
    """
    with quantities_of(subject.study):
        text, path = page(subject), subject.layout.report
    durable.require_folder(path)
    durable.write_bytes(path, text.encode())
    progress.note(str(path))
    return path


def page(subject: Subject, link: ToLink | None = None) -> str:
    """The page as text; see `run`. link: makes links to files (None: by their paths relative to the results folder)."""
    link = link or partial(places.linked, subject.layout)
    every = read_all(subject.layout.rates_h5, study_id=subject.identity)
    rates, in_time = [rate for rate in every if not rate.in_time], [rate for rate in every if rate.in_time]
    plots, shown = _plots(subject, rates, link), pictures(subject.layout)
    environment = Environment(
        loader=PackageLoader("rnnlimits.report", "page"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    environment.filters["verdict_glyph"] = GLYPHS.__getitem__
    environment.filters["css_class"] = css_class
    return environment.get_template("report.html.j2").render(
        **_words(subject, rates, link),
        in_time=in_time_table.rows(in_time),
        told_in_time=in_time_table.told(in_time),
        **_scripts(),
        plots=plots,
        pictures=shown,
        shown={picture.name for picture in shown},
        static=_static(subject.layout, [*shown, *plots]),
    )


def css_class(verdict: Verdict) -> str:
    """The class of a verdict in the style sheet."""
    return verdict.replace(" ", "-")


def _plots(subject: Subject, rates: Sequence[Rate], link: ToLink) -> list[Plot]:
    """The figures, in the order of the figures stage."""
    found = Files(subject.behind, link)
    single = (rate for rate in rates if not is_supremum(rate))
    groups = (list(group) for _, group in itertools.groupby(single, key=lambda rate: rate.quantity))
    plots = [rate_plot(members, found) for group in groups if (members := [rate for rate in group if rate.cloud])]
    return [*plots, *subject.plots(link)]


def _words(subject: Subject, rates: Sequence[Rate], link: ToLink) -> Mapping[str, Any]:
    """What the template says in words and tables."""
    listed = [rate for rate in rates if not rate.single]
    spent, layout, table = costs(subject.parts()), subject.layout, rows(listed)
    lines, overall, sentence = cost_rows(layout, spent)
    return {
        "columns": COLUMNS,
        "time_columns": in_time_table.COLUMNS,
        "numbers": NUMBERS,
        "name": subject.study.name,
        "version": __version__,
        "headline": headline(subject, listed),
        "counted": counted(listed),
        "older": older_rates.remedy(rate.version for rate in rates),
        "rows": [row for row in table if not row.is_beside],
        "beside": [row for row in table if row.is_beside],
        "single_probes": len(rates) - len(listed),
        "glossary": glossary(listed),
        "costs": lines,
        "total": overall,
        "spent": sentence,
        "provenance": provenance(layout, spent),
        "places": places.places(subject, link),
        "mark": page_mark(subject.study, layout.root),
        "study_yaml": to_yaml(subject.study, layout.root),
        "citation": citation,
    }


def _scripts() -> Mapping[str, Markup | str]:
    """Styles and scripts, embedded in the page, and the policy that allows only these scripts to run."""
    folder = files("rnnlimits.report") / "page"
    library, page_script = _inline(get_plotlyjs()), _inline((folder / "report.js").read_text(encoding="utf-8"))
    hashes = " ".join(f"'sha256-{_digest(script)}'" for script in (library, page_script))
    policy = (
        f"default-src 'none'; script-src {hashes}; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; "
        "form-action 'none'"
    )
    style = (folder / "report.css").read_text(encoding="utf-8")
    # The only texts that are not escaped: ours and plotly's, none of them from the study.
    return {"policy": policy, "style": Markup(style), "library": Markup(library), "script": Markup(page_script)}


def _inline(script: str) -> str:
    """A script in the form for embedding: it must not end its element, and browsers hash it with plain line ends."""
    return script.replace("\r\n", "\n").replace("\r", "\n").replace("</script", "<\\/script")


def _digest(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


def _static(layout: StudyFolder, plots: Sequence[Plot | Picture]) -> dict[str, str]:
    """The study's own SVG of each figure as a data address: for print, and for readers without scripts.

    An image cannot run scripts, and names inside it do not clash with those of other figures.
    """
    images = {}
    for plot in plots:
        path = layout.figure(plot.name, "svg")
        try:
            images[plot.name] = f"data:image/svg+xml;base64,{base64.b64encode(path.read_bytes()).decode()}"
        except OSError as error:
            raise StudyError(f"{path}: cannot be read: {error.strerror}; run rnnlimits figures STUDY again") from error
    return images
