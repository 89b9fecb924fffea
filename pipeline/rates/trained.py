"""Rates of trained networks, and of their twins alone, along the ladders of a study."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

from rnnlimits.quantities.base import Absent, Applies, K, NoLaw, Refused, registered
from rnnlimits.quantities.prediction import CellPrediction, Foresight
from rnnlimits.quantities.rich import RichQuantity
from rnnlimits.quantities.trained import Design, TrainedQuantity, Trainings
from rnnlimits.quantities.twins import TwinQuantity
from rnnlimits.rates.ladders import Ladder, ladders, shallow
from rnnlimits.rates.reader import LAST, Reader
from rnnlimits.statistics import powerlaw
from rnnlimits.statistics.bootstrap import Bootstrap
from rnnlimits.statistics.powerlaw import Point
from rnnlimits.statistics.predictions import Foreseen, Predicted, predicted_point
from rnnlimits.statistics.ratefile import Rate, refusal
from rnnlimits.statistics.rows import judged, points_alone
from rnnlimits.statistics.verdicts import Expected
from rnnlimits.training import plan
from rnnlimits.training.plan import Cell

K_BELOW_N = 4  # K <= N / 4 counts as well below N: the kernel's own N^-1/2 noise is then about 6% of the variance


def training_rates(read: Reader, bootstrap: Bootstrap) -> Iterator[Rate]:
    """The rate of every registered quantity of trained networks along every ladder of cells that allows one."""
    for quantity in registered(TrainedQuantity):
        for ladder in ladders(quantity.variable, read.cells):
            has_shallow = all(shallow(cell, read.cells) for cell in ladder.cells)
            design = replace(read.design, shallow=has_shallow, fixed_richness=ladder.axis.fixes_richness)
            yield from training_rate(quantity, ladder, design, read, bootstrap)


def twin_rates(read: Reader, bootstrap: Bootstrap) -> Iterator[Rate]:
    """The rates of infinite-width twins along the ladder of all their K."""
    twins = plan.twins(read.study)
    if len(twins) < 2:
        return
    for entry in registered(TwinQuantity):
        if entry.without_leading and not read.has_leading:
            continue
        points = []
        for twin in twins:
            error = read.twin_less_leading(twin) if entry.without_leading else read.twin(twin)
            point = powerlaw.measure(twin.steps_per_time, entry.sample(error), bootstrap)
            slack = read.output_slack if entry.against_limit else 0.0
            points.append(powerlaw.held_against(point, slack, 1.0, bootstrap))
        row = entry.row(read.study.name, "N=infinity")
        expected = Expected(entry.expected, entry.expected_kind)
        yield judged(row, points, expected, corrections=entry.corrections)


def richness_rates(read: Reader, bootstrap: Bootstrap) -> Iterator[Rate]:
    """The rates of rich twins along the ladder of the richness, as it goes to zero."""
    for entry in registered(RichQuantity):
        ladder = plan.rich_ladder(read.study)
        samples = ((1 / twin.richness, entry.sample(read.rich_less_twin(twin)[:, LAST])) for twin in ladder)
        points = [powerlaw.measure(inverse, sample, bootstrap) for inverse, sample in samples]
        if points:
            row = entry.row(read.study.name, f"N=infinity K={read.study.rich.steps_per_time}")
            expected = Expected(entry.order(read.design), entry.expected_kind)
            yield judged(row, points, expected, corrections=(1.0, 2.0))


def training_rate(
    quantity: TrainedQuantity, ladder: Ladder, design: Design, read: Reader, bootstrap: Bootstrap
) -> Iterator[Rate]:
    """One rate of one quantity, or its refusal (with the points, unless they would be wrong); empty if it is absent."""
    row = quantity.row(read.study.name, ladder.at)
    match quantity.availability(design):
        case Absent():
            return
        case Refused(why):
            yield replace(row, note=refusal(why))
        case NoLaw(why, remark):
            points = _points(quantity, ladder, read, bootstrap)
            yield points_alone(row, points, refusal(why, remark), predictions_of(quantity, ladder, read, bootstrap))
        case Applies(remark):
            points = _points(quantity, ladder, read, bootstrap)
            if ladder.refusal:
                yield points_alone(row, points, refusal(ladder.refusal, remark))
                return
            remarks = "; ".join(filter(None, (remark, quantity.report(read(ladder.cells[-1])))))
            predicted = predictions_of(quantity, ladder, read, bootstrap)
            orders = quantity.corrections(ladder.axis.order, design)
            expected = expected_of(quantity, ladder, design)
            yield judged(row, points, expected, remarks, predicted=predicted, corrections=orders)


def expected_of(quantity: TrainedQuantity, ladder: Ladder, design: Design) -> Expected:
    """The order of a quantity at infinity along a ladder."""
    return Expected(quantity.expected(ladder.axis.order, design), quantity.expected_kind)


def _points(quantity: TrainedQuantity, ladder: Ladder, read: Reader, bootstrap: Bootstrap) -> list[Point]:
    return [training_point(quantity, cell, read(cell), bootstrap) for cell in ladder.cells]


def predictions_of(quantity: TrainedQuantity, ladder: Ladder, read: Reader, bootstrap: Bootstrap) -> list[Predicted]:
    """The predicted values of a ladder's points; empty if the quantity, or the study, has none."""
    if quantity.predicted is None:
        return []
    found = ((cell, read.prediction(cell)) for cell in ladder.cells)
    of_cells = [(cell, foreseen_of(quantity.predicted, one)) for cell, one in found if one is not None]
    return [predicted_point(variable_at(quantity, cell), value, bootstrap) for cell, value in of_cells]


def foreseen_of(predicted: Foresight, cell: CellPrediction) -> Foreseen:
    """What is predicted of a cell, with the errors that every prediction has."""
    foreseen = predicted(cell)
    return replace(foreseen, apart=math.hypot(foreseen.apart, cell.left_out))


def variable_at(quantity: TrainedQuantity, cell: Cell) -> int:
    """The value of a quantity's variable at a cell."""
    return cell.steps_per_time if quantity.variable is K else cell.width


def training_point(quantity: TrainedQuantity, cell: Cell, trainings: Trainings, bootstrap: Bootstrap) -> Point:
    """The estimate of one cell, left out if the limit's own error or the cell's own K/N spoils it."""
    point = powerlaw.measure(variable_at(quantity, cell), quantity.sample(trainings), bootstrap)
    return held(quantity, cell, point, trainings, bootstrap)


def held(quantity: TrainedQuantity, cell: Cell, point: Point, trainings: Trainings, bootstrap: Bootstrap) -> Point:
    """The point, left out if the limit's own error or the cell's own K/N spoils it."""
    if quantity.variable is K and cell.steps_per_time * K_BELOW_N > cell.width:
        return point.drop(f"K is not well below N (K > N/{K_BELOW_N})")
    return powerlaw.held_against(point, quantity.slack(trainings), quantity.leverage(trainings), bootstrap)
