"""Saved states of blocks under way: when one is written, where, and whether one that is found may be gone on from.

A block that goes on from a saved state ends with the very bits of one that was never interrupted. So a state is used
only where sums are rounded as they were where it was saved; anything else is set aside in one line, never an error.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from numpy.typing import NDArray

from rnnlimits.base import progress
from rnnlimits.base.errors import StudyError
from rnnlimits.base.signals import Asked
from rnnlimits.chains.paths import Position
from rnnlimits.files import audit
from rnnlimits.files.seal import is_sealed
from rnnlimits.files.snapshot import Unreadable, end_of, glanced
from rnnlimits.files.store import atomic_h5, attribute_of, open_complete, put
from rnnlimits.kernels import on_processor
from rnnlimits.kernels.interface import Backend
from rnnlimits.ranks.parallel import Stopped, Tick, Ticker

VERSION = 1  # raise it when the same arrays come to mean another state
SECONDS = "RNNLIMITS_CHECKPOINT_SECONDS"
LEAST_SECONDS = 60.0  # between two saves
COST = 0.01  # of the time, at most, goes into saving
LEAVE_SECONDS = 3.0  # that saving may take when another rank failed; it aborts this one after a little more
SLOW_DISK = 1e8  # bytes per second, assumed of the first save

NUMBERS = ("chain_step", "seconds")  # root attributes beside `done`: noise that the chain has used, time spent
CHAIN_STATE = (("path", "component"), "where the chain is: H, or the number of a state, or a row of the series")

Variables = Mapping[str, tuple[tuple[str, ...], str]]  # dimensions (of numbers fewer, the first) and meaning


@dataclass(frozen=True, eq=False)
class State:
    """A block between two segments: `done` steps, NUMBERS, and NumPy arrays by the names of `Variables`."""

    done: int
    numbers: Mapping[str, int | float]
    arrays: Mapping[str, NDArray[Any]]

    @property
    def position(self) -> Position:
        """Of the chain."""
        return Position(self.arrays["chain_state"], int(self.numbers["chain_step"]))

    @property
    def bytes(self) -> int:
        """Size of the arrays."""
        return sum(array.nbytes for array in self.arrays.values())


@dataclass(frozen=True)
class Place:
    """Where a block's state is saved, and what it says of itself.

    identity: root attributes that a state must have to be this block's; about: those that only inform.
    """

    path: Path
    kind: str
    variables: Variables
    rounding: str
    identity: Mapping[str, object]
    about: Mapping[str, object]


def rounding(be: Backend) -> str:
    """What decides the last bits of a stage's results: the back end, and the processor's where probes are its work."""
    return "; ".join(dict.fromkeys([be.rounding(), on_processor(be).rounding()]))


# --- when ------------------------------------------------------------------------------------------------------


@dataclass
class Pace:
    """When one rank saves: not sooner than a minute after the last time, for less than 1% of its time, or when asked.

    every: seconds that the environment variable RNNLIMITS_CHECKPOINT_SECONDS asks for instead: 0 is after every
    segment of work, `off` is never, unless a signal asks.
    """

    every: float | None = None
    last: float = field(default_factory=lambda: time.monotonic())
    cost: float = 0.0  # seconds that the last save took
    failing: bool = False
    answered: int = 0

    @classmethod
    def of_environment(cls) -> Pace:
        """Raises StudyError for a value that is no number of seconds."""
        text = os.environ.get(SECONDS, "").strip()
        if text in ("", "off"):
            return cls(math.inf if text else None)
        try:
            every = float(text)
        except ValueError:
            every = math.nan
        if not every >= 0:
            raise StudyError(f"{SECONDS}: {text!r} is no number of seconds; allowed: 0 or more, off, or nothing")
        return cls(every)

    @property
    def interval(self) -> float:
        """Seconds between saves at present."""
        return self.every if self.every is not None else max(LEAST_SECONDS, self.cost / COST)

    def due(self, asked: Asked) -> bool:
        """Is it time to save?"""
        return asked.saves > self.answered or time.monotonic() - self.last >= self.interval

    def expected(self, state: State) -> float:
        """Seconds that saving is going to take."""
        return self.cost or state.bytes / SLOW_DISK


# --- saving and loading ----------------------------------------------------------------------------------------


class Keeper(Protocol):
    """Who is told of a block's progress, and may save its state."""

    def load(self) -> State | None:
        """The state to go on from, if there is one."""

    def resumed(self, amount: int) -> None:
        """A state was taken over; `amount` of work is behind it."""

    def passed(self, amount: int, state: Callable[[], State]) -> None:
        """A segment ended: `amount` of work was done; `state` makes what can be saved now."""


@dataclass(frozen=True)
class Forgetful:
    """Saves nothing."""

    tick: Tick

    def load(self) -> State | None:
        """See Keeper.load."""
        return None

    def resumed(self, amount: int) -> None:
        """See Keeper.resumed."""

    def passed(self, amount: int, state: Callable[[], State]) -> None:
        """See Keeper.passed."""
        self.tick(amount)


