"""The pace of work, and the time left: always a range between two estimates, never one number.

If progress lines show a rate, the remaining work is divided by that rate and by the average rate of the whole run.
Otherwise parts are short and spend more time waiting than working. Then each remaining block takes as long as a block
took so far, or each remaining part as long as a part took so far, plus its work at the best rate so far.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rnnlimits.watch.logs import Log
from rnnlimits.watch.moment import Estimate, Pace, PartNow, Worker

LEAST_SECONDS = 5.0  # duration of a run before its average is meaningful


@dataclass(frozen=True)
class SoFar:
    """What a run has done in `seconds`: parts that ended, blocks (None: not yet counted)."""

    seconds: float
    parts: int
    blocks: int | None


def pace(unit: str, workers: Sequence[Worker], ended: Sequence[Log], recent: int | None, seconds: float) -> Pace:
    """ended: logs of this run that report a part's end; recent: work of its shards, in `seconds`; None if not known."""
    now = [worker.rate for worker in workers if worker.unit == unit and worker.rate]
    best = max((log.rate for log in ended if log.unit == unit and log.rate), default=None)
    average = recent / seconds if recent and seconds >= LEAST_SECONDS else None
    return Pace(unit, sum(now) or None, average, best)


def estimate(
    parts: Sequence[PartNow], workers: Sequence[Worker], paces: Sequence[Pace], so_far: SoFar
) -> Estimate | None:
    """Time left for all blocks; None if it cannot be estimated for any."""
    low = high = 0.0
    of: list[str] = []
    without: list[str] = []
    for each in paces:
        mine = [part for part in parts if part.unit == each.unit and part.done < part.planned]
        if not mine:
            continue
        ends = _by_rate(mine, workers, each) or _by_number(mine, each, so_far)
        (without if ends is None else of).append(each.unit)
        low, high = (low, high) if ends is None else (low + min(ends), high + max(ends))
    return Estimate(round(low, 1), round(high, 1), tuple(of), tuple(without)) if of else None


def _by_rate(parts: Sequence[PartNow], workers: Sequence[Worker], pace: Pace) -> tuple[float, float] | None:
    if not pace.now:
        return None
    remaining = sum(_left(part, workers) for part in parts)
    return remaining / pace.now, remaining / (pace.average or pace.now)


def _by_number(parts: Sequence[PartNow], pace: Pace, so_far: SoFar) -> tuple[float, float] | None:
    if not so_far.blocks or not so_far.parts or so_far.seconds < LEAST_SECONDS:
        return None
    blocks = sum(part.planned - part.done for part in parts)
    work = sum(part.work - part.work_done for part in parts) / pace.best if pace.best else 0.0
    return blocks * so_far.seconds / so_far.blocks, len(parts) * so_far.seconds / so_far.parts + work


def _left(part: PartNow, workers: Sequence[Worker]) -> float:
    """Remaining work of a part; for a running part at most what its log reports, which includes unfinished blocks."""
    remaining = float(part.work - part.work_done)
    for worker in workers:
        if worker.log == part.name and worker.rate and worker.left_seconds is not None:
            remaining = min(remaining, worker.rate * worker.left_seconds)
    return remaining
