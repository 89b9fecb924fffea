"""The stage of rich twins: the trainings' own program on nodes of the law, in place of N units, along the same paths.

A rich twin is deterministic on its path. It shows what finite richness eps = N^-(1 - beta) alone does; what is left to
a network is the scatter of its units. Source: docs/model.md, "Finite width".
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import h5py
import numpy as np

from rnnlimits.chains import paths as chains
from rnnlimits.files.store import provenance, put
from rnnlimits.kernels import on_processor
from rnnlimits.kernels.interface import Array, Backend, Trainer, Training
from rnnlimits.kernels.interface import State as TrainerState
from rnnlimits.ranks import checkpoints, sharded
from rnnlimits.ranks.binning import BinnedMean
from rnnlimits.ranks.parallel import Tick
from rnnlimits.ranks.sharded import Ensemble, Stage
from rnnlimits.study import Study
from rnnlimits.theory import observe
from rnnlimits.theory.laws import ParameterLaw
from rnnlimits.theory.units import UnitNodes
from rnnlimits.training import plan
from rnnlimits.training.layout import Layout
from rnnlimits.training.plan import RichBlock, RichTwin

if TYPE_CHECKING:
    from mpi4py import MPI

STRETCH = 5  # steps by which the ends of probe histories are lengthened
FORGOTTEN = 1e-13  # what is left of a memory that no longer matters
NEGLIGIBLE = 1e-12  # the mass of nodes of W that are left out
MOST_STEPS = 1024  # steps in a segment; fixed, so that results depend neither on rank nor on machine

OBSERVED = {  # dimensions after path and member, and long name
    "output": (("time", "probe"), "output of the rich twin at the end of each probe history"),
    "memory": (("time", "probe"), "memory of the rich twin at the end of each probe history"),
    "drift_w_rms": (("time",), "root mean square of |W_t - W_0| over the law"),
    "drift_b_rms": (("time",), "root mean square of B_t - B_0 over the law"),
    "drift_c_rms": (("time",), "root mean square of C_t - C_0 over the law"),
    "ntk_drift": (("time",), "change of the kernel since time 0, relative Frobenius norm"),
    "ntk_drift_along": (("time",), "component of the kernel's change since time 0 along the limit's, relative to it"),
}
KERNEL = ("ntk_drift", "ntk_drift_along")  # only with training.kernel


@dataclass(frozen=True, eq=False)
class Rich:
    """The results of a block of rich twins: observed, each (path, member, ...), and loss (path, member, loss_time)."""

    observed: dict[str, Array]
    loss: Array


def run(study: Study, layout: Layout, comm: MPI.Intracomm, be: Backend) -> None:
    """Follow all rich twins of a study, and write their ensembles. Collective over `comm`.

    Raises StudyError for a shard that is damaged or belongs to something else.
    """
    sharded.run(comm, stage(study, layout, be))


def stage(study: Study, layout: Layout, be: Backend) -> Stage[RichBlock, Array, Rich]:
    """The stage that follows all rich twins, with one ensemble for each."""
    return Stage(
        label="rich",
        unit="steps",
        be=be,
        ensembles=lambda: [_ensemble(study, layout, twin) for twin in plan.rich_twins(study)],
        size=lambda block: plan.twin_steps(block, study),
        prepare=lambda: recent(study, on_processor(be), FORGOTTEN),
        compute=lambda block, histories, tick, keeper: follow_block(study, be, block, histories, tick, keeper),
        write=lambda shard, block, rich: _put(shard, study, block, rich),
        join=sharded.linked_below(layout.root),
        variables=STATE,
    )


def _ensemble(study: Study, layout: Layout, twin: RichTwin) -> Ensemble[RichBlock]:
    identity = plan.rich_id(study, twin)
    return Ensemble(
        kind="rich",
        path=layout.rich(twin),
        dimension="path",
        identity={"rich_id": identity},
        attributes=lambda: attributes(study, twin, {"rich_id": identity}),
        blocks=plan.rich_blocks(study, twin),
        shard=lambda block: layout.rich_shard(block, identity),
        state=lambda block: layout.rich_state(block, identity),
        steps=round(study.training.horizon * twin.steps_per_time),
    )


def attributes(study: Study, twin: RichTwin, identity: dict[str, str]) -> dict[str, object]:
    """Root attributes of files of a rich twin."""
    return {
        **provenance(study),
        **identity,
        "richness": twin.richness,
        "steps_per_time": twin.steps_per_time,
        "depth": twin.depth,
        "alpha": study.training.alpha,
        "horizon": study.training.horizon,
    }


# --- nodes and members -----------------------------------------------------------------------------------------


def unit_nodes(study: Study, law: ParameterLaw, negligible: float = NEGLIGIBLE) -> UnitNodes:
    """The nodes that stand for the units: those of the limit in W, but for the lightest of this mass together."""
    nodes = law.nodes(study.limit.nodes, study.features).without(negligible)
    return UnitNodes.product(law, nodes, study.rich.c_nodes, study.rich.b_nodes)


def other_nodes(study: Study, law: ParameterLaw) -> UnitNodes:
    """Other nodes of nearly the same number, to tell the error of `unit_nodes` by.

    One fewer for each axis of W (quasi-random nodes: another scramble), and one fewer for C.
    """
    sets = law.node_sets(study.limit.nodes, study.features)
    nodes = sets[1] if len(sets) == 2 else law.nodes(study.limit.nodes, study.features, shift=1)
    return UnitNodes.product(law, nodes.without(NEGLIGIBLE), max(2, study.rich.c_nodes - 1), study.rich.b_nodes)


def recent(study: Study, be: Backend, forgotten: float) -> Array:
    """The ends (probe, length, d) of the probe histories: as much of them as the memory at the end still depends on.

    forgotten: the error of that memory that is allowed.
    """
    law, histories = ParameterLaw.of(study), chains.probe_histories(study, be)
    start = np.zeros(len(histories))
    whole = law.memory_path(be, histories, start)[:, -1]
    for length in range(STRETCH, histories.shape[1], STRETCH):
        end = np.ascontiguousarray(histories[:, -length:])
        if np.abs(law.memory_path(be, end, start)[:, -1] - whole).max() < forgotten:
            return end
    return histories


def signs(study: Study) -> tuple[float, ...]:
    """The sign of the richness for each member: -C in place of C is -eps in place of eps.

    Both members of an antithetic pair have one rich twin where C and -C have one law.
    """
    two = study.training.antithetic and not ParameterLaw.of(study).symmetric_c
    return (1.0, -1.0) if two else (1.0,)


def kernel_training(study: Study, twin: RichTwin, sign: float, nodes: int) -> Training:
    """A rich twin in the form that the kernels take."""
    section = study.training
    return Training(
        width=nodes,
        dimension=study.dimension,
        beta=1.0,
        steps_per_time=twin.steps_per_time,
        activation=study.activation,
        alpha=section.alpha,
        depth=twin.depth,
        update_b=section.update_b,
        richness=sign * twin.richness,
        level=twin.level,
    )


# --- one block ---------------------------------------------------------------------------------------------------


def follow_block(
    study: Study,
    be: Backend,
    block: RichBlock,
    histories: Array,
    tick: Tick,
    keeper: checkpoints.Keeper | None = None,
) -> Rich:
    """Follow the block's paths to the horizon; tick(steps) reports progress.

    histories (probe, length, d). keeper: saves the state at the ends of segments, and may hold a state to resume from
    (default: saves nothing).
    """
    keeper = keeper or checkpoints.Forgetful(tick)
    run = _Run(study, be, block, unit_nodes(study, ParameterLaw.of(study)), keeper.load(), study.training.kernel)
    keeper.resumed(run.done * block.count)
    for checkpoint in run.times[run.count :]:
        for steps in segments(checkpoint - run.done):
            run.advance(steps)
            keeper.passed(steps * block.count, run.state)
        run.look(histories)
    return run.result()


def follow(study: Study, be: Backend, block: RichBlock, histories: Array, nodes: UnitNodes) -> Rich:
    """The block's paths with other nodes than the stage's own."""
    run = _Run(study, be, block, nodes)
    for checkpoint in run.times:
        for steps in segments(checkpoint - run.done):
            run.advance(steps)
        run.look(histories)
    return run.result()


def segments(steps: int) -> Iterator[int]:
    """Cut a stretch of steps into segments."""
    while steps > 0:
        yield min(steps, MOST_STEPS)
        steps -= MOST_STEPS


class _Run:
    """The unfinished rich twins of a block; another process can resume them from their `state`."""

    def __init__(
        self,
        study: Study,
        be: Backend,
        block: RichBlock,
        nodes: UnitNodes,
        saved: checkpoints.State | None = None,
        kernel: bool = False,
    ) -> None:
        self._be, self._nodes, twin = be, nodes, block.twin
        self.times = [round(t * twin.steps_per_time) for t in study.training.checkpoints]
        self._source = chains.training_paths(study, be, block.paths, saved.position if saved else None)
        self._paths, self._members = block.count, [kernel_training(study, twin, s, len(nodes)) for s in signs(study)]
        self._trainers = self._filled(block.count)
        self._watches = self._watch(study) if kernel else [None for _ in self._members]
        bins = (block.count, self.times[-1], study.training.loss_bins)
        self._loss = [BinnedMean(be, *bins) for _ in self._members]
        self._seen: list[dict[str, Array]] = []
        self.done, self._started = 0, time.perf_counter()
        if saved:
            self._restore(saved)

    @property
    def count(self) -> int:
        """Number of checkpoints passed."""
        return len(self._seen)

    def _filled(self, paths: int) -> list[Trainer]:
        """A trainer for each member, with the same nodes for all paths."""
        trainers = [self._be.trainer(training, paths) for training in self._members]
        for trainer in trainers:
            for row in range(paths):
                trainer.fill(row, self._nodes.w, self._nodes.b, self._nodes.c)
            trainer.weigh(self._nodes.weight)
        return trainers

    def _watch(self, study: Study) -> list[observe.KernelWatch | None]:
        """What follows the kernel of each member from that of the law, where every path starts."""
        probes, watches = observe.KernelAtProbes.of(study, on_processor(self._be)), list[observe.KernelWatch | None]()
        for training, start in zip(self._members, self._filled(1), strict=True):
            watch = observe.KernelWatch(self._be, training, probes, self._nodes.weight)
            watch.begin(start, 1)
            watches.append(watch)
        return watches

    def advance(self, steps: int) -> None:
        """Follow the paths for a segment of `steps` steps."""
        x, _, y = self._source.take(steps)
        for trainer, loss in zip(self._trainers, self._loss, strict=True):
            loss.add(self.done, trainer.run(x, y))
        self.done += steps

    def look(self, histories: Array) -> None:
        """Record a checkpoint; before the first step all paths are one."""
        trainers = self._trainers if self.done else self._filled(1)
        of_members = [self._look(*both, histories) for both in zip(trainers, self._watches, strict=True)]
        seen = {name: np.stack([seen[name] for seen in of_members], axis=1) for name in of_members[0]}
        self._seen.append(seen if self.done else {name: np.repeat(a, self._paths, axis=0) for name, a in seen.items()})

    def _look(self, trainer: Trainer, watch: observe.KernelWatch | None, histories: Array) -> dict[str, Array]:
        trainer.settle()
        output, memory = trainer.probe(histories)
        w, b, c = (np.stack(drifts) for drifts in zip(*map(trainer.drift, range(len(output))), strict=True))
        squares = {"w": (w**2).sum(axis=-1), "b": b**2, "c": c**2}
        drifts = {
            f"drift_{name}_rms": np.sqrt((square * self._nodes.weight).sum(axis=-1)) for name, square in squares.items()
        }
        of_kernel = watch(trainer, trainer.probe(watch.history)[1]) if watch else {}
        found = {"output": output, "memory": memory[:, :, -1], **drifts}
        return {**found, **{name: of_kernel[name] for name in KERNEL if watch}}

    def result(self) -> Rich:
        """The results at the end."""
        loss = np.stack([loss.mean() for loss in self._loss], axis=1)
        return Rich(self._stacked(), loss)

    def _stacked(self) -> dict[str, Array]:
        """All records so far, (path, member, time, ...)."""
        names = self._seen[0] if self._seen else ()
        return {name: np.stack([seen[name] for seen in self._seen], axis=2) for name in names}

    def state(self) -> checkpoints.State:
        """Everything that is needed to resume: see STATE."""
        states = [trainer.state() for trainer in self._trainers]
        chain, step = chains.position(self._be, self._source)
        arrays = {
            "units": np.stack([state.units for state in states], axis=1),
            "words": np.stack([state.words for state in states], axis=1),
            "loss_sum": np.stack([loss.sums for loss in self._loss], axis=1),
            "chain_state": chain,
        }
        numbers = {"chain_step": step, "seconds": time.perf_counter() - self._started}
        return checkpoints.State(self.done, numbers, {**arrays, **self._stacked()})

    def _restore(self, saved: checkpoints.State) -> None:
        arrays = saved.arrays
        for member, (trainer, loss) in enumerate(zip(self._trainers, self._loss, strict=True)):
            trainer.restore(TrainerState(arrays["units"][:, member], arrays["words"][:, member]))
            loss.sums = arrays["loss_sum"][:, member]
        records = {name: arrays[name] for name in OBSERVED if name in arrays}
        count = records["output"].shape[2] if records else 0
        self._seen = [{name: values[:, :, at] for name, values in records.items()} for at in range(count)]
        self.done, self._started = saved.done, self._started - saved.numbers["seconds"]


# --- files -------------------------------------------------------------------------------------------------------

STATE: checkpoints.Variables = {
    "units": (("path", "member", "field", "node"), "weights, drifts and past hidden values of every node"),
    "words": (("path", "member", "word"), "memory, past inputs and pending update"),
    "loss_sum": (("path", "member", "loss_time"), "sum of (Yhat_k - Y_k)^2 over the steps of the bin that were taken"),
    "chain_state": checkpoints.CHAIN_STATE,
    **{name: (("path", "member", *dims), what) for name, (dims, what) in OBSERVED.items()},
}


def _put(shard: h5py.File, study: Study, block: RichBlock, rich: Rich) -> None:
    """The variables of a shard (docs/format.md, "rich-shard")."""
    put_coordinates(shard, study, block, rich.loss.shape[-1])
    for name, values in rich.observed.items():
        dims, what = OBSERVED[name]
        put(shard, name, values, ("path", "member", *dims), "1", what)
    name = "mean of (Yhat_k - Y_k)^2 of the rich twin along the path"
    put(shard, "loss", rich.loss, ("path", "member", "loss_time"), "1", name)


def put_coordinates(shard: h5py.File, study: Study, block: RichBlock, bins: int) -> None:
    """The coordinates of a shard of rich twins or of their tangents."""
    centres = (np.arange(bins) + 0.5) * study.training.horizon / bins
    members = np.array(signs(study), dtype=np.int64)
    put(shard, "path", block.paths.astype(np.int64), ("path",), "1", "index of the path of the chain")
    put(
        shard, "member", members, ("member",), "1", "sign of C: -1 for the second of an antithetic pair of a skewed law"
    )
    put(shard, "time", np.array(study.training.checkpoints), ("time",), "1", "training time t")
    put(shard, "probe", np.arange(study.probes.count), ("probe",), "1", "index of the probe history")
    put(shard, "loss_time", centres, ("loss_time",), "1", "training time at the centre of the bin")
