"""A parallel stage: blocks shared out over MPI ranks, a shard for each, and ensembles over the shards.

A stage says which blocks exist, where their files lie, how a block is computed and what its shard holds (`Stage`,
`Ensemble`). `run` does the rest: it checks existing shards, computes the missing ones, saves states of blocks under
way, and writes the ensembles.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import h5py

from rnnlimits.base import progress
from rnnlimits.files.ensembles import Shard, build_ensemble, noted, sealed
from rnnlimits.files.store import File, atomic_h5, open_complete
from rnnlimits.kernels.interface import Backend
from rnnlimits.ranks import checkpoints
from rnnlimits.ranks.checkpoints import Forgetful, Keeper, Pace, Saver
from rnnlimits.ranks.parallel import Tick, Ticker, each_block, on_root, together

if TYPE_CHECKING:
    from mpi4py import MPI

Block = TypeVar("Block", bound=Hashable)  # the unit of work and of restart, as the stage names it: one shard
Shared = TypeVar("Shared")
Result = TypeVar("Result")


def rows_of(block: Any) -> dict[str, object]:
    """Root attributes of the shard of a block of consecutive rows: its fields `first` and `count`."""
    return {"first": block.first, "count": block.count}


@dataclass(frozen=True, kw_only=True)
class Ensemble(Generic[Block]):
    """One file of results, and the blocks whose shards it is joined from.

    kind: "twin" where the files are of kind twin-shard, twin-state and twin-ensemble.
    identity: root attributes that every shard and state must have to belong to the ensemble (cell_id).
    attributes: makes the root attributes of ensemble, shards and states, identity included, at the time of writing.
    blocks: in the order in which their shards are joined along `dimension`.
    where: makes the root attributes that tell a shard from the others.
    state: where the state of a block under way is saved (None: nowhere).
    steps: of a whole block; a state says how many of them are done.
    written: of shards that this run wrote, what joining them needs; others are read again.
    """

    kind: str
    path: Path
    identity: Mapping[str, object]
    attributes: Callable[[], Mapping[str, object]]
    blocks: Sequence[Block]
    shard: Callable[[Block], Path]
    where: Callable[[Block], Mapping[str, object]] = rows_of
    state: Callable[[Block], Path] | None = None
    steps: int = 0
    dimension: str = "replica"
    written: Mapping[Path, Shard] = field(default_factory=dict)

    def open_shard(self, block: Block) -> AbstractContextManager[File]:
        """The shard of a block, opened read-only. Raises StudyError if it is damaged or belongs to something else."""
        return open_complete(self.shard(block), f"{self.kind}-shard", **self.identity, **self.where(block))

    def forget(self, block: Block) -> None:
        """Remove the saved state of a block that has a shard."""
        if self.state is not None:
            checkpoints.forget(self.state(block))

    def forget_all(self) -> None:
        """Remove the folder of saved states, once every block has a shard."""
        if self.state is not None:
            for folder in {self.state(block).parent for block in self.blocks}:
                checkpoints.forget_all(folder)


def linked_below(root: Path) -> Callable[[Ensemble[Any]], None]:
    """For Stage.join: a virtual dataset over the shards, which all lie in root/shards, so that root can be moved."""

    def join(ensemble: Ensemble[Any]) -> None:
        kind, attributes = f"{ensemble.kind}-ensemble", ensemble.attributes()
        shards = [ensemble.shard(block) for block in ensemble.blocks]
        build_ensemble(
            root, shards, ensemble.path, kind, attributes, ensemble.identity, ensemble.dimension, ensemble.written
        )

    return join


def alone(blocks: Sequence[Block]) -> list[tuple[Block, Sequence[Block]]]:
    """Each block as a group of its own."""
    return [(block, (block,)) for block in blocks]


def whole_result(result: Result, block: Block, whole: Block) -> Result:
    """All of a result, as the result of its only block."""
    return result


@dataclass(frozen=True, kw_only=True)
class Stage(Generic[Block, Shared, Result]):
    """What a parallel stage has to say. Its functions give the same on every rank.

    label, unit: of the progress line, "twin" and "steps".
    be: the back end that computes, whose name and device shards have as root attributes (None: see `origin`).
    ensembles: makes the list of files to write; no two of their blocks are equal.
    size: work of a block in `unit`s; the largest blocks are computed first.
    prepare: makes what all blocks share, once existing shards are known to be good.
    compute: the result of a block, which depends on the block alone, never on the rank or on other blocks. It calls
        tick(work done) every second or so, or, where states are saved, keeper.load, keeper.resumed and keeper.passed;
        parallel.Stopped, which these raise, must pass.
    write: puts the variables of a result into the open shard, the coordinate of the ensemble's dimension among them.
    join: writes the file of an ensemble whose shards all exist, on rank 0: `linked_below` the results folder.
    ticks: whether `compute` reports its work; if not, a block counts as done once its shard is written.
    origin: makes further root attributes of shards, which may differ within an ensemble.
    variables: what a saved state may hold (nothing: no states are saved).
    groups: blocks that are best computed together on one rank, each group after the one block that spans it, which is
        computed; part(result, block, whole): what of the result of the whole belongs to a block.
    """

    label: str
    unit: str
    be: Backend | None
    ensembles: Callable[[], Sequence[Ensemble[Block]]]
    size: Callable[[Block], int]
    prepare: Callable[[], Shared]
    compute: Callable[[Block, Shared, Tick, Keeper], Result]
    write: Callable[[h5py.File, Block, Result], None]
    join: Callable[[Ensemble[Block]], None]
    ticks: bool = True
    origin: Callable[[], Mapping[str, object]] = dict
    variables: checkpoints.Variables = field(default_factory=dict)
    groups: Callable[[Sequence[Block]], Sequence[tuple[Block, Sequence[Block]]]] = alone
    part: Callable[[Result, Block, Block], Result] = whole_result


def run(comm: MPI.Intracomm, stage: Stage[Block, Shared, Result]) -> None:
    """Compute every block without a shard on whichever rank is free, then write the ensembles. Collective.

    Existing shards are checked and kept; a block with a saved state continues from it. Raises on every rank what one
    rank raised: StudyError for bad input and for a shard that is damaged or belongs to something else; and
    parallel.Ended after a signal.
    """
    ensembles = together(comm, stage.ensembles)
    owners = _owners(ensembles)
    progress.now(f"{stage.label}: looking for {len(owners)} shards")
    missing = on_root(comm, lambda: [block for block, owner in owners.items() if _is_missing(owner, block)])
    progress.now(f"{stage.label}: preparing what all blocks need")
    shared = together(comm, stage.prepare)
    pace = together(comm, Pace.of_environment) if stage.variables else Pace()
    on_root(comm, lambda: checkpoints.announce(_states(owners, missing)))
    groups = stage.groups(missing)

    written: dict[Path, Shard] = {}

    def work(index: int, tick: Ticker) -> None:
        whole, blocks = groups[index]
        result = stage.compute(whole, shared, tick, _keeper(stage, owners[blocks[0]], whole, pace, tick))
        for block in blocks:
            if shard := write_shard(stage, owners[block], block, stage.part(result, block, whole)):
                written[shard.path] = shard
            owners[block].forget(block)
        if not stage.ticks:
            tick(stage.size(whole))

    progress.now(f"{stage.label}: computing {len(missing)} blocks")
    each_block(comm, [stage.size(whole) for whole, _ in groups], work, stage.label, stage.unit)
    of_ranks = comm.gather(written) or []
    on_root(comm, lambda: _join(stage, ensembles, {path: one for found in of_ranks for path, one in found.items()}))


def write_shard(
    stage: Stage[Block, Shared, Result], ensemble: Ensemble[Block], block: Block, result: Result
) -> Shard | None:
    """Write a block's shard, complete or not at all; returns what joining it needs, None where it is read again."""
    path, about, known = ensemble.shard(block), _attributes(stage, ensemble, block), list[Shard | None]()

    def note(file: h5py.File) -> None:
        known.append(noted(file, path, ensemble.dimension))

    with atomic_h5(path, f"{ensemble.kind}-shard", about, note) as shard:
        stage.write(shard, block, result)
    return sealed(known[0]) if known[0] else None


