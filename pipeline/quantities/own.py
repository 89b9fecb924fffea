"""Quantities from Python files that a study names by its key `quantities`, for as long as the study is used."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from numbers import Real
from typing import Any

from rnnlimits.base import ownfiles
from rnnlimits.base.errors import StudyError
from rnnlimits.base.ownfiles import OwnFile
from rnnlimits.quantities.base import Quantity, extended, registered_by
from rnnlimits.quantities.elman import ElmanQuantity
from rnnlimits.quantities.trained import TrainedQuantity, Trainings
from rnnlimits.statistics.bootstrap import Sample
from rnnlimits.study import AnyStudy

CALL = "rnnlimits.quantities.register(...)"
SAMPLES = "those of rnnlimits.statistics.samples (rms, average, spread, bias)"

_REGISTERED: dict[OwnFile, list[Quantity]] = {}  # in this process


@contextmanager
def quantities_of(study: AnyStudy) -> Iterator[None]:
    """The registry with the quantities of a study's own files, which are run for it.

    Raises StudyError, one line with file and line number, for a file that cannot be read or run, or registers nothing
    that the study could have, and for whatever its functions raise until the end of the block.
    """
    entries = [entry for file in study.own_quantities for entry in _entries(file, study)]
    with _extended(study, entries), ownfiles.blamed(*study.own_quantities):
        yield


def findings(study: AnyStudy) -> list[str]:
    """What the files register, a readable line for each. Raises StudyError as `quantities_of` does."""
    with quantities_of(study):
        return [f"{file.path}: registers {_names(_entries(file, study))}" for file in study.own_quantities]


def _names(entries: list[Quantity]) -> str:
    return ", ".join(f"{entry.name} ({entry.estimator})" for entry in entries)


def _entries(file: OwnFile, study: AnyStudy) -> list[Quantity]:
    """The entries of a file, checked."""
    if file not in _REGISTERED:
        _REGISTERED[file] = [_checked(entry, file) for entry in registered_by(lambda: ownfiles.module(file))]
    entries = _REGISTERED[file]
    if not entries:
        raise StudyError(f"{file.path}: registers no quantity; allowed: at least one call of {CALL}")
    for entry in entries:
        if isinstance(entry, ElmanQuantity) != (study.experiment == "rntk"):
            kind = type(entry).__name__
            raise StudyError(f"{file.path}: {entry.name} is a {kind}, which no study of {study.experiment} can have")
    return entries


@contextmanager
def _extended(study: AnyStudy, entries: list[Quantity]) -> Iterator[None]:
    with ExitStack() as held:
        try:
            held.enter_context(extended(entries))
        except ValueError as error:  # two files with one name; a name of ours is refused where the file takes it
            raise StudyError(f"{study.source}: quantities: {error}") from error
        yield


# --- what the functions of an entry return -------------------------------------------------------------------


def _checked(entry: Quantity, file: OwnFile) -> Quantity:
    """The entry, whose functions are held to what the rates stage needs of them."""
    if not isinstance(entry, TrainedQuantity):
        return entry
    return replace(entry, sample=_sampling(entry, file), expected=_expecting(entry, file))


def _sampling(entry: TrainedQuantity, file: OwnFile) -> Callable[[Trainings], Sample]:
    def sample(trainings: Trainings) -> Sample:
        found: Any = entry.sample(trainings)
        if not isinstance(found, Sample):
            raise _refused(file, entry, "sample", f"returns {type(found).__name__}", f"a Sample, such as {SAMPLES}")
        units = len(trainings.output)
        if getattr(found.statistics, "ndim", 0) != 2 or len(found) != units:
            shape = getattr(found.statistics, "shape", type(found.statistics).__name__)
            allowed = f"({units}, m), a row for each unit"
            raise _refused(file, entry, "sample", f"has statistics of shape {shape}", allowed)
        return found

    return sample


def _expecting(entry: TrainedQuantity, file: OwnFile) -> Callable[..., float]:
    def expected(*arguments: Any) -> float:
        found: Any = entry.expected(*arguments)
        if not isinstance(found, Real):
            allowed = "a number, NaN if it is not known"
            raise _refused(file, entry, "expected", f"returns {type(found).__name__}", allowed)
        return float(found)

    return expected


def _refused(file: OwnFile, entry: Quantity, function: str, found: str, allowed: str) -> StudyError:
    return StudyError(f"{file.path}: {function} of {entry.name} ({entry.estimator}) {found}; allowed: {allowed}")
