"""What quadrature nodes in place of the law of a unit change, before training: of the memory, and of variances.

In one dimension nothing that counts. In several, a product of few nodes is coarse; a rich twin on such nodes has
another memory than the limit, which predictions must not take for an effect of finite width.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from rnnlimits.kernels.activations import ACTIVATIONS
from rnnlimits.theory.laws import Nodes, ParameterLaw
from rnnlimits.theory.observe import AtProbes
from rnnlimits.theory.units import UnitNodes

Array = NDArray[np.float64]

FINE = {1: 256}  # nodes that count as the law itself: a grid in one dimension, quasi-random points in others
SOBOL = 4096


@dataclass(frozen=True, eq=False)
class NodeErrors:
    """memory_error (probe, step): the memory by the nodes less the limit's. variance_error: relative, of a variance."""

    memory_error: Array
    variance_error: float

    @classmethod
    def of(cls, law: ParameterLaw, nodes: UnitNodes, directions: UnitNodes, probes: AtProbes) -> Self:
        """nodes: of rich twins; directions: those of tangents."""
        error = memory_by(law, nodes, probes.history) - probes.memory
        return cls(error, variance_error(law, directions, probes))


def memory_by(law: ParameterLaw, nodes: UnitNodes, history: Array) -> Array:
    """Memories (probe, step) along histories (probe, step, d) from zero, as means over nodes."""
    sigma = ACTIVATIONS[law.activation].value
    memory = np.zeros(history.shape[:2])
    for step in range(history.shape[1] - 1):
        hidden = sigma(history[:, step] @ nodes.w.T + memory[:, step, None])
        memory[:, step + 1] = hidden @ (nodes.weight * nodes.b)
    return memory


def variance_error(law: ParameterLaw, directions: UnitNodes, probes: AtProbes) -> float:
    """The larger relative error of two variances over one unit at the ends of the histories: of C sigma and B sigma."""
    kind = "grid" if law.dimension in FINE else "quasi-random"
    fine = law.nodes(FINE.get(law.dimension, SOBOL), kind)
    ours, exact = _variances(law, directions, probes), _variances(law, fine, probes)
    relative = [one - other for one, other in zip(ours, exact, strict=True)]
    sizes = [
        np.sqrt(np.square(error).mean() / np.square(size).mean()) for error, size in zip(relative, exact, strict=True)
    ]
    return float(max(sizes))


def _variances(law: ParameterLaw, nodes: UnitNodes | Nodes, probes: AtProbes) -> tuple[Array, Array]:
    """Of sigma, and of B sigma (probe,): the former times the variance of C is that of C sigma."""
    argument = probes.history[:, -1] @ nodes.w.T + probes.memory[:, -1, None]
    hidden = ACTIVATIONS[law.activation].value(argument)
    squared = nodes.b_squared if isinstance(nodes, Nodes) else nodes.b**2
    mean = hidden @ (nodes.weight * nodes.b)
    return hidden**2 @ nodes.weight, hidden**2 @ (nodes.weight * squared) - mean**2
