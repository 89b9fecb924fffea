"""The rates stage of a study of the recurrent NTK: exponents with intervals, verdicts, rates.h5, rates.csv, kernels.h5.

This module knows only one particular quantity, the gap in steps, which needs only the networks' outputs before
training; the others are registered by quantities/elman.py.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace

import numpy as np

from rnnlimits.base import progress
from rnnlimits.base.errors import StudyError
from rnnlimits.base.streams import Stream
from rnnlimits.elman import plan
from rnnlimits.elman.layout import RntkLayout
from rnnlimits.elman.plan import Cell
from rnnlimits.elman.train import VARIABLES, World, linear_descent, linear_flow, step_size
from rnnlimits.files import store
from rnnlimits.files.ensembles import open_ensemble
from rnnlimits.kernels import rntk
from rnnlimits.kernels.interface import Array, Backend, KernelError
from rnnlimits.quantities.base import in_order, registered
from rnnlimits.quantities.elman import STEP_GAP, ElmanQuantity, Limits, Values, units
from rnnlimits.statistics import powerlaw
from rnnlimits.statistics.bootstrap import Bootstrap
from rnnlimits.statistics.families import settled
from rnnlimits.statistics.ratefile import Rate, write_csv, write_h5
from rnnlimits.statistics.rows import judged
from rnnlimits.statistics.samples import rms
from rnnlimits.statistics.verdicts import Expected
from rnnlimits.study.elman import Named, RntkStudy


def run(study: RntkStudy, layout: RntkLayout, be: Backend) -> list[Rate]:
    """Estimate every rate that the study's files allow; write kernels.h5, rates.h5 and rates.csv. For one process.

    be: back end, used for random numbers only. Raises StudyError for a file that is missing, damaged or from
    another study.
    """
    bootstrap = Bootstrap(lambda unit, count: be.uniforms(study.seed, Stream.BOOTSTRAP, unit.astype(np.uint32), count))
    shared = World.of(study, be)
    limits = {named.name: limits_of(study, named, shared) for named in study.elmans}
    attrs = {**store.provenance(study), "backend": be.name, "device": be.device}
    write_kernels(study, layout, shared, limits, attrs)
    read = Reader(study, layout, shared, limits)
    with np.errstate(all="ignore"):  # points say themselves where a number is not finite
        found = in_order([*network_rates(study, read, bootstrap), *step_rates(study, read, bootstrap)])
    rates = [replace(rate, study_id=study.identity) for rate in settled(found)]
    write_h5(layout.rates_h5, attrs, rates)
    write_csv(layout.rates_csv, rates)
    progress.note(f"{layout.rates_csv}: {len(rates)} rates")
    return rates


def limits_of(study: RntkStudy, named: Named, shared: World) -> Limits:
    """The limit's kernels of one network, in double precision whatever the networks' precision."""
    try:
        ntk, nngp = rntk.gram(shared.x, network=named.elman, kernel="both", backend="numpy")
    except KernelError as error:
        raise StudyError(f"{study.source}: network {named.name}: {error}") from None
    rate = step_size(study, named.elman, shared) if study.training else 0.0
    return Limits(np.asarray(ntk), np.asarray(nngp), rate)


def network_rates(study: RntkStudy, read: Reader, bootstrap: Bootstrap) -> Iterator[Rate]:
    """The rate of every quantity of the registry for every network, in the width n."""
    for entry in registered(ElmanQuantity):
        for named in study.elmans:
            if not (widths := entry.widths(study, named)):
                continue
            points = [powerlaw.measure(width, entry.sample(read(entry, named, width)), bootstrap) for width in widths]
            expected = Expected(entry.expected(named.elman.activation), entry.expected_kind)
            row = entry.row(study.name, named.at)
            yield judged(row, points, expected, entry.remark, corrections=entry.corrections)


def step_rates(study: RntkStudy, read: Reader, bootstrap: Bootstrap) -> Iterator[Rate]:
    """Descent with the limit's kernel against gradient flow, from the outputs of the widest networks at their start."""
    if (section := study.training) is None:
        return
    for named in study.elmans:
        limit, target, start = read.limits[named.name], read.shared.target, read.start(named)
        total = limit.rate * section.steps
        flow = linear_flow(limit.ntk, start, target, total)
        points = []
        for steps in sorted(section.step_ladder):
            gap, finer = (linear_descent(limit.ntk, start, target, total / k, k) - flow for k in (steps, 2 * steps))
            point = powerlaw.measure(steps, rms(units(gap)), bootstrap)
            # The gap has no noise, but higher orders in 1/steps; doubling the steps shows their size.
            points.append(point.blur(bootstrap, abs(1 - 2 * rms_of(finer) / rms_of(gap))))
        row, expected = STEP_GAP.row(study.name, named.at), Expected(1.0, STEP_GAP.expected_kind)
        yield judged(row, points, expected, corrections=(1.0,))  # Euler's method has an expansion in 1/steps


