"""Rich twins whose tangents are followed: nodes, ends of directions, paths, and all that tangents show of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from processors import reference

from rnnlimits.kernels.interface import Array, Backend, Tangents, Training
from rnnlimits.kernels.reference import ReferenceTrainer
from rnnlimits.kernels.reference_tangents import DifferenceTangents

NODES, PATHS, STEPS, HISTORY = 21, 2, 30, (3, 5)


def rich(activation: str, depth: int, dimension: int, update_b: bool, level: float) -> Training:
    """A rate of eps^2 / 20 a step, so that a few steps change much."""
    return Training(
        NODES, dimension, 1.0, 20, activation, 1.5, depth, update_b=update_b, richness=0.35, level=level
    )  # fmt: skip


@dataclass(frozen=True)
class Points:
    """Nodes with weights of sum 1 (interface.Weighted)."""

    w: Array
    b: Array
    c: Array
    weight: Array

    @classmethod
    def draw(cls, count: int, dimension: int, seed: int) -> Points:
        rng = np.random.default_rng(seed)
        w, weight = rng.normal(size=(count, dimension)), rng.uniform(0.2, 3.0, count)
        b, c = 0.2 + 0.6 * w[:, 0], rng.uniform(-1.7, 1.7, count)
        return cls(w, b + 0.1 * rng.normal(size=count), c, weight / weight.sum())


@dataclass(frozen=True)
class Case:
    """A rich twin, the ends of its directions, paths (R, steps, d) and (R, steps), and histories."""

    training: Training
    nodes: Points
    ends: Points
    x: Array
    y: Array
    histories: Array

    @classmethod
    def draw(
        cls, training: Training, directions: int, paths: int = PATHS, steps: int = STEPS, nodes: int = NODES
    ) -> Case:
        rng, d = np.random.default_rng(directions), training.dimension
        x = 0.7 * rng.normal(size=(paths, steps, d))
        y = np.sin(x).sum(axis=2) + rng.normal(size=(paths, steps))
        ends = Points.draw(nodes, d, 1), Points.draw(directions, d, 2)
        return cls(training, *ends, x, y, 0.7 * rng.normal(size=(*HISTORY, d)))

    def shown(self, be: Backend, first: int = 9, often: bool = True) -> dict[str, Array]:
        """Everything that tangents of a back end show, after `first` steps and the others; see `of`."""
        return self.cut(be, [n for n in (first, self.y.shape[1] - first) if n], often)

    def cut(self, be: Backend, lengths: Sequence[int], often: bool = False) -> dict[str, Array]:
        """The same after segments of these lengths."""
        return self.of(be, be.tangents(self.training, self.nodes, self.ends, len(self.x)), lengths, often)

    def defined(self, spacing: float) -> dict[str, Array]:
        """By differences of this spacing."""
        of_twins = ReferenceTrainer(*DifferenceTangents.rows(self.training, self.nodes, self.ends, len(self.x)))
        tangents = DifferenceTangents(of_twins, self.nodes, self.ends, len(self.x), spacing)
        return self.of(reference, tangents, [9, self.y.shape[1] - 9], True)

    def paths(self, rows: slice) -> Case:
        """Some of the paths alone."""
        return replace(self, x=self.x[rows], y=self.y[rows])

    def of(self, be: Backend, tangents: Tangents, lengths: Sequence[int], often: bool) -> dict[str, Array]:
        """Everything that tangents show after segments; often: the update is applied after each of them."""
        x, y, errors, done = be.array(self.x), be.array(self.y), [], 0
        for length in lengths:
            part = slice(done, done + length)
            errors.append(be.numpy(tangents.run(x[:, part], y[:, part])))
            done += length
            if often:
                tangents.settle()
        tangents.settle()
        output, memory = tangents.probe(self.histories)
        squares = tangents.square_drifts()
        of_nodes, of_ends = tangents.weights()
        return {
            "squared error": np.concatenate(errors, axis=1), "output": output, "memory": memory[:, :, 1:],
            "weights": of_nodes, "weights of ends": np.concatenate([of_ends, of_ends[..., 1:]], axis=-1),
            "drift of w": squares[:, 0], "drift of b": squares[:, 1], "drift of c": squares[:, 2],
        }  # fmt: skip


SHAPES = [("tanh", 1, 1, True, 0.0), ("erf", 3, 2, True, 0.1), ("logistic", 2, 3, False, 0.0)]


def distance(ours: dict[str, Array], theirs: dict[str, Array]) -> float:
    """The largest difference of values, first and second derivatives, each relative to the largest of its kind."""
    parts = (slice(0, 1), slice(1, -1), slice(-1, None))
    pairs = [(ours[name][..., part], theirs[name][..., part]) for name in theirs for part in parts]
    return max(float(np.abs(a - b).max() / max(np.abs(b).max(), 1e-30)) for a, b in pairs)


def equal(ours: dict[str, Array], theirs: dict[str, Array], rows: slice = slice(None)) -> bool:
    """The same bits, of the paths `rows` of theirs?"""
    return all(np.array_equal(values, theirs[name][rows]) for name, values in ours.items())
