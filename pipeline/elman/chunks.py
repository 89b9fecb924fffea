"""Which replicas are worked on together: stacks whose products a processor, or a GPU, is busy with.

A processor's results do not depend on the stack. cuBLAS may choose another kernel, which adds in another order, for
another number of matrices. So on a GPU a stack's replicas are a function of the cell and of the replica's index alone:
chunks of one size, from multiples of it on, and always whole, also where some of their replicas are not asked for.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import groupby

from rnnlimits.elman import plan
from rnnlimits.elman.plan import Block, Cell
from rnnlimits.kernels.interface import Backend
from rnnlimits.study.elman import RntkStudy

HOST_ENTRIES = 2**18  # of W at a time: what they take part in stays in the cache
DEVICE_BYTES = 2**30  # of a GPU, whatever it has: reading W takes longer than a launch, and few replicas are wasted


def device_size(study: RntkStudy, cell: Cell) -> int:
    """Replicas in a GPU's chunk: a power of two, as blocks have, so that the smaller of the two divides the other."""
    fitting = max(1.0, DEVICE_BYTES / plan.replica_bytes(study, cell))
    return int(min(plan.MOST_IN_BLOCK, 2 ** math.floor(math.log2(fitting))))


def of_block(study: RntkStudy, be: Backend, block: Block) -> Iterator[Block]:
    """The chunks that hold a block's replicas, in order: together just those, or on a GPU more (see `place`)."""
    end = block.first + block.count
    if be.on_device:
        size = device_size(study, block.cell)
        yield from (Block(block.cell, first, size) for first in range(block.first // size * size, end, size))
        return
    size = max(1, HOST_ENTRIES // block.cell.width**2)
    yield from (Block(block.cell, first, min(size, end - first)) for first in range(block.first, end, size))


def place(part: Block, whole: Block) -> slice:
    """Where in `whole` the replicas are that `part` has as well."""
    return slice(max(0, part.first - whole.first), max(0, part.first + part.count - whole.first))


def grouped(study: RntkStudy, be: Backend, blocks: Sequence[Block]) -> list[tuple[Block, tuple[Block, ...]]]:
    """Blocks that are best computed at once, each group after what it spans: on a GPU all those of a chunk."""

    def chunk(block: Block) -> tuple[Cell, int]:
        size = device_size(study, block.cell) if be.on_device else 1
        return block.cell, block.first // max(size, plan.block_size(study, block.cell))

    groups = [tuple(members) for _, members in groupby(blocks, chunk)]
    return [(_span(members), members) for members in groups]


def _span(blocks: Sequence[Block]) -> Block:
    first, last = blocks[0], blocks[-1]
    return Block(first.cell, first.first, last.first + last.count - first.first)
