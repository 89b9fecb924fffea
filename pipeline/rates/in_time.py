"""Rates of trained networks at the other checkpoints, and those of the largest value over all of them.

Cells are read one after the other, each once, since only points are kept. Rows at single checkpoints are shown and not
judged, so that a linear bootstrap is enough for them; suprema are judged like the rows at the end of training.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from rnnlimits.quantities.base import Applies, Quantity, registered
from rnnlimits.quantities.rich import RichQuantity
from rnnlimits.quantities.suprema import SupremumQuantity
from rnnlimits.quantities.trained import Design, TrainedQuantity
from rnnlimits.quantities.twins import TwinQuantity
from rnnlimits.rates.ladders import Ladder, ladders
from rnnlimits.rates.reader import Moment, Reader
from rnnlimits.rates.trained import expected_of, foreseen_of, held, variable_at
from rnnlimits.statistics import powerlaw
from rnnlimits.statistics.bootstrap import Array, Bootstrap, LinearBootstrap, Sample
from rnnlimits.statistics.powerlaw import Point
from rnnlimits.statistics.predictions import Foreseen, Predicted, predicted_point
from rnnlimits.statistics.ratefile import Rate
from rnnlimits.statistics.rows import judged
from rnnlimits.statistics.suprema import contenders, predicted_supremum, supremum
from rnnlimits.statistics.verdicts import Expected
from rnnlimits.training import plan
from rnnlimits.training.plan import Cell

NONE = Expected(float("nan"), "")


@dataclass
class Values:
    """Points and predicted values along ladders, and where a supremum lies: the training time, by the variable."""

    points: list[Point] = field(default_factory=list)
    predicted: list[Predicted] = field(default_factory=list)
    largest: dict[float, float] = field(default_factory=dict)

    def add(self, point: Point, predicted: Sequence[Predicted]) -> None:
        """A further point, with its prediction if it has one."""
        self.points.append(point)
        self.predicted += predicted


@dataclass(frozen=True)
class Course:
    """A quantity of one cell over checkpoints, resampled by a linear bootstrap; foreseen, predicted: perhaps empty."""

    samples: Sequence[Sample]
    points: Sequence[Point]
    foreseen: Sequence[Foreseen]
    predicted: Sequence[Predicted]

    @classmethod
    def of(cls, quantity: TrainedQuantity, cell: Cell, moments: Sequence[Moment], linear: Bootstrap) -> Course:
        """Measured and predicted at each of these checkpoints."""
        variable, predicted = variable_at(quantity, cell), quantity.predicted if quantity.predicted_in_time else None
        samples = [quantity.sample(moment.trainings) for moment in moments]
        cells = [moment.prediction for moment in moments if moment.prediction] if predicted else []
        foreseen = [foreseen_of(predicted, one) for one in cells] if predicted else []
        points = [powerlaw.measure(variable, sample, linear) for sample in samples]
        return cls(samples, points, foreseen, [predicted_point(variable, one, linear) for one in foreseen])


@dataclass(frozen=True)
class Line:
    """A quantity along a ladder that has a rate there."""

    quantity: TrainedQuantity
    ladder: Ladder
    design: Design


class InTime:
    """The values of all cells of a study at its checkpoints.

    earlier: by line and index of the checkpoint, all but the last; suprema: by line.
    """

    def __init__(self, read: Reader, bootstrap: Bootstrap) -> None:
        self.read, self._bootstrap, self._linear = read, bootstrap, LinearBootstrap(bootstrap)
        self.times = read.study.training.checkpoints
        self.lines = list(lines(read))
        self.earlier: dict[tuple[int, int], Values] = defaultdict(Values)
        self.suprema: dict[int, Values] = defaultdict(Values)
        if len(self.times) > 1:
            for cell in read.cells:
                self._gather(cell)

    def measured(
        self, sample: Callable[[Array], Sample], errors: Sequence[tuple[float, Array]], slack: float = 0.0
    ) -> list[Point]:
        """The points of errors (path, probe), each at its value of the variable; slack: the error of the limit."""
        points = (powerlaw.measure(variable, sample(error), self._linear) for variable, error in errors)
        return [powerlaw.held_against(point, slack, 1.0, self._linear) for point in points]

    def _gather(self, cell: Cell) -> None:
        here = [(index, line) for index, line in enumerate(self.lines) if cell in line.ladder.cells]
        if not here:
            return
        moments = self.read.moments(cell)
        for index, line in here:
            wanted = moments if line.quantity.supremum else moments[:-1]
            course = Course.of(line.quantity, cell, wanted, self._linear)
            for at, moment in enumerate(moments[:-1]):
                point = held(line.quantity, cell, course.points[at], moment.trainings, self._linear)
                self.earlier[index, at].add(point, course.predicted[at : at + 1])
            if line.quantity.supremum and course.foreseen:
                self._supremum(line.quantity, cell, course, moments, self.suprema[index])

    def _supremum(
        self, quantity: TrainedQuantity, cell: Cell, course: Course, moments: Sequence[Moment], into: Values
    ) -> None:
        variable, bootstrap = variable_at(quantity, cell), self._bootstrap
        likely = contenders([one.value for one in course.points], [one.value_replicates for one in course.points])
        found = supremum(variable, course.samples, likely, bootstrap)
        likely = contenders(
            [one.natural for one in course.predicted], [one.natural_replicates for one in course.predicted]
        )
        predicted = predicted_supremum(variable, course.foreseen, likely, bootstrap)
        moment = moments[found.largest]
        into.add(held(quantity, cell, found.point, moment.trainings, bootstrap), [predicted])
        into.largest[variable] = moment.time


def lines(read: Reader) -> Iterator[Line]:
    """The quantities that are measured at every checkpoint, along every ladder on which they have a rate."""
    for quantity in registered(TrainedQuantity):
        for ladder in ladders(quantity.variable, read.cells):
            design = replace(read.design, fixed_richness=ladder.axis.fixes_richness)
            applies = isinstance(quantity.availability(design), Applies) and not ladder.refusal
            if applies and quantity.in_time(design):
                yield Line(quantity, ladder, design)


def supremum_rates(found: InTime) -> Iterator[Rate]:
    """The rates of the largest value over the checkpoints, where they are predicted."""
    entries = {entry.base.key: entry for entry in registered(SupremumQuantity)}
    for index, values in found.suprema.items():
        line = found.lines[index]
        row = entries[line.quantity.key].row(found.read.study.name, line.ladder.at)
        expected = expected_of(line.quantity, line.ladder, line.design)
        remark = f"largest at t = {_told(values.largest)}"
        yield judged(row, values.points, expected, remark, predicted=values.predicted)


def _told(largest: Mapping[float, float]) -> str:
    """Where suprema lie, in words: 0, or 1 (N = 64 to 256), 2 (512)."""
    groups: dict[float, list[float]] = {}
    for variable in sorted(largest):
        groups.setdefault(largest[variable], []).append(variable)
    if len(groups) == 1:
        return f"{next(iter(groups)):g}"
    return ", ".join(f"{time:g} (at {', '.join(f'{one:g}' for one in where)})" for time, where in groups.items())


def earlier_rates(found: InTime) -> Iterator[Rate]:
    """The rates at all checkpoints but the last: networks, then twins, then rich twins."""
    for (index, at), values in found.earlier.items():
        line, time = found.lines[index], found.times[at]
        if any(point.value != 0 for point in values.points):
            expected = expected_of(line.quantity, line.ladder, line.design)
            yield _row(line.quantity, found, line.ladder.at, time, values, expected)
    for at, time in enumerate(found.times[:-1]):
        yield from _twin_rates(found, at, time)


def _row(quantity: Quantity, found: InTime, at: str, time: float, values: Values, expected: Expected) -> Rate:
    """One row; orders at infinity are those after some training."""
    blank = replace(quantity.row(found.read.study.name, at), time=time, in_time=True)
    return judged(blank, values.points, expected if time > 0 else NONE, predicted=values.predicted, corrections=())


def _twin_rates(found: InTime, at: int, time: float) -> Iterator[Rate]:
    """The rates of infinite-width twins in K and of rich twins in the richness, at one checkpoint."""
    read, study = found.read, found.read.study
    twins, rich = plan.twins(study), plan.rich_ladder(study)
    if time == 0:  # all of them start from the same output
        return
    for entry in registered(TwinQuantity):
        if len(twins) > 1 and not entry.without_leading:
            errors = [(twin.steps_per_time, read.twin_in_time(twin)[:, at]) for twin in twins]
            slack = read.slack_at(at) if entry.against_limit else 0.0
            values = Values(found.measured(entry.sample, errors, slack))
            yield _row(entry, found, "N=infinity", time, values, Expected(entry.expected, entry.expected_kind))
    for quantity in registered(RichQuantity) if rich else ():
        drifts = [(1 / twin.richness, read.rich_less_twin(twin)[:, at]) for twin in rich]
        values = Values(found.measured(quantity.sample, drifts))
        expected = Expected(quantity.order(read.design), quantity.expected_kind)
        yield _row(quantity, found, f"N=infinity K={study.rich.steps_per_time}", time, values, expected)
