"""The kernel in scikit-learn's conventions: needs the extra `rntk` (pip install 'rnnlimits[rntk]').

X is a table (n, T) of series of one variable; or sequences: an array (n, T, m), or a list of arrays (T_i, m) or (T_i,)
of any lengths, in either layout (`sequences.batch`).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnnlimits.kernels import values
from rnnlimits.kernels.interface import KernelError
from rnnlimits.kernels.rntk.matrices import diagonal, gram
from rnnlimits.kernels.rntk.network import Elman
from rnnlimits.kernels.rntk.sequences import Batch, batch, require_steps_first

try:
    from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin, TransformerMixin
    from sklearn.calibration import CalibratedClassifierCV
    from sklearn.kernel_ridge import KernelRidge
    from sklearn.svm import SVC, SVR
    from sklearn.utils.metaestimators import available_if
    from sklearn.utils.multiclass import check_classification_targets
    from sklearn.utils.validation import (
        _check_sample_weight,
        check_consistent_length,
        check_is_fitted,
        column_or_1d,
        validate_data,
    )
except ImportError as error:
    raise KernelError(f"scikit-learn is needed ({error}); python -m pip install 'rnnlimits[rntk]'") from error

Matrix = NDArray[Any]
FOLDS = 5  # of the calibration of probabilities


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
        layout: str | None = None,
        n_jobs: int | None = None,
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
        self.layout = layout
        self.n_jobs = n_jobs

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        return tags

    def _require_whole(self, X: Any, y: Any = None) -> None:
        """Refuse what scikit-learn would read without its mask or its order of axes."""
        values.require_whole(X, "X", () if self.layout else values.COLLECTION)
        values.require_whole(y, "y")

    def _sequences(self, X: Any, reset: bool = False) -> Matrix | Batch:
        """X as a table, which scikit-learn checks, or as sequences. reset: of fit."""
        self._require_whole(X)
        if _is_table(X):
            if not reset and not hasattr(self, "n_features_in_"):
                raise KernelError("X is a table (n, T), but fit had sequences; give sequences: list(X)")
            return np.asarray(validate_data(self, X, dtype=np.float64, reset=reset))
        if reset:
            for name in {"n_features_in_", "feature_names_in_"} & {*vars(self)}:
                delattr(self, name)
        found = batch(list(X) if _is_object_array(X) else X, "X", self.layout)
        if self.layout is None:
            require_steps_first(X, "X")
        return found

    def _options(self) -> dict[str, Any]:
        sigmas = (self.sigma_w, self.sigma_u, self.sigma_b, self.sigma_h, self.sigma_v)
        if self.kernel == "both":
            raise KernelError("kernel: 'both' is not allowed in an estimator; allowed: ntk, nngp")
        network = Elman(self.layers, self.activation, *sigmas, self.output)
        return {"network": network, "kernel": self.kernel, "dtype": self.dtype, "backend": self.backend}

    def _gram(self, x: Matrix | Batch, y: Matrix | Batch | None = None) -> Matrix:
        return np.asarray(gram(x, y, threads=self.n_jobs, **self._options()))

    def _to_fitted(self, X: Any) -> Matrix:
        """Kernel (n, n_fit) between X and the sequences of fit."""
        check_is_fitted(self)
        return self._gram(self._sequences(X), self.X_fit_)


class RecurrentNTK(TransformerMixin, _Kernel):  # type: ignore[misc]
    """X -> kernel matrix (n, n_fit) between X and the sequences of `fit`; parameters as in Elman and gram.

    fit_transform gives the square matrix of one set: a sequence is the same as itself (which matters with sigma_h).
    """

    def fit(self, X: Any, y: Any = None) -> RecurrentNTK:
        """Keep the sequences X."""
        self.X_fit_ = self._sequences(X, reset=True)
        return self

    def transform(self, X: Any) -> Matrix:
        """Kernel (n, n_fit) with the sequences of fit; all are taken as different sequences."""
        return self._to_fitted(X)

    def fit_transform(self, X: Any, y: Any = None, **fit_params: Any) -> Matrix:
        """Kernel (n, n) of X with itself."""
        return self._gram(self.fit(X).X_fit_)

    def diagonal(self, X: Any) -> Matrix:
        """K(x, x) of each sequence of X (n,)."""
        return np.asarray(diagonal(self._sequences(X), **self._options()))

    @property
    def _n_features_out(self) -> int:
        return len(self.X_fit_)

    def get_feature_names_out(self, input_features: Any = None) -> NDArray[np.object_]:
        """One name for each sequence of fit."""
        check_is_fitted(self)
        return np.array([f"recurrentntk{index}" for index in range(len(self.X_fit_))], dtype=object)


class _Trained(_Kernel):
    """An estimator of scikit-learn on the kernel, divided by the mean of its diagonal on the sequences of fit.

    So C and alpha mean the same for all parameters of the network.
    """

    def _matrix(self, X: Any, y: Any, sample_weight: Any) -> tuple[Matrix, Matrix, Matrix | None]:
        """The scaled kernel of X with itself, the targets, and the weights."""
        self._require_whole(X, y)
        if _is_table(X):
            self.X_fit_, y = validate_data(self, X, y, dtype=np.float64, multi_output=True, y_numeric=self._numeric)
        else:
            self.X_fit_ = self._sequences(X, reset=True)
            y = np.asarray(y)
            check_consistent_length(list(self.X_fit_), y)
        if sample_weight is not None:
            sample_weight = _check_sample_weight(sample_weight, y, dtype=np.float64, allow_all_zero_weights=False)
            # libsvm drops samples of no weight, and then reads the wrong columns of a precomputed kernel.
            kept = np.flatnonzero(sample_weight)
            self.X_fit_, y, sample_weight = _taken(self.X_fit_, kept), y[kept], sample_weight[kept]
        matrix = self._gram(self.X_fit_)
        self.scale_ = float(np.average(np.diag(matrix), weights=sample_weight)) or 1.0
        return matrix / self.scale_, y, sample_weight

    _numeric = True

    def _test_matrix(self, X: Any) -> Matrix:
        return self._to_fitted(X) / self.scale_


def _calibrated(one: Any) -> bool:
    if not one.probability:
        raise AttributeError("probabilities need probability=True, before fit")
    return True


class RNTKClassifier(ClassifierMixin, _Trained):  # type: ignore[misc]
    """C-support-vector classification with the recurrent NTK as kernel.

    C, class_weight, tol: as in sklearn.svm.SVC. probability: whether predict_proba is there; a sigmoid of the decisions
    is then fitted over five folds. Other parameters as in Elman and gram.
    """

    _numeric = False

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
        layout: str | None = None,
        n_jobs: int | None = None,
        class_weight: Any = None,
        probability: bool = False,
        tol: float = 1e-3,
    ) -> None:
        sigmas = (sigma_w, sigma_u, sigma_b, sigma_h, sigma_v)
        super().__init__(layers, activation, *sigmas, output, kernel, dtype, backend, layout, n_jobs)
        self.C = C
        self.class_weight = class_weight
        self.probability = probability
        self.tol = tol

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> RNTKClassifier:
        """Train on sequences X with classes y (n,)."""
        matrix, y, sample_weight = self._matrix(X, y, sample_weight)
        y = column_or_1d(y, warn=True)
        check_classification_targets(y)
        svc = SVC(C=self.C, kernel="precomputed", class_weight=self.class_weight, tol=self.tol)
        self.svc_ = svc.fit(matrix, y, sample_weight)
        self.classes_ = self.svc_.classes_
        if self.probability:
            folds = max(2, min(FOLDS, *np.unique(y, return_counts=True)[1]))
            calibration = CalibratedClassifierCV(svc, ensemble=False, cv=folds)
            self.calibrated_ = calibration.fit(matrix, y, sample_weight)
        return self

    def decision_function(self, X: Any) -> Matrix:
        """Distances from the separating hyperplanes, as SVC gives them."""
        matrix = self._test_matrix(X)
        return np.asarray(self.svc_.decision_function(matrix))

    def predict(self, X: Any) -> Matrix:
        """Classes of sequences X (n,)."""
        matrix = self._test_matrix(X)
        return np.asarray(self.svc_.predict(matrix))

    @available_if(_calibrated)  # type: ignore[untyped-decorator]
    def predict_proba(self, X: Any) -> Matrix:
        """Probabilities of the classes (n, classes), in the order of classes_."""
        matrix = self._test_matrix(X)
        return np.asarray(self.calibrated_.predict_proba(matrix))


class RNTKRegressor(RegressorMixin, _Trained):  # type: ignore[misc]
    """Ridge regression of one or several outputs with the recurrent NTK as kernel, around their mean.

    alpha: the ridge, as in sklearn.kernel_ridge.KernelRidge. Other parameters as in Elman and gram.
    """

    def __init__(
        self,
        alpha: float = 1e-3,
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
        layout: str | None = None,
        n_jobs: int | None = None,
    ) -> None:
        sigmas = (sigma_w, sigma_u, sigma_b, sigma_h, sigma_v)
        super().__init__(layers, activation, *sigmas, output, kernel, dtype, backend, layout, n_jobs)
        self.alpha = alpha

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> RNTKRegressor:
        """Train on sequences X with targets y (n,) or (n, outputs)."""
        matrix, y, sample_weight = self._matrix(X, y, sample_weight)
        self.mean_ = np.average(y, axis=0, weights=sample_weight)
        self.ridge_ = KernelRidge(alpha=self.alpha, kernel="precomputed").fit(matrix, y - self.mean_, sample_weight)
        return self

    def predict(self, X: Any) -> Matrix:
        """Targets of sequences X, (n,) or (n, outputs)."""
        matrix = self._test_matrix(X)
        return np.asarray(self.ridge_.predict(matrix) + self.mean_)


class RNTKSVR(RegressorMixin, _Trained):  # type: ignore[misc]
    """Support-vector regression with the recurrent NTK as kernel.

    C, epsilon, tol: as in sklearn.svm.SVR. Other parameters as in Elman and gram.
    """

    def __init__(
        self,
        C: float = 1.0,
        epsilon: float = 0.1,
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
        layout: str | None = None,
        n_jobs: int | None = None,
        tol: float = 1e-3,
    ) -> None:
        sigmas = (sigma_w, sigma_u, sigma_b, sigma_h, sigma_v)
        super().__init__(layers, activation, *sigmas, output, kernel, dtype, backend, layout, n_jobs)
        self.C = C
        self.epsilon = epsilon
        self.tol = tol

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> RNTKSVR:
        """Train on sequences X with targets y (n,)."""
        matrix, y, sample_weight = self._matrix(X, y, sample_weight)
        svr = SVR(C=self.C, epsilon=self.epsilon, kernel="precomputed", tol=self.tol)
        self.svr_ = svr.fit(matrix, column_or_1d(y, warn=True), sample_weight)
        return self

    def predict(self, X: Any) -> Matrix:
        """Targets of sequences X (n,)."""
        matrix = self._test_matrix(X)
        return np.asarray(self.svr_.predict(matrix))


def _taken(x: Matrix | Batch, indices: NDArray[np.int64]) -> Matrix | Batch:
    return x.taken(indices) if isinstance(x, Batch) else np.asarray(x[indices])


def _is_table(X: Any) -> bool:
    """Whether X is for scikit-learn to check: no batch, no array (n, T, m), no list of arrays or of unlike lengths."""
    if isinstance(X, Batch) or _is_object_array(X):
        return False
    if not isinstance(X, list | tuple):
        return getattr(X, "ndim", 2) != 3
    sizes = {np.shape(row) if hasattr(row, "__array__") else _shape_of_list(row) for row in X}
    return len(sizes) < 2 and all(len(size) < 2 for size in sizes)


def _shape_of_list(row: Any) -> tuple[int, ...]:
    """The shape of nested lists, as far as their first entries tell it."""
    if not isinstance(row, list | tuple):
        return np.shape(row)
    return (len(row), *(_shape_of_list(row[0]) if len(row) else ()))


def _is_object_array(X: Any) -> bool:
    """An array (n,) of sequences, as others keep series of unlike lengths."""
    return isinstance(X, np.ndarray) and X.dtype == object and X.ndim == 1 and all(np.ndim(row) > 0 for row in X)
