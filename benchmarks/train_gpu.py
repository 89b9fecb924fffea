"""How fast a GPU trains, beside JAX on the same GPU, and how near that is to what the GPU can do.

    python benchmarks/train_gpu.py               # exit code 2 where there is no GPU
    python benchmarks/train_gpu.py --dry-run     # the same program on an emulated GPU; its figures mean nothing

One table in one run: unit-steps per second against N, R, d and precision. Every figure is the median of repeats after
one that is not counted. `train` is device time between two events around a segment of training whose data are on the
device. `stage` is wall-clock time a segment as the train stage works, path and training in turn, waiting for the device
at the end alone; what it takes longer is the share of paths, conversions and launches. JAX is `vmap` over `lax.scan`,
jitted, compiling not timed (peers.py; d = 1 and float32 alone), by the wall clock, its losses copied to the host.

The limit is counted from the machine code (README.md says how): all instructions, those in double precision, and those
of the special-function unit, each over what the multiprocessors in use do of it in a second; streamed units are limited
by device memory too. The largest of these times is the limit, as if everything else were hidden behind it.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, Protocol

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "src"), str(ROOT)]
os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # leave device memory to the other

import numpy as np  # noqa: E402

from benchmarks.peers import Single, jax_runner  # noqa: E402
from rnnlimits.kernels import cuda_runtime, launch  # noqa: E402
from rnnlimits.kernels.cuda_backend import CudaBackend  # noqa: E402
from rnnlimits.kernels.interface import GaussianChain, KernelError, RandomKey, Training  # noqa: E402
from rnnlimits.kernels.launch import Limits  # noqa: E402

SEED, PATH_STREAM = 20231108, 1
NO_GPU = 2  # exit code
REPEATS, SEGMENTS = 7, 8  # segments of a stage
MOST_STEPS = 1024  # of a segment, as the train stage has them
UNIT_STEPS = 4e9  # about, of one line
AGREEMENT = 1e-4  # of squared errors with JAX, relative to the largest: what float32 leaves of them
SIZES = [
    *((width, 1) for width in (64, 1024, 4096, 16384, 65536, 262144, 1_000_000)),
    *((64, 4096), (64, 65536), (256, 16384), (1024, 128), (1024, 4096), (4096, 1024), (16384, 256)),
    *((65536, 64), (262144, 16), (1_000_000, 4)),
]
VARIANTS = [(3, "float32"), (1, "float64"), (3, "float64")]
VARIED = [(1024, 4096), (65536, 64)]
TARGETS = {(1024, 4096): 5e11, (65536, 64): 2e11}  # unit-steps a second, d = 1, float32
TARGET_DEVICE, TARGET_JAX, TARGET_OVERHEAD = "H100", 15.0, 0.05


# --- the limit ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Count:
    """Instructions of a thread: for each unit-step, and for each step whatever its units (sums, scalars)."""

    unit: float
    unit_double: float
    step: float
    step_double: float
    unit_special: float = 1.0


# By precision and dimension, tanh, tau = 1, B trained; NVRTC 13.5, sm_90, a block's team with the most slots.
COUNTS = {
    ("float32", 1): Count(34, 0, 139, 15),
    ("float32", 3): Count(36, 0, 183, 19),
    ("float64", 1): Count(65, 37, 194, 19),
    ("float64", 3): Count(89, 43, 125, 19),
}
LANES, SPECIAL_LANES = 128, 16  # of a multiprocessor: instructions of threads a clock
DOUBLE_LANES = {(7, 0): 32, (8, 0): 32, (9, 0): 64, (10, 0): 64}  # elsewhere 2


@dataclass(frozen=True)
class Speed:
    """What the limit needs of a device: clock in Hz, memory in bytes a second."""

    clock: float
    bandwidth: float


def limit(training: Training, replicas: int, limits: Limits, speed: Speed) -> tuple[float, str]:
    """Most unit-steps a second, and what binds."""
    count, geometry = COUNTS[training.precision, training.dimension], launch.choose(training, limits)
    blocks = geometry.grid(replicas, limits)
    busy = min(limits.multiprocessors, blocks * geometry.threads / LANES)  # multiprocessors; one with idle lanes less
    units = training.width / geometry.members  # of a thread
    per_second = busy * speed.clock * units
    doubles = DOUBLE_LANES.get(limits.capability, 2)
    rates = {
        "instructions": per_second * LANES / (count.unit * units + count.step),
        "special functions": per_second * SPECIAL_LANES / (count.unit_special * units),
        "double precision": per_second * doubles / (count.unit_double * units + count.step_double),
    }
    if geometry.slots == 0:
        rates["memory"] = speed.bandwidth / streamed_bytes(training)
    name = min(rates, key=rates.__getitem__)
    return rates[name], name


def streamed_bytes(training: Training) -> int:
    """Read and written for a unit-step: every field, and every field but the initial values of W, B, C."""
    values = launch.words_per_unit(training) // (2 if training.precision == "float64" else 1)
    return (2 * values - training.dimension - 2) * np.dtype(training.precision).itemsize


# --- devices -----------------------------------------------------------------------------------------------


class Device(Protocol):
    """The GPU, or what stands in for it."""

    backend: CudaBackend
    limits: Limits
    speed: Speed
    about: str

    def device_seconds(self, action: Callable[[], object]) -> float:
        """Time between two device events around an action."""

    def wait(self) -> None:
        """Until all that was started has ended."""


class Gpu:
    """See Device."""

    def __init__(self, index: int = 0) -> None:
        runtime = cuda_runtime.CupyRuntime(index)
        self._cupy, self.backend, self.limits = runtime.xp, CudaBackend(runtime), runtime.limits
        properties = self._cupy.cuda.Device(index).attributes
        # Two transfers a clock; kHz and bits.
        bandwidth = 2e3 * properties["MemoryClockRate"] * properties["GlobalMemoryBusWidth"] / 8
        self.speed = Speed(1e3 * properties["ClockRate"], bandwidth)
        versions = "; ".join(
            f"{label} {value}" for label, value in cuda_runtime.report() if not label.startswith("GPU")
        )
        self.about = f"{versions}; {self._management()}"

    def _management(self) -> str:
        """Driver and clocks at this moment, as nvidia-smi says."""
        if not shutil.which("nvidia-smi"):
            return "nvidia-smi is not there: driver and present clocks unknown"
        fields = "driver_version,clocks.sm,clocks.max.sm,clocks.mem,power.limit"
        identity = self._cupy.cuda.runtime.deviceGetPCIBusId(self._cupy.cuda.Device().id)
        command = ["nvidia-smi", f"--id={identity}", f"--query-gpu={fields}", "--format=csv,noheader"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        return f"{fields}: {done.stdout.strip() or done.stderr.strip()}"

    def device_seconds(self, action: Callable[[], object]) -> float:
        """See Device.device_seconds."""
        start, end = self._cupy.cuda.Event(), self._cupy.cuda.Event()
        start.record()
        action()
        end.record()
        end.synchronize()
        return float(self._cupy.cuda.get_elapsed_time(start, end)) / 1e3

    def wait(self) -> None:
        """See Device.wait."""
        self._cupy.cuda.Device().synchronize()


class Emulated:
    """See Device; a host, and figures that mean nothing."""

    def __init__(self) -> None:
        sys.path.insert(0, str(ROOT / "tests" / "support"))
        from emulation import SMALL_GPU, emulated

        self.backend, self.limits, self.speed = emulated(), SMALL_GPU, Speed(1e9, 1e11)
        self.about = "nothing here is a GPU"

    def device_seconds(self, action: Callable[[], object]) -> float:
        """See Device.device_seconds."""
        started = time.perf_counter()
        action()
        return time.perf_counter() - started

    def wait(self) -> None:
        """Every launch has ended when it returns."""


# --- work --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Work:
    """One line of the table: an ensemble, its initial weights (R, N, d), (R, N), (R, N), steps of a segment."""

    training: Training
    w: Single
    b: Single
    c: Single
    steps: int

    @classmethod
    def draw(cls, width: int, replicas: int, dimension: int, precision: str, unit_steps: float) -> Work:
        rng = np.random.default_rng(1)
        shape = (replicas, width)
        w = rng.standard_normal((*shape, dimension), dtype=np.float32)
        c = (np.sqrt(12) * (rng.random(shape, dtype=np.float32) - 0.5)).astype(np.float32)
        b = np.float32(0.2) + np.float32(0.6) * w[..., 0]
        training = Training(width, dimension, 0.75, width, precision=precision)
        return cls(training, w, b, c, int(np.clip(unit_steps / (width * replicas), 4, MOST_STEPS)))

    @property
    def replicas(self) -> int:
        return len(self.b)

    @property
    def unit_steps(self) -> int:
        return self.b.size * self.steps


class Ours:
    """The CUDA back end at one piece of work: a segment of training, and path and training in turn."""

    def __init__(self, work: Work, device: Device) -> None:
        self.work, self.device, be = work, device, device.backend
        self.trainer = be.trainer(work.training, work.replicas)
        self.trainer.fill_from(0, *(be.array(a) for a in (work.w, work.b, work.c)))
        d = work.training.dimension
        one, none = np.ones(d), np.zeros(d)
        target = np.concatenate([[0.0], one, none, 0.5 * one])
        matrix = np.block([[0.5 * np.eye(d), 0.4 * np.eye(d)], [np.zeros((d, d)), 0.6 * np.eye(d)]])
        coupling = np.block([[np.zeros((d, d)), np.zeros((d, d))], [0.3 * np.eye(d), np.zeros((d, d))]])
        self.chain = GaussianChain(d, d, matrix, 0.5 * np.eye(2 * d), target, coupling)
        self.rows, self.done = np.arange(work.replicas, dtype=np.uint32), 0
        self.state = be.array(np.zeros((work.replicas, 2 * d)))
        history, y = self.path()
        self.x, self.y = (be.array(a.astype(work.training.precision)) for a in (history[..., :d], y))

    def path(self) -> tuple[Any, Any]:
        """H (R, steps, 2 d) and Y (R, steps) of the next segment."""
        self.done += self.work.steps
        return self.device.backend.chain_path(
            self.chain,
            RandomKey(SEED, PATH_STREAM, self.rows),
            self.state,
            self.done - self.work.steps,
            self.work.steps,
        )

    def train(self) -> Any:
        """A segment of training on data that are there."""
        return self.trainer.run(self.x, self.y)

    def stage(self) -> None:
        """Segments as the train stage has them."""
        for _ in range(SEGMENTS):
            history, y = self.path()
            self.trainer.run(history[..., : self.work.training.dimension], y)

    def data(self) -> tuple[Single, Single]:
        """x (R, steps) and y (R, steps) of `train`, for d = 1."""
        x, y = (self.device.backend.numpy(a) for a in (self.x, self.y))
        return np.asarray(x[..., 0], dtype=np.float32), np.asarray(y, dtype=np.float32)


@dataclass(frozen=True)
class Line:
    """Seconds of a segment."""

    train: float
    stage: float
    jax: float | None

    @property
    def overhead(self) -> float:
        return max(0.0, 1 - self.train / self.stage)


def measure(work: Work, device: Device, repeats: int, jax: bool) -> Line:
    """Raises SystemExit if JAX finds other losses: then it is not the same work."""
    ours = Ours(work, device)
    first = device.backend.numpy(ours.train())
    train = median(device.device_seconds(ours.train) for _ in range(repeats))
    stage = timed(ours.stage, device, max(2, repeats // 2)) / SEGMENTS
    if not jax or work.training.dimension > 1 or work.training.precision != "float32":
        return Line(train, stage, None)
    runner = jax_runner(work.training, work.w[..., 0], work.b, work.c, *ours.data(), unroll=1)
    losses = runner()
    gap = float(np.abs(losses - first).max() / first.max())
    if gap > AGREEMENT:
        sys.exit(f"({work.training.width}, {work.replicas}): losses differ by {gap:.1e}, so this is not the same work")
    return Line(train, stage, timed(runner, device, max(2, repeats // 2)))


def timed(action: Callable[[], object], device: Device, repeats: int) -> float:
    """Median wall-clock seconds, the device idle before and after; one more, not counted, comes first."""
    seconds = []
    for _ in range(repeats + 1):
        device.wait()
        started = time.perf_counter()
        action()
        device.wait()
        seconds.append(time.perf_counter() - started)
    return median(seconds[1:])


def jax_devices(dry: bool) -> str:
    """What JAX works on, or why it stays out: it must be the same card."""
    try:
        import jax
    except ImportError:
        return "no JAX: it is not installed"
    platform = jax.devices()[0].platform
    if platform != "gpu" and not dry:
        return f"no JAX: it works on this machine's {platform} only (install jax[cuda12] or jax[cuda13])"
    return f"JAX {jax.__version__} on {jax.devices()[0].device_kind}"


# --- the table ---------------------------------------------------------------------------------------------

HEAD = f"{'N':>8} {'R':>6} {'d':>2} {'precision':9} {'team':8} {'slots':>5} | {'train':>8} {'stage':>8} {'over':>6}"
HEAD += f" | {'JAX':>8} {'ratio':>6} | {'limit':>8} {'set by':18} {'reached':>7} | target"


def row(work: Work, line: Line, device: Device) -> str:
    """One line of the table, unit-steps a second."""
    t, geometry = work.training, launch.choose(work.training, device.limits)
    most, name = limit(t, work.replicas, device.limits, device.speed)
    rate = work.unit_steps / line.train
    jax = f"{work.unit_steps / line.jax:8.1e} {line.jax / line.train:5.1f}x" if line.jax else f"{'-':>8} {'-':>6}"
    return (
        f"{t.width:8d} {work.replicas:6d} {t.dimension:2d} {t.precision:9} {geometry.team:8} {geometry.slots:5d} |"
        f" {rate:8.1e} {work.unit_steps / line.stage:8.1e} {line.overhead:6.1%} | {jax} |"
        f" {most:8.1e} {name:18} {rate / most:7.0%} | {verdicts(work, line)}".rstrip()
    )


def verdicts(work: Work, line: Line) -> str:
    """What is wanted of this line, and whether it is there."""
    t = work.training
    target = TARGETS.get((t.width, work.replicas))
    if target is None or (t.dimension, t.precision) != (1, "float32"):
        return ""
    found = [(f"{target:.0e}", work.unit_steps / line.train >= target)]
    found += [(f"{TARGET_OVERHEAD:.0%}", line.overhead < TARGET_OVERHEAD)]
    found += [(f"{TARGET_JAX:.0f}x", line.jax / line.train >= TARGET_JAX)] if line.jax else []
    return ", ".join(f"{wanted} {'reached' if good else 'MISSED'}" for wanted, good in found)


def table(device: Device, cases: list[tuple[int, int, int, str]], unit_steps: float, repeats: int, jax: bool) -> None:
    """Unit-steps a second of all cases (N, R, d, precision)."""
    print("\nunit-steps a second; tanh, tau = 1, B trained; over: share of paths, conversions and launches in a stage")
    print(HEAD)
    for width, replicas, dimension, precision in cases:
        work = Work.draw(width, replicas, dimension, precision, unit_steps)
        try:
            line = measure(work, device, repeats, jax)
        except KernelError as error:
            print(f"{width:8d} {replicas:6d} {dimension:2d} {precision:9} left out: {error}")
            continue
        print(row(work, line, device), flush=True)


def everything() -> list[tuple[int, int, int, str]]:
    plain = [(width, replicas, 1, "float32") for width, replicas in SIZES]
    return [*plain, *((*size, *variant) for size in VARIED for variant in VARIANTS)]


def heading(device: Device, jax: str) -> None:
    found, speed = device.limits, device.speed
    print(
        f"{found.name}, compute capability {'.'.join(map(str, found.capability))}, {found.multiprocessors} SMs, "
        f"{speed.clock / 1e9:.2f} GHz at most, memory {speed.bandwidth / 1e9:.0f} GB/s; {device.about}; {jax}"
    )
    if TARGET_DEVICE not in found.name:
        print(f"the targets are for an {TARGET_DEVICE}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dry-run", action="store_true", help="on an emulated GPU, tiny: the figures mean nothing")
    parser.add_argument("--gpu", type=int, default=0, help="index of the GPU")
    options = parser.parse_args()
    try:
        device: Device = Emulated() if options.dry_run else Gpu(options.gpu)
    except KernelError as error:
        print(error, file=sys.stderr)
        return NO_GPU
    jax = jax_devices(options.dry_run)
    heading(device, jax)
    with_jax = not jax.startswith("no JAX")
    if options.dry_run:
        cases = [(32, 2, 1, "float32"), (700, 1, 1, "float32"), (40, 2, 3, "float64")]
        table(device, cases, unit_steps=500, repeats=2, jax=with_jax)
        print("a dry run on an emulated GPU: these figures mean nothing")
    else:
        table(device, everything(), UNIT_STEPS, REPEATS, with_jax)
    return 0


if __name__ == "__main__":
    sys.exit(main())
