"""A packed file as the results folder that it was made of: restored for good, or for as long as one reader needs it."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from rnnlimits.base.errors import StudyError
from rnnlimits.files import durable
from rnnlimits.files.checks import SIGNATURE, translated
from rnnlimits.files.reading import AGAIN, File, Group, Unreadable, attribute_of, open_complete, shown
from rnnlimits.files.store import atomic_h5
from rnnlimits.plan.layout import StudyFolder
from rnnlimits.results.inspection import ATTRIBUTES, KIND_OF_NAME, validate
from rnnlimits.results.packing import KIND, copy_variable
from rnnlimits.statistics import ratefile

RATES = ("rates",)
OTHERWISE = "give another packed file, or a results folder (results/STUDY)"
OWN = {"format", "format_version", "kind", "complete"}  # root attributes that a restored file gets anew
_WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")  # of names of studies, and of folders and files below results/STUDY


def is_packed(path: Path) -> bool:
    """Whether a path is an HDF5 file, and thus to be read as a packed one; a study file and a folder are none."""
    try:
        with path.open("rb") as file:
            return file.read(len(SIGNATURE)) == SIGNATURE
    except OSError:
        return False


def unpack(pack: Path, results: Path) -> Path:
    """Restore the results folder of a packed file as results/STUDY; returns it.

    Every checksum is compared: of the whole file, and of each variable, here and when it is written. rates.csv is
    written from the rates; figures and report are not part of a pack. The folder appears complete or not at all.
    Raises StudyError in one line: no packed file; one that is damaged, cut short, or holds links or names that lead
    out of the folder; results/STUDY exists already.
    """
    with _opened(pack) as file:
        root = results / _word(pack, "study", str(attribute_of(file, "study")))
        members = _members(pack, file)
        with durable.whole_folder(root) as folder:
            if faults := validate(pack):
                raise StudyError(_otherwise(faults[0]))
            _restore(pack, file, members, folder)
    return root


@contextmanager
def folder_of(path: Path, names: Iterable[str] | None = None) -> Iterator[Path]:
    """Yield a results folder as it is; or, for a packed file, a temporary folder with its results.

    names: the groups that the reader needs, such as "rates" (None: all). Messages name the packed file.
    Raises StudyError for a file that is not a sound pack.
    """
    if not path.is_file():
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="rnnlimits-") as place:
        try:
            yield restored(path, Path(place), names)
        except StudyError as error:
            raise type(error)(str(error).replace(f"{place}/", f"{path}:")) from error


def restored(pack: Path, place: Path, names: Iterable[str] | None = None) -> Path:
    """Write the results of a packed file, or those of these names, to place/STUDY; returns that. See `folder_of`."""
    with _opened(pack) as file:
        folder = place / _word(pack, "study", str(attribute_of(file, "study")))
        folder.mkdir()
        members = _members(pack, file)
        chosen = members if names is None else {name: members[name] for name in names if name in members}
        _restore(pack, file, chosen, folder)
    return folder


@contextmanager
def _opened(pack: Path) -> Iterator[File]:
    """The packed file, checked. Raises StudyError, with what to do about a file that somebody else made."""
    if not pack.exists():
        raise StudyError(f"{pack}: no such file; give a file that rnnlimits pack wrote")
    try:
        with open_complete(pack, KIND) as file:
            yield file
    except Unreadable:
        raise
    except StudyError as error:
        raise StudyError(_otherwise(str(error)) if str(error).startswith(f"{pack}: ") else str(error)) from error


def _otherwise(line: str) -> str:
    """A refusal without the advice to delete the file and make it again, which its reader cannot."""
    return f"{line.rpartition('; ')[0]}; {OTHERWISE}" if line.endswith((AGAIN, "; delete it")) else line


def _members(pack: Path, file: File) -> Mapping[str, Group]:
    """The groups that are results, by the path of their file without its ending. Raises StudyError for others."""
    found = {group.name.strip("/"): group for group in file.groups() if len(group) or "kind" in group.attrs}
    found.pop("", None)
    for name, group in found.items():
        kind = str(attribute_of(group, "kind"))
        expected = KIND_OF_NAME.get(f"{PurePosixPath(name)}.h5", kind)
        if kind not in ATTRIBUTES or kind != expected:
            raise StudyError(f"{pack}: its group {shown(name)} is of kind {shown(kind)}, no result; {OTHERWISE}")
        for word in PurePosixPath(name).parts:
            _word(pack, "group", word)
    return found


def _word(pack: Path, what: str, word: str) -> str:
    """A name that may become that of a file or folder. Raises StudyError for one that leads elsewhere."""
    if not _WORD.fullmatch(word) or word.endswith(".h5"):
        raise StudyError(f"{pack}: has a {what} of the name {shown(word)!r}, which is none of a result; {OTHERWISE}")
    return word


def _restore(pack: Path, file: File, members: Mapping[str, Group], folder: Path) -> None:
    """Write the results, study.yaml and rates.csv to the folder."""
    with translated(pack):  # attributes, units and dimensions may be forged
        _write(pack, file, members, folder)


def _write(pack: Path, file: File, members: Mapping[str, Group], folder: Path) -> None:
    layout = StudyFolder(folder)
    if text := str(attribute_of(file, "study_yaml") or ""):
        durable.write_bytes(layout.study_yaml, text.encode())
    for name, group in members.items():
        path = folder / f"{name}.h5"
        attributes = {key: value for key, value in group.attrs.items() if key not in OWN}
        with atomic_h5(path, str(attribute_of(group, "kind")), attributes) as copy:
            for variable in group.variables.values():
                copy_variable(pack, variable, copy)
    if layout.rates_h5.exists():
        rates = ratefile.read_all(layout.rates_h5)
        if all(rate.version == ratefile.VERSION for rate in rates):
            of_trainings = "limit" in members  # which alone have checkpoints
            ratefile.write_tables(layout.rates_csv, layout.rates_in_time_csv if of_trainings else None, rates)
