"""The largest of several estimates from the same units: its bias, and which of them may be the largest."""

from __future__ import annotations

import numpy as np
import pytest

from rnnlimits.statistics.bootstrap import Bootstrap
from rnnlimits.statistics.powerlaw import measure
from rnnlimits.statistics.samples import rms
from rnnlimits.statistics.suprema import contenders, supremum


def bootstrap() -> Bootstrap:
    return Bootstrap(lambda units, count: np.stack([np.random.default_rng([1, u]).random(count) for u in units]), 200)


def test_the_clear_largest_is_that_estimate() -> None:
    values = np.random.default_rng(2).normal(size=(64, 1, 8))
    boot, samples = bootstrap(), [rms(scale * values) for scale in (1.0, 3.0, 2.0)]
    points = [measure(64, sample, boot) for sample in samples]
    likely = contenders([p.value for p in points], [p.value_replicates for p in points])
    found = supremum(64, samples, likely, boot)
    assert (likely, found.largest, found.half_bias) == ([1], 1, 0.0)
    assert found.point.estimate == points[1].estimate


def test_equal_estimates_are_less_biased_than_their_maximum() -> None:
    """Four equal laws, 200 draws: the maximum is off by a standard error; what is left is below half of that."""
    boot, plain, corrected = bootstrap(), [], []
    for seed in range(200):
        values = np.random.default_rng([3, seed]).normal(size=(4, 64, 1, 2))
        samples = [rms(one) for one in values]
        found = supremum(64, samples, range(4), boot)
        plain.append(max(float(s.statistics.mean()) for s in samples) - 1)
        corrected.append(found.point.value - 1)
    assert np.mean(plain) > 0.08
    assert abs(np.mean(corrected)) < 0.7 * np.mean(plain)
    assert np.mean(corrected) == pytest.approx(0.5 * np.mean(plain), abs=0.03)
