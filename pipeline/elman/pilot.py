"""How fast this machine computes the networks of a study of the recurrent NTK: a chunk of each kind and width."""

from __future__ import annotations

import time

from rnnlimits.elman import chunks, plan, train
from rnnlimits.elman.plan import Block
from rnnlimits.kernels.interface import Backend
from rnnlimits.study import RntkStudy


def seconds_per_operation(study: RntkStudy, be: Backend) -> dict[str, float]:
    """For each pack, by name: seconds for an addition and multiplication as `plan.replica_work` counts them.

    From as many replicas of its first cell as are computed together, or as it has.
    """
    clock = time.perf_counter if be.on_device else time.process_time
    shared, found = train.World.of(study, be), dict[str, float]()
    for name, cells in plan.packs(study).items():
        whole = plan.blocks(study, cells[0])[0]
        count = next(chunks.of_block(study, be, whole)).count
        block = Block(cells[0], 0, min(count, whole.count))
        if not found:
            train.block_values(study, be, shared, block)  # compiles
        before = clock()
        train.block_values(study, be, shared, block)
        found[name] = (clock() - before) / (block.count * plan.replica_work(study, cells[0]))
    return found
