"""Observations at a checkpoint of the hidden layer and of the kernel: finite networks against the limit on probes.

Source: docs/theory/memory_and_kernel.md. Memories and distances are float64; kernels are summed in the training's
precision, on the back end, replica by replica, so that results do not depend on how replicas are cut into blocks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from rnnlimits.chains import paths as chains
from rnnlimits.kernels.activations import ACTIVATIONS
from rnnlimits.kernels.interface import Array, Backend, Trainer, Training
from rnnlimits.study import Study
from rnnlimits.theory import flow
from rnnlimits.theory.laws import PROJECTION_NODES, Nodes, ParameterLaw, normal_grid

AXIS_NODES = {"gaussian": {1: 128, 2: 96}, "uniform": {1: 96, 2: 48, 3: 24}}  # per axis: errors near rounding
SOBOL_NODES = 2**14  # if a product would be too large: errors of 1e-4
DEGREE = 15  # of the distance's polynomial in the difference of memories, for |difference| <= REACH; odd: see `of`
IN_CACHE = 2**14  # differences whose distances are computed at once
REACH = 0.5  # sigma is analytic at least in the strip of half-width pi/2: an error of about (3.14 + 3.30)^-16 = 1e-13
MODES = 3  # leading eigenvalues of the kernel that are recorded
CHUNK_VALUES = 2**15  # hidden values of one layer at a time, so that they stay in cache
NULL = 1e-12  # an eigenvalue below this fraction of the largest is rounding error

Variables = dict[str, tuple[tuple[str, ...], str]]

MEMORY: Variables = {  # dimensions after replica and time, and long name
    "memory_sup": (("probe",), "largest |M^N_k - M_k| over the steps of a probe history"),
    "hidden_h1": (("probe",), "H^1(lambda) distance of the hidden layer from the limit's, at the last step"),
    "hidden_h1_sup": (("probe",), "the same, largest over the steps of a probe history"),
}
KERNEL: Variables = {
    "ntk_error": ((), "empirical tangent kernel on the probes against the limit's, relative Frobenius distance"),
    "ntk_eigenvalue_error": (("mode",), "leading eigenvalues of the empirical kernel over the limit's, less 1"),
    "ntk_b_part": ((), "kernel of the gradient with respect to B at depth 1, relative Frobenius norm"),
    "ntk_past_part": ((), "what a depth of max(tau, 2) adds to the kernel of depth 1, relative Frobenius norm"),
    "ntk_drift": ((), "change of the empirical kernel since time 0, relative Frobenius norm"),
    "ntk_drift_along": ((), "component of that change along the limit's kernel, relative to it; signed"),
}


# --- the limit on the probes -----------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class SobolevDistance:
    """|| sigma(w.x + m + delta) - sigma(w.x + m) ||_{H^1(lambda)} at n points (x, m), as a function of delta.

    Function and w-gradient, integrated over the law of W. The square over delta^2 is smooth: a polynomial in delta on
    [-REACH, REACH] for each point, coefficient (DEGREE + 1, n); beyond, `_squares` integrates again.
    argument (n, Q) = w.x + m at nodes; weight (Q,); square_x (n,) = |x|^2.
    """

    activation: str
    argument: Array
    weight: Array
    square_x: Array
    coefficient: Array

    @classmethod
    def of(cls, law: ParameterLaw, x: Array, m: Array) -> SobolevDistance:
        """The distance at the points x (n, d), m (n,)."""
        argument, weight = _arguments(law, x)
        empty = np.zeros((DEGREE + 1, len(m)))
        blank = cls(law.activation, argument + m[:, None], weight, np.sum(x**2, axis=1), empty)
        # The number of Chebyshev points is even, so that none is at 0, where the ratio is 0/0.
        at = REACH * np.cos(np.pi * (np.arange(DEGREE + 1) + 0.5) / (DEGREE + 1))
        ratio = np.stack([blank._squares(delta) / delta**2 for delta in at])
        basis = np.polynomial.polynomial.polyvander(at / REACH, DEGREE)
        return replace(blank, coefficient=np.linalg.solve(basis, ratio))

    def __call__(self, delta: Array) -> Array:
        """Distances for delta (..., n)."""
        ratio = _horner(self.coefficient, np.clip(delta / REACH, -1.0, 1.0))
        distance = np.abs(delta) * np.sqrt(np.maximum(ratio, 0.0))
        for place in np.argwhere(np.abs(delta) > REACH):  # a few, in networks of a few units
            point = slice(place[-1], place[-1] + 1)
            distance[tuple(place)] = np.sqrt(self._squares(float(delta[tuple(place)]), point)[0])
        return distance

    def _squares(self, delta: float, points: slice = slice(None)) -> Array:
        """The squared distances at some points, integrated."""
        sigma, a = ACTIVATIONS[self.activation], self.argument[points]
        value = np.sum(self.weight * (sigma.value(a + delta) - sigma.value(a)) ** 2, axis=1)
        slope = np.sum(self.weight * (sigma.slope(a + delta) - sigma.slope(a)) ** 2, axis=1)
        return np.asarray(value + self.square_x[points] * slope)


def _horner(coefficient: Array, u: Array) -> Array:
    """sum_j coefficient_j u^j for coefficient (J, n), u (..., n): as many rows at a time as stay in cache."""
    rows = u.reshape(-1, u.shape[-1])
    sums, at_once = np.empty(rows.shape), max(1, IN_CACHE // u.shape[-1])
    for first in range(0, len(rows), at_once):
        part, total = rows[first : first + at_once], sums[first : first + at_once]
        np.multiply(coefficient[-1], part, out=total)
        for row in coefficient[-2:0:-1]:
            total += row
            total *= part
        total += coefficient[0]
    return sums.reshape(u.shape)


def _arguments(law: ParameterLaw, x: Array) -> tuple[Array, Array]:
    """W.x at nodes (n, Q) for x (n, d), and weights (Q,). Normal W: W.x is normal, one dimension is enough."""
    if law.w_kind == "gaussian":
        points, weight = normal_grid(4 * PROJECTION_NODES)  # the slope is sharper than the functions for these nodes
        location, coordinates, _ = law.memory_inputs(x)
        return location[:, None] + coordinates * points, weight
    nodes = _nodes(law)
    return x @ nodes.w.T, nodes.weight


def _nodes(law: ParameterLaw) -> Nodes:
    """Nodes of the law of W, whose error is below that of any finite width."""
    axis = AXIS_NODES[law.w_kind].get(law.dimension)
    return law.nodes(axis**law.dimension, "grid") if axis else law.nodes(SOBOL_NODES, "quasi-random")


def limit_kernel(law: ParameterLaw, x: Array, m: Array) -> Array:
    """Kern (n, n) at h = (x, m) (n, d), (n,). Source: docs/model.md, eq. (22).

    Errors are near rounding for normal W (products of nodes, or one quadrature for each pair where d > 2) and uniform W
    with d <= 3; beyond, Sobol points leave about 1e-4.
    """
    if law.w_kind == "gaussian" and law.dimension not in AXIS_NODES["gaussian"]:
        return flow.kernel(law, x, m, x, m, nodes=128)
    phi = law.features(_nodes(law), x, m)
    return np.asarray(phi @ phi.T)


@dataclass(frozen=True, eq=False)
class AtProbes:
    """The limit along the probe histories (P, L, d): memory (P, L), distances at all P L points, kernel at the ends."""

    history: Array
    memory: Array
    hidden: SobolevDistance
    kernel: Array

    @classmethod
    def of(cls, study: Study, be: Backend) -> AtProbes:
        """The limit along the study's probe histories; `be` has NumPy arrays (kernels.on_processor)."""
        law, history = ParameterLaw.of(study), chains.probe_histories(study, be)
        memory = law.memory_path(be, history, np.zeros(len(history)))[:, :-1]
        hidden = SobolevDistance.of(law, history.reshape(-1, study.dimension), memory.reshape(-1))
        return cls(history, memory, hidden, limit_kernel(law, history[:, -1], memory[:, -1]))


