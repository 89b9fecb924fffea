"""Sequences of any lengths as one array with offsets, checked."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

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


Sequences = Batch | NDArray[Any] | Sequence[Any]


def batch(x: Sequences, name: str = "x") -> Batch:
    """A batch from a list of arrays (T_i, m) or (T_i,), or an array (n, T, m) or (n, T) of equal lengths.

    name: what messages call it. Raises KernelError: object array, no sequence, an empty one, unlike dimensions, a value
    that is not a finite number.
    """
    if isinstance(x, Batch):
        return x
    made = _from_array(x, name) if isinstance(x, np.ndarray) else _from_list(x, name)
    _require_finite(made, name)
    return made


def require_alike(x: Batch, y: Batch) -> None:
    """Raises KernelError unless both have the same number of inputs at a step."""
    if x.dimension != y.dimension:
        raise KernelError(f"x has {x.dimension} inputs at a step, y has {y.dimension}; they must have the same number")


def _from_array(x: NDArray[Any], name: str) -> Batch:
    if x.dtype == object:
        raise KernelError(f"{name} is an object array; give sequences of unlike lengths as a list of arrays (T_i, m)")
    if x.ndim not in (2, 3):
        raise KernelError(f"{name} has shape {x.shape}; give (n, T), (n, T, m), or a list of arrays (T_i, m)")
    n, steps, m = (*x.shape, 1)[:3]
    if n == 0 or steps == 0 or m == 0:
        raise KernelError(f"{name} has shape {x.shape}: it has no values; at least one sequence of one step is needed")
    return Batch(_numbers(x, name).reshape(n * steps, m), np.arange(n + 1) * steps)


def _from_list(x: Sequence[Any], name: str) -> Batch:
    try:
        sequences = list(x)
    except TypeError as error:
        raise KernelError(f"{name} is {type(x).__name__}; give an array (n, T, m) or a list of arrays") from error
    if not sequences:
        raise KernelError(f"{name} has no sequences; at least one is needed")
    return _joined([_one(sequence, f"{name}[{index}]") for index, sequence in enumerate(sequences)], name)


def _one(sequence: Any, name: str) -> Array:
    values = _numbers(sequence, name)
    values = values[:, None] if values.ndim == 1 else values
    if values.ndim != 2:
        raise KernelError(f"{name} has shape {values.shape}; a sequence has shape (T,) or (T, m)")
    if values.size == 0:
        raise KernelError(f"{name} is empty (shape {values.shape}); a sequence has at least one step and one input")
    return values


def _numbers(values: Any, name: str) -> Array:
    try:
        found = np.asarray(values)
        if found.dtype.kind not in "biuf":
            raise TypeError(f"type {found.dtype}")
        return np.ascontiguousarray(found, dtype=np.float64)
    except (TypeError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise KernelError(f"{name} cannot be read as real numbers ({reason}); give arrays of floats") from error


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
