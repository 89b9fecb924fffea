"""How fast this machine trains: about a second of the study's own training on one core."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np

from rnnlimits.base.streams import Stream
from rnnlimits.chains import paths as chains
from rnnlimits.kernels.interface import Backend
from rnnlimits.study import Study
from rnnlimits.theory.laws import ParameterLaw
from rnnlimits.training.plan import Block, block_size, cells, kernel_training

SECONDS = 1.0
STEPS = 256
WIDEST = 100_000  # beyond, the time of a unit-step hardly changes, but memory would


def ns_per_unit_step(study: Study, be: Backend, seconds: float = SECONDS) -> float:
    """Nanoseconds for one unit in one step, paths included, at the study's cell of median cost.

    A core trains one replica at a time, a GPU a whole block of replicas.
    """
    grid = sorted(cells(study), key=lambda cell: cell.width * cell.steps_per_time * cell.replicas)
    median = grid[len(grid) // 2]
    count = min(block_size(study, median), median.replicas) if be.on_device else 1
    block = Block(replace(median, width=min(median.width, WIDEST)), 0, count)
    replicas = np.arange(count, dtype=np.uint32)
    trainer = be.trainer(kernel_training(study, block.cell), count)
    trainer.fill_from(0, *ParameterLaw.of(study).on(be).draw(be, study.seed, replicas, block.cell.width))
    path = chains.of(study).paths(be, study.seed, Stream.CHECK, replicas)
    x, _, y = path.take(STEPS)
    be.numpy(trainer.run(x, y))  # warm: compiled, in cache
    best, end = np.inf, time.perf_counter() + seconds
    while time.perf_counter() < end:
        started = time.perf_counter()
        x, _, y = path.take(STEPS)
        be.numpy(trainer.run(x, y))  # copying waits for a device
        best = min(best, time.perf_counter() - started)
    return float(best) / (STEPS * block.cell.width * count) * 1e9
