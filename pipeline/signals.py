"""What a rank is asked by signals while it works: SIGUSR1, save and go on; SIGTERM, save and end."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

END_CODE = 128 + signal.SIGTERM  # the exit code of a rank that ended because it was asked to


@dataclass
class Asked:
    """What was asked so far. Handlers only write it down: it is looked at where a segment of work ends."""

    saves: int = 0
    end: bool = False
    answered: bool = False  # the work ends, or has ended, because of it


@contextmanager
def heard() -> Iterator[Asked]:
    """Listen while the block runs; the handlers that were there before come back after it.

    A SIGTERM that came too late to be answered takes its usual effect then. Outside the main thread nothing is heard.
    """
    asked = Asked()
    if threading.current_thread() is not threading.main_thread():
        yield asked
        return

    def save(*_: object) -> None:
        asked.saves += 1

    def end(*_: object) -> None:
        asked.end = True

    kept = {number: signal.signal(number, act) for number, act in ((signal.SIGUSR1, save), (signal.SIGTERM, end))}
    try:
        yield asked
    finally:
        for number, handler in kept.items():
            signal.signal(number, handler)
        if asked.end and not asked.answered:
            signal.raise_signal(signal.SIGTERM)
