"""Tests of a folder's file system by doing what runs do: write, rename, sync, lock."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rnnlimits.base.errors import StudyError
from rnnlimits.files import durable

MOUNTS = Path("/proc/self/mountinfo")

# Exit code 0: got the lock; 3: the lock was refused.
_TAKE = """
import fcntl, sys
try:
    fcntl.flock(open(sys.argv[1], "a"), fcntl.LOCK_EX | fcntl.LOCK_NB)
except BlockingIOError:
    sys.exit(3)
"""
_REFUSED = 3


@dataclass(frozen=True)
class Mount:
    """One mounted file system: its type, and whether programs and libraries may be loaded from it."""

    kind: str
    executable: bool


def nearest(path: Path) -> Path:
    """The deepest part of `path` that exists; the rest would be created in it."""
    path = path.absolute()
    return next(folder for folder in (path, *path.parents) if folder.exists())


def mount_of(path: Path, table: Path = MOUNTS) -> Mount:
    """The file system that holds an existing path; kind "unknown" if the system has no such table (not Linux)."""
    mount, best = Mount("unknown", True), -1
    for line in table.read_text(encoding="utf-8", errors="replace").splitlines() if table.exists() else []:
        before, after = line.split(" - ", 1)
        point = Path(_plain(before.split()[4]))
        # The last line for a mount point is the file system mounted over the others.
        if path.resolve().is_relative_to(point) and len(point.parts) >= best:
            options = {*before.split()[5].split(","), *after.split()[2].split(",")}
            mount, best = Mount(after.split()[0], "noexec" not in options), len(point.parts)
    return mount


def _plain(name: str) -> str:
    """A path of the mount table, in which spaces are written in octal."""
    return re.sub(r"\\([0-7]{3})", lambda code: chr(int(code[1], 8)), name)


@contextmanager
def trial_folder(path: Path) -> Iterator[Path]:
    """A temporary folder on the file system of `path`, which need not exist. Raises StudyError if that fails."""
    place = nearest(path)
    try:
        folder = Path(tempfile.mkdtemp(prefix=".rnnlimits-doctor-", dir=place))
    except OSError as error:
        raise durable.refusal(place, error) from error
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def try_replace(folder: Path) -> None:
    """Write, sync and rename over an older file, as for results. Raises StudyError unless the new one is read."""
    target = folder / "replaced"
    for text in (b"old", b"new"):
        durable.write_bytes(target, text)
    if target.read_bytes() != b"new":
        raise StudyError(f"{folder.parent}: a renamed file shows its old contents; write the results elsewhere")


def locks_exclude(folder: Path) -> bool:
    """Return whether another process is refused a lock that this one holds. Raises OSError if locks do not exist."""
    path = folder / "locked"
    with path.open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        command = [sys.executable, "-I", "-S", "-c", _TAKE, str(path)]
        done = subprocess.run(command, capture_output=True, encoding="utf-8", errors="replace", timeout=30, check=False)
    if done.returncode not in (0, _REFUSED):
        raise OSError(f"another process cannot request it: {(done.stderr.strip().splitlines() or ['no answer'])[-1]}")
    return done.returncode == _REFUSED


def writable(folder: Path) -> bool:
    """Return whether files can be created in an existing folder."""
    return folder.is_dir() and os.access(folder, os.W_OK | os.X_OK)
