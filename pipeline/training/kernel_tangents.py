"""How the empirical kernel of a rich twin changes by training, and how that change varies over networks.

The first order in the deviation of a network's units from their law comes from tangents along all directions, and so
does the mean of the second. The mean square of the second order needs mixed derivatives along two directions: it is
that over random directions, Gaussian mass at every node, along which half the second derivative is one draw.
"""

from __future__ import annotations

import numpy as np

from rnnlimits.base.streams import Stream
from rnnlimits.kernels.interface import Array, Backend, Tangents, Trainer
from rnnlimits.study import Study
from rnnlimits.theory import observe
from rnnlimits.theory.jets import Jet
from rnnlimits.theory.kernel_response import Weights, kernel_jet
from rnnlimits.theory.units import UnitNodes
from rnnlimits.training.plan import RichBlock
from rnnlimits.training.rich import kernel_training

DRAWS = 8  # random directions of a path, each followed both ways
STEP = 1e-3  # of the differences along them: 1e-6 of rounding, and of what is left out

CHANGE = {  # dimensions after path and member, and what it is
    "ntk_drift_along": ((), "component of the kernel's change since time 0 along the limit's, of the rich twin"),
    "ntk_drift_along_second": ((), "N times its mean over networks less the rich twin's"),
    "ntk_drift_square": (("order",), "mean square of the kernel's change: coefficients of powers of 1/N"),
}


class KernelTangents:
    """One member on the paths of a block: made before training, `advance` along the paths, and `found` at the end."""

    def __init__(
        self, study: Study, be: Backend, block: RichBlock, sign: float, base: UnitNodes, ends: UnitNodes
    ) -> None:
        self._be, self._probes = be, observe.KernelAtProbes.of(study, be)
        self._training = kernel_training(study, block.twin, sign, len(base))
        self._weight, self._root = base.weight, np.sqrt(ends.weight)
        self._random, self._mass = self._filled(study, block, base)
        self._random_start = self._of_random()
        start = be.tangents(self._training, base, ends, 1)
        self._start = self._jets(start, start.probe(self.histories)[1])[0]

    @property
    def histories(self) -> Array:
        """The probe histories (P, L, d)."""
        return self._probes.history

    def _filled(self, study: Study, block: RichBlock, base: UnitNodes) -> tuple[Trainer, Array]:
        """Rich twins whose masses moved along random directions, (path, row), and their weights (path, row, Q)."""
        mass = np.stack([base.weight + STEP * random_mass(study, base.weight, int(path)) for path in block.paths])
        trainer = self._be.trainer(self._training, mass.shape[0] * mass.shape[1])
        for row in range(mass.shape[0] * mass.shape[1]):
            trainer.fill(row, base.w, base.b, base.c)
        trainer.weigh(mass.reshape(-1, len(base)))
        return trainer, mass

    def advance(self, x: Array, y: Array) -> None:
        """Random directions along a stretch of the paths: x (path, steps, d), y (path, steps)."""
        rows = self._mass.shape[1]
        self._random.run(np.repeat(x, rows, axis=0), np.repeat(y, rows, axis=0))

    def found(self, tangents: Tangents, memory: Array) -> list[dict[str, Array]]:
        """Variables of CHANGE of each path; settled tangents, with their memories (path, P, L, D + 2)."""
        self._random.settle()
        changes = self._of_random() - self._random_start
        ends = self._jets(tangents, memory)
        return [self._change(end - self._start, change) for end, change in zip(ends, changes, strict=True)]

    def _jets(self, tangents: Tangents, memory: Array) -> list[Jet]:
        """The kernel of every path."""
        of, history = self._training, self.histories
        return [
            kernel_jet(of.activation, Weights(self._weight, self._root, *units), history, along, of.depth, of.update_b)
            for *units, along in zip(*tangents.weights(), memory, strict=True)
        ]

    def _of_random(self) -> Array:
        """The kernels (path, row, P, P) of the twins along random directions."""
        memory, rows = self._random.probe(self.histories)[1], self._mass.shape[1]
        found = []
        for path, mass in enumerate(self._mass):
            own = slice(path * rows, (path + 1) * rows)
            weights = self._random.weights(own.start, rows)
            parts = observe.kernels(self._be, self._training, weights, self.histories, memory[own], mass[:, None])
            found.append(parts.trained(self._training))
        return np.stack(found)

    def _change(self, change: Jet, random: Array) -> dict[str, Array]:
        """Relative to the limit's kernel; random (row, P, P): the changes along random directions."""
        limit, square = self._probes.kernel, float(np.square(self._probes.kernel).sum())
        first = change.first.reshape(len(self._root), -1)
        first = first - self._root[:, None] * (self._root @ first)
        twice = random[1 : DRAWS + 1] + random[DRAWS + 1 :] - 2 * random[0]
        curved = 0.5 * twice / STEP**2
        orders = [
            np.square(change.value).sum(),
            (change.value * change.second).sum() + np.square(first).sum(),
            np.square(curved).sum(axis=(1, 2)).mean(),
        ]
        return {
            "ntk_drift_along": (limit * change.value).sum() / square,
            "ntk_drift_along_second": 0.5 * (limit * change.second).sum() / square,
            "ntk_drift_square": np.array(orders) / square,
        }


def random_mass(study: Study, weight: Array, path: int) -> Array:
    """Mass (2 DRAWS + 1, Q) that moves to Q nodes: none, Gaussian of the covariance of one unit's, and the opposite."""
    rng = np.random.default_rng([study.seed, int(Stream.RANDOM_MASS), path])
    moved = np.sqrt(weight) * rng.normal(size=(DRAWS, len(weight)))
    moved -= weight * moved.sum(axis=1, keepdims=True)
    return np.concatenate([np.zeros((1, len(weight))), moved, -moved])
