"""Ensembles: one file for a cell, a virtual dataset over its shards in global order."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from h5py import h5d, h5p, h5s, h5t
from numpy.typing import NDArray

from rnnlimits.base.errors import StudyError
from rnnlimits.files import checks, scales, snapshot
from rnnlimits.files.reading import AGAIN, File, Variable, attribute_of, open_complete
from rnnlimits.files.seal import digest_in, is_whole
from rnnlimits.files.shards import DIGEST, FILE, FIRST, SEAL, Part, Shards, digest_of_values
from rnnlimits.files.store import atomic_h5
from rnnlimits.files.variables import describe, put

# Provenance that may differ between the shards of one ensemble; it lists what occurs, as shard_<name>.
SHARD_PROVENANCE = ("backend", "device", "software_version", "git_commit")
MOST_COPIED = 1 << 16  # bytes of a shard that are kept for its ensemble from the time when it was written


@dataclass(frozen=True)
class Description:
    """Description of one variable in a shard; digest None: volatile."""

    name: str
    dims: tuple[str, ...]
    units: str
    long_name: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    digest: str | None


@dataclass(frozen=True)
class Shard:
    """What an ensemble needs of a shard: its rows and seal, its variables, and values that are copied, by name."""

    part: Part
    variables: Mapping[str, Description]
    copied: Mapping[str, NDArray[Any]]
    provenance: Mapping[str, str] = field(default_factory=dict)

    @property
    def path(self) -> Path:
        """Path of its file."""
        return self.part.path


def build_ensemble(
    root: Path,
    shards: Sequence[Path],
    path: Path,
    kind: str,
    attrs: Mapping[str, object],
    expected: Mapping[str, object],
    dimension: str = "replica",
    known: Mapping[Path, Shard] | None = None,
) -> None:
    """Write the ensemble of `shards` to `path`, completely or not at all, replacing an older one.

    root: the study's results folder, which holds all of them, so that it can be moved; shards: in the order of
    `dimension` (first axis of the variables that are joined), whose coordinate must count 0, 1, 2, ... through them;
    kind: "train-ensemble" needs shards of kind "train-shard", "draw" needs "draw-shard"; attrs: root attributes of
    the ensemble; expected: root attributes that every shard must have (cell_id); known: what their writers `noted` of
    shards, which are then only compared with their seals. Values are read twice: to compare them
    with the shards' digests, and to compute the ensemble's.
    Raises StudyError naming the shard that is missing, not complete, from another study, out of order or damaged.
    """
    if not shards:
        raise StudyError(f"{path}: is an ensemble without shards; run the command that makes the shards first")
    required = {"kind": f"{kind.removesuffix('-ensemble')}-shard", **expected}
    links = _links(root, path, shards)
    parts = _examined_all(path, shards, required, dimension, known or {})
    joined = _joined_variables(parts, dimension)
    joined_digests = _digests(Shards(path, [shard.part for shard in parts], required), joined)
    copied = _copied(parts, dimension)
    with atomic_h5(path, kind, {**attrs, **_summary(parts, dimension)}) as file:
        for name, variable in parts[0].variables.items():
            if name in joined:
                _link(file, joined[name], [*zip(links, parts, strict=True)], joined_digests.get(name))
            else:
                volatile = variable.digest is None
                put(file, name, copied[name], variable.dims, variable.units, variable.long_name, volatile)
        _put_table(file, links, parts, dimension)


def open_ensemble(path: Path, kind: str = "train-ensemble", **expected: object) -> AbstractContextManager[File]:
    """An ensemble like `open_complete`, after checking that each of its shards is in place and the one that was joined.

    Raises StudyError naming the invalid ensemble or shard.
    """
    return open_complete(path, kind, **expected)


def noted(file: h5py.File, path: Path, dimension: str) -> Shard | None:
    """What an ensemble needs of a shard that is being written; its seal is known only later (`sealed`).

    None for a shard that is better read again: with text, with much that is copied, or with rows that are not numbered.
    """
    named = scales.named_in(file)
    described = {
        name: Description(name, one.dims, one.units, one.long_name, one.id.dtype, one.id.shape, one.digest)
        for name, one in named.items()
    }
    rows = file[dimension][()] if dimension in named else np.empty(0)
    copied = [one for name, one in named.items() if not _joined(described[name], dimension)]
    texts = [one for one in described.values() if one.dtype.kind == "O"]
    if texts or not len(rows) or not np.array_equal(rows, int(rows[0]) + np.arange(len(rows))):
        return None
    if sum(one.id.get_storage_size() for one in copied) > MOST_COPIED:
        return None
    values = {name: file[name][()] for name, one in described.items() if not _joined(one, dimension)}
    digest = digest_of_values({name: one.digest for name, one in described.items() if one.digest is not None})
    provenance = {name: str(attribute_of(file, name) or "") for name in SHARD_PROVENANCE}
    return Shard(Part(path, int(rows[0]), len(rows), "", digest), described, values, provenance)


def sealed(shard: Shard) -> Shard:
    """A shard that was `noted`, with the seal of its file, now written."""
    return replace(shard, part=replace(shard.part, seal=digest_in(snapshot.end_of(shard.path))))


def _is_the_one(shard: Shard) -> bool:
    """Whether the file of a shard is the one that was noted, bit for bit. Raises StudyError if it cannot be read."""
    data = snapshot.bytes_of(shard.path)
    return is_whole(data) and digest_in(data) == shard.part.seal


def _examined_all(
    path: Path, paths: Sequence[Path], required: Mapping[str, object], dimension: str, known: Mapping[Path, Shard]
) -> list[Shard]:
    """Examine shards in order, and require that they fit each other."""
    shards: list[Shard] = []
    next_row = 0
    for place in paths:
        shard = known.get(Path(place))
        if shard is None or not _is_the_one(shard):
            shard = _examined(Path(place), required, dimension)
        shards.append(shard)
        if shard.part.first != next_row:
            # A virtual dataset would fill the gap silently.
            raise StudyError(
                f"{path}: expected {dimension} {next_row} next but {place} starts at {shard.part.first}; a shard is "
                "missing or out of order; run the command that makes the shards again"
            )
        _require_alike(shards[0], shard, dimension)
        next_row += shard.part.count
    return shards


def _examined(path: Path, required: Mapping[str, object], dimension: str) -> Shard:
    """Open a shard, refuse it unless it is complete, has the required attributes and its variables their digests."""
    with checks.opened(path, required) as checked, checks.translated(path):
        if checked.virtual:
            raise StudyError(f"{path}: takes its values from other files, as no shard does; {AGAIN}")
        file = File(path, checked.file)
        provenance = {name: str(attribute_of(file, name) or "") for name in SHARD_PROVENANCE}
        described = {name: _described(name, one) for name, one in file.variables.items()}
        computed = file.digests()
        _require_digests(path, computed, described)
        rows = file[dimension][()] if dimension in file else np.empty(0)
        first = int(rows[0]) if rows.shape and len(rows) else 0
        if not rows.shape or not len(rows) or not np.array_equal(rows, first + np.arange(len(rows))):
            raise StudyError(f"{path}: its {dimension} numbers are not consecutive; {AGAIN}")
        copied = {
            name: file[name].values()
            for name, one in described.items()
            if _is_text(one, dimension) or not _joined(one, dimension)
        }
        return Shard(
            Part(path, first, len(rows), checked.seal, digest_of_values(computed)), described, copied, provenance
        )


def _described(name: str, one: Variable) -> Description:
    units, long_name = one.text("units") or "", one.text("long_name") or ""
    return Description(name, one.dims, units, long_name, one.dtype, one.shape, one.text("digest"))


def _require_digests(path: Path, computed: Mapping[str, str], described: Mapping[str, Description]) -> None:
    for name, digest in computed.items():
        if digest != described[name.removeprefix("/")].digest:
            raise StudyError(f"{path}: its variable {name} is damaged (digest differs); {AGAIN}")


def _require_alike(first: Shard, shard: Shard, dimension: str) -> None:
    """Require the first shard's variables, with equal values where they do not run along the joined dimension."""
    for name in {**first.variables, **shard.variables}:
        here, there = shard.variables.get(name), first.variables.get(name)
        if here is None or there is None or _signature(here, dimension) != _signature(there, dimension):
            raise StudyError(f"{shard.path}: its variable {name} differs from {first.path}'s; {AGAIN}")


