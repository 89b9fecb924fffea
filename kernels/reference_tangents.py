"""The definition of tangents in NumPy: derivatives of rich twins by their masses, as differences of whole trainings."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from rnnlimits.kernels.interface import Array, Trainer, Training, Weighted

# Central differences of eighth order, for the derivatives by s at 0 from values at multiples of a spacing.
POINTS = np.arange(-4, 5)
FIRST = np.array([3, -32, 168, -672, 0, 672, -168, 32, -3]) / 840
SECOND = np.array([-9, 128, -1008, 8064, -14350, 8064, -1008, 128, -9]) / 5040
MIDDLE = 4
SPACING = (
    0.01  # the second derivative has 1e-11 of rounding, and about 1e-11 of what is left out where it is of order 1
)


class DifferenceTangents:
    """See interface.Tangents, in terms of the trainer of any back end: rich twins with one more node of the mass s."""

    def __init__(
        self, trainer: Trainer, nodes: Weighted, ends: Weighted, replicas: int, spacing: float = SPACING
    ) -> None:
        """trainer: see `rows`."""
        self._trainer, self._ends, self._replicas, self._spacing = trainer, ends, replicas, spacing
        self._rows = replicas * len(ends.b) * len(POINTS)
        of_row = np.tile(np.repeat(np.arange(len(ends.b)), len(POINTS)), replicas)
        for row, end in enumerate(of_row):
            w, b, c = (np.append(getattr(nodes, name), getattr(ends, name)[[end]], axis=0) for name in "wbc")
            trainer.fill(row, w, b, c)
        mass = spacing * np.tile(POINTS, replicas * len(ends.b))[:, None]
        self._weight = np.concatenate([(1 - mass) * nodes.weight, mass], axis=1)
        trainer.weigh(self._weight)

    @staticmethod
    def rows(training: Training, nodes: Weighted, ends: Weighted, replicas: int) -> tuple[Training, int]:
        """The training and the number of rich twins that the trainer needs."""
        return replace(training, width=len(nodes.b) + 1), replicas * len(ends.b) * len(POINTS)

    def _derived(self, values: Array) -> Array:
        """Results (R, ..., D + 2) of the values (row, ...) of all rich twins."""
        points = values.reshape(self._replicas, len(self._ends.b), len(POINTS), *values.shape[1:])
        return np.stack([self._derived_once(one) for one in points])  # one by one, so that sums have one order

    def _derived_once(self, points: Array) -> Array:
        """Results (..., D + 2) of the values (direction, point, ...) of one replica."""
        first = np.einsum("q,qp...,p->...q", np.sqrt(self._ends.weight), points, FIRST / self._spacing)
        second = np.einsum("q,qp...,p->...", self._ends.weight, points, SECOND / self._spacing**2)
        return np.concatenate([points[0, MIDDLE, ..., None], first, second[..., None]], axis=-1)

    def run(self, x: Array, y: Array) -> Array:
        """See interface.Tangents.run."""
        times = self._rows // self._replicas
        return self._derived(self._trainer.run(np.repeat(x, times, axis=0), np.repeat(y, times, axis=0)))

    def settle(self) -> None:
        """See interface.Tangents.settle."""
        self._trainer.settle()

    def probe(self, histories: Array) -> tuple[Array, Array]:
        """See interface.Tangents.probe."""
        output, memory = self._trainer.probe(histories)
        return self._derived(output), self._derived(memory)

    def weights(self) -> tuple[Array, Array]:
        """See interface.Tangents.weights."""
        w, b, c = self._trainer.weights(0, self._rows)
        every = np.concatenate([w, b[..., None], c[..., None]], axis=-1)
        points = every[:, -1].reshape(self._replicas, len(self._ends.b), len(POINTS), -1)
        first = np.einsum("q,rqpj,p->rqj", np.sqrt(self._ends.weight), points, FIRST / self._spacing)
        return self._derived(every[:, :-1]), np.stack([points[:, :, MIDDLE], first], axis=-1)

    def square_drifts(self) -> Array:
        """See interface.Tangents.square_drifts."""
        squares = np.empty((self._rows, 3))
        for row, weight in enumerate(self._weight):
            w, b, c = self._trainer.drift(row)
            squares[row] = [weight @ values for values in ((w**2).sum(axis=1), b**2, c**2)]
        return self._derived(squares)
