"""Arrays of other libraries as arguments of the library, and as values of a study's keys."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from rnnlimits.base.errors import StudyError
from rnnlimits.library import arguments

X = np.random.default_rng(80).standard_normal((3, 5))


@pytest.mark.parametrize(
    "values",
    [pd.DataFrame(X), xr.DataArray(X, dims=("probe", "step")), np.ma.array(X), X.astype(">f8"), X.tolist()],
    ids=["pandas", "xarray", "nothing masked", "big-endian", "lists"],
)
def test_histories_are_taken_for_what_they_are(values: Any) -> None:
    np.testing.assert_array_equal(arguments.histories(values, 1), X[:, :, None])


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (np.ma.array(X, mask=X[1, 2] == X), r"histories\[1, 2\] is masked"),
        ({0: X[0]}, "histories is a dict; give an array"),
        (xr.DataArray(X.T, dims=("step", "probe")), "histories has the dimensions step, probe; give them in the order"),
        (pd.DataFrame(X).astype("Float64").where(pd.DataFrame(X) != X[0, 1], pd.NA), r"histories\[0, 1\] is missing"),
        (X + 0j, "histories: has rows of different lengths or values that are not real numbers"),
        ([[1.0], [1.0, 2.0]], "histories: has rows of different lengths"),
        ("abc", "histories is text"),
        (X[:, None], r"histories: has shape \(3, 1, 5\); give an array \(n, T\)"),
    ],
)
def test_histories_that_would_be_misread(values: Any, words: str) -> None:
    with pytest.raises(StudyError, match=words):
        arguments.histories(values, 1)


def test_values_of_a_study_may_be_arrays() -> None:
    given = {"beta": pd.Series([0.6, 0.9]), "width": xr.DataArray([8, 16]), "chain": {"a": pd.DataFrame([[0.1, 0.2]])}}
    assert arguments.plain(given) == {"beta": [0.6, 0.9], "width": [8, 16], "chain": {"a": [[0.1, 0.2]]}}
    with pytest.raises(StudyError, match=r"training\.beta\[1\] is masked"):
        arguments.plain({"beta": np.ma.array([0.6, 0.9], mask=[0, 1])}, "training")
