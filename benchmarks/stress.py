"""Ten thousand blocks on eight nodes of four ranks, all on this machine: nothing lost, nothing done twice.

    python benchmarks/stress.py                       # both runs and the counter, about ten minutes on two cores
    python benchmarks/stress.py --blocks 1000         # fewer blocks
    python benchmarks/stress.py --write stress.md     # the table into a file as well

First, tiny trainings in one job of 32 ranks over eight virtual nodes (cluster/loopback): shards against the plan, how
often each was written (inotify counts the renames by which they appear), files, inodes, bytes, time. Then the shared
counter from which ranks take blocks, by itself: 32 ranks that do nothing else. Last, fewer blocks on fewer ranks while
a random process of the study is killed every few seconds. The shards of the first run must have the digests of an
undisturbed one on this machine without Slurm (those of the first beta, unless --compare all), the shards of the struck
run those of the first. Exit code 1 if anything was lost, doubled, or differs.
"""

from __future__ import annotations

import argparse
import os
import random
import re
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "src"), str(ROOT)]
sys.path.insert(0, str(ROOT / "tests" / "support"))

from slurm import Loopback  # noqa: E402

from benchmarks.cluster import Trial, calm, cluster, machine, planned, table  # noqa: E402
from benchmarks.faults import Chaos, stormy  # noqa: E402
from rnnlimits.files.reading import digest_of  # noqa: E402
from rnnlimits.ranks.parallel import Counters, world  # noqa: E402
from rnnlimits.training.layout import Layout  # noqa: E402

SEED = 20231108
BLOCKS, STORMY_BLOCKS = 10_000, 3_000
NODES, RANKS_PER_NODE = 8, 4
STORMY_NODES = 2
PAUSE = (3.0, 9.0)  # seconds between two kills
MOST_KILLS = 15
TURNS = 20_000  # taken from the counter by all ranks together
BETAS = [0.6, 0.7, 0.8, 0.9]
END_SECONDS = 900
MEGABYTES = 300

# Each block is two replicas of a few units for 16 steps: nearly all of its time is what a block costs by itself.
TINY: dict[str, Any] = {
    "name": "stress",
    "training": {
        "beta": BETAS,
        "width": [8],
        "steps_per_time": [8],
        "replicas_per_block": 2,
        "horizon": 2.0,
        "checkpoints": [0.0, 2.0],
    },
}


