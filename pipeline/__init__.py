"""Measure how fast a wide recurrent network, trained online, converges to its kernel limit."""

from __future__ import annotations

import os

__version__ = "0.1.0"

# Ranks are the parallelism. A linear-algebra library that starts threads of its own would fight them for cores, and
# its sums would depend on how many it got. Must come before the first import of NumPy.
for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_variable, "1")
