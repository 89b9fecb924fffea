"""The files behind a point of a rate, so that a reader can open them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from rnnlimits.elman import plan as rntk_plan
from rnnlimits.elman.layout import RntkLayout
from rnnlimits.quantities import base as quantities
from rnnlimits.statistics.ratefile import Rate
from rnnlimits.study import RntkStudy, Study
from rnnlimits.training import plan
from rnnlimits.training.layout import Layout
from rnnlimits.training.plan import Cell, Twin

COORDINATES = ("beta", "eps", "N", "K")
SAME = 1e-9  # relative distance of a richness from its inverse's inverse


def of_trainings(study: Study, layout: Layout, rate: Rate, values: Mapping[str, float]) -> list[Path]:
    """The files of a study of trainings from which the point of `rate` at `values` was estimated."""
    sources = quantities.behind(rate)
    if "draw" in sources:
        return [layout.draw]
    if "poisson" in sources:
        return [layout.poisson]
    return _ensembles(study, layout, rate, values)


def _ensembles(study: Study, layout: Layout, rate: Rate, values: Mapping[str, float]) -> list[Path]:
    fixed, sources = rate.where, quantities.behind(rate)
    point = {key: float(value) for key, value in fixed.items() if key in COORDINATES and value != "infinity"}
    # The varying coordinates take precedence: a constant measured at one K also has that K among its fixed coordinates.
    point |= {key: value for key, value in values.items() if key in ("N", "K")}
    if "K" not in point and "N" in point:
        point["K"] = point["N"]  # along the diagonal
    depths = None if "depths" in sources or "depth" not in fixed else {int(fixed["depth"])}
    found = [
        cell
        for cell in plan.cells(study)
        if _of_cell(cell).items() >= point.items() and (depths is None or cell.depth in depths)
    ]
    cells = [layout.ensemble(cell) for cell in found]
    twins = [layout.twin(twin) for twin in plan.twins(study) if _follows(twin, point)]
    rich = [layout.rich(plan.rich_twin(study, cell)) for cell in found] if study.rich.follow else []
    tangents = [layout.tangents(plan.tangent_twin(study, cell)) for cell in found] if "tangents" in sources else []
    if "1/eps" in values:
        ladder = (twin for twin in plan.rich_ladder(study) if abs(twin.richness * values["1/eps"] - 1) < SAME)
        return [layout.rich(twin) for twin in ladder]
    twins, rich = twins * ("twin" in sources), rich * ("rich" in sources)
    return cells * bool({"train", "depths"} & {*sources}) + twins + rich + tangents


def _of_cell(cell: Cell) -> dict[str, float]:
    """A cell's coordinates as a row has them, beta or eps with the digits of `at`."""
    return {cell.axis.name: float(f"{cell.axis.value:g}"), "N": cell.width, "K": cell.steps_per_time}


def _follows(twin: Twin, coordinates: Mapping[str, float]) -> bool:
    return coordinates.get("K") == twin.steps_per_time


def of_networks(study: RntkStudy, layout: RntkLayout, rate: Rate, values: Mapping[str, float]) -> list[Path]:
    """The files of a study of the recurrent NTK from which the point of `rate` at `values` was estimated."""
    names = [named.name for named in study.elmans if named.at == rate.at]
    sources = quantities.behind(rate)
    kinds = {"descent"} if "start" in sources else {*sources}
    cells = [cell for cell in rntk_plan.cells(study) if cell.kind in kinds and cell.network in names]
    if "start" in sources:  # from the outputs of the widest networks at their start
        return [layout.kernels, *(layout.networks(cell) for cell in sorted(cells, key=lambda cell: cell.width)[-1:])]
    return [layout.networks(cell) for cell in cells if cell.width == values.get("n")]
