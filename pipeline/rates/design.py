"""Design of experiment: how many replicas of each width resolve an exponent at the least cost of training.

A pilot shows the scatter of log estimates from replica to replica. An exponent is a linear combination of them, with
variance sum_ij w_i w_j c_ij / max(R_i, R_j), since replicas are shared between widths. R is chosen such that this is
small enough and sum_i cost_i R_i minimal. For one exponent, fixed weights and widths without common replicas that is
R_i ~ |w_i| sqrt(c_ii / cost_i) (Lagrange).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import isotonic_regression

from rnnlimits.base.errors import StudyError
from rnnlimits.base.streams import Stream
from rnnlimits.files.ensembles import open_ensemble
from rnnlimits.files.identities import carried
from rnnlimits.quantities.base import Applies, N, registered
from rnnlimits.quantities.own import quantities_of
from rnnlimits.quantities.trained import Design, TrainedQuantity, Trainings
from rnnlimits.rates import foretold
from rnnlimits.rates.ladders import ladders
from rnnlimits.rates.reader import Reader
from rnnlimits.statistics import powerlaw
from rnnlimits.statistics.bootstrap import Array, Bootstrap, degrees_of_freedom, quantile
from rnnlimits.statistics.powerlaw import HINT, MINIMUM_POINTS, MINIMUM_UNITS, RESOLUTION, SIGNIFICANCE, Point
from rnnlimits.study import to_yaml
from rnnlimits.theory.laws import ParameterLaw
from rnnlimits.training import plan
from rnnlimits.training.blocksize import with_own_replicas
from rnnlimits.training.plan import Cell

if TYPE_CHECKING:
    from pathlib import Path

    from rnnlimits.kernels.interface import Backend
    from rnnlimits.study import Study
    from rnnlimits.training.layout import Layout

LEAST_UNITS = 32  # per width, whatever its weight: the law is checked there too, and intervals are known to cover
LARGER = 4.0  # the exponent over the larger half of the widths is resolved to this many times the half-width
AIM = 0.95  # fraction of the half-width to aim at: estimates of it have errors, which are larger if it is too wide
MARGIN = 1.2  # a debiased square is planned to exceed its noise by this factor more than it must
MOST = 2.0**29  # units: a study may have 2^30 replicas
REPLICATES = 400  # of the bootstrap, which only decides whether a pilot's estimate exceeds its noise
ROUNDS = 60  # of the iteration; it converges in about 20


@dataclass(frozen=True, eq=False)
class Scatter:
    """A pilot's information about one exponent, for the widths (width,) of the study's ladder.

    x: log N. covariance (width, width): covariance of the influences of one unit on the log estimates. dof: degrees of
    freedom per unit. slack: relative error due to the limit's own error, all in one direction. least: the number of
    units that an estimate needs to count. exponent: that of the pilot's points.
    """

    at: str
    x: Array
    covariance: Array
    dof: Array
    slack: Array
    least: Array
    exponent: float = math.nan

    def contrast(self, units: Array, first: int = 0) -> Array:
        """Coefficients (width,) of the exponent over the widths from `first` on: the weights of powerlaw.fit."""
        weight = units / np.diag(self.covariance) * (np.arange(len(units)) >= first)
        offset = self.x - weight @ self.x / weight.sum()
        return np.asarray(-weight * offset / (weight @ offset**2), dtype=np.float64)

    def half_width(self, units: Array, first: int = 0) -> float:
        """Half the 95% interval that this many units (width,) will give."""
        a = self.contrast(units, first)
        own = np.square(a) * np.diag(self.covariance) / units
        variance = float(a @ (self.covariance / np.maximum.outer(units, units)) @ a)
        dof = max(3.0, float(own.sum()) ** 2 / float(np.square(own) @ (1 / (self.dof * units))))
        return quantile(dof) * float(np.sqrt(max(variance, 0.0) + float(a @ self.slack) ** 2))

    def pull(self, units: Array, first: int = 0) -> Array:
        """A_i (width,) in variance = sum_i A_i / R_i, for units that do not grow with N; w_i^2 c_ii if independent."""
        a = self.contrast(units, first)
        joint = np.outer(a, a) * self.covariance
        return np.asarray(np.diag(joint) + 2 * np.triu(joint, 1).sum(1), dtype=np.float64)


class Goal(NamedTuple):
    """One exponent, over the widths from `first` on, and the half-width that it should have."""

    scatter: Scatter
    half_width: float
    first: int = 0

    def excess(self, units: Array) -> float:
        """The predicted half-width, relative to the one that it should have."""
        return self.scatter.half_width(units, self.first) / self.half_width


def goals_of(scatters: Sequence[Scatter], half_width: float) -> list[Goal]:
    """Each exponent, and less precisely each over its larger half, so that cheap small widths do not decide alone."""
    half_width = AIM * half_width
    whole_ladders = [Goal(scatter, half_width) for scatter in scatters]
    larger = [Goal(s, LARGER * half_width, len(s.x) // 2) for s in scatters if len(s.x) >= MINIMUM_POINTS]
    return whole_ladders + larger


# --- the choice ------------------------------------------------------------------------------------------------


def choose(goals: Sequence[Goal], cost: Array, floor: Array, step: int = 1) -> Array:
    """Units (width,) that reach all goals at the least cost @ units; multiples of `step`, at least `floor`.

    cost (width,): the cost of one unit. No width has fewer units than a larger one. Otherwise two or three widths would
    get all the weight, and a pilot is too uncertain to determine which: such designs miss their goal by a sixth, and
    leave little to see whether the points follow one law. Each round takes the weights as given and moves the units
    towards Lagrange's sqrt(pull / cost), pooled over widths that would break the order; several goals share by
    multipliers, which grow where a goal is not met. The cheapest of all rounds is kept; as the first has equal
    replicas, the result never costs more. Raises StudyError if no number of replicas is enough.
    """
    least = np.maximum.reduce([floor, *(goal.scatter.least for goal in goals)])
    least = np.maximum.accumulate(least[::-1])[::-1]
    share, units, best = np.ones(len(goals)), np.ones(len(cost)), None
    for _ in range(ROUNDS):
        units = _scaled(goals, units, least)
        trimmed = _trimmed(goals, step * np.ceil(units / step - 1e-9), cost, least, step)
        best = trimmed if best is None or cost @ trimmed < cost @ best else best
        share = share * np.array([goal.excess(units) for goal in goals]) ** 2
        pull = sum(s * goal.scatter.pull(units, goal.first) for s, goal in zip(share, goals, strict=True))
        ordered = isotonic_regression(pull / cost, weights=cost, increasing=False).x
        aim = np.sqrt(np.maximum(ordered, 1e-9 * ordered.max()))
        units = np.sqrt(units * aim * (cost @ units) / (cost @ aim))
    assert best is not None
    return best


def _scaled(goals: Sequence[Goal], units: Array, least: Array) -> Array:
    """The units times the smallest factor that reaches all goals, at least `least` each."""

    def reached(factor: float) -> bool:
        return all(goal.excess(np.maximum(least, factor * units)) <= 1 for goal in goals)

    high = MOST / float(units.max())
    low = 1e-9 * high
    if not reached(high):
        raise Unresolvable(_unreachable(goals, np.maximum(least, high * units)))
    for _ in range(40):
        middle = float(np.sqrt(low * high))
        low, high = (low, middle) if reached(middle) else (middle, high)
    return np.asarray(np.maximum(least, high * units), dtype=np.float64)


def _unreachable(goals: Sequence[Goal], units: Array) -> str:
    worst = max(goals, key=lambda goal: goal.excess(units))
    floor = worst.scatter.half_width(units, worst.first)
    return (
        f"--resolve: out of reach at {worst.scatter.at}: with any number of replicas the limit's own error leaves a "
        f"half-width of {floor:.2g}; raise draws or limit.nodes, or ask for less"
    )


def _trimmed(goals: Sequence[Goal], units: Array, cost: Array, least: Array, step: int) -> Array:
    """Whole units without the blocks that rounding up made superfluous, the most expensive widths first."""
    units = units.copy()

    def enough(index: int, blocks: int) -> bool:
        units[index] = step * blocks
        return all(goal.excess(units) <= 1 for goal in goals)

    for index in np.argsort(-cost):
        next_larger = units[index + 1] if index + 1 < len(units) else 1
        low, high = int(np.ceil(max(least[index], next_larger) / step)) - 1, round(units[index] / step)
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if enough(index, middle) else (middle, high)
        units[index] = step * high
    return units


# --- the pilot -------------------------------------------------------------------------------------------------


def scatter_of(at: str, widths: Sequence[int], points: Sequence[Point], slack: Sequence[float]) -> Scatter:
    """The scatter of a ladder from the pilot's points, at some or all of its widths, and the slack of each.

    The variances are smoothed by a line in log N, like the fit's weights; it extends them to widths without a pilot.
    Correlations depend on the ratio of two widths; at ratios that the pilot lacks they are set to 0, the safe side.
    """
    positions = [list(widths).index(round(point.variable)) for point in points]
    x = np.log(np.array(widths, dtype=np.float64))
    influence = [point.units * point.log_influence for point in points]
    raw = np.array([np.square(one).mean() * len(one) / (len(one) - 1) for one in influence]) + RESOLUTION**2
    line = np.polynomial.Polynomial.fit(x[positions], np.log(raw), 1)
    size = np.exp(0.5 * line(x))
    dof = np.mean([degrees_of_freedom(one) / len(one) for one in influence])
    return Scatter(
        at=at,
        x=x,
        covariance=_correlation(x, positions, influence) * np.outer(size, size),
        dof=np.full(len(x), dof),
        slack=np.interp(x, x[positions], slack),
        least=np.interp(x, x[positions], [_least_units(point) for point in points]),
        exponent=-float(np.polyfit(x[positions], [point.log for point in points], 1)[0]),
    )


def _correlation(x: Array, positions: Sequence[int], influence: Sequence[Array]) -> Array:
    """Correlations (width, width) of influences over the units that two cells share, by their distance in octaves.

    Those at one distance are averaged, as each has an error of about a tenth. The result is made a correlation matrix.
    """
    distance = np.rint(np.abs(np.subtract.outer(x, x)) / np.log(2)).astype(int)
    by_distance: dict[int, list[float]] = {}
    for (i, one), (j, other) in itertools.combinations(zip(positions, influence, strict=True), 2):
        n = min(len(one), len(other))
        norm = np.sqrt(np.square(one[:n]).sum() * np.square(other[:n]).sum())
        by_distance.setdefault(distance[i, j], []).append(one[:n] @ other[:n] / norm if norm > 0 else 0.0)
    matrix = np.eye(len(x))
    for apart, values in by_distance.items():
        matrix[(distance == apart) & (matrix != 1)] = np.mean(values)
    size, vectors = np.linalg.eigh(matrix)
    matrix = (vectors * np.maximum(size, 1e-6)) @ vectors.T
    scale = np.sqrt(np.diag(matrix))
    return np.asarray(matrix / np.outer(scale, scale), dtype=np.float64)


def _least_units(point: Point) -> float:
    """The number of units with which a debiased square will exceed its noise."""
    if not point.signed:
        return float(LEAST_UNITS)
    return max(LEAST_UNITS, point.units * (MARGIN * SIGNIFICANCE / point.significance) ** 2)


class Unresolvable(StudyError):
    """No number of replicas gives the half-width."""


class TooWeak(StudyError):
    """A pilot that does not show how much trainings scatter."""


def existing(study: Study, layout: Layout, cell: Cell) -> int:
    """The number of existing trainings of a cell; those of another study do not count.

    Raises StudyError for a file that is damaged.
    """
    path = layout.ensemble(cell)
    try:
        now = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return 0
    return _counted(path, plan.cell_id(study, cell), (now.st_ino, now.st_mtime_ns, now.st_size))


@lru_cache(maxsize=4096)
def _counted(path: Path, identity: str, _: tuple[int, ...]) -> int:
    """The rows of an ensemble; asked for many times while a study is resolved."""
    seen = carried(path)
    if not seen.damage and identity not in seen.identities.values():
        return 0
    with open_ensemble(path, cell_id=identity) as file:
        return len(file["replica"])


def as_trained(study: Study, layout: Layout) -> Study:
    """The study with the replicas that exist, without ladders; widths without trainings keep a block."""
    block, cells = study.training.smallest_block, main_cells(study)
    found = [[existing(study, layout, cell) for cell in cells if cell.width == n] for n in study.training.width]
    replicas = tuple(max(block, *counts) for counts in found)
    training = study.training.model_copy(update={"replicas": replicas, "ladders": ()})
    return study.model_copy(update={"training": training})


class Pilot:
    """The existing trainings of a study, whatever their number, as points of one quantity in N."""

    def __init__(self, study: Study, layout: Layout, quantity: TrainedQuantity, be: Backend) -> None:
        self.study, self.layout, self.quantity = study, layout, quantity
        self.read = Reader(study, layout)
        self.bootstrap = Bootstrap(
            lambda units, count: be.uniforms(study.seed, Stream.BOOTSTRAP, units.astype(np.uint32), count), REPLICATES
        )

    def scatters(self, cells: Sequence[Cell]) -> Iterator[Scatter]:
        """The scatter of each ladder K = N of the cells. Raises StudyError if the pilot is too small."""
        for ladder in ladders(N, cells):
            if not ladder.cells:
                continue
            points, slack = [], []
            for cell in filter(self.has, ladder.cells):
                trainings = self.trainings(cell)
                point = powerlaw.measure(cell.width, self.quantity.sample(trainings), self.bootstrap)
                points.append(self._good(point, ladder.at))
                share = self.quantity.slack(trainings) / point.estimate
                slack.append(share * self.quantity.leverage(trainings))
            if len(points) < 2:
                raise StudyError(
                    f"{self.layout.root}: the pilot has {len(points)} widths at {ladder.at}; run 2 or more"
                )
            yield scatter_of(ladder.at, [cell.width for cell in ladder.cells], points, slack)

    def has(self, cell: Cell) -> bool:
        """Whether there is something to learn the scatter of a cell from."""
        return existing(self.study, self.layout, cell) > 0

    def trainings(self, cell: Cell) -> Trainings:
        """The trainings of a cell, whatever their number."""
        return self.read(replace(cell, replicas=1))

    def _good(self, point: Point, at: str) -> Point:
        where = f"{self.layout.root}: the pilot's {self.quantity.name} at {at} N={point.variable:g}"
        if point.units < MINIMUM_UNITS:
            raise TooWeak(f"{where} has {point.units} independent replicas; run a pilot of at least {MINIMUM_UNITS}")
        if not (point.estimate > 0 and point.significance > HINT):
            raise TooWeak(f"{where} does not stand out of its noise; run a pilot with more replicas or smaller widths")
        return point

    def replicas(self, cell: Cell) -> int:
        """The number of existing trainings of a cell."""
        return existing(self.study, self.layout, cell)


class PredictedPilot(Pilot):
    """What is predicted of the cells of a study, in place of trainings: nothing is trained."""

    def __init__(self, study: Study, layout: Layout, quantity: TrainedQuantity, be: Backend) -> None:
        super().__init__(foretold.small(study), layout, quantity, be)
        self._drawn = foretold.Foretold(study, layout, be)

    def has(self, cell: Cell) -> bool:
        """Every cell has a prediction."""
        return True

    def trainings(self, cell: Cell) -> Trainings:
        """Trainings that are drawn from the cell's prediction."""
        return self._drawn(cell)

    def _good(self, point: Point, at: str) -> Point:
        if not (point.estimate > 0 and point.significance > HINT):
            raise StudyError(
                f"{self.study.source}: {self.quantity.name} at {at} N={point.variable:g} would not stand out of the "
                f"noise of {foretold.UNITS} replicas or pairs; use smaller widths, or --quantity with another one"
            )
        return point


