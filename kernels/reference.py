"""The definition of every kernel, in plain NumPy double precision: slow and short; the others are tested against it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnnlimits.kernels import compiler
from rnnlimits.kernels.activations import ACTIVATIONS
from rnnlimits.kernels.interface import (
    Array,
    Backend,
    FeatureMap,
    GaussianChain,
    MemoryInputs,
    MemoryMap,
    OneByOne,
    RandomKey,
    Replicas,
    State,
    Training,
    Weighted,
)
from rnnlimits.kernels.reference_tangents import DifferenceTangents

BATCH_VALUES = 1 << 17  # features held at once, 1 MiB, to stay in cache; fixed, so that sums have one order of addition
_MULTIPLIERS = np.array([0xD2511F53, 0xCD9E8D57], dtype=np.uint64)
_WEYL = np.array([0x9E3779B9, 0xBB67AE85], dtype=np.uint64)
_LOW = np.uint64(0xFFFFFFFF)
_HALF = np.uint64(32)


def _philox(counter: NDArray[np.uint32], key: tuple[int, int]) -> NDArray[np.uint32]:
    """Philox4x32-10 of counters (..., 4) under one key (Salmon et al., SC 2011). Returns words of the same shape."""
    c0, c1, c2, c3 = np.moveaxis(np.asarray(counter, dtype=np.uint64), -1, 0)
    k = np.array(key, dtype=np.uint64)
    for _ in range(10):
        product0, product1 = c0 * _MULTIPLIERS[0], c2 * _MULTIPLIERS[1]
        c0, c1 = (product1 >> _HALF) ^ c1 ^ k[0], product1 & _LOW
        c2, c3 = (product0 >> _HALF) ^ c3 ^ k[1], product0 & _LOW
        k = (k + _WEYL) & _LOW
    return np.stack([c0, c1, c2, c3], axis=-1).astype(np.uint32)


def _uniform_pairs(
    seed: int, stream: int, lane: NDArray[np.int64], step: int, replica: Replicas, component: int
) -> Array:
    """Two uniforms (..., 2) per counter: midpoints of 2^52 equal cells, so never 0 or 1."""
    counter = np.stack(np.broadcast_arrays(lane, step, replica, component), axis=-1).astype(np.uint32)
    words = _philox(counter, (seed, stream)).astype(np.uint64)
    mantissa = (words[..., 0::2] << np.uint64(20)) | (words[..., 1::2] >> np.uint64(12))
    return np.asarray((mantissa.astype(np.float64) + 0.5) * 2.0**-52)


def _box_muller(u: Array) -> Array:
    radius, angle = np.sqrt(-2.0 * np.log(u[..., 0])), 2.0 * np.pi * u[..., 1]
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=-1)


def observe(chain: GaussianChain, h: Array) -> tuple[Array, Array]:
    """The nonlinear part (sin X, tanh Z) of H (R, size), and the target Y (R,)."""
    x, z = h[:, : chain.inputs], h[:, chain.inputs :]
    constant, sin_x, linear_x, linear_z = np.split(chain.target, [1, 1 + chain.inputs, 1 + 2 * chain.inputs], axis=0)
    y = constant[0] + np.sin(x) @ sin_x + x @ linear_x + z @ linear_z
    return np.concatenate([np.sin(x), np.tanh(z)], axis=1), y


def smooth_clip(y: Array, level: float) -> Array:
    """psi_N: the identity on [-level, level], bounded by 2 level, slope at most 1; level 0 means no clip."""
    if level == 0.0:
        return y
    beyond = np.maximum(np.abs(y) - level, 0.0)
    return np.asarray(np.sign(y) * np.where(beyond > 0.0, level + level * np.tanh(beyond / level), np.abs(y)))


class ReferenceTrainer(OneByOne):
    """Training as in docs/model.md, all right-hand sides at step k; replicas side by side in arrays (R, N)."""

    def __init__(self, training: Training, replicas: int) -> None:
        self.training, self.replicas = training, replicas
        shape = (replicas, training.width)
        self.w, self.b, self.c = np.zeros((*shape, training.dimension)), np.zeros(shape), np.zeros(shape)
        self.start = (self.w.copy(), self.b.copy(), self.c.copy())
        self.weight: Array | None = np.zeros(shape) if training.weighted else None
        self.memory = np.zeros(replicas)
        # S, sigma'(a) and X of steps k-1, k-2, ..., k-tau; zero before the beginning
        self.past_value = [np.zeros(shape) for _ in range(training.depth)]
        self.past_slope = [np.zeros(shape) for _ in range(training.depth)]
        self.past_x = [np.zeros((replicas, training.dimension)) for _ in range(training.depth)]

    def fill(self, replica: int, w: Array, b: Array, c: Array) -> None:
        """See interface.Trainer.fill."""
        for now, start, value in zip((self.w, self.b, self.c), self.start, (w, b, c), strict=True):
            now[replica] = start[replica] = value
        self.memory[replica] = 0.0
        for past in (*self.past_value, *self.past_slope, *self.past_x):
            past[replica] = 0.0

    def weigh(self, weight: Array) -> None:
        """See interface.Trainer.weigh."""
        self.weight = np.array(np.broadcast_to(weight, self.b.shape))

    def _sum(self, values: Array) -> Array:
        """Sums (R,) over units, or means over nodes."""
        return np.asarray((values if self.weight is None else self.weight * values).sum(axis=1))

    def _mean(self, values: Array) -> Array:
        return np.asarray(values.mean(axis=1)) if self.weight is None else self._sum(values)

    def step(self, x: Array, y: Array) -> Array:
        """One step on x (R, d), y (R,); returns (Yhat - Y)^2, (R,)."""
        t, sigma = self.training, ACTIVATIONS[self.training.activation]
        a = np.einsum("rnd,rd->rn", self.w, x) + self.memory[:, None]
        value, slope = sigma.value(a), sigma.slope(a)
        output = t.output_scale * self._sum(self.c * value)
        push = t.rate * (smooth_clip(output, t.clip_level) - y)
        through_memory = t.output_scale * self._sum(self.c * slope)
        units = 1 if t.weighted else t.width
        change_w = (push * t.output_scale)[:, None, None] * (self.c * slope)[:, :, None] * x[:, None, :]
        change_c = (push * t.output_scale)[:, None] * value
        change_b = np.zeros_like(self.b)
        for lag in range(t.depth):
            share = push * through_memory / units
            change_b += share[:, None] * self.past_value[lag]
            if lag < t.depth - 1:
                back = self.b * self.past_slope[lag]
                change_w += share[:, None, None] * back[:, :, None] * self.past_x[lag][:, None, :]
                through_memory = through_memory * self._mean(back)
        self._advance(x, value, slope, change_w, change_b if t.update_b else 0.0 * change_b, change_c)
        return np.asarray((output - y) ** 2)

    def _advance(self, x: Array, value: Array, slope: Array, w: Array, b: Array, c: Array) -> None:
        self.w -= w
        self.b -= b
        self.c -= c
        self.memory = self._mean(self.b * value)
        for past, now in ((self.past_value, value), (self.past_slope, slope), (self.past_x, x.copy())):
            past.insert(0, now)
            past.pop()

    def run(self, x: Array, y: Array) -> Array:
        """See interface.Trainer.run."""
        return np.stack([self.step(x[:, k], y[:, k]) for k in range(y.shape[1])], axis=1)

    def settle(self) -> None:
        """Does nothing: this trainer never has a pending update."""

    def probe(self, histories: Array) -> tuple[Array, Array]:
        """See interface.Trainer.probe."""
        sigma = ACTIVATIONS[self.training.activation].value
        memory = np.zeros((len(self.b), len(histories), histories.shape[1] + 1))
        for k in range(histories.shape[1]):
            value = sigma(np.einsum("rnd,pd->rpn", self.w, histories[:, k]) + memory[:, :, k, None])
            memory[:, :, k + 1] = self._probe_mean(self.b, value)
        c = self.c if self.weight is None else self.weight * self.c
        return self.training.output_scale * np.einsum("rn,rpn->rp", c, value), memory[:, :, :-1]

    def _probe_mean(self, b: Array, value: Array) -> Array:
        if self.weight is None:
            return np.asarray(np.einsum("rn,rpn->rp", b, value) / self.training.width)
        return np.asarray(np.einsum("rn,rpn->rp", self.weight * b, value))

    def weights(self, first: int, count: int) -> tuple[Array, Array, Array]:
        """See interface.Trainer.weights."""
        w, b, c = (now[first : first + count].copy() for now in (self.w, self.b, self.c))
        return w, b, c

    def drift(self, replica: int) -> tuple[Array, Array, Array]:
        """See interface.Trainer.drift."""
        w, b, c = (
            now[replica] - start[replica] for now, start in zip((self.w, self.b, self.c), self.start, strict=True)
        )
        return w, b, c

    def _unit_views(self) -> list[Array]:
        """Views (R, N) of all values of units."""
        vectors = [now[..., j] for now in (self.w, self.start[0]) for j in range(self.training.dimension)]
        weight = [] if self.weight is None else [self.weight]
        return [*vectors, self.b, self.c, *self.start[1:], *weight, *self.past_value, *self.past_slope]

    def _replica_views(self) -> list[Array]:
        """Views (R, any) of the values that the units of a replica share."""
        return [self.memory[:, None], *self.past_x]

    def state(self) -> State:
        """See interface.Trainer.state."""
        return State(np.stack(self._unit_views(), axis=1), np.concatenate(self._replica_views(), axis=1))

    def restore(self, state: State) -> None:
        """See interface.Trainer.restore."""
        units, words = state.required(self.state())
        for place, values in zip(self._unit_views(), units.swapaxes(0, 1), strict=True):
            place[...] = values
        ends = np.cumsum([place.shape[1] for place in self._replica_views()])[:-1]
        for place, values in zip(self._replica_views(), np.split(words, ends, axis=1), strict=True):
            place[...] = values


def add_moments(be: Backend, features: FeatureMap, x: Array, m: Array, y: Array, a: Array, b: Array) -> None:
    """See interface.Backend.add_moments; for any arrays that NumPy's functions accept, in batches of one size."""
    w, value_scale, slope_scale = (be.array(v) for v in (features.w, features.value_scale, features.slope_scale))
    sigma, rows, (count, dimension) = ACTIVATIONS[features.activation], BATCH_VALUES // features.size, w.shape
    for first in range(0, len(y), max(1, rows)):
        part = slice(first, first + max(1, rows))
        argument = x[part] @ w.T + m[part, None]
        value = sigma.value(argument)
        phi = np.empty_like(argument, shape=(len(argument), features.size))
        np.multiply(value, value_scale, out=phi[:, :count])
        slope = sigma.slope(argument) if sigma.slope_of_value is None else sigma.slope_of_value(value)
        slope *= slope_scale
        for j in range(dimension):
            np.multiply(slope, x[part, j, None], out=phi[:, (1 + j) * count : (2 + j) * count])
        a += phi.T @ phi  # NumPy detects the symmetry and calls syrk
        b += phi.T @ y[part]


