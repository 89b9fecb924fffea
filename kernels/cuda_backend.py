"""The C++ source on a GPU: the same interface as reference.py, a whole segment of training in one launch.

Arrays stay on the device: functions return CuPy arrays where the other back ends return NumPy arrays, and accept both;
results of a trainer that are written to files come back as NumPy arrays.
"""

from __future__ import annotations

from functools import cache
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from rnnlimits.kernels import launch
from rnnlimits.kernels.activations import ACTIVATIONS, source_digest
from rnnlimits.kernels.cuda_driver import available, visible
from rnnlimits.kernels.cuda_runtime import (
    MOST_BLOCKS,
    THREADS,
    CupyRuntime,
    Runtime,
    failure,
    identity,
    name_of,
    report,
)
from rnnlimits.kernels.device_memory import Layout, layouts, require_room
from rnnlimits.kernels.device_tangents import CudaTangents
from rnnlimits.kernels.interface import (
    Array,
    FeatureMap,
    GaussianChain,
    MemoryInputs,
    MemoryMap,
    RandomKey,
    Replicas,
    State,
    Training,
    Weighted,
)
from rnnlimits.kernels.reference import add_moments

__all__ = ["CudaBackend", "CudaTrainer", "available", "backend", "failure", "identity", "name_of", "report", "visible"]

PATH_THREADS = 32  # per block, if a thread is a replica: even few replicas then use many multiprocessors
SEGMENT_STEPS = 1024  # steps of a path that exist at a time


