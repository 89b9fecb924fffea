"""Removal of shared memory that killed ranks left on a node, before new ranks take it for their own.

MPICH names the memory of a node's ranks by job and step, and Slurm gives a requeued job the same numbers again. Ranks
that find the memory of killed ranks wait in it for ever.
"""

from __future__ import annotations

import os
import time
from contextlib import suppress
from pathlib import Path

SHARED = Path("/dev/shm")
NAMES = "mpich_shm_*"
YOUNG_SECONDS = 5.0  # a segment that is being created may not be mapped yet
FIRST_ON_NODE = ("SLURM_LOCALID", "MPI_LOCALRANKID")  # 0 for the rank that creates the memory


def forget_unused(folder: Path = SHARED, processes: Path = Path("/proc")) -> list[Path]:
    """Remove this user's segments that no process has mapped; returns them. Only for the first rank of a node."""
    if all(os.environ.get(name) != "0" for name in FIRST_ON_NODE):
        return []
    unused = {path for path in folder.glob(NAMES) if _is_old_and_ours(path)}
    for maps in processes.glob("[0-9]*/maps") if unused else ():
        with suppress(OSError):  # another user's process, which cannot have mapped ours, or one that has just ended
            text = maps.read_text(errors="replace")
            unused -= {path for path in unused if str(path) in text}
    for path in unused:
        path.unlink(missing_ok=True)
    return sorted(unused)


def _is_old_and_ours(path: Path) -> bool:
    with suppress(OSError):
        about = path.stat()
        return about.st_uid == os.getuid() and time.time() - about.st_mtime > YOUNG_SECONDS
    return False
