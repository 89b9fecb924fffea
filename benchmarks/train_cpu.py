"""How fast one core trains, beside JAX and NumPy, and how near that is to what the core can do.

    python benchmarks/train_cpu.py [--only start,memory,ranks,table,precision,linear]

Everything is measured in one run, on one pinned core (two for the ranks), best of many short repeats in turn, so that
other load on the machine harms all alike and the least disturbed repeat counts. The load is printed.

JAX is what a user would write, `vmap` over `lax.scan`, jitted, compiling not timed; the ratios and targets are to that.
Beside it stands the same with `unroll=4`, which trades compiling time for speed.

The limit of a unit-step (float32, d = 1, tau = 1, tanh, B trained), counted in the assembly of the inner loop of
kernels/src/host_train.cpp (g++ 12, AVX-512), each operation on a vector of units:

    20  multiply-adds and multiplications: updates of W, B, C 3, slopes 2, gain 1, activation argument 1, tanh 9
        (rounding 1, reduction 1, polynomials 5, the two sides of the fraction 2), sums 4
     1  division (tanh)
     8  vectors read and 5 written: W, B, C each as initial value and drift, S_{k-1} and S_{k-2}

and 5 additions, a minimum, a maximum, a shift and an integer addition, which have pipes of their own on AMD Zen and are
not counted (where they share the pipes of the multiply-adds the limit is higher). Three loops in machine.cpp measure
what the core does of each; the limit is the largest of the three times, as if the others were hidden behind it and
there were no sums across a vector and no wait from step to step. That wait is what narrow networks feel: a step cannot
begin before the sums of the last one are known, and the chain from there to its own sums takes about 115 cycles even
for a single vector of units.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "src"), str(ROOT)]
CORES = sorted(os.sched_getaffinity(0))
for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_variable] = "1"
os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"

import numpy as np  # noqa: E402

from benchmarks.peers import NumpyTrainer, Single, jax_runner  # noqa: E402
from rnnlimits.kernels import compiler, host, toolchain  # noqa: E402
from rnnlimits.kernels.interface import Training  # noqa: E402
from rnnlimits.kernels.pointers import aligned  # noqa: E402

SIZES = [(100, 1), (100, 100), (1000, 1), (1000, 32), (10000, 8), (100000, 2)]
TARGETS = {(1000, 32): 3.5, (100, 1): 20.0, (100000, 2): 3.0}  # times JAX
MULTIPLY_ADDS, DIVISIONS = 20, 1
SECONDS = 3.0  # of measuring for each line of a table
AGREEMENT = 1e-4  # of squared errors, relative to the largest: what float32 leaves of them


def best(actions: Iterable[Callable[[], object]], seconds: float = SECONDS, least: int = 2) -> list[float]:
    """The shortest time of each action, in seconds; they take turns of three, the first of which warms the caches."""
    listed = list(actions)
    shortest, rounds, end = [float("inf")] * len(listed), 0, time.perf_counter() + seconds
    while rounds < least or time.perf_counter() < end:
        for i, action in enumerate(action for action in listed for _ in range(3)):
            started = time.perf_counter()
            action()
            shortest[i // 3] = min(shortest[i // 3], time.perf_counter() - started)
        rounds += 1
    return shortest


def verdict(good: bool) -> str:
    return "reached" if good else "MISSED"


# --- the machine -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Machine:
    """Rates of this core: float32 multiply-adds and divisions per ns; memory traffic is measured by size."""

    library: ctypes.CDLL
    multiply_adds: float
    divisions: float

    @classmethod
    def measure(cls) -> Machine:
        with tempfile.TemporaryDirectory() as folder:
            target = Path(folder) / "machine.so"
            source = Path(__file__).with_name("machine.cpp")
            flags = [*compiler.FLAGS, f"-I{compiler.SOURCE}"]
            subprocess.run([*toolchain.find_compiler(), *flags, str(source), "-o", str(target)], check=True)
            library = ctypes.CDLL(str(target))
        library.multiply_adds.argtypes = [ctypes.c_long, ctypes.c_float, ctypes.c_float]
        library.divisions.argtypes = [ctypes.c_long, ctypes.c_float]
        library.sweeps.argtypes = [ctypes.c_void_p, ctypes.c_long, ctypes.c_long, ctypes.c_float]
        rounds, lanes = 100_000, library.float_lanes()
        times = best(
            [lambda: library.multiply_adds(rounds, 0.5, 1.0), lambda: library.divisions(rounds, 1.5)], seconds=2.0
        )
        rates = [rounds * 16 * lanes / (seconds * 1e9) for seconds in times]
        return cls(library, *rates)

    def traffic(self, width: int, replicas: int, steps: int) -> float:
        """ns per unit-step for reading and writing what a step does, replicas one after the other."""
        tiles = -(-width // self.library.float_lanes())
        states = [aligned(tiles * 8 * 64) for _ in range(replicas)]
        pointers = [ctypes.c_void_p(state.ctypes.data) for state in states]

        def sweep() -> None:
            for pointer in pointers:
                self.library.sweeps(pointer, tiles, steps, 1.0)

        return best([sweep], seconds=0.5)[0] * 1e9 / (width * replicas * steps)

    def limit(self, width: int, replicas: int, steps: int) -> tuple[float, str]:
        """The largest of the three terms, ns per unit-step, and its name."""
        terms = {
            "multiply-adds": MULTIPLY_ADDS / self.multiply_adds,
            "divisions": DIVISIONS / self.divisions,
            "memory": self.traffic(width, replicas, steps),
        }
        name = max(terms, key=lambda term: terms[term])
        return terms[name], name


# --- the work ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Work:
    """One training problem: K = N, data of one replica each, the same for every contender."""

    training: Training
    w: Single
    b: Single
    c: Single
    x: Single
    y: Single

    @classmethod
    def draw(cls, width: int, replicas: int, steps: int, steps_per_time: int | None = None) -> Work:
        rng = np.random.default_rng(1)
        shape = (replicas, width)
        w = rng.normal(size=shape).astype(np.float32)
        c = rng.uniform(-np.sqrt(3), np.sqrt(3), shape).astype(np.float32)
        x = (0.7 * rng.normal(size=(replicas, steps))).astype(np.float32)
        y = (np.sin(x) + 0.3 * rng.normal(size=x.shape)).astype(np.float32)
        training = Training(width, 1, 0.75, steps_per_time or width, precision="float32")
        return cls(training, w, np.float32(0.2) + np.float32(0.6) * w, c, x, y)

    @property
    def unit_steps(self) -> int:
        return int(self.w.size * self.x.shape[1])

    def trainer(self, precision: str = "float32") -> host.HostTrainer:
        trainer = host.HostBackend().trainer(replace(self.training, precision=precision), len(self.w))
        for r in range(len(self.w)):
            trainer.fill(r, self.w[r][:, None].astype(float), self.b[r].astype(float), self.c[r].astype(float))
        return trainer

    def ours(self, precision: str = "float32") -> Callable[[], Single]:
        """A segment of training by the host kernel; each call continues the last."""
        trainer, x, y = self.trainer(precision), self.x[:, :, None].astype(float), self.y.astype(float)
        return lambda: trainer.run(x, y).astype(np.float32)

    def ns(self, seconds: float) -> float:
        return seconds * 1e9 / self.unit_steps


def steps_for(width: int, replicas: int) -> int:
    """About 2e7 unit-steps, in the range of segments that the train stage uses."""
    return int(np.clip(20_000_000 // (width * replicas), 100, 4000))


def contenders(work: Work) -> list[Callable[[], Single]]:
    """Ours, JAX, JAX with its loop unrolled, NumPy."""
    arrays = (work.w, work.b, work.c)
    batched = NumpyTrainer(work.training, *arrays)
    jax = [jax_runner(work.training, *arrays, work.x, work.y, unroll) for unroll in (1, 4)]
    return [work.ours(), *jax, lambda: batched.run(work.x, work.y)]


def table(machine: Machine) -> None:
    """ns per unit-step of all contenders on the same work, whose losses must agree."""
    print("\nns per unit-step, float32, full update with B, d = 1, tanh, tau = 1")
    columns = "     N    R |  ours    JAX  unrolled  NumPy | JAX/ours  NumPy/ours  target       "
    print(f"{columns} | limit  set by         reached")
    for width, replicas in SIZES:
        work = Work.draw(width, replicas, steps_for(width, replicas))
        runs = contenders(work)
        losses = [run() for run in runs]
        gap = max(float(np.abs(loss - losses[0]).max() / losses[0].max()) for loss in losses[1:])
        if gap > AGREEMENT:
            sys.exit(f"({width}, {replicas}): losses differ by {gap:.1e}, so this is not the same work")
        ours, jax, unrolled, numpy = (work.ns(seconds) for seconds in best(runs))
        limit, term = machine.limit(width, replicas, min(work.x.shape[1], 500))
        target = TARGETS.get((width, replicas))
        wanted = f"{target:4.1f}x {verdict(jax / ours >= target)}" if target else ""
        print(
            f"{width:6d} {replicas:4d} | {ours:5.3f} {jax:6.2f} {unrolled:9.2f} {numpy:6.2f} |"
            f" {jax / ours:7.1f}x {numpy / ours:10.1f}x  {wanted:13s} | {limit:5.3f} {term:14s} {limit / ours:5.0%}"
        )
    print(f"losses of all four agree to {AGREEMENT:.0e} of the largest in every line")


# --- precision, linearity ----------------------------------------------------------------------------------


def precision() -> None:
    """float64 against float32."""
    print("\nfloat64 / float32 (wanted: at most 2.3)")
    for width, replicas in SIZES:
        work = Work.draw(width, replicas, steps_for(width, replicas))
        single, double = best([work.ours("float32"), work.ours("float64")])
        ratio = double / single
        figures = f"{work.ns(single):5.3f} {work.ns(double):5.3f} | {ratio:4.2f}"
        print(f"{width:6d} {replicas:4d} | {figures} {verdict(ratio <= 2.3)}")


def departure(sizes: list[int], times: list[float]) -> float:
    """Largest relative distance of times from the straight line a + b size that fits them best (relatively)."""
    design = np.stack([np.ones(len(sizes)), np.array(sizes, float)], axis=1) / np.array(times)[:, None]
    line = np.linalg.lstsq(design, np.ones(len(sizes)), rcond=None)[0]
    return float(np.abs(design @ line - 1).max())


def linear() -> None:
    """Time against N (to the size of the second-level cache), K and replicas."""
    print("\ndeparture from a straight line (wanted: at most 5%)")
    ladders = {
        "N": [Work.draw(width, 1, 1000) for width in (500, 1000, 2000, 4000, 8000, 16000)],
        "K": [Work.draw(1000, 1, steps, steps) for steps in (500, 1000, 2000, 4000, 8000)],
        "replicas": [Work.draw(1000, replicas, 500) for replicas in (2, 4, 8, 16, 32)],
    }
    for name, works in ladders.items():
        sizes = {
            "N": [work.training.width for work in works],
            "K": [work.x.shape[1] for work in works],
            "replicas": [len(work.w) for work in works],
        }[name]
        times = best([work.ours() for work in works], seconds=2 * SECONDS)
        off = departure(sizes, times)
        listed = "  ".join(f"{size}: {work.ns(t):.3f}" for size, work, t in zip(sizes, works, times, strict=True))
        print(f"{name:9s} {off:5.1%} {verdict(off <= 0.05)}   ns per unit-step at {listed}")


# --- other processes ---------------------------------------------------------------------------------------


def own(mode: str, *arguments: object, launcher: tuple[str, ...] = ()) -> str:
    """The output of this file in another process, on all cores."""
    command = [*launcher, sys.executable, str(Path(__file__)), "--worker", mode, *map(str, arguments)]
    pinned = os.sched_getaffinity(0)
    os.sched_setaffinity(0, CORES)  # inherited
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, cwd=ROOT)
    os.sched_setaffinity(0, pinned)
    return done.stdout


def mpiexec(ranks: int) -> tuple[str, ...]:
    beside = Path(sys.executable).parent / "mpiexec"
    return (str(beside) if beside.exists() else "mpiexec", "-n", str(ranks))


def rank_worker() -> None:
    """This rank's share of 32 replicas on a core of its own; rank 0 prints the time of the slower."""
    from mpi4py import MPI

    comm = MPI.COMM_WORLD
    os.sched_setaffinity(0, {CORES[comm.rank % len(CORES)]})
    work = Work.draw(1000, 32 // comm.size, 300)
    run, shortest = work.ours(), float("inf")
    for _ in range(100):
        comm.Barrier()
        started = time.perf_counter()
        run()
        shortest = min(shortest, comm.allreduce(time.perf_counter() - started, MPI.MAX))
    if comm.rank == 0:
        print(shortest)


def ranks() -> None:
    """Two ranks against one."""
    if len(CORES) < 2:
        print("\ntwo ranks against one: this process may use one core only")
        return
    times = {count: float("inf") for count in (1, 2)}
    for _ in range(2):
        for count in times:
            times[count] = min(times[count], float(own("ranks", launcher=mpiexec(count))))
    gain = times[1] / times[2]
    print(f"\ntwo ranks on two cores against one: {gain:.2f}x (wanted: 1.9x) {verdict(gain >= 1.9)}")


STUDY = """
name: memory
seed: 1
chain: {kind: coupled-tanh}
target: {}
training: {beta: [0.75], width: [32], steps_per_time: [STEPS], replicas: 2, replicas_per_block: 2,
           horizon: 1.0, checkpoints: [1.0]}
"""


def memory_worker(steps: str) -> None:
    """Peak resident memory, in MiB, of a process that runs one block of the train stage with K = steps."""
    from rnnlimits import study
    from rnnlimits.theory import observe
    from rnnlimits.training.plan import blocks, cells
    from rnnlimits.training.train import train_block

    asked = study.loads(STUDY.replace("STEPS", steps), "benchmark")
    block, be = blocks(asked, cells(asked)[0])[0], host.HostBackend()
    train_block(asked, be, block, observe.AtProbes.of(asked, be), lambda _: None)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def memory() -> None:
    """Peak memory of a block of the train stage, against K."""
    peaks = {steps: float(own("memory", steps)) for steps in (1_000, 100_000, 1_000_000)}
    growth = peaks[1_000_000] / peaks[1_000] - 1
    listed = ", ".join(f"K = {steps}: {peak:.0f} MiB" for steps, peak in peaks.items())
    print(f"\npeak memory: {listed} (wanted: flat, within 5%) {verdict(growth <= 0.05)}")


def start() -> None:
    """From nothing to a stage that could begin: interpreter, imports, MPI; best of three."""
    print("\nstart-up of a stage (wanted: under 1.5 s)")
    stage = [
        sys.executable,
        "-c",
        "import rnnlimits.training.train, rnnlimits.training.draw; from mpi4py import MPI; MPI.COMM_WORLD.Barrier()",
    ]
    commands = {
        "python -m rnnlimits --help": [sys.executable, "-m", "rnnlimits", "--help"],
        "import the stages, MPI": stage,
        "mpiexec -n 2, the same": [*mpiexec(2), *stage],
    }
    for name, command in commands.items():

        def begin(command: list[str] = command) -> None:
            subprocess.run(command, check=True, cwd=ROOT, stdout=subprocess.DEVNULL)

        seconds = best([begin], seconds=0, least=1)[0]
        print(f"{name:27s} {seconds:5.2f} s {verdict(seconds < 1.5)}")


def heading(machine: Machine) -> None:
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines() if Path("/proc/cpuinfo").exists() else []
    model = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.processor())
    print(f"{model}, {len(CORES)} cores; load average {os.getloadavg()[0]:.1f}; Python {platform.python_version()}")
    print(
        f"one core: {machine.multiply_adds:.1f} float32 multiply-adds per ns, {machine.divisions:.2f} divisions per ns,"
        f" vectors of {machine.library.float_lanes()}"
    )


def main() -> None:
    sections: dict[str, Callable[[], None]] = {
        "start": start,
        "memory": memory,
        "ranks": ranks,
        "table": lambda: table(machine),
        "precision": precision,
        "linear": linear,
    }
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default=",".join(sections), help="sections to run, separated by commas")
    parser.add_argument("--worker", nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        rank_worker() if options.worker[0] == "ranks" else memory_worker(options.worker[1])
        return
    os.sched_setaffinity(0, {CORES[-1]})  # before JAX counts the cores
    machine = Machine.measure()
    heading(machine)
    for name in options.only.split(","):
        sections[name]()


if __name__ == "__main__":
    main()
