"""What the processes of a run take before they work: Python and its libraries, Snakemake, the ranks of MPI.

And the pieces of a run whose blocks are known by their operations alone.
"""

from __future__ import annotations

import resource
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from statistics import median

from rnnlimits.plan.forecast import Item, Left, shared
from rnnlimits.plan.parts import Ensemble, Part, Step

COMMAND = (sys.executable, "-P", "-m", "rnnlimits", "schema")  # a short command, by which others are told
REFERENCE = 0.455  # its seconds on the machine of benchmarks/README.md, "What a run costs"
REPEATS = 2
# Seconds there: `rnnlimits run` itself with Snakemake, the copy of the study, a rank, a step.
RUN, COPY, RANK, STEP = 3.5, 0.96, 0.86, 1.03


@dataclass(frozen=True)
class Starts:
    """How slow this machine is at Python itself, relative to that of the constants."""

    slowness: float

    def items(self, has_parts: bool, steps: int) -> list[Item]:
        """The starts of a run: the command and Snakemake, ranks if there are parts, each step."""
        scaled = [RUN + COPY + STEP * (steps - 1), STEP]
        found = [Item("starts", self.slowness * scaled[0], 2 + steps - 1, "processes")]
        found.append(Item("starts", self.slowness * scaled[1], 1, "processes", beside=True))
        return [*found, Item("starts", self.slowness * RANK, 1, "processes", each=True)] if has_parts else found


def measure() -> Starts:
    """From the processor time of a short command."""
    return Starts(median(_seconds() for _ in range(REPEATS)) / REFERENCE)


def _seconds() -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(COMMAND, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


# Seconds there: to write a shard, to join one, to make an ensemble.
SHARD, JOIN, ENSEMBLE = 0.009, 0.002, 0.006
# Of steps of any kind of study, and for each ensemble that they read; others as OTHER.
STEPS, OTHER = {"rates": (0.35, 0.02), "figures": (0.8, 0.07), "report": (0.2, 0.02)}, (1.0, 0.0)


def of_blocks(
    parts: Sequence[Part], steps: Sequence[Step], per_operation: Callable[[Part], float], starts: Starts, left: Left
) -> list[Item]:
    """The pieces of a run whose blocks take their operations times the seconds per operation of their part."""
    found = [item for part in parts for item in _of_part(part, per_operation(part), starts, left)]
    if not found and not any(left(path) for step in steps for path in step.paths):
        return []
    files, of_steps = sum(len(part.ensembles) for part in parts), [STEPS.get(step.name, OTHER) for step in steps]
    seconds = [starts.slowness * (fixed + each * files) for fixed, each in of_steps]
    work = [Item(step.name, one) for step, one in zip(steps, seconds, strict=True)]
    return [*starts.items(bool(found), len(steps)), *found, *work]


def _of_part(part: Part, per_operation: float, starts: Starts, left: Left) -> Iterator[Item]:
    due = [ensemble for ensemble in part.ensembles if is_due(ensemble, left)]
    if not due:
        return
    blocks = [block for ensemble in due for block in ensemble.blocks if left(block.path)]
    yield shared("networks", [per_operation * block.operations for block in blocks], len(blocks), "blocks")
    yield shared("shards", [starts.slowness * SHARD] * len(blocks), len(blocks), "shards")
    joined = sum(ENSEMBLE + JOIN * len(ensemble.blocks) for ensemble in due)
    yield Item("joins", starts.slowness * joined, len(due), "files", each=True)


def is_due(ensemble: Ensemble, left: Left) -> bool:
    """Whether an ensemble, or one of its shards, is to be made."""
    return left(ensemble.output.path) or any(left(block.path) for block in ensemble.blocks)
