"""Files of the results folder, as the page links them."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

from rnnlimits.report.plots import Link
from rnnlimits.training.layout import Layout

WHERE = (
    ("rates.csv", "the table of rates, to be read by programs"),
    ("rates.h5", "every point behind it"),
    ("limit.h5", "the limit"),
    ("kernels.h5", "the sequences, the limit's kernels"),
    ("weights.csv", "weight of time steps"),
    ("study.yaml", "the study with every default written out"),
    ("figures", "the figures, SVG and PNG"),
)


def linked(layout: Layout, path: Path) -> Link:
    """A file below the results folder, by its path relative to it."""
    relative = path.relative_to(layout.root).as_posix()
    return Link(relative, quote(relative))


def places(layout: Layout) -> list[tuple[Link, str]]:
    """The files of the results folder that a reader may want to open."""
    return [(linked(layout, layout.root / file), words) for file, words in WHERE if (layout.root / file).exists()]