# --- the study -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Resolved:
    """A study with the chosen replicas, how many exist already (width,), and the predicted half-widths by ladder.

    learned: where the scatter is known from. at_widths: the exponent that is predicted over the study's own widths, by
    ladder, empty without predictions; laws: that of N to infinity.
    """

    study: Study
    quantity: TrainedQuantity
    replicas: tuple[int, ...]
    done: tuple[int, ...]
    half_widths: dict[str, float]
    learned: str = "from trainings"
    at_widths: dict[str, float] = field(default_factory=dict)
    laws: dict[str, float] = field(default_factory=dict)

    def to_yaml(self, folder: Path) -> str:
        """The text of the study file with the chosen replicas, to be written to `folder`."""
        return to_yaml(self.study, folder)

    def report(self, ns_per_unit_step: float, worker: str = "core") -> str:
        """The plan's table for the chosen replicas, then the predicted half-widths, and the line to paste."""
        cells = main_cells(self.study)
        steps = sum(plan.unit_steps(cell, self.study) for cell in cells)
        existing = dict(zip(self.study.training.width, self.done, strict=True))
        old = sum(plan.unit_steps(replace(c, replicas=min(c.replicas, existing[c.width])), self.study) for c in cells)
        predictions = ", ".join(f"{at} {self._exponent(at)}± {half:.3g}" for at, half in self.half_widths.items())
        new = (steps - old) * ns_per_unit_step / 3.6e12
        return "\n".join(
            [
                plan.summary(self.study, ns_per_unit_step, worker),
                f"{100 * old / steps:.0f}% of the training steps in width are done, {new:.3g} {worker}-hours remain",
                f"predicted for {self.quantity.name} ({self.quantity.estimator}), {self.learned}: {predictions}",
                *self._of_width(),
                f"replicas: [{', '.join(map(str, self.replicas))}]",
            ]
        )

    def _exponent(self, at: str) -> str:
        known = not self.learned.endswith("trainings") and at in self.at_widths
        return f"{self.at_widths[at]:.2f} " if known else ""

    def _of_width(self) -> list[str]:
        """What finite width alone does to the exponent of each ladder, as far as it is predicted."""
        lines = []
        for at, exponent in self.at_widths.items():
            law, half = self.laws[at], self.half_widths[at]
            beyond = "more" if abs(exponent - law) > half else "less"
            words = f"{exponent:.3f} in place of {law:.3g}, by {exponent - law:+.3f}, {beyond} than the half-width"
            lines.append(f"finite width alone makes the exponent of these widths at {at}, predicted: {words}")
        return lines