def _signature(variable: Description, dimension: str) -> tuple[object, ...]:
    joined = _joined(variable, dimension)
    shape = variable.shape[1:] if joined else variable.shape
    digest = variable.digest is None if joined else variable.digest
    return variable.dims, variable.units, variable.long_name, variable.dtype, shape, digest


def _joined(variable: Description, dimension: str) -> bool:
    """Return whether the variable runs along the joined dimension."""
    if dimension in variable.dims[1:]:
        raise ValueError(f"{dimension} must be the first of the dimensions {variable.dims}")
    return variable.dims[:1] == (dimension,)


def _is_text(variable: Description, dimension: str) -> bool:
    """Whether values are joined by copying: text, which virtual datasets do not support well."""
    return _joined(variable, dimension) and variable.dtype.kind == "O"


def _joined_variables(shards: Sequence[Shard], dimension: str) -> dict[str, Description]:
    """The variables that are linked, each with the rows of all shards.

    The coordinate is copied: so a reader who finds fill values can identify the missing replicas.
    """
    count = sum(shard.part.count for shard in shards)
    return {
        name: replace(variable, shape=(count, *variable.shape[1:]))
        for name, variable in shards[0].variables.items()
        if _joined(variable, dimension) and name != dimension and not _is_text(variable, dimension)
    }


