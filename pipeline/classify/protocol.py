"""Classification by a C-support-vector machine: parameters are chosen on folds of the training part, then tested once.

`validate` and `choose` do not receive the test part, so a choice cannot depend on it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rnnlimits.base.errors import StudyError
from rnnlimits.classify.datasets import Numbers
from rnnlimits.classify.methods import Candidate, Method
from rnnlimits.kernels import rntk
from rnnlimits.kernels.interface import Array
from rnnlimits.kernels.rntk import Batch

try:
    import sklearn
    from sklearn.svm import SVC
except ImportError as error:
    raise StudyError(
        f"classification needs scikit-learn ({error}); python -m pip install 'rnnlimits[rntk,data]'"
    ) from error

COSTS = (0.01, 0.1, 1.0, 10.0, 100.0)  # C of the support-vector machine
SEED = 2006  # for the division into folds
SMALLEST = 1e-12  # lower bound of a kernel's spread, below which all series are alike


@dataclass(frozen=True)
class Choice:
    """The candidate and C with the largest number of correctly classified held-out series."""

    candidate: int
    cost: int


def folds(classes: Numbers, count: int) -> Numbers:
    """The fold 0 .. count - 1 of each series: each class is dealt out in turn, so that folds have similar shares of it.

    A class with fewer series than folds is in some folds only; one with a single series is unknown when it is held out.
    """
    rng = np.random.default_rng(SEED)
    order = np.concatenate([rng.permutation(np.flatnonzero(classes == c)) for c in np.unique(classes)])
    dealt = np.empty(len(classes), dtype=np.int64)
    dealt[order] = np.arange(len(classes)) % count
    return dealt


def validate(
    method: Method, candidates: Sequence[Candidate], train: Batch, classes: Numbers, fold_count: int
) -> Numbers:
    """Number of series (candidate, C) that a machine trained without their fold classifies correctly."""
    dealt = folds(classes, fold_count)
    correct = np.zeros((len(candidates), len(COSTS)), dtype=np.int64)
    for index, candidate in enumerate(candidates):
        matrix = _Scaled(method.gram(candidate, train, None)).square
        for fold in range(fold_count):
            held_out = dealt == fold
            inside, outside = matrix[np.ix_(~held_out, ~held_out)], matrix[np.ix_(held_out, ~held_out)]
            for place, cost in enumerate(COSTS):
                predicted = _predict(inside, classes[~held_out], outside, cost)
                correct[index, place] += np.count_nonzero(predicted == classes[held_out])
    return correct


def choose(correct: Numbers) -> Choice:
    """The best of validate's table (candidate, C); ties go to the candidate best over all C, then to the smallest C."""
    best = np.argwhere(correct == correct.max())
    overall = correct.sum(axis=1)
    candidate, cost = min(best.tolist(), key=lambda place: (-int(overall[place[0]]), place[1], place[0]))
    return Choice(candidate, cost)


def predict(method: Method, candidate: Candidate, cost: float, train: Batch, classes: Numbers, test: Batch) -> Numbers:
    """Classes (n_test,) of the test series, predicted by a machine trained on the whole training part.

    Raises KernelError where the training matrix is not positive semi-definite beyond rounding.
    """
    matrix = method.gram(candidate, train, None)
    rntk.require_psd(matrix)
    scaled = _Scaled(matrix)
    cross = scaled.cross(method.gram(candidate, test, train), method.own(candidate, test))
    return _predict(scaled.square, classes, cross, cost)


class _Scaled:
    """A kernel with unit diagonal and unit spread (mean squared distance of the training series from their centre).

    The recurrent NTK of a sequence grows or decays exponentially with its length: without the scaling, long ones would
    dominate. The unit spread gives C the same meaning for all kernels.
    """

    def __init__(self, matrix: Array) -> None:
        self._roots = _roots(np.diag(matrix))
        cosines = matrix / (self._roots[:, None] * self._roots)
        self._spread = max(float(np.mean(np.diag(cosines)) - np.mean(cosines)), SMALLEST)
        self.square: Array = cosines / self._spread

    def cross(self, matrix: Array, diagonal: Array) -> Array:
        """A matrix (n_test, n_train), scaled in the same way; diagonal: (n_test,), that of the test series."""
        return np.asarray(matrix / (_roots(diagonal)[:, None] * self._roots) / self._spread)


def _roots(diagonal: Array) -> Array:
    """Square roots; 1 for a series of zeros, whose row is zero for any divisor."""
    return np.sqrt(np.where(diagonal > 0.0, diagonal, 1.0))


def _predict(square: Array, classes: Numbers, cross: Array, cost: float) -> Numbers:
    if len(np.unique(classes)) == 1:  # all others were held out
        return np.full(len(cross), classes[0])
    # Its argument checks take longer than training a small machine.
    with sklearn.config_context(skip_parameter_validation=True, assume_finite=True):
        predicted = SVC(C=cost, kernel="precomputed").fit(square, classes).predict(cross)
    return np.asarray(predicted, dtype=np.int64)
