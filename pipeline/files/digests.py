"""Content digests of variables: equal values give equal digests, however they are stored.

A variable's digest is the SHA-256 of a header, "<dtype> <shape>\\n", and then its values in C order:
numbers as little-endian bytes (dtype as NumPy writes it, "<f8"), strings (dtype "str") each as its UTF-8 length in
eight little-endian bytes and then its UTF-8 bytes. Shape is decimal, comma separated, empty for a scalar.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping

import h5py
import numpy as np
from numpy.typing import NDArray

SLAB_BYTES = 16 << 20


class RunningDigest:
    """The digest of an array that arrives in consecutive pieces along its first axis."""

    def __init__(self, dtype: np.dtype[np.generic], shape: tuple[int, ...]) -> None:
        self._hash = hashlib.sha256(f"{type_name(dtype)} {','.join(map(str, shape))}\n".encode())

    def update(self, piece: NDArray[np.generic]) -> None:
        """Add the next rows: numbers of any byte order, or an object array of str or UTF-8 bytes."""
        if piece.dtype.kind == "O":
            self._hash.update(b"".join(_framed(text) for text in piece.ravel().tolist()))
        else:
            little = piece.astype(piece.dtype.newbyteorder("<"), copy=False)
            self._hash.update(np.ascontiguousarray(little).data)

    def hexdigest(self) -> str:
        """64 hexadecimal digits."""
        return self._hash.hexdigest()


def type_name(dtype: np.dtype[np.generic]) -> str:
    """The dtype as it enters a digest: "<f8", "<i8", "|u1", ... or "str"."""
    return "str" if dtype.kind == "O" else dtype.newbyteorder("<").str


def of_array(array: NDArray[np.generic]) -> str:
    """Digest of an array in memory (see the module's text for the definition)."""
    running = RunningDigest(array.dtype, array.shape)
    running.update(array)
    return running.hexdigest()


def of_names(digests: Mapping[str, str]) -> str:
    """One digest for several variables: over (name, variable digest), sorted by name."""
    lines = "".join(f"{name} {digest}\n" for name, digest in sorted(digests.items()))
    return hashlib.sha256(lines.encode()).hexdigest()


def slabs(dataset: h5py.Dataset) -> Iterator[NDArray[np.generic]]:
    """The dataset's values in consecutive pieces along its first axis, each about SLAB_BYTES."""
    if dataset.ndim == 0:
        yield np.asarray(dataset[()], dtype=dataset.dtype)
        return
    row_bytes = dataset.dtype.itemsize * int(np.prod(dataset.shape[1:], dtype=np.int64))
    rows = max(1, SLAB_BYTES // max(1, row_bytes))
    if 0 < dataset.shape[0] <= rows:
        yield np.asarray(dataset[()], dtype=dataset.dtype)
        return
    for first in range(0, dataset.shape[0], rows):
        yield dataset[first : first + rows]


def _framed(text: str | bytes) -> bytes:
    data = text.encode() if isinstance(text, str) else text
    return len(data).to_bytes(8, "little") + data
