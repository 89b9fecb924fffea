"""Compare the same rates of several studies, with a test of equality: from each rates.h5 to rows and a table."""

from __future__ import annotations

import csv
import io
import json
import math
import shutil
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from rnnlimits.base.errors import StudyError
from rnnlimits.files import durable, store
from rnnlimits.results import standing, unpacking
from rnnlimits.statistics import older_rates, ratefile
from rnnlimits.statistics.bootstrap import quantile
from rnnlimits.statistics.equality import degrees_of_freedom, holm, welch
from rnnlimits.statistics.ratefile import Rate
from rnnlimits.study import text
from rnnlimits.training.layout import Layout

LEVEL = 0.05  # studies are reported to differ if the adjusted p-value is below this
FORMATS = (".svg", ".png", ".pdf")
WORLDS = ("chain", "sequences")  # what trainings, or networks of the recurrent NTK, share in addition to the seed


@dataclass(frozen=True)
class Key:
    """The properties that two rates must share to be the same quantity."""

    quantity: str
    estimator: str
    variable: str
    at: str
    law: str

    @property
    def heading(self) -> str:
        """The heading of its rows, as in the table of one study."""
        return f"{self.quantity} in {self.variable} ({self.estimator})"


@dataclass(frozen=True)
class Source:
    """The rates of one study. world: seed and what is drawn from it; None if the file does not contain it."""

    label: str
    folder: str
    study_id: str
    seed: int | None
    world: str | None
    rates: Mapping[Key, Rate]


@dataclass(frozen=True)
class Row:
    """One quantity in every study (None: not in that one). Differences: second minus first, only for two studies."""

    key: Key
    rates: tuple[Rate | None, ...]
    difference: float = math.nan
    difference_stderr: float = math.nan
    statistic: float = math.nan
    dof: float = math.nan
    p: float = math.nan
    p_holm: float = math.nan

    @property
    def known(self) -> list[Rate]:
        """The rates with a number that a test can use."""
        return [rate for rate in self.rates if rate is not None and usable(rate)]


def usable(rate: Rate) -> bool:
    """Whether a rate is a number with an error: not refused, and not too uncertain to be held against a prediction."""
    number = math.isfinite(rate.exponent) and rate.stderr > 0 and not rate.refused
    return number and rate.verdict != "cannot tell"


def run(folders: Sequence[Path], csv_file: Path | None, figure: Path | None, as_json: bool) -> str:
    """Compare the studies in these results folders; returns the text to print.

    Raises StudyError for fewer than two folders, a folder given twice or without rates, damaged rates, and an unknown
    format of the figure.
    """
    if figure is not None and figure.suffix not in FORMATS:
        raise StudyError(f"--figure: {figure} ends in {figure.suffix or 'nothing'}; allowed: {', '.join(FORMATS)}")
    sources = load(folders)
    rows = compare(sources)
    if csv_file is not None:
        durable.require_folder(csv_file)
        durable.write_bytes(csv_file, to_csv(sources, rows).encode())
    if figure is not None:
        from rnnlimits.results import compare_figure

        compare_figure.write_to(figure, [source.label for source in sources], rows)
    if as_json:
        return json.dumps(plain(sources, rows), allow_nan=False)
    width = min(120, shutil.get_terminal_size((100, 24)).columns)
    return table(sources, rows, width)


# --- reading ---------------------------------------------------------------------------------------------------


def load(folders: Sequence[Path]) -> list[Source]:
    """The rates of each results folder, or packed file, labelled by study, or by folder if studies share a name."""
    if len(folders) < 2:
        raise StudyError(f"{folders[0]}: is the only folder given; give two or more results folders to compare")
    for one, other in combinations(folders, 2):
        if one.resolve() == other.resolve():
            raise StudyError(f"{other}: is given twice; give each results folder once")
    sources = [_of_results(folder) for folder in folders]
    names = [source.label for source in sources]
    return [source if names.count(source.label) == 1 else replace(source, label=source.folder) for source in sources]


def _of_results(results: Path) -> Source:
    with unpacking.folder_of(results, unpacking.RATES) as folder:
        return replace(_source(folder), folder=str(results))