class KernelAtProbes(NamedTuple):
    """The probe histories (P, L, d), and the limit's kernel (P, P) at their ends."""

    history: Array
    kernel: Array

    @classmethod
    def of(cls, study: Study, be: Backend) -> KernelAtProbes:
        """Of a study; `be` has NumPy arrays (kernels.on_processor)."""
        law, history = ParameterLaw.of(study), chains.probe_histories(study, be)
        memory = law.memory_path(be, history, np.zeros(len(history)))[:, -2]
        return cls(history, limit_kernel(law, history[:, -1], memory))


# --- memory and hidden layer -----------------------------------------------------------------------------------


def memory_and_hidden(probes: AtProbes, memory: Array) -> dict[str, Array]:
    """Finite memory (R, P, L) along the probe histories against the limit's: the variables MEMORY, (R, P)."""
    delta = memory - probes.memory
    distance = probes.hidden(delta.reshape(len(delta), -1)).reshape(delta.shape)
    return {
        "memory_sup": np.abs(delta).max(axis=2),
        "hidden_h1": distance[..., -1],
        "hidden_h1_sup": distance.max(axis=2),
    }


# --- the empirical tangent kernel ------------------------------------------------------------------------------


class Kernels(NamedTuple):
    """Parts (n, P, P) of N^(2 beta - 1) times the Gram matrix of output gradients; float64, NumPy arrays.

    direct: C and W of the last layer. b: B at depth 1. past_w, past_b: what a depth of max(tau, 2) adds to them.
    """

    direct: Array
    b: Array
    past_w: Array
    past_b: Array

    def trained(self, training: Training) -> Array:
        """The kernel of the parameters that this training moves, at its depth."""
        deep = training.depth > 1
        total = self.direct + (self.past_w if deep else 0.0)
        return np.asarray(total + (self.b + (self.past_b if deep else 0.0) if training.update_b else 0.0))


