"""The stage of tangents: how a rich twin responds to mass that moves from the law to one node, to second order.

From the responses follow, at every width N, the variance over networks, sum_q omega_q IF(q)^2 / N, and the 1/N term of
every mean, sum_q omega_q D^2(q) / 2N. Each direction is a rich twin of one more node, without mass, whose numbers
carry their first and second derivative with respect to the mass. Source: docs/model.md, "Finite width".

No states are saved: a block takes seconds, and is computed again after a kill.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import h5py
import numpy as np
from numpy.typing import NDArray

from rnnlimits.base.errors import StudyError
from rnnlimits.chains import paths as chains
from rnnlimits.files.store import put
from rnnlimits.kernels import on_processor
from rnnlimits.kernels.interface import Array, Backend, Trainer
from rnnlimits.ranks import sharded
from rnnlimits.ranks.binning import BinnedMean
from rnnlimits.ranks.parallel import Tick
from rnnlimits.ranks.sharded import Ensemble, Stage
from rnnlimits.study import Study
from rnnlimits.theory.kernel_response import KernelJets
from rnnlimits.theory.laws import ParameterLaw
from rnnlimits.theory.units import UnitNodes
from rnnlimits.training import plan
from rnnlimits.training.layout import Layout
from rnnlimits.training.plan import RichBlock, RichTwin
from rnnlimits.training.rich import (
    attributes,
    follow,
    kernel_training,
    other_nodes,
    put_coordinates,
    segments,
    signs,
    unit_nodes,
)
from rnnlimits.training.tangent_ends import ENDS, Ends

if TYPE_CHECKING:
    from mpi4py import MPI

STRETCH = 10  # steps by which the ends of probe histories are lengthened
FORGOTTEN = 1e-12  # what is left of a memory that no longer matters
VALUE, FIRST, SECOND = range(3)  # of the last axis of everything that carries derivatives

OBSERVED: dict[str, tuple[tuple[str, ...], str]] = {  # dimensions after path and member, and what it is
    "output": (("time", "probe"), "output on the probes"),
    "memory": (("time", "probe"), "memory on the probes"),
    "drift_w": (("time",), "mean square of |W_t - W_0|"),
    "drift_b": (("time",), "mean square of B_t - B_0"),
    "drift_c": (("time",), "mean square of C_t - C_0"),
    "loss": (("loss_time",), "loss along the path"),
    "late_loss": ((), "mean loss over the last quarter of the bins"),
}
PAIRED = ("output", "memory")  # what antithetic pairs are used for


@dataclass(frozen=True, eq=False)
class Response:
    """What follows from all directions of one path: by name, each (member, ...) or, of pairs, (...)."""

    value: dict[str, Array]
    variance: dict[str, Array]
    second: dict[str, Array]
    half: dict[str, Array]
    mean: dict[str, Array]
    error: Array  # of the value of the output, from the number of nodes: (member, time, probe)
    ends: dict[str, Array]  # of tangent_ends.ENDS, each (member, ...)


def run(study: Study, layout: Layout, comm: MPI.Intracomm, be: Backend) -> None:
    """Follow the tangents of all rich twins of a study, and write their ensembles. Collective over `comm`.

    Raises StudyError for a shard that is damaged or belongs to something else, and without compiled kernels.
    """
    if be.name == "numpy":
        raise StudyError(
            f"{study.source}: rich.tangents is {study.rich.tangents}, which needs compiled kernels; use --backend host,"
            " or set rich.tangents: 0"
        )
    sharded.run(comm, stage(study, layout, be))


def stage(study: Study, layout: Layout, be: Backend) -> Stage[RichBlock, Array, list[Response]]:
    """The stage that follows all tangents, with one ensemble for each rich twin. They are computed on the processor."""
    host = on_processor(be)
    return Stage(
        label="tangents",
        unit="steps",
        be=host,
        ensembles=lambda: [_ensemble(study, layout, twin) for twin in plan.tangent_twins(study)],
        size=lambda block: plan.twin_steps(block, study),
        prepare=lambda: recent(study, host),
        compute=lambda block, histories, tick, _: follow_block(study, host, block, histories, tick),
        write=lambda shard, block, responses: _put(shard, study, block, responses),
        join=sharded.linked_below(layout.root),
    )


def _ensemble(study: Study, layout: Layout, twin: RichTwin) -> Ensemble[RichBlock]:
    identity = plan.tangents_id(study, twin)
    return Ensemble(
        kind="tangents",
        path=layout.tangents(twin),
        dimension="path",
        identity={"tangents_id": identity},
        attributes=lambda: attributes(study, twin, {"tangents_id": identity}),
        blocks=plan.tangent_blocks(study, twin),
        shard=lambda block: layout.tangents_shard(block, identity),
    )


# --- one block ---------------------------------------------------------------------------------------------------


def directions(study: Study, law: ParameterLaw) -> UnitNodes:
    """The nodes to which mass moves: a coarser quadrature, as the response is a smooth function of the node."""
    nodes = law.nodes(study.rich.directions, study.features)
    return UnitNodes.product(law, nodes, study.rich.c_nodes, study.rich.b_nodes)


def recent(study: Study, be: Backend) -> Array:
    """The ends (probe, length, d) of the probe histories: as much of them as the memory at the end still depends on."""
    law, histories = ParameterLaw.of(study), chains.probe_histories(study, be)
    start = np.zeros(len(histories))
    whole = law.memory_path(be, histories, start)[:, -1]
    for length in range(STRETCH, histories.shape[1], STRETCH):
        end = np.ascontiguousarray(histories[:, -length:])
        if np.abs(law.memory_path(be, end, start)[:, -1] - whole).max() < FORGOTTEN:
            return end
    return histories


def follow_block(study: Study, be: Backend, block: RichBlock, histories: Array, tick: Tick) -> list[Response]:
    """The responses of the block's paths, in order; tick(steps) reports progress."""
    law = ParameterLaw.of(study)
    base, ends = unit_nodes(study, law), directions(study, law)
    responses, others, shared = [], (base, other_nodes(study, law)), dict[str, KernelJets]()
    for path in block.paths:
        members = [_Sweep(study, be, block.twin, sign, base, ends, int(path), shared) for sign in signs(study)]
        source = chains.training_paths(study, be, np.array([path], dtype=np.uint32))
        times = [round(t * block.twin.steps_per_time) for t in study.training.checkpoints]
        for checkpoint in times:
            for steps in segments(checkpoint - members[0].done):
                x, _, y = source.take(steps)
                for member in members:
                    member.advance(x, y)
                tick(steps)
            for member in members:
                member.look(histories, last=checkpoint == times[-1])
        response = summed([member.jets() for member in members], ends)
        at_end = _stacked([member.at_end for member in members])
        error = _node_error(study, be, block.twin, int(path), histories, others)
        responses.append(replace(response, error=error, ends=at_end))
    return responses


