"""Names in folders, remembered: one `stat` a folder and refresh, and a listing only where something has changed."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from pathlib import Path

STATS = 1000  # of files in one refresh, at most: the rest comes with the next ones
GRAIN = 2.0  # seconds within which a second change of a folder may leave its time as it is


class Listing:
    """What lies in folders. Whatever vanishes meanwhile is simply not there."""

    def __init__(self) -> None:
        self._known: dict[Path, tuple[int, float, frozenset[str]]] = {}
        self._times: dict[Path, dict[str, float]] = {}
        self._looked: set[Path] = set()
        self._left = STATS

    def begin(self) -> None:
        """A refresh begins: folders are looked at again, once each, and STATS files may be asked for their times."""
        self._looked.clear()
        self._left = STATS

    def names(self, folder: Path) -> frozenset[str]:
        """Names of the finished files in a folder: hidden ones are under way. The same throughout a refresh."""
        known = self._known.get(folder)
        if folder in self._looked:
            return known[2] if known else frozenset()
        self._looked.add(folder)
        try:
            changed = os.stat(folder).st_mtime_ns
            if known and known[0] == changed and known[1] - changed / 1e9 > GRAIN:
                return known[2]
            now = time.time()
            names = frozenset(name for name in os.listdir(folder) if not name.startswith("."))
        except OSError:
            self._known.pop(folder, None)
            return frozenset()
        self._known[folder] = (changed, now, names)
        return names

    def changed_since(self, folder: Path, moment: float) -> bool:
        """Whether anything was added to a folder since then; of a folder listed before."""
        known = self._known.get(folder)
        return known is not None and known[0] / 1e9 >= moment - 1.0

    def times(self, folder: Path, names: Iterable[str]) -> dict[str, float] | None:
        """When each of these files appeared, each asked for once; None as long as too many have not been asked."""
        found = self._times.setdefault(folder, {})
        wanted = [name for name in names if name not in found]
        for name in wanted[: self._left]:
            try:
                found[name] = os.stat(folder / name).st_mtime
            except OSError:
                continue  # gone since the listing
        missing = len(wanted) > self._left
        self._left -= min(self._left, len(wanted))
        return None if missing else found
