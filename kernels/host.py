"""The C++ source on this machine's processor: the same interface as reference.py, at the speed of the core."""

from __future__ import annotations

import ctypes
from ctypes import c_char_p, c_double, c_int, c_long, c_uint32, c_uint64, c_void_p
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnnlimits.kernels import compiler, reference
from rnnlimits.kernels.activations import ACTIVATIONS
from rnnlimits.kernels.problem import Array, FeatureMap, GaussianChain, OneByOne, Replicas, State, Training
from rnnlimits.kernels.reference import array, numpy

__all__ = ["array", "numpy"]  # of the back end: nothing to do, its arrays are NumPy's

name = "host"
_ALIGNMENT = 64  # bytes: a cache line, and the widest vector


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
    library.memory_path.argtypes = [c_int, *[c_void_p] * 4, c_long, c_long, c_void_p, c_void_p]
    library.rounding.restype = c_char_p
    library.evaluate_function.argtypes = [c_int, c_void_p, c_long, c_void_p]
    return library


@cache
def _training(precision: str, dimension: int, depth: int, activation: int, update_b: bool) -> ctypes.CDLL:
    real = {"float32": "float", "float64": "double"}[precision]
    macros = {"REAL": real, "DIMENSION": dimension, "DEPTH": depth, "ACTIVATION": activation}
    library = compiler.load("host_train.cpp", {**macros, "UPDATE_B": int(update_b)})
    library.unit_bytes.restype = library.state_bytes.restype = c_long
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
    library.settle.argtypes = [c_void_p] * 3
    library.probe_replica.argtypes = [c_void_p, c_void_p, c_void_p, c_long, c_long, *[c_void_p] * 3]
    return library


def _aligned(size: int) -> NDArray[np.uint8]:
    """`size` zero bytes that start on a cache line."""
    raw = np.zeros(size + _ALIGNMENT, dtype=np.uint8)
    shift = -raw.ctypes.data % _ALIGNMENT
    return raw[shift : shift + size]


def _doubles(array: Array) -> Array:
    return np.ascontiguousarray(array, dtype=np.float64)


def _words(replicas: Replicas) -> Replicas:
    return np.ascontiguousarray(replicas, dtype=np.uint32)


def _pointer(array: NDArray[np.generic]) -> c_void_p:
    return c_void_p(array.ctypes.data)


def available() -> None:
    """Compile (or find) the path kernels. Raises KernelError where that is not possible."""
    _paths()


def rounding() -> str:
    """See problem.Backend.rounding. The processor's model counts because NumPy and BLAS choose their code by it."""
    return f"{_paths().rounding().decode()}, source {compiler.source_digest()}, {reference.rounding()}"


def philox(counter: NDArray[np.uint32], key: tuple[int, int]) -> NDArray[np.uint32]:
    """See problem.Backend.philox."""
    words = np.array(counter, dtype=np.uint32, order="C")
    _paths().philox_words(_pointer(words), len(words), key[0], key[1])
    return words


def uniforms(seed: int, stream: int, replicas: Replicas, count: int, step: int = 0, component: int = 0) -> Array:
    """See problem.Backend.uniforms."""
    out, rows = np.empty((len(replicas), count)), _words(replicas)
    _paths().fill_uniforms(seed, stream, _pointer(rows), len(rows), count, step, component, _pointer(out))
    return out


def normals(seed: int, stream: int, replicas: Replicas, count: int, step: int = 0, component: int = 0) -> Array:
    """See problem.Backend.normals."""
    out, rows = np.empty((len(replicas), count)), _words(replicas)
    _paths().fill_normals(seed, stream, _pointer(rows), len(rows), count, step, component, _pointer(out))
    return out


class _Chain(ctypes.Structure):  # struct Chain of src/chain.h
    _fields_ = (
        *((field, c_int) for field in ("inputs", "hidden", "nonlinear")),
        *((field, c_void_p) for field in ("linear", "coupling", "noise", "target")),
        *((field, c_uint32) for field in ("seed", "stream")),
    )


