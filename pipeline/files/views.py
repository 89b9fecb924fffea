"""A finished file as its readers see it: attributes, groups, and variables whose values were really read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from rnnlimits.base.errors import StudyError
from rnnlimits.files import checks, digests, scales, variables
from rnnlimits.files.attributes import text_attribute
from rnnlimits.files.shards import Shards
from rnnlimits.files.snapshot import AGAIN


class Variable:
    """A variable of a finished file, read by `variable[selection]` as from h5py, and refused if it cannot be.

    Joined variables of an ensemble are read from its shards, any others from the file. Values that are read whole are
    compared with the variable's digest. Raises StudyError for values that are not those that were written.
    """

    def __init__(self, path: Path, dataset: h5py.Dataset, shards: Shards | None) -> None:
        self.path, self._dataset, self._shards = path, dataset, shards
        self._loaded: NDArray[Any] | None = None

    def __repr__(self) -> str:
        return f"<variable {self.name} {self.dims} {self.shape} {self.dtype} of {self.path}>"

    @cached_property
    def name(self) -> str:
        """Path within the file, such as /output."""
        return str(self._dataset.name)

    @property
    def dtype(self) -> np.dtype[Any]:
        """NumPy's type; text has the kind O."""
        dtype: np.dtype[Any] = self._dataset.dtype
        return dtype

    @cached_property
    def shape(self) -> tuple[int, ...]:
        """Length of each axis."""
        return tuple(self._dataset.shape)

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    @cached_property
    def dims(self) -> tuple[str, ...]:
        """Name of each axis ("" for one without)."""
        return scales.dims_of(self._dataset)

    @property
    def attrs(self) -> Any:
        """HDF5 attributes, read-only."""
        return self._dataset.attrs

    def text(self, name: str) -> str | None:
        """An attribute that is text; None if it does not exist."""
        return text_attribute(self._dataset, name)

    @property
    def is_scale(self) -> bool:
        """Whether it is the coordinate of a dimension."""
        return bool(self._dataset.is_scale)

    @property
    def is_volatile(self) -> bool:
        """Whether it differs from run to run, and has no digest."""
        return "volatile" in self.attrs

    @property
    def is_virtual(self) -> bool:
        """Whether its values are in shards."""
        return self._shards is not None

    @property
    def shard_count(self) -> int:
        """Number of shards with its values; 0 if they are in the file."""
        return len(self._shards) if self._shards else 0

    def virtual_sources(self) -> list[h5py.VDSmap]:
        """The sources of a virtual variable that HDF5 would use, for other software; here values never pass there."""
        return list(self._dataset.virtual_sources())

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, selection: Any) -> Any:
        chosen = selection if isinstance(selection, tuple) else (selection,)
        if all(one is Ellipsis or (isinstance(one, slice) and one == slice(None)) for one in chosen):
            return self._whole()[()]
        if self._loaded is not None:
            # In the order of memory that HDF5 gives, which decides in which order NumPy sums.
            return np.asarray(self._loaded[selection], order="C")
        with checks.reading_values(self.path):
            return self._dataset[selection] if self._shards is None else self._selected(self._shards, chosen)

    def values(self) -> NDArray[Any]:
        """All values as they were written: numbers, or an object array of str."""
        found = np.asarray(self._whole(), dtype=self.dtype)
        return _text(found) if self.dtype.kind == "O" else found

    def finite(self) -> NDArray[Any]:
        """All values, numbers. Raises StudyError if one of them is not finite."""
        found = self.values()
        if found.dtype.kind == "f" and not np.isfinite(found).all():
            bad = found[~np.isfinite(found)]
            raise StudyError(
                f"{self.path}: its variable {self.name.strip('/')} has values that are not finite ({len(bad)} of "
                f"{found.size}, the first is {bad[0]}); change the study if it diverges, else {AGAIN}"
            )
        return found

    def keep(self, values: NDArray[Any]) -> None:
        """Keep all values, already read, in memory, read-only. Raises StudyError if they lack the variable's digest."""
        self._require_digest(values)
        values.setflags(write=False)
        self._loaded = values

    def _whole(self) -> NDArray[Any]:
        if self._loaded is not None:
            return self._loaded
        with checks.reading_values(self.path):
            if self._shards is None:
                found = np.asarray(self._dataset[()], dtype=self.dtype)
            else:
                found = self._shards.read(self, slice(None), ())
        self._require_digest(found)
        return found

    def _selected(self, shards: Shards, chosen: tuple[Any, ...]) -> Any:
        """The selection among joined values."""
        if Ellipsis in [one for one in chosen if not isinstance(one, np.ndarray)]:
            (place,) = (place for place, one in enumerate(chosen) if one is Ellipsis)
            missing = self.ndim - len(chosen) + 1
            chosen = (*chosen[:place], *(slice(None) for _ in range(missing)), *chosen[place + 1 :])
        return shards.read(self, chosen[0], chosen[1:])

    def _require_digest(self, values: NDArray[Any]) -> None:
        written = self.text("digest")
        if written is not None and digests.of_array(values) != written:
            raise StudyError(f"{self.path}: its variable {self.name.strip('/')} is damaged (digest differs); {AGAIN}")


