"""The kinds of studies, by the name that a study file gives them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from rnnlimits.base.errors import StudyError
from rnnlimits.elman import checks as rntk_checks
from rnnlimits.elman import plan as rntk_plan
from rnnlimits.elman.layout import RntkLayout
from rnnlimits.study import AnyStudy, RntkStudy, Study
from rnnlimits.training import checks, plan
from rnnlimits.training.layout import Layout


def check(study: AnyStudy) -> list[str]:
    """Findings of all numerical checks, one readable line each. Raises StudyError or KernelError for a bad study."""
    return rntk_checks.check(study) if isinstance(study, RntkStudy) else checks.check(study)


def require_training(study: AnyStudy, what: str) -> Study:
    """The study, if it is of `experiment: training`; else StudyError: `what` is not for it."""
    if isinstance(study, Study):
        return study
    raise StudyError(
        f"{study.source}: experiment is rntk, which has no {what}; its stages are train, rates, figures and report, "
        "which rnnlimits run does one after the other"
    )


def ensembles(study: AnyStudy, root: Path) -> Iterator[tuple[Path, list[Path]]]:
    """Every ensemble of a study whose results folder is `root`, with its shards."""
    if isinstance(study, RntkStudy):
        yield from _of_networks(study, RntkLayout(root))
        return
    layout = Layout(root)
    for cell in plan.cells(study):
        identity = plan.cell_id(study, cell)
        yield layout.ensemble(cell), [layout.shard(block, identity) for block in plan.blocks(study, cell)]
    for twin in plan.twins(study):
        identity = plan.twin_id(study, twin)
        yield layout.twin(twin), [layout.twin_shard(block, identity) for block in plan.twin_blocks(study, twin)]


def _of_networks(study: RntkStudy, layout: RntkLayout) -> Iterator[tuple[Path, list[Path]]]:
    for cell in rntk_plan.cells(study):
        identity = rntk_plan.cell_id(study, cell)
        yield layout.networks(cell), [layout.block_shard(block, identity) for block in rntk_plan.blocks(study, cell)]


def results(study: AnyStudy, root: Path) -> list[Path]:
    """The files that a finished study has in its results folder `root`."""
    if isinstance(study, RntkStudy):
        layout = RntkLayout(root)
        return [layout.kernels, layout.rates_h5, *(layout.networks(cell) for cell in rntk_plan.cells(study))]
    ours = Layout(root)
    return [ours.draw, ours.limit, ours.rates_h5, *(ours.ensemble(cell) for cell in plan.cells(study))]
