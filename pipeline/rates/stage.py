"""The rates stage: from ensembles, draws and the limit to exponents with intervals, verdicts, rates.h5 and rates.csv.

Nothing here knows a particular quantity: those are in estimators.py; how a fit is made is in powerlaw.py.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import h5py
import numpy as np

from rnnlimits.base import progress
from rnnlimits.base.errors import StudyError
from rnnlimits.base.streams import Stream
from rnnlimits.files import store
from rnnlimits.files.ensembles import open_ensemble
from rnnlimits.quantities import constants as poisson_rates
from rnnlimits.quantities import loss as loss_rates
from rnnlimits.quantities import surface
from rnnlimits.quantities.estimators import (
    CONTRACTIONS,
    ENTRIES,
    TWIN_ENTRIES,
    Contraction,
    Design,
    Quantity,
    Trainings,
    average,
)
from rnnlimits.statistics import powerlaw
from rnnlimits.statistics.bootstrap import Array, Bootstrap, standard_error
from rnnlimits.statistics.powerlaw import Fit, Point, RateUndetermined
from rnnlimits.statistics.ratefile import Rate, RatePoint, read, refusal, table, write_csv, write_h5
from rnnlimits.statistics.verdicts import Expected, judge_fit
from rnnlimits.theory import observe
from rnnlimits.theory.couplings import RESOLVED
from rnnlimits.theory.laws import ParameterLaw
from rnnlimits.training import plan
from rnnlimits.training.plan import Cell, Twin

if TYPE_CHECKING:
    from rnnlimits.kernels.problem import Backend
    from rnnlimits.study import Study
    from rnnlimits.training.layout import Layout

__all__ = ["Rate", "RatePoint", "read", "run", "table"]

K_BELOW_N = 4  # K <= N / 4 counts as well below N: the kernel's own N^-1/2 noise is then some 6% of the variance
OBSERVED_VARIABLES = (*observe.MEMORY, *observe.KERNEL)
LOST = 0.01  # a step counts while at most this fraction of the coupled pairs has fallen below couplings.RESOLVED
TRANSIENT = 1e-2  # contraction counts once distances have shrunk by this: before, they see finite differences
MOST_COUPLINGS = 1024  # pairs are averaged into this many units: more would only cost memory


# --- the stage -------------------------------------------------------------------------------------------------


def run(study: Study, layout: Layout, be: Backend) -> list[Rate]:
    """Estimate every rate that the study's files allow; write rates.h5 and rates.csv. For one process.

    be: back end, used for the bootstrap's uniforms only. Raises StudyError for a file that is missing, damaged or of
    another study.
    """
    bootstrap = Bootstrap(
        lambda units, count: be.uniforms(study.seed, Stream.BOOTSTRAP, units.astype(np.uint32), count)
    )
    cells = plan.cells(study)
    found = list(training_rates(study, layout, cells, bootstrap))
    with store.open_complete(layout.draw, "draw", draw_id=plan.draw_id(study)) as file:
        found += contraction_rates(study, file, bootstrap)
    found += loss_rates.rates(study, layout, bootstrap)
    if layout.poisson.exists():
        found += poisson_rates.rates(study, layout, bootstrap)
    else:
        progress.note(f"{layout.poisson}: is not there, so no constants are compared (rnnlimits poisson STUDY)")
    found = together(found)
    attrs = {**store.provenance(study), "draw_id": plan.draw_id(study), "backend": be.name, "device": be.device}
    write_h5(layout.rates_h5, attrs, found)
    write_csv(layout.rates_csv, found)
    progress.note(f"{layout.rates_csv}: {len(found)} rates")
    return found


def together(rates: Sequence[Rate]) -> list[Rate]:
    """The rates with those of one quantity side by side, quantities in the order of their first rate."""
    order = {quantity: index for index, quantity in enumerate(dict.fromkeys(rate.quantity for rate in rates))}
    return sorted(rates, key=lambda rate: order[rate.quantity])


def training_rates(study: Study, layout: Layout, cells: Sequence[Cell], bootstrap: Bootstrap) -> Iterator[Rate]:
    """Every quantity of the registry along every ladder of cells that has one."""
    law = ParameterLaw.of(study)
    section = study.training
    design = Design(law.symmetric_c, section.antithetic, study.twin.follow, section.kernel, section.checkpoints[0] == 0)
    read = Reader(study, layout, design)
    for quantity in ENTRIES:
        if not quantity.exists(design):
            continue
        for ladder in ladders(quantity.variable, cells):
            if quantity.deep and not all(shallow(cell, cells) for cell in ladder.cells):
                continue
            yield training_rate(study, quantity, ladder, design, read, bootstrap)
    yield from twin_rates(study, read, bootstrap)
    yield from surface.rates(study, cells, read, bootstrap)


def twin_rates(study: Study, read: Reader, bootstrap: Bootstrap) -> Iterator[Rate]:
    """What infinite-width twins show along the ladder of all their K."""
    twins = plan.twins(study)
    if len(twins) < 2:
        return
    for entry in TWIN_ENTRIES:
        blank = Rate(study.name, entry.name, "twin", "K", "N=infinity")
        points = []
        for twin in twins:
            sample = entry.sample(read.twin(twin))
            point = powerlaw.measure(twin.steps_per_time, sample, bootstrap)
            slack = read.output_slack if entry.against_limit else 0.0
            points.append(powerlaw.held_against(point, slack, 1.0, bootstrap))
        yield judged(blank, points, Expected(entry.expected, "heuristic"))


def shallow(cell: Cell, cells: Sequence[Cell]) -> Cell | None:
    """The cell of depth 1 with all replicas of a deeper one, or None."""
    alike = (replace(other, depth=cell.depth, replicas=cell.replicas) == cell for other in cells)
    found = [other for other, same in zip(cells, alike, strict=True) if same and other.depth == 1 < cell.depth]
    return found[0] if found and found[0].replicas >= cell.replicas else None


class Ladder(NamedTuple):
    """Cells along which a variable goes to infinity; at: their fixed coordinates; refusal: why no rate follows."""

    at: str
    cells: list[Cell]
    refusal: str = ""


def ladders(variable: str, cells: Sequence[Cell]) -> list[Ladder]:
    """Groups of cells along which `variable` goes to infinity, each with its fixed coordinates.

    N: the diagonal K = N, for each beta and depth. K: every K at one N, beta and depth. A group in which the variable
    takes several values, but too few of them count, comes with a refusal; one with a single value is no ladder.
    """
    grouped: dict[str, list[Cell]] = {}
    tell_depth = len({cell.depth for cell in cells}) > 1
    for cell in sorted(cells, key=lambda cell: (cell.depth, cell.beta, cell.width, cell.steps_per_time)):
        fixed = [f"beta={cell.beta:g}"] + [f"depth={cell.depth}"] * tell_depth
        grouped.setdefault(" ".join(fixed + [f"N={cell.width}"] * (variable == "K")), []).append(cell)
    make = _diagonal if variable == "N" else _steps_ladder
    made = [make(at, members) for at, members in grouped.items()]
    return [ladder for ladder in made if ladder.cells or ladder.refusal]


def _diagonal(at: str, cells: Sequence[Cell]) -> Ladder:
    """The cells with K = N. Widths that have none are lost to the rate: said where too few others are left."""
    diagonal = [cell for cell in cells if cell.steps_per_time == cell.width]
    widths, left = {cell.width for cell in cells}, [str(cell.width) for cell in diagonal]
    if len(left) >= powerlaw.MINIMUM_POINTS or len(left) == len(widths) or len(widths) == 1:
        return Ladder(at, diagonal)
    have = f"no widths with K = N (of {len(widths)})"
    if left:
        have = f"{len(left)} of {len(widths)} widths with K = N ({', '.join(left)})"
    return Ladder(at, diagonal, f"{have}, {powerlaw.MINIMUM_POINTS} are needed; set steps_per_time: [width]")


def _steps_ladder(at: str, cells: list[Cell]) -> Ladder:
    """All the cells, refused where they are too few; a single one is no ladder."""
    if len(cells) == 1:
        return Ladder(at, [])
    few = len(cells) < powerlaw.MINIMUM_POINTS
    return Ladder(at, cells, f"{len(cells)} values of K, {powerlaw.MINIMUM_POINTS} are needed" if few else "")


def training_rate(
    study: Study,
    quantity: Quantity,
    ladder: Ladder,
    design: Design,
    read: Callable[[Cell], Trainings],
    bootstrap: Bootstrap,
) -> Rate:
    """One rate of one quantity, or its refusal (with the points, unless they would be wrong themselves)."""
    blank = Rate(study.name, quantity.name, quantity.estimator, quantity.variable, ladder.at)
    if reason := quantity.refusal(design):
        return replace(blank, note=refusal(reason))
    points = [training_point(quantity, cell, read(cell), bootstrap) for cell in ladder.cells]
    if reason := quantity.no_law(design) or ladder.refusal:
        return replace(fitted(blank, None, points), note=refusal(reason, quantity.remark(design)))
    expected = Expected(quantity.expected(ladder.cells[0].beta, design), quantity.expected_kind)
    remarks = (quantity.remark(design), quantity.report(read(ladder.cells[-1]))) if ladder.cells else ("",)
    return judged(blank, points, expected, "; ".join(filter(None, remarks)))


def training_point(quantity: Quantity, cell: Cell, trainings: Trainings, bootstrap: Bootstrap) -> Point:
    """The estimate of one cell, left out where the limit's own error or the cell's own K/N spoils it."""
    variable = cell.width if quantity.variable == "N" else cell.steps_per_time
    sample = quantity.sample(trainings)
    point = powerlaw.measure(variable, sample, bootstrap)
    if quantity.variable == "K" and cell.steps_per_time * K_BELOW_N > cell.width:
        return point.drop(f"K is not well below N (K > N/{K_BELOW_N})")
    return powerlaw.held_against(point, quantity.slack(trainings), quantity.leverage(trainings), bootstrap)


def judged(blank: Rate, points: Sequence[Point], expected: Expected, remark: str = "") -> Rate:
    """Fit the points, compare with what is expected, and fill in the row."""
    row = replace(blank, expected=expected.value, expected_kind=expected.kind)
    geometric = blank.law == "geometric"
    try:
        found = powerlaw.fit(points, geometric)
    except RateUndetermined as short:
        return replace(fitted(row, short.estimate, short.points), note=refusal(str(short), remark))
    verdict, reason = judge_fit(found, expected)
    note = "; ".join(filter(None, (reason, *found.notes, remark)))
    return replace(fitted(row, found, found.points), verdict=verdict, note=note)


def fitted(row: Rate, found: Fit | None, points: Sequence[Point]) -> Rate:
    """The row with a fit's numbers (none if there is no fit) and its points."""
    if found is None:
        cloud = tuple(RatePoint(p.variable, p.estimate, p.stderr, False, p.replicas) for p in points)
        return replace(row, cloud=cloud, replicas=min((p.replicas for p in points), default=0))
    return replace(
        row,
        exponent=found.slope.value,
        stderr=found.slope.stderr,
        ci_low=found.slope.low,
        ci_high=found.slope.high,
        prefactor=found.prefactor,
        points=int(found.used.sum()),
        replicas=min(point.replicas for point, used in zip(points, found.used, strict=True) if used),
        chi2_p=found.chi2_p,
        cloud=tuple(_cloud(found)),
    )


