"""Reading of HDF5 files of this project, only if they are complete, safe and the expected ones."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import h5py

from rnnlimits.base.errors import StudyError
from rnnlimits.base.surroundings import require_plain_hdf5
from rnnlimits.files import audit, digests
from rnnlimits.files.seal import is_sealed, is_whole
from rnnlimits.files.variables import groups, variables

FORMAT = "rnnlimits"
FORMAT_VERSION = 1
SIGNATURE = b"\x89HDF\r\n\x1a\n"
AGAIN = "delete it and run the same command again"

# Name of each virtual dataset, and the blocks of rows that make it up.
Virtual = dict[str, list[audit.Source]]


@contextmanager
def open_complete(path: Path, kind: str | None, **expected: object) -> Iterator[h5py.File]:
    """Yield a finished file, opened read-only, after checking that it is complete, safe and the expected one.

    kind: the required kind (None: any); expected: root attributes and their values (cell_id="...").
    Virtual datasets are accepted only if every source exists, is complete, is below the study's shards folder and
    belongs to the same cell: otherwise HDF5 would silently give fill values.
    Raises StudyError in one line: missing, empty, truncated, not HDF5, no `complete`, other format or version, other
    kind, from another study, or nothing that this software writes. Damage met while reading ends the same way.
    """
    path = Path(path)
    required = ({} if kind is None else {"kind": kind}) | expected
    with _opened(path) as file:
        if virtual := _checked(path, file, required):
            _require_sources(path, file, virtual)
        try:
            yield file
        except OSError as error:
            if error.errno is not None:
                raise
            # Errors of HDF5 itself have no errno: a checksum or a compressed block is wrong.
            raise _damaged(path) from error


def attribute_of(file: h5py.Group, name: str) -> str | int | float | None:
    """A scalar attribute as a plain Python value; None if it does not exist."""
    return audit.scalar(file, name)


def digest_of(path: Path, group: str = "/") -> str:
    """One digest of the values in a file, or in one group of a packed file: 64 hexadecimal digits.

    Over names and digests of all variables that are not volatile, computed from the values: independent of time
    stamps, storage and provenance, and equal for a virtual ensemble and its packed copy.
    """
    with open_complete(path, None) as file:
        if group not in file:
            raise StudyError(f"{path}: has no group {group}")
        return digest_of_group(file[group])


def digest_of_group(group: h5py.Group) -> str:
    """Like `digest_of`, for a group of an open file and all groups below it."""
    prefix = group.name.rstrip("/") + "/"
    variable_digests = {
        dataset.name.removeprefix(prefix): digests.of_dataset(dataset)
        for below in groups(group)
        for dataset in variables(below).values()
        if "volatile" not in dataset.attrs
    }
    return digests.of_names(variable_digests)


@contextmanager
def _opened(path: Path) -> Iterator[h5py.File]:
    """Yield the open HDF5 file. Raises StudyError with the reason if it cannot be opened or read."""
    require_plain_hdf5(os.environ)
    size = _require_hdf5(path)
    try:
        file = _open_hdf5(path)
    except audit.DAMAGE as error:
        raise StudyError(f"{path}: is truncated or damaged (it has {size} bytes); {AGAIN}") from error
    with file:
        yield file


def _open_hdf5(path: Path) -> h5py.File:
    """Open with HDF5's usual lock if that works, else without: finished files never change.

    Some cluster file systems have no locks. But HDF5 refuses to open one file in one process both with and without
    locks, silently so for the sources of a virtual dataset, and users may have the file open in xarray: so the usual
    way is tried first.
    """
    try:
        return h5py.File(path, "r")
    except OSError:
        return h5py.File(path, "r", locking=False)


def _require_hdf5(path: Path) -> int:
    """Refuse a file that does not start like an HDF5 file, or is damaged. Returns its size in bytes."""
    try:
        state = path.stat()
        if not stat.S_ISREG(state.st_mode):
            raise StudyError(f"{path}: is not a file; {AGAIN}")
        with path.open("rb") as raw:
            start = raw.read(len(SIGNATURE))
        broken = is_sealed(path) and not is_whole(path)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise StudyError(f"{path}: is missing; run the command that makes it") from error
    except OSError as error:
        raise StudyError(f"{path}: cannot be read: {error.strerror}") from error
    if start != SIGNATURE:
        if state.st_size == 0:
            raise StudyError(f"{path}: is empty (0 bytes); {AGAIN}")
        raise StudyError(f"{path}: is not an HDF5 file; if it is a result of this software, {AGAIN}")
    if broken:
        raise _damaged(path)
    return state.st_size


def _checked(path: Path, file: h5py.File, required: Mapping[str, object]) -> Virtual:
    """Refuse a file that is not the expected one, or not safe. Returns the sources of its virtual datasets."""
    try:
        _require_identity(path, file, required)
        if not is_sealed(path):
            raise StudyError(f"{path}: was changed after it was written, or cut short (its checksum is gone); {AGAIN}")
        return {dataset.name: audit.sources(dataset) for dataset in audit.require_safe(file)}
    except audit.Unsafe as error:
        raise StudyError(f"{path}: is not safe to read: {shown(error)}; delete it") from error
    except audit.DAMAGE as error:
        raise _damaged(path) from error


def _require_identity(path: Path, file: h5py.File, required: Mapping[str, object]) -> None:
    if (file_format := attribute_of(file, "format")) != FORMAT:
        what = "no attribute format" if file_format is None else f"format {shown(file_format)}"
        raise StudyError(f"{path}: is not a file of this software ({what}, expected {FORMAT}); {AGAIN}")
    if (version := attribute_of(file, "format_version")) != FORMAT_VERSION:
        raise StudyError(
            f"{path}: has format version {shown(version)}, this software reads {FORMAT_VERSION}; "
            "delete it and run the same command again, or read it with the version that wrote it"
        )
    if attribute_of(file, "complete") != 1:
        raise StudyError(f"{path}: is not complete (its writer did not finish); {AGAIN}")
    for name, value in required.items():
        _require_attribute(path, name, attribute_of(file, name), value)


def _require_attribute(path: Path, name: str, value: object, expected: object) -> None:
    if value == expected:
        return
    what = f"({name} {shown(value)}, expected {shown(expected)})"
    whose = "is from another study" if name.endswith("_id") else "is not the right file"
    raise StudyError(f"{path}: {whose} {what}; {AGAIN}")


def _require_sources(path: Path, file: h5py.File, virtual: Virtual) -> None:
    """Require that every source of a virtual dataset exists, is complete, belongs to the same cell, and fits."""
    cell = attribute_of(file, "cell_id")
    shards = _shards_folder(path)
    for name in dict.fromkeys(source.file for sources in virtual.values() for source in sources):
        shard = path.parent / name
        if not shard.resolve().is_relative_to(shards):
            raise StudyError(f"{path}: takes values from {shown(name)}, outside {shards}; delete it")
        with _opened(shard) as opened:
            nested = _checked(shard, opened, {} if cell is None else {"cell_id": cell})
            for variable, sources in virtual.items():
                fits = all(_fits(opened, file[variable], s) for s in sources if s.file == name)
                if nested or not fits:
                    raise StudyError(f"{path}: its variable {variable} does not fit the shard {name}; {AGAIN}")


def _fits(shard: h5py.File, whole: h5py.Dataset, source: audit.Source) -> bool:
    """Return whether the source is the variable of the same name, with the rows that the ensemble takes from it."""
    part = shard.get(source.dataset)
    return (
        isinstance(part, h5py.Dataset)
        and part.name == whole.name
        and part.dtype == whole.dtype
        and part.shape == (source.rows, *whole.shape[1:])
    )


def _shards_folder(path: Path) -> Path:
    """The shards folder of the study that a file belongs to: next to the file or to one of its parents."""
    for parent in path.absolute().parents:
        if (parent / "shards").is_dir():
            return (parent / "shards").resolve()
    raise StudyError(f"{path}: its shards are missing (no folder shards above it); use a packed file instead")


def _damaged(path: Path) -> StudyError:
    return StudyError(f"{path}: is damaged (its bytes are not the ones that were written); {AGAIN}")


def shown(value: object, limit: int = 200) -> str:
    """A value from a file as a short printable text for one line of a terminal; 'none' for None."""
    if value is None:
        return "none"
    text = "".join(c if c.isprintable() else "?" for c in str(value))
    return text if len(text) <= limit else text[: limit - 3] + "..."
