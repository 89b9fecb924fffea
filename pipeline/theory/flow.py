"""Solution of the limit: g_t on the probe histories as a linear flow in feature space, its loss, and their errors.

Source: docs/model.md sections 4 and 5. This module only computes; pipeline/training/limit.py handles the files.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rnnlimits.chains import paths as chains
from rnnlimits.kernels.activations import ACTIVATIONS
from rnnlimits.kernels.interface import Backend
from rnnlimits.study import Study
from rnnlimits.theory.laws import Nodes, ParameterLaw, normal_grid, product_rule
from rnnlimits.theory.moments import Moments, jackknife_error, leave_one_out, pooled

Array = NDArray[np.float64]

FINE_TIMES = 129  # points of the curves between the checkpoints
NULL = 1e-13  # eigenvalues below this times the largest are rounding errors, and do not contribute to the floor
NODE_GROUPS = 8  # stretches of a quasi-random sequence, left out in turn


@dataclass(frozen=True, eq=False)
class Flow:
    """d theta/dt = alpha (b - A theta), theta_0 = 0, in the eigenbasis of A. Source: eq. (29).

    eigenvalue (F,) descending; vector (F, F) columns; along (F,) = vector^T b; y2 = E y^2; alpha the rate.
    """

    eigenvalue: Array
    vector: Array
    along: Array
    y2: float
    alpha: float

    @classmethod
    def of(cls, moments: Moments, alpha: float) -> Flow:
        """The flow that the moments drive."""
        values, vectors = np.linalg.eigh(moments.a)
        values, vectors = values[::-1], vectors[:, ::-1]
        return cls(values, vectors, vectors.T @ moments.b, moments.y2, alpha)

    def gain(self, time: Array) -> Array:
        """(1 - exp(-alpha lambda t))/lambda, (T, F) for times (T,); alpha t where lambda is 0."""
        decay = self.alpha * self.eigenvalue * time[:, None]
        safe = np.where(decay == 0, 1.0, decay)
        return np.asarray(self.alpha * time[:, None] * np.where(decay == 0, 1.0, -np.expm1(-safe) / safe))

    def theta(self, time: Array) -> Array:
        """theta_t (T, F) at times (T,)."""
        return np.asarray((self.gain(time) * self.along) @ self.vector.T)

    def output(self, time: Array, phi: Array) -> Array:
        """g_t (T, n) at features phi (n, F)."""
        return np.asarray((self.gain(time) * self.along) @ (phi @ self.vector).T)

    def loss(self, time: Array) -> Array:
        """E (g_t - y)^2, (T,). Source: eq. (30)."""
        gain = self.gain(time)
        return np.asarray(self.y2 + ((self.eigenvalue * gain - 2) * gain) @ self.along**2)

    def floor(self) -> float:
        """The loss as t grows without bound."""
        resolved = self.eigenvalue > NULL * self.eigenvalue[0]
        return float(self.y2 - np.sum(self.along[resolved] ** 2 / self.eigenvalue[resolved]))


@dataclass(frozen=True, eq=False)
class Draws:
    """Results of the draw stage: nodes with moments by block, and for a product rule a second set, for its error."""

    nodes: Nodes
    blocks: list[Moments]
    exact: bool
    check_nodes: Nodes | None = None
    check: Moments | None = None


@dataclass(frozen=True, eq=False)
class Probes:
    """Probe histories (n, L, d), the memory (n,) at their last step, and its change under a finer quadrature."""

    history: Array
    memory: Array
    memory_error: Array

    @property
    def last(self) -> Array:
        """The input (n, d) at which the output is read."""
        return self.history[:, -1]


@dataclass(frozen=True, eq=False)
class Limit:
    """Curves and their errors; field names and shapes are those of limit.h5 (docs/format.md)."""

    time: Array
    fine_time: Array
    output: Array
    output_error_draws: Array
    output_error_nodes: Array
    output_fine: Array
    loss: Array
    loss_error_draws: Array
    loss_floor: float
    eigenvalue: Array


def kernel(law: ParameterLaw, x: Array, m: Array, x2: Array, m2: Array, nodes: int = 96) -> Array:
    """Kern(h, h') for h = (x, m) (n, d), (n,) and h' = (x2, m2) (k, d), (k,); returns (n, k). Source: eq. (22).

    Normal W: a two-dimensional quadrature with nodes^2 points for each pair, whatever d. Other laws: the nodes of
    the memory map.
    """
    result = np.empty((len(m), len(m2)))
    pair = _normal_pair if law.w_kind == "gaussian" else _node_pair
    for i in range(len(m)):
        for j in range(len(m2)):
            a, a2, weight = pair(law, x[i], x2[j], nodes)
            result[i, j] = _kernel_of(law, a + m[i], a2 + m2[j], weight, float(x[i] @ x2[j]))
    return result


def _normal_pair(law: ParameterLaw, x: Array, x2: Array, nodes: int) -> tuple[Array, Array, Array]:
    """Quadrature for (W.x, W.x2), a normal pair that may be degenerate."""
    points, weight = product_rule(*normal_grid(nodes), 2)
    both = np.stack([x, x2])
    spread = both @ law.factor
    values, vectors = np.linalg.eigh(spread @ spread.T)
    pair = (both @ law.mean)[:, None] + (vectors * np.sqrt(np.clip(values, 0, None))) @ points.T
    return pair[0], pair[1], weight


def _node_pair(law: ParameterLaw, x: Array, x2: Array, nodes: int) -> tuple[Array, Array, Array]:
    """(W.x, W.x2) at nodes of the law of W."""
    chosen = law.nodes(nodes**2, "quasi-random")
    return chosen.w @ x, chosen.w @ x2, chosen.weight


def _kernel_of(law: ParameterLaw, a: Array, a2: Array, weight: Array, inner: float) -> float:
    sigma = ACTIVATIONS[law.activation]
    value = weight @ (sigma.value(a) * sigma.value(a2))
    return float(value + law.variance_c * inner * (weight @ (sigma.slope(a) * sigma.slope(a2))))


def probes_of(study: Study, law: ParameterLaw, be: Backend) -> Probes:
    """The probe histories of a study with the limit memory at their last step, starting from 0."""
    history = np.asarray(chains.probe_histories(study, be), dtype=np.float64)
    start = np.zeros(len(history))
    memory = law.memory_path(be, history, start)[:, -2]
    finer = law.memory_path(be, history, start, refine=2)[:, -2]
    return Probes(history, memory, np.abs(finer - memory))


def solve(draws: Draws, law: ParameterLaw, probes: Probes, time: Array, alpha: float) -> Limit:
    """The limit on probe histories at times (T,), with its errors from draws and from nodes."""
    phi = law.features(draws.nodes, probes.last, probes.memory)
    every = pooled(draws.blocks)
    flow = Flow.of(every, alpha)
    fine = np.linspace(0.0, float(time[-1]), FINE_TIMES)
    parts = [leave_one_out(draws.blocks, every, i) for i in range(len(draws.blocks))] if not draws.exact else []
    rest = [Flow.of(part, alpha) for part in parts] or [flow]
    output = flow.output(time, phi)
    return Limit(
        time=time,
        fine_time=fine,
        output=output,
        output_error_draws=jackknife_error(np.stack([part.output(time, phi) for part in rest])),
        output_error_nodes=node_error(draws, every, law, probes, output, time, alpha),
        output_fine=flow.output(fine, phi),
        loss=flow.loss(fine),
        loss_error_draws=jackknife_error(np.stack([part.loss(fine) for part in rest])),
        loss_floor=flow.floor(),
        eigenvalue=flow.eigenvalue,
    )


def node_error(
    draws: Draws, every: Moments, law: ParameterLaw, probes: Probes, output: Array, time: Array, alpha: float
) -> Array:
    """The error of output (T, n) due to the finite number of nodes. Source: docs/model.md section 5.

    For a product rule it is the difference from the second set, about twice the error. For quasi-random nodes it is the
    jackknife over consecutive stretches of the sequence, each of which is spread evenly over the law.
    """
    if draws.check is not None and draws.check_nodes is not None:
        phi = law.features(draws.check_nodes, probes.last, probes.memory)
        return np.abs(Flow.of(draws.check, alpha).output(time, phi) - output)
    phi = law.features(draws.nodes, probes.last, probes.memory)
    count = len(draws.nodes.weight)
    groups = np.array_split(np.arange(count), min(NODE_GROUPS, count))
    parts = [without_nodes(every, phi, np.delete(np.arange(count), group), count) for group in groups]
    return jackknife_error(np.stack([Flow.of(rest, alpha).output(time, part) for rest, part in parts]))


def without_nodes(every: Moments, phi: Array, remaining: NDArray[np.intp], count: int) -> tuple[Moments, Array]:
    """Moments and features (n, F') on `remaining` of `count` nodes of equal weight, rescaled to sum to 1."""
    columns = np.arange(phi.shape[1]).reshape(-1, count)[:, remaining].reshape(-1)
    scale = count / len(remaining)
    a, b = every.a[np.ix_(columns, columns)] * scale, every.b[columns] * np.sqrt(scale)
    return Moments(a, b, every.y2, every.weight), phi[:, columns] * np.sqrt(scale)
