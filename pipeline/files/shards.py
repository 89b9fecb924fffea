"""The shards behind an ensemble, read one at a time: each is the one that was joined, bit for bit, or refused.

HDF5 itself gives fill values for rows of a virtual dataset whose source it cannot open, for whatever reason, and says
nothing. So this software never reads an ensemble through HDF5's virtual datasets: it opens each shard by itself.
"""

from __future__ import annotations

import bisect
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Protocol

import h5py
import numpy as np
from numpy.typing import NDArray

from rnnlimits.base.errors import StudyError
from rnnlimits.files import audit, checks, digests, snapshot
from rnnlimits.files.checks import attribute_of, shown, translated
from rnnlimits.files.seal import digest_in, is_whole
from rnnlimits.files.snapshot import AGAIN
from rnnlimits.files.variables import digests_of

# The table of an ensemble's shards: first row, path relative to the ensemble's folder, digest of the seal, and that of
# the values, which alone stays the same if a shard is computed again.
FIRST, FILE, SEAL, DIGEST = TABLE = ("shard", "shard_file", "shard_sha256", "shard_digest")
ENSEMBLE = "-ensemble"


class Described(Protocol):
    """A variable of an ensemble: its name in ensemble and shards, and what its values are."""

    @property
    def name(self) -> str: ...  # noqa: D102
    @property
    def dtype(self) -> np.dtype[Any]: ...  # noqa: D102
    @property
    def shape(self) -> tuple[int, ...]: ...  # noqa: D102


