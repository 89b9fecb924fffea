"""Requests to a rank by signals while it works: SIGUSR1, save and continue; SIGTERM or SIGINT, save and end."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass
class Asked:
    """Requests received so far. Handlers only record them; they are checked where a segment of work ends."""

    saves: int = 0
    end: int = 0  # the signal that requested the end
    answered: bool = False  # whether the work ends, or has ended, because of it


@contextmanager
def heard() -> Iterator[Asked]:
    """Record signals while the block runs; the previous handlers are restored after it.

    A signal that came too late to be answered then has its usual effect; a second SIGINT has it at once. Outside the
    main thread no signals are recorded.
    """
    requests = Asked()
    if threading.current_thread() is not threading.main_thread():
        yield requests
        return

    def save(_: int, __: object) -> None:
        requests.saves += 1

    def end(number: int, _: object) -> None:
        requests.end = number
        if number == signal.SIGINT:
            signal.signal(number, signal.SIG_DFL)

    actions: dict[signal.Signals, Callable[[int, object], None]] = {
        signal.SIGUSR1: save,
        signal.SIGTERM: end,
        signal.SIGINT: end,
    }
    previous = {number: signal.signal(number, act) for number, act in actions.items()}
    try:
        yield requests
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
        if requests.end and not requests.answered:
            signal.raise_signal(requests.end)
