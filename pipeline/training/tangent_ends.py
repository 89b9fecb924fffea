"""What tangents tell at the end of training beside `tangents.OBSERVED`: memories along histories, kernel, responses.

The variance of what is of second order in the deviation of a network's units from their law needs mixed second
derivatives along two nodes. Along a random direction, a Gaussian amount of mass at every node, the second derivative is
a Gaussian draw of all of them together.
"""

from __future__ import annotations

import numpy as np

from rnnlimits.base.streams import Stream
from rnnlimits.chains import paths as chains
from rnnlimits.kernels.interface import Array, Backend, Trainer
from rnnlimits.study import Study
from rnnlimits.study.grid import has_depths
from rnnlimits.theory.jets import Jet, Mean
from rnnlimits.theory.kernel_response import KernelJets, Weights, drift, kernel_jets, part_square, second_square
from rnnlimits.theory.laws import ParameterLaw
from rnnlimits.theory.observe import limit_kernel
from rnnlimits.theory.units import UnitNodes
from rnnlimits.training.plan import RichTwin
from rnnlimits.training.rich import kernel_training

MODES = 8  # of the memory's error along a history: what they leave out is below 1e-5 of its variance
DRAWS = 32  # random directions of a path

ENDS = {  # dimensions after path and member, and what it is, at the end of training
    "memory_along": (("probe", "step"), "memory along the probe histories, of the rich twin"),
    "memory_along_second": (("probe", "step"), "N times its mean over networks less the rich twin's"),
    "memory_along_modes": (("probe", "mode", "step"), "N times its covariance over networks is the sum of products"),
    "output_response": (
        ("direction", "probe"),
        "response of the output to mass at a node, times the root of its weight",
    ),
    "output_draws": (("draw", "probe"), "half the second derivative of the output along random directions"),
    "ntk_drift_along": ((), "component of the kernel's change since time 0 along the limit's, of the rich twin"),
    "ntk_drift_along_second": ((), "N times its mean over networks less the rich twin's"),
    "ntk_drift_square": (("order",), "mean square of the kernel's change: coefficients of powers of 1/N"),
    "ntk_b_square": (("order",), "mean square of the part of B: coefficients of powers of 1/N"),
    "ntk_past_square": (("order",), "mean square of what earlier steps add: coefficients of powers of 1/N"),
}


def has_draws(study: Study) -> bool:
    """Whether random directions are followed: for the kernel, and to compare two depths."""
    return study.training.kernel or has_depths(study)


class Ends:
    """One member on one path: `begin` before training, `advance` along the path, and `found` at its end.

    shared: what is the same for all paths and members of a twin, for whoever comes next.
    """

    def __init__(
        self,
        study: Study,
        be: Backend,
        twin: RichTwin,
        sign: float,
        base: UnitNodes,
        path: int,
        shared: dict[str, KernelJets],
    ) -> None:
        self._study, self._depth, self._shared, law = study, twin.depth, shared, ParameterLaw.of(study)
        self.histories = chains.probe_histories(study, be)
        memory = law.memory_path(be, self.histories, np.zeros(len(self.histories)))[:, -2]
        self._limit = limit_kernel(law, self.histories[:, -1], memory) if study.training.kernel else None
        self._starts: list[KernelJets] = []
        self._draws: Trainer | None = None
        if has_draws(study):
            self._draws = be.trainer(kernel_training(study, twin, sign, len(base), True), DRAWS)
            for row in range(DRAWS):
                self._draws.fill(row, base.w, base.b, base.c)
            self._mass = random_mass(study, base.weight, path)
            self._draws.weigh(self._mass)

    def begin(self, trainer: Trainer, mass: Array) -> None:
        """Keep the initial kernels of a trainer that follows directions to nodes, and of that of random ones."""
        if self._limit is not None and self._draws:
            if "start" not in self._shared:
                self._shared["start"] = self._kernels(trainer, mass, trainer.probe(self.histories)[1])
            random = self._kernels(self._draws, self._mass, self._draws.probe(self.histories)[1])
            self._starts = [self._shared["start"], random]

    def advance(self, x: Array, y: Array) -> None:
        """Random directions along a stretch of the path: x (1, steps, d), y (1, steps)."""
        if self._draws:
            self._draws.run(*(np.broadcast_to(a, (DRAWS, *a.shape[1:])) for a in (x, y)))

    def found(self, trainer: Trainer, mass: Array, ends: UnitNodes, output: Array, memory: Array) -> dict[str, Array]:
        """Variables of ENDS, from the outputs (direction, probe, 3) and memories (direction, probe, step, 3)."""
        mean, root = Mean.of(Jet.of(memory), ends.weight), np.sqrt(ends.weight)
        response = Mean.of(Jet.of(output), ends.weight).first
        found = {
            "memory_along": mean.value,
            "memory_along_second": mean.second,
            "memory_along_modes": modes(np.einsum("q,qpk->pqk", root, mean.first)),
        }
        if self._draws:
            self._draws.settle()
            found["output_response"] = root[:, None] * response
            found["output_draws"] = 0.5 * self._draws.probe(self.histories)[0][..., 2]
        if self._limit is not None and self._draws:
            random = self._kernels(self._draws, self._mass, self._draws.probe(self.histories)[1])
            found.update(self._kernel(self._limit, [self._kernels(trainer, mass, memory), random], ends.weight))
        return found

    def _kernels(self, trainer: Trainer, mass: Array, memory: Array) -> KernelJets:
        """The kernel of a settled trainer along its directions, with their memories."""
        weights = Weights(mass, *trainer.weights(0, len(mass)))
        activation, update_b = self._study.network.activation, self._study.training.update_b
        return kernel_jets(activation, weights, self.histories, memory, self._depth, update_b)

    def _kernel(self, limit: Array, ends: list[KernelJets], weight: Array) -> dict[str, Array]:
        (start, random_start), (end, random_end) = self._starts, ends
        along, square = drift(start, end, limit, weight)
        square[2] = second_square(random_start, random_end, limit)
        mean = Mean.of(along, weight)
        return {
            "ntk_drift_along": mean.value,
            "ntk_drift_along_second": mean.second,
            "ntk_drift_square": square,
            "ntk_b_square": part_square(end.b, limit, weight),
            "ntk_past_square": part_square(end.past, limit, weight),
        }


def random_mass(study: Study, weight: Array, path: int) -> Array:
    """Weights (DRAWS, Q, 3) of Q nodes as functions of s: s times Gaussian mass of the covariance of one unit's."""
    rng = np.random.default_rng([study.seed, int(Stream.RANDOM_MASS), path])
    root = np.sqrt(weight)
    moved = root * rng.normal(size=(DRAWS, len(weight)))
    mass = np.zeros((DRAWS, len(weight), 3))
    mass[..., 0], mass[..., 1] = weight, moved - weight * moved.sum(axis=1, keepdims=True)
    return mass


def modes(responses: Array) -> Array:
    """The leading MODES (probe, mode, step) of responses (probe, direction, step): their products sum to theirs."""
    _, size, vectors = np.linalg.svd(responses, full_matrices=False)
    found = np.zeros((len(responses), MODES, responses.shape[2]))
    count = min(MODES, size.shape[1])
    found[:, :count] = size[:, :count, None] * vectors[:, :count]
    return found
