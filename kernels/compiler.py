"""Compile the C++ source at first use, on the node that runs it, into a cache that ranks and users can share."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import hashlib
import os
import platform
import re
import shlex
import tempfile
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

from rnnlimits.kernels import cache as cached
from rnnlimits.kernels import toolchain
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
FIXED = ("vendor_id", "cpu family", "model", "flags", "Features", "CPU ")


@cache
def _processor() -> str:
    """What -march=native depends on, so that a home folder shared by different nodes holds one library for each.

    Not the revision of the microcode, which never adds instructions: those that it takes away are missing from flags.
    """
    try:
        return kind_of(Path("/proc/cpuinfo").read_text(encoding="utf-8"))
    except OSError:
        return platform.processor() + platform.machine()


def kind_of(about: str) -> str:
    """The lines of /proc/cpuinfo that tell kinds of processors apart."""
    return "\n".join(sorted({line for line in about.splitlines() if line.startswith(FIXED)}))


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


def _key(compiler: Sequence[str], arguments: Sequence[str], march: str = "native") -> str:
    """Twenty hexadecimal digits over all that decides the bytes of a library."""
    digest = hashlib.sha256()
    about = (shlex.join(compiler), toolchain.version(compiler), toolchain.target(compiler, march))
    for text in (*about, _processor(), platform.machine(), *platform.libc_ver(), " ".join(arguments)):
        digest.update(text.encode(errors="surrogateescape") + b"\0")
    for path in sorted(SOURCE.iterdir()):
        digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()[:20]


def _build(compiler: Sequence[str], source: str, arguments: Sequence[str]) -> bytes:
    """Compile a library, elsewhere if the folder of temporary files is full.

    Raises KernelError with the compiler's first error.
    """
    try:
        return _built(compiler, source, arguments, tempfile.gettempdir())
    except OSError:
        place = cached.folder()
    try:
        return _built(compiler, source, arguments, str(place))
    except OSError as error:
        reason = f"no room for the compiler's temporary files ({error.strerror}), also not in {place}"
        raise KernelError(f"{reason}; set TMPDIR to another folder") from error


def _built(compiler: Sequence[str], source: str, arguments: Sequence[str], place: str) -> bytes:
    """Compile a library in a temporary folder below `place`. Raises OSError if that is full or cannot be written."""
    with tempfile.TemporaryDirectory(prefix="rnnlimits-", dir=place) as work:
        target, named = Path(work) / "library.so", shlex.join(compiler)
        command = [*compiler, *arguments, str(SOURCE / source), "-o", str(target)]
        code, _, errors = toolchain.call(command, temporary=work)
        full = os.strerror(errno.ENOSPC)
        if code != 0 and full in errors:
            raise OSError(errno.ENOSPC, full)
        if code != 0:
            lines = [line for line in errors.splitlines() if "error" in line] or [" ".join(errors.split())[:200]]
            raise KernelError(f"{named} cannot compile {source}: {lines[0].strip() or f'it ended with code {code}'}")
        if not target.is_file():
            raise KernelError(f"{named} is not a C++ compiler: it wrote no library from {source}; set CXX to another")
        return target.read_bytes()


@cache
def announce() -> None:
    """Say, once in a process, that something is compiled, by this process or by one for which it waits."""
    cached.say("compiling kernels for this machine takes some seconds, at first use")


def _opened(path: Path | None, data: bytes) -> ctypes.CDLL:
    """Load a library from its file, or from memory: from a file system that may not hold programs, or without a file.

    Raises OSError if neither is possible.
    """
    if path is not None:
        with contextlib.suppress(OSError):
            return ctypes.CDLL(str(path))
    descriptor = os.memfd_create("rnnlimits")
    with open(descriptor, "wb", closefd=False) as file:
        file.write(data)
    # Never closed: the loader knows a library by its path, which another descriptor of this number would share.
    return ctypes.CDLL(f"/proc/self/fd/{descriptor}")


@cache
def _library(source: str, defines: tuple[tuple[str, str], ...], target_set: str) -> ctypes.CDLL:
    compiler = toolchain.find_compiler()
    flags = [f"-march={target_set}" if flag == "-march=native" else flag for flag in FLAGS]
    arguments = [*flags, *(f"-D{name}={value}" for name, value in defines)]
    name = f"{Path(source).stem}-{_key(compiler, [source, *arguments], target_set)}.so"
    data = None
    if (place := cached.named()) is not None and (data := cached.read(place / name)) is not None:
        with contextlib.suppress(OSError):  # sealed, but by a machine of another kind
            return _opened(place / name, data)
    place, reason = cached.usable()
    if place is None:
        cached.warn(reason)
    announce()
    if place is None:
        return _loaded(None, _build(compiler, source, arguments), compiler)
    path = place / name
    with cached.exclusively(path.with_suffix(".lock")):
        made = cached.read(path)
        if made is None or made == data:
            made = _build(compiler, source, arguments)
            return _loaded(path if cached.write(path, made) else None, made, compiler)
    return _loaded(path, made, compiler)


def _loaded(path: Path | None, data: bytes, compiler: Sequence[str]) -> ctypes.CDLL:
    """As `_opened`, but raises KernelError."""
    try:
        return _opened(path, data)
    except OSError as error:
        reason = re.sub(r"^/proc/self/fd/\d+: ", "", str(error))
        raise KernelError(
            f"a library compiled by {shlex.join(compiler)} cannot be loaded ({reason}); set CXX to another compiler"
        ) from error


def load(source: str, defines: Mapping[str, object] | None = None) -> ctypes.CDLL:
    """The compiled `source` of src/ with these macros.

    Raises KernelError: no compiler, its first error, a library that cannot be loaded, an unknown instruction set.
    """
    named = tuple((name, str(value)) for name, value in sorted((defines or {}).items()))
    return _library(source, named, instruction_set())