def resolve(study: Study, layout: Layout, be: Backend, half_width: float, name: str) -> Resolved:
    """Choose the replicas of the study's main product so that quantity `name` has the half-width in every ladder.

    be: a back end for the bootstrap's uniforms, on a processor. Existing trainings count, and are never removed.
    Ladders of the study (training.ladders) keep their replicas. Raises StudyError without a pilot, for a quantity that
    has no rate in N, and for a half-width out of reach.
    """
    with quantities_of(study):
        return _resolved(study, layout, be, half_width, quantity_of(study, name))


def _resolved(study: Study, layout: Layout, be: Backend, half_width: float, quantity: TrainedQuantity) -> Resolved:
    cells = main_cells(study)
    if not any(ladder.cells for ladder in ladders(N, cells)):
        raise StudyError(f"{study.source}: training has no ladder K = N to resolve; set steps_per_time: [width]")
    pilot, scatters = _learned(study, layout, quantity, be)
    members = 2 if study.training.antithetic else 1
    widths = study.training.width
    done = [max(pilot.replicas(cell) for cell in cells if cell.width == width) for width in widths]
    cost = [sum(plan.unit_steps(replace(c, replicas=members), study) for c in cells if c.width == n) for n in widths]
    units = _chosen(study, scatters, half_width, np.array(cost, dtype=np.float64), np.array(done) / members)
    replicas = tuple(round(members * one) for one in units)
    update = {"replicas": replicas, "ladders": with_own_replicas(study.training)}
    training = study.training.model_copy(update=update)
    by_ladder = _order(scatters[0], widths)
    half = {one.at: one.half_width(units[by_ladder]) for one in scatters}
    learned = "from predicted values" if isinstance(pilot, PredictedPilot) else "from trainings"
    return Resolved(
        study.model_copy(update={"training": training}),
        quantity,
        replicas,
        tuple(done),
        half,
        learned,
        _at_widths(study, layout, pilot, scatters, be),
        {one.at: quantity.expected(one.axis.order, pilot.read.design) for one in ladders(N, cells) if one.cells},
    )


