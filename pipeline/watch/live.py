"""`rnnlimits watch`: the screen that renews itself, one snapshot where there is no terminal, or lines of JSON."""

from __future__ import annotations

import json
import select
import shutil
import sys
import termios
import time
import tty
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.live import Live

from rnnlimits.watch.moment import Snapshot
from rnnlimits.watch.screen import screen
from rnnlimits.watch.watcher import Watcher

KEYS = "q ends the view, not the run"


def watch(root: Path, study: Path | None, every: float, once: bool, as_json: bool) -> None:
    """Show the study in `root` every so many seconds, until it is finished, or until q or an interrupt.

    Raises StudyError if `root` is no results folder.
    """
    watcher = Watcher(root, study)
    if as_json:
        _lines(watcher, every, once)
        return
    size = shutil.get_terminal_size((100, 24))
    terminal = sys.stdout.isatty()
    console = Console(highlight=False, soft_wrap=False) if terminal else Console(highlight=False, width=size.columns)
    if terminal and not once and not console.is_dumb_terminal:
        _live(watcher, every, console)
    else:
        console.print(screen(watcher.look(), console))


def _lines(watcher: Watcher, every: float, once: bool) -> None:
    """A line of JSON for each look, the last one when the study is finished."""
    while True:
        seen = watcher.look()
        print(json.dumps(seen.plain(), allow_nan=False), flush=True)
        if once or seen.state == "finished":
            return
        time.sleep(every)


def _live(watcher: Watcher, every: float, console: Console) -> None:
    seen = watcher.look()
    with _keys(), Live(console=console, screen=True, auto_refresh=False) as live:
        while seen.state != "finished":
            live.update(screen(seen, console, console.height, KEYS), refresh=True)
            if _asked_to_end(every):
                break
            seen = watcher.look()
    _leave(seen, console)


def _leave(seen: Snapshot, console: Console) -> None:
    """The last moment stays on the terminal when the screen is given back."""
    console.print(screen(seen, console, console.height))


@contextmanager
def _keys() -> Iterator[None]:
    """Single keys are read as they are pressed, and not shown."""
    if not sys.stdin.isatty():
        yield
        return
    kept = termios.tcgetattr(sys.stdin)
    try:
        tty.setcbreak(sys.stdin)
        yield
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, kept)


def _asked_to_end(seconds: float) -> bool:
    """Wait so long, or until q is pressed."""
    if not sys.stdin.isatty():
        time.sleep(seconds)
        return False
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        ready, _, _ = select.select([sys.stdin], [], [], left)
        if ready and sys.stdin.read(1) in ("q", "Q", ""):
            return True
    return False
