"""The C++ source on a GPU, through CuPy: the same interface as reference.py, a whole segment of training in one launch.

Arrays stay on the device: what a function here returns is a CuPy array where the other back ends return NumPy's, and
what it takes may be either; results of a trainer that are written to files come back as NumPy arrays. CuPy is imported
only when a device is opened, so that a machine without one needs nothing of this.
"""

from __future__ import annotations

import ctypes
import importlib.util
import os
import platform
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from rnnlimits.kernels import compiler, launch
from rnnlimits.kernels.activations import ACTIVATIONS
from rnnlimits.kernels.launch import Limits
from rnnlimits.kernels.problem import Array, FeatureMap, GaussianChain, KernelError, Replicas, State, Training

THREADS = 256  # of a block, where every thread has work of its own
PATH_THREADS = 32  # of a block where a thread is a replica: few replicas then still reach many multiprocessors
MOST_BLOCKS = 65_536
SEGMENT_STEPS = 1024  # of a path that is there at a time
USABLE = 0.9  # of the free device memory: the rest is for work space
INSTALL = "install CuPy with: python -m pip install 'rnnlimits[gpu-cuda12]' (or gpu-cuda13)"

Program = Callable[[tuple[int], tuple[int], tuple[Any, ...]], None]


class Runtime(Protocol):
    """A device and the array library on it: CuPy, or in tests what stands in for both."""

    xp: Any  # the module that makes arrays on the device
    limits: Limits
    compiler: str  # of the device programs, with its version

    def program(self, source: str, name: str, macros: Mapping[str, object], cooperative: bool = False) -> Program:
        """A device program of src/, compiled under macros; raises KernelError with the compiler's first error."""

    def free_bytes(self) -> int:
        """Device memory that may still be taken."""

    def to_host(self, array: Any) -> NDArray[Any]:
        """A NumPy copy."""

    def keep_pace(self) -> None:
        """Wait until all but the newest call's work is done, so that progress means something."""


# --- devices -----------------------------------------------------------------------------------------------


@cache
def _driver() -> Any:
    """NVIDIA's driver library, initialised. Raises KernelError where there is none, or no device."""
    try:
        library = ctypes.CDLL("libcuda.so.1")
    except OSError as error:
        raise KernelError("no GPU: this machine has no NVIDIA driver (libcuda.so.1)") from error
    code = library.cuInit(0)
    if code != 0:
        name = ctypes.c_char_p()
        library.cuGetErrorName(code, ctypes.byref(name))
        raise KernelError(f"no GPU: the NVIDIA driver answers {(name.value or b'error').decode()} ({code})")
    return library


def visible() -> int:
    """Number of GPUs that this process may use. Asks the driver alone. Raises KernelError: no driver, or it fails."""
    count = ctypes.c_int()
    _driver().cuDeviceGetCount(ctypes.byref(count))
    return count.value


def available() -> str | None:
    """None where the back end can be used, else the reason why not, in one line. Never imports CuPy without a GPU."""
    if importlib.util.find_spec("cupy") is None:
        return f"CuPy is not installed; {INSTALL}"
    try:
        return None if visible() > 0 else "no GPU: the driver shows none to this process (CUDA_VISIBLE_DEVICES?)"
    except KernelError as error:
        return str(error)


def _cupy() -> Any:
    reason = available()
    if reason:
        raise KernelError(f"back end cuda: {reason}")
    # Homes are small and slow on clusters; read when CuPy is imported.
    os.environ.setdefault("CUPY_CACHE_DIR", str(compiler.cache_folder() / "cupy"))
    try:
        import cupy
    except ImportError as error:
        raise KernelError(f"back end cuda: CuPy cannot be imported ({error}); {INSTALL}") from error
    return cupy


def identity(index: int) -> str:
    """What tells a GPU from every other one, whatever its number in this process: node and PCI bus."""
    return f"{platform.node()} {_cupy().cuda.runtime.deviceGetPCIBusId(index)}"


def name_of(index: int) -> str:
    """The model of a GPU, as NVIDIA calls it."""
    return str(_cupy().cuda.runtime.getDeviceProperties(index)["name"].decode())


