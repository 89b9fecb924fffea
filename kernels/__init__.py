"""The hot loops: one source for host and device, and the NumPy definition that both are tested against."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

from rnnlimits.kernels import host, reference
from rnnlimits.kernels.problem import Backend, KernelError

BACKENDS = ("auto", "cuda", "host", "numpy")


def _silent(_: str) -> None:
    """No warning wanted: ranks other than the first."""


def require_known(name: str) -> None:
    """Raises KernelError for a name that is none of BACKENDS."""
    if name not in BACKENDS:
        raise KernelError(f"--backend: {name!r} is not known; allowed: {', '.join(BACKENDS)}")


def uses_gpu(name: str) -> bool:
    """Whether `name` means the GPU on this machine. Without one, CuPy is not even imported."""
    require_known(name)
    if name != "auto":
        return name == "cuda"
    from rnnlimits.kernels import cuda

    return cuda.available() is None


def gpu_count(name: str) -> int:
    """GPUs that this process may use if it takes back end `name`, 0 where that uses none.

    Raises KernelError: unknown name, or "cuda" where there is no GPU.
    """
    if not uses_gpu(name):
        return 0
    from rnnlimits.kernels import cuda

    if reason := cuda.available():
        raise KernelError(f"back end cuda: {reason}")
    return cuda.visible()


def backend(name: str = "auto", warn: Callable[[str], None] = _silent, gpu: int | None = None) -> Backend:
    """The back end called `name`; "auto" is the GPU, else the host build, else NumPy (warned about once).

    gpu: index of the GPU to work on, among those that this process sees (default: the first).
    Raises KernelError: unknown name, "host" asked for where it cannot be built, "cuda" where there is no GPU, or a GPU
    that is there and does not work.
    """
    if uses_gpu(name):
        from rnnlimits.kernels import cuda

        return cuda.backend(gpu or 0)
    return processor(name, warn)


def processor(name: str = "auto", warn: Callable[[str], None] = _silent) -> Backend:
    """As `backend`, for stages that have nothing to do for a GPU: "cuda" and "auto" are the host build, else NumPy."""
    require_known(name)
    if name == "numpy":
        return cast(Backend, reference)
    try:
        host.available()
    except KernelError as error:
        if name == "host":
            raise
        warn(f"warning: {error}; falling back to NumPy, about 10 to 100 times slower")
        return cast(Backend, reference)
    return cast(Backend, host)


def on_processor(be: Backend) -> Backend:
    """A back end with NumPy's arrays, for work that is too small for a device: `be` itself unless it is one."""
    return processor() if be.name == "cuda" else be
