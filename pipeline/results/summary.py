"""The summary of a finished study in the terminal: its table of rates, and where to look next."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path

from rnnlimits import experiments
from rnnlimits.base import tables
from rnnlimits.base.errors import StudyError
from rnnlimits.plan import due
from rnnlimits.plan.files import FIGURES, RATES_CSV, RATES_H5, REPORT
from rnnlimits.plan.layout import StudyFolder
from rnnlimits.quantities.base import folded
from rnnlimits.results import standing, unpacking
from rnnlimits.statistics import older_rates, ratefile
from rnnlimits.statistics.families import counted
from rnnlimits.statistics.ratefile import Rate
from rnnlimits.study import load_any

OTHER = " (not of this study)"
PACKED = "all results in one file; rnnlimits unpack restores the folder"


def summary(results: Path, study: Path | None = None) -> str:
    """The rates in a results folder, or in a packed file, as a table, then the paths of figures, tables and data.

    A first line says so if files are not those of the folder's study. study: a study file that the rates must be of.
    Raises StudyError if the rates are missing, not complete, or of another study.
    """
    room = tables.terminal_width()
    width = 100 if room == tables.UNLIMITED else min(120, room)
    with unpacking.folder_of(results, unpacking.RATES) as root:
        rates, wrong = rates_of(root, study), standing.stale(root)
    table = ratefile.table(rates, width, room, folded(rates))
    others = {fault.path for fault in wrong}
    locations = [(path, words + OTHER * (path in others)) for path, words in places(results)]
    longest = max(len(str(path)) for path, _ in locations)
    lines = (f"  {str(path).ljust(longest)}  {words}" for path, words in locations)
    first = [standing.line(wrong)] if wrong else []
    first += [line for words in heads(rates) for line in textwrap.wrap(words, width)]
    return "\n".join([*first, "", table, "", "where to look:", *lines])


def heads(rates: Sequence[Rate]) -> Iterator[str]:
    """What a reader must know before the table: the verdicts in numbers, and whether they are of an older version."""
    yield counted([rate for rate in rates if not rate.single])
    if words := older_rates.remedy(rate.version for rate in rates):
        yield words


def rates_of(root: Path, study: Path | None = None) -> list[Rate]:
    """The rates in results folder `root`.

    Raises StudyError if they are missing, not complete, or not of the folder's study, nor of the study file `study`.
    """
    layout = StudyFolder(root)
    if not layout.rates_h5.exists():
        raise StudyError(f"{root}: has no rates; give results/STUDY of a study that has run (rnnlimits run STUDY)")
    standing.require_rates(root)
    if study is not None:
        due.require(experiments.at(load_any(study), root), layout.rates_h5)
    return ratefile.read(layout.rates_h5)


def places(root: Path) -> list[tuple[Path, str]]:
    """Existing files and folders of the results folder `root`, each with a caption; or the packed file."""
    if root.is_file():
        return [(root, PACKED)]
    own = [kind for each in experiments.KINDS.values() for kind in each.files if kind.caption]
    fixed = [(kind.file, kind.caption) for kind in (REPORT, FIGURES, RATES_CSV, RATES_H5, *own) if kind.file]
    folders = [(kind.folder, kind.caption) for kind in own if kind.folder]
    every = ((root / name, caption) for name, caption in (*fixed, *folders))
    return [(path, caption) for path, caption in every if path.exists()]
