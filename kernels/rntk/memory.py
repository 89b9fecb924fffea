"""Whether a Gram matrix fits into memory, before it is begun: that of the machine, and what limits this process."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from rnnlimits.kernels.interface import KernelError

ROOT = Path("/")
# Of a control group: folder of its mount, files of the limit and of what is used, and what of it can be given back.
VERSIONS = {
    2: ("", "memory.max", "memory.current", "inactive_file"),
    1: ("memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
}


class Room(NamedTuple):
    """Bytes that can be taken now, and what sets this limit."""

    bytes: int
    of: str


def room(root: Path = ROOT, environment: Mapping[str, str] = os.environ) -> Room:
    """The smallest limit. root: where /proc and /sys are."""
    return min((_of_machine(root), *_of_groups(root), *_of_process(root), *_of_job(root, environment)))


def require_room(rows: int, columns: int, itemsize: int, copies: int) -> None:
    """Raises KernelError where `copies` matrices (rows, columns) exceed the memory that can be had."""
    need, have = rows * columns * itemsize * copies, room()
    if need > have.bytes:
        raise KernelError(
            f"a Gram matrix of {rows} x {columns} needs {need / 2**30:.3g} GiB of memory, {have.bytes / 2**30:.3g} GiB "
            f"can be had ({have.of}); write it in shards (rnnlimits.elman.grams.gram_to), or use float32"
        )


def _of_machine(root: Path) -> Room:
    found = _table(root / "proc/meminfo").get("MemAvailable:")
    pages = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return Room(pages if found is None else found * 1024, "of this machine")


def _of_groups(root: Path) -> Iterator[Room]:
    """Limits of the process's control group and of all that contain it."""
    for line in _lines(root / "proc/self/cgroup"):
        number, controllers, path = line.split(":", 2)
        if number != "0" and "memory" not in controllers.split(","):
            continue
        mount, *names = VERSIONS[2 if number == "0" else 1]
        top = root / "sys/fs/cgroup" / mount
        own = top / path.lstrip("/")
        for folder in (own, *own.parents):
            if not folder.is_relative_to(top):
                break
            yield from _of_group(folder, *names)


def _of_group(folder: Path, limit: str, used: str, spare: str) -> Iterator[Room]:
    most, now = _number(folder / limit), _number(folder / used)
    if most is not None and now is not None:
        yield Room(max(0, most - now + _table(folder / "memory.stat").get(spare, 0)), "of this process's control group")


def _of_process(root: Path) -> Iterator[Room]:
    most = resource.getrlimit(resource.RLIMIT_AS)[0]
    if most != resource.RLIM_INFINITY:
        yield Room(max(0, most - 1024 * _table(root / "proc/self/status").get("VmSize:", 0)), "ulimit -v")


def _of_job(root: Path, environment: Mapping[str, str]) -> Iterator[Room]:
    """What a Slurm job asked for on this node, where its tasks are not held to it by a control group."""
    node, cpu, cpus = (environment.get(f"SLURM_{name}", "") for name in ("MEM_PER_NODE", "MEM_PER_CPU", "CPUS_ON_NODE"))
    if node.isdecimal():
        asked = int(node)
    elif cpu.isdecimal() and cpus.isdecimal():
        asked = int(cpu) * int(cpus)
    else:
        return
    if asked:  # 0 is all of the node's
        own = 1024 * _table(root / "proc/self/status").get("VmRSS:", 0)
        yield Room(max(0, asked * 2**20 - own), "of this Slurm job")


def _table(path: Path) -> dict[str, int]:
    """Names and numbers at the start of lines."""
    rows = (line.split() for line in _lines(path))
    return {row[0]: int(row[1]) for row in rows if len(row) > 1 and row[1].isdecimal()}


def _number(path: Path) -> int | None:
    lines = _lines(path)
    return int(lines[0]) if lines and lines[0].isdecimal() else None


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError):
        return []