def state_place(stage: Stage[Block, Shared, Result], ensemble: Ensemble[Block], block: Block) -> checkpoints.Place:
    """Where a block's state is saved, and what it says of itself. Raises ValueError where no states are saved."""
    if ensemble.state is None or stage.be is None:
        raise ValueError(f"{ensemble.path}: blocks of kind {ensemble.kind} have no saved states")
    rounding = checkpoints.rounding(stage.be)
    identity = {**ensemble.identity, **ensemble.where(block)}
    about = {name: value for name, value in _attributes(stage, ensemble, block).items() if name not in identity}
    kind, path = f"{ensemble.kind}-state", ensemble.state(block)
    return checkpoints.Place(path, kind, stage.variables, rounding, identity, about)


def _attributes(stage: Stage[Block, Shared, Result], ensemble: Ensemble[Block], block: Block) -> dict[str, object]:
    by = {} if stage.be is None else {"backend": stage.be.name, "device": stage.be.device}
    return {**ensemble.attributes(), **ensemble.where(block), **stage.origin(), **by}


def _owners(ensembles: Sequence[Ensemble[Block]]) -> dict[Block, Ensemble[Block]]:
    """The ensemble of each block, in order. Raises ValueError where that is ambiguous."""
    every = [(block, ensemble) for ensemble in ensembles for block in ensemble.blocks]
    owners = dict(every)
    if len(owners) < len(every):
        raise ValueError("two blocks of a stage are equal; a block must also say which ensemble it belongs to")
    return owners


def _is_missing(ensemble: Ensemble[Block], block: Block) -> bool:
    """Whether a block has no shard; an existing one must be whole and the right one."""
    if not ensemble.shard(block).exists():
        return True
    with ensemble.open_shard(block):
        ensemble.forget(block)
    return False


def _states(owners: Mapping[Block, Ensemble[Block]], missing: Sequence[Block]) -> dict[Path, int]:
    """Where states of blocks would be, and the steps of these blocks."""
    return {state(block): owners[block].steps for block in missing if (state := owners[block].state)}


def _keeper(
    stage: Stage[Block, Shared, Result], ensemble: Ensemble[Block], block: Block, pace: Pace, tick: Ticker
) -> Keeper:
    """Who saves the state of a block."""
    return Saver(state_place(stage, ensemble, block), pace, tick) if ensemble.state else Forgetful(tick)


def _join(
    stage: Stage[Block, Shared, Result], ensembles: Sequence[Ensemble[Block]], written: Mapping[Path, Shard]
) -> None:
    for ensemble in ensembles:
        progress.now(f"joining {len(ensemble.blocks)} shards into {ensemble.path}")
        stage.join(replace(ensemble, written=written))
        ensemble.forget_all()
