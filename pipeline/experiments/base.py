"""What kinds of studies have in common: a study bound to its results folder, figures, a report, a plan of costs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Generic, TypeVar

from rnnlimits.plan import costs
from rnnlimits.plan.costs import PackCost
from rnnlimits.plan.files import FIGURES, REPORT
from rnnlimits.plan.forecast import Forecast, Item, Left, all_files, missing_files
from rnnlimits.plan.layout import StudyFolder
from rnnlimits.plan.parts import Experiment, FileKind, Operation, Output, Pace, Part, Step
from rnnlimits.study import AnyStudy

if TYPE_CHECKING:  # imported when they run: a plan needs none of them, and plotting takes a second to import
    from rnnlimits.kernels.interface import Backend
    from rnnlimits.report.plots import Plot
    from rnnlimits.report.rate_plots import ToLink
    from rnnlimits.statistics.ratefile import Rate

PER_SECOND = 4e9  # additions and multiplications of one core, roughly

S = TypeVar("S", bound=AnyStudy)
L = TypeVar("L", bound=StudyFolder)


class BaseExperiment(ABC, Generic[S, L]):
    """A study with its results folder: what all kinds share of `rnnlimits.plan.parts.Experiment`."""

    kind: ClassVar[str]
    parallel: ClassVar[tuple[str, ...]] = ()
    serial: ClassVar[tuple[str, ...]]
    files: ClassVar[tuple[FileKind, ...]]
    uses_gpus: ClassVar[bool] = False
    operation: ClassVar[Operation] = "flop"
    whole: ClassVar[str] = "all"  # what the last row of `plan` is called

    def __init__(self, study: S, layout: L) -> None:
        self.study, self.layout = study, layout

    @classmethod
    @abstractmethod
    def at(cls, study: S, root: Path) -> BaseExperiment[S, L]:
        """The study with the results folder `root`."""

    @property
    def identity(self) -> str:
        """12 hexadecimal digits of what changes any result of the study."""
        return self.study.identity

    def checks(self) -> list[str]:
        """Findings of all checks, one readable line each: numerical ones, and the quantities of the study's own files.

        Raises StudyError for a study that is refused.
        """
        findings = self.numerical_checks()
        if self.study.quantity_files:
            from rnnlimits.quantities import own

            findings = [*findings, *own.findings(self.study)]
        return findings

    def numerical_checks(self) -> list[str]:
        """Findings of the numerical checks (here: no findings)."""
        return []

    def remarks(self) -> list[str]:
        """Lines on what was read of the user's data, for `check` (here: none was)."""
        return []

    @abstractmethod
    def parts(self) -> tuple[Part, ...]:
        """The parts in the order of work."""

    @abstractmethod
    def steps(self) -> tuple[Step, ...]:
        """The steps, each after those whose outputs it reads."""

    # --- steps that every kind may have -------------------------------------------------------------------

    def figures_step(
        self, inputs: Sequence[Path], run: Callable[[Callable[[], Backend]], None], *further: FileKind
    ) -> Step:
        """The step `figures`; further: what it writes in addition to the folder of figures."""
        outputs = tuple(Output.fixed(self.layout.root, kind) for kind in (FIGURES, *further))
        return Step("figures", tuple(inputs), outputs, self.identity, run)

    def report_step(self, inputs: Sequence[Path]) -> Step:
        """The step `report`, which comes last."""
        output = Output.fixed(self.layout.root, REPORT)
        return Step("report", tuple(inputs), (output,), self.identity, self._report, rule="page")

    def _report(self, _: Callable[[], Backend]) -> None:
        from rnnlimits import report

        report.run(self)

    # --- costs ----------------------------------------------------------------------------------------------

    def packs(self) -> tuple[Part, ...]:
        """The parts that compute networks, or whatever else counts as replicas."""
        return tuple(part for part in self.parts() if any(ensemble.replicas for ensemble in part.ensembles))

    def pace(self, backend: Callable[[], Backend]) -> Pace:
        """How fast this machine computes the packs: one core at PER_SECOND, whatever the back end."""
        return self.timed("core", 1e9 / PER_SECOND, lambda _: 1 / PER_SECOND)

    @staticmethod
    def timed(worker: str, ns_per_unit: float, per_operation: Callable[[Part], float]) -> Pace:
        """The pace of a worker from the seconds per operation of each part, with starts as they are on this machine."""
        from rnnlimits.plan import starts

        measured = starts.measure()

        def items(one: Experiment, left: Left) -> list[Item]:
            return starts.of_blocks(one.parts(), one.steps(), per_operation, measured, left)

        return Pace(worker, ns_per_unit, items=items)

    def summary(self, pace: Pace) -> str:
        """A printable table: for each pack its cells, replicas, blocks, work, time, bytes; totals and notes."""
        packs = [pack_cost(part) for part in self.packs()]
        lines = costs.table(packs, self.whole, self.operation, pace.ns_per_unit, pace.worker)
        return "\n".join([*lines, *self.notes(pace)])

    def forecast(self, pace: Pace, ranks: int, left: Left = all_files) -> Forecast:
        """What a run with so many ranks takes that makes the files that are left (default: all)."""
        return Forecast(tuple(pace.items(self, left)), ranks, pace.worker)

    def forecast_lines(self, pace: Pace, ranks: int) -> list[str]:
        """A printable table of what a run takes, piece by piece, the sum as a range, and what of it remains."""
        whole, rest = (self.forecast(pace, ranks, left) for left in (all_files, missing_files))
        lines = [*whole.table(), f"rnnlimits run: {whole.sentence()}"]
        if rest.processors < whole.processors:
            lines.append(f"of which remain: {rest.sentence() if rest.items else 'nothing'}")
        return [*lines, *self.advice(pace, ranks)]

    def advice(self, pace: Pace, ranks: int) -> list[str]:
        """What would make a run cheaper (here: nothing is known)."""
        return []

    def notes(self, pace: Pace) -> tuple[str, ...]:
        """Lines below the table of `summary`."""
        return (f"study {self.study.name}, id {self.identity}",)

    def held_bytes(self) -> int:
        """Bytes of values that the steps hold in memory at once: all ensembles."""
        return sum(ensemble.bytes for part in self.packs() for ensemble in part.ensembles)

    # --- the report -----------------------------------------------------------------------------------------

    def behind(self, rate: Rate, **values: float) -> list[Path]:
        """The files from which the point of `rate` at these values was estimated (here: no files are named)."""
        return []

    def plots(self, link: ToLink) -> Sequence[Plot]:
        """Interactive figures in addition to those of the rates (here: no further ones)."""
        return ()

    def measured(self, count: str) -> str:
        """The beginning of a sentence that says what was measured; count: the number of all replicas, in words."""
        return f"{count} replicas were computed"


def pack_cost(part: Part) -> PackCost:
    """The size and cost of a part."""
    return PackCost(
        part.name,
        cells=len(part.ensembles),
        replicas=sum(ensemble.replicas for ensemble in part.ensembles),
        blocks=len(part.blocks),
        work=part.work,
        bytes=sum(ensemble.bytes for ensemble in part.ensembles),
    )


def span(widths: Sequence[int]) -> str:
    """Widths in words."""
    low, high = min(widths), max(widths)
    return f"width {low}" if low == high else f"widths from {low} to {high}"
