"""Takes snapshots of one results folder again and again, and caches what cannot have changed."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rnnlimits import experiments
from rnnlimits.base.errors import StudyError
from rnnlimits.plan.layout import StudyFolder
from rnnlimits.plan.parts import Ensemble, Experiment, Part
from rnnlimits.study import AnyStudy, load_any
from rnnlimits.watch import workers
from rnnlimits.watch.current import Current
from rnnlimits.watch.estimate import SoFar, estimate, pace
from rnnlimits.watch.holders import Holder, Locks
from rnnlimits.watch.listing import Listing
from rnnlimits.watch.logs import Log, Logs
from rnnlimits.watch.moment import CellNow, PartNow, Run, Snapshot, Worker
from rnnlimits.watch.states import States

Recent = tuple[int, int] | tuple[None, None]  # work and number of shards; None until all their times are read


@dataclass(frozen=True)
class Programme:
    """A study with all its parts in the order of work, and the files that each step writes."""

    study: AnyStudy
    experiment: Experiment
    parts: tuple[Part, ...]
    stages: Mapping[str, tuple[Path, ...]]


def programme(study: AnyStudy, root: Path) -> Programme:
    """The programme of a study whose results folder is `root`."""
    experiment = experiments.at(study, root)
    return Programme(study, experiment, experiment.parts(), {step.name: step.paths for step in experiment.steps()})


class Watcher:
    """One results folder. Nothing is written, no lock is taken, and the work of a refresh is bounded."""

    def __init__(self, root: Path, study: Path | None = None) -> None:
        """study: its file, for a folder without study.yaml. Raises StudyError if `root` is not a results folder."""
        require_results(root)
        self._layout, self._given = StudyFolder(root), study
        self._listing = Listing()
        self._locks = Locks(self._layout.locks, self._listing)
        self._logs = Logs(self._layout.logs, self._listing)
        self._states = States(self._listing)
        self._current = Current()
        self._loaded: tuple[int, Programme] | None = None

    def look(self) -> Snapshot:
        """One refresh. Raises StudyError for an existing study file that cannot be read."""
        started, now = time.perf_counter(), time.time()
        self._listing.begin()
        self._states.begin()
        self._load()
        holders, logs = self._locks.holders(), self._logs.all()
        run = workers.run_of(holders, logs, now)
        snapshot = self._without_study(run, now) if self._loaded is None else self._of_study(holders, logs, run, now)
        return snapshot.taking(time.perf_counter() - started)

    def _load(self) -> None:
        """Read the study if it is new. While study.yaml is being replaced, the last known one is used."""
        path = self._given or self._layout.study_yaml
        try:
            changed = os.stat(path).st_mtime_ns
        except OSError:
            if self._given:
                raise StudyError(f"{path}: is missing; give the study file that was run") from None
            return
        if self._loaded is None or self._loaded[0] != changed:
            study = load_any(path)
            self._loaded = (changed, programme(study, self._layout.root))

    def _without_study(self, run: Run, now: float) -> Snapshot:
        """The snapshot of a folder whose run has not yet written study.yaml."""
        root = self._layout.root
        failures = workers.failures_of((), self._locks.refusals(), (), run)
        state = "running" if run.alive else "not started"
        return Snapshot(root.resolve().name, str(root), "", now, state, run, {}, failures=failures)

    def _of_study(self, holders: Mapping[str, Holder], logs: Sequence[Log], run: Run, now: float) -> Snapshot:
        assert self._loaded is not None
        _, programme = self._loaded
        study = programme.study
        active = workers.workers_of(logs, now, run, holders)
        busy = _busy(active, holders)
        current = self._current.files(programme.experiment)
        parts = tuple(self._part(part, busy, current) for part in programme.parts)
        stages = {name: _stage(name, files, busy, parts, current) for name, files in programme.stages.items()}
        since = None if run.alive is False else run.since
        seconds = 0.0 if since is None else now - since
        ended = [log for log in logs if since is not None and log.ended and log.changed >= since]
        recent = self._recent(programme, since)
        counted = [blocks for _, blocks in recent.values() if blocks is not None]
        so_far = SoFar(seconds, len(ended), sum(counted) if len(counted) == len(recent) else None)
        paces = tuple(pace(unit, active, ended, recent[unit][0], seconds) for unit in recent)
        state = _state(run, parts, stages)
        left = estimate(parts, active, paces, so_far) if state == "running" else None
        settled = busy | _done(parts, stages)
        failures = workers.failures_of(logs, self._locks.refusals(), settled, run)
        root = str(self._layout.root)
        stale = () if run.alive else self._current.stale()
        return Snapshot(
            study.name, root, study.experiment, now, state, run, stages, parts, active, paces, left, failures, stale
        )

    def _part(self, part: Part, busy: set[str], current: frozenset[Path]) -> PartNow:
        counts = [self._cell(ensemble, ensemble.output.path in current) for ensemble in part.ensembles]
        cells = tuple(cell for cell, _ in counts)
        planned, done, saved = (sum(getattr(cell, name) for cell in cells) for name in ("planned", "done", "saved"))
        state = "partial" if done or saved else "waiting"
        if done == planned and current.issuperset(part.outputs):
            state = "done"
        if part.lock in busy or (part.label in busy and state != "done"):
            state = "running"
        work = sum(amount for _, amount in counts)
        return PartNow(part.lock, state, part.unit, planned, done, saved, part.work, work, cells)

    def _cell(self, cell: Ensemble, is_current: bool) -> tuple[CellNow, int]:
        """The cell, and the work done in its shards: all of it if its file is there, whatever size its blocks had."""
        if is_current:
            return CellNow(cell.name, len(cell.work), len(cell.work), 0, 1.0), sum(cell.work.values())
        names = self._listing.names(cell.shards)
        existing = [name for name in cell.work if name in names]
        work, total = sum(cell.work[name] for name in existing), sum(cell.work.values())
        saved: dict[str, int | None] = {}
        if cell.states is not None and len(existing) < len(cell.work):
            saved = self._states.steps_done(cell.states, (name for name in cell.work if name not in names))
        under_way = sum(cell.work[name] * (steps or 0) / cell.steps for name, steps in saved.items())
        share = min(1.0, (work + under_way) / total) if total else 1.0
        return CellNow(cell.name, len(cell.work), len(existing), len(saved), round(share, 4)), work

    def _recent(self, programme: Programme, since: float | None) -> dict[str, Recent]:
        """By unit, the work that appeared since the run began."""
        by_unit: dict[str, Recent] = {part.unit: (0, 0) for part in programme.parts}
        for part in programme.parts if since is not None else ():
            for cell in part.ensembles:
                by_unit[part.unit] = _sum(by_unit[part.unit], self._recent_of(cell, since or 0.0))
        return by_unit

    def _recent_of(self, cell: Ensemble, since: float) -> Recent:
        names = self._listing.names(cell.shards)
        if not names or not self._listing.changed_since(cell.shards, since):
            return 0, 0
        times = self._listing.times(cell.shards, (name for name in cell.work if name in names))
        if times is None:
            return None, None
        amounts = [amount for name, amount in cell.work.items() if times.get(name, 0.0) >= since]
        return sum(amounts), len(amounts)


def require_results(root: Path) -> None:
    """Raises StudyError unless `root` is, or may become, the results folder of a study."""
    if not root.is_dir():
        what = "is not a folder" if root.exists() else "is missing"
        raise StudyError(f"{root}: {what}; give results/STUDY, which rnnlimits run creates when it starts")
    names = {entry.name for entry in root.iterdir()}
    layout = StudyFolder(root)
    ours = {path.name for path in (layout.study_yaml, layout.shards, layout.logs, layout.locks, layout.rates_h5)}
    if names and not names & ours:
        below = sorted(str(path.parent) for path in root.glob("*/.locks"))[:5]
        hint = f"give one of these: {', '.join(below)}" if below else "give results/STUDY of a study"
        raise StudyError(f"{root}: is not the results folder of a study; {hint}")


def _busy(active: Sequence[Worker], holders: Mapping[str, Holder]) -> set[str]:
    """Names of locks that are held here and of logs that change, and the labels of their progress lines."""
    locked = {name for name, holder in holders.items() if holder.alive}
    about = {worker.what for worker in active} - {"twin"}  # this label does not contain the K
    return locked | {worker.log for worker in active} | about


def _stage(
    name: str, outputs: Sequence[Path], busy: set[str], parts: Sequence[PartNow], current: frozenset[Path]
) -> str:
    if name in busy:
        return "running"
    complete = current.issuperset(outputs)
    return "done" if complete and all(part.state == "done" for part in parts) else "waiting"


def _sum(one: Recent, other: Recent) -> Recent:
    if one[0] is None or other[0] is None or one[1] is None or other[1] is None:
        return None, None
    return one[0] + other[0], one[1] + other[1]


def _done(parts: Sequence[PartNow], stages: Mapping[str, str]) -> set[str]:
    names = {part.name for part in parts if part.state == "done"}
    return names | {name for name, state in stages.items() if state == "done"}


def _state(run: Run, parts: Sequence[PartNow], stages: Mapping[str, str]) -> str:
    finished = all(state == "done" for state in (*(part.state for part in parts), *stages.values()))
    if run.alive or (run.alive is None and not finished):
        return "running"
    if finished:
        return "finished"
    begun = run.since is not None or any(part.done or part.saved for part in parts)
    return "stopped" if begun else "not started"
