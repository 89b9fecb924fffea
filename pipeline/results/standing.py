"""Which files of a results folder are not those of its study: what every reader of the folder says first.

The study of a folder is that of its study.yaml. If that cannot be identified, for instance because the file of a
recorded series, or one of the user's own, is not here, the identity that study.yaml carries is compared with those
that other files carry.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from rnnlimits import experiments
from rnnlimits.base.errors import StudyError
from rnnlimits.files.identities import Carried, can_carry
from rnnlimits.plan import due
from rnnlimits.plan.due import RUN, Fault
from rnnlimits.plan.layout import StudyFolder
from rnnlimits.plan.parts import Experiment
from rnnlimits.study import AnyStudy, load_any

STUDY_ID = "study_id"


def study_of(root: Path) -> AnyStudy | None:
    """The study of a folder; None without study.yaml. Raises StudyError if that is not a study."""
    path = StudyFolder(root).study_yaml
    return load_any(path) if path.is_file() else None


def experiment_of(root: Path) -> Experiment | None:
    """The study of a folder with the folder; None without study.yaml, or where the study cannot be identified."""
    try:
        study = study_of(root)
        # Computed from the files that the study names, which may be missing.
        known = study is not None and study.identity
    except StudyError:
        return None
    return experiments.at(study, root) if study is not None and known else None


def stale(root: Path) -> list[Fault]:
    """The existing files that are not those of the folder's study, by path; empty for a folder of no study."""
    experiment = experiment_of(root)
    if experiment is None:
        return _by_marks(root)
    copy = experiment.layout.study_yaml
    found = [fault for fault in due.stale(experiment) if fault.path != copy]
    own = due.copy_fault(experiment)
    return [_edited(own, experiment.identity), *found] if own is not None and own.foreign else found


def _edited(fault: Fault, identity: str) -> Fault:
    """What to say of a study.yaml whose keys are not those of the study that it names."""
    why = "was edited, or a file that it names has changed"
    words = f"{why}: its keys are of study {identity}, its first line names another"
    return Fault(fault.path, words, foreign=True)


def _by_marks(root: Path) -> list[Fault]:
    """Files whose study_id is not that of study.yaml, or else of rates.h5."""
    layout = StudyFolder(root)
    marks = {path: _study_id(path) for path in _carriers(layout)}
    expected = marks.pop(layout.study_yaml, None) or marks.get(layout.rates_h5)
    if expected is None:
        return []
    return [
        Fault(path, f"is from another study ({STUDY_ID} {found}, expected {expected})", foreign=True)
        for path, found in marks.items()
        if found not in (None, expected)
    ]


def _carriers(layout: StudyFolder) -> list[Path]:
    """Files of a folder that depend on the whole study, and the figures."""
    own = {layout.root / kind.file for kind in experiments.file_kinds() if kind.file and not kind.attributes}
    own |= {layout.rates_h5, layout.root / "kernels.h5"}
    figures = sorted(layout.figures.glob("*.*")) if layout.figures.is_dir() else []
    return [path for path in (*sorted(own), *figures) if path.is_file() and can_carry(path)]


def _study_id(path: Path) -> str | None:
    seen = due.look(path)
    return seen.identities.get(STUDY_ID) if isinstance(seen, Carried) else None


# --- what to say -----------------------------------------------------------------------------------------------


def line(wrong: Sequence[Fault]) -> str:
    """One line about files that are not those of their study; "" if there are none."""
    if not wrong:
        return ""
    common = os.path.commonpath([fault.path for fault in wrong])
    names = ", ".join(os.path.relpath(fault.path, common) for fault in wrong[1:4])
    others = f"; likewise {names}" + (f" and {len(wrong) - 4} more" if len(wrong) > 4 else "") if names else ""
    return f"{wrong[0]}{others}; {RUN}"


def require(root: Path, *paths: Path) -> None:
    """Raises StudyError if one of these existing files is not that of the folder's study."""
    if wrong := [fault for fault in stale(root) if fault.path in paths]:
        raise StudyError(line(wrong))


def require_rates(root: Path) -> None:
    """Raises StudyError if the rates of a folder are not those of its study. Other files are not looked at."""
    rates, experiment = StudyFolder(root).rates_h5, experiment_of(root)
    if experiment is None:
        require(root, rates)
    elif wrong := [fault for fault in due.faults_of(experiment, [rates]) if not fault.is_missing]:
        raise StudyError(line(wrong))


def root_of(path: Path) -> Path | None:
    """The results folder that a file lies in: the nearest parent with a study.yaml."""
    parents = path.absolute().parents
    return next((parent for parent in parents if StudyFolder(parent).study_yaml.is_file()), None)


def leftovers(root: Path, files: Sequence[Path]) -> list[Path]:
    """Files of a folder that no part and no step of its study writes, such as ensembles of a width it no longer has."""
    experiment = experiment_of(root) if root.is_dir() else None
    if experiment is None:
        return []
    known, shards = due.known_files(experiment), experiment.layout.shards
    return [path for path in files if path not in known and not path.is_relative_to(shards)]
