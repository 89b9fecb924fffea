"""Links from the page to files of the results folder."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

from rnnlimits.plan.files import FIGURES, RATES_CSV, RATES_H5, STUDY_YAML
from rnnlimits.plan.layout import StudyFolder
from rnnlimits.plan.parts import Experiment
from rnnlimits.report.plots import Link
from rnnlimits.report.rate_plots import ToLink


def linked(layout: StudyFolder, path: Path) -> Link:
    """The link to a file below the results folder, by its relative path."""
    relative = path.relative_to(layout.root).as_posix()
    return Link(relative, quote(relative))


def places(experiment: Experiment, link: ToLink) -> list[tuple[Link, str]]:
    """The files of the results folder that a reader may want to open."""
    layout, own = experiment.layout, (kind for kind in experiment.files if kind.file and kind.caption)
    paths = ((layout.root / kind.file, kind.caption) for kind in (RATES_CSV, RATES_H5, *own, STUDY_YAML, FIGURES))
    return [(link(path), caption) for path, caption in paths if path.exists()]
