"""What a run of a study takes on this machine, piece by piece: time of its processors, and time on the clock.

A number is an estimate from a few seconds of the same work (`training/pilot.py`) or, for the steps after the parts,
from counts; so a forecast is a range, LOW to HIGH times its number.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rnnlimits.base.tables import duration
from rnnlimits.base.tables import table as columns

LOW, HIGH = 1 / 1.5, 1.5  # of the number: what a run takes lies in between (benchmarks/README.md)
KINDS = (
    *("starts", "draws", "twins", "rich", "tangents", "trainings", "networks"),
    *("shards", "joins", "limit", "poisson", "rates", "figures", "report"),
)
PREDICTIONS = ("draws", "twins", "rich", "tangents", "limit")  # what the trainings are predicted from

Left = Callable[[Path], bool]  # whether a file is still to be made


def all_files(_: Path) -> bool:
    """Every file is to be made: a run in an empty folder."""
    return True


def missing_files(path: Path) -> bool:
    """Files that do not exist are to be made."""
    return not path.exists()


@dataclass(frozen=True)
class Item:
    """A piece of work. kind: one of KINDS; count: of what `unit` says; seconds: of one processor, for all of it.

    shared: all ranks share it; longest: seconds of its longest block, for which ranks may wait; each: every rank does
    all of it; beside: it runs beside longer work where there are two ranks.
    """

    kind: str
    seconds: float
    count: int = 1
    unit: str = ""
    shared: bool = False
    longest: float = 0.0
    each: bool = False
    beside: bool = False

    def processors(self, ranks: int) -> float:
        """Seconds of all processors together."""
        return self.seconds * (ranks if self.each else 1)

    def clock(self, ranks: int) -> float:
        """Seconds on the clock, with a processor for every rank."""
        if self.beside and ranks > 1:
            return 0.0
        return max(self.seconds / ranks, self.longest) if self.shared else self.seconds


@dataclass(frozen=True)
class Forecast:
    """All pieces of a run with so many ranks; worker: what a rank computes on, core or GPU."""

    items: tuple[Item, ...]
    ranks: int
    worker: str = "core"

    @property
    def processors(self) -> float:
        """Seconds of all processors together."""
        return sum(item.processors(self.ranks) for item in self.items)

    @property
    def seconds(self) -> float:
        """Seconds of one processor, for the work of one rank alone where all do the same."""
        return sum(item.seconds for item in self.items)

    @property
    def clock(self) -> float:
        """Seconds on the clock, if nothing else runs."""
        return sum(item.clock(self.ranks) for item in self.items)

    @property
    def count(self) -> int:
        """What is counted of all items: of one kind, a number of shards, networks, paths."""
        return sum(item.count for item in self.items)

    def by_kind(self) -> list[Forecast]:
        """The forecast of each kind that has items, in the order of KINDS; other kinds, of own steps, come last."""
        others = (item.kind for item in self.items)
        return [one for one in map(self.of, dict.fromkeys((*KINDS, *others))) if one.items]

    def of(self, *kinds: str) -> Forecast:
        """The items of some kinds."""
        return replace(self, items=tuple(one for one in self.items if one.kind in kinds))

    def table(self) -> list[str]:
        """Lines: a row for each kind, and the sum."""
        clock = f"on {_workers(self)}"
        rows = [(one.items[0].kind, _counted(one.items), *one._times()) for one in self.by_kind()]
        return columns(("work", "count", "processor", clock), [*rows, ("all of a run", "", *self._times())])

    def _times(self) -> tuple[str, str]:
        return duration(self.processors), duration(self.clock)

    def sentence(self) -> str:
        """The sum as a range, in one line."""
        processors, clock = (ranged(seconds) for seconds in (self.processors, self.clock))
        return f"{processors} of processor time, {clock} on an idle machine with {_workers(self)}"

    def document(self) -> dict[str, Any]:
        """What `plan --json` prints."""
        return {
            "ranks": self.ranks,
            "processor_seconds": self.processors,
            "clock_seconds": self.clock,
            "range": (LOW, HIGH),
            "work": [_row(one) for one in self.by_kind()],
        }


def _workers(one: Forecast) -> str:
    return f"{one.ranks} {one.worker}{'s' * (one.ranks > 1)}"


def ranged(seconds: float) -> str:
    """A range of time in words."""
    return f"{duration(LOW * seconds)} to {duration(HIGH * seconds)}"


def _row(one: Forecast) -> dict[str, Any]:
    return {
        "kind": one.items[0].kind,
        "count": one.count,
        "processor_seconds": one.processors,
        "clock_seconds": one.clock,
    }


def _counted(items: Sequence[Item]) -> str:
    count, unit = sum(item.count for item in items), items[0].unit
    return f"{count:,} {unit}" if unit else ""


def shared(kind: str, blocks: Iterable[float], count: int, unit: str) -> Item:
    """Work that the ranks share, from the seconds of its blocks."""
    seconds = list(blocks)
    return Item(kind, sum(seconds), count, unit, shared=True, longest=max(seconds, default=0.0))
