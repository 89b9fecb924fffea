"""NumPy arrays as arguments of compiled functions."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from ctypes import c_double, c_void_p

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rnnlimits.kernels.interface import Array

_ALIGNMENT = 64  # bytes: a cache line, and the widest vector


def aligned(size: int) -> NDArray[np.uint8]:
    """`size` zero bytes that start on a cache line."""
    raw = np.zeros(size + _ALIGNMENT, dtype=np.uint8)
    shift = -raw.ctypes.data % _ALIGNMENT
    return raw[shift : shift + size]


def doubles(array: ArrayLike) -> Array:
    """The same values as contiguous float64."""
    return np.ascontiguousarray(array, dtype=np.float64)


def pointer(array: NDArray[np.generic]) -> c_void_p:
    """The address of the first value."""
    return c_void_p(array.ctypes.data)


def rows_of(array: NDArray[np.generic]) -> Iterator[c_void_p]:
    """The addresses of the rows of a contiguous array."""
    first, stride = array.ctypes.data, array.strides[0]
    return (c_void_p(first + row * stride) for row in range(len(array)))


class TrainingScalars(ctypes.Structure):
    """struct Training of src/team.h."""

    _fields_ = tuple((field, c_double) for field in ("width", "output_scale", "rate", "clip"))
