"""The kinds of studies: which of them a study is, checks, parts, steps, files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rnnlimits.base.errors import StudyError
from rnnlimits.elman.parts import GRAM_FILES
from rnnlimits.experiments.base import BaseExperiment
from rnnlimits.experiments.elman import Elmans
from rnnlimits.experiments.training import Trainings
from rnnlimits.plan.files import COMMON
from rnnlimits.plan.parts import FileKind
from rnnlimits.study import AnyStudy, Study

__all__ = ["KINDS", "BaseExperiment", "at", "check", "file_kinds", "has_no", "of", "require_training", "serial"]

# By the value of the key `experiment`. A new kind needs a module of this package, a line here, and a study model.
KINDS: Mapping[str, type[BaseExperiment[Any, Any]]] = {kind.kind: kind for kind in (Trainings, Elmans)}


def of(study: AnyStudy, results: Path = Path("results")) -> BaseExperiment[Any, Any]:
    """The study with its results folder below `results`."""
    return at(study, results / study.name)


def at(study: AnyStudy, root: Path) -> BaseExperiment[Any, Any]:
    """The study with the results folder `root`."""
    return KINDS[study.experiment].at(study, root)


def check(study: AnyStudy) -> list[str]:
    """Findings of all numerical checks, one readable line each. Raises StudyError or KernelError for a bad study."""
    return of(study).checks()


def file_kinds() -> tuple[FileKind, ...]:
    """Every kind of file that the software writes for a study, and those of Gram matrices."""
    return (*COMMON, *(file for kind in KINDS.values() for file in kind.files), *GRAM_FILES)


def serial() -> tuple[str, ...]:
    """Names of the steps of all kinds, each once."""
    return tuple(dict.fromkeys(name for kind in KINDS.values() for name in kind.serial))


def has_no(study: AnyStudy, what: str) -> StudyError:
    """The error to raise when studies of this kind do not have `what`."""
    kind = KINDS[study.experiment]
    *others, last = (*kind.parallel, *kind.serial)
    return StudyError(
        f"{study.source}: experiment is {kind.kind}, which has no {what}; its stages are {', '.join(others)} and "
        f"{last}, which rnnlimits run does one after the other"
    )


def require_training(study: AnyStudy, what: str) -> Study:
    """The study, if it is of `experiment: training`; otherwise raises StudyError: it does not have `what`."""
    if isinstance(study, Study):
        return study
    raise has_no(study, what)
