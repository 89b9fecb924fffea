"""The train stage: ensembles of independent trainings, one shard for each block of replicas."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import h5py
import numpy as np
from numpy.typing import NDArray

from rnnlimits.base.errors import StudyError
from rnnlimits.chains import paths as chains
from rnnlimits.files.store import provenance, put
from rnnlimits.kernels import on_processor
from rnnlimits.kernels.interface import Array, Backend, Trainer
from rnnlimits.kernels.interface import State as TrainerState
from rnnlimits.ranks import checkpoints, sharded
from rnnlimits.ranks.binning import BinnedMean
from rnnlimits.ranks.parallel import Tick
from rnnlimits.ranks.sharded import Ensemble, Stage
from rnnlimits.study import Study
from rnnlimits.theory import observe
from rnnlimits.theory.laws import ParameterLaw
from rnnlimits.theory.observe import AtProbes
from rnnlimits.training import begun
from rnnlimits.training.layout import Layout
from rnnlimits.training.plan import Block, Cell, cell_id, kernel_training, packs, unit_steps

if TYPE_CHECKING:
    from mpi4py import MPI

MOST_STEPS = 1024  # steps in a segment: its path fits in cache, and progress is shown often enough
FILL_VALUES = 2**18  # units whose initial weights are drawn at a time
MOST_UNIT_STEPS = 2**26  # for one replica and segment: a fraction of a second, so that a failure is noticed in time

DRIFTS = {  # in the order of kernels.interface.norms
    "drift_w_max": "largest |W_t - W_0| over units and components",
    "drift_b_max": "largest |B_t - B_0| over units",
    "drift_c_max": "largest |C_t - C_0| over units",
    "drift_w_rms": "root mean square of |W_t - W_0| over units",
    "drift_b_rms": "root mean square of B_t - B_0 over units",
    "drift_c_rms": "root mean square of C_t - C_0 over units",
}


@dataclass(frozen=True)
class Trained:
    """The results of training one block; arrays as docs/format.md describes them."""

    output: Array  # (replica, time, probe)
    memory: Array  # (replica, time, probe)
    observed: dict[str, Array]  # each (replica, time, ...): observe.MEMORY, observe.KERNEL
    loss: Array  # (replica, loss_time)
    drift: dict[str, Array]  # each (replica, time)
    seconds: float


def run(study: Study, layout: Layout, pack: str, comm: MPI.Intracomm, be: Backend) -> None:
    """Train all cells of one pack and write their ensembles. Collective over `comm`.

    Existing shards are checked and kept. Raises StudyError for an unknown pack, and for a shard that is damaged or
    belongs to something else.
    """
    grouped = packs(study)
    if pack not in grouped:
        raise StudyError(f"{study.source}: there is no pack {pack}; allowed: {', '.join(grouped)}")
    sharded.run(comm, stage(study, layout, pack, be))


def stage(study: Study, layout: Layout, pack: str, be: Backend) -> Stage[Block, AtProbes, Trained]:
    """The trainings of a pack, an ensemble for each cell."""
    return Stage(
        label=f"train {pack}",
        unit="unit-steps",
        be=be,
        ensembles=lambda: [_ensemble(study, layout, cell) for cell in packs(study)[pack]],
        size=lambda block: unit_steps(block, study),
        prepare=lambda: _at_probes(study, be),
        compute=lambda block, probes, tick, keeper: train_block(study, be, block, probes, tick, keeper),
        write=lambda shard, block, trained: _put(shard, study, block, trained),
        join=sharded.linked_below(layout.root),
        variables=STATE,
    )


def _at_probes(study: Study, be: Backend) -> AtProbes:
    """The limit on the probes; that of the latest study is kept, as a process trains several of its packs."""
    global _latest
    if _latest is None or _latest[0] is not study or _latest[1] is not be:
        _latest = study, be, AtProbes.of(study, on_processor(be))
    return _latest[2]


_latest: tuple[Study, Backend, AtProbes] | None = None


def _ensemble(study: Study, layout: Layout, cell: Cell) -> Ensemble[Block]:
    identity = cell_id(study, cell)
    return Ensemble(
        kind="train",
        path=layout.ensemble(cell),
        identity={"cell_id": identity},
        attributes=lambda: _attributes(study, cell, identity),
        blocks=begun.blocks(study, layout, cell, identity),
        shard=lambda block: layout.shard(block, identity),
        state=lambda block: layout.state(block, identity),
        steps=round(study.training.horizon * cell.steps_per_time),
    )


def train_block(
    study: Study, be: Backend, block: Block, probes: AtProbes, tick: Tick, keeper: checkpoints.Keeper | None = None
) -> Trained:
    """Train the block's replicas to the horizon and record them on the probes; tick(unit-steps) reports progress.

    keeper: saves the state at the ends of segments, and may hold a state to resume from (default: saves nothing).
    """
    keeper = keeper or checkpoints.Forgetful(tick)
    run, a_step = _Run(study, be, block, probes, keeper.load()), block.cell.width * block.count
    keeper.resumed(a_step * run.done)
    for checkpoint in run.times[run.looks.count :]:
        for steps in _segments(checkpoint - run.done, block.cell.width):
            run.advance(steps)
            keeper.passed(a_step * steps, run.state)
        run.look()
    return run.looks.trained(run.loss.mean(), run.seconds)


class _Run:
    """The unfinished training of a block; another process can resume it from its `state`."""

    def __init__(
        self, study: Study, be: Backend, block: Block, probes: AtProbes, saved: checkpoints.State | None = None
    ) -> None:
        self._started = time.perf_counter()
        self.times = [round(t * block.cell.steps_per_time) for t in study.training.checkpoints]
        self.loss = BinnedMean(be, block.count, self.times[-1], study.training.loss_bins)
        self.looks = _Looks(study, be, block, probes)
        self._path, self.done = _Paths(study, be, block, saved), 0
        if saved is None:
            self._trainer = _initial(study, be, block)
            self.looks.begin(self._trainer, self.times[0] == 0)
        else:
            self._trainer = be.trainer(kernel_training(study, block.cell), block.count)
            self._trainer.restore(TrainerState(saved.arrays["units"], saved.arrays["words"]))
            self.loss.sums, self.done = saved.arrays["loss_sum"], saved.done
            self.looks.restore(saved.arrays)
            self._started -= saved.numbers["seconds"]

    @property
    def seconds(self) -> float:
        """Time spent on the block, including that of earlier processes."""
        return time.perf_counter() - self._started

    def advance(self, steps: int) -> None:
        """Train for a segment of `steps` steps."""
        self.loss.add(self.done, self._trainer.run(*self._path.take(steps)))
        self.done += steps

    def look(self) -> None:
        """Record a checkpoint."""
        self._trainer.settle()
        self.looks.take(self._trainer)

    def state(self) -> checkpoints.State:
        """Everything that is needed to resume: see STATE."""
        trainer, (chain, step) = self._trainer.state(), self._path.position()
        arrays = {"units": trainer.units, "words": trainer.words, "chain_state": chain, "loss_sum": self.loss.sums}
        return checkpoints.State(
            self.done, {"chain_step": step, "seconds": self.seconds}, {**arrays, **self.looks.arrays()}
        )


class _Looks:
    """Records of the checkpoints of a block, one after the other."""

    def __init__(self, study: Study, be: Backend, block: Block, probes: AtProbes) -> None:
        self._probes, self._count = probes, block.count
        watch = observe.KernelWatch(be, kernel_training(study, block.cell), probes)
        self._kernel = watch if study.training.kernel else None
        self._seen: list[dict[str, Array]] = []

    def begin(self, trainer: Trainer, soon: bool) -> None:
        """Keep the initial kernels, unless the first checkpoint is at time 0 (`soon`) and records them anyway."""
        if self._kernel and not soon:
            self._kernel.begin(trainer, self._count)

    def take(self, trainer: Trainer) -> None:
        """Record the state of a settled trainer."""
        output, memory = trainer.probe(self._probes.history)
        self._seen.append(
            {
                "output": output,
                "memory": memory[:, :, -1],
                **observe.memory_and_hidden(self._probes, memory),
                **(self._kernel(trainer, memory) if self._kernel else {}),
                **dict(zip(DRIFTS, trainer.drift_norms().T, strict=True)),
            }
        )

    @property
    def count(self) -> int:
        """Number of checkpoints passed."""
        return len(self._seen)

    def _stacked(self) -> dict[str, Array]:
        """All records so far, checkpoints along the second axis."""
        names = self._seen[0] if self._seen else ()
        return {name: np.stack([record[name] for record in self._seen], axis=1) for name in names}

    def arrays(self) -> dict[str, Array]:
        """What `restore` needs."""
        start = self._kernel.start if self._kernel else None
        return {**self._stacked(), **({} if start is None else {"kernel_start": start})}

    def restore(self, arrays: Mapping[str, Array]) -> None:
        """Take over the records of another process."""
        if self._kernel:
            self._kernel.start = arrays.get("kernel_start")
        records = {name: arrays[name] for name in _SEEN if name in arrays}
        count = records["output"].shape[1] if records else 0
        self._seen = [{name: values[:, at] for name, values in records.items()} for at in range(count)]

    def trained(self, loss: Array, seconds: float) -> Trained:
        """The results of the finished block, checkpoints along the second axis."""
        every = self._stacked()
        observed = {name: every[name] for name in observe.MEMORY | observe.KERNEL if name in every}
        drift = {name: every[name] for name in DRIFTS}
        return Trained(every["output"], every["memory"], observed, loss, drift, seconds)


def _replicas(block: Block) -> NDArray[np.uint32]:
    return np.arange(block.first, block.first + block.count, dtype=np.uint32)


def _initial(study: Study, be: Backend, block: Block) -> Trainer:
    """The block's networks at time 0, filled in groups so that weights in double precision never all exist at once."""
    trainer = be.trainer(kernel_training(study, block.cell), block.count)
    law, replicas, antithetic = ParameterLaw.of(study).on(be), _replicas(block), study.training.antithetic
    some = max(1, FILL_VALUES // block.cell.width)
    for first in range(0, block.count, some):
        part = replicas[first : first + some]
        trainer.fill_from(first, *law.draw(be, study.seed, part, block.cell.width, antithetic))
    return trainer


class _Paths:
    """The data of a block: the two networks of an antithetic pair share one path."""

    def __init__(self, study: Study, be: Backend, block: Block, saved: checkpoints.State | None) -> None:
        index = _replicas(block)
        pair = index // 2 if study.training.antithetic else index
        unique, row = np.unique(pair, return_inverse=True)
        self._row = be.array(row)
        self._be = be
        self._path = chains.training_paths(study, be, unique, saved.position if saved else None)

    def position(self) -> chains.Position:
        """The present position of the chain."""
        return chains.position(self._be, self._path)

    def take(self, steps: int) -> tuple[Array, Array]:
        """Inputs (R, steps, d) and targets (R, steps) of the next steps, arrays of the back end."""
        x, _, y = self._path.take(steps)
        return x[self._row], y[self._row]


def _segments(steps: int, width: int) -> Iterator[int]:
    """Cut a stretch of steps; depends on the cell alone, so that sums over segments never depend on the machine."""
    longest = max(1, min(MOST_STEPS, MOST_UNIT_STEPS // width))
    while steps > 0:
        yield min(steps, longest)
        steps -= longest


# --- saved states ------------------------------------------------------------------------------------------

# Variables of the shard that are known at the checkpoints passed so far.
_SEEN: checkpoints.Variables = {
    **{name: (("replica", "time", "probe"), f"network {name} on the probes") for name in ("output", "memory")},
    **{name: (("replica", "time", *dims), what) for name, (dims, what) in (observe.MEMORY | observe.KERNEL).items()},
    **{name: (("replica", "time"), what) for name, what in DRIFTS.items()},
}
STATE: checkpoints.Variables = {
    "units": (("replica", "field", "unit"), "weights, drifts and past hidden values of every unit"),
    "words": (("replica", "word"), "memory, past inputs and pending update of every replica"),
    "loss_sum": (("replica", "loss_time"), "sum of (Yhat_k - Y_k)^2 over the steps of the bin that were taken"),
    "chain_state": checkpoints.CHAIN_STATE,
    "kernel_start": (("replica", "probe", "probe_"), "empirical tangent kernel at time 0"),
    **_SEEN,
}


# --- files -------------------------------------------------------------------------------------------------


def _put(shard: h5py.File, study: Study, block: Block, trained: Trained) -> None:
    """The variables of a shard (docs/format.md, "train-shard")."""
    _put_coordinates(shard, study, block, trained)
    for name, what in (("output", "network output"), ("memory", "network memory")):
        values = getattr(trained, name)
        put(shard, name, values, ("replica", "time", "probe"), "1", f"{what} at the end of each probe history")
    for name, values in trained.observed.items():
        dims, long_name = (observe.MEMORY | observe.KERNEL)[name]
        put(shard, name, values, ("replica", "time", *dims), "1", long_name)
    put(shard, "loss", trained.loss, ("replica", "loss_time"), "1", "mean of (Yhat_k - Y_k)^2 along the path")
    for name, long_name in DRIFTS.items():
        put(shard, name, trained.drift[name], ("replica", "time"), "1", long_name)
    seconds = np.full(block.count, trained.seconds / block.count)
    put(shard, "run_seconds", seconds, ("replica",), "s", "share of the block's run time", volatile=True)


def _put_coordinates(shard: h5py.File, study: Study, block: Block, trained: Trained) -> None:
    replica = _replicas(block).astype(np.int64)
    antithetic = study.training.antithetic
    bins, horizon = trained.loss.shape[1], study.training.horizon
    centres = (np.arange(bins) + 0.5) * horizon / bins
    put(shard, "replica", replica, ("replica",), "1", "index of the independent training")
    put(shard, "time", np.array(study.training.checkpoints), ("time",), "1", "training time t")
    put(shard, "probe", np.arange(study.probes.count), ("probe",), "1", "index of the probe history")
    put(shard, "loss_time", centres, ("loss_time",), "1", "training time at the centre of the bin")
    put(shard, "pair", replica // 2 if antithetic else replica, ("replica",), "1", "index of path, W and B")
    sign = 1 - 2 * (replica % 2) if antithetic else np.ones_like(replica)
    put(shard, "sign", sign, ("replica",), "1", "sign of C within an antithetic pair")


def _attributes(study: Study, cell: Cell, identity: str) -> dict[str, object]:
    return {
        **provenance(study),
        "cell_id": identity,
        "cell": cell.coordinates,
        "beta": cell.beta,
        "width": cell.width,
        "steps_per_time": cell.steps_per_time,
        "depth": cell.depth,
        "alpha": study.training.alpha,
        "horizon": study.training.horizon,
    }