class _Layers(NamedTuple):
    """The last layers, latest first: inputs (P, d), values and (except of the last) slopes (n, P, N)."""

    x: list[Any]
    value: list[Any]
    slope: list[Any]


def kernels(
    be: Backend,
    training: Training,
    weights: tuple[Array, Array, Array],
    history: Array,
    memory: Array,
    mass: Array | None = None,
) -> Kernels:
    """The empirical kernel of frozen networks at the ends of histories (P, L, d), with their memories (n, P, L).

    weights: w (n, N, d), b (n, N), c (n, N), arrays of the back end, whose precision is used; others: NumPy arrays.
    mass (N,) or (n, 1, N): the weights of the nodes of rich twins, of sum 1, in place of 1/N.
    """
    share = None if mass is None else be.array(training.width * mass)
    w, b, c = weights
    back = max(training.depth, 2)
    layers = _layers(be, training.activation, w, history, memory, back)
    slopes = [c[:, None] * layers.slope[0], *(b[:, None] * slope for slope in layers.slope[1:])]
    # reach[l] = mu_l / N^-beta of eq. (16), over N: the gradient of the output with respect to the memory l steps ago
    reach = [_shared(slopes[0], share).sum(axis=2) / training.width]
    for slope in slopes[1:]:
        reach.append(reach[-1] * (_shared(slope, share).sum(axis=2) / training.width))
    gradients = ([None, *reach], slopes, layers.x, share), (reach, layers.value[1:], None, share)
    of_w, of_b = (_Gradient(*parts) for parts in gradients)
    direct = _cross(_shared(layers.value[0], share), layers.value[0]) + of_w.gram(0, 0)
    terms = (direct, of_b.gram(0, 0), of_w.beyond_first(), of_b.beyond_first())
    return Kernels(*(be.numpy(part).astype(np.float64) / training.width for part in terms))