def chain_path(
    chain: GaussianChain,
    seed: int,
    stream: int,
    replicas: Replicas,
    state: Array,
    first_step: int,
    steps: int,
    keep: bool = True,
) -> tuple[Array, Array]:
    """See problem.Backend.chain_path."""
    rows, kept = _words(replicas), steps if keep else 0
    history, y = np.empty((len(rows), kept, chain.size)), np.empty((len(rows), kept))
    coupling = chain.coupling if chain.coupling is not None else np.zeros((1, 1))
    matrices = [_doubles(matrix) for matrix in (chain.linear, coupling, chain.noise, chain.target)]
    pointers = [matrix.ctypes.data for matrix in matrices]
    asked = _Chain(chain.inputs, chain.hidden, chain.coupling is not None, *pointers, seed, stream)
    work = _doubles(state)
    outputs = (_pointer(history), _pointer(y)) if keep else (None, None)
    _paths().chain_path(ctypes.byref(asked), _pointer(rows), len(rows), first_step, steps, _pointer(work), *outputs)
    state[:] = work
    return history, y


def finite_path(
    transition: Array,
    seed: int,
    stream: int,
    replicas: Replicas,
    state: NDArray[np.int32],
    first_step: int,
    steps: int,
) -> NDArray[np.int32]:
    """See problem.Backend.finite_path."""
    rows, history = _words(replicas), np.empty((len(replicas), steps), dtype=np.int32)
    cumulative, work = _doubles(np.cumsum(transition, axis=1)), np.ascontiguousarray(state, dtype=np.int32)
    _paths().finite_path(
        _pointer(cumulative), len(cumulative), seed, stream, _pointer(rows), len(rows), first_step, steps,
        _pointer(work), _pointer(history),
    )  # fmt: skip
    state[:] = work
    return history


class _MemoryMap(ctypes.Structure):  # struct MemoryMap of src/host_paths.cpp
    _fields_ = (
        *((field, c_long) for field in ("nodes", "dimension")),
        *((field, c_void_p) for field in ("node", "weight0", "weight1")),
    )


def memory_path(
    activation: str,
    nodes: Array,
    weight0: Array,
    weight1: Array,
    location: Array,
    coordinates: Array,
    slope: Array,
    start: Array,
) -> Array:
    """See problem.Backend.memory_path."""
    lanes = _paths().vector_lanes()
    padding = -len(nodes) % lanes  # the kernel reads whole vectors; the extra nodes weigh nothing
    columns = _doubles(np.pad(nodes, ((0, padding), (0, 0))).T)
    weights = [_doubles(np.pad(weight, (0, padding))) for weight in (weight0, weight1)]
    asked = _MemoryMap(columns.shape[1], columns.shape[0], *(a.ctypes.data for a in (columns, *weights)))
    paths = [_doubles(array) for array in (location, coordinates, slope)]
    begin, memory = _doubles(start), np.empty((location.shape[0], location.shape[1] + 1))
    _paths().memory_path(
        ACTIVATIONS[activation].code, ctypes.byref(asked), *(_pointer(path) for path in paths),
        *location.shape, _pointer(begin), _pointer(memory),
    )  # fmt: skip
    return memory


@cache
def _twin(dimension: int, activation: int) -> ctypes.CDLL:
    library = compiler.load("host_twin.cpp", {"DIMENSION": dimension, "ACTIVATION": activation})
    library.twin_path.argtypes = [*[c_void_p] * 3, c_long, c_double, *[c_void_p] * 3, c_long, c_long, *[c_void_p] * 2]
    return library


def twin_path(features: FeatureMap, rate: float, x: Array, m: Array, y: Array, theta: Array) -> Array:
    """See problem.Backend.twin_path."""
    nodes = [_doubles(a) for a in (features.w, features.value_scale, features.slope_scale)]
    paths, work, squared_error = [_doubles(a) for a in (x, m, y)], _doubles(theta), np.empty(y.shape)
    _twin(features.w.shape[1], ACTIVATIONS[features.activation].code).twin_path(
        *(_pointer(a) for a in nodes), len(features.w), rate, *(_pointer(a) for a in paths), *y.shape,
        _pointer(work), _pointer(squared_error),
    )  # fmt: skip
    theta[:] = work
    return squared_error


FUNCTIONS = ("tanh", "erf", "exp", "log", "sin", "sin_turns", "cos_turns", "erf_slope")


def evaluate(function: str, x: Array) -> Array:
    """An elementary function of src/functions.h at x (n,), for measuring its error."""
    points, out = _doubles(x), np.empty(len(x))
    _paths().evaluate_function(FUNCTIONS.index(function), _pointer(points), len(points), _pointer(out))
    return out


class _Training(ctypes.Structure):  # struct Training of src/team.h
    _fields_ = tuple((field, c_double) for field in ("width", "output_scale", "rate", "clip"))


