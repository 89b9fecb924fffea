"""Memory of this process: what arrays give back is kept for the next ones, and cycles are looked for rarely."""

from __future__ import annotations

import ctypes
import gc
from contextlib import suppress

# Parameters of mallopt(3) in the C library of GNU, and their values in bytes.
KEPT = {-3: 1 << 25, -1: 1 << 28, -2: 1 << 24}  # M_MMAP_THRESHOLD, M_TRIM_THRESHOLD, M_TOP_PAD


def keep_freed() -> None:
    """Let malloc keep up to 256 MB that are freed; by default it gives arrays of some MB back to the system at once.

    Every new array then costs page faults: a quarter of the time of steps that compute in pieces. Without effect with
    another C library.
    """
    with suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        for parameter, size in KEPT.items():
            mallopt(parameter, size)


def collect_rarely() -> None:
    """Look for cycles of objects after 100,000 new ones: after 700, as by default, it takes a tenth of the figures."""
    gc.freeze()
    gc.set_threshold(100_000, 20, 50)
