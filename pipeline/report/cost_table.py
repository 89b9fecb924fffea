"""The table of costs, as text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rnnlimits.base.tables import duration, size_text
from rnnlimits.plan.layout import StudyFolder
from rnnlimits.report.cost import Cost, total
from rnnlimits.report.numbers import grouped, hours, short
from rnnlimits.report.places import linked
from rnnlimits.report.plots import Link


@dataclass(frozen=True)
class CostRow:
    """A line of the table of costs, as text."""

    link: Link | None
    replicas: str
    shards: str
    size: str
    cores: str
    gpus: str


def cost_rows(layout: StudyFolder, costs: Sequence[Cost]) -> tuple[list[CostRow], CostRow, str]:
    """A line for each ensemble, the total, and the total in a sentence."""
    overall = total(costs)
    smallest = min((time for cost in costs for time in (cost.core_seconds, cost.gpu_seconds) if time), default=0.0)
    lines = [_cost_row(layout, cost, smallest) for cost in costs]
    return lines, _cost_row(layout, overall, smallest), _spent(overall)


def _cost_row(layout: StudyFolder, cost: Cost, smallest: float) -> CostRow:
    times = (cost.core_seconds, cost.gpu_seconds)
    cores, gpus = (hours(time, smallest) if time else "–" for time in times)
    link = linked(layout, cost.file) if cost.file else None
    replicas = grouped(cost.replicas) if cost.replicas else "–"
    return CostRow(link, replicas, grouped(cost.shards), size_text(cost.bytes), cores, gpus)


def _spent(overall: Cost) -> str:
    times = ((overall.core_seconds or 0.0, "core"), (overall.gpu_seconds or 0.0, "GPU"))
    parts = [
        f"{duration(seconds)} of one {worker} ({short(seconds / 3600)} {worker}-hours)"
        for seconds, worker in times
        if seconds
    ]
    spent = f"The networks took {' and '.join(parts)}" if parts else "No times were recorded"
    return f"{spent}; {grouped(overall.shards)} shards hold {size_text(overall.bytes)}."