def limits_of(index: int) -> Limits:
    """What the launch chooser must know of a GPU."""
    properties = _cupy().cuda.runtime.getDeviceProperties(index)
    capability = (int(properties["major"]), int(properties["minor"]))
    return Limits(properties["name"].decode(), capability, int(properties["multiProcessorCount"]))


def report() -> list[tuple[str, str]]:
    """Label and value for each thing that a user may be asked about: CuPy, CUDA, driver, devices."""
    reason = available()
    if reason:
        return [("GPU", reason)]
    cupy = _cupy()
    runtime = cupy.cuda.runtime
    lines = [
        ("CuPy", cupy.__version__),
        ("CUDA runtime", _dotted(runtime.runtimeGetVersion())),
        ("NVIDIA driver", f"CUDA {_dotted(runtime.driverGetVersion())} or older"),
        ("NVRTC", ".".join(map(str, cupy.cuda.nvrtc.getVersion()))),
    ]
    for index in range(visible()):
        limits = limits_of(index)
        with cupy.cuda.Device(index):
            free, total = runtime.memGetInfo()
        about = f"compute capability {limits.capability[0]}.{limits.capability[1]}, {limits.multiprocessors} SMs"
        lines.append((f"GPU {index}", f"{limits.name}, {about}, {free / 2**30:.1f} of {total / 2**30:.1f} GiB free"))
    return lines


def _dotted(version: int) -> str:
    return f"{version // 1000}.{version % 1000 // 10}"


class CupyRuntime:
    """See Runtime."""

    def __init__(self, index: int) -> None:
        self.xp = cupy = _cupy()
        if not 0 <= index < visible():
            raise KernelError(f"back end cuda: there is no GPU {index}; this process sees {visible()}")
        cupy.cuda.Device(index).use()
        self.limits = limits_of(index)
        oldest = min(cupy.cuda.nvrtc.getSupportedArchs())
        if self.limits.architecture < oldest:
            found = ".".join(map(str, self.limits.capability))
            raise KernelError(
                f"back end cuda: {self.limits.name} (compute capability {found}) is too old for this CUDA, which "
                f"starts at {oldest // 10}.{oldest % 10}; install the extra gpu-cuda12, or use --backend host"
            )
        self.compiler = "NVRTC " + ".".join(map(str, cupy.cuda.nvrtc.getVersion()))
        self._last: Any = None
        self._programs: dict[object, Program] = {}

    def program(self, source: str, name: str, macros: Mapping[str, object], cooperative: bool = False) -> Program:
        """See Runtime.program."""
        key = (source, name, tuple(sorted(macros.items())), cooperative)
        if key not in self._programs:
            self._programs[key] = self._build(source, name, macros, cooperative)
        return self._programs[key]

    def _build(self, source: str, name: str, macros: Mapping[str, object], cooperative: bool) -> Program:
        cupy, options = self.xp, nvrtc_options(macros)
        text = (compiler.SOURCE / source).read_text()
        module = cupy.RawModule(code=text, options=options, enable_cooperative_groups=cooperative)
        # One rank of a node compiles, the others then find it in CuPy's cache.
        with compiler.alone(compiler.cache_folder() / f"cuda-{self.limits.architecture}.lock"):
            try:
                function = module.get_function(name)
            except cupy.cuda.compiler.CompileException as error:
                raise KernelError(f"NVRTC cannot compile {source}: {first_error(str(error))}") from error
        if int(str(macros.get("CLUSTER", 0))) > 8:
            nonportable = 14  # CU_FUNC_ATTRIBUTE_NON_PORTABLE_CLUSTER_SIZE_ALLOWED
            cupy.cuda.driver.funcSetAttribute(function.kernel.ptr, nonportable, 1)
        return cast(Program, function)

    def free_bytes(self) -> int:
        """See Runtime.free_bytes."""
        pool = self.xp.get_default_memory_pool()
        return int(self.xp.cuda.runtime.memGetInfo()[0]) + int(pool.free_bytes())

    def to_host(self, array: Any) -> NDArray[Any]:
        """See Runtime.to_host."""
        return cast(NDArray[Any], self.xp.asnumpy(array))

    def keep_pace(self) -> None:
        """See Runtime.keep_pace."""
        event = self.xp.cuda.Event(block=True, disable_timing=True)
        event.record()
        if self._last is not None:
            self._last.synchronize()
        self._last = event


