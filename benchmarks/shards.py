"""How long an ensemble of thousands of shards takes to build, to open and to read, with few open files.

    python benchmarks/shards.py                        # 10,000 shards; some minutes on a core, 200 MB in TMPDIR
    python benchmarks/shards.py --shards 200

Shards have two replicas and a few variables. All but writing them is done with at most `--files` open files; the digest
is computed with that limit and with the usual one, and must be the same. Times are those of the processor.
"""

from __future__ import annotations

import argparse
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "src"), str(ROOT)]

from rnnlimits.files import store  # noqa: E402
from rnnlimits.files.ensembles import build_ensemble, open_ensemble  # noqa: E402

ROWS = 2  # replicas in a shard
NAMES = tuple(f"v{index:02d}" for index in range(6))
CELL = {"cell_id": "0123456789ab"}


def write_shard(root: Path, index: int) -> Path:
    """A shard whose values depend on its replicas alone."""
    path, first = root / "shards" / "cell_0123456789ab" / f"replicas-{index:06d}.h5", index * ROWS
    rows = np.arange(first, first + ROWS)
    with store.atomic_h5(path, "train-shard", CELL) as file:
        store.put(file, "replica", rows, ("replica",), "1", "replica")
        for place, name in enumerate(NAMES):
            values = np.sin(rows[:, None, None] + np.arange(5)[:, None] * np.arange(8) + place)
            store.put(file, name, values, ("replica", "time", "probe"), "1", "values")
    return path


def timed(what: str, count: int, act: Callable[[], object]) -> object:
    """The result of `act`, after printing the time that the processor took for it."""
    started = time.process_time()
    result = act()
    seconds = time.process_time() - started
    print(f"{what:34s} {seconds:8.2f} s  {1e3 * seconds / count:7.3f} ms a shard", flush=True)
    return result


def read(path: Path, load: bool) -> None:
    with open_ensemble(path, **CELL) as file:
        if load:
            file.load(NAMES)
        for name in NAMES:
            if not np.isfinite(file[name][:, -1]).all():
                raise SystemExit(f"{name} has values that are not finite")


def opened(path: Path) -> None:
    with open_ensemble(path, **CELL):
        pass


def measure(root: Path, count: int, files: int) -> None:
    shards, path = [root / "none"] * count, root / "train" / "cell.h5"

    def write() -> None:
        shards[:] = [write_shard(root, index) for index in range(count)]

    timed("write shards", count, write)
    usual = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, usual[1]))
    timed("build the ensemble", count, lambda: build_ensemble(root, shards, path, "train-ensemble", CELL, CELL))
    timed("open it", count, lambda: opened(path))
    timed(f"read {len(NAMES)} variables in one pass", count, lambda: read(path, load=True))
    timed(f"read {len(NAMES)} variables, one by one", count, lambda: read(path, load=False))
    digest = timed(f"digest, {files} files", count, lambda: store.digest_of(path))
    resource.setrlimit(resource.RLIMIT_NOFILE, usual)
    if digest != timed(f"digest, {usual[0]} files", count, lambda: store.digest_of(path)):
        raise SystemExit("the digests differ")
    print(f"digest {digest}")
    print(f"ensemble {path.stat().st_size / 1e6:.1f} MB, a shard {shards[0].stat().st_size / 1e3:.1f} kB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shards", type=int, default=10_000)
    parser.add_argument("--files", type=int, default=64, help="limit of open files")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        measure(Path(folder) / "results" / "many", options.shards, options.files)


if __name__ == "__main__":
    main()
