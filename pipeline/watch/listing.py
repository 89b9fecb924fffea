"""Cached names in folders: one `stat` per folder and refresh, and a listing only if something has changed."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from pathlib import Path

STATS = 1000  # calls for files in one refresh, at most: the rest follows in later refreshes
GRAIN = 2.0  # seconds within which a second change of a folder may not change its time stamp


class Listing:
    """The contents of folders. Files that vanish in the meantime are ignored."""

    def __init__(self) -> None:
        self._cache: dict[Path, tuple[int, float, frozenset[str]]] = {}
        self._times: dict[Path, dict[str, float]] = {}
        self._looked: set[Path] = set()
        self._left = STATS

    def begin(self) -> None:
        """Begin a refresh: folders are read again, once each, and the times of STATS files may be read."""
        self._looked.clear()
        self._left = STATS

    def names(self, folder: Path) -> frozenset[str]:
        """Names of the finished files in a folder: hidden ones are unfinished. The same throughout a refresh."""
        cached = self._cache.get(folder)
        if folder in self._looked:
            return cached[2] if cached else frozenset()
        self._looked.add(folder)
        try:
            changed = os.stat(folder).st_mtime_ns
            if cached and cached[0] == changed and cached[1] - changed / 1e9 > GRAIN:
                return cached[2]
            now = time.time()
            names = frozenset(name for name in os.listdir(folder) if not name.startswith("."))
        except OSError:
            self._cache.pop(folder, None)
            return frozenset()
        self._cache[folder] = (changed, now, names)
        return names

    def changed_since(self, folder: Path, moment: float) -> bool:
        """Whether anything was added to a folder, listed before, since that moment."""
        cached = self._cache.get(folder)
        return cached is not None and cached[0] / 1e9 >= moment - 1.0

    def times(self, folder: Path, names: Iterable[str]) -> dict[str, float] | None:
        """The times when these files appeared, each read once; None as long as too many have not been read."""
        times_of = self._times.setdefault(folder, {})
        unread = [name for name in names if name not in times_of]
        for name in unread[: self._left]:
            try:
                times_of[name] = os.stat(folder / name).st_mtime
            except OSError:
                continue  # deleted since the listing
        missing = len(unread) > self._left
        self._left -= min(self._left, len(unread))
        return None if missing else times_of
