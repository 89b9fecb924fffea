"""The recurrent neural tangent kernel: Gram matrices between sequences of any lengths (docs/rntk.md).

from kernels import rntk

network = rntk.Elman(layers=1, activation="relu", sigma_w=1.3, sigma_b=0.1)
train = rntk.gram(x, network=network)                   # (n, n)
test = rntk.gram(x_test, x, network=network)            # (n_test, n)
"""

from __future__ import annotations

from kernels.rntk.gradient import input_gradient
from kernels.rntk.matrices import diagonal, gram, require_psd, rows
from kernels.rntk.network import Elman
from kernels.rntk.sequences import Batch, batch

__all__ = ["Batch", "Elman", "batch", "diagonal", "gram", "input_gradient", "require_psd", "rows"]
