"""What a finished study says in the terminal: its table of rates, and where to look next."""

from __future__ import annotations

from pathlib import Path

from rnnlimits.base import tables as columns
from rnnlimits.base.errors import StudyError
from rnnlimits.elman.layout import RntkLayout
from rnnlimits.statistics import ratefile
from rnnlimits.statistics.ratefile import Rate
from rnnlimits.training.layout import Layout

ENSEMBLES = "the ensembles; rnnlimits inspect FILE shows what is in one"


def summary(root: Path) -> str:
    """The rates in results folder `root` as a table, then the paths of figures, tables and data.

    Raises StudyError if the rates are missing or not complete.
    """
    room = columns.terminal_width()
    table = ratefile.table(rates_of(root), 100 if room == columns.UNLIMITED else min(120, room), room)
    found = places(root)
    longest = max(len(str(path)) for path, _ in found)
    lines = (f"  {str(path).ljust(longest)}  {words}" for path, words in found)
    return "\n".join([table, "", "where to look:", *lines])


def rates_of(root: Path) -> list[Rate]:
    """The rates in results folder `root`. Raises StudyError if they are missing or not complete."""
    layout = Layout(root)
    if not layout.rates_h5.exists():
        raise StudyError(f"{root}: has no rates; give results/STUDY of a study that has run (rnnlimits run STUDY)")
    return ratefile.read(layout.rates_h5)


def places(root: Path) -> list[tuple[Path, str]]:
    """Files and folders of the results folder `root` that are there, each with what it is."""
    layout = Layout(root)
    every = (
        (layout.report, "all of it on one page, for a browser"),
        (layout.figures, "the figures, SVG and PNG"),
        (layout.rates_csv, "this table, to be read by programs"),
        (layout.rates_h5, "every point behind it"),
        (layout.limit, "the limit"),
        (RntkLayout(root).kernels, "the sequences, the limit's kernels"),
        (RntkLayout(root).weights_csv, "weight of time steps"),
        *((layout.root / name, ENSEMBLES) for name in ("train", "kernel", "descent")),
    )
    return [(path, words) for path, words in every if path.exists()]
