"""The recurrent neural tangent kernel: Gram matrices between sequences of any lengths (docs/rntk.md).

from rnnlimits.kernels import rntk

network = rntk.Elman(layers=1, activation="relu", sigma_w=1.3, sigma_b=0.1)
train = rntk.gram(x, network=network)                   # (n, n)
test = rntk.gram(x_test, x, network=network)            # (n_test, n)
"""

from __future__ import annotations

from rnnlimits.kernels.rntk.gradient import input_gradient
from rnnlimits.kernels.rntk.matrices import diagonal, gram, require_psd, rows
from rnnlimits.kernels.rntk.network import Elman
from rnnlimits.kernels.rntk.sequences import Batch, batch

__all__ = ["Batch", "Elman", "batch", "diagonal", "gram", "input_gradient", "require_psd", "rows"]