def _source(folder: Path) -> Source:
    path = Layout(folder).rates_h5
    if not folder.is_dir() or not path.exists():
        what = "has no rates" if folder.is_dir() else "is not a results folder"
        raise StudyError(f"{folder}: {what}; give results/STUDY of a study that has run (rnnlimits run STUDY)")
    standing.require_rates(folder)
    with store.open_complete(path, "rates") as file:
        attributes = {name: store.attribute_of(file, name) for name in ("study", "study_id", "study_yaml", "seed")}
    rates = {_key(rate): rate for rate in ratefile.read(path) if not rate.single}
    seed = int(attributes["seed"]) if attributes["seed"] is not None else None
    world = _world(str(attributes["study_yaml"] or ""), path)
    return Source(str(attributes["study"]), str(folder), str(attributes["study_id"]), seed, world, rates)


def _key(rate: Rate) -> Key:
    return Key(rate.quantity, rate.estimator, rate.variable, rate.at, rate.law)


def _world(study_yaml: str, path: Path) -> str | None:
    """Seed and chain (or sequences) of a study as text: studies with equal text share their paths."""
    raw = text.parse(study_yaml, str(path))
    if not isinstance(raw, dict):
        return None
    return json.dumps({name: raw.get(name) for name in ("experiment", "seed", *WORLDS)}, sort_keys=True)


# --- comparing -------------------------------------------------------------------------------------------------


def compare(sources: Sequence[Source]) -> list[Row]:
    """A row for every rate of any study, in the order of the first that has it; p-values adjusted over all rows."""
    keys = dict.fromkeys(key for source in sources for key in source.rates)
    rows = [_row(key, tuple(source.rates.get(key) for source in sources)) for key in keys]
    tested = [row for row in rows if not math.isnan(row.p)]
    adjusted = dict(zip((row.key for row in tested), holm([row.p for row in tested]), strict=True))
    return [replace(row, p_holm=float(adjusted.get(row.key, math.nan))) for row in rows]


def _row(key: Key, rates: tuple[Rate | None, ...]) -> Row:
    measured = [rate for rate in rates if rate is not None and usable(rate)]
    if len(measured) < 2:
        return Row(key, rates)
    values, errors = [rate.exponent for rate in measured], [rate.stderr for rate in measured]
    freedom = [degrees_of_freedom(0.5 * (rate.ci_high - rate.ci_low), rate.stderr) for rate in measured]
    test = welch(values, errors, freedom)
    two = len(rates) == 2
    difference = values[1] - values[0] if two else math.nan
    error = math.hypot(*errors) if two else math.nan
    return Row(key, rates, difference, error, test.statistic, test.dof, test.p)


def assumptions(sources: Sequence[Source], rows: Sequence[Row]) -> list[str]:
    """The assumptions of the test, one line each."""
    tested = sum(not math.isnan(row.p) for row in rows)
    lines = [
        "test: Welch's, over the bootstrap standard errors (rates.h5 keeps no replicas of the bootstrap); "
        f"{tested} rows tested, p adjusted by Holm over all of them; 'differ' below {LEVEL}",
    ]
    for one, other in combinations(sources, 2):
        if one.world is not None and one.world == other.world:
            what = "sequences" if '"experiment": "rntk"' in one.world else "chain"
            lines.append(
                f"{one.label} and {other.label} share seed {one.seed} and {what}, so their replicas have random "
                "numbers in common; the test takes them as independent, and p is too large if both deviate alike"
            )
    if len(lines) == 1:
        lines.append("no two of them share seed and chain: taken as independent")
    old = {source.label: older_rates.remedy(rate.version for rate in source.rates.values()) for source in sources}
    return [*lines, *(f"{label}: {words}" for label, words in old.items() if words)]


# --- printing --------------------------------------------------------------------------------------------------


def table(sources: Sequence[Source], rows: Sequence[Row], width: int) -> str:
    """A plain-text table: rows of two studies or more, then rows of only one study, notes, assumptions."""
    common = [row for row in rows if sum(rate is not None for rate in row.rates) > 1]
    notes = list(dict.fromkeys(rate.note for row in common for rate in row.rates if rate and not usable(rate)))
    header = (
        "",
        *(source.label for source in sources),
        *(["difference"] if len(sources) == 2 else []),
        "p",
        "Holm",
        "",
    )
    body = [_cells(row, notes, len(sources) == 2) for row in common]
    sizes = [max(map(len, column)) for column in zip(header, *body, strict=True)]
    lines, heading = [_aligned(header, sizes)], None
    for row, cells in zip(common, body, strict=True):
        if heading != (heading := row.key.heading):
            lines.append(heading)
        lines.append(_aligned(cells, sizes))
    rest = [*_only_in_one(sources, rows), *assumptions(sources, rows)]
    return "\n".join([*lines, *_wrapped(notes, width), *(w for line in rest for w in textwrap.wrap(line, width))])


