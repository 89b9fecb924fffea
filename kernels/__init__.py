"""The hot loops: one C++ source for host and device, and the NumPy definition that both are tested against."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any

from rnnlimits.kernels.interface import Backend, KernelError


@dataclass(frozen=True)
class Entry:
    """A back end that --backend may name (docs/howto/own-backend.md).

    Its module has `backend(index)`, which opens it or raises KernelError, and `available()`, which returns None, or the
    reason why it is not available. The module of a device also has `visible()`, the number of devices that this process
    may use, `name_of(index)` and `identity(index)` of each, `report()` and `failure(error)`: see cuda_backend.py.
    """

    name: str
    module_name: str
    on_device: bool = False

    def module(self) -> Any:
        """The module, imported only on this call: a machine without a GPU does not need CuPy."""
        return importlib.import_module(f"{__name__}.{self.module_name}")


# Fastest first: "auto" takes the first device that is available, else the first that is none.
BACKENDS = {
    entry.name: entry
    for entry in (
        Entry("cuda", "cuda_backend", on_device=True),
        Entry("host", "host"),
        Entry("numpy", "reference"),
    )
}
BACKEND_NAMES = ("auto", *BACKENDS)


def require_known(name: str) -> None:
    """Raises KernelError for a name that is not one of BACKEND_NAMES."""
    if name not in BACKEND_NAMES:
        raise KernelError(f"--backend: {name!r} is not known; allowed: {', '.join(BACKEND_NAMES)}")


def may_use_gpu(name: str) -> bool:
    """Whether `name` means a GPU if one is present, without looking for one."""
    require_known(name)
    return name == "auto" or BACKENDS[name].on_device


def _device(name: str) -> Entry | None:
    """The entry of the device that `name` means on this machine, None for a processor."""
    require_known(name)
    if name != "auto":
        return BACKENDS[name] if BACKENDS[name].on_device else None
    devices = (entry for entry in BACKENDS.values() if entry.on_device)
    return next((entry for entry in devices if entry.module().available() is None), None)


def uses_gpu(name: str) -> bool:
    """Whether `name` means the GPU on this machine. Without one, CuPy is not even imported."""
    return _device(name) is not None


def preferred(name: str) -> str:
    """The back end that `name` means on this machine, as far as that is known without compiling anything."""
    entry = _device(name) or BACKENDS.get(name)
    return entry.name if entry else preferred_processor()


def gpu_count(name: str) -> int:
    """Number of GPUs that this process may use with back end `name`, 0 if that back end does not use GPUs.

    Raises KernelError for an unknown name, and for a device's back end on a machine without one.
    """
    entry = _device(name)
    if entry is None:
        return 0
    if reason := entry.module().available():
        raise KernelError(f"back end {entry.name}: {reason}")
    return int(entry.module().visible())


def gpu(name: str, index: int) -> tuple[str, str]:
    """The model of a GPU of back end `name`, and what identifies it among all GPUs: node and PCI bus."""
    entry = _device(name)
    assert entry is not None, f"{name} uses no GPU here"
    return entry.module().name_of(index), entry.module().identity(index)


def gpu_failure(error: BaseException) -> str | None:
    """One line for an error that a device's library raised, None for errors from elsewhere."""
    lines = (entry.module().failure(error) for entry in BACKENDS.values() if entry.on_device)
    return next(filter(None, lines), None)


def backend(name: str = "auto", gpu: int | None = None) -> Backend:
    """The back end called `name`; "auto" is the GPU, else the host build, never NumPy, whose last digits differ.

    gpu: index of the GPU to work on, among those that this process sees (default: the first).
    Raises KernelError for an unknown name, "host" and "auto" if it cannot be built, "cuda" without a GPU, and a GPU
    that does not work.
    """
    entry = _device(name)
    return _opened(entry, gpu or 0) if entry else processor(name)


def processor(name: str = "auto") -> Backend:
    """Like `backend`, for stages that do not use a GPU: "cuda" and "auto" are the host build.

    Raises KernelError if it cannot be built.
    """
    if not may_use_gpu(name):
        return _opened(BACKENDS[name])
    entry = BACKENDS[preferred_processor()]
    if reason := entry.module().available():
        raise KernelError(f"{reason}; or ask for --backend numpy, which is 10 to 100 times slower")
    return _opened(entry)


def preferred_processor() -> str:
    """The back end that "auto" means without a GPU."""
    return next(entry for entry in BACKENDS.values() if not entry.on_device).name


def _opened(entry: Entry, index: int = 0) -> Backend:
    opened: Backend = entry.module().backend(index)
    return opened


def on_processor(be: Backend) -> Backend:
    """A back end with NumPy arrays, for work that is too small for a device: `be` itself if it is not on a device."""
    return processor() if be.on_device else be
