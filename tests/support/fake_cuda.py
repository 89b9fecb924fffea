"""A stand-in for kernels.cuda_backend: what is built around GPUs is tested without one, on NumPy by another name.

As a program, `python fake_cuda.py VERB ...` is rnnlimits on a machine with $FAKE_GPUS GPUs, or, as "2,0", two
seen by rank 0 and none by the others. With $FAKE_ALONE every GPU is one that only its rank is shown. With $FAKE_STUCK,
rank 1 gets no further than looking for its GPU, and rank 0 is impatient.
"""

from __future__ import annotations

import os
import platform
import sys
import time
from typing import Any

from rnnlimits import kernels
from rnnlimits.kernels.interface import Backend, KernelError
from rnnlimits.kernels.reference import NumpyBackend

REASON = "no GPU in this test"
RANK = int(os.environ.get("PMI_RANK", "0"))


def _count() -> int:
    counts = os.environ.get("FAKE_GPUS", "0").split(",")
    return int(counts[min(RANK, len(counts) - 1)])


def available() -> str | None:
    if os.environ.get("FAKE_STUCK") and RANK == 1:
        time.sleep(7200)
    return None if _count() else REASON


def visible() -> int:
    if not _count():
        raise KernelError(REASON)
    return _count()


def identity(index: int) -> str:
    return f"{platform.node()} 0000:{RANK if os.environ.get('FAKE_ALONE') else index:02x}:00.0"


def name_of(index: int) -> str:
    return "Fake 100"


def report() -> list[tuple[str, str]]:
    return [("CuPy", "14.0"), ("GPU 0", "Fake 100, 80 GB")] if _count() else [("CUDA", REASON)]


def failure(error: BaseException) -> str | None:
    return None


class FakeBackend(NumpyBackend):
    """NumPy under the name of a GPU."""

    name, on_device, worker = "cuda", True, "GPU"

    def __init__(self, index: int) -> None:
        self.device = f"fake GPU {index}"


def backend(index: int) -> Backend:
    if not 0 <= index < visible():
        raise KernelError(f"GPU {index} is not there")
    return FakeBackend(index)


def install(monkeypatch: Any = None) -> None:
    """Make `from rnnlimits.kernels import cuda_backend` find this module, for one test or for good."""
    here = sys.modules[__name__]
    if monkeypatch is None:
        sys.modules["rnnlimits.kernels.cuda_backend"] = here
        kernels.cuda_backend = here  # type: ignore[attr-defined]
    else:
        monkeypatch.setitem(sys.modules, "rnnlimits.kernels.cuda_backend", here)
        monkeypatch.setattr(kernels, "cuda_backend", here, raising=False)


if __name__ == "__main__":
    install()
    from rnnlimits.cli import main
    from rnnlimits.ranks import selftest
    from rnnlimits.run import doctor

    selftest.ON_DEVICE = selftest.ON_CORE  # NumPy would take minutes for as many replicas as keep a GPU busy

    if os.environ.get("FAKE_STUCK"):
        doctor.PATIENCE = 2.0

    sys.exit(main(sys.argv[1:]))