class _Gradient(NamedTuple):
    """A gradient as a sum over layers l of scale_l (n, P) (None: 1) times part_l (n, P, N), times input_l (P, d).

    share (N,): how often a unit counts (None: once).
    """

    scale: Sequence[Any]
    part: Sequence[Any]
    inputs: Sequence[Any] | None
    share: Any

    def gram(self, i: int, j: int) -> Any:
        """Products (n, P, P) of layer i with layer j."""
        product = _cross(_shared(self.part[i], self.share), self.part[j])
        if self.inputs is not None:
            product = product * (self.inputs[i] @ self.inputs[j].T)
        for axis, scale in ((2, self.scale[i]), (1, self.scale[j])):
            product = product if scale is None else product * np.expand_dims(scale, axis)
        return product

    def beyond_first(self) -> Any:
        """The Gram matrix minus the product of the first layer with itself."""
        pairs = [(i, j) for j in range(1, len(self.part)) for i in range(j)]
        crosses = sum(self.gram(i, j) for i, j in pairs)
        return crosses + crosses.swapaxes(1, 2) + sum(self.gram(j, j) for j in range(1, len(self.part)))


def _shared(a: Any, share: Any) -> Any:
    return a if share is None else a * share


def _cross(a: Any, b: Any) -> Any:
    return a @ b.swapaxes(1, 2)


def _layers(be: Backend, activation: str, w: Any, history: Array, memory: Array, back: int) -> _Layers:
    """The last back + 1 layers of each history; those before the first step are zero."""
    sigma, layers, length = ACTIVATIONS[activation], _Layers([], [], []), history.shape[1]
    for step in range(length - 1, length - 2 - back, -1):
        if step < 0:
            layers.x.append(0.0 * layers.x[0])
            layers.value.append(0.0 * layers.value[0])
            layers.slope.append(0.0 * layers.value[0])
            continue
        x, m = be.array(history[:, step].astype(w.dtype)), be.array(memory[:, :, step].astype(w.dtype))
        a = m[..., None] + sum(x[:, j, None] * w[:, None, :, j] for j in range(x.shape[1]))
        value = sigma.value(a)
        layers.x.append(x)
        layers.value.append(value)
        layers.slope.append(sigma.slope_of_value(value) if sigma.slope_of_value else sigma.slope(a).astype(a.dtype))
    return layers._replace(x=layers.x[:back], slope=layers.slope[:back])