class Group:
    """A group of a finished file: `group[name]` is a variable, and iteration gives the names of its variables."""

    def __init__(self, path: Path, group: h5py.Group, shards: Shards | None = None) -> None:
        self.path, self._group, self._shards = path, group, shards
        self._datasets = variables.datasets(group)
        self._variables = {
            name: Variable(path, item, shards if shards and item.is_virtual else None)
            for name, item in self._datasets.items()
        }

    @property
    def name(self) -> str:
        """Path within the file, / for the root."""
        return str(self._group.name)

    @property
    def attrs(self) -> Any:
        """HDF5 attributes, read-only."""
        return self._group.attrs

    @property
    def variables(self) -> dict[str, Variable]:
        """The variables directly in the group, in the order in which they were written."""
        return dict(self._variables)

    @property
    def shards(self) -> list[Path]:
        """The shards of an ensemble, in order; blocks of another size than the study's may have written them."""
        return [part.path for part in self._shards.parts] if self._shards else []

    def __iter__(self) -> Iterator[str]:
        return iter(self._variables)

    def __len__(self) -> int:
        return len(self._variables)

    def __contains__(self, name: str) -> bool:
        return name in self._variables

    def __getitem__(self, name: str) -> Variable:
        """The variable of this name. Raises StudyError if there is none."""
        if name not in self._variables:
            raise StudyError(f"{self.path}: has no variable {name}; {AGAIN}")
        return self._variables[name]

    def groups(self) -> Iterator[Group]:
        """This group and every group below it."""
        yield self
        for item in self._group.values():
            if isinstance(item, h5py.Group):
                yield from Group(self.path, item).groups()

    def group(self, name: str) -> Group:
        """The group of this name. Raises StudyError if there is none."""
        if not isinstance(found := self._group.get(name), h5py.Group):
            raise StudyError(f"{self.path}: has no group {name}")
        return self if found == self._group else Group(self.path, found)

    def load(self, names: Sequence[str] | None = None) -> None:
        """Read variables whole (None: all), so that those in shards need only one pass, and keep them in memory."""
        wanted = self._variables.values() if names is None else [self[name] for name in names]
        joined = [one for one in wanted if one.is_virtual]
        pieces: dict[str, list[NDArray[Any]]] = {one.name: [] for one in joined}
        if self._shards and joined:
            for variable, piece in self._shards.pieces(joined):
                pieces[variable.name].append(piece)
        for one in joined:
            one.keep(np.concatenate(pieces.pop(one.name)))

    def digests(self) -> dict[str, str]:
        """The digest of each variable that is not volatile, computed from its values; shards are read once."""
        with checks.reading_values(self.path):
            stored = variables.digests_of_each(self._datasets.values())
        joined = [one for one in self._variables.values() if one.is_virtual and not one.is_volatile]
        return {**stored, **self._shards.digests(joined)} if self._shards else stored


class File(Group):
    """The root group of a finished file."""


def _text(values: NDArray[Any]) -> NDArray[Any]:
    """Text as an object array of str."""
    decoded = np.empty(values.shape, dtype=object)
    decoded.ravel()[...] = [text.decode() if isinstance(text, bytes) else text for text in values.ravel().tolist()]
    return decoded
