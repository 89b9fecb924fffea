"""The kernels compared in classification, and the parameters tried for each.

The recurrent NTK takes sequences as they are. The others take vectors: sequences of different lengths are stretched by
linear interpolation to the longest one of the training part; inputs and steps then form one vector of length m.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from rnnlimits.base.errors import StudyError
from rnnlimits.kernels import rntk
from rnnlimits.kernels.interface import Array
from rnnlimits.kernels.rntk import Batch

Candidate = Mapping[str, float]
LARGEST_EXPONENT = 600.0  # variances above e^600 are not tried: float64 ends at e^709, and the NTK is larger than they


@dataclass(frozen=True)
class Method:
    """One kernel: `full` and `coarse` are its grids, gram(candidate, x, y) its matrix, own(candidate, x) the diagonal.

    reads_vectors: gram and own take sequences of one step.
    """

    name: str
    title: str
    reads_vectors: bool
    full: Mapping[str, Sequence[float]]
    coarse: Mapping[str, Sequence[float]]
    gram: Callable[[Candidate, Batch, Batch | None], Array]
    own: Callable[[Candidate, Batch], Array]

    def candidates(self, level: str, longest: int) -> tuple[Candidate, ...]:
        """The points of the grid "full" or "coarse" that can be computed for sequences of `longest` steps."""
        grid = self.full if level == "full" else self.coarse
        points = (dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values()))
        return tuple(point for point in points if self.reads_vectors or _stays_finite(point, longest))


def _stays_finite(candidate: Candidate, longest: int) -> bool:
    """Return whether the variances stay finite: with ReLU they grow as (sigma_w^2 / 2)^T."""
    return longest * math.log(candidate["sigma_w"] ** 2 / 2.0) < LARGEST_EXPONENT


def stretched(x: Batch, steps: int) -> Batch:
    """Sequences as vectors: each interpolated linearly to `steps` steps, then one step of steps * d inputs."""
    return rntk.batch(np.stack([_stretch(series, steps).reshape(1, -1) for series in x]))


def _stretch(series: Array, steps: int) -> Array:
    if len(series) == steps:
        return series
    at = np.linspace(0.0, len(series) - 1.0, steps)
    return np.stack([np.interp(at, np.arange(len(series)), column) for column in series.T], axis=1)


# --- recurrent NTK -----------------------------------------------------------------------------------------


def _elman(candidate: Candidate) -> rntk.Elman:
    return rntk.Elman(
        layers=int(candidate["layers"]),
        activation="relu",
        sigma_w=candidate["sigma_w"],
        sigma_b=candidate["sigma_b"],
        sigma_h=candidate["sigma_h"],
    )


def _matrix(network: rntk.Elman, x: Batch, y: Batch | None) -> Array:
    matrix = rntk.gram(x, y, network=network, backend="host", threads=1)
    return np.asarray(matrix)


def _recurrent(candidate: Candidate, x: Batch, y: Batch | None) -> Array:
    return _matrix(_elman(candidate), x, y)


def _recurrent_diagonal(candidate: Candidate, x: Batch) -> Array:
    return np.asarray(rntk.diagonal(x, network=_elman(candidate), backend="host"))


# --- NTK of a feed-forward network -------------------------------------------------------------------------


def _feed_forward(candidate: Candidate) -> rntk.Elman:
    """The recurrent network for one step: it never uses its recurrent weights, so it is a feed-forward network."""
    return rntk.Elman(
        layers=int(candidate["depth"]), activation="relu", sigma_u=candidate["sigma_w"], sigma_b=candidate["sigma_b"]
    )


def _ntk(candidate: Candidate, x: Batch, y: Batch | None) -> Array:
    return _matrix(_feed_forward(candidate), x, y)


def _ntk_diagonal(candidate: Candidate, x: Batch) -> Array:
    return np.asarray(rntk.diagonal(x, network=_feed_forward(candidate), backend="host"))


# --- RBF and polynomial ------------------------------------------------------------------------------------


def _rbf(candidate: Candidate, x: Batch, y: Batch | None) -> Array:
    left, right = x.values, (x if y is None else y).values
    squares = np.sum(left**2, axis=1)[:, None] + np.sum(right**2, axis=1) - 2.0 * left @ right.T
    return np.asarray(np.exp(-candidate["gamma"] * np.maximum(squares, 0.0) / x.dimension))


def _polynomial(candidate: Candidate, x: Batch, y: Batch | None) -> Array:
    products = x.values @ (x if y is None else y).values.T / x.dimension
    return np.asarray((candidate["offset"] + products) ** candidate["degree"])


def _polynomial_diagonal(candidate: Candidate, x: Batch) -> Array:
    return np.asarray((candidate["offset"] + np.mean(x.values**2, axis=1)) ** candidate["degree"])


METHODS = {
    method.name: method
    for method in (
        Method(
            "rntk",
            "recurrent NTK",
            False,
            {
                "layers": (1, 2),
                "sigma_w": (1.30, 1.34, 1.37, 1.40, 2.0**0.5, 1.43, 1.47, 1.50),
                "sigma_b": (0.0, 0.1, 0.5, 1.0, 2.0),
                "sigma_h": (0.0, 0.01, 0.1, 0.5, 1.0),
            },
            {"layers": (1,), "sigma_w": (1.34, 2.0**0.5, 1.47), "sigma_b": (0.1, 1.0), "sigma_h": (0.0, 0.1)},
            _recurrent,
            _recurrent_diagonal,
        ),
        Method(
            "ntk",
            "feed-forward NTK",
            True,
            {
                "depth": (1, 2, 3, 5, 7, 10),
                "sigma_w": (1.0, 2.0**0.5, 2.0),
                "sigma_b": (0.0, 0.1, 0.5, 1.0, 2.0),
            },
            {"depth": (1, 3), "sigma_w": (2.0**0.5,), "sigma_b": (0.1, 1.0)},
            _ntk,
            _ntk_diagonal,
        ),
        Method(
            "rbf",
            "RBF",
            True,
            {"gamma": (0.01, 0.05, 0.1, 0.2, 0.5, 0.7, 1.0, 2.0, 3.0, 5.0, 10.0, 20.0, 40.0, 100.0)},
            {"gamma": (0.1, 1.0, 10.0)},
            _rbf,
            lambda _, x: np.ones(len(x)),
        ),
        Method(
            "polynomial",
            "polynomial",
            True,
            {"degree": (1, 2, 3, 4, 5), "offset": (0.0, 0.1, 0.2, 0.5, 1.0, 2.0)},
            {"degree": (1, 3), "offset": (0.0, 1.0)},
            _polynomial,
            _polynomial_diagonal,
        ),
    )
}


def named(name: str) -> Method:
    """The method with this name. Raises StudyError if it does not exist."""
    if name not in METHODS:
        raise StudyError(f"method {name!r} is not known; allowed: {', '.join(METHODS)}")
    return METHODS[name]
