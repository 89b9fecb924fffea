"""The stage of tangents: how a rich twin responds to mass that moves from the law to one node, to second order.

From the responses follow, at every width N, the variance over networks, sum_q omega_q IF(q)^2 / N, and the 1/N term of
every mean, sum_q omega_q D^2(q) / 2N. All directions of a path are one rich twin, whose numbers carry the derivatives
along each direction, and the sum of their second ones. Source: docs/model.md, "Finite width".

No states are saved: a block takes seconds, and is computed again after a kill.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import h5py
import numpy as np
from numpy.typing import NDArray

from rnnlimits.chains import paths as chains
from rnnlimits.files.store import put
from rnnlimits.kernels import on_processor
from rnnlimits.kernels.interface import Array, Backend, Tangents
from rnnlimits.ranks import sharded
from rnnlimits.ranks.binning import BinnedMean
from rnnlimits.ranks.parallel import Tick
from rnnlimits.ranks.sharded import Ensemble, Stage
from rnnlimits.study import Study
from rnnlimits.theory.laws import ParameterLaw
from rnnlimits.theory.units import UnitNodes
from rnnlimits.training import plan
from rnnlimits.training.kernel_tangents import CHANGE, KernelTangents
from rnnlimits.training.layout import Layout
from rnnlimits.training.memory_tangents import ALONG, along_histories
from rnnlimits.training.plan import RichBlock, RichTwin
from rnnlimits.training.rich import (
    attributes,
    follow,
    kernel_training,
    other_nodes,
    put_coordinates,
    recent,
    segments,
    signs,
    unit_nodes,
)

if TYPE_CHECKING:
    from mpi4py import MPI

FORGOTTEN = 1e-6  # what is left of a memory that no longer matters to a derivative
NEGLIGIBLE = 1e-6  # the mass of nodes of W that are left out: errors of derivatives are far larger
VALUE, FIRST, SECOND = 0, slice(1, -1), -1  # of the last axis of everything that carries derivatives

OBSERVED: dict[str, tuple[tuple[str, ...], str]] = {  # dimensions after path and member, and what it is
    "output": (("time", "probe"), "output on the probes"),
    "memory": (("time", "probe"), "memory on the probes"),
    "drift_w": (("time",), "mean square of |W_t - W_0|"),
    "drift_b": (("time",), "mean square of B_t - B_0"),
    "drift_c": (("time",), "mean square of C_t - C_0"),
    "loss": (("loss_time",), "loss along the path"),
    "late_loss": ((), "mean loss over the last quarter of the bins"),
}
ENDS = {**ALONG, **CHANGE}  # the same, at the end of training; CHANGE only with training.kernel
PAIRED = ("output", "memory")  # what antithetic pairs are used for


@dataclass(frozen=True, eq=False)
class Response:
    """What follows from all directions of one path: by name, each (member, ...) or, of pairs, (...)."""

    value: dict[str, Array]
    variance: dict[str, Array]
    second: dict[str, Array]
    half: dict[str, Array]
    mean: dict[str, Array]
    at_ends: dict[str, Array]  # response to a unit at each direction at the end of training: (member, direction, ...)
    errors: dict[str, Array]  # of the values of PAIRED, from the number of nodes: (member, time, probe)
    ends: dict[str, Array]  # of ENDS, each (member, ...)


def run(study: Study, layout: Layout, comm: MPI.Intracomm, be: Backend) -> None:
    """Follow the tangents of all rich twins of a study, and write their ensembles. Collective over `comm`.

    Raises StudyError for a shard that is damaged or belongs to something else.
    """
    sharded.run(comm, stage(study, layout, be))


def stage(study: Study, layout: Layout, be: Backend) -> Stage[RichBlock, Array, list[Response]]:
    """The stage that follows all tangents, with one ensemble for each rich twin.

    Those of the kernel and sums over directions are computed on the processor.
    """
    return Stage(
        label="tangents",
        unit="steps",
        be=be,
        ensembles=lambda: [_ensemble(study, layout, twin) for twin in plan.tangent_twins(study)],
        size=lambda block: plan.twin_steps(block, study),
        prepare=lambda: recent(study, on_processor(be), FORGOTTEN),
        compute=lambda block, histories, tick, _: follow_block(study, be, block, histories, tick),
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
    nodes = law.nodes(study.rich.directions, study.features).without(NEGLIGIBLE)
    return UnitNodes.product(law, nodes, study.rich.c_nodes, study.rich.b_nodes)


def follow_block(study: Study, be: Backend, block: RichBlock, histories: Array, tick: Tick) -> list[Response]:
    """The responses of the block's paths, in order; tick(steps) reports progress."""
    law = ParameterLaw.of(study)
    base, ends = unit_nodes(study, law, NEGLIGIBLE), directions(study, law)
    at_once = max(1, plan.TANGENTS_AT_ONCE // (len(base) * len(ends)))
    starts = range(block.first, block.first + block.count, at_once)
    last = block.first + block.count
    pieces = [replace(block, first=first, count=min(at_once, last - first)) for first in starts]
    return [one for piece in pieces for one in _follow(study, be, piece, histories, tick, base, ends)]


def _follow(
    study: Study, be: Backend, block: RichBlock, histories: Array, tick: Tick, base: UnitNodes, ends: UnitNodes
) -> list[Response]:
    """The responses of paths that are followed together."""
    members = [_Sweep(study, be, block, sign, base, ends) for sign in signs(study)]
    source = chains.training_paths(study, be, block.paths)
    for time in study.training.checkpoints:
        for steps in segments(round(time * block.twin.steps_per_time) - members[0].done):
            x, _, y = source.take(steps)
            for member in members:
                member.advance(x, y)
            tick(steps * block.count)
        for member in members:
            member.look(histories)
    whole = chains.probe_histories(study, on_processor(be))
    jets, at_end = [member.jets() for member in members], [member.at_end(whole) for member in members]
    others = follow(study, be, block, histories, other_nodes(study, ParameterLaw.of(study))).observed
    starts = study.training.checkpoints[0] == 0
    found = [
        _response(jets, row, ends, {name: others[name][row] for name in PAIRED}, starts) for row in range(block.count)
    ]
    return [replace(one, ends=_stacked(of)) for one, of in zip(found, zip(*at_end, strict=True), strict=True)]


def _response(
    members: list[dict[str, Array]], row: int, ends: UnitNodes, others: dict[str, Array], starts: bool
) -> Response:
    """The response of one path of a block; others: values of PAIRED (member, time, probe) with other nodes.

    starts: the first checkpoint is before training, where nodes are compared with the law (theory/node_errors.py).
    """
    response = summed([{name: jets[row] for name, jets in member.items()} for member in members], ends)
    moved = {name: response.value[name] - others[name] for name in PAIRED}
    errors = {name: np.abs(error - error[:, :1] if starts else error) for name, error in moved.items()}
    return replace(response, errors=errors)


def _stacked(members: Sequence[dict[str, Array]]) -> dict[str, Array]:
    return {name: np.stack([member[name] for member in members]) for name in members[0]}


class _Sweep:
    """All directions of one member on the paths of a block."""

    def __init__(
        self, study: Study, be: Backend, block: RichBlock, sign: float, base: UnitNodes, ends: UnitNodes
    ) -> None:
        training = kernel_training(study, block.twin, sign, len(base))
        self._paths, self._numbers, self.done = block.count, len(ends) + 2, 0
        self._tangents = be.tangents(training, base, ends, block.count)
        self._start = be.tangents(training, base, ends, 1)
        steps = round(study.training.horizon * block.twin.steps_per_time)
        self._be, near = be, on_processor(be)
        self._loss = BinnedMean(near, block.count * self._numbers, steps, study.training.loss_bins)
        self._seen: list[dict[str, Array]] = []
        self._root = np.sqrt(ends.weight)
        self._kernel = KernelTangents(study, near, block, sign, base, ends) if study.training.kernel else None

    def advance(self, x: Array, y: Array) -> None:
        """All directions along a stretch of the paths: x (path, steps, d), y (path, steps), arrays of the back end."""
        miss = self._be.numpy(self._tangents.run(x, y))
        rows = np.ascontiguousarray(miss.swapaxes(1, 2)).reshape(-1, y.shape[1])
        self._loss.add(self.done, rows)
        if self._kernel:
            self._kernel.advance(self._be.numpy(x), self._be.numpy(y))
        self.done += y.shape[1]

    def look(self, histories: Array) -> None:
        """Record a checkpoint; before the first step all paths are one."""
        seen = self._look(self._tangents if self.done else self._start, histories)
        self._seen.append(seen if self.done else {name: np.repeat(a, self._paths, axis=0) for name, a in seen.items()})

    def _look(self, tangents: Tangents, histories: Array) -> dict[str, Array]:
        tangents.settle()
        output, memory = tangents.probe(histories)
        squares = dict(zip(("drift_w", "drift_b", "drift_c"), tangents.square_drifts().swapaxes(0, 1), strict=True))
        return {"output": output, "memory": memory[:, :, -1], **squares}

    def at_end(self, histories: Array) -> list[dict[str, Array]]:
        """Variables of ENDS of each path, after the last checkpoint; histories: all of the study's probes."""
        along = self._tangents.probe(histories)[1]
        found = [along_histories(memory, self._root) for memory in along]
        if self._kernel:
            of_kernel = self._kernel.found(self._tangents, along)
            found = [{**one, **other} for one, other in zip(found, of_kernel, strict=True)]
        return found

    def jets(self) -> dict[str, Array]:
        """Everything observed, (path, ..., direction + 2)."""
        every = {name: np.stack([seen[name] for seen in self._seen], axis=1) for name in self._seen[0]}
        loss = self._loss.mean().reshape(self._paths, self._numbers, -1).swapaxes(1, 2)
        late = loss[:, 3 * loss.shape[1] // 4 :].mean(1)
        return {**every, "loss": loss, "late_loss": late}


# --- sums over directions ----------------------------------------------------------------------------------------


def summed(members: list[dict[str, Array]], ends: UnitNodes) -> Response:
    """The variances and 1/N terms of one path, for a network of one unit: a width N divides both by N.

    members: everything observed for each, (..., direction + 2).
    """
    response, root = Response({}, {}, {}, {}, {}, {}, {}, {}), np.sqrt(ends.weight)
    for name in OBSERVED:
        jets = [member[name] for member in members]
        response.value[name] = np.stack([jet[..., VALUE] for jet in jets])
        response.variance[name] = np.stack([_variance(jet[..., FIRST], root) for jet in jets])
        response.second[name] = np.stack([0.5 * jet[..., SECOND] for jet in jets])
        if name in PAIRED:
            plus, minus = _pair([jet[..., FIRST] for jet in jets], ends.opposite)
            response.half[name] = _variance(0.5 * (plus - minus), root)
            response.mean[name] = _variance(0.5 * (plus + minus), root)
            response.at_ends[name] = np.stack([np.moveaxis(jet[-1][..., FIRST] / root, -1, 0) for jet in jets])
    return response


def _pair(responses: list[Array], opposite: NDArray[np.intp] | None) -> tuple[Array, Array]:
    """The responses (..., direction) of C and of -C to mass at the same place: of one law, or of two."""
    if len(responses) == 2:
        return responses[0], responses[1]
    if opposite is None:  # a skewed law without pairs: nobody asks for them
        return responses[0], np.full_like(responses[0], np.nan)
    return responses[0], responses[0][..., opposite]


def _variance(response: Array, root: Array) -> Array:
    """Variance over the law of response (..., direction), which is multiplied by the roots of the law's weights."""
    return np.asarray((response**2).sum(-1) - (response * root).sum(-1) ** 2)


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
    for name in responses[0].ends:
        dims, what = ENDS[name]
        put(shard, name, np.stack([r.ends[name] for r in responses]), ("path", "member", *dims), "1", what)
    for name in PAIRED:
        dims, what = OBSERVED[name]
        errors = np.stack([response.errors[name] for response in responses])
        long_name = f"difference that other nodes of the law make by training: {what} of the rich twin"
        put(shard, f"{name}_error_nodes", errors, ("path", "member", *dims), "1", long_name)
        for suffix, words in (("half", "half-differences"), ("mean", "means")):
            of_pairs = np.stack([getattr(response, suffix)[name] for response in responses])
            long_name = f"N times the variance over {words} of antithetic pairs: {what}"
            put(shard, f"{name}_{suffix}_variance", of_pairs, ("path", *dims), "1", long_name)
        responses_at = np.stack([response.at_ends[name] for response in responses])
        long_name = f"N times what one more unit at the direction adds at the end, in place of the mean unit: {what}"
        put(shard, f"{name}_response", responses_at, ("path", "member", "direction", *dims[1:]), "1", long_name)
