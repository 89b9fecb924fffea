"""`experiment: rntk`: Elman networks of finite width against the recurrent NTK."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rnnlimits.elman import checks, parts, plan
from rnnlimits.elman.layout import RntkLayout
from rnnlimits.experiments.base import BaseExperiment, span
from rnnlimits.plan.files import MACHINE, RATES_CSV, RATES_H5
from rnnlimits.plan.parts import FileKind, Output, Pace, Part, Step
from rnnlimits.study import RntkStudy

if TYPE_CHECKING:
    from rnnlimits.kernels.interface import Backend
    from rnnlimits.report.plots import Plot
    from rnnlimits.report.rate_plots import ToLink
    from rnnlimits.statistics.ratefile import Rate

KERNELS = FileKind("rntk-limit", ("networks", *MACHINE), "kernels.h5", "the sequences, the limit's kernels")
WEIGHTS = FileKind(file="weights.csv", caption="weight of time steps")


class Elmans(BaseExperiment[RntkStudy, RntkLayout]):
    """A study of the recurrent NTK with its results folder."""

    kind = "rntk"
    parallel = ("train",)
    serial = ("rates", "figures", "report")
    files = (*parts.FILES, KERNELS, WEIGHTS)

    @classmethod
    def at(cls, study: RntkStudy, root: Path) -> Elmans:
        """The study with the results folder `root`."""
        return cls(study, RntkLayout(root))

    def numerical_checks(self) -> list[str]:
        """Findings of the numerical checks. Raises StudyError or KernelError for a bad study."""
        return checks.check(self.study)

    def parts(self) -> tuple[Part, ...]:
        """Packs of networks, by kind and width; empty if the study measures only the limit."""
        return parts.parts(self.study, self.layout)

    def steps(self) -> tuple[Step, ...]:
        """The steps rates, figures and report."""
        layout, cells = self.layout, [self.layout.networks(cell) for cell in plan.cells(self.study)]
        outputs = tuple(Output.fixed(layout.root, kind) for kind in (KERNELS, RATES_H5, RATES_CSV))
        return (
            Step("rates", tuple(cells), outputs, self.identity, self._rates),
            self.figures_step([layout.rates_h5], self._figures, *((WEIGHTS,) if self.study.weights else ())),
            self.report_step((layout.rates_h5, layout.figures, *cells)),
        )

    # Imported when they run: a plan needs none of these modules.
    def _rates(self, backend: Callable[[], Backend]) -> None:
        from rnnlimits.rates import elman

        elman.run(self.study, self.layout, backend())

    def _figures(self, backend: Callable[[], Backend]) -> None:
        from rnnlimits.figures import elman

        elman.run(self.study, self.layout, backend())

    def pace(self, backend: Callable[[], Backend]) -> Pace:
        """The speed of the study's own networks, measured for each pack."""
        from rnnlimits.elman import pilot

        be = backend()
        measured, packs = pilot.seconds_per_operation(self.study, be), self.packs()
        seconds = sum(measured[part.name] * part.work for part in packs)
        ns = 1e9 * seconds / sum(part.work for part in packs) if packs else 0.0
        return self.timed(be.worker, ns, lambda part: measured[part.name])

    def notes(self, pace: Pace) -> tuple[str, ...]:
        """The measured speed, and the study's identity."""
        if not pace.ns_per_unit:
            return super().notes(pace)
        words = "additions and multiplications a second on average; narrow networks take longer"
        return (f"{pace.worker} time: at {1e9 / pace.ns_per_unit:.2g} {words}", *super().notes(pace))

    def behind(self, rate: Rate, **values: float) -> list[Path]:
        """The ensembles of networks, and the limit's kernels."""
        from rnnlimits.rates import sources

        return sources.of_networks(self.study, self.layout, rate, values)

    def plots(self, link: ToLink) -> Sequence[Plot]:
        """The plot of the weight of time steps, if the study has it."""
        if self.study.weights is None:
            return ()
        from rnnlimits.report.curve_plots import weights_plot

        return weights_plot(self.layout.weights_csv)

    def measured(self, count: str) -> str:
        """The number of networks, and their widths."""
        cells = plan.cells(self.study)
        if not cells:
            return "The recurrent NTK was computed"
        widths = span([cell.width for cell in cells])
        return f"{count} Elman networks of {widths} were compared with their kernels of infinite width"
