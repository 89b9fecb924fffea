"""The report of a packed file: a page next to it, with figures that are drawn anew from its values."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from urllib.parse import quote

from rnnlimits import experiments
from rnnlimits.base import progress
from rnnlimits.base.errors import StudyError
from rnnlimits.files import durable
from rnnlimits.files.identities import MARK, NEAR
from rnnlimits.kernels.interface import Backend
from rnnlimits.plan import due
from rnnlimits.plan.layout import StudyFolder
from rnnlimits.plan.parts import Experiment
from rnnlimits.report.page import page
from rnnlimits.report.places import linked
from rnnlimits.report.plots import Link
from rnnlimits.results import standing, unpacking


def report(pack: Path, backend: Callable[[], Backend]) -> Path:
    """Write the report of a packed file next to it, demo.html of demo.h5; returns its path.

    backend: called only if a figure needs it. Its links to files lead to the packed file. Raises StudyError for a pack
    that is damaged, lacks rates, or whose study cannot be identified, and for a page that is not such a report.
    """
    output = pack.with_suffix(".html")
    _require_own(output)
    durable.require_folder(output)
    with unpacking.folder_of(pack) as root:
        text = _page(pack, root, backend, partial(_link, pack, root))
    durable.write_bytes(output, text.encode())
    progress.note(str(output))
    return output


def _page(pack: Path, root: Path, backend: Callable[[], Backend], link: Callable[[Path], Link]) -> str:
    study = standing.study_of(root)
    if study is None:
        raise StudyError(f"{root / 'study.yaml'}: is missing; a report is of a study")
    if standing.experiment_of(root) is None:
        advice = "restore the folder where the study lies (rnnlimits unpack FILE) and run the study there"
        raise StudyError(f"{pack}: its study names a file of its own, which no pack contains; {advice}")
    experiment = experiments.at(study, root)
    due.require(experiment, experiment.layout.rates_h5)
    _draw(experiment, backend)
    return page(experiment, link)


def _draw(experiment: Experiment, backend: Callable[[], Backend]) -> None:
    (step,) = (step for step in experiment.steps() if step.name == "figures")
    due.require_inputs(experiment, step)
    step.run(backend)


def _link(pack: Path, root: Path, path: Path) -> Link:
    """A file of the folder, which readers find in the packed file."""
    return Link(linked(StudyFolder(root), path).text, quote(pack.name))


def _require_own(output: Path) -> None:
    """Raises StudyError for an existing page that is not a report."""
    if output.exists() and f"{MARK} study_id=".encode() not in output.read_bytes()[:NEAR]:
        raise StudyError(f"{output}: exists and is not a report; move it away, or give the packed file another name")