def _digests(shards: Shards, joined: Mapping[str, Description]) -> dict[str, str]:
    """Digest of each joined variable that has one; of a single shard they were compared with its values just now."""
    lasting = [variable for variable in joined.values() if variable.digest is not None]
    if len(shards.parts) == 1:
        return {variable.name: str(variable.digest) for variable in lasting}
    return shards.digests(lasting)


def _summary(shards: Sequence[Shard], dimension: str) -> dict[str, object]:
    """Root attributes about the shards: their number, the joined dimension, the back ends that wrote them."""
    occurring = {
        f"shard_{name}": ", ".join(sorted({shard.provenance[name] for shard in shards} - {""}))
        for name in SHARD_PROVENANCE
    }
    return {"joined_along": dimension, "shard_count": len(shards), **occurring}


def _links(root: Path, path: Path, shards: Sequence[Path]) -> list[str]:
    """For each shard its path relative to the ensemble's folder."""
    below = (Path(root) / "shards").resolve()
    for shard in shards:
        if not Path(shard).resolve().is_relative_to(below):
            raise StudyError(f"{shard}: is not below {below}, where the shards of an ensemble must be")
    return [os.path.relpath(shard, Path(path).parent) for shard in shards]


def _copied(shards: Sequence[Shard], dimension: str) -> dict[str, NDArray[Any]]:
    """Values to copy into the ensemble: text, the joined coordinate, and variables that do not depend on the shard."""
    first, count = shards[0], sum(shard.part.count for shard in shards)
    values = {
        name: np.concatenate([shard.copied[name] for shard in shards]) if _joined(variable, dimension) else own
        for name, variable in first.variables.items()
        if (own := first.copied.get(name)) is not None
    }
    return values | {dimension: np.arange(count, dtype=first.variables[dimension].dtype)}


def _link(file: h5py.File, variable: Description, linked: Sequence[tuple[str, Shard]], digest: str | None) -> None:
    """A virtual dataset over the shards' variables of the same name, for other software."""
    properties, name, rest = h5p.create(h5p.DATASET_CREATE), variable.name.encode(), variable.shape[1:]
    properties.set_obj_track_times(False)
    properties.set_fill_value(np.array(_fill_value(variable.dtype), dtype=variable.dtype))
    for source, shard in linked:
        rows, shape = h5s.create_simple(variable.shape), (shard.part.count, *rest)
        rows.select_hyperslab((shard.part.first, *(0 for _ in rest)), shape)
        properties.set_virtual(rows, os.fsencode(source), name, h5s.create_simple(shape))
    kind = h5t.py_create(variable.dtype, logical=True)
    created = h5d.create(file.id, name, kind, h5s.create_simple(variable.shape), properties)
    describe(h5py.Dataset(created), variable.dims, variable.units, variable.long_name, digest)


def _put_table(file: h5py.File, links: Sequence[str], shards: Sequence[Shard], dimension: str) -> None:
    """The shards that were joined; volatile, since how rows are divided into shards does not change a value."""
    first = [shard.part.first for shard in shards]
    put(file, FIRST, first, (FIRST,), "1", f"first {dimension} in the shard", volatile=True)
    put(file, FILE, links, (FIRST,), "1", "path of the shard, relative to this file's folder", volatile=True)
    seals, values = [shard.part.seal for shard in shards], [shard.part.digest for shard in shards]
    put(file, SEAL, seals, (FIRST,), "1", "SHA-256 in the last line of the shard", volatile=True)
    put(file, DIGEST, values, (FIRST,), "1", "digest of the shard's variables", volatile=True)


def _fill_value(dtype: np.dtype[Any]) -> float | int:
    """The value shown for a missing shard to a reader who did not check: NaN, or an absurd whole number."""
    if dtype.kind == "f":
        return float("nan")
    limits = np.iinfo(dtype)
    return int(limits.min if dtype.kind == "i" else limits.max)
