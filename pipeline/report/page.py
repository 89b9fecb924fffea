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
from rnnlimits.elman import plan as rntk_plan
from rnnlimits.elman.layout import RntkLayout
from rnnlimits.files import durable
from rnnlimits.report import citation, places
from rnnlimits.report.cost import costs
from rnnlimits.report.cost_table import cost_rows
from rnnlimits.report.curve_plots import curve_plots, weights_plot
from rnnlimits.report.headline import headline
from rnnlimits.report.origins import provenance
from rnnlimits.report.plots import Plot
from rnnlimits.report.rate_plots import Files, rate_plot
from rnnlimits.report.rate_table import notes, rows
from rnnlimits.report.refusals import glossary, refusals
from rnnlimits.report.sources import behind
from rnnlimits.statistics.ratefile import Rate, read
from rnnlimits.statistics.verdicts import Verdict
from rnnlimits.study import AnyStudy, RntkStudy, to_yaml
from rnnlimits.training import plan
from rnnlimits.training.layout import Layout

COLUMNS = ("Quantity", "in", "at", "Estimator", "Exponent", "95% interval", "Expected", "Kind", "Verdict", "Note")
GLYPHS: Mapping[Verdict, str] = {"consistent": "●", "inconsistent": "▲", "undetermined": "○"}


def run(study: AnyStudy, layout: Layout) -> Path:
    """Write the report of a finished study into its folder; returns its path.

    Equal results give equal bytes. Raises StudyError for a file that is missing, damaged or of another study.
    """
    text = page(study, layout)
    durable.require_folder(layout.report)
    durable.write_bytes(layout.report, text.encode())
    progress.note(str(layout.report))
    return layout.report


def page(study: AnyStudy, layout: Layout) -> str:
    """The page as text; see `run`."""
    identity = rntk_plan.study_id(study) if isinstance(study, RntkStudy) else plan.study_id(study)
    rates = read(layout.rates_h5, study_id=identity)
    plots = _plots(study, layout, rates)
    environment = Environment(
        loader=PackageLoader("rnnlimits.report", "page"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    environment.filters["verdict_glyph"] = GLYPHS.__getitem__
    return environment.get_template("report.html.j2").render(
        **_words(study, layout, rates), **_scripts(), plots=plots, static=_static(layout, plots), columns=COLUMNS
    )


def _plots(study: AnyStudy, layout: Layout, rates: Sequence[Rate]) -> list[Plot]:
    """The figures, in the order of the figures stage."""
    link = partial(places.linked, layout)
    files = Files(partial(behind, study, layout), link)
    groups = (list(group) for _, group in itertools.groupby(rates, key=lambda rate: rate.quantity))
    plots = [rate_plot(members, files) for group in groups if (members := [rate for rate in group if rate.cloud])]
    if isinstance(study, RntkStudy):
        return plots + weights_plot(RntkLayout(layout.root).weights_csv)
    return plots + curve_plots(study, layout, link)


def _words(study: AnyStudy, layout: Layout, rates: Sequence[Rate]) -> Mapping[str, Any]:
    """The text and the tables for the template."""
    listed = [rate for rate in rates if not rate.single]
    spent = costs(study, layout)
    lines, overall, sentence = cost_rows(layout, spent)
    return {
        "name": study.name,
        "version": __version__,
        "headline": headline(study, listed),
        "rows": rows(listed),
        "single_probes": len(rates) - len(listed),
        "notes": notes(listed),
        "refusals": refusals(listed),
        "glossary": glossary(listed),
        "costs": lines,
        "total": overall,
        "spent": sentence,
        "provenance": provenance(layout, spent),
        "places": places.places(layout),
        "study_yaml": to_yaml(study),
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


def _static(layout: Layout, plots: Sequence[Plot]) -> dict[str, str]:
    """The SVG of each figure from the study's folder as a data URL, for print and for readers without scripts.

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
