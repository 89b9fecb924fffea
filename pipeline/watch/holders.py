"""The holders of locks: names in lock files, compared with the processes of this machine. Locks are never taken."""

from __future__ import annotations

import os
import platform
import re
from dataclasses import dataclass
from pathlib import Path

from rnnlimits.watch.listing import Listing

SIGNED = re.compile(r"process (\d+)(?: or its child (\d+))? on (\S+)")
MOST_BYTES = 1000


@dataclass(frozen=True)
class Holder:
    """The process that signed a lock last. alive: whether it still holds it; None on another machine: not known."""

    name: str
    host: str
    processes: tuple[int, ...]
    since: float
    alive: bool | None


class Locks:
    """The locks of one results folder; a lock file is read again when it has been signed again."""

    def __init__(self, folder: Path, listing: Listing) -> None:
        self._folder, self._listing = folder, listing
        self._read: dict[str, tuple[int, str]] = {}

    def holders(self) -> dict[str, Holder]:
        """The last holder of each lock, by the lock's name. Lock files remain when a run ends."""
        names = sorted(name for name in self._listing.names(self._folder) if name.endswith(".lock"))
        signed = (self._holder(name) for name in names)
        return {holder.name: holder for holder in signed if holder is not None}

    def refusals(self) -> list[str]:
        """The messages with which stages of the present run were refused."""
        names = [name for name in self._listing.names(self._folder) if name.startswith("refusals-")]
        texts = (_text(self._folder / name) for name in sorted(names))
        return [line for text in texts for line in text.splitlines() if line]

    def _holder(self, file: str) -> Holder | None:
        path = self._folder / file
        try:
            signed = os.stat(path).st_mtime_ns
        except OSError:
            return None
        content = self._read.get(file)
        if content is None or content[0] != signed:
            content = (signed, _text(path))
            self._read[file] = content
        words = SIGNED.match(content[1])
        if words is None:
            return None
        processes = tuple(int(number) for number in words.groups()[:2] if number)
        alive = any(holds(number, path) for number in processes) if words[3] == platform.node() else None
        return Holder(path.stem, words[3], processes, signed / 1e9, alive)


def holds(process: int, path: Path) -> bool:
    """Whether a process of this machine has a file open; for another user's process, only whether it exists."""
    folder = f"/proc/{process}/fd"
    try:
        return any(_same(f"{folder}/{name}", path) for name in os.listdir(folder))
    except PermissionError:
        return True
    except FileNotFoundError:
        return not os.path.isdir("/proc/self") and _exists(process)


def _same(descriptor: str, path: Path) -> bool:
    try:
        return os.path.samefile(descriptor, path)
    except OSError:
        return False  # closed in the meantime, or a socket


def _exists(process: int) -> bool:
    """Whether a process exists, without /proc: signal 0 is not delivered, but only checked."""
    try:
        os.kill(process, 0)
    except PermissionError:
        return True
    except OSError:
        return False
    return True


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(MOST_BYTES).decode(errors="replace")
    except OSError:
        return ""
