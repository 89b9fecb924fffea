"""Rows of the law of outputs over networks, at beta = 1/2, where it does not shrink to a point."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from rnnlimits.base import progress
from rnnlimits.kernels import reference
from rnnlimits.quantities.base import N, NoLaw, registered
from rnnlimits.quantities.output_law import BETA, KURTOSIS, LawQuantity
from rnnlimits.quantities.trained import usual_corrections
from rnnlimits.rates.field import initial_field
from rnnlimits.rates.ladders import Ladder, ladders
from rnnlimits.rates.reader import Reader
from rnnlimits.statistics import powerlaw
from rnnlimits.statistics.bootstrap import Bootstrap
from rnnlimits.statistics.predictions import Predicted
from rnnlimits.statistics.ratefile import Rate, refusal
from rnnlimits.statistics.rows import judged, points_alone
from rnnlimits.statistics.verdicts import Expected
from rnnlimits.theory.initial_field import InitialField
from rnnlimits.training import plan
from rnnlimits.training.fourth_cumulant import kurtosis_of

if TYPE_CHECKING:
    from rnnlimits.kernels.interface import Backend
    from rnnlimits.statistics.powerlaw import Point


def law_rates(read: Reader, bootstrap: Bootstrap, be: Backend) -> Iterator[Rate]:
    """The rate of every quantity of laws along the ladders of beta = 1/2; empty if the study has none.

    be: computes the prediction of the kurtosis.
    """
    found = [one for one in ladders(N, read.cells) if not one.axis.fixes_richness and one.axis.value == BETA]
    if not found:
        return
    field = initial_field(read.study, read.layout, reference.backend())
    for entry in registered(LawQuantity):
        for ladder in found:
            predicted = predicted_kurtosis(ladder, read, be) if entry is KURTOSIS else []
            yield _rate(entry, ladder, field, read, bootstrap, predicted)


def predicted_kurtosis(ladder: Ladder, read: Reader, be: Backend) -> list[Predicted]:
    """The predicted kurtosis of each cell, of the widest one's richness; empty without pairs or tangents.

    The relative order that is left out, 1/N, is counted as an error.
    """
    study = read.study
    if not (study.rich.follow and study.rich.tangents and read.design.antithetic):
        return []
    progress.now("rates: predicted kurtosis")
    found = kurtosis_of(study, plan.tangent_twin(study, ladder.cells[-1]), be)
    if found is None:
        return []
    widths = [cell.width for cell in ladder.cells]
    return [
        Predicted(float(width), found.value / width, math.hypot(found.stderr, found.value / width) / width)
        for width in widths
    ]


def _rate(
    entry: LawQuantity,
    ladder: Ladder,
    field: InitialField,
    read: Reader,
    bootstrap: Bootstrap,
    predicted: Sequence[Predicted],
) -> Rate:
    row = entry.row(read.study.name, ladder.at)
    points = [_point(entry, ladder, place, field, read, bootstrap) for place in range(len(ladder.cells))]
    found = entry.applies(read.design)
    if isinstance(found, NoLaw):
        return points_alone(row, points, refusal(found.why, _floors(entry, ladder, read)))
    if ladder.refusal:
        return points_alone(row, points, refusal(ladder.refusal))
    expected = Expected(entry.expected(read.design), entry.expected_kind)
    return judged(row, points, expected, predicted=predicted, corrections=usual_corrections(BETA, read.design))


def _point(
    entry: LawQuantity, ladder: Ladder, place: int, field: InitialField, read: Reader, bootstrap: Bootstrap
) -> Point:
    cell = ladder.cells[place]
    trainings = read(cell)
    point = powerlaw.measure(cell.width, entry.sample(trainings, field), bootstrap)
    return powerlaw.held_against(point, entry.slack(trainings, field), 1.0, bootstrap)


def _floors(entry: LawQuantity, ladder: Ladder, read: Reader) -> str:
    """What chance alone gives, in words."""
    if entry.floor is None:
        return ""
    floors = ", ".join(f"{entry.floor(read(cell)):.2g} at {cell.width}" for cell in ladder.cells)
    return f"as many draws of the Gaussian itself: {floors}"