def _at_widths(
    study: Study, layout: Layout, pilot: Pilot, scatters: Sequence[Scatter], be: Backend
) -> dict[str, float]:
    """The predicted exponent of each ladder over its widths; empty where predictions are missing."""
    if not isinstance(pilot, PredictedPilot):
        if not is_predicted(study) or pilot.quantity.predicted is None:
            return {}
        try:
            scatters = list(PredictedPilot(study, layout, pilot.quantity, be).scatters(main_cells(study)))
        except StudyError:
            return {}
    return {one.at: one.exponent for one in scatters}


def needs_predictions(study: Study, layout: Layout) -> bool:
    """Whether the study has to be resolved from what is predicted of it (foretold.prepare): too little is trained."""
    return is_predicted(study) and not _is_trained(study, layout)


def is_predicted(study: Study) -> bool:
    """Whether rich twins and their tangents predict the trainings of a study."""
    return study.rich.follow and bool(study.rich.tangents) and study.twin.follow


def _is_trained(study: Study, layout: Layout) -> bool:
    """Whether every ladder has trainings at two widths, from which the scatter of others follows."""
    found = [ladder.cells for ladder in ladders(N, main_cells(study)) if ladder.cells]
    return all(sum(existing(study, layout, cell) > 0 for cell in cells) >= 2 for cells in found)


