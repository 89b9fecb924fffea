"""The C++ compiler: which one, in which surroundings, and what `native` means to it."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Sequence
from functools import cache

from rnnlimits.kernels.interface import KernelError

CANDIDATES = ("g++", "clang++", "c++")
PATIENCE = 120.0  # seconds for a compiler to say its version
# Options that change what is computed, or for which processor: these are ours to choose.
FOREIGN = re.compile(r"-(O|f(?!use-ld=|PIC$|pic$|diagnostics)|m(?!64$)|D|U|include)")
# Variables by which compilers add, replace or report something without being asked on their command line.
LEFT_OUT = {
    "CPATH", "C_INCLUDE_PATH", "CPLUS_INCLUDE_PATH", "OBJC_INCLUDE_PATH", "LIBRARY_PATH", "LD_RUN_PATH",
    "COMPILER_PATH", "GCC_EXEC_PREFIX", "GCC_COMPARE_DEBUG", "DEPENDENCIES_OUTPUT", "SUNPRO_DEPENDENCIES",
    "CCC_OVERRIDE_OPTIONS", "CCC_ADD_ARGS",
}  # fmt: skip


def find_compiler() -> tuple[str, ...]:
    """The words that start the C++ compiler: those of $CXX (a wrapper, options), else g++, clang++ or c++.

    Raises KernelError if none exists, or if an option in $CXX changes what is computed.
    """
    chosen = os.environ.get("CXX", "").strip()
    if not chosen:
        if path := next(filter(None, map(shutil.which, CANDIDATES)), None):
            return (path,)
        raise KernelError(f"no C++ compiler ({', '.join(CANDIDATES)} not on PATH)")
    if path := shutil.which(chosen):  # also one whose path has blanks
        return (path,)
    return _checked(chosen, _split(chosen))


def _split(chosen: str) -> list[str]:
    try:
        return shlex.split(chosen)
    except ValueError as error:
        raise KernelError(f"CXX={chosen}: {str(error).lower()}; give a command, quoted as in a shell") from error


def _checked(chosen: str, words: Sequence[str]) -> tuple[str, ...]:
    first = shutil.which(words[0]) if words else None
    if first is None:
        raise KernelError(f"no C++ compiler ({chosen} not on PATH; CXX names it)")
    for word in words[1:]:
        if FOREIGN.match(word):
            raise KernelError(
                f"CXX={chosen}: {word} changes what is computed; leave it out (RNNLIMITS_MARCH sets the processor)"
            )
    return (first, *words[1:])


def surroundings(temporary: str | None = None) -> dict[str, str]:
    """The environment of a compiler: messages in English, and nothing that changes what is compiled.

    temporary: the folder for its temporary files.
    """
    kept = {name: value for name, value in os.environ.items() if name not in LEFT_OUT}
    return {**kept, "LC_ALL": "C", **({"TMPDIR": temporary} if temporary else {})}


def call(command: Sequence[str], timeout: float | None = None, temporary: str | None = None) -> tuple[int, str, str]:
    """Run a compiler; returns exit code, stdout and stderr. Raises KernelError if it cannot be started or hangs."""
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            timeout=timeout,
            env=surroundings(temporary),
        )
    except OSError as error:
        raise KernelError(f"{command[0]}: the C++ compiler cannot be started ({error.strerror})") from error
    except subprocess.TimeoutExpired as error:
        silent = f"no answer in {error.timeout:.0f} s"
        raise KernelError(f"{shlex.join(command)}: {silent}; set CXX to another compiler") from error
    return done.returncode, done.stdout, done.stderr


@cache
def version(words: Sequence[str]) -> str:
    """What the compiler prints with --version."""
    return call([*words, "--version"], PATIENCE)[1]


@cache
def target(words: Sequence[str], march: str) -> str:
    """What `march` means to the compiler on this processor: its features and caches, on which the code depends."""
    return call([*words, f"-march={march}", "-###", "-E", "-x", "c++", os.devnull], PATIENCE)[2]
