"""Runs that know when to stop: plan the replicas, train them, measure the half-width; again until it is reached.

The chosen replicas lie in resolved.yaml of the results folder, a study file like any other. A replica is a function of
seed and index, so that a round adds blocks to those that exist. What an interrupted round has left is finished first.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol

from rnnlimits import experiments
from rnnlimits import study as studies
from rnnlimits.base import progress
from rnnlimits.base.errors import StudyError
from rnnlimits.base.locks import exclusive
from rnnlimits.files import durable
from rnnlimits.kernels import on_processor
from rnnlimits.plan.forecast import Forecast, Left, all_files, missing_files, ranged
from rnnlimits.quantities.base import N
from rnnlimits.quantities.own import quantities_of
from rnnlimits.rates import design, foretold
from rnnlimits.rates.ladders import Ladder, ladders
from rnnlimits.statistics import ratefile
from rnnlimits.statistics.powerlaw import MINIMUM_POINTS, MISFIT
from rnnlimits.study import Study
from rnnlimits.training import plan
from rnnlimits.training.blocksize import with_own_replicas
from rnnlimits.training.layout import Layout

if TYPE_CHECKING:
    from rnnlimits.kernels.interface import Backend
    from rnnlimits.plan.parts import Pace
    from rnnlimits.rates.design import Resolved

ROUNDS = 5  # of one command
CHOSEN = "# replicas chosen by rnnlimits run"
PREDICTED = "predicted.yaml"  # among the locks: the study that is predicted, while it is
TRAINED = ("trainings", "shards", "joins")  # of a forecast, what the replicas decide
LESS = 0.95  # of what was asked for: at least so much less where trainings scatter more than the plan knows


class Execute(Protocol):
    """Bring a study, in this file, up to date, or only these rules of the workflow; raises whatever ends the run.

    told: the user knows already that files are made again.
    """

    def __call__(self, study: Study, path: Path, targets: Sequence[str] = (), told: bool = False) -> None:
        """Return once all is done."""


@dataclass(frozen=True)
class Asked:
    """What a run is asked for: the half-width of a quantity's exponents; the hours that all trainings may take."""

    half_width: float
    quantity: str
    at_most: float | None = None

    @property
    def heading(self) -> str:
        """The first line of a file of replicas that were chosen for this."""
        return f"{CHOSEN} --resolve {self.half_width!r} --quantity {self.quantity}"


@dataclass(frozen=True)
class Machine:
    """How the work is done. backend: of plans; workers: their number, cores or GPUs; say: write a line to stderr."""

    execute: Execute
    backend: Callable[[], Backend]
    workers: int
    say: Callable[[str], object]


class Measured(NamedTuple):
    """The measured half-width in one ladder (infinity: no exponent), whether points follow no law, the row's note."""

    at: str
    half_width: float
    misfit: bool
    note: str

    def __str__(self) -> str:
        return f"± {self.half_width:.3g} at {self.at}" if math.isfinite(self.half_width) else f"none at {self.at}"


def reach(study: Study, results: Path, asked: Asked, machine: Machine) -> None:
    """Train a study until the exponents of a quantity have a half-width, in at most ROUNDS rounds.

    Raises StudyError, one line, before anything is trained if the study cannot have such exponents, and later if the
    half-width is out of reach, dearer than it may be, or not reached in ROUNDS rounds; the rates then are those of all
    that was trained. Whatever `machine.execute` raises passes through.
    """
    rounds = Rounds(study, results, asked, machine)
    with exclusive(rounds.layout.locks, "resolve"):
        rounds.run()


