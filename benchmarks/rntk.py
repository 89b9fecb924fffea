"""Gram matrices of the recurrent NTK: the compiled kernel beside plain vectorised NumPy and a jitted JAX recursion.

    python benchmarks/rntk.py            # about a minute; --quick leaves the larger n to us alone

n sequences of T = 150 steps, ReLU, one layer, symmetric, NTK; wall time of the whole call, best of several.
The run stops if results disagree. `peak` counts the vector instructions of the multiply-add pipes
(a pair and step has 26 in float32, 38 in float64: a polynomial of degree 9 or 20, and 17 or 18 others; roots have
a pipe of their own) and divides the time that this core's measured rate of multiply-adds gives them by the time taken
on one core.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
if str(ROOT / "src") not in sys.path:  # as a script
    sys.path.insert(0, str(ROOT / "src"))
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from rnnlimits.kernels import compiler, rntk, toolchain  # noqa: E402

STEPS, SIGMA_W, SIGMA_B = 150, 1.3, 0.1
INSTRUCTIONS = {"float32": 26, "float64": 38}
LANES = {"float32": 16, "float64": 8}
NETWORK = rntk.Elman(sigma_w=SIGMA_W, sigma_b=SIGMA_B)


def plain_numpy(x: Any) -> Any:
    """The recursion on whole (n, n) matrices, one step after another."""
    n, steps = x.shape
    w, b = x.dtype.type(SIGMA_W**2), x.dtype.type(SIGMA_B**2)
    v, t, own = np.zeros((n, n), x.dtype), np.zeros((n, n), x.dtype), np.zeros(n, x.dtype)
    turn = x.dtype.type(2 * np.pi)
    for k in range(steps):
        s = w * v + np.outer(x[:, k], x[:, k]) + b
        q = w * own / 2 + x[:, k] ** 2 + b
        own = q
        scale = np.sqrt(np.outer(q, q))
        c = np.clip(s / scale, -1, 1)
        slope = (np.pi - np.arccos(c)) / turn
        v = s * slope + scale * np.sqrt(1 - c * c) / turn
        t = slope * (s + w * t)
    return v + t


def jax_gram(x: Any) -> Callable[[], Any]:
    """The same as a scan, jitted and compiled here, so that compiling is not timed."""
    import jax
    import jax.numpy as jnp

    def step(state: Any, column: Any) -> Any:
        v, t, own = state
        s = SIGMA_W**2 * v + jnp.outer(column, column) + SIGMA_B**2
        q = SIGMA_W**2 * own / 2 + column**2 + SIGMA_B**2
        scale = jnp.sqrt(jnp.outer(q, q))
        c = jnp.clip(s / scale, -1, 1)
        slope = (jnp.pi - jnp.arccos(c)) / (2 * jnp.pi)
        v = s * slope + scale * jnp.sqrt(1 - c * c) / (2 * jnp.pi)
        return (v, slope * (s + SIGMA_W**2 * t), q), None

    def whole(x: Any) -> Any:
        zero = jnp.zeros((len(x), len(x)), x.dtype)
        (v, t, _), _ = jax.lax.scan(step, (zero, zero, zero[0]), x.T)
        return v + t

    there = jax.device_put(x)
    compiled = jax.jit(whole).lower(there).compile()
    return lambda: np.asarray(compiled(there))


def best(work: Callable[[], Any], seconds: float) -> float:
    """Seconds of the fastest call within about `seconds`, at least two."""
    found: list[float] = []
    while len(found) < 2 or (sum(found) < seconds and len(found) < 50):
        began = time.perf_counter()
        work()
        found.append(time.perf_counter() - began)
    return min(found)


def multiply_adds() -> float:
    """Vector multiply-adds per second of this core."""
    with tempfile.TemporaryDirectory() as folder:
        target, source = Path(folder) / "machine.so", Path(__file__).with_name("machine.cpp")
        command = [*toolchain.find_compiler(), *compiler.FLAGS, f"-I{compiler.SOURCE}", str(source), "-o", str(target)]
        subprocess.run(command, check=True)
        library = ctypes.CDLL(str(target))
    library.multiply_adds.argtypes = [ctypes.c_long, ctypes.c_float, ctypes.c_float]
    rounds = 200_000
    return 16 * rounds / best(lambda: library.multiply_adds(rounds, 0.5, 1.0), 0.5)


def ours(x: Any, dtype: str, threads: int) -> Callable[[], Any]:
    return lambda: rntk.gram(x, network=NETWORK, dtype=dtype, backend="host", threads=threads)


def require_alike(found: Any, wanted: Any, dtype: str) -> None:
    """Off the diagonal, where the peers lose half of the digits."""
    off = ~np.eye(len(found), dtype=bool)
    worst = np.abs(found - wanted)[off].max() / np.abs(wanted).max()
    if worst > (1e-4 if dtype == "float32" else 1e-9):
        sys.exit(f"results disagree by {worst:.1e}")


def line(n: int, dtype: str, rate: float, with_peers: bool) -> str:
    x = np.random.default_rng(0).standard_normal((n, STEPS)).astype(dtype)
    cores = len(os.sched_getaffinity(0))
    one, every = (best(ours(x, dtype, threads), 1.0) for threads in (1, cores))
    pair_steps = n * (n + 1) / 2 * STEPS
    peak = pair_steps / LANES[dtype] * INSTRUCTIONS[dtype] / rate / one
    cells = [f"{one * 1e3:.3g}", f"{every * 1e3:.3g}", f"{one / pair_steps * 1e9:.2f}", f"{peak:.0%}"]
    peers = ["", "", "", ""]
    if with_peers:
        jax = jax_gram(x)
        require_alike(ours(x, dtype, 1)(), plain_numpy(x), dtype)
        require_alike(ours(x, dtype, 1)(), jax(), dtype)
        times = [best(lambda: plain_numpy(x), 2.0), best(jax, 2.0)]
        peers = [cell for seconds in times for cell in (f"{seconds * 1e3:.4g}", f"{seconds / one:.0f}x")]
    return f"| {n} | {dtype} | {' | '.join(cells + peers)} |"


def scaling(rate: float) -> None:
    """Time a pair-step for other n and T: the same where work is linear in both."""
    for n, steps in ((500, 150), (1000, 150), (2000, 150), (1000, 300), (1000, 600)):
        x = np.random.default_rng(0).standard_normal((n, steps))
        seconds = best(ours(x, "float64", 1), 1.0)
        print(f"n = {n}, T = {steps}: {seconds / (n * (n + 1) / 2 * steps) * 1e9:.3f} ns a pair and step")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="no peers at n = 1000, no scaling")
    quick = parser.parse_args().quick
    import jax

    jax.config.update("jax_enable_x64", True)
    rate = multiply_adds()
    print(
        f"{rate * 1e-9:.2f} vector multiply-adds per ns; load {os.getloadavg()[0]:.1f}; times in ms, ns a pair and step"
    )
    print(
        "| n | dtype | one core | all cores | ns | peak | NumPy | NumPy / one core | JAX (all cores) | JAX / one core |"
    )
    print("|---" * 10 + "|")
    for n in (200, 1000):
        for dtype in ("float32", "float64"):
            print(line(n, dtype, rate, n == 200 or not quick), flush=True)
    if not quick:
        scaling(rate)


if __name__ == "__main__":
    main()
