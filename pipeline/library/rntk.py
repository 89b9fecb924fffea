"""The recurrent neural tangent kernel: Gram matrices between sequences, and estimators for scikit-learn.

>>> from rnnlimits import rntk
>>> network = rntk.ElmanNetwork(layers=1, activation="erf", sigma_w=1.3)
>>> rntk.gram([[0.1, -0.4, 0.2], [0.3, 0.3, -0.1]], network=network).shape
(2, 2)

Source: docs/rntk.md. All functions raise StudyError, one line, for bad input. The estimators
need scikit-learn (the extra `rntk`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from rnnlimits.kernels import BACKEND_NAMES
from rnnlimits.kernels import rntk as kernels
from rnnlimits.kernels.rntk.matrices import Kernels
from rnnlimits.kernels.rntk.sequences import Sequences
from rnnlimits.library.arguments import one_of, refusals, scalar

if TYPE_CHECKING:
    from rnnlimits.library.estimators import RNTKSVR as RNTKSVR
    from rnnlimits.library.estimators import RecurrentNTK as RecurrentNTK
    from rnnlimits.library.estimators import RNTKClassifier as RNTKClassifier
    from rnnlimits.library.estimators import RNTKRegressor as RNTKRegressor

ESTIMATORS = ("RNTKClassifier", "RNTKRegressor", "RNTKSVR", "RecurrentNTK")
__all__ = ["ElmanNetwork", *ESTIMATORS, "diagonal", "gram", "input_gradient", "require_psd"]


class ElmanNetwork(kernels.Elman):
    """The infinitely wide Elman network whose kernel is computed.

    layers: recurrent layers, 1 to 32. activation: relu, erf, tanh or logistic. sigma_w, sigma_u,
    sigma_b, sigma_h, sigma_v: standard deviations of recurrent, input, bias, initial-state and
    output weights, divided by the roots of their numbers. output: "last", "mean" or "average". Raises
    StudyError for a value that is not allowed.
    """

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            object.__setattr__(self, name, scalar(value))
        with refusals():
            super().__post_init__()


def gram(
    x: Sequences,
    y: Sequences | None = None,
    *,
    network: kernels.Elman | None = None,
    kernel: str = "ntk",
    dtype: str = "float64",
    backend: str = "auto",
    threads: int | None = None,
    layout: str | None = None,
) -> Kernels:
    """Kernel matrix between sequences: (n, n) of x with itself, or (n_x, n_y) if y is given.

    x, y: an array (n, T, m) or (n, T), or a list of arrays (T_i, m) or (T_i,) of different lengths.
    Without y a sequence is paired with itself and shares its initial state; with y all sequences
    count as different. kernel: "ntk", "nngp", or "both" for a pair. dtype: float64 or float32, of
    arithmetic and result, by name or NumPy's own. threads: of the host (default, and -1: all);
    results do not depend on it. layout: "steps_first", or "channels_first" for arrays (n, m, T) and
    lists of (m, T_i), as in aeon and sktime; an array with more inputs than steps needs it. Raises
    StudyError for bad input, and if the matrix does not fit into memory.
    """
    one_of("backend", backend, BACKEND_NAMES)
    with refusals():
        return kernels.gram(
            x, y, network=network, kernel=kernel, dtype=dtype, backend=backend, threads=threads, layout=layout
        )


def diagonal(
    x: Sequences,
    *,
    network: kernels.Elman | None = None,
    kernel: str = "ntk",
    dtype: str = "float64",
    backend: str = "auto",
    layout: str | None = None,
) -> Kernels:
    """The diagonal (n,) of gram(x), in time linear in n. Arguments and errors as for `gram`."""
    one_of("backend", backend, BACKEND_NAMES)
    with refusals():
        return kernels.diagonal(x, network=network, kernel=kernel, dtype=dtype, backend=backend, layout=layout)


def input_gradient(
    x: NDArray[Any], y: NDArray[Any] | None = None, *, network: kernels.Elman | None = None, kernel: str = "ntk"
) -> NDArray[np.float64]:
    """d K(x, y) / d x for sequences x, y (T, m) or (T,), with the shape of x; without y the derivative of K(x, x).

    For output "last". Raises StudyError for bad input.
    """
    with refusals():
        return kernels.input_gradient(x, y, network=network, kernel=kernel)


def require_psd(matrix: NDArray[Any], tolerance: float | None = None) -> float:
    """The smallest eigenvalue of a Gram matrix (n, n), relative to the largest.

    Raises StudyError if it is below -tolerance (default: rounding of the matrix's dtype).
    """
    with refusals():
        return kernels.require_psd(matrix, tolerance)


def __getattr__(name: str) -> Any:
    """The estimators, which import scikit-learn."""
    if name in ESTIMATORS:
        with refusals():
            from rnnlimits.library import estimators

            return getattr(estimators, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
