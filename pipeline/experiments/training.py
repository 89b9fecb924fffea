"""`experiment: training`: networks of finite width, trained online, against their kernel limit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from rnnlimits.experiments.base import BaseExperiment, span
from rnnlimits.plan.files import MACHINE, RATES_CSV, RATES_H5, RATES_IN_TIME
from rnnlimits.plan.forecast import Item, Left, missing_files
from rnnlimits.plan.parts import Experiment, FileKind, Output, Pace, Part, Step
from rnnlimits.study import Study
from rnnlimits.training import blocksize, checks, parts, plan
from rnnlimits.training.layout import Layout

if TYPE_CHECKING:
    from rnnlimits.kernels.interface import Backend
    from rnnlimits.report.plots import Plot
    from rnnlimits.report.rate_plots import ToLink
    from rnnlimits.statistics.ratefile import Rate

LIMIT = FileKind("limit", ("draw_id", "limit_id", "exact", *MACHINE), "limit.h5", "the limit")
POISSON = FileKind("poisson", ("draw_id", "limit_id", "poisson_id", *MACHINE), "poisson.h5")


class Trainings(BaseExperiment[Study, Layout]):
    """A study of trainings with its results folder."""

    kind = "training"
    parallel = ("draw", "twin", "train")
    serial = ("limit", "poisson", "rates", "figures", "report")
    files = (*parts.FILES, LIMIT, POISSON, RATES_IN_TIME)
    uses_gpus = True
    operation = "unit-steps"
    whole = "all trainings"

    @classmethod
    def at(cls, study: Study, root: Path) -> Trainings:
        """The study with the results folder `root`."""
        return cls(study, Layout(root))

    def numerical_checks(self) -> list[str]:
        """Findings of the numerical checks. Raises StudyError or KernelError for a bad study."""
        return checks.check(self.study)

    def remarks(self) -> list[str]:
        """What was read of a recorded series, and what looks like a mistake there; what is slow."""
        lines: list[str] = []
        self.study.backend_for("auto", lambda line: lines.append(line.removeprefix("rnnlimits: ")))
        return [*self.study.chain.findings(self.study.source), *lines]

    def parts(self) -> tuple[Part, ...]:
        """The draws, twins by K, packs by width."""
        return parts.parts(self.study, self.layout)

    def packs(self) -> tuple[Part, ...]:
        """The packs of trainings."""
        return tuple(parts.packs(self.study, self.layout))

    def steps(self) -> tuple[Step, ...]:
        """The steps limit, poisson, rates, figures and report."""
        layout, draw = self.layout, (self.layout.draw,)
        cells = [layout.ensemble(cell) for cell in plan.cells(self.study)]
        twins = [layout.twin(twin) for twin in plan.twins(self.study)]
        rich = [layout.rich(twin) for twin in plan.rich_twins(self.study)]
        tangents = [layout.tangents(twin) for twin in plan.tangent_twins(self.study)]
        return (
            self._step("limit", draw, plan.limit_id(self.study), _limit, LIMIT),
            self._step("poisson", draw, plan.poisson_id(self.study), _poisson, POISSON),
            self._step(
                "rates",
                (*draw, layout.limit, layout.poisson, *cells, *twins, *rich, *tangents),
                self.identity,
                _rates,
                *(RATES_H5, RATES_CSV, RATES_IN_TIME),
            ),
            self.figures_step((layout.rates_h5, layout.limit, *cells), partial(_figures, self.study, layout)),
            self.report_step((layout.rates_h5, layout.figures, *cells)),
        )

    def _step(
        self,
        name: str,
        inputs: Sequence[Path],
        identity: str,
        run: Callable[[Study, Layout, Backend], None],
        *kinds: FileKind,
    ) -> Step:
        outputs = tuple(Output.fixed(self.layout.root, kind) for kind in kinds)
        return Step(name, tuple(inputs), outputs, identity, lambda backend: run(self.study, self.layout, backend()))

    def pace(self, backend: Callable[[], Backend]) -> Pace:
        """The speed measured in a few seconds of the study's own work."""
        from rnnlimits.plan import starts
        from rnnlimits.training import forecast, pilot

        be = backend()
        measured, at_start = pilot.measure(self.study, be), starts.measure()
        ns = forecast.ns_per_unit_step(self.study, measured)

        def items(one: Experiment, left: Left) -> list[Item]:
            assert isinstance(one, Trainings)
            return forecast.items(one.study, one.layout, measured, at_start, one.steps(), left)

        return Pace(be.worker, ns, {"ns_per_unit_step": ns}, items)

    def advice(self, pace: Pace, ranks: int) -> list[str]:
        """Larger blocks of replicas, where their shards would cost much less, even if none that exists is used."""
        now = self.forecast(pace, ranks, missing_files)
        if not now.of("trainings").count:
            return []
        others = [Trainings(one, self.layout) for one in blocksize.larger(self.study)]
        by_size = {
            size: (one.study, one.forecast(pace, ranks))
            for one in others
            if (size := one.study.training.replicas_per_block)
        }
        return blocksize.advice(self.study, now, by_size)

    def summary(self, pace: Pace) -> str:
        """The table of packs, hours, draws."""
        return plan.summary(self.study, pace.ns_per_unit, pace.worker)

    def held_bytes(self) -> int:
        """Bytes of the largest ensemble and of the draws' second moments."""
        cells = plan.cells(self.study)
        return max(plan.output_bytes(cell, self.study) for cell in cells) + plan.draw_bytes(self.study)

    def behind(self, rate: Rate, **values: float) -> list[Path]:
        """Draws, long-run variances, or ensembles of the cells."""
        from rnnlimits.rates import sources

        return sources.of_trainings(self.study, self.layout, rate, values)

    def plots(self, link: ToLink) -> Sequence[Plot]:
        """The plots of outputs and losses over time."""
        from rnnlimits.report.curve_plots import curve_plots

        return curve_plots(self.study, self.layout, link)

    def measured(self, count: str) -> str:
        """The number of networks, and their widths."""
        widths = span([cell.width for cell in plan.cells(self.study)])
        return f"{count} recurrent networks of {widths} were trained online and compared with their kernel limit"


# Imported when they run: a plan needs none of these modules.
def _limit(study: Study, layout: Layout, be: Backend) -> None:
    from rnnlimits.training import limit

    limit.run(study, layout, be)


def _poisson(study: Study, layout: Layout, be: Backend) -> None:
    from rnnlimits.training import constants

    constants.run(study, layout, be)


def _rates(study: Study, layout: Layout, be: Backend) -> None:
    from rnnlimits.rates import stage

    stage.run(study, layout, be)


def _figures(study: Study, layout: Layout, _: Callable[[], Backend]) -> None:
    from rnnlimits.figures import rates

    rates.run(study, layout)
