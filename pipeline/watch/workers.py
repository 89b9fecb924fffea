"""The processes that work on a study, and its failures, from its locks and logs."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from rnnlimits.watch.holders import Holder
from rnnlimits.watch.logs import Log
from rnnlimits.watch.moment import Failure, Run, Worker

FRESH = 60.0  # seconds: progress is written every ten, so a log that was silent for longer is not active
STALE = 3 * FRESH  # after this time without signs of life, a run on another machine is assumed to have ended


def run_of(holders: Mapping[str, Holder], logs: Sequence[Log], now: float) -> Run:
    """The run, according to the locks held on this machine, or to the last signs of life of another machine."""
    last_change = max((log.changed for log in logs), default=None)
    age = None if last_change is None else round(max(0.0, now - last_change), 1)
    run_lock = holders.get("run")
    for alive in (True, None):
        those = [holder for holder in holders.values() if holder.alive is alive]
        if those:
            chosen = run_lock if run_lock in those and run_lock else max(those, key=lambda holder: holder.since)
            last = max(last_change or 0.0, *(holder.since for holder in those))
            is_alive = alive if alive or now - last < STALE else False
            return Run(is_alive, chosen.host, chosen.processes, chosen.since, age)
    if run_lock is None:
        return Run(False, "", (), None, age)
    return Run(False, run_lock.host, run_lock.processes, run_lock.since, age)


def workers_of(logs: Sequence[Log], now: float, run: Run, holders: Mapping[str, Holder]) -> tuple[Worker, ...]:
    """Every running command that writes a log."""
    return tuple(_worker(log, now) for log in logs if _working(log, now, run, holders))


def _working(log: Log, now: float, run: Run, holders: Mapping[str, Holder]) -> bool:
    """Whether a process writes this log: its lock is held here, or it has changed lately."""
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
    """Refusals of the present run, then failures in logs of unfinished work, and logs that end without a message.

    settled: names of parts and stages that are done or running, which are not reported.
    """
    failures = [Failure("run", line) for line in refused]
    for log in logs:
        if log.name in settled or log.ended:
            continue
        if log.failure and log.failure not in refused:
            failures.append(Failure(log.name, log.failure))
        elif not log.failure and log.ranks is not None and run.alive is False:
            share = f" at {log.share:.0%}" if log.share is not None else ""
            failures.append(Failure(log.name, f"ended{share} without a word: killed, or its machine went down"))
    return tuple(failures)
