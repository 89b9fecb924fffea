"""A part of a study: what can be one job or share one, and what it costs.

Costs are those of one rank, counted from the plan. They only size jobs: an estimate that is off makes a job shorter or
longer than wanted, never wrong.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

BLOCK_SECONDS = 0.05  # of a block besides its steps: its networks are drawn, its shard is written
BASE_MEGABYTES = 400  # of a rank: Python, libraries, a path
SPARE = 1.5  # of all arrays that were counted


@dataclass(frozen=True)
class Part:
    """Work that one command does: its name on the command line, its outputs, what it takes of one rank."""

    name: str
    outputs: tuple[Path, ...]
    identity: object  # exactly what changes its outputs
    seconds: float  # all blocks, one after the other
    block_seconds: float  # the largest block
    megabytes: float  # of a rank that works on the largest block


def with_base(megabytes: float) -> float:
    """Memory of a rank whose arrays take so much."""
    return BASE_MEGABYTES + SPARE * megabytes
