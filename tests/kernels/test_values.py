"""What a user may call sequences: taken for what it is, or refused with the argument's name."""

from __future__ import annotations

import array
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.sparse
import xarray as xr

from rnnlimits.kernels import rntk
from rnnlimits.kernels.interface import KernelError

X = np.random.default_rng(60).standard_normal((4, 6)).astype(np.float16).astype(np.float64)
WANTED = rntk.gram(X, backend="numpy")


class Tensor:
    """An array of another library."""

    def __init__(self, values: Any) -> None:
        self.values = values

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        if isinstance(self.values, str):
            raise RuntimeError(self.values)
        return self.values


def masked(*place: int) -> Any:
    made = np.ma.array(X, mask=False)
    if place:
        made[place] = np.ma.masked
    return made


def read_only() -> Any:
    made = X.copy()
    made.flags.writeable = False
    return made


READ: dict[str, Callable[[], Any]] = {
    "frame": lambda: pd.DataFrame(X, columns=list("abcdef")),
    "memory": lambda: memoryview(X),
    "nullable frame": lambda: pd.DataFrame(X).astype("Float64"),
    "nothing masked": masked,
    "xarray": lambda: xr.DataArray(X, dims=("series", "time")),
    "xarray of three dimensions": lambda: xr.DataArray(X[:, :, None], dims=("probe", "step", "channel")),
    "list of xarrays": lambda: [xr.DataArray(one[:, None], dims=("time", "channel")) for one in X],
    "list of tables by time": lambda: [
        pd.DataFrame({"a": one}, index=pd.date_range("2020", periods=6, freq="D")) for one in X
    ],
    "tensor": lambda: Tensor(X),
    "generator": lambda: (one for one in X),
    "tuples": lambda: tuple(map(tuple, X)),
    "read-only": read_only,
    "Fortran order": lambda: np.asfortranarray(X),
    "every second": lambda: np.repeat(X, 2, axis=1)[:, ::2],
    "big-endian": lambda: X.astype(">f8"),
    "float16": lambda: X.astype(np.float16),
    "longdouble": lambda: X.astype(np.longdouble),
    "list of arrays": lambda: [array.array("d", one) for one in X],
}


@pytest.mark.parametrize("make", READ.values(), ids=READ.keys())
def test_what_is_an_array_is_read_as_one(make: Callable[[], Any]) -> None:
    np.testing.assert_array_equal(rntk.gram(make(), backend="numpy"), WANTED)


def test_truth_values_and_whole_numbers_are_numbers() -> None:
    for values in (X > 0, (X > 0).astype(np.int8)):
        np.testing.assert_array_equal(
            rntk.gram(values, backend="numpy"), rntk.gram((X > 0).astype(float), backend="numpy")
        )