class NumpyBackend:
    """See interface.Backend."""

    name, on_device, worker = "numpy", False, "core"
    device = "NumPy, double precision"

    def rounding(self) -> str:
        """See interface.Backend.rounding."""
        return f"NumPy {np.__version__}, {compiler.processor_name()}"

    def array(self, values: NDArray[Any]) -> NDArray[Any]:
        """See interface.Backend.array."""
        return values

    def numpy(self, values: NDArray[Any]) -> NDArray[Any]:
        """See interface.Backend.numpy."""
        return values

    def philox(self, counter: NDArray[np.uint32], key: tuple[int, int]) -> NDArray[np.uint32]:
        """See interface.Backend.philox."""
        return _philox(counter, key)

    def uniforms(
        self, seed: int, stream: int, replicas: Replicas, count: int, step: int = 0, component: int = 0
    ) -> Array:
        """See interface.Backend.uniforms: number i of a replica is half i % 2 of lane i // 2."""
        lane = np.arange((count + 1) // 2)
        pairs = _uniform_pairs(seed, stream, lane, step, np.asarray(replicas)[:, None], component)
        return pairs.reshape(len(replicas), -1)[:, :count]

    def normals(
        self, seed: int, stream: int, replicas: Replicas, count: int, step: int = 0, component: int = 0
    ) -> Array:
        """See interface.Backend.normals: Box and Muller on the pairs of `uniforms`."""
        u = self.uniforms(seed, stream, replicas, 2 * ((count + 1) // 2), step, component)
        return _box_muller(u.reshape(len(replicas), -1, 2)).reshape(len(replicas), -1)[:, :count]

    def chain_path(
        self, chain: GaussianChain, key: RandomKey, state: Array, first_step: int, steps: int, keep: bool = True
    ) -> tuple[Array, Array]:
        """See interface.Backend.chain_path."""
        length = steps if keep else 0
        history, y = np.empty((len(key.replicas), length, chain.size)), np.empty((len(key.replicas), length))
        curved, _ = observe(chain, state)
        for k in range(steps):
            xi = self.normals(key.seed, key.stream, key.replicas, chain.size, step=first_step + k)
            following = state @ chain.linear.T + xi @ chain.noise.T
            if chain.coupling is not None:
                following += curved @ chain.coupling.T
            state[:] = following
            curved, target = observe(chain, state)
            if keep:
                history[:, k], y[:, k] = state, target
        return history, y

    def finite_path(
        self, transition: Array, key: RandomKey, state: NDArray[np.int32], first_step: int, steps: int
    ) -> NDArray[np.int32]:
        """See interface.Backend.finite_path: inversion of the cumulative row with one uniform per step."""
        history = np.empty((len(key.replicas), steps), dtype=np.int32)
        cumulative = np.cumsum(transition, axis=1)[:, :-1]
        for k in range(steps):
            u = self.uniforms(key.seed, key.stream, key.replicas, 1, step=first_step + k)
            state[:] = (u >= cumulative[state]).sum(axis=1)
            history[:, k] = state
        return history

    def memory_path(self, rule: MemoryMap, inputs: MemoryInputs, start: Array) -> Array:
        """See interface.Backend.memory_path."""
        sigma, (replicas, steps) = ACTIVATIONS[rule.activation].value, inputs.location.shape
        memory = np.empty((replicas, steps + 1))
        memory[:, 0] = start
        for k in range(steps):
            a = (inputs.location[:, k] + memory[:, k])[:, None] + inputs.coordinates[:, k] @ rule.nodes.T
            memory[:, k + 1] = ((rule.weight0 + inputs.slope[:, k, None] * rule.weight1) * sigma(a)).sum(axis=1)
        return memory

    def twin_path(self, features: FeatureMap, rate: float, x: Array, m: Array, y: Array, theta: Array) -> Array:
        """See interface.Backend.twin_path."""
        sigma, squared_error = ACTIVATIONS[features.activation], np.empty(y.shape)
        for k in range(y.shape[1]):
            a = x[:, k] @ features.w.T + m[:, k, None]
            value, slope = features.value_scale * sigma.value(a), features.slope_scale * sigma.slope(a)
            phi = np.concatenate([value, *(slope * x[:, k, j, None] for j in range(x.shape[2]))], axis=1)
            miss = (phi * theta).sum(axis=1) - y[:, k]
            theta -= rate * miss[:, None] * phi
            squared_error[:, k] = miss**2
        return squared_error

    def add_moments(self, features: FeatureMap, x: Array, m: Array, y: Array, a: Array, b: Array) -> None:
        """See interface.Backend.add_moments."""
        add_moments(self, features, x, m, y, a, b)

    def trainer(self, training: Training, replicas: int) -> ReferenceTrainer:
        """See interface.Backend.trainer."""
        return ReferenceTrainer(training, replicas)

    def tangents(self, training: Training, nodes: Weighted, ends: Weighted, replicas: int) -> DifferenceTangents:
        """See interface.Backend.tangents."""
        trainer = ReferenceTrainer(*DifferenceTangents.rows(training, nodes, ends, replicas))
        return DifferenceTangents(trainer, nodes, ends, replicas)


def available() -> None:
    """Always."""


def backend(index: int = 0) -> NumpyBackend:
    """The back end; `index` is ignored."""
    return NumpyBackend()
