"""A device and the array library on it, through CuPy: compiled programs, memory, and information about GPUs.

CuPy is imported only when a device is opened, so that a machine without a GPU does not need it.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol, cast

from numpy.typing import NDArray

from rnnlimits.kernels import cache, compiler
from rnnlimits.kernels.cuda_driver import INSTALL, available, visible
from rnnlimits.kernels.interface import KernelError
from rnnlimits.kernels.launch import Limits

THREADS = 256  # per block, if every thread has its own work
MOST_BLOCKS = 65_536
USABLE = 0.9  # fraction of the free device memory: the rest is for work space

Program = Callable[[tuple[int], tuple[int], tuple[Any, ...]], None]


class Runtime(Protocol):
    """A device and the array library on it: CuPy, or a stand-in for both in tests."""

    xp: Any  # the module that makes arrays on the device
    limits: Limits
    compiler: str  # the compiler of the device programs, with its version

    def __hash__(self) -> int:
        """Hash by identity: the values that a device reports are cached."""

    def program(self, source: str, name: str, macros: Mapping[str, object], cooperative: bool = False) -> Program:
        """A device program of src/, compiled with macros; raises KernelError with the compiler's first error."""

    def free_bytes(self) -> int:
        """Device memory that is still available, in bytes."""

    def to_host(self, array: Any) -> NDArray[Any]:
        """A NumPy copy."""

    def keep_pace(self) -> None:
        """Wait until all work except that of the newest call is done, so that progress is meaningful."""


def _cupy() -> Any:
    reason = available()
    if reason:
        raise KernelError(f"back end cuda: {reason}")
    choose_cache()
    try:
        import cupy
    except ImportError as error:
        raise KernelError(f"back end cuda: CuPy cannot be imported ({error}); {INSTALL}") from error
    return cupy


def cupy_cache() -> tuple[Path | None, str]:
    """Where CuPy keeps compiled programs, and ""; or None, and a line that says why it cannot and what to set."""
    if chosen := os.environ.get("CUPY_CACHE_DIR"):
        return cache.checked(Path(chosen).absolute(), "CUPY_CACHE_DIR")
    place, reason = cache.usable()
    return (None, reason) if place is None else cache.checked(place / "cupy", "CUPY_CACHE_DIR")


def choose_cache() -> None:
    """Set CuPy's variables, which it reads on import: home folders are small and slow on clusters."""
    place, reason = cupy_cache()
    if place is None:
        cache.warn(reason)
        os.environ["CUPY_CACHE_IN_MEMORY"] = "1"
    else:
        os.environ["CUPY_CACHE_DIR"] = str(place)


def identity(index: int) -> str:
    """What identifies a GPU among all GPUs, whatever its number in this process: node and PCI bus."""
    return f"{platform.node()} {_cupy().cuda.runtime.deviceGetPCIBusId(index)}"


def name_of(index: int) -> str:
    """The model of a GPU, as NVIDIA calls it."""
    return str(_cupy().cuda.runtime.getDeviceProperties(index)["name"].decode())


def limits_of(index: int) -> Limits:
    """The properties of a GPU that the choice of a launch depends on."""
    properties = _cupy().cuda.runtime.getDeviceProperties(index)
    capability = (int(properties["major"]), int(properties["minor"]))
    return Limits(properties["name"].decode(), capability, int(properties["multiProcessorCount"]))


def report() -> list[tuple[str, str]]:
    """Labels and values that are useful in a bug report: CuPy, CUDA, driver, devices."""
    reason = available()
    if reason:
        return [("GPU", reason)]
    cupy = _cupy()
    runtime = cupy.cuda.runtime
    lines = [
        ("CuPy", cupy.__version__),
        ("CUDA runtime", _dotted(runtime.runtimeGetVersion())),
        ("NVIDIA driver", f"CUDA {_dotted(runtime.driverGetVersion())} or older"),
        ("NVRTC", ".".join(map(str, cupy.cuda.nvrtc.getVersion()))),
    ]
    for index in range(visible()):
        limits = limits_of(index)
        with cupy.cuda.Device(index):
            free, total = runtime.memGetInfo()
        about = f"compute capability {limits.capability[0]}.{limits.capability[1]}, {limits.multiprocessors} SMs"
        lines.append((f"GPU {index}", f"{limits.name}, {about}, {free / 2**30:.1f} of {total / 2**30:.1f} GiB free"))
    return lines


