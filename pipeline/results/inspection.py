"""Examine result files: check them (validate), show their contents (inspect), compare their values (digest)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from rnnlimits import experiments
from rnnlimits.base.errors import StudyError
from rnnlimits.files import audit, provenance
from rnnlimits.files.identities import Carried
from rnnlimits.files.reading import FORMAT, File, Group, Variable, attribute_of, digest_of, open_complete, shown
from rnnlimits.files.shards import FILE
from rnnlimits.plan import due
from rnnlimits.plan.due import RUN, Fault
from rnnlimits.plan.layout import STATES
from rnnlimits.plan.parts import Output
from rnnlimits.results import standing
from rnnlimits.study import loads_any

_KINDS = [kind for kind in experiments.file_kinds() if kind.kind]
OF_NO_STUDY = {kind.kind for kind in _KINDS if not kind.is_of_study}  # such as a matrix that belongs to a user
# Root attributes in addition to provenance.FIELDS, by kind.
ATTRIBUTES = {kind.kind: kind.attributes for kind in _KINDS}
# File names of the results of a study; another kind under such a name is a file in the wrong place.
KIND_OF_NAME = {kind.file: kind.kind for kind in _KINDS if kind.file}
PACK = "pack"
OF_WHOLE_STUDY = ("rates.h5", "kernels.h5")  # of a pack, whose study cannot always be identified
# `inspect` shows these first, in this order; the study's text has its own line.
SHOWN_FIRST = ("study", "study_id", "cell_id", "precision", "seed", "backend", "device", "created")


def hdf5_files(path: Path) -> list[Path]:
    """The file itself, or every .h5 file below a folder except saved states, sorted.

    Raises StudyError if none exists.
    """
    path = Path(path)
    if not path.is_dir():
        return [path]
    # A name that starts with a dot is a temporary file of a running or killed writer.
    files = sorted(file for file in path.rglob("*.h5") if not file.name.startswith(".") and not _is_state(path, file))
    if not files:
        raise StudyError(f"{path}: holds no .h5 files; give a results folder (results/STUDY) or a file")
    return files


def _is_state(folder: Path, file: Path) -> bool:
    """Whether it is a saved state of unfinished work: such files come and go, and are not results."""
    places = [folder / parent for parent in file.relative_to(folder).parents]
    # Next to shards or locks: a study may have the name of the folder of states.
    return any(
        place.name == STATES and ((place.parent / "shards").is_dir() or (place.parent / ".locks").is_dir())
        for place in places[:-1]
    )


def digest(path: Path) -> list[str]:
    """One line for each file, "DIGEST  PATH" (relative to a folder): equal lines mean equal values.

    See `store.digest_of` for what it covers. Raises StudyError for a file that is not complete.
    """
    path = Path(path)
    return [f"{digest_of(file)}  {file.relative_to(path) if path.is_dir() else file}" for file in hdf5_files(path)]


# --------------------------------------------------------------------------------------------------- validate


_OF_SHARDS = re.compile(r".*_([0-9a-f]{12})")  # the name of a folder of shards


def validate(path: Path) -> list[str]:
    """Every fault of a file, or of all .h5 files of a results folder, one line each; empty if they have none.

    Checks completeness, safety, virtual sources, root attributes, and for each variable its units, long name,
    dimension scales, and its digest, recomputed from the values; and whether a file is that of the study: of study.yaml
    of its results folder, or of the pack that it is in. Raises StudyError if no such file exists.
    """
    return [*(fault for file in hdf5_files(path) for fault in _file_faults(file)), *of_others(path)]


def of_others(path: Path) -> list[str]:
    """A line for each file of a results folder, or for a file in one, that is not that of the folder's study."""
    return [f"{fault}; {RUN}" for fault in others(path)]


def others(path: Path) -> list[Fault]:
    """The faults behind the lines of `of_others`, one for each file."""
    if path.is_dir():
        return standing.stale(path)
    root = standing.root_of(path)
    found = standing.stale(root) if root else []
    return [replace(fault, path=path) for fault in found if fault.path == path.absolute()]


def missing(root: Path) -> list[str]:
    """The files of a study that its results folder lacks, one line each; empty for anything else than a study's folder.

    Raises StudyError if the folder's study.yaml cannot be read.
    """
    standing.study_of(root)
    experiment = standing.experiment_of(root)
    if experiment is None:
        return []
    paths = [output.path for output, _ in due.identified(experiment) if output.kind.kind]
    return [f"{path}: is missing; rnnlimits run makes it" for path in paths if not path.exists()]


