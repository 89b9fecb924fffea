"""Saved states of blocks under way: which there are, and how far into its block each one is."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import h5py

from rnnlimits.watch.listing import Listing

READS = 16  # files opened in one refresh, at most; each is opened once each time that it was saved


class States:
    """The saved states of a study. A state is replaced whole by rename: what lies there is never being written."""

    def __init__(self, listing: Listing) -> None:
        self._listing = listing
        self._done: dict[Path, tuple[int, int | None]] = {}
        self._left = READS

    def begin(self) -> None:
        """A refresh begins: as many files as READS may be opened again."""
        self._left = READS

    def found(self, folder: Path, planned: Iterable[str]) -> dict[str, int | None]:
        """Steps done by each saved state of a planned block; None where the file was not looked into."""
        names = self._listing.names(folder)
        return {name: self._steps(folder / name) for name in planned if name in names} if names else {}

    def _steps(self, path: Path) -> int | None:
        try:
            saved = os.stat(path).st_mtime_ns
        except OSError:
            return None
        known = self._done.get(path)
        if known and known[0] == saved:
            return known[1]
        if not self._left:
            return known[1] if known else None
        self._left -= 1
        steps = _done(path)
        self._done[path] = (saved, steps)
        return steps


def _done(path: Path) -> int | None:
    """The root attribute `done`. Without HDF5's lock on the file, which would be in the way of who removes it."""
    try:
        with h5py.File(path, "r", locking=False) as file:
            return int(file.attrs["done"])
    except (OSError, KeyError, RuntimeError, TypeError, ValueError):
        return None  # gone meanwhile, or damaged: the stage that takes it will say so
