"""Gram matrices of the recurrent NTK that exceed memory: tiles of rows over MPI ranks, a shard each, one ensemble.

A tile holds whole rows, also of a symmetric matrix: twice the work of a triangle, but then the ensemble is the matrix,
and writing it takes longer than computing it.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from mpi4py import MPI

from rnnlimits.base.errors import StudyError
from rnnlimits.files.ensembles import build_ensemble
from rnnlimits.files.provenance import software
from rnnlimits.files.store import atomic_h5, open_complete, put
from rnnlimits.kernels import rntk
from rnnlimits.kernels.rntk import compiled
from rnnlimits.ranks.parallel import Tick, each_block, on_root

TILE_BYTES = 64 << 20  # of a shard: it is built in memory
FORMAT_OF_NUMBERS = 1  # another number where the same input gives other bits
NAMES = {"ntk": "recurrent neural tangent kernel", "nngp": "covariance of the network's outputs at initialisation"}


@dataclass(frozen=True, eq=False)
class _Asked:
    """One Gram matrix: x with itself, or with y."""

    x: rntk.Batch
    y: rntk.Batch | None
    network: rntk.Elman
    kernel: str
    dtype: str
    backend: str

    @property
    def columns(self) -> int:
        return len(self.x if self.y is None else self.y)

    @property
    def identity(self) -> str:
        """12 hexadecimal digits of all that changes a value."""
        about = [FORMAT_OF_NUMBERS, asdict(self.network), self.kernel, self.dtype, self.y is None]
        digest = hashlib.sha256(json.dumps(about, sort_keys=True).encode())
        for batch in (self.x, *([] if self.y is None else [self.y])):
            digest.update(np.ascontiguousarray(batch.offsets, dtype="<i8").tobytes() + batch.values.tobytes())
        return digest.hexdigest()[:12]

    def attributes(self) -> dict[str, object]:
        """Root attributes of shards and ensemble."""
        network = json.dumps(asdict(self.network), sort_keys=True)
        return {**software(), "gram_id": self.identity, "network": network, "precision": self.dtype}

    def tile(self, first: int, last: int, threads: int) -> dict[str, Any]:
        """Rows first .. last - 1 of each kernel asked for."""
        common: dict[str, Any] = {"network": self.network, "kernel": self.kernel, "dtype": self.dtype}
        common |= {"backend": self.backend, "threads": threads}
        if self.y is None:
            found = rntk.rows(self.x, first, last, **common)
        else:
            found = rntk.gram(self.x.taken(np.arange(first, last)), self.y, **common)
        return dict(zip(("ntk", "nngp"), found, strict=True)) if isinstance(found, tuple) else {self.kernel: found}


def gram_to(
    folder: Path,
    x: Any,
    y: Any = None,
    *,
    network: rntk.Elman | None = None,
    kernel: str = "ntk",
    dtype: str = "float64",
    backend: str = "auto",
    comm: MPI.Intracomm = MPI.COMM_WORLD,
    tile_bytes: int = TILE_BYTES,
) -> Path:
    """Write the matrix of rnnlimits.kernels.rntk.gram to `folder`/gram.h5, and return that path. Collective.

    Arguments as of gram; every rank gives the same. Shards that are there already are kept: a run that was stopped goes
    on. Raises StudyError or KernelError, on every rank, for bad input and for shards that are damaged.
    """
    right = None if y is None else rntk.batch(y, "y")
    asked = _Asked(rntk.batch(x, "x"), right, network or rntk.Elman(), kernel, dtype, backend)
    threads = _threads(comm)
    tiles = _tiles(asked, tile_bytes)
    shards = Path(folder) / "shards" / f"gram_{asked.identity}"
    missing = on_root(comm, lambda: _missing(asked, shards, tiles))

    def work(index: int, tick: Tick) -> None:
        first, last = missing[index]
        _write_shard(asked, shards, first, last, threads)
        tick(last - first)

    each_block(comm, [last - first for first, last in missing], work, "gram", "rows")
    path = Path(folder) / "gram.h5"
    on_root(comm, lambda: _write_ensemble(asked, Path(folder), shards, tiles, path))
    return path


def _threads(comm: MPI.Intracomm) -> int:
    """This rank's share of the processors that it may use. Collective."""
    node = comm.Split_type(MPI.COMM_TYPE_SHARED, comm.rank)
    try:
        return max(1, compiled.threads_or_all(None) // int(node.size))
    finally:
        node.Free()


def _tiles(asked: _Asked, tile_bytes: int) -> list[tuple[int, int]]:
    matrices = 2 if asked.kernel == "both" else 1
    size = max(1, tile_bytes // (asked.columns * np.dtype(asked.dtype).itemsize * matrices))
    return [(first, min(first + size, len(asked.x))) for first in range(0, len(asked.x), size)]


def _shard(shards: Path, first: int, last: int) -> Path:
    return shards / f"rows-{first:07d}-{last - 1:07d}.h5"


def _missing(asked: _Asked, shards: Path, tiles: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """The tiles without a shard; a shard that is there must be whole and the right one."""
    missing = []
    for first, last in tiles:
        path = _shard(shards, first, last)
        if not path.exists():
            missing.append((first, last))
            continue
        with open_complete(path, "gram-shard", gram_id=asked.identity, first=first, count=last - first):
            pass
    return missing


def _write_shard(asked: _Asked, shards: Path, first: int, last: int, threads: int) -> None:
    """Write the tile's shard, complete or not at all."""
    found = asked.tile(first, last, threads)
    try:
        shards.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StudyError(f"{shards}: cannot be made: {error.strerror}; choose another folder") from error
    about = {"first": first, "count": last - first, "backend": asked.backend}
    with atomic_h5(_shard(shards, first, last), "gram-shard", {**asked.attributes(), **about}) as file:
        put(file, "row", np.arange(first, last), ("row",), "1", "index of the sequence of x")
        put(file, "column", np.arange(asked.columns), ("column",), "1", "index of the sequence of y, or of x")
        for kernel, matrix in found.items():
            put(file, kernel, matrix, ("row", "column"), "1", NAMES[kernel])


def _write_ensemble(asked: _Asked, root: Path, shards: Path, tiles: list[tuple[int, int]], path: Path) -> None:
    parts, expected = [_shard(shards, *tile) for tile in tiles], {"gram_id": asked.identity}
    build_ensemble(root, parts, path, "gram-ensemble", asked.attributes(), expected, dimension="row")
