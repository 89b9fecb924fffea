"""`rnnlimits watch`: a screen that refreshes itself, one snapshot without a terminal, or lines of JSON."""

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
    """Show the study in `root` every `every` seconds, until it is finished, or until q or an interrupt.

    Raises StudyError if `root` is not a results folder.
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
    """Print a line of JSON for each refresh, the last one when the study is finished."""
    while True:
        snapshot = watcher.look()
        print(json.dumps(snapshot.plain(), allow_nan=False), flush=True)
        if once or snapshot.state == "finished":
            return
        time.sleep(every)


def _live(watcher: Watcher, every: float, console: Console) -> None:
    snapshot = watcher.look()
    with _keys(), Live(console=console, screen=True, auto_refresh=False) as live:
        while snapshot.state != "finished":
            live.update(screen(snapshot, console, console.height, KEYS), refresh=True)
            if _quit_pressed(every):
                break
            snapshot = watcher.look()
    _leave(snapshot, console)


def _leave(snapshot: Snapshot, console: Console) -> None:
    """Leave the last snapshot on the terminal after the screen is restored."""
    console.print(screen(snapshot, console, console.height))


@contextmanager
def _keys() -> Iterator[None]:
    """Read single keys as they are pressed, without showing them."""
    if not sys.stdin.isatty():
        yield
        return
    settings = termios.tcgetattr(sys.stdin)
    try:
        tty.setcbreak(sys.stdin)
        yield
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, settings)


def _quit_pressed(seconds: float) -> bool:
    """Wait for `seconds`, or until q is pressed; returns whether it was."""
    if not sys.stdin.isatty():
        time.sleep(seconds)
        return False
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        ready, _, _ = select.select([sys.stdin], [], [], left)
        if ready and sys.stdin.read(1) in ("q", "Q", ""):
            return True
    return False
