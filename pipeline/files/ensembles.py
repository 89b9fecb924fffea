"""Ensembles: one file for a cell, a virtual dataset over its shards in global order."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from rnnlimits.base.errors import StudyError
from rnnlimits.files import digests
from rnnlimits.files.reading import AGAIN, attribute_of, open_complete
from rnnlimits.files.store import atomic_h5
from rnnlimits.files.variables import describe, dims_of, put, values_of, variables

# Provenance that may differ between the shards of one ensemble; it lists what occurs, as shard_<name>.
SHARD_PROVENANCE = ("backend", "device", "software_version", "git_commit")


@dataclass(frozen=True)
class Variable:
    """Description of one variable in a shard; digest None: volatile."""

    dims: tuple[str, ...]
    units: str
    long_name: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    digest: str | None


@dataclass(frozen=True)
class Shard:
    """The properties of a shard that an ensemble needs: its rows first .. first + count - 1 and its variables."""

    path: Path
    first: int
    count: int
    variables: Mapping[str, Variable]
    provenance: Mapping[str, str] = field(default_factory=dict)


def build_ensemble(
    root: Path,
    shards: Sequence[Path],
    path: Path,
    kind: str,
    attrs: Mapping[str, object],
    expected: Mapping[str, object],
    dimension: str = "replica",
) -> None:
    """Write the ensemble of `shards` to `path`, completely or not at all, replacing an older one.

    root: the study's results folder, which holds all of them, so that it can be moved; shards: in the order of
    `dimension` (first axis of the variables that are joined), whose coordinate must count 0, 1, 2, ... through them;
    kind: "train-ensemble" needs shards of kind "train-shard", "draw" needs "draw-shard"; attrs: root attributes of
    the ensemble; expected: root attributes that every shard must have (cell_id). Values are read once, to compare them
    with the shards' digests and to compute the ensemble's.
    Raises StudyError naming the shard that is missing, not complete, from another study, out of order or damaged.
    """
    if not shards:
        raise StudyError(f"{path}: is an ensemble without shards; run the command that makes the shards first")
    shard_kind = f"{kind.removesuffix('-ensemble')}-shard"
    parts = [_examined(Path(shard), shard_kind, expected, dimension) for shard in shards]
    _require_consecutive(path, parts, dimension)
    _require_alike(parts, dimension)
    links = _links(root, path, parts)
    joined_digests = _digests(parts, dimension)
    with atomic_h5(path, kind, {**attrs, **_summary(parts, dimension)}) as file:
        for name, variable in parts[0].variables.items():
            if (values := _copied(name, parts, dimension)) is None:
                _link(file, name, variable, links, joined_digests.get(name))
            else:
                volatile = variable.digest is None
                put(file, name, values, variable.dims, variable.units, variable.long_name, volatile)


@contextmanager
def open_ensemble(path: Path, kind: str = "train-ensemble", **expected: object) -> Iterator[h5py.File]:
    """Yield an ensemble like `store.open_complete`, after checking that all its shards are in place and complete.

    Raises StudyError naming the invalid ensemble or shard.
    """
    with open_complete(path, kind, **expected) as file:
        yield file


def _examined(path: Path, kind: str, expected: Mapping[str, object], dimension: str) -> Shard:
    """Open a shard, refuse it unless it is complete and has the expected attributes, and return its properties."""
    with open_complete(path, kind, **expected) as file:
        contents = {
            name: Variable(
                dims_of(dataset),
                dataset.attrs["units"],
                dataset.attrs["long_name"],
                dataset.dtype,
                dataset.shape,
                dataset.attrs.get("digest"),
            )
            for name, dataset in variables(file).items()
        }
        if dimension not in contents:
            raise StudyError(f"{path}: has no variable {dimension}; {AGAIN}")
        rows = file[dimension][()]
        first = int(rows[0]) if len(rows) else 0
        if not len(rows) or not np.array_equal(rows, first + np.arange(len(rows))):
            raise StudyError(f"{path}: its {dimension} numbers are not consecutive; {AGAIN}")
        provenance = {name: str(attribute_of(file, name) or "") for name in SHARD_PROVENANCE}
    return Shard(path, first, len(rows), contents, provenance)


def _require_consecutive(path: Path, parts: Sequence[Shard], dimension: str) -> None:
    """Require that the shards count 0, 1, 2, ... without a gap, which a virtual dataset would fill silently."""
    next_row = 0
    for part in parts:
        if part.first != next_row:
            raise StudyError(
                f"{path}: expected {dimension} {next_row} next but {part.path} starts at {part.first}; a shard is "
                "missing or out of order; run the command that makes the shards again"
            )
        next_row += part.count


def _require_alike(parts: Sequence[Shard], dimension: str) -> None:
    """Require the same variables in all shards, with equal values where they do not run along the joined dimension."""
    for part in parts[1:]:
        for name in {**parts[0].variables, **part.variables}:
            here, there = part.variables.get(name), parts[0].variables.get(name)
            if here is None or there is None or _signature(here, dimension) != _signature(there, dimension):
                raise StudyError(f"{part.path}: its variable {name} differs from {parts[0].path}'s; {AGAIN}")


def _signature(variable: Variable, dimension: str) -> tuple[object, ...]:
    joined = _joined(variable, dimension)
    shape = variable.shape[1:] if joined else variable.shape
    digest = variable.digest is None if joined else variable.digest
    return variable.dims, variable.units, variable.long_name, variable.dtype, shape, digest


def _joined(variable: Variable, dimension: str) -> bool:
    """Return whether the variable runs along the joined dimension."""
    if dimension in variable.dims[1:]:
        raise ValueError(f"{dimension} must be the first of the dimensions {variable.dims}")
    return variable.dims[:1] == (dimension,)


def _digests(parts: Sequence[Shard], dimension: str) -> dict[str, str]:
    """Digest of each joined variable that has one; every value read is checked against its shard's digest."""
    count = sum(part.count for part in parts)
    running = {
        name: digests.RunningDigest(variable.dtype, (count, *variable.shape[1:]))
        for name, variable in parts[0].variables.items()
        if _joined(variable, dimension) and variable.digest is not None
    }
    for part in parts:
        with open_complete(part.path, None) as file:
            for name, variable in part.variables.items():
                if variable.digest is not None:
                    _digest_part(part, file[name], variable, running.get(name))
    return {name: digest.hexdigest() for name, digest in running.items()}