def _file_faults(path: Path) -> list[str]:
    try:
        with open_complete(path, None) as file:
            return [f"{path}: {fault}" for fault in _content_faults(path, file)]
    except StudyError as error:
        return [str(error)]
    except (RuntimeError, LookupError) as error:
        # h5py raises this for forged dimension scales; accidental damage is caught by the file's checksum.
        return [f"{path}: is damaged ({shown(error)})"]


def _content_faults(path: Path, file: File) -> Iterator[str]:
    kind = str(attribute_of(file, "kind"))
    if kind == PACK:
        yield from _group_faults(path, file)
    if kind != (expected := KIND_OF_NAME.get(path.name, kind)):
        yield f"is of kind {kind}; a file of this name is {expected}"
    if fault := _place_fault(path, file):
        yield fault
    fields = provenance.SOFTWARE if kind in OF_NO_STUDY else provenance.FIELDS
    for name in (*fields, *ATTRIBUTES.get(kind, ())):
        if name not in file.attrs:
            yield f"has no attribute {name}"
    for group in file.groups():
        computed = group.digests()
        for variable in group.variables.values():
            for fault in _variable_faults(group, variable, computed.get(variable.name)):
                yield f"variable {variable.name} {fault}"


def _place_fault(path: Path, file: File) -> str | None:
    """What is wrong with the place of a shard: its folder's name ends with an identity, its own may say which block."""
    folder = _OF_SHARDS.fullmatch(path.parent.name)
    if folder is None or path.parent.parent.name != "shards":
        return None
    own = [name for name in file.attrs if name.endswith("_id") and name != standing.STUDY_ID]
    found = {name: shown(attribute_of(file, name)) for name in own}
    if found and folder[1] not in found.values():
        given = ", ".join(f"{name} {value}" for name, value in found.items())
        return f"is not of its folder, which is of {folder[1]} ({given}); delete it"
    block = attribute_of(file, "block")
    if block is not None and path.stem != f"block-{block:04d}":
        return f"is block {shown(block)}, under the name of another; delete it"
    return None


def _group_faults(path: Path, file: File) -> Iterator[str]:
    """Groups of a pack that are not of the pack's study."""
    study_id = str(attribute_of(file, "study_id"))
    try:
        study = loads_any(str(attribute_of(file, "study_yaml")), path)
        found = study.identity
    except StudyError:  # it names a file that is somewhere else, such as a recorded series
        found = None
    if found not in (study_id, None) and not study.names_files:
        yield f"is a pack of study {study_id}, but its study_yaml is of study {found}"
    if found == study_id:
        outputs = due.identified(experiments.at(study, Path()))
    else:
        outputs = [(Output.fixed(Path(), kind), study_id) for kind in _KINDS if kind.file in OF_WHOLE_STUDY]
    groups = {group.name: group for group in file.groups()}
    for output, identity in outputs:
        name = f"/{output.path.with_suffix('').as_posix()}"
        if name in groups and (fault := _group_fault(groups[name], output, identity)):
            yield f"group {fault}"


def _group_fault(group: Group, output: Output, identity: str) -> Fault | None:
    names = {name: str(attribute_of(group, name)) for name in group.attrs if name.endswith("_id") or name == "kind"}
    return due.identity_fault(output, Carried(names), identity)


def _variable_faults(group: Group, variable: Variable, computed: str | None) -> Iterator[str]:
    for name in ("units", "long_name"):
        if not isinstance(found := variable.attrs.get(name), str) or not found:
            yield f"has no {name}"
    for dim, length in zip(variable.dims, variable.shape, strict=True):
        scale = group.variables.get(dim) if dim else None
        if scale is None or not scale.is_scale:
            yield "has an axis without a dimension scale"
        elif scale.shape != (length,):
            yield f"has {length} values along {dim}, whose scale has the shape {scale.shape}"
    stored = variable.attrs.get("digest")
    if stored is None and not variable.is_volatile:
        yield "has no digest"
    elif stored is not None and stored != computed:
        yield "is damaged: its values do not have the digest they were written with"
    if variable.is_virtual and not _maps_its_shards(group, variable):
        yield "is damaged: other software would read it from other shards than those listed in the file"


def _maps_its_shards(group: Group, variable: Variable) -> bool:
    """Whether HDF5, for other software, takes the rows of an ensemble's variable from the shards that are listed."""
    try:
        mapped = [source.file for source in audit.sources(variable)]
    except audit.Unsafe:
        return False
    listed = group[FILE].values().tolist() if FILE in group else mapped
    names = {source.dset_name.strip("/") for source in variable.virtual_sources()}
    return mapped == listed and names == {variable.name.strip("/")}


