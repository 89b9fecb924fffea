"""The folder of compiled kernels, which users and machines may share: its files are sealed, and made again if damaged.

A file there is never trusted for its name: one without a valid seal (cut short, changed, of an older version, a folder
or a link to nowhere) counts as missing. Without a folder that can be written, nothing is kept.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import stat
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from uuid import uuid4

from rnnlimits.kernels.interface import KernelError

VARIABLE = "RNNLIMITS_CACHE"
MARK = b"\nrnnlimits sha256 "  # before the 64 hexadecimal digits and the line's end that close a file
PATIENCE = 600.0  # seconds for another process to compile: one that was stopped would keep its lock for ever
LOOK_SECONDS = 0.05


def _silent(_: str) -> None:
    """Ignore a line: for programs that show no progress."""


say: Callable[[str], None] = _silent  # tells the user what takes a while or is kept nowhere; set by `tell`


def tell(function: Callable[[str], None]) -> None:
    """Let lines for the user be passed to this function."""
    global say
    say = function


def named() -> Path | None:
    """$RNNLIMITS_CACHE, else rnnlimits in the user's cache folder; None without a home. It need not exist."""
    if chosen := os.environ.get(VARIABLE):
        return Path(chosen).absolute()
    base = user_folder()
    return base / "rnnlimits" if base else None


def user_folder() -> Path | None:
    """The folder of the user's caches; None without a home."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    if not os.path.isabs(base):  # the standard of these variables: a relative path is ignored
        base = os.path.join(os.path.expanduser("~"), ".cache")
    return Path(base) if os.path.isabs(base) else None


def usable() -> tuple[Path | None, str]:
    """The folder, created if necessary, and ""; or None, and a line that says why and what to set."""
    place = named()
    if place is None:
        return None, _unusable("no home folder (HOME is not set): compiled kernels cannot be kept", VARIABLE)
    return checked(place, VARIABLE)


def checked(place: Path, variable: str) -> tuple[Path | None, str]:
    """Like `usable`, for a folder that `variable` names."""
    try:
        place.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        reason = str(error.strerror)
    else:
        if os.access(place, os.W_OK | os.X_OK):
            return place, ""
        reason = "Permission denied"
    return None, _unusable(f"{place}: compiled kernels cannot be kept there ({reason})", variable)


def _unusable(what: str, variable: str) -> str:
    return f"{what}, and are compiled again each time; set {variable} to a folder that can be written"


def is_filled() -> bool:
    """Return whether the folder holds libraries: others may have compiled them for those who can only read."""
    place = named()
    return place is not None and any(read(path) is not None for path in place.glob("*.so"))


def folder() -> Path:
    """The folder; if it cannot be used, one for this process alone. Raises KernelError if neither exists."""
    place, reason = usable()
    if place is not None:
        return place
    warn(reason)
    return own_folder()


@cache
def warn(reason: str) -> None:
    """Say, once in a process, why nothing is kept."""
    say(f"warning: {reason}")


def own_folder() -> Path:
    """A temporary folder for this process alone, removed when it ends. Raises KernelError if there is no place."""
    return Path(_temporary().name)


@cache
def _temporary() -> tempfile.TemporaryDirectory[str]:
    try:
        return tempfile.TemporaryDirectory(prefix="rnnlimits-")
    except OSError as error:
        raise KernelError(f"no folder for temporary files ({error.strerror}); set TMPDIR to one") from error


def read(path: Path) -> bytes | None:
    """The contents of a sealed file; None for anything else under this name."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # a pipe would never end
            return None
        data, mark, digest = path.read_bytes().rpartition(MARK)
    except OSError:
        return None
    return data if mark and digest == _digest(data) else None


def write(path: Path, data: bytes) -> bool:
    """Write a sealed file in place of whatever has this name, whole or not at all; returns whether that was possible.

    If not (disk full, a folder of others), a line says so.
    """
    try:
        replace(path, sealed(data))
    except OSError as error:
        say(f"warning: {path}: cannot be written ({error.strerror}); it is compiled again each time")
        return False
    return True


def replace(path: Path, data: bytes) -> None:
    """Write a file in place of whatever has this name, whole or not at all. Raises OSError."""
    partial = path.with_name(f".{path.name}.{uuid4().hex[:12]}")
    try:
        partial.write_bytes(data)
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        os.replace(partial, path)
    finally:
        with contextlib.suppress(OSError):
            partial.unlink()


def sealed(data: bytes) -> bytes:
    """The data and its seal."""
    return data + MARK + _digest(data)


def _digest(data: bytes) -> bytes:
    return hashlib.sha256(data).hexdigest().encode() + b"\n"


@contextlib.contextmanager
def exclusively(path: Path) -> Iterator[None]:
    """One process of a node compiles while the others wait; without a lock all compile: slower, but still correct."""
    with contextlib.ExitStack() as held:
        if (descriptor := _opened(path)) is not None:
            held.callback(os.close, descriptor)
            _wait(descriptor)
        yield


def _opened(path: Path) -> int | None:
    """A lock file, which may be another user's: then it can be read, which suffices on a local file system."""
    for flags in (os.O_RDWR | os.O_CREAT, os.O_RDONLY):
        with contextlib.suppress(OSError):
            return os.open(path, flags | os.O_CLOEXEC | os.O_NONBLOCK, 0o666)
    return None


def _wait(descriptor: int) -> None:
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        try:
            return fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(LOOK_SECONDS)
        except OSError:
            return None  # a file system without locks
    return None
