"""Launchers of ranks: which one started this process, as how many, and whether its MPI is ours.

A process that another MPI's mpiexec started as one of four takes itself for the only one: four of them would do the
same work at the same time.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

from rnnlimits.base.errors import StudyError

OPEN_MPI = "Open MPI's mpiexec"
PMI = "a launcher that speaks PMI"
# Variables that launchers set for each process: its rank and the number of ranks; and the launcher that sets them. A
# batch script, which is no rank, has SLURM_PROCID too, but not the number of tasks of a step.
LAUNCHERS = (
    ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", OPEN_MPI),
    ("PALS_RANKID", "PALS_SIZE", "PALS"),
    ("FLUX_TASK_RANK", "FLUX_JOB_SIZE", "flux run"),
    ("PMI_RANK", "PMI_SIZE", PMI),
    ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "srun"),
    ("PMIX_RANK", "PMIX_SIZE", "a launcher that speaks PMIx"),
)
HYDRA = "MPI_LOCALRANKID"  # set by mpiexec of MPICH and of Intel MPI only
HYDRA_NAME = "mpiexec (Hydra)"
NETMOD = "MPIR_CVAR_CH4_NETMOD"
_NETMODS = re.compile(r"^MPICH Device:\s*ch4:([\w ]+)$", re.MULTILINE)
ADVICE = "use the mpiexec that belongs to this MPI, or srun (--mpi=pmi2 for MPICH, --mpi=pmix for Open MPI)"


class Crowd(StudyError):
    """Several copies run where one should, or each is alone where all should be ranks: raised, and shown, by each."""


class Started(NamedTuple):
    """How a launcher started this process."""

    launcher: str
    rank: int
    size: int
    variables: tuple[str, str]


def started(environment: Mapping[str, str]) -> Started | None:
    """The launcher that started this process as one rank of a known number, or None. Nonsense in a variable is none."""
    for rank_name, size_name, launcher in LAUNCHERS:
        rank, size = environment.get(rank_name, "0"), environment.get(size_name, "")
        if _is_number(size) and _is_number(rank) and int(rank) < int(size):
            name = HYDRA_NAME if launcher == PMI and HYDRA in environment else launcher
            return Started(name, int(rank), int(size), (rank_name, size_name))
    return None


def is_rank(environment: Mapping[str, str]) -> bool:
    """Whether a launcher started this process, also one that does not say as how many."""
    unnumbered = _is_number(environment.get("PMIX_RANK", "")) and "PMIX_NAMESPACE" in environment
    return unnumbered or started(environment) is not None


def rank_of(environment: Mapping[str, str]) -> int:
    """The rank that a launcher gave this process; 0 without a launcher."""
    if (begun := started(environment)) is not None:
        return begun.rank
    return int(environment["PMIX_RANK"]) if is_rank(environment) else 0


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 10


def require_alone(verb: str, environment: Mapping[str, str]) -> None:
    """Raises Crowd if this process is one of several copies of a verb that one process must run."""
    one = started(environment)
    if one is not None and one.size > 1:
        raise Crowd(
            f"{verb}: started by {one.launcher} as copy {one.rank} of {one.size} ({_shown(one)}); start it once, "
            "without a launcher: `rnnlimits run` starts ranks itself, with the mpiexec of its own MPI"
        )


def require_family(library: str, environment: Mapping[str, str]) -> None:
    """Raises Crowd if a launcher started several processes that cannot be ranks of an MPI library.

    library: its name and version. Only Open MPI's launcher and Hydra are known to belong to one family.
    """
    one = started(environment)
    if one is None or one.launcher not in (OPEN_MPI, HYDRA_NAME):
        return
    if (one.launcher == OPEN_MPI) != library.startswith("Open MPI"):
        raise _two_mpis(one, library)


def require_same_mpi(ranks: int, library: str, environment: Mapping[str, str]) -> None:
    """Raises Crowd if a launcher started several processes, but each is alone for the MPI library.

    ranks: how many the library sees; library: its name and version.
    """
    one = started(environment)
    if one is not None and one.size > 1 and ranks == 1:
        raise _two_mpis(one, f"{library}, which sees one rank")


def netmod_for_srun(description: str, environment: Mapping[str, str]) -> dict[str, str]:
    """The variable with which ranks that srun starts find each other for certain; none where nothing is to be done.

    description: that of the MPI library, MPI.Get_library_version(). Slurm's pmi2 reads no more than 1024 bytes of a
    request. MPICH sends a rank's UCX address in pieces, filled up with whatever its memory holds, which as text are
    often longer: then srun ends the ranks, or they wait for ever. Addresses of OFI are short. A user's choice stays.
    """
    one = started(environment)
    if (
        one is None
        or one.size == 1
        or one.launcher != PMI
        or "SLURM_PROCID" not in environment
        or NETMOD in environment
    ):
        return {}
    found = _NETMODS.search(description)
    return {NETMOD: "ofi"} if found and {"ucx", "ofi"} <= {*found[1].split()} else {}


def _two_mpis(one: Started, library: str) -> Crowd:
    return Crowd(
        f"MPI: {one.launcher} started this as rank {one.rank} of {one.size} ({_shown(one)}), but the MPI of this "
        f"Python is {library}: the two do not match; {ADVICE}"
    )


def _shown(one: Started) -> str:
    return f"{one.variables[1]}={one.size}"