# ---------------------------------------------------------------------------------------------------- inspect


def inspect(path: Path) -> str:
    """A file as a readable tree: dimensions, variables with shape, type, units and meaning, attributes.

    For a folder, one line for each file. A line about files that are of another study comes first. Raises StudyError on
    a file that is not complete.
    """
    path = Path(path)
    first = [standing.line(wrong)] if (wrong := others(path)) else []
    if path.is_dir():
        return "\n".join([*first, f"{path}/", *_rows([_file_row(path, file) for file in hdf5_files(path)])])
    with open_complete(path, None) as file:
        lines = [*first, _title(path, file)]
        for group in file.groups():
            lines += _group_lines(group)
    return "\n".join(lines)


def _title(path: Path, file: File) -> str:
    kind, version = attribute_of(file, "kind"), attribute_of(file, "format_version")
    return f"{path}: {shown(kind)}, {FORMAT} format {version}, {size_text(path.stat().st_size)}"


def _file_row(folder: Path, path: Path) -> tuple[str, ...]:
    with open_complete(path, None) as file:
        dims = {dim: n for one in file.variables.values() for dim, n in zip(one.dims, one.shape, strict=True)}
        size = size_text(path.stat().st_size)
        sizes = ", ".join(f"{dim} {length}" for dim, length in dims.items())
        return str(path.relative_to(folder)), shown(attribute_of(file, "kind")), size, sizes


def _group_lines(group: Group) -> list[str]:
    """The part of the tree that belongs to one group: its dimensions, its variables, its attributes."""
    members = group.variables
    lines = [] if group.name == "/" else ["", group.name]
    coordinates = [dataset for dataset in members.values() if dataset.is_scale]
    if coordinates:
        lines += ["  dimensions", *_rows([_coordinate_row(dataset) for dataset in coordinates], indent=4)]
    if any(dataset.is_virtual for dataset in members.values()):
        lines += ["  values are in shards; other software shows fill values (NaN) for one that it cannot open"]
    others = [dataset for dataset in members.values() if not dataset.is_scale]
    if others:
        lines += ["  variables", *_rows([_variable_row(dataset) for dataset in others], indent=4)]
    if len(group.attrs):
        lines += ["  attributes", *_rows(_attribute_rows(group), indent=4)]
    return lines


def _coordinate_row(dataset: Variable) -> tuple[str, ...]:
    values = dataset.values()
    ends = f"{shown(values[0])} .. {shown(values[-1])}" if len(values) else "empty"
    return _name(dataset), str(len(values)), ends, _units(dataset), _meaning(dataset)


def _variable_row(dataset: Variable) -> tuple[str, ...]:
    dims = "(" + ", ".join(dataset.dims) + ")"
    shape = " x ".join(map(str, dataset.shape)) or "scalar"
    kind = "text" if dataset.dtype.kind == "O" else str(dataset.dtype)
    notes = [f"over {dataset.shard_count} shards"] if dataset.is_virtual else []
    notes += ["volatile"] if dataset.is_volatile else []
    meaning = _meaning(dataset) + (f" ({', '.join(notes)})" if notes else "")
    return _name(dataset), dims, shape, kind, _units(dataset), meaning


def _attribute_rows(group: Group) -> list[tuple[str, ...]]:
    names = [name for name in SHOWN_FIRST if name in group.attrs]
    names += [name for name in group.attrs if name not in SHOWN_FIRST]
    return [(shown(name), _attribute_text(group, name)) for name in names]


def _attribute_text(group: Group, name: str) -> str:
    """The value in one line: for a long text (the study) only its length, since it would not fit into a tree."""
    value = group.attrs[name]
    if isinstance(value, str) and "\n" in value:
        return f"text of {len(value.splitlines())} lines"
    return shown(np.array2string(value, max_line_width=10**6) if isinstance(value, np.ndarray) else value, 100)


def _name(dataset: Variable) -> str:
    return shown(dataset.name.rsplit("/", 1)[-1])


def _units(dataset: Variable) -> str:
    return f"[{shown(dataset.attrs.get('units'))}]"


def _meaning(dataset: Variable) -> str:
    return shown(dataset.attrs.get("long_name"))


def _rows(rows: list[tuple[str, ...]], indent: int = 2) -> list[str]:
    """Columns padded to a common width, except the last."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        (" " * indent + "  ".join(cell.ljust(n) for cell, n in zip(row, widths, strict=True))).rstrip() for row in rows
    ]


def size_text(count: float) -> str:
    """Bytes for readers: 812 B, 3.1 kB, 20 MB."""
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} GB"
