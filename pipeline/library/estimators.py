"""The recurrent NTK in scikit-learn's conventions, with the library's errors; needs the extra `rntk`."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from rnnlimits.kernels.rntk import estimators
from rnnlimits.kernels.rntk.sequences import Batch
from rnnlimits.library.arguments import refusals


class _Refusals(estimators._Kernel):
    """A kernel estimator that raises StudyError where the kernels raise KernelError."""

    def _require_whole(self, X: Any, y: Any = None) -> None:
        with refusals():
            super()._require_whole(X, y)

    def _sequences(self, X: Any, reset: bool = False) -> NDArray[Any] | Batch:
        with refusals():
            return super()._sequences(X, reset)

    def _gram(self, x: NDArray[Any] | Batch, y: NDArray[Any] | Batch | None = None) -> NDArray[Any]:
        with refusals():
            return super()._gram(x, y)


class RecurrentNTK(_Refusals, estimators.RecurrentNTK):
    """Transformer from sequences to their kernel with the sequences of `fit`, (n, n_fit)."""

    def diagonal(self, X: Any) -> NDArray[Any]:
        """K(x, x) of each sequence of X (n,)."""
        with refusals():
            return super().diagonal(X)


class RNTKClassifier(_Refusals, estimators.RNTKClassifier):
    """Support-vector classification of sequences with the recurrent NTK as kernel."""


class RNTKRegressor(_Refusals, estimators.RNTKRegressor):
    """Ridge regression on sequences with the recurrent NTK as kernel."""


class RNTKSVR(_Refusals, estimators.RNTKSVR):
    """Support-vector regression on sequences with the recurrent NTK as kernel."""