class Saver:
    """Keeps a block's state in a file, which is replaced whole each time it is saved."""

    def __init__(self, place: Place, pace: Pace, tick: Ticker) -> None:
        self._place, self._pace, self._tick, self._work = place, pace, tick, 0

    def load(self) -> State | None:
        """See Keeper.load. A state that cannot be used is deleted and said so."""
        path = self._place.path
        _remove_partial(path)
        if not path.exists():
            return None
        try:
            return self._read()
        except StudyError as error:
            if isinstance(error, Unreadable) and not isinstance(error.__cause__, PermissionError):
                raise  # nothing is wrong with the state itself, which is too good to be deleted
            reason = str(error).removeprefix(f"{path}: ").split("; ")[0]
            progress.say(f"{path}: this saved state {reason}; the block starts anew")
            forget(path)
            return None

    def _read(self) -> State:
        place = self._place
        with open_complete(place.path, place.kind, state_version=VERSION, **place.identity) as file:
            if (found := attribute_of(file, "rounding")) != place.rounding:
                raise StudyError(f"is of arithmetic that rounds otherwise ({found}, here {place.rounding})")
            numbers = {name: file.attrs[name].item() for name in NUMBERS}
            arrays = {name: file[name][()] for name in place.variables if name in file}
            return State(int(file.attrs["done"]), numbers, arrays)

    def resumed(self, amount: int) -> None:
        """See Keeper.resumed."""
        self._work += amount
        self._tick.resumed(amount)

    def passed(self, amount: int, state: Callable[[], State]) -> None:
        """See Keeper.passed. Raises Stopped, after saving, if the work is to be left."""
        self._work += amount
        try:
            self._tick(amount)
        except Stopped as stopped:
            if self._leave(state(), stopped.in_peace):
                stopped.saved += self._work
            raise
        if self._pace.due(self._tick.asked):
            self.save(state())

    def _leave(self, state: State, in_peace: bool) -> bool:
        """Save for the last time, if there is time for it."""
        # Where another rank failed, its line is the one to read: a full disk refuses the state for the same reason.
        return (in_peace or self._pace.expected(state) < LEAVE_SECONDS) and self.save(state, quietly=not in_peace)

    def save(self, state: State, quietly: bool = False) -> bool:
        """Write the state; where that fails, say so once, unless quietly, and go on. Returns whether it is saved."""
        pace, started = self._pace, time.monotonic()
        try:
            self._write(state)
            pace.failing = False
        except (StudyError, MemoryError) as error:
            reason = "not enough memory" if isinstance(error, MemoryError) else str(error).split("; ")[0]
            if not pace.failing and not quietly:
                progress.say(f"warning: {reason}; the work goes on, its state is saved later")
            pace.failing = True
        pace.last, pace.answered = time.monotonic(), self._tick.asked.saves
        pace.cost = pace.last - started
        return not pace.failing

    def _write(self, state: State) -> None:
        place = self._place
        own = {"rounding": place.rounding, "state_version": VERSION, "done": state.done, **state.numbers}
        with atomic_h5(place.path, place.kind, {**place.about, **place.identity, **own}) as file:
            for name, values in state.arrays.items():
                dims, long_name = place.variables[name]
                put(file, name, values, dims[: values.ndim], "1", long_name, compress=False)


# --- files -----------------------------------------------------------------------------------------------------


def forget(path: Path) -> None:
    """Remove a state, and what a killed writer left of one."""
    with suppress(OSError):
        path.unlink(missing_ok=True)
    _remove_partial(path)


def _remove_partial(path: Path) -> None:
    with suppress(OSError):
        for part in path.parent.glob(f".{path.name}.part-*"):
            part.unlink(missing_ok=True)


def forget_all(folder: Path) -> None:
    """Remove a folder of states whose blocks are all done, and the folder of such folders with the last one."""
    with suppress(OSError):
        for path in [*folder.glob("*.h5"), *folder.glob(".*.h5.part-*")]:
            path.unlink(missing_ok=True)
        folder.rmdir()
        folder.parent.rmdir()


def announce(found: Mapping[Path, int]) -> None:
    """Say how much of some blocks is saved; found: where their states would be, and their numbers of steps."""
    done = {path: steps for path in found if (steps := _steps_done(path))}
    if done:
        share = sum(done.values()) / sum(found[path] for path in done)
        blocks = f"{len(done)} block{'s' * (len(done) > 1)}"
        progress.say(f"going on with {blocks} from saved states, {share:.0%} of their steps done")


def _steps_done(path: Path) -> int:
    """What a state says of itself, at a glance: whoever takes its block looks closer. 0 if nothing can be seen."""
    try:
        if not is_sealed(end_of(path)):
            return 0
        with glanced(path) as file:
            return int(attribute_of(file, "done") or 0)
    except (StudyError, audit.Unsafe, *audit.DAMAGE):
        return 0
