"""Random data for one training step, shared by the tests of host and device."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rnnlimits.kernels.interface import Array, Backend, Trainer, Training


@dataclass(frozen=True)
class Data:
    """Initial weights and one path for each replica, and histories to probe with."""

    w: Array
    b: Array
    c: Array
    x: Array
    y: Array
    histories: Array

    @classmethod
    def draw(cls, training: Training, replicas: int, steps: int) -> Data:
        rng = np.random.default_rng([training.width, training.dimension, training.depth])
        n, d = training.width, training.dimension
        w = rng.normal(size=(replicas, n, d))
        b = 0.2 + 0.6 * w[:, :, 0] + 0.1 * rng.normal(size=(replicas, n))
        c = rng.uniform(-1.7, 1.7, (replicas, n))
        x = 0.7 * rng.normal(size=(replicas, steps, d))
        y = np.sin(x).sum(axis=2) + rng.normal(size=(replicas, steps))
        return cls(w, b, c, x, y, 0.7 * rng.normal(size=(3, 5, d)))

    def fill(self, trainer: Trainer) -> Trainer:
        for replica in range(len(self.w)):
            trainer.fill(replica, self.w[replica], self.b[replica], self.c[replica])
        return trainer


@dataclass(frozen=True)
class Outcome:
    """Everything that a trainer shows."""

    squared_error: Array
    output: Array
    memory: Array
    drift: tuple[Array, Array, Array]  # of w, b and c, replicas first

    @classmethod
    def of(cls, trainer: Trainer, data: Data, squared_error: Array | None = None) -> Outcome:
        losses = trainer.run(data.x, data.y) if squared_error is None else squared_error
        trainer.settle()
        output, memory = trainer.probe(data.histories)
        drifts = [trainer.drift(replica) for replica in range(len(output))]
        w, b, c = (np.stack([drift[i] for drift in drifts]) for i in range(3))
        return cls(losses, output, memory, (w, b, c))

    def arrays(self) -> dict[str, Array]:
        names = ("drift of w", "drift of b", "drift of c")
        shown = {"squared error": self.squared_error, "output": self.output, "memory": self.memory}
        return shown | dict(zip(names, self.drift, strict=True))


def distance(ours: Outcome, theirs: Outcome) -> dict[str, float]:
    """Largest differences, each relative to the larger of 1 and the largest value."""
    pairs = zip(ours.arrays().items(), theirs.arrays().values(), strict=True)
    return {name: float(np.abs(a - b).max() / max(1.0, np.abs(b).max())) for (name, a), b in pairs}


def train(be: Backend, training: Training, data: Data) -> Outcome:
    return Outcome.of(data.fill(be.trainer(training, len(data.w))), data)
