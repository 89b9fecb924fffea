"""The standard deviation of few values."""

from __future__ import annotations

import numpy as np
import pytest

from rnnlimits.base.arrays import deviation


@pytest.mark.filterwarnings("error")
def test_one_value_has_no_deviation_and_gives_no_warning() -> None:
    assert np.isnan(deviation(np.ones((1, 3)))).all()
    np.testing.assert_array_equal(deviation(np.array([[1.0, 2.0], [3.0, 2.0]])), [2**0.5, 0.0])
