"""Which files of a results folder are those of its study, looked at again only when one of them has changed."""

from __future__ import annotations

import os
from pathlib import Path

from rnnlimits.plan import due
from rnnlimits.plan.parts import Experiment

Stamp = tuple[tuple[int, int] | None, ...]  # time and size of each file, None if it does not exist


class Current:
    """The files of a study that exist and are of the study."""

    def __init__(self) -> None:
        self._seen: tuple[str, Stamp] | None = None
        self._files: frozenset[Path] = frozenset()
        self._stale: tuple[str, ...] = ()

    def files(self, experiment: Experiment) -> frozenset[Path]:
        """These files. A refresh costs a `stat` of each unless one has changed."""
        every = sorted(due.known_files(experiment))
        seen = experiment.identity, tuple(_stamp(path) for path in every)
        if seen != self._seen:
            wrong = due.faults(experiment)
            self._files = frozenset(path for path in every if path not in wrong)
            own = experiment.layout.study_yaml
            found = (fault for fault in wrong.values() if not fault.is_missing and fault.path != own)
            self._seen, self._stale = seen, tuple(str(fault) for fault in found)
        return self._files

    def stale(self) -> tuple[str, ...]:
        """The existing files that are not of the study, as they were last seen: one line each."""
        return self._stale


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size
