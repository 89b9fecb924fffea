"""The kernel in scikit-learn's conventions: needs the extra `rntk` (pip install 'rnnlimits[rntk]').

Samples are rows: X (n, T), series of one variable, or (n, T, m) for the transformer. Sequences of unlike lengths: use
`rnnlimits.kernels.rntk.gram` with estimators that take kernel="precomputed".
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnnlimits.kernels import values
from rnnlimits.kernels.interface import KernelError
from rnnlimits.kernels.rntk.matrices import gram
from rnnlimits.kernels.rntk.network import Elman

try:
    from sklearn.base import BaseEstimator, ClassifierMixin, TransformerMixin
    from sklearn.svm import SVC
    from sklearn.utils.multiclass import check_classification_targets
    from sklearn.utils.validation import check_is_fitted, validate_data
except ImportError as error:
    raise KernelError(f"scikit-learn is needed ({error}); python -m pip install 'rnnlimits[rntk]'") from error

Matrix = NDArray[Any]


class _Kernel(BaseEstimator):  # type: ignore[misc]
    """The parameters of the network as scikit-learn's, and Gram matrices with them."""

    def __init__(
        self,
        layers: int = 1,
        activation: str = "relu",
        sigma_w: float = 2.0**0.5,
        sigma_u: float = 1.0,
        sigma_b: float = 0.0,
        sigma_h: float = 0.0,
        sigma_v: float = 1.0,
        output: str = "last",
        kernel: str = "ntk",
        dtype: str = "float64",
        backend: str = "auto",
    ) -> None:
        self.layers = layers
        self.activation = activation
        self.sigma_w = sigma_w
        self.sigma_u = sigma_u
        self.sigma_b = sigma_b
        self.sigma_h = sigma_h
        self.sigma_v = sigma_v
        self.output = output
        self.kernel = kernel
        self.dtype = dtype
        self.backend = backend

    def _require_whole(self, X: Any, y: Any = None) -> None:
        """Refuse what scikit-learn would read without its mask or its order of axes."""
        values.require_whole(X, "X", values.COLLECTION)
        values.require_whole(y, "y")

    def _gram(self, x: Matrix, y: Matrix | None = None) -> Matrix:
        sigmas = (self.sigma_w, self.sigma_u, self.sigma_b, self.sigma_h, self.sigma_v)
        network = Elman(self.layers, self.activation, *sigmas, self.output)
        found = gram(x, y, network=network, kernel=self.kernel, dtype=self.dtype, backend=self.backend)
        if isinstance(found, tuple):
            raise KernelError("kernel: 'both' is not allowed in an estimator; allowed: ntk, nngp")
        return found


class RecurrentNTK(TransformerMixin, _Kernel):  # type: ignore[misc]
    """X -> kernel matrix (n, n_fit) between X and the sequences of `fit`; parameters as in Elman and gram.

    fit_transform gives the square matrix of one set: a sequence is the same as itself (which matters with sigma_h).
    """

    def fit(self, X: Any, y: Any = None) -> RecurrentNTK:
        """Keep the sequences X (n, T) or (n, T, m)."""
        self._require_whole(X)
        self.X_fit_ = validate_data(self, X, dtype=np.float64, allow_nd=True)
        return self

    def transform(self, X: Any) -> Matrix:
        """Kernel (n, n_fit) with the sequences of fit; all are taken as different sequences."""
        check_is_fitted(self)
        self._require_whole(X)
        return self._gram(validate_data(self, X, dtype=np.float64, allow_nd=True, reset=False), self.X_fit_)

    def fit_transform(self, X: Any, y: Any = None, **fit_params: Any) -> Matrix:
        """Kernel (n, n) of X with itself."""
        return self._gram(self.fit(X).X_fit_)

    @property
    def _n_features_out(self) -> int:
        return len(self.X_fit_)


class RNTKClassifier(ClassifierMixin, _Kernel):  # type: ignore[misc]
    """C-support-vector classification of series (n, T) with the recurrent NTK as kernel.

    C: as in sklearn.svm.SVC; the kernel is divided by the mean of its diagonal in fit, so that C means the same for all
    parameters of the network. Other parameters as in Elman and gram.
    """

    def __init__(
        self,
        C: float = 1.0,
        layers: int = 1,
        activation: str = "relu",
        sigma_w: float = 2.0**0.5,
        sigma_u: float = 1.0,
        sigma_b: float = 0.0,
        sigma_h: float = 0.0,
        sigma_v: float = 1.0,
        output: str = "last",
        kernel: str = "ntk",
        dtype: str = "float64",
        backend: str = "auto",
    ) -> None:
        super().__init__(
            layers, activation, sigma_w, sigma_u, sigma_b, sigma_h, sigma_v, output, kernel, dtype, backend
        )
        self.C = C

    def fit(self, X: Any, y: Any) -> RNTKClassifier:
        """Train on series X (n, T) with classes y (n,)."""
        self._require_whole(X, y)
        X, y = validate_data(self, X, y, dtype=np.float64)
        check_classification_targets(y)
        matrix = self._gram(X)
        self.X_fit_, self.scale_ = X, float(np.mean(np.diag(matrix))) or 1.0
        self.svc_ = SVC(C=self.C, kernel="precomputed").fit(matrix / self.scale_, y)
        self.classes_ = self.svc_.classes_
        return self

    def decision_function(self, X: Any) -> Matrix:
        """Distances from the separating hyperplanes, as SVC gives them."""
        matrix = self._test_matrix(X)
        return np.asarray(self.svc_.decision_function(matrix))

    def predict(self, X: Any) -> Matrix:
        """Classes of series X (n, T)."""
        matrix = self._test_matrix(X)
        return np.asarray(self.svc_.predict(matrix))

    def _test_matrix(self, X: Any) -> Matrix:
        check_is_fitted(self)
        self._require_whole(X)
        return self._gram(validate_data(self, X, dtype=np.float64, reset=False), self.X_fit_) / self.scale_
