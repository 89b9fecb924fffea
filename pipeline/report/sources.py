"""Which files are behind a point of a rate, so that a reader can open them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from rnnlimits.elman import plan as rntk_plan
from rnnlimits.elman.layout import RntkLayout
from rnnlimits.quantities.elman import ENTRIES, STEP_GAP
from rnnlimits.statistics.ratefile import Rate
from rnnlimits.study import RntkStudy, Study
from rnnlimits.training import plan
from rnnlimits.training.layout import Layout
from rnnlimits.training.plan import Twin

FROM_POISSON = ("ergodic_average", "ergodic_constant", "mixing")
FROM_DRAWS = ("memory_contraction", "chain_contraction")
KINDS = {entry.name: entry.kind for entry in ENTRIES}


def of_trainings(study: Study, layout: Layout, rate: Rate, values: Mapping[str, float]) -> list[Path]:
    """The files of a study of trainings from which the point of `rate` at `values` was estimated."""
    if rate.quantity in FROM_DRAWS:
        return [layout.draw]
    if rate.quantity in FROM_POISSON:
        return [layout.poisson]
    return _ensembles(study, layout, rate, values)


def _ensembles(study: Study, layout: Layout, rate: Rate, values: Mapping[str, float]) -> list[Path]:
    fixed = rate.where
    trained = "beta" in fixed
    wanted = {key: float(value) for key, value in fixed.items() if key in ("beta", "N", "K") and value != "infinity"}
    # What varies is said last: a constant that was read off at one K has it among its coordinates as well.
    wanted |= {key: value for key, value in values.items() if key in ("N", "K")}
    if "K" not in wanted and "N" in wanted:
        wanted["K"] = wanted["N"]  # along the diagonal
    depths = None if rate.quantity == "depth_gap" or "depth" not in fixed else {int(fixed["depth"])}
    cells = [
        layout.ensemble(cell)
        for cell in plan.cells(study)
        if {"beta": cell.beta, "N": cell.width, "K": cell.steps_per_time}.items() >= _of_cell(wanted).items()
        and (depths is None or cell.depth in depths)
    ]
    twins = [layout.twin(twin) for twin in plan.twins(study) if _follows(twin, wanted)]
    return cells * trained + twins * (rate.estimator == "twin")


def _of_cell(wanted: Mapping[str, float]) -> dict[str, float]:
    return {key: value for key, value in wanted.items() if key in ("beta", "N", "K")}


def _follows(twin: Twin, wanted: Mapping[str, float]) -> bool:
    return wanted.get("K") == twin.steps_per_time


def of_networks(study: RntkStudy, layout: RntkLayout, rate: Rate, values: Mapping[str, float]) -> list[Path]:
    """The same of a study of the recurrent NTK."""
    names = [named.name for named in study.elmans if named.at == rate.at]
    kind = "descent" if rate.quantity == STEP_GAP else KINDS.get(rate.quantity)
    cells = [cell for cell in rntk_plan.cells(study) if cell.kind == kind and cell.network in names]
    if rate.quantity == STEP_GAP:  # from the outputs of the widest networks at their start
        return [layout.kernels, *(layout.networks(cell) for cell in sorted(cells, key=lambda cell: cell.width)[-1:])]
    return [layout.networks(cell) for cell in cells if cell.width == values.get("n")]
