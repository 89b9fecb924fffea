"""The hot loops: one source for host and device, and the NumPy definition that both are tested against."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

from kernels import host, reference
from kernels.problem import Backend, KernelError

BACKENDS = ("auto", "host", "numpy")


def _silent(_: str) -> None:
    """No warning wanted: ranks other than the first."""


def backend(name: str = "auto", warn: Callable[[str], None] = _silent) -> Backend:
    """The back end called `name`; "auto" is the host build, or NumPy (warned about once) where nothing compiles.

    Raises KernelError: unknown name, or "host" asked for where it cannot be built.
    """
    if name == "numpy":
        return cast(Backend, reference)
    if name not in BACKENDS:
        raise KernelError(f"back end {name!r} is not known; allowed: {', '.join(BACKENDS)}")
    try:
        host.available()
    except KernelError as error:
        if name == "host":
            raise
        warn(f"warning: {error}; falling back to NumPy, about 10 to 100 times slower")
        return cast(Backend, reference)
    return cast(Backend, host)
