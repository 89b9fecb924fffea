"""Shared memory of a node's ranks: what killed ranks left is removed, and too little of it is refused.

MPICH names the memory of a node's ranks by job and step, and Slurm gives a requeued job the same numbers again. Ranks
that find the memory of killed ranks wait in it for ever.
"""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

from rnnlimits.base import surroundings
from rnnlimits.base.errors import StudyError
from rnnlimits.base.variables import MPI

SHARED = Path("/dev/shm")
NAMES = "mpich_shm_*"
YOUNG_SECONDS = 5.0  # a segment that is being created may not be mapped yet
RANK_BYTES = 1_100_000  # what MPICH 5 takes for each rank of a node
FIRST_ON_NODE = ("SLURM_LOCALID", "MPI_LOCALRANKID")  # 0 for the rank that creates the memory
RANKS_ON_NODE = "MPI_LOCALNRANKS"


def forget_unused(folder: Path = SHARED, processes: Path = Path("/proc")) -> list[Path]:
    """Remove this user's segments that no process has mapped; returns them. Only for the first rank of a node."""
    if all(os.environ.get(name) != "0" for name in FIRST_ON_NODE):
        return []
    unused = {path for path in folder.glob(NAMES) if _is_old_and_ours(path)}
    for maps in processes.glob("[0-9]*/maps") if unused else ():
        with suppress(OSError):  # another user's process, which cannot have mapped ours, or one that has just ended
            text = maps.read_text(encoding="utf-8", errors="replace")
            unused -= {path for path in unused if str(path) in text}
    for path in unused:
        path.unlink(missing_ok=True)
    return sorted(unused)


def require_room(ranks: int | None = None, folder: Path = SHARED) -> None:
    """Refuse to start MPI where it would be killed by a bus error: ranks of a node need shared memory.

    ranks: how many will start on this node (None: those of this process's job).
    Raises StudyError if they cannot start.
    """
    count = _ranks_here() if ranks is None else ranks
    free, needed = _free(folder, whole=ranks is None and not _is_first()), RANK_BYTES * count
    if free is None or free >= needed or _runs_without():
        return
    found = f"{free / 1e6:.1f} MB can be written, MPI needs {needed / 1e6:.1f} MB for {count} rank{'s' * (count > 1)}"
    raise StudyError(f"{folder}: {found}; make it larger (docker run --shm-size=1g; ulimit -f), or start fewer ranks")


def _is_first() -> bool:
    return all(os.environ.get(name, "0") == "0" for name in FIRST_ON_NODE)


def _ranks_here() -> int:
    here = os.environ.get(RANKS_ON_NODE, "1")
    return int(here) if here.isdigit() else 1


def _free(folder: Path, whole: bool) -> int | None:
    """Bytes that this user can write; None if there is no such folder: MPI keeps its memory elsewhere.

    whole: of an empty folder, as other ranks may have taken theirs already.
    """
    try:
        usage = shutil.disk_usage(folder)
    except OSError:
        return None
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)[0]
    free = (usage.total if whole else usage.free) if os.access(folder, os.W_OK) else 0
    return free if limit == resource.RLIM_INFINITY else min(free, limit)


def _runs_without() -> bool:
    """Whether this MPI is another than MPICH, and starts all the same: asked of a process that may be killed."""
    environment = {name: value for name, value in os.environ.items() if not surroundings.matches(name, MPI)}
    command = [sys.executable, "-c", "from mpi4py import MPI; print(MPI.get_vendor()[0])"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    return done.returncode == 0 and done.stdout.strip() != "MPICH"


def _is_old_and_ours(path: Path) -> bool:
    with suppress(OSError):
        about = path.stat()
        return about.st_uid == os.getuid() and time.time() - about.st_mtime > YOUNG_SECONDS
    return False