def _cloud(found: Fit) -> Iterator[RatePoint]:
    local = iter(found.local)
    for point, used in zip(found.points, found.used, strict=True):
        slope = next(local, None) if used else None
        three = (slope.value, slope.low, slope.high) if slope else (math.nan,) * 3
        yield RatePoint(point.variable, point.estimate, point.stderr, bool(used), point.replicas, *three)


# --- contraction -----------------------------------------------------------------------------------------------


def contraction_rates(study: Study, file: h5py.File, bootstrap: Bootstrap) -> Iterator[Rate]:
    """Geometric rates of the coupled paths in draw.h5."""
    for entry in CONTRACTIONS:
        if entry.distance not in file:
            continue
        blank = Rate(study.name, entry.name, "coupling", entry.variable, "N=infinity", law="geometric")
        distance = file[entry.distance]
        step = file[store.dims_of(distance)[-1]][()].astype(np.float64)
        log_distance = distance[()].reshape(-1, len(step))
        expected = _expected_contraction(study, file, entry, bootstrap)
        yield contraction_rate(blank, step, log_distance, expected, bootstrap)


def contraction_rate(blank: Rate, step: Array, log_distance: Array, expected: Expected, bootstrap: Bootstrap) -> Rate:
    """Rate of decay of exp(mean log distance), log_distance (pair, step) with NaN where a distance is rounding."""
    points = []
    for index in resolved_steps(log_distance):
        column = np.nan_to_num(log_distance[:, index], nan=math.log(RESOLVED))
        point = _log_point(step[index], grouped(column), bootstrap)
        points.append(replace(point, replicas=len(column)))
    remark = (
        ""
        if len(points) >= powerlaw.MINIMUM_POINTS
        else "distances fall below rounding, or to zero, within a few steps"
    )
    return judged(blank, points, expected, remark)