def _cells(row: Row, notes: Sequence[str], two: bool) -> tuple[str, ...]:
    cells = [f"  {row.key.at}", *(_number(rate, notes) for rate in row.rates)]
    tested = not math.isnan(row.p)
    if two:
        cells.append(f"{row.difference:+.3f} ± {quantile(row.dof) * row.difference_stderr:.3f}" if tested else "-")
    cells += [_p(row.p), _p(row.p_holm)] if tested else ["-", "-"]
    return (*cells, "differ" if tested and row.p_holm < LEVEL else "")


def _number(rate: Rate | None, notes: Sequence[str]) -> str:
    if rate is None:
        return ""
    if not usable(rate):
        return f"- [{notes.index(rate.note) + 1}]"
    return f"{rate.exponent:.3f} ± {0.5 * (rate.ci_high - rate.ci_low):.3f}"


def _p(value: float) -> str:
    return f"{value:.3f}" if value >= 0.0005 else f"{value:.0e}"


def _aligned(cells: Sequence[str], sizes: Sequence[int]) -> str:
    return "  ".join(cell.ljust(size) for cell, size in zip(cells, sizes, strict=True)).rstrip()


def _wrapped(notes: Iterable[str], width: int) -> Iterator[str]:
    for number, note in enumerate(notes, 1):
        yield from textwrap.wrap(f"[{number}] {note}", width, subsequent_indent="    ")


def _only_in_one(sources: Sequence[Source], rows: Sequence[Row]) -> Iterator[str]:
    """The rows that only one study has, a line for each study."""
    for index, source in enumerate(sources):
        single = [row for row in rows if sum(rate is not None for rate in row.rates) == 1]
        mine = [row.key for row in single if row.rates[index] is not None]
        if mine:
            yield f"only in {source.label}: " + "; ".join(f"{key.heading} {key.at}".rstrip() for key in mine)


# --- for programs ----------------------------------------------------------------------------------------------

RATE_COLUMNS = ("exponent", "stderr", "ci_low", "ci_high", "verdict")
TEST_COLUMNS = ("difference", "difference_stderr", "statistic", "dof", "p", "p_holm")


def to_csv(sources: Sequence[Source], rows: Sequence[Row]) -> str:
    """A line for each row; the columns of study A are exponent[A], stderr[A] and so on; what is missing is empty."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    key_columns = tuple(Key.__dataclass_fields__)
    of_rates = [f"{name}[{source.label}]" for source in sources for name in RATE_COLUMNS]
    writer.writerow([*key_columns, *of_rates, *TEST_COLUMNS])
    for row in rows:
        rates = [_plain(getattr(rate, name, None)) for rate in row.rates for name in RATE_COLUMNS]
        tests = [_plain(getattr(row, name)) for name in TEST_COLUMNS]
        values = [*(getattr(row.key, name) for name in key_columns), *rates, *tests]
        writer.writerow(
            ["" if value is None else f"{value:.6g}" if isinstance(value, float) else value for value in values]
        )
    return out.getvalue()


def plain(sources: Sequence[Source], rows: Sequence[Row]) -> dict[str, Any]:
    """For --json: docs/watch-and-compare.md describes the keys."""
    names = ("label", "folder", "study_id", "seed")
    return {
        "studies": [{name: getattr(source, name) for name in names} for source in sources],
        "assumed": assumptions(sources, rows),
        "rows": [_plain_row(row) for row in rows],
    }


def _plain_row(row: Row) -> dict[str, Any]:
    columns = (*RATE_COLUMNS, "note")
    rates = [{name: _plain(getattr(rate, name)) for name in columns} if rate else None for rate in row.rates]
    tests = {name: _plain(getattr(row, name)) for name in TEST_COLUMNS}
    return {**asdict(row.key), "rates": rates, **tests, "differ": bool(row.p_holm < LEVEL)}


def _plain(value: object) -> object:
    """JSON has no NaN and no infinity."""
    return None if isinstance(value, float) and not np.isfinite(value) else value
