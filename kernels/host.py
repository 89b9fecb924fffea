"""The C++ source on this machine's processor: the same interface as reference.py, at the speed of the core."""

from __future__ import annotations

import ctypes
from ctypes import c_char_p, c_double, c_int, c_long, c_uint32, c_uint64, c_void_p
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnnlimits.kernels import compiler, launch
from rnnlimits.kernels.activations import ACTIVATIONS, source_digest
from rnnlimits.kernels.host_tangents import HostTangents
from rnnlimits.kernels.interface import (
    Array,
    FeatureMap,
    GaussianChain,
    KernelError,
    MemoryInputs,
    MemoryMap,
    OneByOne,
    RandomKey,
    Replicas,
    State,
    Training,
    Weighted,
)
from rnnlimits.kernels.pointers import TrainingScalars, aligned, doubles, pointer, rows_of
from rnnlimits.kernels.reference import NumpyBackend


@cache
def _paths() -> ctypes.CDLL:
    library = compiler.load("host_paths.cpp")
    counter: list[Any] = [c_uint32, c_uint32, c_void_p, c_long, c_long, c_uint64, c_uint64, c_void_p]
    library.fill_uniforms.argtypes = library.fill_normals.argtypes = counter
    library.philox_words.argtypes = [c_void_p, c_long, c_uint32, c_uint32]
    library.chain_path.argtypes = [c_void_p, c_void_p, c_long, c_uint64, c_long, c_void_p, c_void_p, c_void_p]
    library.finite_path.argtypes = [
        c_void_p, c_int, c_uint32, c_uint32, c_void_p, c_long, c_uint64, c_long, c_void_p, c_void_p,
    ]  # fmt: skip
    library.rounding.restype = c_char_p
    library.evaluate_function.argtypes = [c_int, c_void_p, c_long, c_void_p]
    return library


@cache
def _training(macros: tuple[tuple[str, object], ...]) -> ctypes.CDLL:
    library = compiler.load("host_train.cpp", dict(macros))
    library.unit_bytes.restype = library.state_bytes.restype = library.sums_bytes.restype = c_long
    library.unit_bytes.argtypes = [c_long]
    library.fill_units.argtypes = library.read_drift.argtypes = [
        c_void_p,
        c_long,
        c_void_p,
        c_void_p,
        c_void_p,
    ]
    library.unit_fields.restype = c_long
    library.read_units.argtypes = library.write_units.argtypes = [c_void_p, c_long, c_void_p]
    library.read_weights.argtypes = [c_void_p, c_long, c_void_p, c_void_p, c_void_p]
    library.train_replica.argtypes = [*[c_void_p] * 5, c_long, c_void_p]
    if dict(macros).get("WEIGHTED"):
        library.weigh_units.argtypes = [c_void_p, c_long, c_void_p]
    library.settle.argtypes = [c_void_p] * 3
    library.probe_replica.argtypes = [c_void_p, c_void_p, c_void_p, c_long, c_long, *[c_void_p] * 3]
    return library


@cache
def _memory(activation: str) -> ctypes.CDLL:
    library = compiler.load("host_memory.cpp", ACTIVATIONS[activation].macros)
    library.memory_path.argtypes = [*[c_void_p] * 4, c_long, c_long, c_void_p, c_void_p]
    return library


def _words(replicas: Replicas) -> Replicas:
    return np.ascontiguousarray(replicas, dtype=np.uint32)


class _Chain(ctypes.Structure):  # struct Chain of src/chain.h
    _fields_ = (
        *((field, c_int) for field in ("inputs", "hidden", "nonlinear")),
        *((field, c_void_p) for field in ("linear", "coupling", "noise", "target")),
        *((field, c_uint32) for field in ("seed", "stream")),
    )


class _MemoryMap(ctypes.Structure):  # struct MemoryMap of src/host_memory.cpp
    _fields_ = (
        *((field, c_long) for field in ("nodes", "dimension")),
        *((field, c_void_p) for field in ("node", "weight0", "weight1")),
    )


@cache
def _twin(dimension: int, activation: str) -> ctypes.CDLL:
    library = compiler.load("host_twin.cpp", {"DIMENSION": dimension, **ACTIVATIONS[activation].macros})
    library.twin_path.argtypes = [*[c_void_p] * 3, c_long, c_double, *[c_void_p] * 3, c_long, c_long, *[c_void_p] * 2]
    return library