class Rounds:
    """One run of a study: what is asked of it, its folder, and the steps of a round."""

    def __init__(self, study: Study, results: Path, asked: Asked, machine: Machine) -> None:
        self.study, self.results, self.asked, self.machine = study, results, asked, machine
        self.layout = Layout.of(study, results)
        with quantities_of(study):
            self.quantity = design.quantity_of(study, asked.quantity)
        self.ladders = ladders_of(study)
        self._expected, self._told_before = "", False

    def run(self) -> None:
        """All rounds."""
        self._require_own_file()
        chosen = self._continued() or self._planned(self._first())
        for number in range(1, ROUNDS + 1):
            self._train(chosen, number)
            measured = self._measure(chosen)
            missing = [one for one in measured if one.half_width > self.asked.half_width]
            if not missing:
                self._say(f"reached in round {number}: {self._told(measured)}; replicas: {self.layout.resolved_yaml}")
                return
            self._say(f"round {number} gave {self._told(missing)}; asked for ± {self.asked.half_width:g}")
            if number < ROUNDS:
                chosen = self._planned(self._more(chosen, measured))
        raise StudyError(
            f"--resolve: not reached in {ROUNDS} rounds: {self._told(missing)}; the same command goes on, and "
            f"rnnlimits summary {self.layout.root} shows what there is"
        )

    # --- plans ------------------------------------------------------------------------------------------------

    def _first(self) -> Resolved:
        """The plan from what is trained, or from predictions."""
        if design.needs_predictions(self.study, self.layout):
            self._predict()
        return self._plan(self.study, self.asked.half_width)

    def _more(self, chosen: Study, measured: Sequence[Measured]) -> Resolved:
        """The plan from the scatter that trainings have. If it says that they are enough, they scatter by more.

        Raises StudyError if no more replicas can help.
        """
        again = self._plan(chosen, self.asked.half_width)
        if again.replicas != chosen.training.replicas:
            return again
        pairs = list(zip(again.half_widths.values(), measured, strict=True))
        missing = [(known, one) for known, one in pairs if one.half_width > self.asked.half_width]
        if hopeless := next((one for _, one in missing if one.misfit or not math.isfinite(one.half_width)), None):
            raise StudyError(self._hopeless(hopeless))
        share = min(known / one.half_width for known, one in missing)
        return self._plan(chosen, self.asked.half_width * min(share, LESS))

    def _hopeless(self, one: Measured) -> str:
        reason = f"with these replicas the row still says: {one.note}"
        if one.misfit and math.isfinite(one.half_width):
            reason = (
                f"the points follow no single law, so that more replicas leave ± {one.half_width:.2g}; change width"
            )
        where = f"rnnlimits summary {self.layout.root} shows what there is"
        return f"--resolve: out of reach at {one.at}: {reason}; {where}"

    def _plan(self, study: Study, half_width: float) -> Resolved:
        with progress.watched("run --resolve"):
            be = on_processor(self.machine.backend())
            return design.resolve(study, self.layout, be, half_width, self.asked.quantity)

    def _predict(self) -> None:
        """Compute what the predictions need, and nothing else."""
        design.require_predicted(self.study, self.layout, self.quantity)
        self._say("nothing is trained: the scatter is predicted first (draws, twins, rich twins, tangents)")
        small = foretold.small(self.study)
        parts = experiments.of(small, self.results).parts()
        targets = ["study", *(part.rule for part in parts if part.name not in plan.packs(small)), "limit"]
        path = self.layout.locks / PREDICTED
        durable.write_bytes(path, studies.to_yaml(small, path.parent).encode())
        try:
            self.machine.execute(small, path, targets)
            self._told_before = True
        finally:
            with suppress(OSError):
                path.unlink()

    # --- the file of chosen replicas --------------------------------------------------------------------------

    def _continued(self) -> Study | None:
        """The study with the replicas that the same command has chosen before, with no other change since."""
        path = self.layout.resolved_yaml
        with suppress(StudyError, OSError, UnicodeDecodeError):
            heading, _, text = path.read_text(encoding="utf-8").partition("\n")
            found = studies.load(path)
            training = self.study.training.model_copy(
                update={"replicas": found.training.replicas, "ladders": with_own_replicas(self.study.training)}
            )
            same = studies.to_yaml(self.study.model_copy(update={"training": training}), path.parent) == text
            return found if same and heading == self.asked.heading else None
        return None

    def _planned(self, resolved: Resolved) -> Study:
        """The study with the replicas of a plan, in its file.

        Raises StudyError if it costs more than it may.
        """
        half_widths = ", ".join(f"± {half:.3g} at {at}" for at, half in resolved.half_widths.items())
        self._expected = f"; expected, {resolved.learned}: {half_widths}"
        self._require_cheap(resolved.study)
        path = self.layout.resolved_yaml
        durable.require_folder(path)
        with exclusive(self.layout.locks, "run"):  # a run may be reading the file
            durable.write_bytes(path, f"{self.asked.heading}\n{resolved.to_yaml(path.parent)}".encode())
        return studies.load(path)

    def _require_own_file(self) -> None:
        """Raises StudyError for a file in that place that was not written by this module."""
        path = self.layout.resolved_yaml
        with suppress(FileNotFoundError, NotADirectoryError):
            if not path.read_bytes().startswith(CHOSEN.encode()):
                raise StudyError(f"{path}: is where run --resolve keeps replicas, and was not written by it; move it")

    # --- costs ------------------------------------------------------------------------------------------------

    @cached_property
    def _pace(self) -> Pace:
        return experiments.of(self.study, self.results).pace(self.machine.backend)

    def _forecast(self, study: Study, left: Left) -> Forecast:
        """What a run of a study takes that makes the files that are left."""
        return experiments.of(study, self.results).forecast(self._pace, self.machine.workers, left)

    def _hours(self, study: Study) -> tuple[float, float]:
        """Hours of one worker for all trainings of a study, with their files, and for those that do not exist."""
        hours = [self._forecast(study, left).of(*TRAINED).seconds / 3600 for left in (all_files, missing_files)]
        return hours[0], hours[1]

    def _require_cheap(self, study: Study) -> None:
        hours, missing = self._hours(study)
        if self.asked.at_most is not None and hours > self.asked.at_most and missing:
            raise StudyError(
                f"--at-most {self.asked.at_most:g}: {_replicas(study)} take {_few(hours)} {self._pace.worker}-hours "
                f"({_few(missing)} remain); allow more, or ask for a larger half-width"
            )

    # --- a round ----------------------------------------------------------------------------------------------

    def _train(self, chosen: Study, number: int) -> None:
        """Say what a round costs, and run it."""
        self._require_cheap(chosen)
        hours, missing = self._hours(chosen)
        workers = f"{self.machine.workers} {self._pace.worker}{'s' * (self.machine.workers > 1)}"
        time = f"the run: {ranged(self._forecast(chosen, missing_files).clock)}"
        cost = f"{_few(hours)} {self._pace.worker}-hours, of which {_few(missing)} remain ({time} on {workers})"
        self._say(f"round {number} of at most {ROUNDS}: {_replicas(chosen)}; {cost}{self._expected}")
        self.machine.execute(chosen, self.layout.resolved_yaml, told=self._told_before)
        self._told_before = True

    def _measure(self, chosen: Study) -> list[Measured]:
        """The half-widths of the ladders, by the rows of rates.h5. Raises StudyError if it is of another study."""
        name, estimator = self.quantity.key
        found = {
            row.at: row
            for row in ratefile.read(self.layout.rates_h5, study_id=chosen.identity)
            if (row.quantity, row.estimator, row.variable) == (name, estimator, N.name)
        }
        return [_measured(ladder.at, found.get(ladder.at)) for ladder in self.ladders]

    @staticmethod
    def _told(measured: Sequence[Measured]) -> str:
        return ", ".join(map(str, measured))

    def _say(self, line: str) -> None:
        self.machine.say(f"--resolve {self.asked.half_width:g}: {line}")


