"""How fast networks of finite width are drawn and their kernels taken, on one core and on a GPU, beside the limit.

    python benchmarks/ensembles.py               # under a minute on a core; says why where there is no GPU
    python benchmarks/ensembles.py --dry-run     # small, the GPU an emulated one; its figures mean nothing

The sequences of config/rntk-rates.yaml (4, 5, 6, 8 steps), ReLU, one layer, a chunk as the train stage works on; wall
time, best of several. `Gflop/s` counts the products with W alone, 4 n^2 for each step of each sequence, over the time
of the kernels. `reached` is of the limit: on a core those products at its measured rate of multiply-adds; on a GPU W
read once for each of the longest sequence's steps forward and once back, at the measured speed of `a += 1`. Such thin
products are bound by memory there: 4 columns are 2 operations a byte in float32.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "src"), str(ROOT), str(ROOT / "tests" / "support")]
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from benchmarks.rntk import LANES, best, multiply_adds  # noqa: E402
from rnnlimits.elman import chunks, plan, world  # noqa: E402
from rnnlimits.elman.plan import Block, Cell  # noqa: E402
from rnnlimits.kernels import cuda_backend, processor  # noqa: E402
from rnnlimits.kernels.interface import Backend  # noqa: E402
from rnnlimits.kernels.rntk import finite  # noqa: E402
from rnnlimits.study import RntkStudy  # noqa: E402

LENGTHS = (4, 5, 6, 8)


class Sizes(NamedTuple):
    """Widths of the networks, and about how long one figure may take."""

    widths: tuple[int, ...]
    seconds: float


FULL, DRY = Sizes((128, 1024, 4096), 1.0), Sizes((16, 32), 0.02)


def study(dtype: str, width: int) -> RntkStudy:
    text = {"experiment": "rntk", "name": "speed", "precision": dtype, "networks": [{"sigma_w": 1.0, "sigma_b": 0.1}]}
    ladder = {"fluctuation": {"width": [width], "replicas": 1}}
    return RntkStudy.model_validate({**text, **ladder, "sequences": {"lengths": list(LENGTHS)}})


def chunk_of(this: RntkStudy, be: Backend, cell: Cell) -> Block:
    return next(chunks.of_block(this, be, Block(cell, 0, plan.MOST_IN_BLOCK)))


def line(be: Backend, dtype: str, width: int, seconds: float, least: Callable[[int, int], float]) -> str:
    """A row of the table; least(bytes of W, operations with W): seconds of the kernels at the limit."""
    this = study(dtype, width)
    (cell,) = plan.cells(this)
    network, replicas = plan.elman(this, cell), np.arange(chunk_of(this, be, cell).count, dtype=np.uint32)
    at = finite.columns(world.sequences(this, processor()), be.array)
    weights = world.draw(this, be, network, width, replicas)

    def draw() -> Any:
        return be.numpy(world.draw(this, be, network, width, replicas).output)

    drawing = best(draw, seconds)
    taking = best(lambda: be.numpy(finite.empirical(network, weights, at).ntk), seconds)
    operations, size = 4 * width**2 * sum(LENGTHS) * len(replicas), weights.recurrent[0].nbytes
    cells = (width, dtype, len(replicas), f"{drawing * 1e3:.3g}", f"{taking * 1e3:.3g}")
    share = least(size, operations) / taking
    return f"| {be.device} | {' | '.join(map(str, cells))} | {operations / taking * 1e-9:.3g} | {share:.0%} |"


def memory_speed(be: Any) -> float:
    """Bytes a second that a device reads and writes."""
    a = be.array(np.zeros(2**25))

    def add() -> None:
        nonlocal a
        a += 1.0
        be.numpy(a[:1])

    return 2 * int(a.nbytes) / best(add, 0.2)


def on_core(sizes: Sizes) -> None:
    rate = multiply_adds()
    for dtype, lanes in LANES.items():
        for width in sizes.widths:
            row = line(processor(), dtype, width, sizes.seconds, lambda _, count, n=lanes: count / (2 * n * rate))
            print(row, flush=True)


def on_gpu(be: Backend, sizes: Sizes) -> None:
    speed, steps = memory_speed(be), max(LENGTHS)
    for dtype in LANES:
        for width in sizes.widths:
            row = line(be, dtype, width, sizes.seconds, lambda size, _: 2 * steps * size / speed)
            print(row, flush=True)


def emulated() -> Backend:
    from emulation import emulated

    chunks.DEVICE_BYTES = 2**20
    return emulated()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dry-run", action="store_true", help="narrow networks, an emulated GPU")
    dry = parser.parse_args().dry_run
    sizes = DRY if dry else FULL
    if dry:
        print("a dry run: these figures mean nothing")
    print("| device | n | dtype | replicas | drawing, ms | kernels, ms | Gflop/s | reached |")
    print("|---" * 8 + "|")
    on_core(sizes)
    reason = None if dry else cuda_backend.available()
    if reason:
        print(f"no rows of a GPU: {reason}")
    else:
        on_gpu(emulated() if dry else cuda_backend.backend(), sizes)


if __name__ == "__main__":
    main()
