"""What the report says in words and tables: headline, rates, refusals, costs, provenance."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from pipeline import plan
from pipeline.files.provenance import SOFTWARE
from pipeline.files.reading import attribute_of, open_complete
from pipeline.labels import TITLES, fixed, refused, undetermined
from pipeline.layout import Layout
from pipeline.ratefile import Rate
from pipeline.report.cost import Cost, total
from pipeline.report.numbers import grouped, hours, short
from pipeline.report.plots import Link
from pipeline.rntk import plan as rntk_plan
from pipeline.study import AnyStudy, RntkStudy

VARIABLES = {
    "N": "N",
    "K": "K",
    "n": "n",
    "steps": "steps",
    "draws": "draws",
    "hidden_updates": "hidden updates",
    "chain_steps": "chain steps",
}
SHOWN = {
    "git_commit": "Commit",
    "python": "Python",
    "numpy": "NumPy",
    "command_line": "Command",
    "created": "Rates written",
}
WHERE = (
    ("rates.csv", "the table of rates, to be read by programs"),
    ("rates.h5", "every point behind it"),
    ("limit.h5", "the limit"),
    ("kernels.h5", "the sequences, the limit's kernels"),
    ("weights.csv", "weight of time steps"),
    ("study.yaml", "the study with every default written out"),
    ("figures", "the figures, SVG and PNG"),
)


@dataclass(frozen=True)
class Row:
    """A rate as the table shows it; keys: what each column is sorted by, in the order of the columns."""

    quantity: str
    title: str
    figure: str
    variable: str
    at: str
    estimator: str
    number: str
    interval: str
    expected: str
    kind: str
    verdict: str
    note: int
    keys: Sequence[str]


@dataclass(frozen=True)
class Note:
    """A note below the table, and the rows that carry it."""

    number: int
    text: str
    rows: Sequence[str]


@dataclass(frozen=True)
class Refusal:
    """A group of rates about which the data cannot say anything: what they have in common, and the reasons."""

    heading: str
    words: str
    reasons: Sequence[tuple[Sequence[str], str]]


def linked(layout: Layout, path: Path) -> Link:
    """A file below the results folder, by its path relative to it."""
    relative = path.relative_to(layout.root).as_posix()
    return Link(relative, quote(relative))


# --- headline --------------------------------------------------------------------------------------------------


def headline(study: AnyStudy, rates: Sequence[Rate]) -> str:
    """One sentence of what was measured and what came out. rates: without those of single probes."""
    judged = [rate for rate in rates if not math.isnan(rate.expected)]
    count = {verdict: sum(rate.verdict == verdict for rate in judged) for verdict in VERDICTS}
    parts = [f"{count['consistent']} agree with it", f"{count['inconsistent']} do not"]
    if count["undetermined"]:
        parts.append(f"for {count['undetermined']} the data cannot tell")
    told = f"{', '.join(parts[:-1])}, and {parts[-1]}" if len(parts) > 2 else " and ".join(parts)
    return f"{_measured(study)}: of {len(judged)} rates and constants with an expected value, {told}."


VERDICTS = ("consistent", "inconsistent", "undetermined")


def _measured(study: AnyStudy) -> str:
    cells = rntk_plan.cells(study) if isinstance(study, RntkStudy) else plan.cells(study)
    widths = sorted({cell.width for cell in cells})
    count = grouped(sum(cell.replicas for cell in cells))
    span = f"width {widths[0]}" if len(widths) == 1 else f"widths from {widths[0]} to {widths[-1]}"
    if isinstance(study, RntkStudy):
        return f"{count} Elman networks of {span} were compared with their kernels of infinite width"
    return f"{count} recurrent networks of {span} were trained online and compared with their kernel limit"


# --- rates -----------------------------------------------------------------------------------------------------


def rows(rates: Sequence[Rate]) -> list[Row]:
    """The rows of the table, in the order of rates.csv."""
    found = notes_of(rates)
    drawn = {rate.quantity for rate in rates if rate.cloud}
    return [_row(index, rate, found, drawn) for index, rate in enumerate(rates)]


def notes_of(rates: Sequence[Rate]) -> dict[str, int]:
    """Each note once, numbered in the order in which rows refer to them."""
    return {text: number for number, text in enumerate(dict.fromkeys(rate.note for rate in rates if rate.note), 1)}


def notes(rates: Sequence[Rate]) -> list[Note]:
    """The notes with the rows that carry them."""
    return [
        Note(number, text, [name(rate) for rate in rates if rate.note == text])
        for text, number in notes_of(rates).items()
    ]


def name(rate: Rate) -> str:
    """A rate in a few words: output_bias in N, β = 0.6 (pair-mean)."""
    return f"{rate.quantity} in {VARIABLES.get(rate.variable, rate.variable)}, {fixed(rate)} ({rate.estimator})"


def _row(index: int, rate: Rate, numbered: dict[str, int], drawn: set[str]) -> Row:
    digits = 3 if rate.stderr >= 0.0005 else 4
    known = not math.isnan(rate.exponent)
    half = 0.5 * (rate.ci_high - rate.ci_low)
    number = f"{rate.exponent:.{digits}f} ± {half:.{digits}f}" if known else "–"
    interval = f"{rate.ci_low:.{digits}f} to {rate.ci_high:.{digits}f}" if known else "–"
    note = numbered.get(rate.note, 0)
    variable = VARIABLES.get(rate.variable, rate.variable)
    at = fixed(rate)
    keys = (f"{index:06d}", variable, at, rate.estimator, _key(rate.exponent), _key(rate.ci_low), _key(rate.expected))
    return Row(
        rate.quantity,
        TITLES.get(rate.quantity, ""),
        f"figure-{rate.quantity}" if rate.quantity in drawn else "",
        variable,
        at,
        rate.estimator,
        number,
        interval,
        short(rate.expected),
        rate.expected_kind or "–",
        rate.verdict,
        note,
        (*keys, rate.expected_kind, rate.verdict, str(note or "")),
    )


def _key(value: float) -> str:
    return "" if math.isnan(value) else repr(value)


# --- refusals --------------------------------------------------------------------------------------------------


def refusals(rates: Sequence[Rate]) -> list[Refusal]:
    """Undetermined rates in groups that say in plain words why no verdict is given."""
    left = [rate for rate in rates if rate.verdict == "undetermined"]
    groups = (
        (
            "Refused",
            "No law was fitted, since too few estimates stand out of their noise. Fitting the others would report the "
            "noise as a rate. The reason names the points that were left out and, where it can be told, how many "
            "replicas would do.",
            [rate for rate in left if refused(rate)],
        ),
        (
            "No expected value",
            "The rate is measured, but nothing is predicted that it could be compared with.",
            [rate for rate in left if not undetermined(rate) and math.isnan(rate.expected)],
        ),
        (
            "No verdict",
            "An exponent was fitted, but its interval is too wide, or the points do not follow one law, so that "
            "agreement with the expected value would mean little.",
            [rate for rate in left if not refused(rate) and not math.isnan(rate.expected)],
        ),
    )
    return [Refusal(heading, words, _reasons(members)) for heading, words, members in groups if members]


def _reasons(rates: Sequence[Rate]) -> list[tuple[list[str], str]]:
    """Each reason once, with the rates that it is given for."""
    return [
        ([name(rate) for rate in rates if rate.note == note], note.removeprefix("refused: ") or "no reason was noted")
        for note in dict.fromkeys(rate.note for rate in rates)
    ]


GLOSSARY = (
    (
        "debiased square under 3 standard errors",
        "A root mean square always looks positive. With its noise subtracted, the square is less than three standard "
        "errors above zero: it may be nothing.",
    ),
    (
        "beyond the first value that is left out, where only upward fluctuations stand out",
        "Where most estimates drown in noise, those that do not are the lucky ones. They are left out as well.",
    ),
    ("usable points", "Four points are the fewest from which a law can be told from its failure."),
    (
        "not one law",
        "The points scatter about the fitted line by more than their errors allow. The interval is widened for it.",
    ),
    (
        "off by",
        "The fitted exponent less the expected one. The exponent over the larger half of the points says whether the "
        "gap closes.",
    ),
)


def glossary(rates: Sequence[Rate]) -> list[tuple[str, str]]:
    """The phrases that occur in this study's notes, in plain words."""
    text = "\n".join(rate.note for rate in rates)
    return [(phrase, words) for phrase, words in GLOSSARY if phrase in text]


