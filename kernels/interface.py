"""The interface of the kernels: plain values as arguments, the same for every back end."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Replicas = NDArray[np.uint32]


class KernelError(Exception):
    """A kernel cannot be built or run; the message is one line that says why."""


@dataclass(frozen=True)
class GaussianChain:
    """H' = linear H + coupling (sin X, tanh Z) + noise xi with H = (X, Z), xi standard normal (docs/model.md, eq. 2).

    Matrices are (size, size) with size = inputs + hidden; coupling is None for a linear chain.
    Y = constant + sum sin_x sin(X) + sum x X + sum z Z; `target` lists constant, sin_x, x, z.
    """

    inputs: int
    hidden: int
    linear: Array
    noise: Array
    target: Array
    coupling: Array | None = None

    @property
    def size(self) -> int:
        """Number of components of H."""
        return self.inputs + self.hidden


@dataclass(frozen=True)
class Training:
    """The training of one network, without its initial weights and its data (docs/model.md, "Training").

    richness: eps of a rich twin (docs/model.md, "Finite width"): units are then `width` nodes of a quadrature whose
    weights Trainer.weigh sets, beta plays no part, and `level` is that of the clip. unit_richness: eps of a network of
    `width` units, in place of beta, which gives the same numbers up to rounding.
    """

    width: int
    dimension: int
    beta: float
    steps_per_time: int
    activation: str = "tanh"
    alpha: float = 1.0
    depth: int = 1
    clip: float | None = None
    update_b: bool = True
    precision: str = "float64"
    richness: float | None = None
    level: float = 0.0
    unit_richness: float | None = None
    output_scale: float = field(init=False)  # N^-beta, or 1 / eps
    rate: float = field(init=False)  # eta = alpha N^(2 beta - 1) / K, or alpha eps^2 / K
    clip_level: float = field(init=False)  # N^gamma, or 0 without a clip

    def __post_init__(self) -> None:
        if self.richness is not None:
            object.__setattr__(self, "output_scale", 1 / self.richness)
            object.__setattr__(self, "rate", self.alpha * self.richness**2 / self.steps_per_time)
            object.__setattr__(self, "clip_level", self.level)
            return
        n = float(self.width)
        object.__setattr__(self, "clip_level", n**self.clip if self.clip is not None else 0.0)
        if self.unit_richness is not None:
            object.__setattr__(self, "output_scale", 1 / (n * self.unit_richness))
            object.__setattr__(self, "rate", self.alpha * n * self.unit_richness**2 / self.steps_per_time)
            return
        object.__setattr__(self, "output_scale", n**-self.beta)
        object.__setattr__(self, "rate", self.alpha * n ** (2 * self.beta - 1) / self.steps_per_time)

    @property
    def weighted(self) -> bool:
        """Whether units are nodes with weights."""
        return self.richness is not None


@dataclass(frozen=True, eq=False)
class FeatureMap:
    """Features of the limit at (x, m), in the order of theta: value_scale_q sigma(w_q.x + m) for all q, then for each
    component j of x slope_scale_q sigma'(w_q.x + m) x_j for all q. w (Q, d), scales (Q,); NumPy arrays.
    """

    activation: str
    w: Array
    value_scale: Array
    slope_scale: Array

    @property
    def size(self) -> int:
        """Number of features, Q (1 + d)."""
        return int(self.w.size + len(self.w))


@dataclass(frozen=True, eq=False)
class RandomKey:
    """A key of random numbers: those of a replica are a function of seed, stream and its number in `replicas` (R,)."""

    seed: int
    stream: int
    replicas: Replicas


@dataclass(frozen=True, eq=False)
class MemoryMap:
    """F(x, m) = sum_q (weight0_q + slope weight1_q) sigma(location + nodes_q . coordinates + m), see MemoryInputs.

    nodes (Q, p), weights (Q,).
    """

    activation: str
    nodes: Array
    weight0: Array
    weight1: Array


@dataclass(frozen=True, eq=False)
class MemoryInputs:
    """The values of inputs along paths that a MemoryMap needs: location and slope (R, L), coordinates (R, L, p)."""

    location: Array
    coordinates: Array
    slope: Array


class State(NamedTuple):
    """The complete state of a trainer between two segments, NumPy arrays; draws are counter-based and have no state.

    units (R, fields, N), in the precision that units are kept in: weights, drifts and past hidden values of every unit.
    words (R, words) float64: the memory, past inputs and the pending update. host and cuda: the fields of the structs
    Unit (src/unit.h) and ReplicaState (src/team.h), in their order, however many units a vector or a team holds.
    """

    units: NDArray[np.floating[Any]]
    words: Array

    def required(self, like: State) -> State:
        """This state, if its shapes and types are those of `like`. Raises ValueError otherwise."""
        for name, actual, expected in zip(self._fields, self, like, strict=True):
            if (actual.shape, actual.dtype) != (expected.shape, expected.dtype):
                raise ValueError(f"{name}: {actual.dtype} {actual.shape}, expected {expected.dtype} {expected.shape}")
        return self


class Trainer(Protocol):
    """An ensemble of `replicas` independent networks of one Training."""

    def fill_from(self, first: int, w: Array, b: Array, c: Array) -> None:
        """Set initial weights of replicas from `first` on: w (n, N, d), b (n, N), c (n, N), arrays of the back end."""

    def fill(self, replica: int, w: Array, b: Array, c: Array) -> None:
        """Set initial weights of one replica: w (N, d), b (N,), c (N,)."""

    def weigh(self, weight: Array) -> None:
        """Set the weights of a rich twin's nodes after `fill`: (R, N), of sum 1 over nodes."""

    def run(self, x: Array, y: Array) -> Array:
        """Train on x (R, steps, d), y (R, steps); returns (Yhat - Y)^2, (R, steps). Calls continue one another."""

    def settle(self) -> None:
        """Apply the pending update, so that weights are those of the current time."""

    def probe(self, histories: Array) -> tuple[Array, Array]:
        """Run the frozen networks along histories (P, L, d), from zero memory; NumPy arrays.

        Returns the output (R, P) at the last step, and the memory (R, P, L) that goes with each input.
        """

    def weights(self, first: int, count: int) -> tuple[Array, Array, Array]:
        """Current weights of settled replicas from `first` on: w (count, N, d), b (count, N), c (count, N).

        Arrays of the back end, in the training's precision.
        """

    def drift(self, replica: int) -> tuple[Array, Array, Array]:
        """Drift since initialisation of one settled replica: w (N, d), b (N,), c (N,), NumPy arrays."""

    def drift_norms(self) -> Array:
        """Sizes of the drifts of all settled replicas (R, 6), a NumPy array: see `norms`."""

    def state(self) -> State:
        """Everything that `restore` needs to continue as if never interrupted; copies, settled or not."""

    def restore(self, state: State) -> None:
        """Take over the state of a trainer of the same Training and number of replicas, on an equal back end.

        All later numbers are the same to the last bit. Raises ValueError for arrays of other shapes or types.
        """


