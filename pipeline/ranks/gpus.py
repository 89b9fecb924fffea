"""Assignment of ranks to GPUs, from the environment and the visible devices, and a line that shows it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rnnlimits.base.errors import StudyError
from rnnlimits.kernels import gpu_count

# A rank's number on its node, as launchers set it. MPI's own variables come first: where mpiexec runs inside a Slurm
# job, SLURM_LOCALID is that of the process that called mpiexec, 0 for all ranks. PMIx has no variable for it.
LOCAL_RANK_VARIABLES = (
    "MPI_LOCALRANKID",  # Hydra: mpiexec of MPICH and Intel MPI
    "OMPI_COMM_WORLD_LOCAL_RANK",  # Open MPI
    "MV2_COMM_WORLD_LOCAL_RANK",  # MVAPICH 2
    "PALS_LOCAL_RANKID",  # HPE Cray: aprun and mpiexec of PALS
    "PMI_LOCAL_RANK",  # older PALS
    "FLUX_TASK_LOCAL_ID",  # flux run
    "SLURM_LOCALID",  # srun
)


def local_rank(environment: Mapping[str, str], split: int) -> int:
    """The rank's number on its node: from the launcher, else `split`, its rank among those that share memory.

    Raises StudyError for a variable that is not a whole number.
    """
    for name in LOCAL_RANK_VARIABLES:
        if name in environment:
            return _whole_number(name, environment[name])
    return split


def _whole_number(name: str, text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise StudyError(f"{name} is {text!r}; allowed: a whole number, the rank's number on its node; unset it")
    return int(text)


def choose(environment: Mapping[str, str], visible: int, split: int) -> int:
    """Index of the GPU that this rank uses among its `visible` (at least 1) ones. Raises as local_rank does."""
    return local_rank(environment, split) % visible


def own(backend: str, environment: Mapping[str, str], split: int) -> int | None:
    """Index of the GPU that this rank uses with a back end; None if the back end does not use a GPU here.

    Raises as gpu_count and local_rank do.
    """
    visible = gpu_count(backend)
    return choose(environment, visible, split) if visible else None


@dataclass(frozen=True)
class Seat:
    """The GPU of one rank. Slurm may show each rank one GPU, always number 0: only `identity` distinguishes GPUs."""

    node: str
    index: int
    device: str  # the vendor's name
    identity: str  # equal for two ranks on one node if and only if they share the GPU

    @property
    def bus(self) -> str:
        """The identity without the node's name, if that is part of it."""
        return self.identity.removeprefix(self.node).strip()


def groups(seats: Sequence[Seat]) -> dict[tuple[str, str], list[int]]:
    """Ranks for each GPU (node, identity), in the order of their first ranks; seats: one for each rank."""
    ranks_of: dict[tuple[str, str], list[int]] = {}
    for rank, seat in enumerate(seats):
        ranks_of.setdefault((seat.node, seat.identity), []).append(rank)
    return ranks_of


def describe(seats: Sequence[Seat]) -> str:
    """The assignment in one line: `rank 0: node7 GPU 0 (NVIDIA H100); ranks 1-3: ...`; seats: one for each rank."""
    shared = groups(seats)
    labels = [f"{seats[ranks[0]].node} GPU {seats[ranks[0]].index}" for ranks in shared.values()]
    parts = []
    for ranks, label in zip(shared.values(), labels, strict=True):
        which = f", {seats[ranks[0]].bus}" if labels.count(label) > 1 else ""  # two GPUs with the same number
        parts.append(f"{name_ranks(ranks)}: {label} ({seats[ranks[0]].device}{which})")
    return "; ".join(parts)


def sharing(seats: Sequence[Seat]) -> str | None:
    """A warning if several ranks share a GPU, else None; seats: one for each rank."""
    crowd = max(groups(seats).values(), key=len)
    if len(crowd) == 1:
        return None
    return f"warning: up to {len(crowd)} ranks share a GPU, which is seldom faster; start one rank for each GPU"


def name_ranks(ranks: Sequence[int]) -> str:
    """Increasing rank numbers in short form: `rank 3`, `ranks 0-3, 8`."""
    runs: list[list[int]] = []
    for rank in ranks:
        if runs and rank == runs[-1][-1] + 1:
            runs[-1].append(rank)
        else:
            runs.append([rank])
    words = ", ".join(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs)
    return f"{'rank' if len(ranks) == 1 else 'ranks'} {words}"