def _learned(study: Study, layout: Layout, quantity: TrainedQuantity, be: Backend) -> tuple[Pilot, list[Scatter]]:
    """The pilot, and the scatter of each ladder: of trainings, or of predicted values where these do not show it."""
    cells = main_cells(study)
    if not needs_predictions(study, layout):
        pilot = _trained_pilot(study, layout, quantity, be)
        try:
            return pilot, list(pilot.scatters(cells))
        except TooWeak:
            if not is_predicted(study) or quantity.predicted is None:
                raise
    pilot = _predicted_pilot(study, layout, quantity, be)
    return pilot, list(pilot.scatters(cells))


def _predicted_pilot(study: Study, layout: Layout, quantity: TrainedQuantity, be: Backend) -> Pilot:
    require_predicted(study, layout, quantity)
    return PredictedPilot(study, layout, quantity, be)


def require_predicted(study: Study, layout: Layout, quantity: TrainedQuantity) -> None:
    """Raises StudyError for a quantity that has no predicted values."""
    if quantity.predicted is None:
        raise StudyError(
            f"--quantity {quantity.name}: has no predicted values, and {layout.root} too few trainings; run a pilot "
            f"first: rnnlimits run {study.source} with training.replicas: 64 or so (they will count)"
        )


def _trained_pilot(study: Study, layout: Layout, quantity: TrainedQuantity, be: Backend) -> Pilot:
    if not any(existing(study, layout, cell) for cell in main_cells(study)):
        raise StudyError(
            f"{layout.root}: has no trainings to learn the scatter from; run a pilot first: "
            f"rnnlimits run {study.source} with training.replicas: 64 or so (they will count), or set rich.follow and "
            "twin.follow: true, for predicted values"
        )
    return Pilot(as_trained(study, layout), layout, quantity, be)