def _digest_part(part: Shard, dataset: h5py.Dataset, variable: Variable, total: digests.RunningDigest | None) -> None:
    running = digests.RunningDigest(dataset.dtype, dataset.shape)
    for piece in digests.slabs(dataset):
        running.update(piece)
        if total is not None:
            total.update(piece)
    if running.hexdigest() != variable.digest:
        raise StudyError(f"{part.path}: its variable {dataset.name} is damaged (digest differs); {AGAIN}")


def _summary(parts: Sequence[Shard], dimension: str) -> dict[str, object]:
    """Root attributes about the shards: their number, the joined dimension, the back ends that wrote them."""
    occurring = {
        f"shard_{name}": ", ".join(sorted({part.provenance[name] for part in parts} - {""}))
        for name in SHARD_PROVENANCE
    }
    return {"joined_along": dimension, "shard_count": len(parts), **occurring}


def _links(root: Path, path: Path, parts: Sequence[Shard]) -> list[tuple[str, int]]:
    """For each shard its path relative to the ensemble's folder, and its number of rows."""
    below = (Path(root) / "shards").resolve()
    for part in parts:
        if not part.path.resolve().is_relative_to(below):
            raise StudyError(f"{part.path}: is not below {below}, where the shards of an ensemble must be")
    return [(os.path.relpath(part.path, Path(path).parent), part.count) for part in parts]


def _copied(name: str, parts: Sequence[Shard], dimension: str) -> NDArray[Any] | None:
    """Values to copy into the ensemble, or None for a variable to link.

    Copied: variables that do not depend on the shard; text, which virtual datasets do not support well; and the joined
    coordinate, so that a reader who finds fill values can identify the missing replicas.
    """
    variable = parts[0].variables[name]
    joined = _joined(variable, dimension)
    if joined and name != dimension and variable.dtype.kind != "O":
        return None
    pieces = []
    for part in parts if joined else parts[:1]:
        with open_complete(part.path, None) as file:
            pieces.append(values_of(file[name]))
    return np.concatenate(pieces) if joined else pieces[0]


def _link(file: h5py.File, name: str, variable: Variable, links: Sequence[tuple[str, int]], digest: str | None) -> None:
    """A virtual dataset over the shards' variables of the same name."""
    shape = (sum(count for _, count in links), *variable.shape[1:])
    layout = h5py.VirtualLayout(shape, variable.dtype)
    first = 0
    for source, count in links:
        layout[first : first + count] = h5py.VirtualSource(source, name, (count, *shape[1:]), variable.dtype)
        first += count
    dataset = file.create_virtual_dataset(name, layout, fillvalue=_fill_value(variable.dtype))
    describe(dataset, variable.dims, variable.units, variable.long_name, digest)


def _fill_value(dtype: np.dtype[Any]) -> float | int:
    """The value shown for a missing shard to a reader who did not check: NaN, or an absurd whole number."""
    if dtype.kind == "f":
        return float("nan")
    limits = np.iinfo(dtype)
    return int(limits.min if dtype.kind == "i" else limits.max)
