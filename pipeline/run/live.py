"""One live line at the foot of a terminal while a study runs: the part at work, which of how many, and the time left.

It shows what `rnnlimits watch` knows. Lines of the stages are printed above it, but for those of progress, which it
replaces; in logs, and where stderr is no terminal, they stand as they are.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from rich.console import Console
from rich.live import Live
from rich.text import Text

from rnnlimits.base.errors import StudyError
from rnnlimits.base.progress import SIGN, readable_time
from rnnlimits.plan.parts import Experiment
from rnnlimits.watch.logs import MOVING, STAMP
from rnnlimits.watch.moment import Estimate, PartNow, Snapshot
from rnnlimits.watch.watcher import Watcher

EVERY = 1.0  # seconds between two looks
LAST_WORDS = 5.0  # seconds to wait for lines of processes that outlive the command


def line_of(seen: Snapshot) -> str:
    """What runs, part k of n, and a range of the time left, in one line."""
    running = [part for part in seen.parts if part.state == "running" and part.done < part.planned]
    done = sum(part.state == "done" for part in seen.parts)
    if running:
        place = f"part {min(done + 1, len(seen.parts))} of {len(seen.parts)}, {running[0].name}{_share(running[0])}"
        return f"{seen.study}: {place}{_left(seen.left)}"
    if seen.parts and done == len(seen.parts):
        names = list(seen.stages)
        at = next((name for name in names if seen.stages[name] != "done"), None)
        return f"{seen.study}: " + (f"step {names.index(at) + 1} of {len(names)}, {at}" if at else "finished")
    return f"{seen.study}: " + (f"{done} of {len(seen.parts)} parts are done" if done else "starting")


def _share(part: PartNow) -> str:
    cells = [cell.share for cell in part.cells]
    return f", {sum(cells) / len(cells):.0%}" if cells else ""


def _left(left: Estimate | None) -> str:
    if left is None:
        return ""
    low, high = readable_time(left.low_seconds), readable_time(left.high_seconds)
    return f"; {low} to {high} left" if low != high else f"; {high} left"


@contextmanager
def shown(stderr: IO[bytes], experiment: Experiment, console: Console) -> Iterator[None]:
    """Show the line while the block runs, and print above it what a command writes to `stderr`."""
    root, study = experiment.layout.root, Path(experiment.study.source)
    ended = threading.Event()
    with Live(Text(f"{root.name}: starting"), console=console, auto_refresh=False, transient=True) as live:
        threads = [
            threading.Thread(target=_pass_on, args=(stderr, live), daemon=True),
            threading.Thread(target=_refresh, args=(root, study, live, ended), daemon=True),
        ]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            ended.set()
            for thread in threads:
                thread.join(LAST_WORDS)


def _pass_on(stderr: IO[bytes], live: Live) -> None:
    for raw in stderr:
        line = raw.decode("utf-8", "replace").rstrip("\r\n")
        if not (MOVING.match(STAMP.sub("", line)) or SIGN in line):
            live.console.print(Text(line), soft_wrap=True)


def _refresh(root: Path, study: Path, live: Live, ended: threading.Event) -> None:
    watcher: Watcher | None = None
    while not ended.wait(EVERY):
        try:
            watcher = watcher or Watcher(root, study)
            live.update(Text(line_of(watcher.look()), overflow="ellipsis", no_wrap=True), refresh=True)
        except (StudyError, OSError):  # files are being replaced, or do not exist yet
            continue
