"""The recurrent NTK in scikit-learn's conventions, with the library's errors; needs the extra `rntk`."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from rnnlimits.kernels.rntk import estimators
from rnnlimits.library.arguments import refusals


class _Refusals(estimators._Kernel):
    """A kernel estimator that raises StudyError where the kernels raise KernelError."""

    def _require_whole(self, X: Any, y: Any = None) -> None:
        with refusals():
            super()._require_whole(X, y)

    def _gram(self, x: NDArray[Any], y: NDArray[Any] | None = None) -> NDArray[Any]:
        with refusals():
            return super()._gram(x, y)


class RecurrentNTK(_Refusals, estimators.RecurrentNTK):
    """Transformer from series (n, T) or (n, T, m) to their kernel with the series of `fit`, (n, n_fit)."""


class RNTKClassifier(_Refusals, estimators.RNTKClassifier):
    """Support-vector classification of series (n, T) with the recurrent NTK as kernel."""
