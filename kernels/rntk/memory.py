"""Whether a Gram matrix fits into memory, before it is begun."""

from __future__ import annotations

import os
from pathlib import Path

from rnnlimits.kernels.interface import KernelError


def available_bytes() -> int:
    """Memory that can be taken now."""
    try:
        for line in Path("/proc/meminfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def require_room(rows: int, columns: int, itemsize: int, copies: int) -> None:
    """Raises KernelError where `copies` matrices (rows, columns) exceed the memory that can be had."""
    need, have = rows * columns * itemsize * copies, available_bytes()
    if need > have:
        raise KernelError(
            f"a Gram matrix of {rows} x {columns} needs {need / 2**30:.3g} GiB of memory, "
            f"{have / 2**30:.3g} GiB can be had; write it in shards (rnnlimits.elman.grams.gram_to), or use float32"
        )