def _node_error(
    study: Study, be: Backend, twin: RichTwin, path: int, histories: Array, nodes: tuple[UnitNodes, UnitNodes]
) -> Array:
    """The difference (member, time, probe) that other nodes make to the output of the rich twin of a path."""
    block = RichBlock(twin, path, 1)
    one, other = (follow(study, be, block, histories, points).observed["output"][0] for points in nodes)
    return np.asarray(np.abs(one - other))


class _Sweep:
    """All directions of one member on one path: as many rich twins, each with one more node."""

    def __init__(
        self,
        study: Study,
        be: Backend,
        twin: RichTwin,
        sign: float,
        base: UnitNodes,
        ends: UnitNodes,
        path: int,
        shared: dict[str, KernelJets],
    ) -> None:
        self._trainer: Trainer = be.trainer(kernel_training(study, twin, sign, len(base) + 1, True), len(ends))
        self._count, self.done = len(ends), 0
        self._weight = moved_mass(base.weight, self._count)
        for row in range(self._count):
            self._trainer.fill(
                row,
                np.append(base.w, ends.w[row : row + 1], axis=0),
                np.append(base.b, ends.b[row]),
                np.append(base.c, ends.c[row]),
            )
        self._trainer.weigh(self._weight)
        steps = round(study.training.horizon * twin.steps_per_time)
        self._loss = BinnedMean(be, 3 * self._count, steps, study.training.loss_bins)
        self._seen: list[dict[str, Array]] = []
        self._nodes = ends
        self.at_end: dict[str, Array] = {}
        self._ends = Ends(study, be, twin, sign, base, path, shared)
        self._ends.begin(self._trainer, self._weight)

    def advance(self, x: Array, y: Array) -> None:
        """All directions along a stretch of the path: x (1, steps, d), y (1, steps)."""
        steps = y.shape[1]
        every = np.broadcast_to(x, (self._count, *x.shape[1:])), np.broadcast_to(y, (self._count, steps))
        miss = self._trainer.run(*every)
        self._loss.add(self.done, np.ascontiguousarray(miss.swapaxes(1, 2)).reshape(-1, steps))
        self._ends.advance(x, y)
        self.done += steps

    def look(self, histories: Array, last: bool) -> None:
        """Record a checkpoint, the last one on whole histories."""
        self._trainer.settle()
        output, memory = self._trainer.probe(self._ends.histories if last else histories)
        if last:
            self.at_end = self._ends.found(self._trainer, self._weight, self._nodes, output, memory)
        rows = [self._trainer.drift(row) for row in range(self._count)]
        w, b, c = (np.stack(drifts) for drifts in zip(*rows, strict=True))
        squares = {
            "drift_w": np.sum([mean_square(self._weight, w[:, :, j]) for j in range(w.shape[2])], axis=0),
            "drift_b": mean_square(self._weight, b),
            "drift_c": mean_square(self._weight, c),
        }
        self._seen.append({"output": output, "memory": memory[:, :, -1], **squares})

    def jets(self) -> dict[str, Array]:
        """Everything observed, (direction, ..., 3)."""
        every = {name: np.stack([seen[name] for seen in self._seen], axis=1) for name in self._seen[0]}
        loss = self._loss.mean().reshape(self._count, 3, -1).swapaxes(1, 2)
        late = loss[:, 3 * loss.shape[1] // 4 :].mean(1)
        return {**every, "loss": loss, "late_loss": late}


def moved_mass(weight: Array, directions: int) -> Array:
    """Weights (direction, Q + 1, 3) of Q nodes and of one more, as functions of the mass s that moved to the latter.

    (1 - s) weight_q, and s: their values, first and second derivatives at s = 0.
    """
    mass = np.zeros((directions, len(weight) + 1, 3))
    mass[:, :-1, VALUE], mass[:, :-1, FIRST] = weight, -weight
    mass[:, -1, FIRST] = 1.0
    return mass


def mean_square(weight: Array, a: Array) -> Array:
    """sum_q weight_q a_q^2 with its derivatives (..., 3); weight and a (..., Q, 3)."""
    value, first, second = np.moveaxis(a, -1, 0)
    square, slope = value**2, 2 * value * first
    curvature = 2 * (first**2 + value * second)
    of_value, of_first, of_second = np.moveaxis(weight, -1, 0)
    terms = (
        of_value * square,
        of_first * square + of_value * slope,
        of_second * square + 2 * of_first * slope + of_value * curvature,
    )
    return np.stack([term.sum(axis=-1) for term in terms], axis=-1)


# --- sums over directions ----------------------------------------------------------------------------------------


def summed(members: list[dict[str, Array]], ends: UnitNodes) -> Response:
    """The variances and 1/N terms of one path, for a network of one unit: a width N divides both by N.

    members: everything observed for each, (direction, ..., 3).
    """
    response = Response({}, {}, {}, {}, {}, np.zeros(0), {})
    for name in OBSERVED:
        jets = [member[name] for member in members]
        response.value[name] = np.stack([jet[0, ..., VALUE] for jet in jets])
        response.variance[name] = np.stack([_variance(jet[..., FIRST], ends.weight) for jet in jets])
        response.second[name] = np.stack([0.5 * np.tensordot(ends.weight, jet[..., SECOND], 1) for jet in jets])
        if name in PAIRED:
            plus, minus = _pair([jet[..., FIRST] for jet in jets], ends.opposite)
            response.half[name] = _variance(0.5 * (plus - minus), ends.weight)
            response.mean[name] = _variance(0.5 * (plus + minus), ends.weight)
    return response


def _stacked(members: list[dict[str, Array]]) -> dict[str, Array]:
    return {name: np.stack([member[name] for member in members]) for name in members[0]}


def _pair(responses: list[Array], opposite: NDArray[np.intp] | None) -> tuple[Array, Array]:
    """The responses of C and of -C to mass at the same place: of one law, or of two."""
    if len(responses) == 2:
        return responses[0], responses[1]
    if opposite is None:  # a skewed law without pairs: nobody asks for them
        return responses[0], np.full_like(responses[0], np.nan)
    return responses[0], responses[0][opposite]


def _variance(response: Array, weight: Array) -> Array:
    """Variance over the law of response (direction, ...)."""
    mean = np.tensordot(weight, response, 1)
    return np.asarray(np.tensordot(weight, (response - mean) ** 2, 1))


# --- files -------------------------------------------------------------------------------------------------------


def _put(shard: h5py.File, study: Study, block: RichBlock, responses: list[Response]) -> None:
    """The variables of a shard (docs/format.md, "tangents-shard")."""
    put_coordinates(shard, study, block, responses[0].value["loss"].shape[-1])
    for name, (dims, what) in OBSERVED.items():
        kinds = {
            "": ([response.value[name] for response in responses], f"{what} of the rich twin"),
            "_variance": ([r.variance[name] for r in responses], f"N times the variance over networks: {what}"),
            "_second": ([r.second[name] for r in responses], f"N times the mean over networks less the twin: {what}"),
        }
        for suffix, (values, long_name) in kinds.items():
            put(shard, name + suffix, np.stack(values), ("path", "member", *dims), "1", long_name)
    errors = np.stack([response.error for response in responses])
    for name in responses[0].ends:
        dims, what = ENDS[name]
        put(shard, name, np.stack([r.ends[name] for r in responses]), ("path", "member", *dims), "1", what)
    long_name = "difference that other nodes of the law make to the output of the rich twin"
    put(shard, "output_error_nodes", errors, ("path", "member", "time", "probe"), "1", long_name)
    for name in PAIRED:
        dims, what = OBSERVED[name]
        for suffix, words in (("half", "half-differences"), ("mean", "means")):
            of_pairs = np.stack([getattr(response, suffix)[name] for response in responses])
            long_name = f"N times the variance over {words} of antithetic pairs: {what}"
            put(shard, f"{name}_{suffix}_variance", of_pairs, ("path", *dims), "1", long_name)