def resolved_steps(log_distance: Array) -> list[int]:
    """Indices of steps after the transient at which nearly all distances are still resolved."""
    lost = np.isnan(log_distance).mean(0)
    resolved = [index for index in range(log_distance.shape[1]) if lost[index] <= LOST]
    mean = np.nanmean(log_distance[:, resolved], axis=0) if resolved else np.zeros(0)
    late = [index for index, value in zip(resolved, mean, strict=True) if value <= mean[0] + math.log(TRANSIENT)]
    return late if len(late) >= powerlaw.MINIMUM_POINTS else resolved


def grouped(values: Array) -> Array:
    """Values (pair,) averaged over consecutive pairs into at most MOST_COUPLINGS units of equal size."""
    size = -(-len(values) // MOST_COUPLINGS)
    return np.asarray(values[: len(values) // size * size].reshape(-1, size).mean(1))


def _log_point(variable: float, logs: Array, bootstrap: Bootstrap) -> Point:
    """The point whose logarithm is the mean of `logs` (unit,); its error is symmetrical there, whatever its size."""
    drawn = bootstrap.resample(average(logs[:, None]))
    estimate, error = math.exp(drawn.value), standard_error(drawn.replicates)
    return Point(
        float(variable),
        estimate,
        estimate * error,
        math.inf,
        drawn.value,
        drawn.replicates,
        drawn.influence,
        len(logs),
    )


def measured_rate(log_slope: Array, bootstrap: Bootstrap) -> Expected:
    """A rate of decay, minus the mean of log_slope (unit,), with what a joint comparison needs."""
    drawn = bootstrap.resample(average(log_slope[:, None]))
    return Expected(-drawn.value, "exact", drawn.value - drawn.replicates, -drawn.influence)


def _expected_contraction(study: Study, file: h5py.File, entry: Contraction, bootstrap: Bootstrap) -> Expected:
    """E log|dF/dm| for the memory, on the same pairs; the spectral radius for a linear chain; none for others."""
    if entry.name == "memory_contraction":
        return measured_rate(grouped(file["log_slope"][()].reshape(-1)), bootstrap)
    if study.chain.gaussian() is not None and "mixing_rate" in file:
        return Expected(-math.log(float(file["mixing_rate"][()])), "exact")
    return Expected(math.nan, "")


# --- reading ---------------------------------------------------------------------------------------------------


class Reader:
    """Trainings of a cell at the final time, as errors against the limit; each file is read once."""

    def __init__(self, study: Study, layout: Layout, design: Design) -> None:
        self.study, self.layout, self.design = study, layout, design
        self._known: dict[Cell, Trainings] = {}
        with store.open_complete(layout.limit, "limit", limit_id=plan.limit_id(study)) as file:
            if not np.array_equal(file["time"][()], study.training.checkpoints):
                raise StudyError(f"{layout.limit}: has other checkpoints than the study; run the limit stage again")
            self.output, self.memory = file["output"][-1], file["memory"][()]
            self._twins: dict[Twin, tuple[Array, Array]] = {}
            errors = (file["output_error_draws"][-1], file["output_error_nodes"][-1])
            self.output_slack = float(np.sqrt(sum(np.square(error).mean() for error in errors)))
            self.node_slack = float(np.sqrt(np.square(errors[1]).mean()))
            self.memory_slack = float(np.sqrt(np.square(file["memory_error_nodes"][()]).mean()))

    def __call__(self, cell: Cell) -> Trainings:
        """Read a cell's ensemble. Raises StudyError if it is missing or not this cell's."""
        if cell not in self._known:
            path = self.layout.ensemble(cell)
            with open_ensemble(path, cell_id=plan.cell_id(self.study, cell)) as file:
                self._known[cell] = self._trainings(path, file, cell)
        return self._known[cell]

    def _trainings(self, path: Path, file: h5py.File, cell: Cell) -> Trainings:
        order = np.lexsort((-file["sign"][()], file["pair"][()]))
        members = 2 if self.design.antithetic else 1
        if len(order) < cell.replicas or len(order) % members:
            raise StudyError(f"{path}: has {len(order)} replicas, expected {cell.replicas}; run the train stage again")

        def arranged(values: Array) -> Array:
            return np.asarray(values[order].reshape(-1, members, *values.shape[1:]), dtype=np.float64)

        return Trainings(
            output=arranged(file["output"][:, -1] - self.output),
            memory=arranged(file["memory"][:, -1] - self.memory),
            drift=arranged(file["drift_c_max"][:, -1]),
            symmetric=self.design.symmetric,
            output_slack=self.output_slack,
            memory_slack=self.memory_slack,
            node_slack=self.node_slack,
            loss=arranged(file["loss"][()]),
            loss_time=file["loss_time"][()],
            final={name: arranged(file[name][:, -1]) for name in OBSERVED_VARIABLES if name in file},
            initial={name: arranged(file[name][:, 0]) for name in OBSERVED_VARIABLES if name in file}
            if self.design.initial
            else {},
            shallow=self._shallow(cell, len(order) // members),
            **self._beside(cell, len(order) // members),
        )

    def _shallow(self, cell: Cell, units: int) -> Array | None:
        """Errors of the same trainings at depth 1, where there are any."""
        other = shallow(cell, plan.cells(self.study))
        return self(other).output[:units] if other else None

    def _beside(self, cell: Cell, units: int) -> dict[str, Array]:
        """The twins of a cell's paths, one for each unit; nothing where trainings are not followed."""
        if not self.study.twin.follow:
            return {}
        (twin,) = (twin for twin in plan.twins(self.study) if twin.steps_per_time == cell.steps_per_time)
        output, loss = self._read_twin(twin)
        return {"twin": output[:units], "twin_loss": loss[:units]}

    def twin(self, twin: Twin) -> Array:
        """Errors against the limit of all twins of one K at the final time, (path, probe)."""
        return self._read_twin(twin)[0]

    def _read_twin(self, twin: Twin) -> tuple[Array, Array]:
        """Errors of the outputs (path, probe), losses (path, bin). Raises StudyError if they are missing or others'."""
        if twin not in self._twins:
            path, identity = self.layout.twin(twin), plan.twin_id(self.study, twin)
            with open_ensemble(path, "twin-ensemble", twin_id=identity) as file:
                if len(file["path"]) < twin.paths:
                    raise StudyError(
                        f"{path}: has {len(file['path'])} paths, expected {twin.paths}; run the twin stage"
                    )
                self._twins[twin] = (file["output"][:, -1] - self.output, file["loss"][()])
        return self._twins[twin]
