"""A study as a list of work: parts, which all ranks share, then steps, each of one process; and the files they leave.

Everything that runs, watches, prices or reads a study follows from these: the workflow, jobs of a cluster, `plan`,
`watch`, `validate`, the report. None of them asks which kind of study it is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol

from rnnlimits.plan.layout import StudyFolder
from rnnlimits.study import AnyStudy

if TYPE_CHECKING:  # MPI starts when it is imported, which only commands of all ranks want
    from mpi4py import MPI

    from rnnlimits.kernels.interface import Backend
    from rnnlimits.statistics.ratefile import Rate

Operation = Literal["unit-steps", "flop"]  # in which a site says how fast its ranks are


@dataclass(frozen=True)
class FileKind:
    """What a file of the results is.

    kind: its root attribute, "" where it is not HDF5; attributes: further root attributes that it always has; file: its
    path below the results folder where there is one of it, folder: the folder that all of its files lie in; caption:
    what a reader finds there, "" if it is not pointed out.
    """

    kind: str = ""
    attributes: tuple[str, ...] = ()
    file: str = ""
    caption: str = ""
    folder: str = ""
    is_of_study: bool = True
    is_folder: bool = False


@dataclass(frozen=True)
class Output:
    """A file, or a folder, that a part or a step leaves."""

    path: Path
    kind: FileKind

    @classmethod
    def fixed(cls, root: Path, kind: FileKind) -> Output:
        """The one file of its kind below a results folder."""
        return cls(root / kind.file, kind)


@dataclass(frozen=True)
class Block:
    """A unit of work and of restart: what one rank does at a time and writes as one shard.

    path: of the shard; state: of the saved state of work under way (None: nothing is saved); work: in the unit of its
    part's progress; operations: what it costs one rank, in its part's `operation`.
    """

    path: Path
    state: Path | None
    work: int
    operations: float


@dataclass(frozen=True)
class Ensemble:
    """An output of a part over the shards of its blocks.

    cell: a dataclass with the coordinates of its networks, None where they have none. steps: of a block, as its saved
    state counts them (0: nothing is saved); replicas: independent networks, 0 where there are none; bytes: estimated
    size of the shards; is_virtual: it reads its values from the shards, and is broken without one.
    """

    name: str
    output: Output
    shard: FileKind
    identity: str
    blocks: tuple[Block, ...]
    steps: int = 0
    replicas: int = 0
    cell: Any = None
    bytes: int = 0
    is_virtual: bool = True

    @property
    def shards(self) -> Path:
        """The folder of its shards."""
        return self.blocks[0].path.parent

    @property
    def states(self) -> Path | None:
        """The folder of saved states."""
        state = self.blocks[0].state
        return None if state is None else state.parent

    @cached_property
    def work(self) -> Mapping[str, int]:
        """The name of each shard with the work behind it."""
        return {block.path.name: block.work for block in self.blocks}


@dataclass(frozen=True)
class Part:
    """Work that all ranks of one command share: a rule of the workflow, a lock, a log, a line of progress.

    name: as `rnnlimits work` takes it; command: the verb that runs it, with `option`, if it has one of its own; label,
    unit: of its progress in logs; identity: exactly what changes its outputs; operation, precision: of its blocks'
    costs; megabytes: arrays of a rank that works on the largest block.
    """

    name: str
    label: str
    unit: str
    identity: object
    ensembles: tuple[Ensemble, ...]
    run: Callable[[MPI.Intracomm, Backend], None] = field(compare=False)
    command: str = "work"
    option: tuple[str, object] | None = None
    operation: Operation = "flop"
    precision: str = "float64"
    megabytes: float = 0.0

    @property
    def lock(self) -> str:
        """The name of its lock and of its log: train-N00064-K00064."""
        own = self.command == "work" or self.name.partition("-")[0] == self.command
        return self.name if own else f"{self.command}-{self.name}"

    @property
    def rule(self) -> str:
        """The name of its rule: train_N00064_K00064."""
        return self.lock.replace("-", "_")

    @property
    def outputs(self) -> tuple[Path, ...]:
        """The files that are written when all blocks are there."""
        return tuple(ensemble.output.path for ensemble in self.ensembles)

    @property
    def blocks(self) -> tuple[Block, ...]:
        """The blocks of all ensembles, in order."""
        return tuple(block for ensemble in self.ensembles for block in ensemble.blocks)

    @property
    def work(self) -> int:
        """Work of all blocks."""
        return sum(block.work for block in self.blocks)


@dataclass(frozen=True)
class Step:
    """Work of one process after the parts; its name is its verb and its log.

    run: is given the choice of a back end, which takes a moment where sources have to be compiled.
    """

    name: str
    inputs: tuple[Path, ...]
    outputs: tuple[Output, ...]
    identity: str
    run: Callable[[Callable[[], Backend]], None] = field(compare=False)
    rule: str = ""  # its rule, where that has another name

    @property
    def paths(self) -> tuple[Path, ...]:
        """The paths of its outputs."""
        return tuple(output.path for output in self.outputs)


@dataclass(frozen=True)
class Pace:
    """How fast one worker (core or GPU) of this machine is: nanoseconds for a unit of work of the packs.

    measured: what `plan --json` says of it.
    """

    worker: str
    ns_per_unit: float
    measured: Mapping[str, float] = field(default_factory=dict)


class Experiment(Protocol):
    """A study with its results folder, as everything else sees it. `rnnlimits.experiments.of` makes one of a study."""

    kind: ClassVar[str]  # the value of `experiment:`
    parallel: ClassVar[tuple[str, ...]]  # verbs of the parts
    serial: ClassVar[tuple[str, ...]]  # names of the steps
    files: ClassVar[tuple[FileKind, ...]]  # of everything that parts and steps write
    uses_gpus: ClassVar[bool]  # in jobs of a cluster
    operation: ClassVar[Operation]  # in which its packs are priced

    @property
    def study(self) -> AnyStudy:
        """The study file."""

    @property
    def layout(self) -> StudyFolder:
        """The results folder."""

    @property
    def identity(self) -> str:
        """12 hexadecimal digits of what changes any result of the study."""

    def checks(self) -> list[str]:
        """Findings of all numerical checks, one readable line each.

        Raises StudyError or KernelError for a bad study.
        """

    def parts(self) -> tuple[Part, ...]:
        """The parts in the order of work."""

    def steps(self) -> tuple[Step, ...]:
        """The steps, each after those whose outputs it reads."""

    def packs(self) -> tuple[Part, ...]:
        """The parts that `plan` lists: those that compute the networks."""

    def pace(self, backend: Callable[[], Backend]) -> Pace:
        """How fast this machine is at the packs."""

    def summary(self, pace: Pace) -> str:
        """What `plan` prints."""

    def held_bytes(self) -> int:
        """Values that the steps hold in memory at a time."""

    def behind(self, rate: Rate, **values: float) -> list[Path]:
        """The files from which the point of `rate` at these values of what varies (N=64, K=64) was estimated.

        Empty if none can be named, as for a row that is computed from other rows.
        """

    def measured(self, count: str) -> str:
        """The beginning of a sentence that says what was measured; count: of all replicas."""


def ensembles(parts: Sequence[Part]) -> tuple[Ensemble, ...]:
    """The ensembles of all parts."""
    return tuple(ensemble for part in parts for ensemble in part.ensembles)
