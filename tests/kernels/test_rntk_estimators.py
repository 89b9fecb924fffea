"""Estimators of scikit-learn on the kernel: its own checks, sequences of any kind, weights, probabilities."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from rnnlimits.kernels import rntk
from rnnlimits.kernels.interface import KernelError
from rnnlimits.kernels.rntk.network import Elman

sklearn = pytest.importorskip("sklearn")
from sklearn import base, kernel_ridge, model_selection, pipeline, svm  # noqa: E402
from sklearn.utils import estimator_checks  # noqa: E402

from rnnlimits.kernels.rntk.estimators import RNTKSVR, RecurrentNTK, RNTKClassifier, RNTKRegressor  # noqa: E402

pytestmark = pytest.mark.needs_compiler
Array = NDArray[np.float64]


def waves(count: int, seed: int = 42) -> tuple[list[Array], NDArray[np.int64]]:
    """Noisy waves of two frequencies and of 20 to 40 steps, with two inputs at a step; and which frequency."""
    rng, label = np.random.default_rng(seed), np.arange(count) % 2
    found = []
    for one in label:
        time = np.arange(rng.integers(20, 41))
        phase = (0.5 + 0.3 * one) * time + rng.uniform(0, 6.3)
        found.append(np.column_stack([np.sin(phase), np.cos(phase)]) + 0.1 * rng.standard_normal((len(time), 2)))
    return found, label


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "estimator",
    # libsvm's own tolerance is coarser than what the check of weights asks for.
    [RecurrentNTK(), RNTKClassifier(tol=1e-10), RNTKRegressor(), RNTKSVR(tol=1e-10)],
    ids=lambda one: type(one).__name__,
)
def test_scikit_learns_own_checks(estimator: Any) -> None:
    results = estimator_checks.check_estimator(estimator, on_fail=None)
    assert len(results) > 40
    assert not [f"{one['check_name']}: {one['exception']}" for one in results if one["status"] == "failed"]


def test_classifier_learns_and_transformer_is_the_kernel() -> None:
    rng, time = np.random.default_rng(42), np.arange(30)
    label = np.arange(120) % 2
    x = np.sin((0.5 + 0.2 * label[:, None]) * time + rng.uniform(0, 6.3, (120, 1))) + 0.1 * rng.standard_normal(
        (120, 30)
    )
    fitted = RNTKClassifier(C=10.0, sigma_b=0.3).fit(x[:80], label[:80])
    assert fitted.score(x[80:], label[80:]) > 0.9
    transformer = RecurrentNTK(sigma_h=0.5)
    network = Elman(sigma_h=0.5)
    np.testing.assert_array_equal(transformer.fit_transform(x[:80]), rntk.gram(x[:80], network=network))
    np.testing.assert_array_equal(transformer.transform(x[80:]), rntk.gram(x[80:], x[:80], network=network))
    np.testing.assert_array_equal(transformer.diagonal(x[:80]), rntk.diagonal(x[:80], network=network))
    assert list(transformer.get_feature_names_out()[[0, 79]]) == ["recurrentntk0", "recurrentntk79"]


def test_sequences_of_unlike_lengths_in_every_form() -> None:
    """A list of (T_i, m), the same transposed, as an array of objects, as nested lists: one and the same model."""
    x, label = waves(60)
    fitted = RNTKClassifier(C=10.0, sigma_b=0.3).fit(x[:40], label[:40])
    assert fitted.score(x[40:], label[40:]) > 0.9
    wanted = fitted.decision_function(x[40:])
    objects = np.empty(60, dtype=object)
    objects[:] = x
    for form, layout in (
        ([one.T for one in x], "channels_first"),
        (objects, None),
        ([one.tolist() for one in x], None),
    ):
        train, test = form[:40], form[40:]
        found = RNTKClassifier(C=10.0, sigma_b=0.3, layout=layout).fit(train, label[:40]).decision_function(test)
        np.testing.assert_array_equal(found, wanted)
    restored = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(restored.decision_function(x[40:]), wanted)


def test_models_are_scikit_learns_on_the_scaled_kernel() -> None:
    x, label = waves(40)
    target = np.array([one[-1] for one in x])
    network = Elman(sigma_w=1.3, sigma_b=0.3)
    matrix = np.asarray(rntk.gram(x[:30], network=network))
    scale = np.mean(np.diag(matrix))
    train, test = matrix / scale, np.asarray(rntk.gram(x[30:], x[:30], network=network)) / scale
    options = {"sigma_w": 1.3, "sigma_b": 0.3}
    ridge = RNTKRegressor(alpha=0.1, **options).fit(x[:30], target[:30])
    own = kernel_ridge.KernelRidge(alpha=0.1, kernel="precomputed").fit(train, target[:30] - target[:30].mean(0))
    np.testing.assert_allclose(ridge.predict(x[30:]), own.predict(test) + target[:30].mean(0), rtol=1e-12)
    assert ridge.predict(x[30:]).shape == (10, 2)
    support = RNTKSVR(C=10.0, epsilon=0.01, **options).fit(x[:30], target[:30, 0])
    other = svm.SVR(C=10.0, epsilon=0.01, kernel="precomputed").fit(train, target[:30, 0])
    np.testing.assert_allclose(support.predict(x[30:]), other.predict(test), rtol=1e-9)
    classes = RNTKClassifier(C=10.0, class_weight={0: 1.0, 1: 5.0}, **options).fit(x[:30], label[:30])
    others = svm.SVC(C=10.0, class_weight={0: 1.0, 1: 5.0}, kernel="precomputed").fit(train, label[:30])
    np.testing.assert_allclose(classes.decision_function(x[30:]), others.decision_function(test), rtol=1e-9)


def test_samples_of_no_weight_change_nothing() -> None:
    """Which libsvm alone does not keep with a precomputed kernel: it reads the columns of other samples."""
    x, label = waves(40)
    weight = np.where(np.arange(40) % 5 == 0, 0.0, 1.0)
    kept = [one for one, some in zip(x, weight, strict=True) if some]
    for model, y in ((RNTKClassifier(), label), (RNTKSVR(), label + 0.5), (RNTKRegressor(), label + 0.5)):
        found = base.clone(model).fit(x, y, sample_weight=weight).predict(x)
        np.testing.assert_allclose(found, base.clone(model).fit(kept, y[weight > 0]).predict(x), rtol=1e-6, atol=1e-9)


def test_probabilities_are_there_when_asked_for() -> None:
    x, label = waves(60)
    fitted = RNTKClassifier(C=10.0, sigma_b=0.3, probability=True).fit(x[:40], label[:40])
    found = fitted.predict_proba(x[40:])
    assert found.shape == (20, 2)
    np.testing.assert_allclose(found.sum(1), 1.0)
    assert np.mean(np.log(found[np.arange(20), label[40:]])) > np.log(0.75)
    assert not hasattr(RNTKClassifier(), "predict_proba")


def test_searches_and_pipelines_take_sequences() -> None:
    x, label = waves(40)
    search = model_selection.GridSearchCV(
        RNTKClassifier(C=10.0), {"sigma_w": [1.0, 1.3], "layers": np.arange(1, 3), "n_jobs": [-1, 1]}, cv=2
    )
    assert search.fit(x, label).best_score_ > 0.8
    kernel = RecurrentNTK(sigma_b=0.3).set_output(transform="default")
    both = pipeline.make_pipeline(kernel, svm.SVC(kernel="precomputed")).fit(x[:30], label[:30])
    by_hand = svm.SVC(kernel="precomputed").fit(kernel.fit_transform(x[:30]), label[:30])
    np.testing.assert_array_equal(both.predict(x[30:]), by_hand.predict(kernel.transform(x[30:])))


def test_what_does_not_fit_together_is_one_line() -> None:
    x, label = waves(20)
    fitted = RNTKClassifier().fit(x, label)
    for given, words in (
        (np.ones((3, 6)), "X is a table .n, T., but fit had sequences; give sequences: list"),
        ([np.ones((4, 3)), np.ones((5, 3))], "x has 3 inputs at a step, y has 2"),
        (np.ones((3, 2, 9)), "layout='steps_first' or layout='channels_first'"),
        ([np.ones((4, 2)), np.full((5, 2), np.nan)], "X: sequence 1 has nan at step 0"),
    ):
        with pytest.raises(KernelError, match=words):
            fitted.predict(given)
    with pytest.raises(KernelError, match="kernel: 'both' is not allowed in an estimator"):
        RNTKClassifier(kernel="both").fit(x, label)
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        RNTKClassifier().fit(x, label[1:])
