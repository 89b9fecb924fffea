"""What a finished study says in the terminal: its table of rates, and where to look next."""

from __future__ import annotations

import shutil
from pathlib import Path

from pipeline import ratefile
from pipeline.errors import StudyError
from pipeline.layout import Layout
from pipeline.rntk.layout import RntkLayout

ENSEMBLES = "the ensembles; rnnlimits inspect FILE shows what is in one"


def summary(root: Path) -> str:
    """The rates in results folder `root` as a table, then the paths of figures, tables and data.

    Raises StudyError if the rates are missing or not complete.
    """
    layout = Layout(root)
    if not layout.rates_h5.exists():
        raise StudyError(f"{root}: has no rates; give results/STUDY of a study that has run (rnnlimits run STUDY)")
    width = min(120, shutil.get_terminal_size((100, 24)).columns)
    table = ratefile.table(ratefile.read(layout.rates_h5), width)
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
    places = [(path, words) for path, words in every if path.exists()]
    longest = max(len(str(path)) for path, _ in places)
    lines = (f"  {str(path).ljust(longest)}  {words}" for path, words in places)
    return "\n".join([table, "", "where to look:", *lines])
