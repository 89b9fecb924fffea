"""Progress with a rate and the time left: one moving line on a terminal, plain lines in a log."""

from __future__ import annotations

import sys
import time
from typing import TextIO

TERMINAL_SECONDS = 0.2
LOG_SECONDS = 10.0


def readable_time(seconds: float) -> str:
    """Seconds as people say them: 42 s, 3 min 20 s, 5 h 04 min."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


class Progress:
    """Shows how much of `total` is done. Quiet work: a log gets a line every ten seconds and one at the end."""

    def __init__(self, label: str, total: int, unit: str, stream: TextIO | None = None) -> None:
        self.label, self.total, self.unit = label, total, unit
        self.stream = stream if stream is not None else sys.stderr
        self._started = self._shown = time.monotonic()
        self._terminal = self.stream.isatty()
        self._width = 0

    def update(self, done: int) -> None:
        """Show `done` of the total if the last line is old enough."""
        now = time.monotonic()
        if now - self._shown >= (TERMINAL_SECONDS if self._terminal else LOG_SECONDS):
            self._shown = now
            self._write(self._line(done, now - self._started), end="" if self._terminal else "\n")

    def finish(self, done: int) -> None:
        """The last line: what was done and how long it took."""
        seconds = time.monotonic() - self._started
        rate = f", {done / seconds:.3g} {self.unit}/s" if done and seconds > 0 else ""
        self._write(f"{self.label}: {done:.4g} {self.unit} in {readable_time(seconds)}{rate}", end="\n")

    def _line(self, done: int, seconds: float) -> str:
        share = done / self.total if self.total else 1.0
        left = readable_time(seconds / share - seconds) if share > 0 else "unknown"
        rate = done / seconds if seconds > 0 else 0.0
        return f"{self.label}: {share:4.0%}, {rate:.3g} {self.unit}/s, {left} left"

    def _write(self, line: str, end: str) -> None:
        start = "\r" if self._terminal else ""
        padding = " " * max(0, self._width - len(line))
        self.stream.write(start + line + padding + end)
        self.stream.flush()
        self._width = len(line) if end == "" else 0
