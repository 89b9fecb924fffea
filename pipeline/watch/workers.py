"""Who works at a study, and what went wrong, from its locks and logs."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from rnnlimits.watch.holders import Holder
from rnnlimits.watch.logs import Log
from rnnlimits.watch.moment import Failure, Run, Worker

FRESH = 60.0  # seconds: progress is written every ten, so a log that was silent for longer is not at work
STALE = 3 * FRESH  # without a sign of life on another machine for that long, nobody is thought to work there


def run_of(holders: Mapping[str, Holder], logs: Sequence[Log], now: float) -> Run:
    """The run, judged by the locks held on this machine, or by the last signs of life of another."""
    written = max((log.changed for log in logs), default=None)
    age = None if written is None else round(max(0.0, now - written), 1)
    whole = holders.get("run")
    for alive in (True, None):
        those = [holder for holder in holders.values() if holder.alive is alive]
        if those:
            chosen = whole if whole in those and whole else max(those, key=lambda holder: holder.since)
            last = max(written or 0.0, *(holder.since for holder in those))
            found = alive if alive or now - last < STALE else False
            return Run(found, chosen.host, chosen.processes, chosen.since, age)
    if whole is None:
        return Run(False, "", (), None, age)
    return Run(False, whole.host, whole.processes, whole.since, age)


def workers_of(logs: Sequence[Log], now: float, run: Run, holders: Mapping[str, Holder]) -> tuple[Worker, ...]:
    """Every command that is at work and writes a log."""
    return tuple(_worker(log, now) for log in logs if _working(log, now, run, holders))


def _working(log: Log, now: float, run: Run, holders: Mapping[str, Holder]) -> bool:
    """Whether somebody writes this log: its lock is held here, or it has moved lately."""
    if log.ended or log.ranks is None or run.alive is False:
        return False
    holder = holders.get(log.name)
    if holder is not None and holder.alive is not None:
        return holder.alive
    return now - log.changed < FRESH


def _worker(log: Log, now: float) -> Worker:
    each = log.rate / log.ranks if log.rate is not None and log.ranks else None
    age = round(max(0.0, now - log.changed), 1)
    return Worker(log.name, log.label, log.ranks, log.devices, log.share, log.unit, log.rate, each, log.left, age)


def failures_of(logs: Sequence[Log], refused: Sequence[str], settled: Collection[str], run: Run) -> tuple[Failure, ...]:
    """Refusals of the present run, then what logs say of what is not done, and logs that end without a word.

    settled: names of parts and stages that are done or at work, of which nothing is to be said.
    """
    found = [Failure("run", line) for line in refused]
    for log in logs:
        if log.name in settled or log.ended:
            continue
        if log.failure and log.failure not in refused:
            found.append(Failure(log.name, log.failure))
        elif not log.failure and log.ranks is not None and run.alive is False:
            share = f" at {log.share:.0%}" if log.share is not None else ""
            found.append(Failure(log.name, f"ended{share} without a word: killed, or its machine went down"))
    return tuple(found)