def _chosen(study: Study, scatters: list[Scatter], half_width: float, cost: Array, done: Array) -> Array:
    """Units for each width in the order of the study; widths outside all ladders keep their number."""
    order = _order(scatters[0], study.training.width)
    step = study.training.paths_per_block
    floor = np.maximum(done[order], LEAST_UNITS)
    members = 2 if study.training.antithetic else 1
    units = np.array(study.training.products()[0].replicas) / members
    units[order] = choose(goals_of(scatters, half_width), cost[order], step * np.ceil(floor / step), step)
    return units


def _order(scatter: Scatter, widths: Sequence[int]) -> NDArray[np.int64]:
    """Positions in the study of the widths of a ladder."""
    return np.array([list(widths).index(round(width)) for width in np.exp(scatter.x)], dtype=np.int64)


def main_cells(study: Study) -> list[Cell]:
    """The cells of the main product, without ladders."""
    main = study.training.model_copy(update={"ladders": ()})
    return list(plan.cells(study.model_copy(update={"training": main})))


def quantity_of(study: Study, name: str) -> TrainedQuantity:
    """The best estimator of a quantity in N that the study has without twins. Raises StudyError if it has none."""
    design = Design(
        symmetric=ParameterLaw.of(study).symmetric_c,
        antithetic=study.training.antithetic,
        fixed_richness=study.training.richness is not None,
    )
    in_n = [one for one in registered(TrainedQuantity) if one.variable is N]
    allowed = [one for one in in_n if isinstance(one.availability(design), Applies)]
    estimators = [one for one in allowed if one.name == name]
    if not estimators:
        names = ", ".join(dict.fromkeys(one.name for one in allowed))
        raise StudyError(f"--quantity {name}: is not a quantity in N of this study; allowed: {names}")
    return estimators[-1]