class CudaBackend:
    """See interface.Backend; arrays lie on the device."""

    name, on_device, worker = "cuda", True, "GPU"

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self.device = runtime.limits.name

    def rounding(self) -> str:
        """See interface.Backend.rounding. The device's limits determine how a network's sums are cut into parts."""
        limits = self._runtime.limits
        about = f"compute capability {limits.capability[0]}.{limits.capability[1]}, {limits.multiprocessors} SMs"
        return f"{limits.name}, {about}, {self._runtime.compiler}, source {source_digest()}"

    def array(self, values: Any) -> Any:
        """See interface.Backend.array."""
        return self._runtime.xp.asarray(values)

    def numpy(self, values: Any) -> NDArray[Any]:
        """See interface.Backend.numpy."""
        return values if type(values) is np.ndarray else self._runtime.to_host(values)

    def philox(self, counter: NDArray[np.uint32], key: tuple[int, int]) -> NDArray[np.uint32]:
        """See interface.Backend.philox."""
        words = self._runtime.xp.array(counter, dtype=np.uint32)
        self._each("philox_words", len(words), words, np.int64(len(words)), np.uint32(key[0]), np.uint32(key[1]))
        return cast(NDArray[np.uint32], words)

    def uniforms(
        self, seed: int, stream: int, replicas: Replicas, count: int, step: int = 0, component: int = 0
    ) -> Array:
        """See interface.Backend.uniforms."""
        return self._fill(0, seed, stream, replicas, count, step, component)

    def normals(
        self, seed: int, stream: int, replicas: Replicas, count: int, step: int = 0, component: int = 0
    ) -> Array:
        """See interface.Backend.normals."""
        return self._fill(1, seed, stream, replicas, count, step, component)

    def _fill(
        self, normal: int, seed: int, stream: int, replicas: Replicas, count: int, step: int, component: int
    ) -> Array:
        out, rows = self._runtime.xp.empty((len(replicas), count)), self._words(replicas)
        self._each(
            "fill", len(replicas) * ((count + 1) // 2), np.int32(normal), np.uint32(seed), np.uint32(stream), rows,
            np.int64(len(replicas)), np.int64(count), np.uint64(step), np.uint64(component), out,
        )  # fmt: skip
        return cast(Array, out)

    def chain_path(
        self, chain: GaussianChain, key: RandomKey, state: Array, first_step: int, steps: int, keep: bool = True
    ) -> tuple[Array, Array]:
        """See interface.Backend.chain_path; state lies on the device."""
        xp, length = self._runtime.xp, steps if keep else 0
        history, y = xp.empty((len(key.replicas), length, chain.size)), xp.empty((len(key.replicas), length))
        coupling = chain.coupling if chain.coupling is not None else np.zeros((1, 1))
        matrices = [self._doubles(matrix) for matrix in (chain.linear, coupling, chain.noise, chain.target)]
        macros = {"INPUTS": chain.inputs, "HIDDEN": chain.hidden, "NONLINEAR": int(chain.coupling is not None)}
        program = self._runtime.program("device_paths.cu", "chain_path", macros)
        arguments = (
            *matrices, np.uint32(key.seed), np.uint32(key.stream), self._words(key.replicas),
            np.int64(len(key.replicas)),
            np.uint64(first_step), np.int64(steps), state, history, y, np.int32(keep),
        )  # fmt: skip
        program((-(-len(key.replicas) // PATH_THREADS),), (PATH_THREADS,), arguments)
        return history, y

    def finite_path(
        self, transition: Array, key: RandomKey, state: NDArray[np.int32], first_step: int, steps: int
    ) -> NDArray[np.int32]:
        """See interface.Backend.finite_path; state lies on the device."""
        history = self._runtime.xp.empty((len(key.replicas), steps), dtype=np.int32)
        cumulative = self._doubles(np.cumsum(transition, axis=1))
        program = self._runtime.program("device_paths.cu", "finite_path", {})
        arguments = (
            cumulative, np.int32(len(cumulative)), np.uint32(key.seed), np.uint32(key.stream),
            self._words(key.replicas), np.int64(len(key.replicas)), np.uint64(first_step), np.int64(steps),
            state, history,
        )  # fmt: skip
        program((-(-len(key.replicas) // PATH_THREADS),), (PATH_THREADS,), arguments)
        return cast(NDArray[np.int32], history)

    def memory_path(self, rule: MemoryMap, inputs: MemoryInputs, start: Array) -> Array:
        """See interface.Backend.memory_path."""
        replicas, steps = inputs.location.shape
        memory = self._runtime.xp.empty((replicas, steps + 1))
        macros = {**ACTIVATIONS[rule.activation].macros, "COORDINATES": rule.nodes.shape[1]}
        program = self._runtime.program("device_paths.cu", "memory_path", macros)
        threads = min(THREADS, 32 * -(-len(rule.nodes) // 32))
        arguments = (
            *(self._doubles(a) for a in (rule.nodes.T, rule.weight0, rule.weight1)), np.int64(len(rule.nodes)),
            *(self._doubles(a) for a in (inputs.location, inputs.coordinates, inputs.slope)),
            np.int64(replicas), np.int64(steps), self._doubles(start), memory,
        )  # fmt: skip
        program((min(replicas, MOST_BLOCKS),), (threads,), arguments)
        return cast(Array, memory)

    def twin_path(self, features: FeatureMap, rate: float, x: Array, m: Array, y: Array, theta: Array) -> Array:
        """See interface.Backend.twin_path; theta lies on the device."""
        count, dimension = features.w.shape
        threads = min(THREADS, 32 * -(-count // 32))
        macros = {"DIMENSION": dimension, **ACTIVATIONS[features.activation].macros}
        program = self._runtime.program("device_twin.cu", "twin_path", {**macros, "SLOTS": -(-count // threads)})
        squared_error = self._runtime.xp.empty(y.shape)
        arguments = (
            *(self._doubles(a) for a in (features.w, features.value_scale, features.slope_scale)), np.int64(count),
            np.float64(rate), *(self._doubles(a) for a in (x, m, y)), np.int64(y.shape[0]), np.int64(y.shape[1]),
            theta, squared_error,
        )  # fmt: skip
        program((min(y.shape[0], MOST_BLOCKS),), (threads,), arguments)
        self._runtime.keep_pace()
        return cast(Array, squared_error)

    def add_moments(self, features: FeatureMap, x: Array, m: Array, y: Array, a: Array, b: Array) -> None:
        """See interface.Backend.add_moments."""
        add_moments(self, features, x, m, y, a, b)

    def trainer(self, training: Training, replicas: int) -> CudaTrainer:
        """See interface.Backend.trainer. Raises KernelError if it does not fit into the device's free memory."""
        return CudaTrainer(self._runtime, training, replicas)

    def tangents(self, training: Training, nodes: Weighted, ends: Weighted, replicas: int) -> CudaTangents:
        """See interface.Backend.tangents. Raises KernelError if they do not fit into the device's free memory."""
        return CudaTangents(self._runtime, training, nodes, ends, replicas)

    def _each(self, name: str, count: int, *arguments: Any) -> None:
        """Launch a program of device_paths.cu whose threads share `count` pieces of work."""
        blocks = max(1, min(-(-count // THREADS), MOST_BLOCKS))
        self._runtime.program("device_paths.cu", name, {})((blocks,), (THREADS,), arguments)

    def _words(self, replicas: Replicas) -> Any:
        return self._runtime.xp.asarray(np.asarray(replicas, dtype=np.uint32))

    def _doubles(self, values: Any) -> Any:
        return self._runtime.xp.ascontiguousarray(self._runtime.xp.asarray(values, dtype=np.float64))


@cache
def layout_of(runtime: Runtime, macros: tuple[tuple[str, object], ...]) -> Layout:
    """The layout reported by the compiled source: program `layout` of src/device_probe.cu."""
    return layouts(runtime, "device_probe.cu", "layout", dict(macros))[0]


class CudaTrainer:
    """See interface.Trainer. Units lie in device memory as (replicas, fields, width) between segments (src/store.h)."""

    def __init__(self, runtime: Runtime, training: Training, replicas: int) -> None:
        self.training, self._runtime, self._replicas = training, runtime, replicas
        self._launch = launch.choose(training, runtime.limits)
        self._macros = launch.specialisation(training)
        self._layout, self._real = layout_of(runtime, tuple(self._macros.items())), np.dtype(training.precision)
        self._refuse_what_does_not_fit()
        xp = runtime.xp
        self._units = xp.zeros((replicas, self._layout.unit, training.width), dtype=self._real)
        self._states = xp.zeros((replicas, self._layout.state))

    def _refuse_what_does_not_fit(self) -> None:
        path = SEGMENT_STEPS * (self.training.dimension + 1) * 3 * 8  # the chain, inputs and targets, their copies
        one = self._layout.unit * self.training.width * self._real.itemsize + path
        what, advice = f"width {self.training.width}", ("lower training.replicas_per_block", "use another GPU")
        require_room(self._runtime, one, self._replicas, what, "replicas", advice)

    def fill(self, replica: int, w: Array, b: Array, c: Array) -> None:
        """See interface.Trainer.fill."""
        self.fill_from(replica, *(self._runtime.xp.asarray(a)[None] for a in (w, b, c)))

    def fill_from(self, first: int, w: Array, b: Array, c: Array) -> None:
        """See interface.Trainer.fill_from."""
        at, rows = self._layout, slice(first, first + len(b))
        self._units[rows] = 0
        self._states[rows] = 0
        for j in range(self.training.dimension):
            self._units[rows, at.w_start + j] = w[..., j]
        self._units[rows, at.c_start] = c
        self._units[rows, at.b_start] = b

    def weigh(self, weight: Array) -> None:
        """See interface.Trainer.weigh."""
        self._units[:, self._layout.weight] = self._runtime.xp.asarray(weight)

    def run(self, x: Array, y: Array) -> Array:
        """See interface.Trainer.run."""
        t, xp, geometry = self.training, self._runtime.xp, self._launch
        inputs, targets = (xp.ascontiguousarray(xp.asarray(a, dtype=self._real)) for a in (x, y))
        squared_error = xp.empty(y.shape)
        blocks = geometry.grid(self._replicas, self._runtime.limits)
        meeting = geometry.team == "grid"
        rows = xp.zeros(2 * blocks * self._layout.sums if meeting else 1)
        counts = xp.zeros(blocks // geometry.blocks if meeting else 1, dtype=np.uint32)
        macros = {**self._macros, **geometry.macros}
        program = self._runtime.program("device_train.cu", "train_segment", macros, cooperative=meeting)
        arguments = (
            self._units, self._states, np.int64(t.width), np.int64(self._replicas), np.float64(t.output_scale),
            np.float64(t.rate), np.float64(t.clip_level), inputs, targets, squared_error, np.int64(y.shape[1]),
            rows, counts, np.int32(geometry.blocks),
        )  # fmt: skip
        program((blocks,), (geometry.threads,), arguments)
        self._runtime.keep_pace()
        return cast(Array, squared_error)

    def settle(self) -> None:
        """See interface.Trainer.settle."""
        width, replicas = np.int64(self.training.width), np.int64(self._replicas)
        blocks = min(-(-self.training.width * self._replicas // THREADS), MOST_BLOCKS)
        self._start("settle_units", blocks, self._units, self._states, width, replicas)
        self._start("settle_states", -(-self._replicas // THREADS), self._states, replicas)

    def probe(self, histories: Array) -> tuple[Array, Array]:
        """See interface.Trainer.probe."""
        xp, (count, length) = self._runtime.xp, histories.shape[:2]
        inputs = xp.ascontiguousarray(xp.asarray(histories, dtype=self._real))
        output, memory = xp.empty((self._replicas, count)), xp.empty((self._replicas, count, length))
        self._start(
            "probe", min(self._replicas * count, MOST_BLOCKS), self._units, np.int64(self.training.width),
            np.int64(self._replicas), np.float64(self.training.output_scale), inputs, np.int64(count),
            np.int64(length), output, memory,
            threads=min(THREADS, 32 * -(-self.training.width // 32)),
        )  # fmt: skip
        return self._runtime.to_host(output), self._runtime.to_host(memory)

    def _start(self, name: str, blocks: int, *arguments: Any, threads: int = THREADS) -> None:
        self._runtime.program("device_probe.cu", name, self._macros)((blocks,), (threads,), arguments)

    def _drifts(self) -> tuple[Any, Any, Any]:
        """Views (R, d, N), (R, 1, N), (R, 1, N) of the drifts of w, b and c."""
        d, at = self.training.dimension, self._layout
        w, b, c = (
            self._units[:, first : first + n] for first, n in ((at.w_drift, d), (at.b_drift, 1), (at.c_drift, 1))
        )
        return w, b, c

    def weights(self, first: int, count: int) -> tuple[Array, Array, Array]:
        """See interface.Trainer.weights."""
        d, at, rows = self.training.dimension, self._layout, self._units[first : first + count]
        w = rows[:, at.w_start : at.w_start + d] + rows[:, at.w_drift : at.w_drift + d]
        return w.swapaxes(1, 2), rows[:, at.b_start] + rows[:, at.b_drift], rows[:, at.c_start] + rows[:, at.c_drift]

    def drift(self, replica: int) -> tuple[Array, Array, Array]:
        """See interface.Trainer.drift."""
        w, b, c = (self._runtime.to_host(a[replica]).astype(np.float64) for a in self._drifts())
        return w.T, b[0], c[0]

    def state(self) -> State:
        """See interface.Trainer.state."""
        return State(self._runtime.to_host(self._units), self._runtime.to_host(self._states))

    def restore(self, state: State) -> None:
        """See interface.Trainer.restore."""
        units, words = state.required(State(self._units, self._states))
        self._units[...] = self._runtime.xp.asarray(units)
        self._states[...] = self._runtime.xp.asarray(words)

    def drift_norms(self) -> Array:
        """See interface.Trainer.drift_norms."""
        largest = [abs(a).max(axis=(1, 2)) for a in self._drifts()]
        squares = [np.square(a, dtype=np.float64).sum(axis=(1, 2)) for a in self._drifts()]
        columns = [*largest, *(np.sqrt(a / self.training.width) for a in squares)]
        return np.stack([self._runtime.to_host(a).astype(np.float64) for a in columns], axis=1)


def backend(index: int = 0) -> CudaBackend:
    """The back end on one GPU. Raises KernelError without CuPy, and for a GPU that does not exist or is too old."""
    return CudaBackend(CupyRuntime(index))