def nvrtc_options(macros: Mapping[str, object]) -> tuple[str, ...]:
    """Options under which NVRTC compiles src/. CuPy's cache does not look into included files; the digest does."""
    defines = {**macros, "SOURCE_DIGEST": f"0x{compiler.source_digest()}"}
    return ("-std=c++17", f"-I{compiler.SOURCE}", *(f"-D{name}={value}" for name, value in sorted(defines.items())))


def first_error(log: str) -> str:
    """The first error of a compiler's log, with the source line that follows it."""
    lines = [line.strip() for line in log.splitlines()]
    for at, line in enumerate(lines):
        if "error" in line:
            return " | ".join(part for part in lines[at : at + 2] if part)
    return log.strip()[:200]


def failure(error: BaseException) -> str | None:
    """One line for an error that CuPy raised (device lost, launch failed); None for errors of other origin."""
    if not type(error).__module__.startswith(("cupy", "cupy_backends")):
        return None
    words = " ".join(str(error).split())
    return f"the GPU failed ({words}); finished shards are kept: run the same command again, or see rnnlimits doctor"


# --- back end ----------------------------------------------------------------------------------------------


class CudaBackend:
    """See problem.Backend; arrays are the device's."""

    name = "cuda"

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self.device = runtime.limits.name

    def rounding(self) -> str:
        """See problem.Backend.rounding. The device's limits decide how a network's sums are cut into parts."""
        limits = self._runtime.limits
        about = f"compute capability {limits.capability[0]}.{limits.capability[1]}, {limits.multiprocessors} SMs"
        return f"{limits.name}, {about}, {self._runtime.compiler}, source {compiler.source_digest()}"

    def array(self, values: Any) -> Any:
        """See problem.Backend.array."""
        return self._runtime.xp.asarray(values)

    def numpy(self, values: Any) -> NDArray[Any]:
        """See problem.Backend.numpy."""
        return values if type(values) is np.ndarray else self._runtime.to_host(values)

    def philox(self, counter: NDArray[np.uint32], key: tuple[int, int]) -> NDArray[np.uint32]:
        """See problem.Backend.philox."""
        words = self._runtime.xp.array(counter, dtype=np.uint32)
        self._each("philox_words", len(words), words, np.int64(len(words)), np.uint32(key[0]), np.uint32(key[1]))
        return cast(NDArray[np.uint32], words)

    def uniforms(
        self, seed: int, stream: int, replicas: Replicas, count: int, step: int = 0, component: int = 0
    ) -> Array:
        """See problem.Backend.uniforms."""
        return self._fill(0, seed, stream, replicas, count, step, component)

    def normals(
        self, seed: int, stream: int, replicas: Replicas, count: int, step: int = 0, component: int = 0
    ) -> Array:
        """See problem.Backend.normals."""
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
        self,
        chain: GaussianChain,
        seed: int,
        stream: int,
        replicas: Replicas,
        state: Array,
        first_step: int,
        steps: int,
        keep: bool = True,
    ) -> tuple[Array, Array]:
        """See problem.Backend.chain_path; state is the device's."""
        xp, kept = self._runtime.xp, steps if keep else 0
        history, y = xp.empty((len(replicas), kept, chain.size)), xp.empty((len(replicas), kept))
        coupling = chain.coupling if chain.coupling is not None else np.zeros((1, 1))
        matrices = [self._doubles(matrix) for matrix in (chain.linear, coupling, chain.noise, chain.target)]
        macros = {"INPUTS": chain.inputs, "HIDDEN": chain.hidden, "NONLINEAR": int(chain.coupling is not None)}
        program = self._runtime.program("device_paths.cu", "chain_path", macros)
        arguments = (
            *matrices, np.uint32(seed), np.uint32(stream), self._words(replicas), np.int64(len(replicas)),
            np.uint64(first_step), np.int64(steps), state, history, y, np.int32(keep),
        )  # fmt: skip
        program((-(-len(replicas) // PATH_THREADS),), (PATH_THREADS,), arguments)
        return history, y

    def finite_path(
        self,
        transition: Array,
        seed: int,
        stream: int,
        replicas: Replicas,
        state: NDArray[np.int32],
        first_step: int,
        steps: int,
    ) -> NDArray[np.int32]:
        """See problem.Backend.finite_path; state is the device's."""
        history = self._runtime.xp.empty((len(replicas), steps), dtype=np.int32)
        cumulative = self._doubles(np.cumsum(transition, axis=1))
        program = self._runtime.program("device_paths.cu", "finite_path", {})
        arguments = (
            cumulative, np.int32(len(cumulative)), np.uint32(seed), np.uint32(stream), self._words(replicas),
            np.int64(len(replicas)), np.uint64(first_step), np.int64(steps), state, history,
        )  # fmt: skip
        program((-(-len(replicas) // PATH_THREADS),), (PATH_THREADS,), arguments)
        return cast(NDArray[np.int32], history)

    def memory_path(
        self,
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
        replicas, steps = location.shape
        memory = self._runtime.xp.empty((replicas, steps + 1))
        macros = {"ACTIVATION": ACTIVATIONS[activation].code, "COORDINATES": nodes.shape[1]}
        program = self._runtime.program("device_paths.cu", "memory_path", macros)
        threads = min(THREADS, 32 * -(-len(nodes) // 32))
        arguments = (
            *(self._doubles(a) for a in (nodes.T, weight0, weight1)), np.int64(len(nodes)),
            *(self._doubles(a) for a in (location, coordinates, slope)), np.int64(replicas), np.int64(steps),
            self._doubles(start), memory,
        )  # fmt: skip
        program((min(replicas, MOST_BLOCKS),), (threads,), arguments)
        return cast(Array, memory)

    def twin_path(self, features: FeatureMap, rate: float, x: Array, m: Array, y: Array, theta: Array) -> Array:
        """See problem.Backend.twin_path; theta is the device's."""
        count, dimension = features.w.shape
        threads = min(THREADS, 32 * -(-count // 32))
        macros = {"DIMENSION": dimension, "ACTIVATION": ACTIVATIONS[features.activation].code}
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

    def trainer(self, training: Training, replicas: int) -> CudaTrainer:
        """See problem.Backend.trainer. Raises KernelError if it does not fit into the device's free memory."""
        return CudaTrainer(self._runtime, training, replicas)

    def _each(self, name: str, count: int, *arguments: Any) -> None:
        """Start a program of device_paths.cu whose threads share `count` pieces of work."""
        blocks = max(1, min(-(-count // THREADS), MOST_BLOCKS))
        self._runtime.program("device_paths.cu", name, {})((blocks,), (THREADS,), arguments)

    def _words(self, replicas: Replicas) -> Any:
        return self._runtime.xp.asarray(np.asarray(replicas, dtype=np.uint32))

    def _doubles(self, values: Any) -> Any:
        return self._runtime.xp.ascontiguousarray(self._runtime.xp.asarray(values, dtype=np.float64))


@dataclass(frozen=True)
class _Sizes:
    """Numbers of values that struct Unit, ReplicaState and Sums of src/ hold."""

    unit: int
    state: int
    sums: int

    @classmethod
    def of(cls, training: Training) -> _Sizes:
        d, tau, back = training.dimension, training.depth, training.depth - 1
        unit = launch.words_per_unit(training) // (2 if training.precision == "float64" else 1)
        sums = 3 + tau * training.update_b + back
        return cls(unit, 2 + d + 2 * max(1, back) * d + tau, 1 << (sums - 1).bit_length())


class CudaTrainer:
    """See problem.Trainer. Units lie in device memory as (replicas, fields, width) between segments (src/store.h)."""

    def __init__(self, runtime: Runtime, training: Training, replicas: int) -> None:
        self.training, self._runtime, self._replicas = training, runtime, replicas
        self._launch = launch.choose(training, runtime.limits)
        self._sizes, self._real = _Sizes.of(training), np.dtype(training.precision)
        self._refuse_what_does_not_fit()
        xp = runtime.xp
        self._units = xp.zeros((replicas, self._sizes.unit, training.width), dtype=self._real)
        self._states = xp.zeros((replicas, self._sizes.state))
        self._macros = launch.specialisation(training)

    def _refuse_what_does_not_fit(self) -> None:
        path = SEGMENT_STEPS * (self.training.dimension + 1) * 3 * 8  # the chain, inputs and targets, their copies
        one = self._sizes.unit * self.training.width * self._real.itemsize + path
        usable = int(USABLE * self._runtime.free_bytes())
        if one * self._replicas <= usable:
            return
        fit = usable // one
        advice = f"{fit} would fit: lower training.replicas_per_block" if fit else "not even one fits: use another GPU"
        raise KernelError(
            f"width {self.training.width}: {self._replicas} replicas need {one * self._replicas / 2**30:.3g} GiB of "
            f"GPU memory, {usable / 2**30:.3g} GiB can be had; {advice}"
        )

    def fill(self, replica: int, w: Array, b: Array, c: Array) -> None:
        """See problem.Trainer.fill."""
        self.fill_from(replica, *(self._runtime.xp.asarray(a)[None] for a in (w, b, c)))

    def fill_from(self, first: int, w: Array, b: Array, c: Array) -> None:
        """See problem.Trainer.fill_from."""
        d, rows = self.training.dimension, slice(first, first + len(b))
        self._units[rows] = 0
        self._states[rows] = 0
        for j in range(d):
            self._units[rows, j] = w[..., j]
        self._units[rows, 2 * d] = c
        self._units[rows, 2 * d + 2] = b

    def run(self, x: Array, y: Array) -> Array:
        """See problem.Trainer.run."""
        t, xp, geometry = self.training, self._runtime.xp, self._launch
        inputs, targets = (xp.ascontiguousarray(xp.asarray(a, dtype=self._real)) for a in (x, y))
        squared_error = xp.empty(y.shape)
        blocks = geometry.grid(self._replicas, self._runtime.limits)
        meeting = geometry.team == "grid"
        rows = xp.zeros(2 * blocks * self._sizes.sums if meeting else 1)
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
        """See problem.Trainer.settle."""
        width, replicas = np.int64(self.training.width), np.int64(self._replicas)
        blocks = min(-(-self.training.width * self._replicas // THREADS), MOST_BLOCKS)
        self._start("settle_units", blocks, self._units, self._states, width, replicas)
        self._start("settle_states", -(-self._replicas // THREADS), self._states, replicas)

    def probe(self, histories: Array) -> tuple[Array, Array]:
        """See problem.Trainer.probe."""
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
        d = self.training.dimension
        return (
            self._units[:, d : 2 * d],
            self._units[:, 2 * d + 3 : 2 * d + 4],
            self._units[:, 2 * d + 1 : 2 * d + 2],
        )

    def weights(self, first: int, count: int) -> tuple[Array, Array, Array]:
        """See problem.Trainer.weights."""
        d, rows = self.training.dimension, self._units[first : first + count]
        w = (rows[:, :d] + rows[:, d : 2 * d]).swapaxes(1, 2)
        return w, rows[:, 2 * d + 2] + rows[:, 2 * d + 3], rows[:, 2 * d] + rows[:, 2 * d + 1]

    def drift(self, replica: int) -> tuple[Array, Array, Array]:
        """See problem.Trainer.drift."""
        w, b, c = (self._runtime.to_host(a[replica]).astype(np.float64) for a in self._drifts())
        return w.T, b[0], c[0]

    def state(self) -> State:
        """See problem.Trainer.state."""
        return State(self._runtime.to_host(self._units), self._runtime.to_host(self._states))

    def restore(self, state: State) -> None:
        """See problem.Trainer.restore."""
        units, words = state.required(State(self._units, self._states))
        self._units[...] = self._runtime.xp.asarray(units)
        self._states[...] = self._runtime.xp.asarray(words)

    def drift_norms(self) -> Array:
        """See problem.Trainer.drift_norms."""
        largest = [abs(a).max(axis=(1, 2)) for a in self._drifts()]
        squares = [np.square(a, dtype=np.float64).sum(axis=(1, 2)) for a in self._drifts()]
        columns = [*largest, *(np.sqrt(a / self.training.width) for a in squares)]
        return np.stack([self._runtime.to_host(a).astype(np.float64) for a in columns], axis=1)


def backend(index: int = 0) -> CudaBackend:
    """The back end on one GPU. Raises KernelError: no CuPy, no such GPU, one too old."""
    return CudaBackend(CupyRuntime(index))
