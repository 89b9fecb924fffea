"""A snapshot of a study in plain values: what the screen shows and what --json prints."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any


@dataclass(frozen=True)
class CellNow:
    """One cell. saved: blocks with a saved state; share: of the work, including saved states that were read."""

    name: str
    planned: int
    done: int
    saved: int
    share: float


@dataclass(frozen=True)
class PartNow:
    """One part. state: done, running, waiting, partial (begun, but no process works on it)."""

    name: str
    state: str
    unit: str
    planned: int
    done: int
    saved: int
    work: int
    work_done: int
    cells: tuple[CellNow, ...]


@dataclass(frozen=True)
class Worker:
    """One running command, as reported in its log. rate: in units per second; per_rank: rate divided by its ranks."""

    log: str
    what: str
    ranks: int | None
    devices: str
    share: float | None
    unit: str
    rate: float | None
    per_rank: float | None
    left_seconds: float | None
    log_age_seconds: float


@dataclass(frozen=True)
class Failure:
    """A failure, in one line; where: the log, or `run` for a line of the whole workflow."""

    where: str
    line: str


@dataclass(frozen=True)
class Run:
    """The process that runs the study. alive: None if only another machine could know."""

    alive: bool | None
    host: str
    processes: tuple[int, ...]
    since: float | None
    last_sign_seconds: float | None


@dataclass(frozen=True)
class Pace:
    """Units per second. now: of the running commands, from their logs; average: of this run up to now.

    The average counts finished shards over all the time since the run began: starts, draws and waiting included.
    best: of a complete part of this run, without its start.
    """

    unit: str
    now: float | None
    average: float | None
    best: float | None


@dataclass(frozen=True)
class Estimate:
    """Seconds left for the units in `of`; `without`: units with remaining work that have no estimate yet."""

    low_seconds: float
    high_seconds: float
    of: tuple[str, ...]
    without: tuple[str, ...]


@dataclass(frozen=True)
class Snapshot:
    """A study at one moment. state: not started, running, stopped or finished; stale: files of another study."""

    study: str
    folder: str
    experiment: str
    time: float
    state: str
    run: Run
    stages: Mapping[str, str]
    parts: tuple[PartNow, ...] = ()
    workers: tuple[Worker, ...] = ()
    pace: tuple[Pace, ...] = ()
    left: Estimate | None = None
    failures: tuple[Failure, ...] = ()
    stale: tuple[str, ...] = ()
    look_seconds: float = 0.0

    def taking(self, seconds: float) -> Snapshot:
        """The same snapshot, with the time that it took."""
        return replace(self, look_seconds=round(seconds, 4))

    @property
    def blocks(self) -> tuple[int, int]:
        """Done and planned, of all parts."""
        return sum(part.done for part in self.parts), sum(part.planned for part in self.parts)

    @property
    def cells(self) -> tuple[int, int]:
        """Done and planned, of all parts."""
        cells = [cell for part in self.parts for cell in part.cells]
        return sum(cell.done == cell.planned for cell in cells), len(cells)

    def plain(self) -> dict[str, Any]:
        """For --json: docs/watch-and-compare.md describes the keys."""
        (cells_done, cells), (done, blocks) = self.cells, self.blocks
        totals = {"cells_done": cells_done, "cells": cells, "blocks_done": done, "blocks": blocks}
        return {**asdict(self), **totals}
