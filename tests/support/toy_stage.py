"""A parallel stage that iterates the logistic map, whose last bit decides its next state. Run by itself under mpiexec.

python toy_stage.py FOLDER [--pause SECONDS] [--fail bad-input|defect|prepare|hang]
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from rnnlimits import kernels
from rnnlimits.base import progress
from rnnlimits.base.errors import StudyError
from rnnlimits.files.store import put
from rnnlimits.ranks import parallel, sharded
from rnnlimits.ranks.checkpoints import Keeper, State
from rnnlimits.ranks.sharded import Ensemble, Stage

STEPS, SEGMENT = 120, 10
COUNTS = {"a": (2, 5, 3, 1), "b": (4, 4)}  # rows of the blocks of each ensemble
IDENTITY = "0123456789ab"


@dataclass(frozen=True)
class Rows:
    """Rows first .. first + count - 1 of an ensemble."""

    name: str
    first: int
    count: int

    @property
    def file(self) -> str:
        return f"rows-{self.first}.h5"


Hook = Callable[[Rows], None]


def stage(
    folder: Path, pause: float = 0.0, at_work: Hook = lambda _: None, identity: str = IDENTITY
) -> Stage[Rows, float, NDArray[np.float64]]:
    """at_work: called in each segment of a block's work."""

    def compute(rows: Rows, start: float, _: object, keeper: Keeper) -> NDArray[np.float64]:
        x, done = start + 0.05 * np.arange(rows.first, rows.first + rows.count), 0
        if state := keeper.load():
            x, done = state.arrays["x"], state.done
        keeper.resumed(done * rows.count)
        while done < STEPS:
            at_work(rows)
            time.sleep(pause)
            for _ in range(SEGMENT):
                x = 3.99 * x * (1 - x)
            done += SEGMENT
            now = State(done, {"chain_step": 0, "seconds": 0.0}, {"x": x})
            keeper.passed(SEGMENT * rows.count, lambda now=now: now)
        return x

    return Stage(
        label="toy",
        unit="row-steps",
        be=kernels.backend("numpy"),
        ensembles=lambda: [ensemble(folder, name, identity) for name in COUNTS],
        size=lambda rows: STEPS * rows.count,
        prepare=lambda: 0.1,
        compute=compute,
        write=write,
        join=sharded.linked_below(folder),
        variables={"x": (("row",), "where the map is")},
    )


def ensemble(folder: Path, name: str, identity: str = IDENTITY) -> Ensemble[Rows]:
    firsts = np.cumsum([0, *COUNTS[name]]).tolist()
    return Ensemble(
        kind="toy",
        path=folder / f"{name}.h5",
        dimension="row",
        identity={"toy_id": identity},
        attributes=lambda: {"toy_id": identity, "growth": 3.99},
        blocks=[Rows(name, first, count) for first, count in zip(firsts, COUNTS[name], strict=False)],
        shard=lambda rows: folder / "shards" / name / rows.file,
        state=lambda rows: folder / "checkpoints" / name / rows.file,
        steps=STEPS,
    )


def write(shard: h5py.File, rows: Rows, x: NDArray[np.float64]) -> None:
    put(shard, "row", np.arange(rows.first, rows.first + rows.count), ("row",), "1", "index of the row")
    put(shard, "x", x, ("row",), "1", "where the map is in the end")


def failing(how: str | None) -> Hook:
    """Raises in one block, while the others go on."""

    def fail(rows: Rows) -> None:
        if rows.first == 2 and how == "bad-input":
            raise StudyError("the block from row 2 is bad")
        if rows.first == 2 and how == "defect":
            raise ZeroDivisionError("a defect")

    return fail


def hanging(folder: Path, rank: int) -> Hook:
    """Stops, without a word, in the sixth segment of a block, once some shard exists."""
    segments: Counter[Rows] = Counter()

    def hang(rows: Rows) -> None:
        segments[rows] += 1
        if segments[rows] == 6 and list(folder.glob("shards/*/rows-*.h5")):
            (folder / f"hangs-{rank}").touch()
            time.sleep(600)

    return hang


def main() -> None:
    options = argparse.ArgumentParser()
    options.add_argument("folder", type=Path)
    options.add_argument("--pause", type=float, default=0.0)
    options.add_argument("--fail")
    told, comm = options.parse_args(), parallel.world()
    progress.log_to(None)
    (told.folder / f"rank-{comm.rank}.pid").write_text(str(os.getpid()))
    hook = hanging(told.folder, comm.rank) if told.fail == "hang" else failing(told.fail)
    toy = stage(told.folder, told.pause, hook)
    if told.fail == "prepare":
        object.__setattr__(toy, "prepare", lambda: 0.1 if comm.rank != 1 else failing("bad-input")(Rows("a", 2, 5)))
    try:
        sharded.run(comm, toy)
    except StudyError as error:
        print(f"rank {comm.rank} ends: {error}", file=sys.stderr, flush=True)
        sys.exit(2)
    except parallel.RankFailed as error:
        print(f"rank {comm.rank} fails: {str(error).splitlines()[-1]}", file=sys.stderr, flush=True)
        sys.exit(3)


if __name__ == "__main__":
    main()
