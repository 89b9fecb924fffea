"""The choice of replicas that are computed together: stacks large enough to keep a processor or a GPU busy.

A processor's results do not depend on the stack. But cuBLAS may choose another kernel, which adds in another order, for
another number of matrices. So on a GPU a stack's replicas are a function of the cell and of the replica's index alone:
chunks of one size, starting at multiples of it, and always complete, even if some of their replicas are not needed.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import groupby

from rnnlimits.elman import plan
from rnnlimits.elman.plan import Block, Cell
from rnnlimits.kernels.interface import Backend
from rnnlimits.study.elman import RntkStudy

HOST_ENTRIES = 2**18  # entries of W at a time: their products stay in the cache
DEVICE_BYTES = 2**30  # on any GPU: enough that reading W takes longer than a launch, and few replicas are wasted


def device_size(study: RntkStudy, cell: Cell) -> int:
    """Replicas in a GPU's chunk: a power of two like a block's, so that the smaller of the two divides the other."""
    fitting = max(1.0, DEVICE_BYTES / plan.replica_bytes(study, cell))
    return int(min(plan.MOST_IN_BLOCK, 2 ** math.floor(math.log2(fitting))))


def of_block(study: RntkStudy, be: Backend, block: Block) -> Iterator[Block]:
    """The chunks with a block's replicas, in order: exactly those together, or on a GPU more (see `place`)."""
    end = block.first + block.count
    if be.on_device:
        size = device_size(study, block.cell)
        yield from (Block(block.cell, first, size) for first in range(block.first // size * size, end, size))
        return
    size = max(1, HOST_ENTRIES // block.cell.width**2)
    yield from (Block(block.cell, first, min(size, end - first)) for first in range(block.first, end, size))


def place(part: Block, whole: Block) -> slice:
    """The slice of `whole` with the replicas that are also in `part`."""
    return slice(max(0, part.first - whole.first), max(0, part.first + part.count - whole.first))


def grouped(study: RntkStudy, be: Backend, blocks: Sequence[Block]) -> list[tuple[Block, tuple[Block, ...]]]:
    """Blocks grouped for computation, each group with the block that it spans: on a GPU all those of a chunk."""

    def chunk(block: Block) -> tuple[Cell, int]:
        size = device_size(study, block.cell) if be.on_device else 1
        return block.cell, block.first // max(size, plan.block_size(study, block.cell))

    groups = [tuple(members) for _, members in groupby(blocks, chunk)]
    return [(_span(members), members) for members in groups]


def _span(blocks: Sequence[Block]) -> Block:
    first, last = blocks[0], blocks[-1]
    return Block(first.cell, first.first, last.first + last.count - first.first)
