"""Which files of a results folder are those of its study, and what has to be made again.

Only the files decide, by the identities that they carry: neither time stamps nor notes of the folder in which a run was
started. A part or a step is due if one of its files is missing, damaged or of another study, or if it reads a file that
is made again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rnnlimits.base.errors import StudyError
from rnnlimits.files.identities import Carried, can_carry, carried
from rnnlimits.plan.copies import copy_of, text_id
from rnnlimits.plan.files import RATES_CSV, RATES_IN_TIME, STUDY_YAML
from rnnlimits.plan.parts import Ensemble, Experiment, FileKind, Output, Step, ensembles
from rnnlimits.statistics import ratefile

RUN = "rnnlimits run STUDY brings the folder up to date"


@dataclass(frozen=True)
class Fault:
    """Why a file is not that of its study: a clause without a subject.

    foreign: it is that of another one; grown: it is right as far as it goes, but the study has more replicas by now.
    """

    path: Path
    words: str
    is_missing: bool = False
    foreign: bool = False
    grown: bool = False

    def __str__(self) -> str:
        return f"{self.path}: {self.words}"


@dataclass(frozen=True)
class Due:
    """What has to be made again: names of parts and steps, and all files that they write, and study.yaml."""

    parts: tuple[str, ...]
    steps: tuple[str, ...]
    paths: tuple[Path, ...]


def faults(experiment: Experiment) -> dict[Path, Fault]:
    """The files of a study that are missing or not of the study, by path, in the order of work."""
    found = [copy_fault(experiment)]
    found += [ensemble_fault(ensemble) for ensemble in ensembles(experiment.parts())]
    for step in experiment.steps():
        found += step_faults(experiment, step)
    return {fault.path: fault for fault in found if fault is not None}


def due(experiment: Experiment) -> Due:
    """What has to be made again, each with everything that depends on it."""
    wrong = faults(experiment)
    copy = experiment.layout.study_yaml
    parts = [part for part in experiment.parts() if not wrong.keys().isdisjoint(part.outputs)]
    renewed = {path for part in parts for path in part.outputs}
    steps = []
    for step in experiment.steps():
        if not (wrong.keys() | renewed).isdisjoint((*step.inputs, *step.paths)):
            steps.append(step)
            renewed.update(step.paths)
    paths = (*([copy] if copy in wrong else []), *sorted(renewed))
    return Due(tuple(part.name for part in parts), tuple(step.name for step in steps), paths)


# --- one file ------------------------------------------------------------------------------------------------


def copy_fault(experiment: Experiment) -> Fault | None:
    """What is wrong with study.yaml; None if it has the text of the study."""
    path, root = experiment.layout.study_yaml, experiment.layout.root
    seen = look(path)
    if isinstance(seen, Fault):
        return seen
    if path.read_bytes() == copy_of(experiment.study, root).encode():
        return None
    found = seen.identities.get("study_id", experiment.identity)
    if found != experiment.identity:
        return _foreign(path, "study_id", found, experiment.identity)
    return Fault(path, "does not have the text of the study")


def ensemble_fault(ensemble: Ensemble) -> Fault | None:
    """What is wrong with the file of an ensemble; None if it is whole, and has the identity and number of rows."""
    path = ensemble.output.path
    seen = look(path)
    if isinstance(seen, Fault):
        return seen
    if fault := identity_fault(ensemble.output, seen, ensemble.identity):
        return fault
    if ensemble.rows and seen.rows is not None and seen.rows != ensemble.rows:
        return _of_another_size(ensemble, seen.rows)
    if ensemble.is_virtual and seen.lost is not None:
        return Fault(path, f"lacks a shard, {seen.lost}")
    if ensemble.is_virtual and seen.exchanged is not None:
        return Fault(path, f"is not joined from the shard that is there now, {seen.exchanged}")
    return None


def _of_another_size(ensemble: Ensemble, rows: int) -> Fault:
    """What to say of an ensemble that was joined from fewer replicas than the study has now, or from more."""
    path, unit = ensemble.output.path, "replicas" if ensemble.replicas else "rows"
    if rows > ensemble.rows:
        return Fault(path, f"has {rows} {unit}, of which the study has only {ensemble.rows} now", foreign=True)
    return Fault(path, f"has {rows} of now {ensemble.rows} {unit}", foreign=True, grown=True)


def step_faults(experiment: Experiment, step: Step) -> Iterator[Fault]:
    """What is wrong with the files of a step. A file that cannot carry an identity is judged by the step's others."""
    able = [output for output in step.outputs if output.kind.is_folder or can_carry(output.path)]
    if not able:
        for path in step.paths:
            yield Fault(path, "cannot say which study it is from", is_missing=not path.exists())
    for output in step.outputs:
        if output in able:
            fault = output_fault(experiment, step, output)
        else:
            fault = None if output.path.exists() else _missing(output.path)
        if fault is not None:
            yield fault


def output_fault(experiment: Experiment, step: Step, output: Output) -> Fault | None:
    """What is wrong with a file, or a folder, of a step."""
    path = output.path
    if output.kind.is_folder:
        return _folder_fault(path, step.identity)
    seen = look(path)
    if isinstance(seen, Fault):
        return seen
    table = _table(experiment, output.kind)
    if table is not None and path.read_bytes() == table:
        return None
    if fault := identity_fault(output, seen, step.identity):
        return fault
    if step.identity == experiment.identity and (fault := _text_fault(experiment, path, seen)):
        return fault
    words = "does not have the rows of rates.h5; it was edited, or written by another version"
    return None if table is None else Fault(path, words)


