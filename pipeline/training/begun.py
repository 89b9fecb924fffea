"""The blocks of a cell and of twins as their shards were begun, where the study does not name their size.

Shards that another version, or another value of training.replicas_per_block, has left are so kept and gone on from.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from pathlib import Path

from rnnlimits.study import Study
from rnnlimits.training import plan
from rnnlimits.training.layout import Layout
from rnnlimits.training.plan import Block, Cell, Twin, TwinBlock

SHARD = re.compile(r"(?:replicas|paths)-(\d+)-(\d+)\.h5")  # of rows from the first to the last


def blocks(study: Study, layout: Layout, cell: Cell, cell_id: str) -> tuple[Block, ...]:
    """The blocks of a cell, in order."""
    return plan.blocks(study, cell, _size(study, layout.shard_folder(cell, cell_id), cell.replicas))


def twin_blocks(study: Study, layout: Layout, twin: Twin, twin_id: str) -> tuple[TwinBlock, ...]:
    """The blocks of the twins of one K, in order."""
    return plan.twin_blocks(study, twin, _size(study, layout.twin_folder(twin, twin_id), twin.paths))


def _size(study: Study, folder: Path, count: int) -> int | None:
    return None if study.training.replicas_per_block is not None else size_begun(folder, count)


def size_begun(folder: Path, count: int) -> int | None:
    """The size of blocks that covers most rows of the shards in a folder; None without shards.

    count: number of all rows. The last block may be smaller than the others, and says nothing unless it is alone.
    """
    try:
        names = os.listdir(folder)
    except (FileNotFoundError, NotADirectoryError):
        return None
    covered: Counter[int] = Counter()
    for first, last in (map(int, found.groups()) for name in names if (found := SHARD.fullmatch(name))):
        size = last - first + 1
        if size > 0 and first % size == 0 and (first == 0 or last + 1 < count):
            covered[size] += size
    return max(covered, key=lambda size: (covered[size], size), default=None)