class KernelWatch:
    """Follows the empirical kernels of a block's networks over its checkpoints, the first of which is time 0."""

    def __init__(
        self, be: Backend, training: Training, probes: AtProbes | KernelAtProbes, mass: Array | None = None
    ) -> None:
        self._be, self._training, self._probes, self._mass = be, training, probes, mass
        self._norm = float(np.linalg.norm(probes.kernel))
        values = np.linalg.eigvalsh(probes.kernel)[::-1][:MODES]
        self._eigenvalue = np.maximum(values, NULL * values[0])
        self.start: Array | None = None  # the initial kernels (R, P, P), once they are computed

    @property
    def history(self) -> Array:
        """The probe histories (P, L, d), on which memories are wanted."""
        return self._probes.history

    def begin(self, trainer: Trainer, count: int) -> None:
        """Keep the kernels of the initial networks, from which drifts are measured."""
        _, memory = trainer.probe(self._probes.history)
        self.start = self._parts(trainer, memory, count).trained(self._training)

    def _parts(self, trainer: Trainer, memory: Array, count: int) -> Kernels:
        some = max(1, CHUNK_VALUES // (self._training.width * memory.shape[1]))
        pieces = []
        for first in range(0, count, some):
            rows = slice(first, min(first + some, count))
            weights = trainer.weights(rows.start, rows.stop - rows.start)
            parts = kernels(self._be, self._training, weights, self._probes.history, memory[rows], self._mass)
            pieces.append(parts)
        return Kernels(*(np.concatenate(parts) for parts in zip(*pieces, strict=True)))

    def __call__(self, trainer: Trainer, memory: Array) -> dict[str, Array]:
        """The variables KERNEL of settled networks with memories (R, P, L) on the probes: (R,) and (R, MODES)."""
        parts = self._parts(trainer, memory, len(memory))
        now = parts.trained(self._training)
        if self.start is None:
            self.start = now
        limit, values = self._probes.kernel, np.linalg.eigvalsh(now)[:, ::-1]
        return {
            "ntk_error": self._relative(now - limit),
            "ntk_eigenvalue_error": values[:, : len(self._eigenvalue)] / self._eigenvalue - 1,
            "ntk_b_part": self._relative(parts.b),
            "ntk_past_part": self._relative(parts.past_w + parts.past_b),
            "ntk_drift": self._relative(now - self.start),
            "ntk_drift_along": ((now - self.start) * limit).reshape(len(now), -1).sum(axis=1) / self._norm**2,
        }

    def _relative(self, matrix: Array) -> Array:
        """Frobenius norms (R,) over the limit's; summed row by row, so that other replicas do not change any bit."""
        squares = np.square(matrix).reshape(len(matrix), -1).sum(axis=1)
        return np.asarray(np.sqrt(squares) / self._norm)


# --- stationary memory laws ------------------------------------------------------------------------------------


def wasserstein1(a: Array, b: Array) -> float:
    """Wasserstein-1 distance of two samples (n,) and (m,) on the line: the integral of |F_a - F_b|."""
    both = np.sort(np.concatenate([a, b]))
    share_a, share_b = (np.searchsorted(np.sort(s), both[:-1], side="right") / len(s) for s in (a, b))
    return float(np.sum(np.abs(share_a - share_b) * np.diff(both)))


def memory_law_distances(limit: Array, finite: Array) -> Array:
    """Wasserstein-1 (R,) between the law of each network's memory, finite (R, P, L), and the limit's (P, L).

    Both are empirical laws over the second half of the same histories: their common sampling noise cancels,
    and the distance is at most the mean of |M^N_k - M_k|.
    """
    late = limit.shape[-1] // 2
    reference = limit[:, late:].reshape(-1)
    return np.array([wasserstein1(one[:, late:].reshape(-1), reference) for one in finite])


class Settling(NamedTuple):
    """A cell of the two-way table: rms distance between a memory started from 0 and the stationary limit memory."""

    width: int
    updates: int  # hidden updates since the start from 0
    distance: float
    error: float  # standard error, over networks


def settling_table(
    study: Study, be: Backend, widths: Sequence[int], updates: Sequence[int], replicas: int
) -> list[Settling]:
    """Convergence of the memory in the number of hidden updates and of hidden units, for untrained networks.

    The limit memory counts as stationary after half of each probe history; the finite networks start from 0 there.
    `be` has NumPy arrays; updates lie within 0 .. length / 2 - 1.
    """
    law, history = ParameterLaw.of(study), chains.probe_histories(study, be)
    start = history.shape[1] // 2
    limit = law.memory_path(be, history, np.zeros(len(history)))[:, start:-1]
    index = np.arange(replicas, dtype=np.uint32)
    rows = []
    for width in widths:
        trainer = be.trainer(Training(width, study.dimension, 0.75, 1, study.activation), replicas)
        trainer.fill_from(0, *law.draw(be, study.seed, index, width))
        square = np.square(trainer.probe(history[:, start:])[1] - limit).mean(axis=1)  # (R, steps)
        for k in updates:
            distance = float(np.sqrt(square[:, k].mean()))
            error = float(square[:, k].std(ddof=1) / np.sqrt(replicas) / (2 * distance))
            rows.append(Settling(width, k, distance, error))
    return rows
