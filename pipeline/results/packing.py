"""One self-contained file of a study, to send to a colleague."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

import h5py

from rnnlimits.base.errors import StudyError
from rnnlimits.base.textfiles import read_utf8
from rnnlimits.files.attributes import set_attributes
from rnnlimits.files.provenance import provenance, software
from rnnlimits.files.reading import AGAIN, Variable, attribute_of, open_complete
from rnnlimits.files.shards import TABLE
from rnnlimits.files.store import atomic_h5
from rnnlimits.files.variables import put
from rnnlimits.plan.files import RATES_H5, STUDY_YAML
from rnnlimits.results import standing
from rnnlimits.results.inspection import hdf5_files, validate
from rnnlimits.study.text import parse

KIND = "pack"
RESERVED = {"units", "long_name", "digest", "volatile", "CLASS", "NAME", "REFERENCE_LIST", "DIMENSION_LIST"}
STUDY = ("study", "study_id", "precision", "seed")


def pack(results: Path, output: Path) -> list[Path]:
    """Copy every result of a study (draw, limit, rates, ensembles; not the shards) to the file `output`.

    results: the folder results/STUDY. A result train/P/C.h5 becomes the group train/P/C, with its root attributes;
    virtual values become real ones. Each value is checked against its digest on the way, and the file is validated.
    Files that are not of the study in study.yaml, such as ensembles of a width it no longer has, are left out,
    and returned.
    Raises StudyError if no results exist, or a result is not complete, damaged, lacks a shard, or should be of the
    study but is of another one.
    """
    results, output = Path(results), Path(output)
    if not results.is_dir():
        raise StudyError(f"{results}: is not a folder; give the results folder of a study (results/STUDY)")
    if results.resolve() in output.resolve().parents:
        raise StudyError(f"{output}: lies inside {results}; write the pack somewhere else")
    if output.exists() and not _is_pack(output):
        raise StudyError(f"{output}: exists and is not a pack; give a new name, or remove it first")
    if not output.absolute().parent.is_dir():
        raise StudyError(f"{output.absolute().parent}: no such folder for the pack; create it, or give another")
    members = [path for path in hdf5_files(results) if _belongs(results, path)]
    if not members:
        raise StudyError(f"{results}: holds no results to pack; run the study first")
    standing.require(results, *members, results / STUDY_YAML.file)
    others = set(standing.leftovers(results, members))
    members = [path for path in members if path not in others]
    if not members:
        raise StudyError(f"{results}: holds no results of the study in study.yaml; run the study first")
    with atomic_h5(output, KIND, _attributes(results, _whole(members))) as file:
        for path in members:
            _pack_one(path, file.create_group(str(path.relative_to(results).with_suffix("")), track_order=True))
    if faults := validate(output):
        raise StudyError(f"{faults[0]} (written just now: the disk may be failing)")
    return sorted(others)


def _whole(members: Sequence[Path]) -> Path:
    """The member that depends on the whole study, if there is one."""
    return next((path for path in members if path.name == RATES_H5.file), members[-1])


def _is_pack(path: Path) -> bool:
    try:
        with open_complete(path, KIND):
            return True
    except StudyError:
        return False


def _belongs(results: Path, path: Path) -> bool:
    """Whether a file is a result: not a shard (ensembles contain their values) and not an earlier pack."""
    if path.relative_to(results).parts[0] == "shards":
        return False
    with open_complete(path, None) as file:
        return attribute_of(file, "kind") != KIND


def _attributes(results: Path, member: Path) -> dict[str, object]:
    """Root attributes: the study, and the software that packs; each group keeps its own."""
    if (experiment := standing.experiment_of(results)) is not None:
        own = _text(experiment.layout.study_yaml)
        return {**provenance(experiment.study), "study_yaml": own, "command_line": shlex.join(sys.argv)}
    with open_complete(member, None) as file:
        study = {name: value for name in STUDY if (value := attribute_of(file, name)) is not None}
        text = attribute_of(file, "study_yaml")
    study_yaml = results / "study.yaml"
    if study_yaml.is_file():
        text = _text(study_yaml)
    return {**study, "study_yaml": text or "", **software(), "command_line": shlex.join(sys.argv)}


def _text(study_yaml: Path) -> str:
    """The text of a study. Raises StudyError if it is no YAML; the study itself may be one that cannot be loaded."""
    text = read_utf8(study_yaml, AGAIN)
    parse(text, str(study_yaml))
    return text


def _pack_one(path: Path, group: h5py.Group) -> None:
    with open_complete(path, None) as file:
        set_attributes(group, dict(file.attrs))
        file.load()
        for name, variable in file.variables.items():
            if name in TABLE:  # a pack has no shards
                continue
            copy_variable(path, variable, group)


def copy_variable(path: Path, variable: Variable, group: h5py.Group) -> None:
    """Write a variable of the file `path` to a group, with its attributes. Raises StudyError if its digest differs."""
    name, about, volatile = variable.name.rsplit("/", 1)[-1], variable.attrs, variable.is_volatile
    copy = put(group, name, variable.values(), variable.dims, about["units"], about["long_name"], volatile)
    set_attributes(copy, {key: value for key, value in about.items() if key not in RESERVED})
    if not volatile and copy.attrs["digest"] != about["digest"]:
        raise StudyError(f"{path}: its variable {name} is damaged (digest differs); {AGAIN}")
