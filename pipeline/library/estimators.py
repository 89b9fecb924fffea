"""The recurrent NTK in scikit-learn's conventions, with the library's errors; needs the extra `rntk`."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from rnnlimits.kernels.rntk import estimators
from rnnlimits.library.arguments import refusals


class RecurrentNTK(estimators.RecurrentNTK):
    """Transformer from series (n, T) or (n, T, m) to their kernel with the series of `fit`, (n, n_fit)."""

    def _gram(self, x: NDArray[Any], y: NDArray[Any] | None = None) -> NDArray[Any]:
        with refusals():
            return super()._gram(x, y)


class RNTKClassifier(estimators.RNTKClassifier):
    """Support-vector classification of series (n, T) with the recurrent NTK as kernel."""

    def _gram(self, x: NDArray[Any], y: NDArray[Any] | None = None) -> NDArray[Any]:
        with refusals():
            return super()._gram(x, y)
