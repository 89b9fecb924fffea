"""How fast work is done, and the time left: a range between the two rates that can be had, never one number."""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.watch.moment import Estimate, Pace, PartNow, Worker

LEAST_SECONDS = 5.0  # of a run before its average says anything


def pace(unit: str, workers: Sequence[Worker], recent: int | None, since: float | None, now: float) -> Pace:
    """recent: work of shards that appeared since the run began, at `since`; None if that is not known."""
    rates = [worker.rate for worker in workers if worker.unit == unit and worker.rate]
    elapsed = now - since if since is not None else 0.0
    average = recent / elapsed if recent and elapsed >= LEAST_SECONDS else None
    return Pace(unit, sum(rates) or None, average)


def estimate(parts: Sequence[PartNow], workers: Sequence[Worker], paces: Sequence[Pace]) -> Estimate | None:
    """Time left of blocks, from the work that is left over the highest and the lowest rate; None without any rate."""
    low = high = 0.0
    of, without = [], []
    for each in paces:
        left = sum(_left(part, workers) for part in parts if part.unit == each.unit)
        if left <= 0:
            continue
        if not each.known:
            without.append(each.unit)
            continue
        of.append(each.unit)
        low += left / max(each.known)
        high += left / min(each.known)
    return Estimate(round(low, 1), round(high, 1), tuple(of), tuple(without)) if of else None


def _left(part: PartNow, workers: Sequence[Worker]) -> float:
    """Work left of a part; of one under way not more than its own log says, which knows of unfinished blocks."""
    left = float(part.work - part.work_done)
    for worker in workers:
        if worker.log == part.name and worker.rate and worker.left_seconds is not None:
            left = min(left, worker.rate * worker.left_seconds)
    return left