def look(path: Path) -> Carried | Fault:
    """What a file carries, or why it cannot be read."""
    try:
        seen = carried(path)
    except (FileNotFoundError, NotADirectoryError):
        return _missing(path)
    except OSError as error:
        return Fault(path, f"cannot be read ({error.strerror})")
    return Fault(path, seen.damage) if seen.damage else seen


def identity_fault(output: Output, seen: Carried, identity: str) -> Fault | None:
    """What is wrong with the kind and the identity of an existing file."""
    path, kind = output.path, output.kind.kind
    if kind and seen.names.get("kind") != kind:
        return Fault(path, f"is not the right file (kind {seen.names.get('kind')}, expected {kind})")
    found = seen.identities
    if identity in found.values():
        return None
    name = _name(output.kind, found)
    return _foreign(path, name, found[name], identity) if name in found else _silent(path)


def _name(kind: FileKind, found: Mapping[str, str]) -> str:
    """Which of the identities of a file to show."""
    own = [name for name in kind.attributes if name.endswith("_id") and name in found]
    return own[-1] if own else "study_id"


def _text_fault(experiment: Experiment, path: Path, seen: Carried) -> Fault | None:
    """What is wrong with the name, or with the text, of the study that a file shows."""
    study, root = experiment.study, experiment.layout.root
    if seen.names.get("study", study.name) != study.name:
        return Fault(path, f"is of the study {seen.names['study']}, expected {study.name}", foreign=True)
    if seen.identities.get("text_id", "") not in ("", text_id(study, root)):
        return Fault(path, "shows another text of the study", foreign=True)
    return None


def _table(experiment: Experiment, kind: FileKind) -> bytes | None:
    """What a table of rates must contain, by rates.h5; None for other files, and if that has a fault of its own."""
    if kind not in (RATES_CSV, RATES_IN_TIME):
        return None
    try:
        rates = ratefile.read_all(experiment.layout.rates_h5, study_id=experiment.identity)
    except (StudyError, LookupError, OSError):
        return None
    in_time = kind == RATES_IN_TIME
    columns = ratefile.COLUMNS_IN_TIME if in_time else ratefile.COLUMNS
    return ratefile.to_csv([rate for rate in rates if rate.in_time == in_time], columns).encode()


def _folder_fault(folder: Path, identity: str) -> Fault | None:
    """What is wrong with a folder of figures, each of which names all of them."""
    if not folder.is_dir():
        return _missing(folder)
    every = sorted(path for path in folder.iterdir() if path.is_file() and path.suffix in (".svg", ".png"))
    marks = {path: seen.names for path in every if isinstance(seen := look(path), Carried) and seen.names}
    for path, names in marks.items():
        if (found := names.get("study_id", "none")) != identity:
            words = f"has {path.name}, which {_foreign(path, 'study_id', found, identity).words}"
            return Fault(folder, words, foreign=True)
    if not marks:
        return _silent(folder)
    named = {name for names in marks.values() for name in names.get("figures", "").split(",")}
    for name in sorted(named):
        for path in (folder / f"{name}.svg", folder / f"{name}.png"):
            if path not in marks:
                return Fault(folder, f"lacks {path.name}")
    return None


def _missing(path: Path) -> Fault:
    return Fault(path, "is missing", is_missing=True)


def _silent(path: Path) -> Fault:
    return Fault(path, "does not say which study it is from (an older version wrote it)", foreign=True)


def _foreign(path: Path, name: str, found: str, expected: str) -> Fault:
    return Fault(path, f"is from another study ({name} {found}, expected {expected})", foreign=True)


# --- for readers -----------------------------------------------------------------------------------------------


def stale(experiment: Experiment) -> list[Fault]:
    """The existing files that are not those of the study, study.yaml included."""
    return [fault for fault in faults(experiment).values() if not fault.is_missing]


def require_inputs(experiment: Experiment, step: Step) -> None:
    """Raises StudyError if a step would read an existing file that is of another study."""
    require(experiment, *step.inputs)


def require(experiment: Experiment, *paths: Path) -> None:
    """Raises StudyError if one of these files of a study exists and is of another study."""
    wrong = faults_of(experiment, paths)
    if fault := next((fault for fault in wrong if fault.foreign), None):
        raise StudyError(f"{fault}; {_advice(experiment)}")


def _advice(experiment: Experiment) -> str:
    """What to do about a file of another study."""
    chosen = experiment.layout.resolved_yaml
    if not chosen.is_file() or chosen.resolve() == Path(experiment.study.source).resolve():
        return RUN
    return f"run --resolve has chosen other replicas: give {chosen} as the study, or {RUN}"


def faults_of(experiment: Experiment, paths: Sequence[Path]) -> list[Fault]:
    """What is wrong with some of a study's files."""
    wanted = set(paths)
    found: list[Fault | None] = []
    for ensemble in ensembles(experiment.parts()):
        if ensemble.output.path in wanted:
            found.append(ensemble_fault(ensemble))
    for step in experiment.steps():
        found += _of_paths(experiment, step, wanted)
    return [fault for fault in found if fault is not None]


def _of_paths(experiment: Experiment, step: Step, wanted: Iterable[Path]) -> list[Fault]:
    if not set(wanted).intersection(step.paths):
        return []
    return [fault for fault in step_faults(experiment, step) if fault.path in wanted]


def identified(experiment: Experiment) -> list[tuple[Output, str]]:
    """Every file of a study, except study.yaml, with the identity that it carries."""
    own = [(ensemble.output, ensemble.identity) for ensemble in ensembles(experiment.parts())]
    return own + [(output, step.identity) for step in experiment.steps() for output in step.outputs]


def known_files(experiment: Experiment) -> set[Path]:
    """Every file that parts and steps write, and study.yaml."""
    return {experiment.layout.root / STUDY_YAML.file, *(output.path for output, _ in identified(experiment))}