REFUSED: dict[str, tuple[Any, str]] = {
    "mapping": ({0: X[0], 1: X[1]}, "x is a dict; give an array, or a list of its values"),
    "set": ({1.0, 2.0}, "x is a set; "),
    "data set": (xr.Dataset({"a": ("time", X[0])}), "x is a Dataset; "),
    "numbers": ([0.1, 0.2, 0.3], r"x\[0\] is one value; a sequence has shape"),
    "one series": (pd.Series(X[0]), r"x has shape \(6,\); give"),
    "text": ("abc", "x is text; "),
    "bytes": (b"abc", "x is text; "),
    "list of text": (["a", "b"], r"x\[0\] is text; "),
    "array of text": (X.astype(str), "x cannot be read as real numbers"),
    "masked": (masked(1, 2), r"x\[1, 2\] is masked; fill masked values"),
    "list of masked": (list(masked(1, 2)), r"x\[1\]\[2\] is masked; "),
    "list of lists with a masked value": ([[0.5, np.ma.masked]], r"x\[0\]\[1\] is masked; "),
    "complex": (X + 0j, "complex128, whose imaginary part would be lost"),
    "dates": (np.full((2, 3), np.datetime64("2020-01-01")), "type datetime64"),
    "decimals": ([[Decimal("1.5")] * 3], r"x\[0\] cannot be read as real numbers \(type object"),
    "huge whole numbers": ([[2**70, 1]], "type object"),
    "records": (np.zeros((2, 2), dtype=[("a", "f8")]), "x cannot be read as real numbers"),
    "frame with NA": (pd.DataFrame(X).astype("Float64").where(pd.DataFrame(X) < X[1, 2], pd.NA), "is missing"),
    "frame of objects": (pd.DataFrame(X).astype(object), "x has values of type object; give columns of numbers only"),
    "frame with text": (pd.DataFrame(X).assign(label="b"), "give columns of numbers only"),
    "frame of categories": (pd.DataFrame(X).astype("category"), "values of type category"),
    "frame by time": (pd.DataFrame(X, index=pd.date_range("2020", periods=4)), "x has rows by DatetimeIndex"),
    "frame by series and time": (
        pd.DataFrame(X, index=pd.MultiIndex.from_product([[0, 1], [0, 1]])),
        "x has rows by MultiIndex",
    ),
    "time first": (xr.DataArray(X.T, dims=("time", "series")), "x has the dimensions time, series; give them in the"),
    "channel before time": (xr.DataArray(X[:, None], dims=("case", "channel", "time")), "in the order series, time"),
    "one sequence": (xr.DataArray(X, dims=("time", "channel")), "in the order series, time, input"),
    "list of channel, time": ([xr.DataArray(X, dims=("channel", "time"))], r"x\[0\] has the dimensions channel, time"),
    "univariate as elsewhere": (X[:, None, :], "1 steps of 6 inputs, or as many channels of 6 steps"),
    "channels as elsewhere": (np.ones((2, 3, 50)), "3 steps of 50 inputs"),
    "sparse": (scipy.sparse.csr_matrix(X), r"x is a sparse matrix; give x.toarray\(\)"),
    "tensor with a gradient": (Tensor("requires grad.\nUse detach()"), r"\(requires grad\.\)"),
    "a number": (7, "x is int; give an array"),
    "ragged in a sequence": ([[1, [2]]], r"x\[0\] cannot be read as real numbers"),
}


@pytest.mark.parametrize(("x", "words"), REFUSED.values(), ids=REFUSED.keys())
def test_what_numpy_would_misread_is_refused_by_name(x: Any, words: str) -> None:
    with pytest.raises(KernelError, match=words) as caught:
        rntk.gram(x, backend="numpy")
    assert "\n" not in str(caught.value)
    with pytest.raises(KernelError, match=r"^y"):
        rntk.gram(X, x, backend="numpy")


def test_a_list_says_that_there_are_more_inputs_than_steps() -> None:
    found = rntk.gram(list(X[:, None, :]), backend="numpy")
    np.testing.assert_array_equal(found, rntk.gram(rntk.batch(X[:, None, :]), backend="numpy"))


def test_estimators_keep_masks_and_order() -> None:
    pytest.importorskip("sklearn")
    from rnnlimits.base.errors import StudyError
    from rnnlimits.library.estimators import RecurrentNTK, RNTKClassifier

    bad = [masked(1, 2), xr.DataArray(X.T, dims=("time", "series"))]
    bad.append(pd.DataFrame(X, index=pd.date_range("2020", periods=4)))
    labels = [0, 1, 0, 1]
    fitted, trained = RecurrentNTK(backend="numpy").fit(X), RNTKClassifier(backend="numpy").fit(X, labels)
    for values in bad:
        for act in (RecurrentNTK().fit, RecurrentNTK().fit_transform, fitted.transform, trained.predict):
            with pytest.raises(StudyError, match=r"^X"):
                act(values)
        with pytest.raises(StudyError, match=r"^X"):
            RNTKClassifier().fit(values, labels)
    with pytest.raises(StudyError, match=r"^y\[1\] is masked"):
        RNTKClassifier().fit(X, np.ma.array(labels, mask=[0, 1, 0, 0]))


@pytest.mark.parametrize(
    ("matrix", "words"),
    [
        (np.ma.array(WANTED, mask=np.eye(4)), r"matrix\[0, 0\] is masked"),
        (np.full((2, 2), np.nan), "matrix has entries that are not finite"),
        ({0: WANTED}, "matrix is a dict"),
        (WANTED + 0j, "imaginary part would be lost"),
    ],
)
def test_matrices_whose_eigenvalues_are_none(matrix: Any, words: str) -> None:
    with pytest.raises(KernelError, match=words):
        rntk.require_psd(matrix)
    assert rntk.require_psd(pd.DataFrame(WANTED)) > 0
    assert rntk.require_psd([[2, 1], [1, 2]]) == pytest.approx(1 / 3)  # type: ignore[arg-type]
