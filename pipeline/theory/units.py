"""A quadrature over the law of one unit (C, W, B): the nodes of a rich twin, and those to which tangents move mass.

Source: docs/model.md, "Finite width". Everything here is float64.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray
from scipy.special import roots_hermitenorm, roots_legendre

from rnnlimits.theory.laws import Nodes, ParameterLaw

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class UnitNodes:
    """E h(C, W, B) ~ sum_q weight_q h(c_q, w_q, b_q): w (Q, d), b, c, weight (Q,), the weights of sum 1.

    opposite (Q,): the number of the node with -C in place of C, None where -C has another law.
    """

    w: Array
    b: Array
    c: Array
    weight: Array
    opposite: NDArray[np.intp] | None

    @classmethod
    def product(cls, law: ParameterLaw, nodes: Nodes, c_nodes: int, b_nodes: int) -> Self:
        """The product of nodes of W with Gauss nodes of C (its atoms, if it has two) and of the noise of B."""
        c, c_weight = c_rule(law, c_nodes)
        noise, b_weight = roots_hermitenorm(b_nodes) if law.noise else (np.zeros(1), np.ones(1))
        of_b = nodes.b[:, None] + law.noise * noise
        shape = (len(nodes.w), len(noise), len(c))
        weights = (nodes.weight[:, None, None], (b_weight / b_weight.sum())[:, None], c_weight)
        size = int(np.prod(shape))
        numbers = np.arange(size).reshape(shape)
        return cls(
            w=np.repeat(nodes.w, shape[1] * shape[2], axis=0),
            b=np.repeat(of_b.reshape(-1), shape[2]),
            c=np.tile(c, shape[0] * shape[1]),
            weight=(weights[0] * weights[1] * weights[2]).reshape(-1),
            opposite=numbers[:, :, ::-1].reshape(-1) if law.symmetric_c else None,
        )

    def __len__(self) -> int:
        return len(self.c)


def c_rule(law: ParameterLaw, count: int) -> tuple[Array, Array]:
    """Nodes of the law of C, ascending, and their weights, of sum 1: at most `count`, two for a two-point law."""
    if law.c_kind == "gaussian":
        points, weight = roots_hermitenorm(count)
    elif law.c_kind == "uniform":
        points, weight = roots_legendre(count)
        points = np.sqrt(3.0) * points
    else:
        odds = np.sqrt((1 - law.c_probability) / law.c_probability)
        points, weight = np.array([-1 / odds, odds]), np.array([1 - law.c_probability, law.c_probability])
    return law.c_std * points, weight / weight.sum()