def rms_of(values: Array) -> float:
    """Root mean square."""
    return float(np.sqrt(np.square(values).mean()))


class Reader:
    """Values of a cell, (unit, member, pair or sequence); each file is read once.

    ntk, nngp: minus the limit's, divided by the root of the product of the limit's diagonal entries of the two
    sequences. initial, network, linearised: outputs; limit: the initial outputs after descent with the limit's kernel.
    """

    def __init__(self, study: RntkStudy, layout: RntkLayout, shared: World, limits: Mapping[str, Limits]) -> None:
        self.study, self.layout, self.shared, self.limits = study, layout, shared, limits
        self._cells = {(cell.kind, cell.network, cell.width): cell for cell in plan.cells(study)}
        self._cache: dict[Cell, Values] = {}

    def __call__(self, entry: ElmanQuantity, named: Named, width: int) -> Values:
        """Values of one cell. Raises StudyError if its ensemble is missing or belongs to another cell."""
        cell = self._cells[entry.kind, named.name, width]
        if cell not in self._cache:
            limit, variables = self.limits[named.name], self._read(cell)
            errors = self._errors(variables, limit) if cell.kind == "kernel" else self._with_limit(variables, limit)
            self._cache[cell] = {name: units(values) for name, values in errors.items()}
        return self._cache[cell]

    def start(self, named: Named) -> Array:
        """Outputs (replica, sequence) of the widest trained networks before training."""
        widest = max(width for kind, name, width in self._cells if (kind, name) == ("descent", named.name))
        return self._read(self._cells["descent", named.name, widest])["initial"]

    def _read(self, cell: Cell) -> dict[str, Array]:
        path, identity = self.layout.networks(cell), plan.cell_id(self.study, cell)
        with open_ensemble(path, f"{cell.kind}-ensemble", cell_id=identity) as file:
            if len(file["replica"]) < cell.replicas:
                count = len(file["replica"])
                raise StudyError(f"{path}: has {count} replicas, the study {cell.replicas}; run the train stage again")
            file.load(list(VARIABLES[cell.kind]))
            return {name: file[name][()] for name in VARIABLES[cell.kind]}

    def _errors(self, values: Mapping[str, Array], limit: Limits) -> dict[str, Array]:
        first, second = np.array(list(plan.pairs(self.study))).T
        errors = {}
        for name, kernel in (("ntk", limit.ntk), ("nngp", limit.nngp)):
            size = np.sqrt(np.diag(kernel))
            errors[name] = (values[name] - kernel[first, second]) / (size[first] * size[second])
        return errors

    def _with_limit(self, values: Mapping[str, Array], limit: Limits) -> dict[str, Array]:
        assert self.study.training is not None
        steps = self.study.training.steps
        descended = linear_descent(limit.ntk, values["initial"], self.shared.target, limit.rate, steps)
        return {**values, "limit": descended}


def write_kernels(
    study: RntkStudy, layout: RntkLayout, shared: World, limits: Mapping[str, Limits], attrs: Mapping[str, object]
) -> None:
    """Write the sequences, the targets and the limit's kernels, complete or not at all (docs/format.md)."""
    names, lengths = list(limits), shared.x.lengths
    inputs = np.full((len(lengths), int(lengths.max()), shared.x.dimension), np.nan)
    for index, sequence in enumerate(shared.x):
        inputs[index, : len(sequence)] = sequence
    matrix = ("network", "sequence", "sequence_")
    networks = {named.name: asdict(named.elman) for named in study.elmans}
    with store.atomic_h5(layout.kernels, "rntk-limit", {**attrs, "networks": json.dumps(networks)}) as file:
        store.put(file, "network", names, ("network",), "1", "activation and number of layers")
        store.put(file, "length", lengths, ("sequence",), "1", "steps of each sequence")
        store.put(file, "x", inputs, ("sequence", "step", "input"), "1", "inputs, NaN beyond a sequence's end")
        store.put(
            file, "target", shared.target, ("trained",), "1", "targets of the sequences trained on, from the first"
        )
        for name, what in (("ntk", "tangent kernel"), ("nngp", "covariance kernel")):
            values = np.stack([getattr(limits[network], name) for network in names])
            store.put(file, name, values, matrix, "1", f"{what} of infinite width")
        rate = np.array([limits[network].rate for network in names])
        store.put(file, "step_size", rate, ("network",), "1", "step of gradient descent; 0 without training")
