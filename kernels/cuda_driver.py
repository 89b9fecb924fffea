"""NVIDIA's driver: find out without CuPy whether this process may use a GPU."""

from __future__ import annotations

import ctypes
import importlib.util
from functools import cache
from typing import Any

from rnnlimits.kernels.interface import KernelError

INSTALL = "install CuPy with: python -m pip install 'rnnlimits[gpu-cuda12]' (or gpu-cuda13)"


@cache
def _driver() -> Any:
    """NVIDIA's driver library, initialised. Raises KernelError without a driver or a device."""
    try:
        library = ctypes.CDLL("libcuda.so.1")
    except OSError as error:
        raise KernelError("no GPU: this machine has no NVIDIA driver (libcuda.so.1)") from error
    code = library.cuInit(0)
    if code != 0:
        name = ctypes.c_char_p()
        library.cuGetErrorName(code, ctypes.byref(name))
        raise KernelError(f"no GPU: the NVIDIA driver answers {(name.value or b'error').decode()} ({code})")
    return library


def visible() -> int:
    """Number of GPUs that this process may use, from the driver alone. Raises KernelError if it is missing or fails."""
    count = ctypes.c_int()
    _driver().cuDeviceGetCount(ctypes.byref(count))
    return count.value


def available() -> str | None:
    """None if the back end can be used, else the reason why not, in one line. Does not import CuPy without a GPU."""
    if importlib.util.find_spec("cupy") is None:
        return f"CuPy is not installed; {INSTALL}"
    try:
        return None if visible() > 0 else "no GPU: the driver shows none to this process (CUDA_VISIBLE_DEVICES?)"
    except KernelError as error:
        return str(error)