class Weighted(Protocol):
    """Nodes of a quadrature over the law of a unit: w (Q, d), b, c and weight (Q,), the weights of sum 1."""

    @property
    def w(self) -> Array: ...  # noqa: D102
    @property
    def b(self) -> Array: ...  # noqa: D102
    @property
    def c(self) -> Array: ...  # noqa: D102
    @property
    def weight(self) -> Array: ...  # noqa: D102


class Tangents(Protocol):
    """Rich twins along `replicas` paths, with the response of every number to mass that moves to one of D ends.

    Direction q takes the mass s_q from all nodes in proportion and gives it to the end q. Results have a last axis
    (D + 2,): the value, sqrt(weight_q) d/ds_q for each direction, sum_q weight_q d^2/ds_q^2, at s = 0. In float64.
    They are NumPy arrays, but those of `run`, which are arrays of the back end.
    """

    def run(self, x: Array, y: Array) -> Array:
        """Train on x (R, steps, d), y (R, steps); returns (Yhat - Y)^2 (R, steps, D + 2). Calls continue."""

    def settle(self) -> None:
        """Apply the pending update, so that weights are those of the current time."""

    def probe(self, histories: Array) -> tuple[Array, Array]:
        """Output (R, P, D + 2) at the end of histories (P, L, d) from zero memory, and memory (R, P, L, D + 2)."""

    def weights(self) -> tuple[Array, Array]:
        """Settled weights w, b, c of nodes (R, Q, d + 2, D + 2), and of the ends (R, D, d + 2, 2).

        The numbers of an end are their value and sqrt(weight_q) d/ds_q for its own direction.
        """

    def square_drifts(self) -> Array:
        """Mean squares over the law of the settled drifts of W (its length), B and C: (R, 3, D + 2)."""