def ladders_of(study: Study) -> list[Ladder]:
    """The ladders in N that a study resolves, those of its main product, as its rates name them.

    Raises StudyError for one without an exponent, whatever the replicas.
    """
    main = {(one.axis, one.cells[0].depth) for one in ladders(N, design.main_cells(study)) if one.cells}
    found = [one for one in ladders(N, plan.cells(study)) if one.cells and (one.axis, one.cells[0].depth) in main]
    if not found:
        raise StudyError(f"{study.source}: training has no ladder K = N to resolve; set steps_per_time: [width]")
    for ladder in found:
        if ladder.refusal or len(ladder.cells) < MINIMUM_POINTS:
            raise StudyError(
                f"{study.source}: {len(ladder.cells)} widths with K = N at {ladder.at} have no exponent to resolve; "
                f"set training.width and steps_per_time for {MINIMUM_POINTS} or more"
            )
    return found


def _measured(at: str, row: ratefile.Rate | None) -> Measured:
    if row is None:
        return Measured(at, math.inf, False, "there is no such row")
    half = 0.5 * (row.ci_high - row.ci_low)
    known = not row.refused and math.isfinite(half)
    return Measured(at, half if known else math.inf, row.line_p < MISFIT, row.note)


def _replicas(study: Study) -> str:
    """The replicas of the main product in words."""
    product = study.training.products()[0]
    return f"replicas {_listed(product.replicas)} at N = {_listed(product.width)}"


def _few(hours: float) -> str:
    """Hours in three digits, but no meaningless ones."""
    return f"{hours:.3g}" if hours >= 0.001 or hours == 0 else "under 0.001"


def _listed(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, numbers))
