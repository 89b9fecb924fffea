"""Gram matrices of the recurrent NTK that exceed memory: tiles of rows over MPI ranks, one shard each, one ensemble.

A tile has whole rows even if the matrix is symmetric: twice the work of a triangle, but then the ensemble is the matrix
itself, and writing it takes longer than computing it.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from mpi4py import MPI

from rnnlimits.base.errors import StudyError
from rnnlimits.files.provenance import software
from rnnlimits.files.store import put
from rnnlimits.kernels import rntk
from rnnlimits.kernels.rntk import compiled
from rnnlimits.kernels.rntk.sequences import require_steps_first
from rnnlimits.ranks import sharded
from rnnlimits.ranks.sharded import Ensemble, Stage

TILE_BYTES = 64 << 20  # size of a shard, which is built in memory
FORMAT_OF_NUMBERS = 1  # raise it when the same input gives other bits than before
NAMES = {"ntk": "recurrent neural tangent kernel", "nngp": "covariance of the network's outputs at initialisation"}


@dataclass(frozen=True)
class Tile:
    """`count` consecutive rows, starting at `first`: the unit of work, and one shard."""

    first: int
    count: int

    @property
    def last(self) -> int:
        """The index after the last row."""
        return self.first + self.count


@dataclass(frozen=True, eq=False)
class _GramJob:
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
        """12 hexadecimal digits of everything that changes a value."""
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
        """Rows first .. last - 1 of each kernel of the job."""
        common: dict[str, Any] = {"network": self.network, "kernel": self.kernel, "dtype": self.dtype}
        common |= {"backend": self.backend, "threads": threads}
        if self.y is None:
            tiles = rntk.rows(self.x, first, last, **common)
        else:
            tiles = rntk.gram(self.x.taken(np.arange(first, last)), self.y, **common)
        return dict(zip(("ntk", "nngp"), tiles, strict=True)) if isinstance(tiles, tuple) else {self.kernel: tiles}


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

    Arguments as for gram, the same on every rank. Existing shards are kept: a run that was stopped resumes.
    Raises StudyError or KernelError, on every rank, for bad input and for shards that are damaged.
    """
    for name, given in (("x", x), ("y", y)):
        require_steps_first(given, name)
    right = None if y is None else rntk.batch(y, "y")
    job = _GramJob(rntk.batch(x, "x"), right, network or rntk.Elman(), kernel, dtype, backend)
    path = Path(folder) / "gram.h5"
    sharded.run(comm, _stage(job, path, tile_bytes, _threads(comm)))
    return path


def _stage(job: _GramJob, path: Path, tile_bytes: int, threads: int) -> Stage[Tile, None, dict[str, Any]]:
    """The tiles of one matrix. A tile counts once its shard is written; a signal does not lose a computed one."""
    shards = path.parent / "shards" / f"gram_{job.identity}"
    ensemble = Ensemble(
        kind="gram",
        path=path,
        dimension="row",
        identity={"gram_id": job.identity},
        attributes=job.attributes,
        blocks=_tiles(job, tile_bytes),
        shard=lambda tile: shards / f"rows-{tile.first:07d}-{tile.last - 1:07d}.h5",
    )
    return Stage(
        label="gram",
        unit="rows",
        be=None,
        ensembles=lambda: [ensemble],
        size=lambda tile: tile.count,
        prepare=lambda: _make_folder(shards),
        compute=lambda tile, *_: job.tile(tile.first, tile.last, threads),
        ticks=False,
        write=lambda shard, tile, matrices: _put(shard, job, tile, matrices),
        join=sharded.linked_below(path.parent),
        origin=lambda: {"backend": job.backend},
    )


def _make_folder(shards: Path) -> None:
    try:
        shards.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StudyError(f"{shards}: cannot be made: {error.strerror}; choose another folder") from error


def _threads(comm: MPI.Intracomm) -> int:
    """This rank's share of the processors that it may use. Collective."""
    node = comm.Split_type(MPI.COMM_TYPE_SHARED, comm.rank)
    try:
        return max(1, compiled.threads_or_all(None) // int(node.size))
    finally:
        node.Free()


def _tiles(job: _GramJob, tile_bytes: int) -> list[Tile]:
    matrices = 2 if job.kernel == "both" else 1
    size = max(1, tile_bytes // (job.columns * np.dtype(job.dtype).itemsize * matrices))
    return [Tile(first, min(size, len(job.x) - first)) for first in range(0, len(job.x), size)]


def _put(shard: h5py.File, job: _GramJob, tile: Tile, matrices: dict[str, Any]) -> None:
    """The variables of a shard (docs/format.md, "gram-shard")."""
    put(shard, "row", np.arange(tile.first, tile.last), ("row",), "1", "index of the sequence of x")
    put(shard, "column", np.arange(job.columns), ("column",), "1", "index of the sequence of y, or of x")
    for kernel, matrix in matrices.items():
        put(shard, kernel, matrix, ("row", "column"), "1", NAMES[kernel])