def content(blocks: int, betas: list[float] = BETAS) -> dict[str, Any]:
    """A study of so many blocks in one pack, or only of some of its cells."""
    return {**TINY, "training": {**TINY["training"], "beta": betas, "replicas": 2 * (blocks // len(BETAS))}}


def site(nodes: int) -> dict[str, Any]:
    """One job of all nodes, whatever little work there is."""
    return {
        "ranks_per_node": RANKS_PER_NODE,
        "nodes": nodes,
        "minutes": 1,
        "shortest": 1,
        "longest": 55,
        "megabytes_per_rank": MEGABYTES,
        "warning": 60,
        "speed": {"float32": 20.0, "float64": 5e6},
    }


@dataclass
class Result:
    """What a run left behind."""

    blocks: int
    ranks: int
    seconds: float  # from the command to its end
    training: float  # of the ranks' work on the pack, by its log; of the last job, if there were several
    missing: int
    more_than_once: int
    never_seen: int
    left_over: int  # temporary files and saved states
    files: int
    folders: int
    megabytes: float
    allocated: float
    commands: int
    struck: Counter[str]
    compared: int
    different: int

    @property
    def good(self) -> bool:
        return (
            self.compared > 0
            and not self.different
            and not (self.missing or self.more_than_once or self.never_seen or self.left_over)
        )


def measure(trial: Trial, ranks: int, seconds: float, wanted: Path, struck: Counter[str]) -> Result:
    """Count what is there, and compare it with the shards below another study's folder."""
    time.sleep(0.5)  # for the last renames to be counted
    study, layout = trial.study, trial.layout
    paths = planned(study, layout)
    every = [Path(folder) / name for folder, _, names in os.walk(layout.root) for name in names]
    folders = sum(1 for _ in os.walk(layout.root))
    status = [path.stat() for path in every]
    counted = trial.renames.count if trial.renames else Counter()
    return Result(
        blocks=len(paths),
        ranks=ranks,
        seconds=seconds,
        training=training_seconds(layout),
        missing=sum(not path.exists() for path in paths),
        more_than_once=sum(times > 1 for times in counted.values()),
        never_seen=sum(counted[path] == 0 for path in paths),
        left_over=sum(path.name.startswith(".") and path.suffix != ".lock" for path in every)
        + sum("checkpoints" in path.parts for path in every),
        files=len(every),
        folders=folders,
        megabytes=sum(each.st_size for each in status) / 1e6,
        allocated=sum(512 * each.st_blocks for each in status) / 1e6,
        commands=trial.commands,
        struck=struck,
        compared=len(both := shared(layout.shards, wanted)),
        different=sum(digest_of(path) != digest_of(other) for path, other in both),
    )


def shared(ours: Path, others: Path) -> list[tuple[Path, Path]]:
    """Shards of trainings that two studies have in common: their folders are named by what they hold."""
    pairs = [(path, others / path.relative_to(ours)) for path in ours.glob("N*/*.h5")]
    return [(path, other) for path, other in pairs if other.exists()]


def training_seconds(layout: Layout) -> float:
    """Seconds of the last job on the pack, from the line at its end."""
    text = "\n".join(path.read_text() for path in layout.logs.glob("draw*.log"))
    found = re.findall(r"train \S+: .* unit-steps in (?:(\d+) min )?([\d.]+) s", text)
    return 60.0 * float(found[-1][0] or 0) + float(found[-1][1]) if found else float("nan")


def quiet_run(loopback: Loopback, folder: Path, blocks: int, betas: list[float]) -> Result:
    """All blocks in one job of 32 ranks; of some of the cells also without Slurm."""
    calm(folder / "calm", content(blocks, betas))
    trial = Trial.of(loopback, folder / "run", content(blocks), site(NODES))
    try:
        trial.watch()
        started = time.monotonic()
        code = trial.start().wait(END_SECONDS)
        seconds = time.monotonic() - started
        if code != 0:
            raise RuntimeError(f"exit code {code}:\n{trial.said()[-3000:]}")
        return measure(trial, ranks_of(trial), seconds, folder / "calm/results/stress/shards", Counter())
    finally:
        trial.clean_up()


def ranks_of(trial: Trial) -> int:
    """How many ranks the last job had, by its log."""
    text = "\n".join(path.read_text() for path in trial.layout.logs.glob("draw*.log"))
    return int(re.findall(r", (\d+) ranks", text)[-1])


def stormy_run(loopback: Loopback, folder: Path, blocks: int) -> Result:
    """Fewer blocks while processes are killed."""
    chaos = Chaos({}, MOST_KILLS)
    trial = Trial.of(loopback, folder / "storm", content(blocks), site(STORMY_NODES))
    try:
        started = time.monotonic()
        stormy(trial, random.Random(SEED), chaos, PAUSE, MOST_KILLS)
        seconds = time.monotonic() - started
        return measure(trial, ranks_of(trial), seconds, folder / "run/results/stress/shards", chaos.struck)
    finally:
        trial.clean_up()


# --- the counter -------------------------------------------------------------------------------------------


def counter_worker() -> None:
    """Take turns from the shared counter until none is left; rank 0 prints what it took."""
    comm = world()
    with Counters(comm) as counters:
        comm.Barrier()
        started, longest, mine, total = time.perf_counter(), 0.0, 0, 0
        while True:
            before = time.perf_counter()
            turn = counters.exchange(next=1).next
            longest = max(longest, time.perf_counter() - before)
            if turn >= TURNS:
                break
            mine, total = mine + 1, total + turn
        seconds = time.perf_counter() - started
        comm.Barrier()
    every = comm.gather((mine, total, seconds, longest))
    if every is None:
        return
    taken, added = (sum(each[at] for each in every) for at in (0, 1))
    if (taken, added) != (TURNS, TURNS * (TURNS - 1) // 2):
        sys.exit(f"{taken} turns taken of {TURNS}: the counter gave one twice, or lost one")
    print(comm.size, max(each[2] for each in every), max(each[3] for each in every))


def counter(loopback: Loopback) -> tuple[int, float, float]:
    """Ranks, microseconds of one turn where all ranks want one at once, and the longest wait in milliseconds."""
    start = ["srun", "--mpi=pmi2", f"--nodes={NODES}", f"--ntasks={NODES * RANKS_PER_NODE}", "--account=ci"]
    done = loopback.run(*start, f"--ntasks-per-node={RANKS_PER_NODE}", sys.executable, __file__, "--worker", cwd=ROOT)
    ranks, seconds, longest = done.stdout.split()
    return int(ranks), 1e6 * float(seconds) / TURNS, 1e3 * float(longest)


# --- the table ---------------------------------------------------------------------------------------------


def report(quiet: Result, stormy: Result, turn: tuple[int, float, float]) -> str:
    def row(name: str, show: Callable[[Result], object]) -> list[str]:
        return [name, str(show(quiet)), str(show(stormy))]

    rows = [
        row("blocks", lambda r: f"{r.blocks:,}"),
        row("ranks", lambda r: r.ranks),
        row("kills", lambda r: sum(r.struck.values())),
        row("command given", lambda r: f"{r.commands} times" if r.commands > 1 else "once"),
        row("wall time from the command to its end", lambda r: f"{r.seconds:.0f} s"),
        row("of which the (last) job's trainings", lambda r: f"{r.training:.0f} s"),
        row("blocks a second while training", lambda r: f"{r.blocks / r.training:.0f}" if not r.struck else "-"),
        row("shards missing", lambda r: r.missing),
        row("shards written more than once", lambda r: r.more_than_once),
        row("temporary files and states left", lambda r: r.left_over),
        row("files, folders (inodes)", lambda r: f"{r.files:,}, {r.folders} ({r.files + r.folders:,})"),
        row("bytes, allocated", lambda r: f"{r.megabytes:.0f} MB, {r.allocated:.0f} MB"),
        row("bytes a shard", lambda r: f"{1e6 * r.megabytes / r.blocks:,.0f}"),
        row("shards compared with the other run", lambda r: f"{r.compared:,}"),
        row("of which different", lambda r: r.different),
    ]
    per_block = 1e6 * quiet.training / quiet.blocks
    kinds = ", ".join(f"{times} {kind}" for kind, times in stormy.struck.most_common())
    ranks, micro, longest = turn
    return "\n".join(
        [
            machine(),
            "",
            table(["", "quiet", "struck"], rows),
            "",
            f"killed: {kinds}",
            f"counter: {ranks} ranks that only take turns get one every {micro:.0f} us together (longest wait "
            f"{longest:.0f} ms); one block every {per_block:.0f} us is what they did, so turns take "
            f"{micro / per_block:.1%} of it",
        ]
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--blocks", type=int, default=BLOCKS, help=f"of the quiet run (default: {BLOCKS})")
    parser.add_argument("--struck", type=int, default=STORMY_BLOCKS, help=f"blocks of the other ({STORMY_BLOCKS})")
    parser.add_argument(
        "--compare", choices=["one", "all"], default="one", help="cells that are also run without Slurm"
    )
    parser.add_argument("--write", type=Path, help="write the table to this file as well")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        counter_worker()
        return 0
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    betas = BETAS if options.compare == "all" else BETAS[:1]
    return both(options.blocks, options.struck, betas, options.write)


def both(blocks: int, struck: int, betas: list[float], write: Path | None) -> int:
    folder, started = Path(tempfile.mkdtemp(prefix="rs")), time.monotonic()
    try:
        with cluster(folder / "c", nodes=NODES, cpus=RANKS_PER_NODE, gpu_nodes=0) as loopback:
            quiet = quiet_run(loopback, folder, blocks, betas)
            turn = counter(loopback)
            stormy = stormy_run(loopback, folder, struck)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    text = f"{report(quiet, stormy, turn)}\nall of this: {time.monotonic() - started:.0f} s\n"
    print(text)
    if write is not None:
        write.write_text(text)
    return 0 if quiet.good and stormy.good else 1


if __name__ == "__main__":
    sys.exit(main())
