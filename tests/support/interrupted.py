"""Blocks that are interrupted and resumed in process."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from rnnlimits.base import signals
from rnnlimits.kernels import on_processor
from rnnlimits.kernels.interface import Backend
from rnnlimits.ranks import sharded
from rnnlimits.ranks.checkpoints import Pace, Saver
from rnnlimits.ranks.parallel import Stopped
from rnnlimits.study import Study
from rnnlimits.theory import observe
from rnnlimits.training import plan, rich, train, twin
from rnnlimits.training.layout import Layout


class Killed(Exception):
    """As by SIGKILL: nobody is told, nothing is saved."""


@dataclass
class Ticks:
    """In place of parallel.Ticker: interrupts at the end of one segment."""

    at: int = 0
    by: type[Exception] = Killed
    asked: signals.Asked = field(default_factory=signals.Asked)
    amounts: list[int] = field(default_factory=list)
    earlier: int = 0

    def __call__(self, amount: int) -> None:
        self.amounts.append(amount)
        if len(self.amounts) == self.at:
            raise Stopped(in_peace=True) if self.by is Stopped else self.by

    def resumed(self, amount: int) -> None:
        self.earlier += amount


def at_probes(study: Study, be: Backend) -> observe.AtProbes:
    """Made once, as all that it is made of stays the same."""
    key = (plan.study_id(study), be.name)
    if key not in _AT_PROBES:
        _AT_PROBES[key] = observe.AtProbes.of(study, be)
    return _AT_PROBES[key]


_AT_PROBES: dict[tuple[str, str], observe.AtProbes] = {}


class OfTraining:
    """What the tests do with one kind of work: the first block of a study's training."""

    kind = "train-state"

    def __init__(self, study: Study, be: Backend, folder: Path) -> None:
        self.study, self.be, self.layout = study, be, Layout.of(study, folder)
        self.stage = self.stage_of()
        self.ensemble, *_ = self.stage.ensembles()
        self.block, *_ = self.ensemble.blocks
        self.place = sharded.state_place(self.stage, self.ensemble, self.block)
        self.shard = self.ensemble.shard(self.block)

    def stage_of(self) -> sharded.Stage:
        return train.stage(self.study, self.layout, plan.cells(self.study)[0].pack, self.be)

    @property
    def total(self) -> int:
        return 80 * 37 * 4

    def shared(self) -> object:
        """What all blocks share."""
        return at_probes(self.study, on_processor(self.be))

    def live(self, ticks: Ticks, pace: Pace) -> None:
        """Work to the end, and write the shard, unless interrupted."""
        saver = Saver(self.place, pace, ticks)
        result = self.stage.compute(self.block, self.shared(), ticks, saver)
        sharded.write_shard(self.stage, self.ensemble, self.block, result)


class OfTwin(OfTraining):
    """The same of its twins."""

    kind = "twin-state"

    def stage_of(self) -> sharded.Stage:
        return twin.stage(self.study, self.layout, plan.twins(self.study), self.be)

    @property
    def total(self) -> int:
        return 80 * self.block.count

    def shared(self) -> object:
        """What all blocks share."""
        return self.stage.prepare()


class OfRich(OfTwin):
    """The same of its rich twins."""

    kind = "rich-state"

    def stage_of(self) -> sharded.Stage:
        return rich.stage(self.study, self.layout, self.be)