class OneByOne:
    """Methods of a trainer for all replicas, in terms of those for one replica."""

    replicas: int

    def fill_from(self: Trainer, first: int, w: Array, b: Array, c: Array) -> None:
        """See Trainer.fill_from."""
        for row, weights in enumerate(zip(w, b, c, strict=True)):
            self.fill(first + row, *weights)

    def drift_norms(self) -> Array:
        """See Trainer.drift_norms."""
        return np.array([norms(*self.drift(replica)) for replica in range(self.replicas)])  # type: ignore[attr-defined]


def norms(w: Array, b: Array, c: Array) -> tuple[float, ...]:
    """Largest |w|, |b|, |c| over components and units, then root mean squares over units of the same three."""
    largest = [float(np.abs(a).max()) for a in (w, b, c)]
    return (*largest, *(float(np.sqrt((a**2).sum() / len(a))) for a in (w, b, c)))


class Backend(Protocol):
    """Where kernels run. Draws are counter-based: the same numbers on every back end, up to the last digits.

    Returned arrays are arrays of the back end: NumPy arrays, or CuPy arrays on a device. NumPy functions accept both,
    but not a mixture.
    """

    name: str  # as given to --backend
    device: str  # a description of the device
    on_device: bool  # whether its arrays lie on a device, which is busy only with many replicas at once
    worker: str  # what one rank uses: "core" or "GPU"

    def rounding(self) -> str:
        """A description of everything that decides the last bits of results: equal descriptions mean equal bits."""

    def array(self, values: NDArray[Any]) -> NDArray[Any]:
        """The same values as an array of the back end."""

    def numpy(self, values: NDArray[Any]) -> NDArray[Any]:
        """An array of the back end as a NumPy array."""

    def philox(self, counter: NDArray[np.uint32], key: tuple[int, int]) -> NDArray[np.uint32]:
        """Philox4x32-10 of counters (count, 4)."""

    def uniforms(
        self, seed: int, stream: int, replicas: Replicas, count: int, step: int = 0, component: int = 0
    ) -> Array:
        """Uniforms in (0, 1), (R, count)."""

    def normals(
        self, seed: int, stream: int, replicas: Replicas, count: int, step: int = 0, component: int = 0
    ) -> Array:
        """Standard normals, (R, count)."""

    def chain_path(
        self, chain: GaussianChain, key: RandomKey, state: Array, first_step: int, steps: int, keep: bool = True
    ) -> tuple[Array, Array]:
        """Advance state (R, size) in place; returns H (R, steps, size) and Y (R, steps), empty unless keep."""

    def finite_path(
        self, transition: Array, key: RandomKey, state: NDArray[np.int32], first_step: int, steps: int
    ) -> NDArray[np.int32]:
        """Advance states (R,) of a finite chain in place; returns them, (R, steps)."""

    def memory_path(self, rule: MemoryMap, inputs: MemoryInputs, start: Array) -> Array:
        """Infinite-width memory (R, L + 1) along paths: M_0 = start (R,), M_{k+1} = F(x_k, M_k)."""

    def twin_path(self, features: FeatureMap, rate: float, x: Array, m: Array, y: Array, theta: Array) -> Array:
        """Online SGD on features along paths: theta (R, F) in place, theta -= rate (phi.theta - y) phi at every step.

        x (R, L, d), m (R, L), y (R, L). Returns (phi.theta - y)^2, before the update, (R, L).
        """

    def add_moments(self, features: FeatureMap, x: Array, m: Array, y: Array, a: Array, b: Array) -> None:
        """Add to a (F, F) the sum of phi phi^T and to b (F,) that of phi y, over draws x (n, d), m (n,), y (n,)."""

    def trainer(self, training: Training, replicas: int) -> Trainer:
        """An ensemble with all weights zero."""

    def tangents(self, training: Training, nodes: Weighted, ends: Weighted, replicas: int) -> Tangents:
        """The tangents of a rich twin, all replicas at these nodes, NumPy arrays."""