class _Features(ctypes.Structure):  # struct Features of src/host_moments.cpp
    _fields_ = (("nodes", c_long), *((field, c_void_p) for field in ("w", "value_scale", "slope_scale")))


@cache
def _moments(dimension: int, activation: str) -> ctypes.CDLL:
    library = compiler.load("host_moments.cpp", {"DIMENSION": dimension, **ACTIVATIONS[activation].macros})
    library.add_moments.argtypes = [*[c_void_p] * 4, c_long, c_void_p, c_void_p]
    return library


DRIFT_VALUES = 2**16  # units whose drifts are held at once
FUNCTIONS = ("tanh", "erf", "exp", "log", "sin", "sin_turns", "cos_turns", "erf_slope")


def evaluate(function: str, x: Array) -> Array:
    """An elementary function of src/functions.h at x (n,), for measuring its error."""
    points, out = doubles(x), np.empty(len(x))
    _paths().evaluate_function(FUNCTIONS.index(function), pointer(points), len(points), pointer(out))
    return out


class HostTrainer(OneByOne):
    """See interface.Trainer. Replicas train one after the other, a whole segment each, so their units stay in cache."""

    def __init__(self, training: Training, replicas: int) -> None:
        t, self.replicas = training, replicas
        self.training = training
        self._library = _training(tuple(launch.specialisation(t).items()))
        self._real = np.dtype(t.precision)
        self._scalars = TrainingScalars(t.width, t.output_scale, t.rate, t.clip_level)
        units, state = self._library.unit_bytes(t.width), self._library.state_bytes()
        self._units = [aligned(units) for _ in range(replicas)]
        self._states = [aligned(state) for _ in range(replicas)]
        self._places = [(pointer(own), pointer(words)) for own, words in zip(self._units, self._states, strict=True)]

    def fill(self, replica: int, w: Array, b: Array, c: Array) -> None:
        """See interface.Trainer.fill."""
        weights = [doubles(a) for a in (w, b, c)]
        self._library.fill_units(pointer(self._units[replica]), self.training.width, *(pointer(a) for a in weights))
        self._states[replica][:] = 0

    def weigh(self, weight: Array) -> None:
        """See interface.Trainer.weigh."""
        shape = (self.replicas, self.training.width)
        for units, own in zip(self._units, np.broadcast_to(weight, shape), strict=True):
            values = np.ascontiguousarray(own, dtype=self._real)
            self._library.weigh_units(pointer(units), self.training.width, pointer(values))

    def run(self, x: Array, y: Array) -> Array:
        """See interface.Trainer.run."""
        squared_error = np.empty(y.shape)
        inputs, targets = (np.ascontiguousarray(a, dtype=self._real) for a in (x, y))
        rows = zip(self._places, *(rows_of(a) for a in (inputs, targets, squared_error)), strict=True)
        for (units, state), own_inputs, own_targets, own_errors in rows:
            self._library.train_replica(
                units, state, ctypes.byref(self._scalars), own_inputs, own_targets, y.shape[1], own_errors
            )
        return squared_error

    def settle(self) -> None:
        """See interface.Trainer.settle."""
        for units, state in self._places:
            self._library.settle(units, state, ctypes.byref(self._scalars))

    def probe(self, histories: Array) -> tuple[Array, Array]:
        """See interface.Trainer.probe."""
        count, length = histories.shape[:2]
        inputs = np.ascontiguousarray(histories, dtype=self._real)
        output = np.empty((self.replicas, count))
        memory = np.empty((self.replicas, count, length))
        scratch = aligned(count * self._library.sums_bytes())
        points, work = pointer(inputs), pointer(scratch)
        for (units, _), *own in zip(self._places, rows_of(output), rows_of(memory), strict=True):
            self._library.probe_replica(units, ctypes.byref(self._scalars), points, count, length, work, *own)
        return output, memory

    def weights(self, first: int, count: int) -> tuple[Array, Array, Array]:
        """See interface.Trainer.weights."""
        n, d = self.training.width, self.training.dimension
        w, b, c = (np.empty((count, *shape), dtype=self._real) for shape in ((n, d), (n,), (n,)))
        for row, units in enumerate(self._units[first : first + count]):
            self._library.read_weights(pointer(units), n, *(pointer(a[row]) for a in (w, b, c)))
        return w, b, c

    def drift(self, replica: int) -> tuple[Array, Array, Array]:
        """See interface.Trainer.drift."""
        n = self.training.width
        w, b, c = (np.empty(shape) for shape in ((n, self.training.dimension), (n,), (n,)))
        self._library.read_drift(self._places[replica][0], n, pointer(w), pointer(b), pointer(c))
        return w, b, c

    def drift_norms(self) -> Array:
        """See interface.Trainer.drift_norms; some replicas at a time, with the bits of `norms`."""
        n, d = self.training.width, self.training.dimension
        found, at_once = np.empty((self.replicas, 6)), max(1, DRIFT_VALUES // n)
        for first in range(0, self.replicas, at_once):
            places = self._places[first : first + at_once]
            drifts = [np.empty((len(places), size)) for size in (n * d, n, n)]
            for (units, _), *own in zip(places, *map(rows_of, drifts), strict=True):
                self._library.read_drift(units, n, *own)
            part = found[first : first + at_once]
            for column, drift in enumerate(drifts):
                part[:, column] = np.abs(drift).max(1)
                part[:, 3 + column] = np.sqrt((drift**2).sum(1) / n)
        return found

    def state(self) -> State:
        """See interface.Trainer.state."""
        n = self.training.width
        all_units = np.empty((self.replicas, self._library.unit_fields(), n), dtype=self._real)
        for row, units in zip(all_units, self._units, strict=True):
            self._library.read_units(pointer(units), n, pointer(row))
        return State(all_units, np.stack([state.view(np.float64) for state in self._states]))

    def restore(self, state: State) -> None:
        """See interface.Trainer.restore."""
        fields, words = self._library.unit_fields(), self._library.state_bytes() // 8
        shape = (self.replicas, fields, self.training.width)
        like = State(np.broadcast_to(np.zeros((), self._real), shape), np.empty((self.replicas, words)))
        for row, saved, units, state_bytes in zip(*state.required(like), self._units, self._states, strict=True):
            self._library.write_units(pointer(units), shape[2], pointer(np.ascontiguousarray(row)))
            state_bytes.view(np.float64)[:] = saved


def _in_whole_vectors(lanes: int, *arrays: Array) -> list[Array]:
    """The arrays, padded with zeros along the last axis to whole vectors, which the kernels read."""
    size = arrays[0].shape[-1]
    padded = [np.zeros((*array.shape[:-1], size + -size % lanes)) for array in arrays]
    for array, wide in zip(arrays, padded, strict=True):
        wide[..., :size] = array
    return padded


class HostBackend:
    """See interface.Backend; arrays are NumPy arrays."""

    name, on_device, worker = "host", False, "core"
    device = "host C++"

    def array(self, values: NDArray[Any]) -> NDArray[Any]:
        """See interface.Backend.array."""
        return values

    def numpy(self, values: NDArray[Any]) -> NDArray[Any]:
        """See interface.Backend.numpy."""
        return values

    def rounding(self) -> str:
        """See interface.Backend.rounding. The processor's model matters: NumPy and BLAS choose their code by it."""
        return f"{_paths().rounding().decode()}, source {source_digest()}, {NumpyBackend().rounding()}"

    def philox(self, counter: NDArray[np.uint32], key: tuple[int, int]) -> NDArray[np.uint32]:
        """See interface.Backend.philox."""
        words = np.array(counter, dtype=np.uint32, order="C")
        _paths().philox_words(pointer(words), len(words), key[0], key[1])
        return words

    def uniforms(
        self, seed: int, stream: int, replicas: Replicas, count: int, step: int = 0, component: int = 0
    ) -> Array:
        """See interface.Backend.uniforms."""
        out, rows = np.empty((len(replicas), count)), _words(replicas)
        _paths().fill_uniforms(seed, stream, pointer(rows), len(rows), count, step, component, pointer(out))
        return out

    def normals(
        self, seed: int, stream: int, replicas: Replicas, count: int, step: int = 0, component: int = 0
    ) -> Array:
        """See interface.Backend.normals."""
        out, rows = np.empty((len(replicas), count)), _words(replicas)
        _paths().fill_normals(seed, stream, pointer(rows), len(rows), count, step, component, pointer(out))
        return out

    def chain_path(
        self, chain: GaussianChain, key: RandomKey, state: Array, first_step: int, steps: int, keep: bool = True
    ) -> tuple[Array, Array]:
        """See interface.Backend.chain_path."""
        rows, length = _words(key.replicas), steps if keep else 0
        history, y = np.empty((len(rows), length, chain.size)), np.empty((len(rows), length))
        coupling = chain.coupling if chain.coupling is not None else np.zeros((1, 1))
        matrices = [doubles(matrix) for matrix in (chain.linear, coupling, chain.noise, chain.target)]
        pointers = [matrix.ctypes.data for matrix in matrices]
        dynamics = _Chain(chain.inputs, chain.hidden, chain.coupling is not None, *pointers, key.seed, key.stream)
        work = doubles(state)
        outputs = (pointer(history), pointer(y)) if keep else (None, None)
        _paths().chain_path(
            ctypes.byref(dynamics), pointer(rows), len(rows), first_step, steps, pointer(work), *outputs
        )
        state[:] = work
        return history, y

    def finite_path(
        self, transition: Array, key: RandomKey, state: NDArray[np.int32], first_step: int, steps: int
    ) -> NDArray[np.int32]:
        """See interface.Backend.finite_path."""
        rows, history = _words(key.replicas), np.empty((len(key.replicas), steps), dtype=np.int32)
        cumulative, work = doubles(np.cumsum(transition, axis=1)), np.ascontiguousarray(state, dtype=np.int32)
        _paths().finite_path(
            pointer(cumulative), len(cumulative), key.seed, key.stream, pointer(rows), len(rows), first_step, steps,
            pointer(work), pointer(history),
        )  # fmt: skip
        state[:] = work
        return history

    def memory_path(self, rule: MemoryMap, inputs: MemoryInputs, start: Array) -> Array:
        """See interface.Backend.memory_path."""
        columns, *weights = _in_whole_vectors(_paths().vector_lanes(), rule.nodes.T, rule.weight0, rule.weight1)
        padded = _MemoryMap(columns.shape[1], columns.shape[0], *(a.ctypes.data for a in (columns, *weights)))
        paths = [doubles(array) for array in (inputs.location, inputs.coordinates, inputs.slope)]
        (replicas, steps), begin = inputs.location.shape, doubles(start)
        memory = np.empty((replicas, steps + 1))
        _memory(rule.activation).memory_path(
            ctypes.byref(padded),
            *(pointer(path) for path in paths),
            replicas,
            steps,
            pointer(begin),
            pointer(memory),
        )
        return memory

    def twin_path(self, features: FeatureMap, rate: float, x: Array, m: Array, y: Array, theta: Array) -> Array:
        """See interface.Backend.twin_path."""
        nodes = [doubles(a) for a in (features.w, features.value_scale, features.slope_scale)]
        paths, work, squared_error = [doubles(a) for a in (x, m, y)], doubles(theta), np.empty(y.shape)
        _twin(features.w.shape[1], features.activation).twin_path(
            *(pointer(a) for a in nodes), len(features.w), rate, *(pointer(a) for a in paths), *y.shape,
            pointer(work), pointer(squared_error),
        )  # fmt: skip
        theta[:] = work
        return squared_error

    def add_moments(self, features: FeatureMap, x: Array, m: Array, y: Array, a: Array, b: Array) -> None:
        """See interface.Backend.add_moments."""
        (count, dimension), library = features.w.shape, _moments(features.w.shape[1], features.activation)
        scales = (features.value_scale, features.slope_scale)
        padded = _in_whole_vectors(library.columns(), features.w.T, *scales)
        nodes = padded[0].shape[1]
        sums, along = np.zeros(((1 + dimension) * nodes,) * 2), np.zeros((1 + dimension) * nodes)
        draws = [doubles(array) for array in (x, m, y)]
        given = _Features(nodes, *(array.ctypes.data for array in padded))
        library.add_moments(
            ctypes.byref(given), *(pointer(array) for array in draws), len(y), pointer(sums), pointer(along)
        )
        kept = (np.arange(count) + nodes * np.arange(1 + dimension)[:, None]).reshape(-1)
        upper = np.triu(sums[np.ix_(kept, kept)])  # entries below the diagonal were left out
        a += upper + np.triu(upper, 1).T
        b += along[kept]

    def trainer(self, training: Training, replicas: int) -> HostTrainer:
        """See interface.Backend.trainer."""
        return HostTrainer(training, replicas)

    def tangents(self, training: Training, nodes: Weighted, ends: Weighted, replicas: int) -> HostTangents:
        """See interface.Backend.tangents."""
        return HostTangents(training, nodes, ends, replicas)


def available() -> str | None:
    """None if the kernels can be compiled (this compiles them), else the reason why not, in one line."""
    try:
        _paths()
    except KernelError as error:
        return str(error)
    return None


def backend(index: int = 0) -> HostBackend:
    """The back end; `index` is ignored. Raises KernelError if the kernels cannot be compiled."""
    _paths()
    return HostBackend()
