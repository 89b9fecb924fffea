"""How fast this machine trains: about a second of the study's own training on one core."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np

from kernels.problem import Backend
from pipeline import chains
from pipeline.laws import ParameterLaw
from pipeline.plan import Block, cells
from pipeline.streams import Stream
from pipeline.study import Study
from pipeline.train import kernel_training

SECONDS = 1.0
STEPS = 256
WIDEST = 100_000  # beyond, the time of a unit-step hardly changes, but memory would


def ns_per_unit_step(study: Study, be: Backend, seconds: float = SECONDS) -> float:
    """Nanoseconds of one core for one unit in one step, paths included, at the study's cell of median cost."""
    grid = sorted(cells(study), key=lambda cell: cell.width * cell.steps_per_time * cell.replicas)
    median = grid[len(grid) // 2]
    block = Block(replace(median, width=min(median.width, WIDEST)), 0, 1)
    replica = np.zeros(1, dtype=np.uint32)
    trainer = be.trainer(kernel_training(study, block.cell), 1)
    trainer.fill_from(0, *ParameterLaw.of(study).on(be).draw(be, study.seed, replica, block.cell.width))
    path = chains.of(study).paths(be, study.seed, Stream.CHECK, replica)
    x, _, y = path.take(STEPS)
    trainer.run(x, y)  # warm: compiled, in cache
    best, end = np.inf, time.perf_counter() + seconds
    while time.perf_counter() < end:
        started = time.perf_counter()
        x, _, y = path.take(STEPS)
        trainer.run(x, y)
        best = min(best, time.perf_counter() - started)
    return float(best) / (STEPS * block.cell.width) * 1e9
