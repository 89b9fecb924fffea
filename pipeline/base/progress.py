"""Progress with a rate and the time left: one moving line on a terminal, plain lines in logs."""

from __future__ import annotations

import logging
import math
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TextIO

from rnnlimits.base.errors import StudyError

TERMINAL_SECONDS = 0.2
LOG_SECONDS = 10.0
QUIET = "RNNLIMITS_QUIET_SECONDS"
QUIET_SECONDS = 15.0  # without a line, after which one says what is being done

SIGN = ": at work for "  # within every line that is only a sign of life

_log = logging.getLogger("rnnlimits")


def log_to(path: Path | None) -> None:
    """Send progress lines to the file `path`, if given, and to stderr where that is not a terminal."""
    _log.setLevel(logging.INFO)
    if not sys.stderr.isatty():
        _log.addHandler(logging.StreamHandler(sys.stderr))
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        handler = logging.FileHandler(path, encoding="utf-8", errors="backslashreplace")
        handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
        _log.addHandler(handler)


def note(line: str) -> None:
    """Write a line to the log file only, such as the command or the ranks."""
    for handler in _log.handlers:
        if isinstance(handler, logging.FileHandler | SignsOfLife):
            handler.handle(_log.makeRecord(_log.name, logging.INFO, __name__, 0, line, (), None))


def say(line: str) -> None:
    """Write a line to stderr and to the log file."""
    print(line, file=sys.stderr, flush=True)
    note(line)


def readable_time(seconds: float) -> str:
    """A duration in readable units: 0.4 s, 42 s, 3 min 20 s, 5 h 04 min."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def quiet_seconds() -> float:
    """What the environment asks for; infinite for `off`. Raises StudyError for a value that is no such number."""
    text = os.environ.get(QUIET, "").strip()
    try:
        seconds = math.inf if text == "off" else float(text or QUIET_SECONDS)
    except ValueError:
        seconds = math.nan
    if not seconds >= 1:
        raise StudyError(f"{QUIET}: {text!r} is no number of seconds; allowed: 1 or more, off, or nothing")
    return seconds


class SignsOfLife(logging.Handler):
    """A line whenever none has come for `quiet` seconds, so that long work is told from a process that hangs."""

    def __init__(self, what: str, quiet: float = QUIET_SECONDS, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(logging.INFO)
        self._quiet, self._clock = quiet, clock
        self.file: Path | None = None
        self._heard = clock()
        self.begin(what)

    def begin(self, what: str) -> None:
        """From now on the work is `what`. The next line is due when it was: many short works may follow one another."""
        self._what, self._since = what, self._clock()

    def emit(self, record: logging.LogRecord) -> None:
        """Hear another line of progress."""
        self._heard = self._clock()

    def look(self) -> None:
        """Write a line if it is time for one: what is being done, for how long, and the file that was read last."""
        now = self._clock()
        if now - self._heard >= self._quiet:
            self._heard = now
            last = f"; last file: {self.file}" if self.file else ""
            with suppress(OSError, ValueError):  # nobody reads stderr any more
                say(f"{self._what}{SIGN}{readable_time(now - self._since)}{last}")


_signs: SignsOfLife | None = None


@contextmanager
def watched(what: str) -> Iterator[None]:
    """Give signs of life during `what`, from a thread. For one process of the command line, such as rank 0."""
    global _signs
    signs, ended = SignsOfLife(what, quiet_seconds()), threading.Event()

    def look() -> None:
        while not ended.wait(1.0):
            signs.look()

    thread = threading.Thread(target=look, daemon=True)
    _log.addHandler(signs)
    _log.setLevel(logging.INFO)
    _signs = signs
    thread.start()
    try:
        yield
    finally:
        _signs = None
        ended.set()
        thread.join()
        _log.removeHandler(signs)


def now(what: str) -> None:
    """Name the work that begins, for the signs of life; the library, which gives none, needs no care."""
    if _signs is not None:
        _signs.begin(what)


def reading(path: Path) -> None:
    """Name the file that is read, for the signs of life."""
    if _signs is not None:
        _signs.file = path


class Progress:
    """Display of how much of `total` is done. Logs get a line every ten seconds, and one at the end."""

    def __init__(self, label: str, total: int, unit: str, terminal: TextIO | None = None) -> None:
        self.label, self.total, self.unit = label, total, unit
        self._terminal = terminal if terminal is not None else sys.stderr
        self._moving = self._terminal.isatty()
        self._started = self._shown = self._logged = time.monotonic()
        self._width = 0

    def update(self, done: int, resumed: int = 0) -> None:
        """Show `done` of the total, of which an earlier run did `resumed`, if the last line is old enough."""
        now = time.monotonic()
        if self._moving and now - self._shown >= TERMINAL_SECONDS:
            self._shown = now
            self._show(self._line(done, resumed, now - self._started), "")
        if now - self._logged >= LOG_SECONDS:
            self._logged = now
            _log.info(self._line(done, resumed, now - self._started))

    def finish(self, done: int, resumed: int = 0) -> None:
        """Show the last line: the work that was done and the time it took."""
        seconds = time.monotonic() - self._started
        ours = done - resumed
        rate = f", {ours / seconds:.3g} {self.unit}/s" if ours and seconds > 0 else ""
        before = f" after {resumed:.4g} of an earlier run" if resumed else ""
        line = f"{self.label}: {ours:.4g} {self.unit} in {readable_time(seconds)}{rate}{before}"
        _log.info(line)
        if self._moving:
            self._show(line, "\n")

    def _line(self, done: int, resumed: int, seconds: float) -> str:
        share = done / self.total if self.total else 1.0
        rate = (done - resumed) / seconds if seconds > 0 else 0.0
        left = readable_time((self.total - done) / rate) if rate > 0 else "unknown time"
        return f"{self.label}: {share:4.0%}, {rate:.3g} {self.unit}/s, {left} left"

    def _show(self, line: str, end: str) -> None:
        self._terminal.write("\r" + line.ljust(self._width) + end)
        self._terminal.flush()
        self._width = len(line)