class HostTrainer(OneByOne):
    """See problem.Trainer. Replicas train one after the other, a whole segment each: their units stay in cache."""

    def __init__(self, training: Training, replicas: int) -> None:
        t, self.replicas = training, replicas
        self.training = training
        self._library = _training(t.precision, t.dimension, t.depth, ACTIVATIONS[t.activation].code, t.update_b)
        self._real = np.dtype(t.precision)
        self._asked = _Training(t.width, t.output_scale, t.rate, t.clip_level)
        units, state = self._library.unit_bytes(t.width), self._library.state_bytes()
        self._units = [_aligned(units) for _ in range(replicas)]
        self._states = [_aligned(state) for _ in range(replicas)]

    def fill(self, replica: int, w: Array, b: Array, c: Array) -> None:
        """See problem.Trainer.fill."""
        weights = [_doubles(a) for a in (w, b, c)]
        self._library.fill_units(_pointer(self._units[replica]), self.training.width, *(_pointer(a) for a in weights))
        self._states[replica][:] = 0

    def run(self, x: Array, y: Array) -> Array:
        """See problem.Trainer.run."""
        squared_error = np.empty(y.shape)
        for r, (units, state) in enumerate(zip(self._units, self._states, strict=True)):
            inputs, targets = (np.ascontiguousarray(a[r], dtype=self._real) for a in (x, y))
            self._library.train_replica(
                _pointer(units), _pointer(state), ctypes.byref(self._asked), _pointer(inputs),
                _pointer(targets), len(targets), _pointer(squared_error[r]),
            )  # fmt: skip
        return squared_error

    def settle(self) -> None:
        """See problem.Trainer.settle."""
        for units, state in zip(self._units, self._states, strict=True):
            self._library.settle(_pointer(units), _pointer(state), ctypes.byref(self._asked))

    def probe(self, histories: Array) -> tuple[Array, Array]:
        """See problem.Trainer.probe."""
        count, length = histories.shape[:2]
        inputs = np.ascontiguousarray(histories, dtype=self._real)
        output, memory = np.empty((self.replicas, count)), np.empty((self.replicas, count, length))
        sums = 3 + self.training.depth + max(self.training.depth - 1, 1)  # vectors in struct Sums of src/unit.h
        scratch = _aligned(count * sums * _ALIGNMENT)
        for r, units in enumerate(self._units):
            self._library.probe_replica(
                _pointer(units), ctypes.byref(self._asked), _pointer(inputs), count, length,
                _pointer(scratch), _pointer(output[r]), _pointer(memory[r]),
            )  # fmt: skip
        return output, memory

    def weights(self, first: int, count: int) -> tuple[Array, Array, Array]:
        """See problem.Trainer.weights."""
        n, d = self.training.width, self.training.dimension
        w, b, c = (np.empty((count, *shape), dtype=self._real) for shape in ((n, d), (n,), (n,)))
        for row, units in enumerate(self._units[first : first + count]):
            self._library.read_weights(_pointer(units), n, *(_pointer(a[row]) for a in (w, b, c)))
        return w, b, c

    def drift(self, replica: int) -> tuple[Array, Array, Array]:
        """See problem.Trainer.drift."""
        n = self.training.width
        w, b, c = np.empty((n, self.training.dimension)), np.empty(n), np.empty(n)
        self._library.read_drift(_pointer(self._units[replica]), n, _pointer(w), _pointer(b), _pointer(c))
        return w, b, c

    def state(self) -> State:
        """See problem.Trainer.state."""
        n = self.training.width
        found = np.empty((self.replicas, self._library.unit_fields(), n), dtype=self._real)
        for row, units in zip(found, self._units, strict=True):
            self._library.read_units(_pointer(units), n, _pointer(row))
        return State(found, np.stack([state.view(np.float64) for state in self._states]))

    def restore(self, state: State) -> None:
        """See problem.Trainer.restore."""
        fields, words = self._library.unit_fields(), self._library.state_bytes() // 8
        shape = (self.replicas, fields, self.training.width)
        like = State(np.broadcast_to(np.zeros((), self._real), shape), np.empty((self.replicas, words)))
        for row, kept, units, own in zip(*state.required(like), self._units, self._states, strict=True):
            self._library.write_units(_pointer(units), shape[2], _pointer(np.ascontiguousarray(row)))
            own.view(np.float64)[:] = kept


def trainer(training: Training, replicas: int) -> HostTrainer:
    """See problem.Backend.trainer."""
    return HostTrainer(training, replicas)


device = "host C++"
