"""Compile the C++ source at first use, on the node that runs it, into a cache that ranks and users can share."""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

from rnnlimits.kernels.interface import KernelError

SOURCE = Path(__file__).parent / "src"
# No -ffast-math: rounding by a magic constant must survive. Contraction to fused multiply-adds is intended.
FLAGS = ["-std=c++17", "-O3", "-march=native", "-ffp-contract=fast", "-fno-math-errno", "-fno-trapping-math"]
FLAGS += ["-Wall", "-Wextra", "-Wno-unused", "-Wno-psabi", "-shared", "-fPIC"]
# Flags of /proc/cpuinfo that define the levels of x86-64 (x86-64 psABI, "Micro-Architecture Levels").
LEVELS = {
    "x86-64-v2": {"cx16", "lahf_lm", "popcnt", "sse4_1", "sse4_2", "ssse3"},
    "x86-64-v3": {"abm", "avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "movbe"},
    "x86-64-v4": {"avx512bw", "avx512cd", "avx512dq", "avx512f", "avx512vl"},
}


def find_compiler() -> str:
    """The C++ compiler: $CXX, else g++, clang++ or c++. Raises KernelError if none exists."""
    chosen = os.environ.get("CXX")
    for candidate in [chosen] if chosen else ["g++", "clang++", "c++"]:
        if path := shutil.which(candidate):
            return path
    raise KernelError(f"no C++ compiler ({chosen or 'g++, clang++, c++'} not on PATH)")


def cache_folder() -> Path:
    """$RNNLIMITS_CACHE, else the user's cache folder, else (home missing or read-only) a private temporary one."""
    base = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    folder = Path(os.environ.get("RNNLIMITS_CACHE") or os.path.join(base, "rnnlimits"))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if os.access(folder, os.W_OK):
            return folder
    except OSError:
        pass
    return _temporary_cache()


@cache
def _temporary_cache() -> Path:
    return Path(tempfile.mkdtemp(prefix="rnnlimits-"))


@cache
def _processor() -> str:
    """What -march=native depends on, so that a home folder shared by different nodes holds one library for each."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() + platform.machine()
    return "\n".join(sorted({line for line in lines if line.startswith(("model name", "flags", "Features"))}))


@cache
def processor_name() -> str:
    """The model of the processor; libraries choose by it among variants of code that round differently."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = {line.split(":", 1)[1].strip() for line in lines if line.startswith(("model name", "CPU part"))}
    return ", ".join(sorted(names)) or platform.processor() or platform.machine()


@cache
def _features() -> frozenset[str]:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return frozenset()
    return frozenset(next((line.split(":", 1)[1] for line in lines if line.startswith("flags")), "").split())


def levels_here() -> list[str]:
    """The levels of x86-64 that this processor can execute, lowest first."""
    names = list(LEVELS)
    return [name for i, name in enumerate(names) if all(LEVELS[lower] <= _features() for lower in names[: i + 1])]


def instruction_set() -> str:
    """The target of compilation: $RNNLIMITS_MARCH, else `native`. Raises KernelError if unknown or not usable here."""
    value = os.environ.get("RNNLIMITS_MARCH") or "native"
    allowed = ["native", *levels_here()]
    if value not in allowed:
        reason = "this processor cannot execute it" if value in LEVELS else "it is not known"
        raise KernelError(f"RNNLIMITS_MARCH={value}: {reason}; allowed here: {', '.join(allowed)}")
    return value


@cache
def source_digest() -> str:
    """Twelve hexadecimal digits over all files of src/."""
    digest = hashlib.sha256()
    for path in sorted(SOURCE.iterdir()):
        digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()[:12]


@cache
def _version(compiler: str) -> str:
    return subprocess.run([compiler, "--version"], capture_output=True, text=True, check=False).stdout


def _key(compiler: str, arguments: list[str]) -> str:
    digest = hashlib.sha256()
    for text in (_version(compiler), _processor(), " ".join(arguments)):
        digest.update(text.encode())
    for path in sorted(SOURCE.iterdir()):
        digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()[:20]


@contextlib.contextmanager
def exclusively(path: Path) -> Iterator[None]:
    """One rank of a node compiles while the others wait; without file locks all compile: slower, but still correct."""
    with open(path, "w", encoding="utf-8") as lock:
        with contextlib.suppress(OSError):
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _compile(compiler: str, source: str, arguments: list[str], target: Path) -> None:
    partial = target.with_name(f"{target.name}.{platform.node()}.{os.getpid()}")
    command = [compiler, *arguments, str(SOURCE / source), "-o", str(partial)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode != 0:
        partial.unlink(missing_ok=True)
        errors = [line for line in result.stderr.splitlines() if "error" in line] or [result.stderr.strip()[:200]]
        raise KernelError(f"{compiler} cannot compile {source}: {errors[0]}")
    os.replace(partial, target)


@cache
def _library(source: str, defines: tuple[tuple[str, str], ...], target_set: str) -> ctypes.CDLL:
    compiler = find_compiler()
    flags = [f"-march={target_set}" if flag == "-march=native" else flag for flag in FLAGS]
    arguments = [*flags, *(f"-D{name}={value}" for name, value in defines)]
    target = cache_folder() / f"{Path(source).stem}-{_key(compiler, [source, *arguments])}.so"
    if not target.exists():
        with exclusively(target.with_suffix(".lock")):
            if not target.exists():
                _compile(compiler, source, arguments, target)
    try:
        return ctypes.CDLL(str(target))
    except OSError as error:  # a damaged file, or a file system mounted without permission to execute
        raise KernelError(f"cannot load a compiled kernel ({error}); delete it or set RNNLIMITS_CACHE") from error


def load(source: str, defines: Mapping[str, object] | None = None) -> ctypes.CDLL:
    """The compiled `source` of src/ with these macros.

    Raises KernelError: no compiler, its first error, a library that cannot be loaded, an unknown instruction set.
    """
    named = tuple((name, str(value)) for name, value in sorted((defines or {}).items()))
    return _library(source, named, instruction_set())
