"""The caller's surroundings: a process of the command line, and all that it starts, see what is honoured of them.

Imports next to nothing: the command line calls `enter` before any other import, since most libraries read their
variables when they are imported. The library never calls it: a notebook's environment belongs to its user.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping

from rnnlimits.base.variables import (
    ALSO_HONOURED,
    AT_START,
    BATCH,
    FIXED,
    FOUND_BY_SLURM,
    HONOURED,
    IGNORED,
    LOCKING,
    MPI,
    REMOVED,
    SHELL,
)

FEW = 3  # variables of a family that are named one by one
_ignored: list[str] = []  # what was removed from this process, or set to another value
PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def matches(name: str, patterns: Iterable[str]) -> bool:
    """Whether a variable is one of `patterns`: names, or beginnings of names with a star."""
    return any(name.startswith(one[:-1]) if one.endswith("*") else name == one for one in patterns)


def own(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment that a process of the command line works in, made from the caller's."""
    removed = [pattern for patterns in REMOVED.values() for pattern in patterns]
    kept = {name: value for name, value in environment.items() if _honoured(name, value) or not matches(name, removed)}
    return _with_path(environment, {**kept, **FIXED})


def changed(environment: Mapping[str, str]) -> list[str]:
    """Names of the variables that `own` removes, or gives another value."""
    kept = own(environment)
    return [name for name, value in environment.items() if kept.get(name) != value]


def ignored(environment: Mapping[str, str], is_rank: bool) -> list[str]:
    """Names of the caller's variables that the command line does not obey, sorted; many of a family as NAME_* (12).

    They are those that were removed, and of `environment`, unless this process is a rank, those of launchers, batch
    systems and bash, which a run on this machine does not pass on.
    """
    kept = environment if is_rank else of_jobs(environment)
    names = {*_ignored, *(name for name in environment if name not in kept)}
    patterns = sorted({*(pattern for patterns in REMOVED.values() for pattern in patterns), *MPI, *BATCH, *SHELL})
    words = []
    for pattern in patterns:
        family = sorted(name for name in names if matches(name, [pattern]))
        words += family if len(family) <= FEW else [f"{pattern} ({len(family)})"]
        names -= {*family}
    return sorted([*words, *names])


def of_jobs(environment: Mapping[str, str], cluster: bool = False) -> dict[str, str]:
    """The environment of the workflow and of all that it starts.

    cluster: in jobs of Slurm, where Slurm's own variables and those of MPI are needed; on this machine alone, where a
    run may be part of somebody else's job, they are removed.
    """
    removed = ("PYTHONIOENCODING",) if cluster else (*MPI, *BATCH, *SHELL, "PYTHONIOENCODING")
    kept = {
        name: value for name, value in own(environment).items() if name in FOUND_BY_SLURM or not matches(name, removed)
    }
    return kept | {"PYTHONUTF8": "1", "PYTHONSAFEPATH": "1", "LC_ALL": "C"}


def leave_mpi() -> None:
    """Remove the variables of MPI from this process, which is no rank, before it loads MPI."""
    for name in [name for name in os.environ if matches(name, MPI)]:
        _ignored.append(name)
        del os.environ[name]


def _honoured(name: str, value: str) -> bool:
    if name == "HDF5_USE_FILE_LOCKING":
        return value in LOCKING
    if name.startswith("XDG_"):
        return os.path.isabs(value)  # the specification has others ignored
    return name in HONOURED or name in ALSO_HONOURED


def _with_path(environment: Mapping[str, str], kept: dict[str, str]) -> dict[str, str]:
    """PYTHONPATH as far as it is honoured: further packages that are named for us, and where we ourselves lie."""
    home, further = os.path.dirname(PACKAGE), environment.get("RNNLIMITS_PYTHONPATH", "")
    given = [entry for entry in environment.get("PYTHONPATH", "").split(os.pathsep) if _same(entry, home)]
    folders = [os.path.abspath(entry) for entry in [*given[:1], *filter(None, further.split(os.pathsep))]]
    kept.pop("PYTHONPATH", None)
    return {**kept, **({"PYTHONPATH": os.pathsep.join(folders)} if folders else {})}


def _same(one: str, other: str) -> bool:
    return os.path.realpath(one or ".") == os.path.realpath(other)


def enter() -> None:
    """Clean this process's environment; replace the process by itself where Python has already read what is removed.

    Only for a program of the command line, before it imports anything.
    """
    _open_standard()
    before = os.environ.pop(IGNORED, "")
    _ignored[:] = sorted({*filter(None, before.split(",")), *changed(os.environ)})
    clean = own(os.environ)
    if restart := _restarted(clean):
        os.execve(sys.executable, restart, clean | {IGNORED: ",".join(_ignored)})
    for name in [name for name in os.environ if name not in clean]:
        del os.environ[name]
    os.environ.update(clean)


def _open_standard() -> None:
    """Open to nowhere what the caller has closed of stdin, stdout and stderr, also for what is started from here.

    Otherwise the next files that are opened would take their numbers.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # the lowest number that is free


def _restarted(clean: dict[str, str]) -> list[str]:
    """The command line that starts this program anew in `clean`, which is completed; [] if that is needless.

    -P keeps the working folder, which `python -m` searches first, and the script's folder out of the search for
    modules.
    """
    if sys.getfilesystemencoding() != "utf-8":
        clean["PYTHONUTF8"] = "1"
        clean.setdefault("PYTHONIOENCODING", f"{getattr(sys.stdout, 'encoding', None) or 'utf-8'}:backslashreplace")
    else:
        clean |= {name: os.environ[name] for name in ("PYTHONUTF8", "PYTHONSAFEPATH") if os.environ.get(name) == "1"}
    if sys.path[:1] == [os.path.dirname(PACKAGE)] and not sys.flags.safe_path and "PYTHONPATH" not in clean:
        clean["PYTHONPATH"] = os.path.dirname(PACKAGE)  # found in the working folder, and only there
    read = {name for name in {*os.environ, *clean} if os.environ.get(name) != clean.get(name)}
    from_folder = getattr(sys.modules.get("__main__"), "__spec__", None) is not None and not sys.flags.safe_path
    started = "mpi4py.MPI" in sys.modules  # too late: another program cannot take the place of a rank
    if started or (not from_folder and not any(matches(name, AT_START) for name in read)):
        return []
    return [sys.executable, *(() if sys.flags.safe_path else ("-P",)), *sys.orig_argv[1:]]


def pass_over_matplotlibrc() -> None:
    """Import Matplotlib from another folder if the working folder has a file of settings, which it would read."""
    if not os.path.isfile("matplotlibrc"):
        return
    here = os.getcwd()
    os.chdir(PACKAGE)
    try:
        import matplotlib  # noqa: F401
    finally:
        os.chdir(here)
