"""A study as a list of work: parts, which all ranks share, then steps, each of one process; and the files they write.

Everything that runs, watches, prices or reads a study is derived from these: the workflow, cluster jobs, `plan`,
`watch`, `validate`, the report. None of them needs to know which kind of study it is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol

from rnnlimits.plan.forecast import Forecast, Item, Left, all_files
from rnnlimits.plan.layout import StudyFolder
from rnnlimits.study import AnyStudy

if TYPE_CHECKING:  # importing MPI starts it, which only the commands that run on all ranks need
    from mpi4py import MPI

    from rnnlimits.kernels.interface import Backend
    from rnnlimits.statistics.ratefile import Rate

Operation = Literal["unit-steps", "flop"]  # the units in which a site states the speed of its ranks


@dataclass(frozen=True)
class FileKind:
    """What a file of the results is.

    kind: its root attribute, "" if it is not HDF5; attributes: further root attributes that it always has; file: its
    path below the results folder if only one such file exists; folder: the folder that contains all such files;
    caption: what a reader finds there, "" if the file is not listed for readers.
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
    """A file, or a folder, that a part or a step writes."""

    path: Path
    kind: FileKind

    @classmethod
    def fixed(cls, root: Path, kind: FileKind) -> Output:
        """The one file of its kind below a results folder."""
        return cls(root / kind.file, kind)


@dataclass(frozen=True)
class Block:
    """The unit of work and of restart: what one rank computes at a time and writes as one shard.

    path: the shard; state: the file for the saved state of unfinished work (None: nothing is saved); work: in the unit
    of its part's progress; operations: the cost for one rank, in its part's `operation`.
    """

    path: Path
    state: Path | None
    work: int
    operations: float


@dataclass(frozen=True)
class Ensemble:
    """An output of a part, which combines the shards of its blocks.

    cell: a dataclass with the coordinates of its networks, None if they have none; steps: number of steps in a block,
    as its saved state counts them (0: nothing is saved); replicas: number of independent networks, 0 if none; bytes:
    estimated size of the shards; is_virtual: it reads its values from the shards, and is broken if one is missing;
    identity: the value of one of the file's root attributes whose name ends in `_id`; length: number of rows that are
    joined, if it is not that of the replicas.
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
    length: int = 0

    @property
    def rows(self) -> int:
        """Number of rows that are joined along the dimension of its blocks; 0 if it is not known."""
        return self.length or self.replicas

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
    """Work that all ranks of one command share. It has a rule of the workflow, a lock, a log, a line of progress.

    name: as `rnnlimits work` takes it; command: the verb that runs it, with `option`, if it has its own verb; label,
    unit: how logs show its progress; identity: exactly what changes its outputs; operation, precision: the units of its
    blocks' costs; megabytes: memory for the arrays of a rank that works on the largest block.
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
        is_unambiguous = self.command == "work" or self.name.partition("-")[0] == self.command
        return self.name if is_unambiguous else f"{self.command}-{self.name}"

    @property
    def rule(self) -> str:
        """The name of its rule: train_N00064_K00064."""
        return self.lock.replace("-", "_")

    @property
    def outputs(self) -> tuple[Path, ...]:
        """The files that are written once all blocks are done."""
        return tuple(ensemble.output.path for ensemble in self.ensembles)

    @property
    def blocks(self) -> tuple[Block, ...]:
        """The blocks of all ensembles, in order."""
        return tuple(block for ensemble in self.ensembles for block in ensemble.blocks)

    @property
    def work(self) -> int:
        """Total work of all blocks."""
        return sum(block.work for block in self.blocks)


@dataclass(frozen=True)
class Step:
    """Work of one process after the parts; its verb and its log have its name.

    identity: exactly what changes its outputs, which carry it (docs/format.md, "Which study a file is from");
    run: takes a function that returns the back end; calling it takes a moment if sources have to be compiled.
    """

    name: str
    inputs: tuple[Path, ...]
    outputs: tuple[Output, ...]
    identity: str
    run: Callable[[Callable[[], Backend]], None] = field(compare=False)
    rule: str = ""  # the name of its rule, if it differs

    @property
    def paths(self) -> tuple[Path, ...]:
        """The paths of its outputs."""
        return tuple(output.path for output in self.outputs)


def _no_items(_: Experiment, __: Left) -> Sequence[Item]:
    return ()


@dataclass(frozen=True)
class Pace:
    """How fast one worker (core or GPU) of this machine is: nanoseconds for a unit of work of the packs.

    measured: the measured values that `plan --json` reports. items: the pieces of a run of the study, or of the same
    with other replicas, that makes the files that are left.
    """

    worker: str
    ns_per_unit: float
    measured: Mapping[str, float] = field(default_factory=dict)
    items: Callable[[Experiment, Left], Sequence[Item]] = field(default=_no_items, compare=False)


class Experiment(Protocol):
    """A study with its results folder, as the rest sees it. `rnnlimits.experiments.of` builds one from a study."""

    kind: ClassVar[str]  # the value of the key `experiment`
    parallel: ClassVar[tuple[str, ...]]  # the verbs of its parts
    serial: ClassVar[tuple[str, ...]]  # the names of its steps
    files: ClassVar[tuple[FileKind, ...]]  # every kind of file that its parts and steps write
    uses_gpus: ClassVar[bool]  # whether its cluster jobs use GPUs
    operation: ClassVar[Operation]  # the unit in which its packs are priced

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

    def remarks(self) -> list[str]:
        """Lines on what was read of the user's data, one each; only `check` prints them, as they take a second read."""

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

    def forecast(self, pace: Pace, ranks: int, left: Left = all_files) -> Forecast:
        """What a run with so many ranks takes that makes the files that are left (default: all)."""

    def forecast_lines(self, pace: Pace, ranks: int) -> list[str]:
        """What `plan` prints of the forecast."""

    def held_bytes(self) -> int:
        """Bytes of values that the steps hold in memory at once."""

    def behind(self, rate: Rate, **values: float) -> list[Path]:
        """The files from which the point of `rate` at these values of what varies (N=64, K=64) was estimated.

        Empty if no files can be named, as for a row that is computed from other rows.
        """

    def measured(self, count: str) -> str:
        """The beginning of a sentence that says what was measured; count: the number of all replicas, in words."""


def ensembles(parts: Sequence[Part]) -> tuple[Ensemble, ...]:
    """The ensembles of all parts."""
    return tuple(ensemble for part in parts for ensemble in part.ensembles)
