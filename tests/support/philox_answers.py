"""Known answers of the random number generator."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

KNOWN = np.loadtxt(
    Path(__file__).parent.parent / "data" / "philox4x32_10.txt", dtype=np.uint32, converters=lambda word: int(word, 16)
)


def rows(*replicas: int) -> NDArray[np.uint32]:
    return np.array(replicas, dtype=np.uint32)
