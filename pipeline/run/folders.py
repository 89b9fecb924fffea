"""What `doctor` says of folders and limits: results, caches, temporary files, shared memory, the working folder."""

from __future__ import annotations

import os
import resource
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from rnnlimits.base import segments
from rnnlimits.base.errors import StudyError
from rnnlimits.base.locks import unreadable
from rnnlimits.kernels import cache
from rnnlimits.run import disk, workflow
from rnnlimits.run.findings import FAILED, OK, WARNING, Finding
from rnnlimits.watch.holders import Locks
from rnnlimits.watch.listing import Listing

LITTLE_SPACE = 2**30  # bytes: the demo needs far less, a study with thousands of replicas more
LITTLE_TEMPORARY = 2**26  # bytes: a compiler writes a few megabytes
# Limits of a process below which runs fail: what they are called, the option of ulimit, the least value, its unit.
LEAST = (
    ("open files", "n", resource.RLIMIT_NOFILE, 1, 256, ""),
    ("address space", "v", resource.RLIMIT_AS, 2**30, 4, " GiB"),
    ("processes", "u", resource.RLIMIT_NPROC, 1, 256, ""),
    ("size of a file", "f", resource.RLIMIT_FSIZE, 2**30, 1, " GiB"),
    ("processor time", "t", resource.RLIMIT_CPU, 3600, 24, " h"),
)


def results(path: Path) -> Iterator[Finding]:
    """Whether files in a results folder can be written, synced and renamed, and the free space."""
    place = disk.nearest(path)
    with disk.trial_folder(place) as folder:
        disk.try_replace(folder)
    remark = "" if place == path.absolute() else f"; {path} will be created in it"
    yield Finding(
        "results", OK, "results folder", f"{place} ({disk.mount_of(place).kind}): written, synced, renamed{remark}"
    )
    free = shutil.disk_usage(place).free
    mark, advice = (OK, "") if free >= LITTLE_SPACE else (WARNING, "; `rnnlimits plan STUDY` says what a study needs")
    yield Finding("results", mark, "free space", f"{free / 1e9:.1f} GB{advice}")


def working() -> Iterator[Finding]:
    """Whether Snakemake can keep its records in the working folder."""
    try:
        workflow.require_working_folder()
    except StudyError as error:
        yield Finding("results", WARNING, "working folder", f"{error}")
    else:
        yield Finding("results", OK, "working folder", f"{Path.cwd()}: Snakemake can keep its records in it")


def caches() -> Iterator[Finding]:
    """Whether compiled kernels are kept, and whether those that exist are whole."""
    place, reason = cache.usable()
    if place is None:
        what = "; the libraries in it are used" if cache.is_filled() else ""
        yield Finding("results", WARNING, "kernel cache", reason + what)
    else:
        mount = disk.mount_of(place)
        remark = "" if mount.executable else ", mounted noexec: libraries are loaded through memory"
        yield Finding("results", OK, "kernel cache", f"{place} ({mount.kind}{remark})")
        if damaged := [path.name for path in sorted(place.glob("*.so")) if cache.read(path) is None]:
            text = f"{len(damaged)} damaged or of an older version (such as {damaged[0]}); made again where needed"
            yield Finding("results", OK, "kernel cache", text)
    yield from _cupy()


def _cupy() -> Iterator[Finding]:
    from rnnlimits.kernels import cuda_backend, cuda_runtime

    if cuda_backend.available() is not None:
        return
    place, reason = cuda_runtime.cupy_cache()
    if place is None:
        yield Finding("results", WARNING, "CuPy cache", reason)
    else:
        yield Finding("results", OK, "CuPy cache", f"{place} ({disk.mount_of(place).kind})")


def locks(path: Path) -> Iterator[Finding]:
    """Whether the file system of the results keeps two runs apart."""
    try:
        with disk.trial_folder(path) as folder:
            exclude = disk.locks_exclude(folder)
    except StudyError:
        return  # reported by the check of the results folder
    except OSError as error:
        exclude, behaviour = False, f"none ({error})"
    else:
        behaviour = "given to two processes at once"
    advice = "start only one run at a time on one results folder: a second would not be refused"
    if exclude:
        yield Finding("results", OK, "file locks", "held by one process, refused to another")
    else:
        yield Finding("results", WARNING, "file locks", f"{behaviour}; {advice}")


def held(path: Path) -> Iterator[Finding]:
    """Runs that hold locks in a results folder, and locks of other users that nobody else can open."""
    for folder in sorted(path.glob("*/.locks")):
        if not os.access(folder, os.R_OK | os.X_OK):
            yield Finding("results", WARNING, "locks held", f"{folder}: cannot be read; ask its owner for access")
            continue
        for name, holder in Locks(folder, Listing()).holders().items():
            if holder.alive:
                who = " or ".join(f"process {number}" for number in holder.processes)
                yield Finding("results", OK, "locks held", f"{folder.parent}: {name}, by {who} on {holder.host}")
        for lock in sorted(folder.glob("*.lock")):
            if reason := unreadable(lock):
                yield Finding("results", WARNING, "locks held", reason)


def temporary() -> Iterator[Finding]:
    """Whether there is a folder for temporary files, the one that TMPDIR names."""
    named = os.environ.get("TMPDIR")
    try:
        place = Path(tempfile.gettempdir())
    except OSError as error:
        text = f"no folder for temporary files ({error.strerror}); set TMPDIR to one that can be written"
        yield Finding("limits", FAILED, "temporary", text)
        return
    free = shutil.disk_usage(place).free
    if named and Path(named).absolute() != place:
        yield Finding("limits", WARNING, "temporary", f"TMPDIR={named} cannot be written; {place} is used instead")
    elif free < LITTLE_TEMPORARY:
        yield Finding(
            "limits", WARNING, "temporary", f"{place}: {free / 1e6:.1f} MB left; set TMPDIR to another folder"
        )
    else:
        yield Finding("limits", OK, "temporary", f"{place}, {free / 1e9:.1f} GB free")


def shared_memory() -> Iterator[Finding]:
    """Whether MPI's ranks find enough shared memory on this node."""
    ranks = len(os.sched_getaffinity(0))
    try:
        segments.require_room(ranks)
    except StudyError as error:
        yield Finding("limits", WARNING, "shared memory", str(error))
    else:
        yield Finding("limits", OK, "shared memory", f"{segments.SHARED}: enough for {ranks} ranks")


def limits() -> Iterator[Finding]:
    """Limits of this process that are too low for runs."""
    low = [_low(*row) for row in LEAST]
    for text in filter(None, low):
        yield Finding("limits", WARNING, "ulimit", text)
    if not any(low):
        yield Finding("limits", OK, "ulimit", f"{', '.join(name for name, *_ in LEAST)}: enough")


def _low(name: str, option: str, number: int, scale: int, least: int, unit: str) -> str | None:
    soft, hard = resource.getrlimit(number)
    if soft == resource.RLIM_INFINITY or soft >= least * scale:
        return None
    how = f"ulimit -{option} raises it" if hard == resource.RLIM_INFINITY or hard > soft else "an administrator sets it"
    return f"{name}: {soft / scale:.3g}{unit}; runs may need {least}{unit} ({how})"