def _dotted(version: int) -> str:
    return f"{version // 1000}.{version % 1000 // 10}"


class CupyRuntime:
    """See Runtime."""

    def __init__(self, index: int) -> None:
        self.xp = cupy = _cupy()
        if not 0 <= index < visible():
            raise KernelError(f"back end cuda: there is no GPU {index}; this process sees {visible()}")
        cupy.cuda.Device(index).use()
        self.limits = limits_of(index)
        oldest = min(cupy.cuda.nvrtc.getSupportedArchs())
        if self.limits.architecture < oldest:
            capability = ".".join(map(str, self.limits.capability))
            raise KernelError(
                f"back end cuda: {self.limits.name} (compute capability {capability}) is too old for this CUDA, which "
                f"starts at {oldest // 10}.{oldest % 10}; install the extra gpu-cuda12, or use --backend host"
            )
        self.compiler = "NVRTC " + ".".join(map(str, cupy.cuda.nvrtc.getVersion()))
        self._last: Any = None
        self._programs: dict[object, Program] = {}

    def program(self, source: str, name: str, macros: Mapping[str, object], cooperative: bool = False) -> Program:
        """See Runtime.program."""
        key = (source, name, tuple(sorted(macros.items())), cooperative)
        if key not in self._programs:
            self._programs[key] = self._build(source, name, macros, cooperative)
        return self._programs[key]

    def _build(self, source: str, name: str, macros: Mapping[str, object], cooperative: bool) -> Program:
        cupy, options = self.xp, nvrtc_options(macros)
        text = (compiler.SOURCE / source).read_text(encoding="utf-8")
        module = cupy.RawModule(code=text, options=options, enable_cooperative_groups=cooperative)
        # One rank of a node compiles; the others then find the program in CuPy's cache.
        with cache.exclusively(cache.folder() / f"cuda-{self.limits.architecture}.lock"):
            try:
                function = module.get_function(name)
            except cupy.cuda.compiler.CompileException as error:
                raise KernelError(f"NVRTC cannot compile {source}: {first_error(str(error))}") from error
            except OSError as error:  # what lies in CuPy's cache, or the disk is full
                raise KernelError(f"CuPy's cache: {error}; delete it, or set CUPY_CACHE_DIR to another") from error
        if int(str(macros.get("CLUSTER", 0))) > 8:
            nonportable = 14  # CU_FUNC_ATTRIBUTE_NON_PORTABLE_CLUSTER_SIZE_ALLOWED
            cupy.cuda.driver.funcSetAttribute(function.kernel.ptr, nonportable, 1)
        return cast(Program, function)

    def free_bytes(self) -> int:
        """See Runtime.free_bytes."""
        pool = self.xp.get_default_memory_pool()
        return int(self.xp.cuda.runtime.memGetInfo()[0]) + int(pool.free_bytes())

    def to_host(self, array: Any) -> NDArray[Any]:
        """See Runtime.to_host."""
        return cast(NDArray[Any], self.xp.asnumpy(array))

    def keep_pace(self) -> None:
        """See Runtime.keep_pace."""
        event = self.xp.cuda.Event(block=True, disable_timing=True)
        event.record()
        if self._last is not None:
            self._last.synchronize()
        self._last = event


def nvrtc_options(macros: Mapping[str, object]) -> tuple[str, ...]:
    """Options for compiling src/ with NVRTC. CuPy's cache ignores changes of included files; the digest does not."""
    defines = {**macros, "SOURCE_DIGEST": f"0x{compiler.source_digest()}"}
    return ("-std=c++17", f"-I{compiler.SOURCE}", *(f"-D{name}={value}" for name, value in sorted(defines.items())))


def first_error(log: str) -> str:
    """The first error of a compiler's log, with the source line that follows it."""
    lines = [line.strip() for line in log.splitlines()]
    for at, line in enumerate(lines):
        if "error" in line:
            return " | ".join(part for part in lines[at : at + 2] if part)
    return log.strip()[:200]


def failure(error: BaseException) -> str | None:
    """One line for an error that CuPy raised (device lost, launch failed); None for errors from elsewhere."""
    if not type(error).__module__.startswith(("cupy", "cupy_backends")):
        return None
    words = " ".join(str(error).split())
    return f"the GPU failed ({words}); finished shards are kept: run the same command again, or see rnnlimits doctor"
