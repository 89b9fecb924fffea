"""What a study of the recurrent NTK runs: cells, packs, blocks, their identities, their cost."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, Literal

from rnnlimits.kernels.rntk.network import Elman
from rnnlimits.plan.grid import by_pack
from rnnlimits.study.elman import RntkStudy
from rnnlimits.study.identity import RANDOMNESS_VERSION, identity

Kind = Literal["kernel", "descent"]
KINDS: tuple[Kind, ...] = ("kernel", "descent")
Ladder = Literal["fluctuation", "bias", "training"]
SECTIONS: dict[Ladder, Kind] = {"fluctuation": "kernel", "bias": "kernel", "training": "descent"}
BLOCK_WORK = 2**33  # of a block: some seconds, the time that a killed run loses
MOST_IN_BLOCK = 2**14
NORMAL = 40  # cost of a normal number, in multiplications
COLUMN = 60  # cost of a unit of a layer at a step, in addition to products of matrices
FILE_OVERHEAD = 20_000


@dataclass(frozen=True)
class Cell:
    """`replicas` independent networks of one kind at one width: kernels at initialisation, or descents."""

    kind: Kind
    network: str
    width: int
    replicas: int

    @property
    def pack(self) -> str:
        """The name of its pack, such as kernel-n00128: all cells of one kind and width, which one workflow job runs."""
        return f"{self.kind}-n{self.width:05d}"


@dataclass(frozen=True)
class Block:
    """`count` consecutive replicas of a cell, starting at `first`: the unit of work and of restart, and one shard."""

    cell: Cell
    first: int
    count: int

    @property
    def name(self) -> str:
        """Its name, such as replicas-000000-000015, both ends included."""
        return f"replicas-{self.first:06d}-{self.first + self.count - 1:06d}"


def elman(study: RntkStudy, cell: Cell) -> Elman:
    """The network of a cell."""
    (found,) = (named.elman for named in study.elmans if named.name == cell.network)
    return found


def cells(study: RntkStudy) -> tuple[Cell, ...]:
    """Every cell once, sorted by kind and width; a cell listed twice gets the larger number of replicas."""
    replicas_of: dict[tuple[Kind, int, str], int] = {}
    for named in study.elmans:
        for section, kind in SECTIONS.items():
            ladder = study.ladder(section, named)
            for width, replicas in ladder.rungs() if ladder else ():
                point = (kind, width, named.name)
                replicas_of[point] = max(replicas, replicas_of.get(point, 0))
    names = [named.name for named in study.elmans]
    order = sorted(replicas_of, key=lambda point: (KINDS.index(point[0]), point[1], names.index(point[2])))
    return tuple(Cell(kind, name, width, replicas_of[kind, width, name]) for kind, width, name in order)


def packs(study: RntkStudy) -> dict[str, tuple[Cell, ...]]:
    """The cells by pack, in the order of `cells`."""
    return by_pack(cells(study))


def block_size(study: RntkStudy, cell: Cell) -> int:
    """Replicas in a block: a power of two, some seconds of work whatever the width."""
    fitting = max(1.0, BLOCK_WORK / replica_work(study, cell))
    return int(min(MOST_IN_BLOCK, 2 ** math.floor(math.log2(fitting))))


def blocks(study: RntkStudy, cell: Cell) -> tuple[Block, ...]:
    """The cell's replicas cut into blocks, in order; the last may be smaller."""
    size = block_size(study, cell)
    starts = range(0, cell.replicas, size)
    return tuple(Block(cell, first, min(size, cell.replicas - first)) for first in starts)


def replica_work(study: RntkStudy, cell: Cell) -> int:
    """Approximate number of additions and multiplications for one replica."""
    layers, n, columns = elman(study, cell).layers, cell.width, sum(study.sequences.lengths)
    matrices = (2 * layers - 1) * n**2
    kernel = matrices * (4 * columns + NORMAL) + n * columns * (2 * columns * (2 * layers + 1) + COLUMN * layers)
    if cell.kind == "kernel" or study.training is None:
        return kernel
    return kernel + study.training.steps * (6 * matrices * columns + COLUMN * layers * n * columns)


def replica_bytes(study: RntkStudy, cell: Cell) -> int:
    """Approximate memory of a replica during its computation: weights, layers at all columns, sums over pairs.

    In addition to the weights one more matrix: normals in double precision, a transposed W, or its gradient.
    """
    layers, n, columns = elman(study, cell).layers, cell.width, sum(study.sequences.lengths)
    real = 4 if study.precision == "float32" else 8
    matrices = ((2 * layers - 1) * real + 8) * n**2
    return matrices + real * (4 * layers + 4) * n * columns + 8 * 7 * columns**2


# --- identities --------------------------------------------------------------------------------------------


def cell_id(study: RntkStudy, cell: Cell) -> str:
    """12 hexadecimal digits of exactly what changes the numbers of a replica of the cell."""
    return identity({**_world(study), **_of_kind(study, cell.kind), **_point(study, cell)})


def study_id(study: RntkStudy) -> str:
    """12 hexadecimal digits of what changes any result of the study."""
    return study.identity


def _world(study: RntkStudy) -> dict[str, Any]:
    values = study.model_dump(mode="json", include={"experiment", "seed", "precision", "sequences"})
    return {**values, "randomness": RANDOMNESS_VERSION}


def _of_kind(study: RntkStudy, kind: Kind) -> dict[str, Any]:
    if kind == "kernel" or study.training is None:
        return {"kind": kind}
    return {"kind": kind, "training": study.training.model_dump(mode="json", include={"trained", "steps", "rate"})}


def _point(study: RntkStudy, cell: Cell) -> dict[str, Any]:
    return {"network": asdict(elman(study, cell)), "width": cell.width}


# --- costs -------------------------------------------------------------------------------------------------


def output_bytes(cell: Cell, study: RntkStudy) -> int:
    """Estimated size of the cell's shards, uncompressed."""
    count = len(study.sequences.lengths)
    values = 2 + (count * (count + 1) if cell.kind == "kernel" else 3 * count)
    return 8 * values * cell.replicas + FILE_OVERHEAD * len(blocks(study, cell))


def pairs(study: RntkStudy) -> Iterator[tuple[int, int]]:
    """Pairs of sequences (first, second), first <= second, in the order in which they are stored."""
    count = len(study.sequences.lengths)
    return ((first, second) for first in range(count) for second in range(first, count))
