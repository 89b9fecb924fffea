"""Memory and hidden layer along whole histories, recorded at the checkpoints of trained networks."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import lru_cache

import numpy as np

from rnnlimits.base.streams import Stream
from rnnlimits.quantities.base import N, register
from rnnlimits.quantities.prediction import CellPrediction, Foresight, hidden_layer, of_paths
from rnnlimits.quantities.trained import (
    TrainedQuantity,
    at_every_checkpoint,
    mean_corrections,
    memory_order,
    memory_slack,
    rms_of,
    with_remark,
)
from rnnlimits.statistics.bootstrap import Array
from rnnlimits.statistics.predictions import Foreseen

DRAWS = 1024  # of the memory along each probe history: an error below 1% of a root mean square


def supremum_of(distance: Callable[[CellPrediction, Array], Array]) -> Foresight:
    """Root mean square over networks and probes of the largest distance along a history, by draws of the memory.

    The error of the memory along a history is a Gaussian field: its mean and covariance are those of the tangents.
    distance: of the errors (draw, probe, step), of the same shape.
    """

    def foreseen(cell: CellPrediction) -> Foreseen:
        largest = np.stack([distance(cell, errors).max(2) for errors in memory_errors(cell)])
        squares = np.square(largest).mean(2)  # (path, draw)
        value, of_the_paths = of_paths(squares.mean(1))
        _, of_the_draws = of_paths(squares.mean(0))
        return Foreseen(value, math.hypot(of_the_paths, of_the_draws))

    return foreseen


def memory_errors(cell: CellPrediction) -> Iterator[Array]:
    """For each path with tangents, draws (draw, probe, step) of the error of the memory along probe histories."""
    assert cell.probes is not None
    mean = cell.tangents["memory_along"] + cell.tangents["memory_along_second"] / cell.width
    modes = cell.tangents["memory_along_modes"] / cell.width**0.5
    normal = _normals(cell.seed, *modes.shape[2:4])
    for of_path, along in zip(mean[:, 0], modes[:, 0], strict=True):
        yield of_path - cell.probes.memory - cell.node_error + np.einsum("rpm,pmk->rpk", normal, along)


@lru_cache(maxsize=1)
def _normals(seed: int, probes: int, modes: int) -> Array:
    """Standard normals (draw, probe, mode), the same for all cells of a study."""
    return np.random.default_rng([seed, int(Stream.MEMORY_FIELD)]).normal(size=(DRAWS, probes, modes))


def _of_hidden_layer(cell: CellPrediction, errors: Array) -> Array:
    assert cell.probes is not None
    return cell.probes.hidden(errors.reshape(len(errors), -1)).reshape(errors.shape)


register(
    TrainedQuantity(
        name="memory_sup",
        estimator="plain",
        variable=N,
        title="Largest memory error along a history",
        sample=rms_of("final", "memory_sup"),
        predicted=supremum_of(lambda cell, errors: np.abs(errors)),
        expected=memory_order,
        corrections=mean_corrections,
        applies=with_remark("training adds a term of order N^-2(1 - beta), with a small constant"),
        slack=memory_slack,
        in_time=at_every_checkpoint,
        predicted_in_time=False,
    )
)
register(
    TrainedQuantity(
        name="hidden_h1",
        estimator="plain",
        variable=N,
        title="Error of the hidden layer in H^1(lambda)",
        sample=rms_of("final", "hidden_h1"),
        predicted=hidden_layer,
        expected=memory_order,
        corrections=mean_corrections,
        beside=(("memory_rms", "plain"),),
    )
)
register(
    TrainedQuantity(
        name="hidden_h1_sup",
        estimator="plain",
        variable=N,
        title="Largest error of the hidden layer in H^1(lambda) along a history",
        sample=rms_of("final", "hidden_h1_sup"),
        predicted=supremum_of(_of_hidden_layer),
        expected=memory_order,
        corrections=mean_corrections,
        beside=(("memory_sup", "plain"),),
    )
)
