"""Saved states of unfinished blocks: which exist, and how far each block has come."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import h5py

from rnnlimits.watch.listing import Listing

READS = 16  # files opened in one refresh, at most; each is opened once after each time that it is saved


class States:
    """The saved states of a study. A state is replaced by renaming, so an existing file is always complete."""

    def __init__(self, listing: Listing) -> None:
        self._listing = listing
        self._done: dict[Path, tuple[int, int | None]] = {}
        self._left = READS

    def begin(self) -> None:
        """Begin a refresh: up to READS files may be opened again."""
        self._left = READS

    def steps_done(self, folder: Path, planned: Iterable[str]) -> dict[str, int | None]:
        """Steps done by each saved state of a planned block; None if the file was not read."""
        names = self._listing.names(folder)
        return {name: self._steps(folder / name) for name in planned if name in names} if names else {}

    def _steps(self, path: Path) -> int | None:
        try:
            saved = os.stat(path).st_mtime_ns
        except OSError:
            return None
        cached = self._done.get(path)
        if cached and cached[0] == saved:
            return cached[1]
        if not self._left:
            return cached[1] if cached else None
        self._left -= 1
        steps = _done(path)
        self._done[path] = (saved, steps)
        return steps


def _done(path: Path) -> int | None:
    """The root attribute `done`, read without HDF5's lock on the file, which could block its removal."""
    try:
        with h5py.File(path, "r", locking=False) as file:
            return int(file.attrs["done"])
    except (OSError, KeyError, RuntimeError, TypeError, ValueError):
        return None  # deleted in the meantime, or damaged: the stage that resumes from it will report that