# --- costs -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class CostRow:
    """A line of the table of costs, in words."""

    link: Link | None
    replicas: str
    shards: str
    size: str
    cores: str
    gpus: str


def cost_rows(layout: Layout, found: Sequence[Cost]) -> tuple[list[CostRow], CostRow, str]:
    """A line for each ensemble, the total, and the total in a sentence."""
    whole = total(found)
    smallest = min((time for cost in found for time in (cost.core_seconds, cost.gpu_seconds) if time), default=0.0)
    lines = [_cost_row(layout, cost, smallest) for cost in found]
    return lines, _cost_row(layout, whole, smallest), _spent(whole)


def _cost_row(layout: Layout, cost: Cost, smallest: float) -> CostRow:
    times = (cost.core_seconds, cost.gpu_seconds)
    cores, gpus = (hours(time, smallest) if time else "–" for time in times)
    link = linked(layout, cost.file) if cost.file else None
    replicas = grouped(cost.replicas) if cost.replicas else "–"
    return CostRow(link, replicas, grouped(cost.shards), plan.size_text(cost.bytes), cores, gpus)


def _spent(whole: Cost) -> str:
    times = ((whole.core_seconds or 0.0, "core"), (whole.gpu_seconds or 0.0, "GPU"))
    parts = [
        f"{plan.duration(seconds)} of one {worker} ({short(seconds / 3600)} {worker}-hours)"
        for seconds, worker in times
        if seconds
    ]
    spent = f"The networks took {' and '.join(parts)}" if parts else "No times were recorded"
    return f"{spent}; {grouped(whole.shards)} shards hold {plan.size_text(whole.bytes)}."


# --- provenance ------------------------------------------------------------------------------------------------


def provenance(layout: Layout, spent: Sequence[Cost]) -> list[tuple[str, str]]:
    """Where the rates come from, and what computed the networks. Raises StudyError for a file at fault."""
    keys = (*SOFTWARE, "backend", "study_id", "seed", "precision")
    with open_complete(layout.rates_h5, "rates") as file:
        found = {key: str(value) if (value := attribute_of(file, key)) is not None else "unknown" for key in keys}
    backends = sorted({name for cost in spent for name in cost.backends})
    devices = sorted({name for cost in spent for name in cost.devices})
    return [
        ("Software", f"rnnlimits {found['software_version']}"),
        *((label, found[key]) for key, label in SHOWN.items()),
        ("Rates computed by", found["backend"]),
        ("Networks computed by", ", ".join(backends) or "unknown"),
        ("On", ", ".join(devices) or "unknown"),
        ("Study identity", found["study_id"]),
        ("Seed", found["seed"]),
        ("Precision", found["precision"]),
    ]


def places(layout: Layout) -> list[tuple[Link, str]]:
    """The files of the results folder that a reader may want to open."""
    return [(linked(layout, layout.root / file), words) for file, words in WHERE if (layout.root / file).exists()]
