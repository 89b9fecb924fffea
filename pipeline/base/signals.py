"""What a rank is asked by signals while it works: SIGUSR1, save and go on; SIGTERM or SIGINT, save and end."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass
class Asked:
    """What was asked so far. Handlers only write it down: it is looked at where a segment of work ends."""

    saves: int = 0
    end: int = 0  # the signal that asked to end
    answered: bool = False  # the work ends, or has ended, because of it


@contextmanager
def heard() -> Iterator[Asked]:
    """Listen while the block runs; the handlers that were there before come back after it.

    One that came too late to be answered takes its usual effect then, and a second SIGINT does at once. Outside the
    main thread nothing is heard.
    """
    asked = Asked()
    if threading.current_thread() is not threading.main_thread():
        yield asked
        return

    def save(_: int, __: object) -> None:
        asked.saves += 1

    def end(number: int, _: object) -> None:
        asked.end = number
        if number == signal.SIGINT:
            signal.signal(number, signal.SIG_DFL)

    actions: dict[signal.Signals, Callable[[int, object], None]] = {
        signal.SIGUSR1: save,
        signal.SIGTERM: end,
        signal.SIGINT: end,
    }
    kept = {number: signal.signal(number, act) for number, act in actions.items()}
    try:
        yield asked
    finally:
        for number, handler in kept.items():
            signal.signal(number, handler)
        if asked.end and not asked.answered:
            signal.raise_signal(asked.end)
