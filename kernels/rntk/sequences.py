"""Sequences of any lengths as one array with offsets, checked."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnnlimits.kernels import values
from rnnlimits.kernels.interface import Array, KernelError

Places = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Batch:
    """n sequences in a row: values (sum of lengths, m) float64; sequence i is values[offsets[i] : offsets[i + 1]]."""

    values: Array
    offsets: Places

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, index: int) -> Array:
        return self.values[self.offsets[index] : self.offsets[index + 1]]

    def __iter__(self) -> Iterator[Array]:
        return (self[index] for index in range(len(self)))

    @property
    def lengths(self) -> Places:
        """Steps of each sequence, (n,)."""
        return np.diff(self.offsets)

    @property
    def dimension(self) -> int:
        """Number m of inputs at a step."""
        return int(self.values.shape[1])

    def taken(self, indices: Places) -> Batch:
        """The sequences with these indices, in this order."""
        if np.array_equal(indices, np.arange(len(self))):
            return self
        return _joined([self[int(index)] for index in indices])


LAYOUTS = ("steps_first", "channels_first")
Sequences = Batch | NDArray[Any] | Sequence[Any]


def batch(x: Sequences, name: str = "x", layout: str | None = None) -> Batch:
    """A batch from a list of arrays (T_i, m) or (T_i,), or an array (n, T, m) or (n, T) of equal lengths.

    layout: "channels_first" for arrays (n, m, T) and lists of (m, T_i), as aeon and sktime have them. Arrays are those
    of values.array_of; any other iterable is read as a list. name: what messages call it. Raises KernelError: what is
    no array or list of them, masked values, an object array, no sequence, an empty one, unlike dimensions, a value
    that is not a finite number.
    """
    require_layout(layout)
    if isinstance(x, Batch):
        return x
    values.require_plain(x, name, () if layout else values.COLLECTION)
    x = np.asarray(x) if isinstance(x, memoryview) else x
    made = _from_array(x, name, layout) if hasattr(x, "__array__") else _from_list(x, name, layout)
    _require_finite(made, name)
    return made


def require_layout(layout: str | None) -> None:
    """Raises KernelError unless it is one of LAYOUTS, or None."""
    if layout is not None and layout not in LAYOUTS:
        raise KernelError(f"layout: {layout!r} is not known; allowed: {', '.join(LAYOUTS)}")


def require_alike(x: Batch, y: Batch) -> None:
    """Raises KernelError unless both have the same number of inputs at a step."""
    if x.dimension != y.dimension:
        raise KernelError(f"x has {x.dimension} inputs at a step, y has {y.dimension}; they must have the same number")


def _from_array(given: Any, name: str, layout: str | None) -> Batch:
    x = values.array_of(given, name, () if layout else values.COLLECTION)
    if x.dtype == object:
        raise KernelError(f"{name} is an object array; give sequences of unlike lengths as a list of arrays (T_i, m)")
    if x.ndim not in (2, 3):
        raise KernelError(f"{name} has shape {x.shape}; give (n, T), (n, T, m), or a list of arrays (T_i, m)")
    if layout == "channels_first" and x.ndim == 3:
        x = x.transpose(0, 2, 1)
    n, steps, m = (*x.shape, 1)[:3]
    if n == 0 or steps == 0 or m == 0:
        raise KernelError(f"{name} has shape {x.shape}: it has no values; at least one sequence of one step is needed")
    return Batch(values.real(x, name).reshape(n * steps, m), np.arange(n + 1) * steps)


def _from_list(x: Sequence[Any], name: str, layout: str | None) -> Batch:
    try:
        sequences = list(x)
    except TypeError as error:
        raise KernelError(f"{name} is {type(x).__name__}; give an array (n, T, m) or a list of arrays") from error
    if not sequences:
        raise KernelError(f"{name} has no sequences; at least one is needed")
    found = [_one(sequence, f"{name}[{index}]", layout) for index, sequence in enumerate(sequences)]
    if layout is None:
        _require_no_doubt(found, name)
    return _joined(found, name)


def _one(sequence: Any, name: str, layout: str | None) -> Array:
    if np.ndim(values.array_of(sequence, name, values.SEQUENCE)) == 0:
        raise KernelError(f"{name} is one value; a sequence has shape (T,) or (T, m), a list of sequences [[...], ...]")
    found = values.real(sequence, name, () if layout else values.SEQUENCE)
    if found.ndim == 1:
        found = found[:, None]
    elif layout == "channels_first" and found.ndim == 2:
        found = np.ascontiguousarray(found.T)
    if found.ndim != 2:
        raise KernelError(f"{name} has shape {found.shape}; a sequence has shape (T,) or (T, m)")
    if found.size == 0:
        raise KernelError(f"{name} is empty (shape {found.shape}); a sequence has at least one step and one input")
    return found


def require_steps_first(x: object, name: str = "x") -> None:
    """Raises KernelError for an array (n, T, m) with more inputs than steps: (n, channels, T) is common elsewhere."""
    shape: tuple[int, ...] = getattr(x, "shape", ())
    if hasattr(x, "__array__") and len(shape) == 3 and shape[2] > shape[1]:
        raise KernelError(
            f"{name} has shape {tuple(shape)}: {shape[1]} steps of {shape[2]} inputs, or as many channels of "
            f"{shape[2]} steps? give layout='steps_first' or layout='channels_first'"
        )


def _require_no_doubt(sequences: list[Array], name: str) -> None:
    """Raises KernelError for sequences that agree in what should be steps, and differ in what should be inputs."""
    first, second = ({sequence.shape[axis] for sequence in sequences} for axis in (0, 1))
    if len(first) == 1 and len(second) > 1:
        raise KernelError(
            f"{name} has sequences of {min(first)} rows and {min(second)} to {max(second)} columns; if these are "
            "(channels, T), give layout='channels_first'; else all must have the same number of inputs"
        )


def _joined(sequences: list[Array], name: str = "x") -> Batch:
    dimension = sequences[0].shape[1]
    for index, sequence in enumerate(sequences):
        if sequence.shape[1] != dimension:
            raise KernelError(
                f"{name}[{index}] has {sequence.shape[1]} inputs at a step, {name}[0] has {dimension}; "
                "all sequences must have the same number"
            )
    offsets = np.concatenate([[0], np.cumsum([len(sequence) for sequence in sequences])]).astype(np.int64)
    return Batch(np.concatenate(sequences), offsets)


def _require_finite(made: Batch, name: str) -> None:
    bad = np.flatnonzero(~np.isfinite(made.values).all(axis=1))
    if bad.size:
        sequence = int(np.searchsorted(made.offsets, bad[0], side="right")) - 1
        step, row = int(bad[0] - made.offsets[sequence]), made.values[bad[0]]
        value = row[~np.isfinite(row)][0]
        raise KernelError(
            f"{name}: sequence {sequence} has {value} at step {step}; every value must be a finite number"
        )