@dataclass(frozen=True)
class Part:
    """One shard of an ensemble: its rows first .. first + count - 1, the digest of its seal, and that of its values."""

    path: Path
    first: int
    count: int
    seal: str
    digest: str

    def slots(self, rows: slice) -> slice:
        """Rows of this shard among the rows start, start + step, ... < stop of the ensemble."""
        start = rows.start + max(0, -(-(self.first - rows.start) // rows.step)) * rows.step
        return slice(start - self.first, min(rows.stop - self.first, self.count), rows.step)


class Shards:
    """The shards of the ensemble at `path`, in order. `required`: root attributes that each must have."""

    def __init__(self, path: Path, parts: Sequence[Part], required: dict[str, object]) -> None:
        self.path, self.parts, self._required = path, parts, required
        self._firsts = [part.first for part in parts]
        self._rewritten: dict[Path, str] = {}

    def __len__(self) -> int:
        return len(self.parts)

    @property
    def rows(self) -> int:
        """Number of rows of all shards."""
        return self.parts[-1].first + self.parts[-1].count

    def pieces(self, variables: Sequence[Described]) -> Iterator[tuple[Described, NDArray[Any]]]:
        """The values of variables in order, in pieces of consecutive rows; each shard is read once for all of them.

        Raises StudyError naming a shard that is not the one that was joined.
        """
        for part in self.parts:
            with self._opened(part) as read:
                for variable in variables:
                    for piece in digests.slabs(read(variable)):
                        yield variable, piece

    def read(self, variable: Described, rows: Any, rest: tuple[Any, ...]) -> Any:
        """Values of a variable at the rows (a number, a slice with positive step, or indices) and the other axes."""
        if isinstance(rows, slice):
            return self._slice(variable, slice(*rows.indices(self.rows)), rest)
        if np.ndim(rows) == 0:
            return self._row(variable, int(rows), rest)
        wanted = np.asarray(rows)
        wanted = np.flatnonzero(wanted) if wanted.dtype == bool else np.where(wanted < 0, wanted + self.rows, wanted)
        first = int(wanted.min(initial=self.rows))
        return self._slice(variable, slice(first, int(wanted.max(initial=first - 1)) + 1, 1), rest)[wanted - first]

    def _row(self, variable: Described, row: int, rest: tuple[Any, ...]) -> Any:
        place = row + self.rows if row < 0 else row
        if not 0 <= place < self.rows:
            raise IndexError(f"row {row} of {self.rows} of {variable.name}")
        part = self.parts[bisect.bisect_right(self._firsts, place) - 1]
        with self._opened(part) as read:
            return read(variable)[(place - part.first, *rest)]

    def _slice(self, variable: Described, rows: slice, rest: tuple[Any, ...]) -> NDArray[Any]:
        if rows.step < 0:
            raise ValueError(f"{variable.name}: rows are read forwards only")
        first = max(0, bisect.bisect_right(self._firsts, rows.start) - 1)
        pieces = []
        for part in self.parts[first : max(first + 1, bisect.bisect_left(self._firsts, rows.stop))]:
            slots = part.slots(rows)
            with self._opened(part) as read:
                pieces.append(read(variable)[(slice(slots.start, max(slots.start, slots.stop), slots.step), *rest)])
        return pieces[0] if len(pieces) == 1 else np.concatenate(pieces)

    @contextmanager
    def _opened(self, part: Part) -> Iterator[Callable[[Described], h5py.Dataset]]:
        """Yield a function that gives the dataset of a variable in a shard."""
        data = snapshot.bytes_of(part.path)
        if not is_whole(data) or digest_in(data) not in (part.seal, self._rewritten.get(part.path)):
            self._require_same(part, data)
        with checks.parsed(part.path, data) as file, checks.reading_values(part.path):
            yield lambda variable: self._dataset(part, file, variable, len(data))

    def _dataset(self, part: Part, file: h5py.File, variable: Described, size: int) -> h5py.Dataset:
        dataset = audit.stored(file, variable.name.removeprefix("/"), size)
        if dataset.dtype != variable.dtype or dataset.shape != (part.count, *variable.shape[1:]):
            raise self._misfit(part, variable)
        return dataset

    def _misfit(self, part: Part, variable: Described) -> StudyError:
        return StudyError(f"{self.path}: its variable {variable.name} does not fit the shard {part.path}; {AGAIN}")

    def require_present(self) -> None:
        """Require that each shard ends with the seal of the one that was joined. Raises StudyError naming another."""
        for part in self.parts:
            if digest_in(snapshot.end_of(part.path)) != part.seal:
                self._require_same(part, snapshot.bytes_of(part.path))

    def _require_same(self, part: Part, data: bytes) -> None:
        """Require that the bytes, which are not those that were joined, are a shard with the same values."""
        with checks.examined(part.path, data, self._required) as checked, translated(part.path):
            found = digest_of_values(digests_of(checked.file))
        if found != part.digest:
            raise StudyError(f"{part.path}: was replaced after {self.path.name} was joined from it; {AGAIN}")
        self._rewritten[part.path] = digest_in(data)

    def digests(self, variables: Sequence[Described]) -> dict[str, str]:
        """The digest of each variable, computed from its values; each shard is read once."""
        running = {one.name: digests.RunningDigest(one.dtype, one.shape) for one in variables}
        for variable, piece in self.pieces(variables):
            running[variable.name].update(piece)
        return {name: digest.hexdigest() for name, digest in running.items()}

    def require_digests(self, variables: Sequence[h5py.Dataset]) -> None:
        """Require that the shards have the variables, and that all values together have the variables' digests."""
        found = self.digests(variables)
        for one in variables:
            if one.attrs.get("digest", found[one.name]) != found[one.name]:
                raise StudyError(
                    f"{self.path}: its variable {one.name} is not that of its shards (digest differs), one of which "
                    f"was replaced; {AGAIN}"
                )


def digest_of_values(computed: Mapping[str, str]) -> str:
    """One digest of all variables of a shard, from the digest of each."""
    return digests.of_names({name.removeprefix("/"): digest for name, digest in computed.items()})


# --- where shards are listed ----------------------------------------------------------------------------------------


def of_file(path: Path, file: h5py.File, virtual: Sequence[h5py.Dataset]) -> Shards:
    """The shards behind the virtual datasets of a checked file. Each exists and is the one that was joined.

    Raises StudyError naming a shard that is missing, damaged, replaced, outside the study's folder, or does not fit.
    """
    with translated(path):
        kind, names = str(attribute_of(file, "kind")), [name for name in file.attrs if name.endswith("_id")]
        required: dict[str, object] = {name: attribute_of(file, name) for name in names if name != "study_id"}
        if kind.endswith(ENSEMBLE):
            required["kind"] = f"{kind.removesuffix(ENSEMBLE)}-shard"
        listed = all(name in file for name in TABLE)
        parts = _of_table(path, file) if listed else _of_mappings(path, virtual, required)
        found = Shards(path, parts, required)
        for dataset in virtual:
            if dataset.shape[:1] != (found.rows,):
                raise audit.Unsafe(f"{dataset.name} has rows without a source")
    if listed:
        found.require_present()
    else:
        found.require_digests(virtual)
    return found


def _of_table(path: Path, file: h5py.File) -> list[Part]:
    """Parts as the ensemble lists them."""
    first, *texts = (file[name] for name in TABLE)
    if first.dtype.kind != "i" or any(data.is_virtual or data.ndim != 1 for data in (first, *texts)):
        raise audit.Unsafe("its table of shards is not one")
    starts, (files, seals, values) = first[()].tolist(), (text.asstr()[()].tolist() for text in texts)
    (replicas,) = file[str(attribute_of(file, "joined_along"))].shape
    counts = [after - before for before, after in zip(starts, [*starts[1:], replicas], strict=True)]
    if not starts or starts[0] != 0 or min(counts) < 1:
        raise audit.Unsafe("its table of shards has gaps")
    places = _places(path, files)
    return [Part(*each) for each in zip(places, starts, counts, seals, values, strict=True)]


def _of_mappings(path: Path, virtual: Sequence[h5py.Dataset], required: dict[str, object]) -> list[Part]:
    """Parts of an ensemble of an older version of this software: those of its virtual datasets, each checked now."""
    blocks = audit.sources(virtual[0])
    for dataset in virtual:
        sources = audit.sources(dataset)
        if [(one.file, one.rows) for one in sources] != [(one.file, one.rows) for one in blocks]:
            raise audit.Unsafe(f"{dataset.name} has other shards than {virtual[0].name}")
        if other := next((one for one in sources if one.dataset.strip("/") != dataset.name.strip("/")), None):
            raise StudyError(f"{path}: its variable {dataset.name} does not fit the shard {other.file}; {AGAIN}")
    parts, first = [], 0
    for place, block in zip(_places(path, [block.file for block in blocks]), blocks, strict=True):
        with checks.opened(place, required) as shard:
            if shard.virtual:
                raise StudyError(f"{path}: its variables do not fit the shard {block.file}; {AGAIN}")
            parts.append(Part(place, first, block.rows, shard.seal, ""))
        first += block.rows
    return parts


def _places(path: Path, names: Sequence[str]) -> list[Path]:
    """The paths of shards, all below the study's folder of shards."""
    shards = _folder(path)
    folders: dict[Path, Path | None] = {}
    places = []
    for name in names:
        place = path.parent / name
        if place.parent not in folders:
            folders[place.parent] = _plain(place.parent) if place.parent.resolve().is_relative_to(shards) else None
        folder = folders[place.parent]
        inside = folder and (not place.is_symlink() or place.resolve().is_relative_to(shards))
        if PurePosixPath(name).is_absolute() or place.name == ".." or not folder or not inside:
            raise StudyError(f"{path}: takes values from {shown(name)}, outside {shards}; delete it")
        places.append(folder / place.name)
    return places


def _plain(folder: Path) -> Path:
    """The folder without "..", for lines that users read, unless a link on the way makes that another folder."""
    plain = Path(os.path.normpath(folder))
    return plain if plain.resolve() == folder.resolve() else folder


def _folder(path: Path) -> Path:
    """The shards folder of the study that a file belongs to: next to the file or to one of its parents."""
    for parent in path.absolute().parents:
        if (parent / "shards").is_dir():
            return (parent / "shards").resolve()
    raise StudyError(f"{path}: its shards are missing (no folder shards above it); use a packed file instead")
