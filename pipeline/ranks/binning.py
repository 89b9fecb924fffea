"""Averages along a path, in bins of steps."""

from __future__ import annotations

import numpy as np

from rnnlimits.kernels.interface import Array, Backend


class BinnedMean:
    """Squared error along the path, averaged over bins of equal numbers of steps (to within one)."""

    def __init__(self, be: Backend, replicas: int, steps: int, bins: int) -> None:
        self._be, bins = be, min(bins, steps)
        self._edges = -(-np.arange(bins + 1) * steps // bins)  # the first step of each bin
        self._sum = be.array(np.zeros((replicas, bins)))

    def add(self, first: int, squared_error: Array) -> None:
        """Add squared errors (R, steps) of the steps starting at `first`, an array of the back end."""
        steps = squared_error.shape[1]
        edges = np.clip(self._edges - first, 0, steps)
        for bin_ in np.flatnonzero(np.diff(edges)):
            self._sum[:, bin_] += squared_error[:, edges[bin_] : edges[bin_ + 1]].sum(axis=1)

    @property
    def sums(self) -> Array:
        """The sums so far (R, bins): a copy, as a NumPy array."""
        return np.array(self._be.numpy(self._sum))

    @sums.setter
    def sums(self, values: Array) -> None:
        self._sum = self._be.array(np.array(values))

    def mean(self) -> Array:
        """Averages (R, bins), as a NumPy array."""
        return np.asarray(self._be.numpy(self._sum) / np.diff(self._edges))
