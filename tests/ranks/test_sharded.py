"""The skeleton of a parallel stage, on a toy: what is computed, what is kept, what is refused, and how ranks end."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
import toy_stage
from processors import reference
from runs import ENVIRONMENT, HANG, MPIEXEC
from toy_stage import Rows

from rnnlimits.base.errors import StudyError
from rnnlimits.files import store
from rnnlimits.files.ensembles import open_ensemble
from rnnlimits.ranks import checkpoints, parallel, sharded

EVERY = [block for name in toy_stage.COUNTS for block in toy_stage.ensemble(Path(), name).blocks]


def run(folder: Path) -> list[Rows]:
    """Run the toy in this process; returns the blocks that were computed, in their order."""
    segments: list[Rows] = []
    sharded.run(parallel.world(), toy_stage.stage(folder, at_work=segments.append))
    return list(dict.fromkeys(segments))


def start(folder: Path, ranks: int, *words: object, **environment: str) -> subprocess.Popen[str]:
    command = [MPIEXEC, "-n", str(ranks), sys.executable, toy_stage.__file__, str(folder), *map(str, words)]
    folder.mkdir(exist_ok=True)
    return subprocess.Popen(command, env={**ENVIRONMENT, **environment}, stderr=subprocess.PIPE, text=True)


def finish(job: subprocess.Popen[str]) -> str:
    """What it said on stderr."""
    said = job.communicate(timeout=HANG)[1]
    assert job.returncode == 0, said
    return said


def files(folder: Path) -> list[Path]:
    return sorted(path.relative_to(folder) for path in folder.rglob("*.h5"))


def digests(folder: Path) -> dict[Path, str]:
    """Of ensembles and shards."""
    return {path: store.digest_of(folder / path) for path in files(folder)}


@pytest.fixture(scope="module")
def calm(tmp_path_factory: pytest.TempPathFactory) -> dict[Path, str]:
    """Digests of all files after one undisturbed run in one process."""
    folder = tmp_path_factory.mktemp("calm")
    run(folder)
    return digests(folder)


def test_values_and_attributes_arrive_in_the_ensembles(tmp_path: Path) -> None:
    run(tmp_path)
    for name, counts in toy_stage.COUNTS.items():
        x = 0.1 + 0.05 * np.arange(sum(counts))
        for _ in range(toy_stage.STEPS):
            x = 3.99 * x * (1 - x)
        with open_ensemble(tmp_path / f"{name}.h5", "toy-ensemble", toy_id=toy_stage.IDENTITY) as file:
            assert np.array_equal(file["x"][()], x)
            assert file["x"].is_virtual
            assert file.attrs["growth"] == 3.99
            assert file.attrs["joined_along"] == "row"
            assert file.attrs["shard_backend"] == reference.name
    with h5py.File(tmp_path / "shards" / "a" / "rows-2.h5") as shard:
        expected = {"kind": "toy-shard", "toy_id": toy_stage.IDENTITY, "first": 2, "count": 5, "backend": "numpy"}
        assert expected.items() <= dict(shard.attrs).items()
        assert list(shard.attrs)[3:] == ["toy_id", "growth", "first", "count", "backend", "device", "complete"]


def test_the_largest_blocks_come_first(tmp_path: Path) -> None:
    assert [rows.count for rows in run(tmp_path)] == [5, 4, 4, 3, 2, 1]


def test_only_a_missing_shard_is_computed_again(tmp_path: Path, calm: dict[Path, str]) -> None:
    assert sorted(run(tmp_path), key=EVERY.index) == EVERY
    shards = sorted((tmp_path / "shards").rglob("*.h5"))
    written = {shard: shard.stat().st_mtime_ns for shard in shards}
    shards[1].unlink()
    (tmp_path / "b.h5").unlink()
    assert [(rows.name, rows.file) for rows in run(tmp_path)] == [("a", shards[1].name)]
    assert [shard for shard in shards if shard.stat().st_mtime_ns != written[shard]] == [shards[1]]
    assert digests(tmp_path) == calm
    assert run(tmp_path) == []


@pytest.mark.needs_mpi
@pytest.mark.parametrize("ranks", [1, 2, 3])
def test_the_number_of_ranks_changes_no_bit(ranks: int, tmp_path: Path, calm: dict[Path, str]) -> None:
    said = finish(start(tmp_path, ranks))
    assert digests(tmp_path) == calm
    assert "toy: 2280 row-steps in " in said


@pytest.mark.needs_mpi
def test_killed_in_the_middle_of_blocks_it_ends_the_same(tmp_path: Path, calm: dict[Path, str]) -> None:
    """Each rank five segments into a block, of which it has saved as much."""
    job = start(tmp_path, 2, "--fail", "hang", **{checkpoints.SECONDS: "0"})
    while len(list(tmp_path.glob("hangs-*"))) < 2:
        assert job.poll() is None
        time.sleep(0.01)
    for rank in (0, 1):
        os.kill(int((tmp_path / f"rank-{rank}.pid").read_text()), signal.SIGKILL)
    assert job.wait(timeout=20) != 0
    job.stderr.close()
    done = {path for path in files(tmp_path) if path.parts[0] == "shards"}
    assert 0 < len(done) < len(EVERY)
    said = finish(start(tmp_path, 2))
    assert "going on with 2 blocks from saved states, 42% of their steps done" in said
    assert not (tmp_path / "checkpoints").exists()
    assert digests(tmp_path) == calm


# --- refusals ----------------------------------------------------------------------------------------------


def test_a_broken_shard_is_named_and_nothing_is_computed(tmp_path: Path) -> None:
    run(tmp_path)
    first, second, *_ = sorted((tmp_path / "shards" / "a").glob("*.h5"))
    first.unlink()
    second.write_bytes(second.read_bytes()[:-900])
    with pytest.raises(StudyError, match=f"^{second}: "):
        run(tmp_path)
    assert not first.exists()
    second.unlink()
    assert [rows.file for rows in run(tmp_path)] == [first.name, second.name]


def test_a_shard_of_something_else_is_refused(tmp_path: Path) -> None:
    run(tmp_path)
    other = toy_stage.stage(tmp_path, identity="ba9876543210")
    with pytest.raises(StudyError, match=r"rows-0\.h5: is from another study \(toy_id 0123456789ab, expected ba98"):
        sharded.run(parallel.world(), other)
    shards = tmp_path / "shards" / "b"
    (shards / "rows-0.h5").replace(shards / "rows-4.h5")
    with pytest.raises(StudyError, match=r"rows-4\.h5: is not the right file \(first 0, expected 4\)"):
        run(tmp_path)


@pytest.mark.needs_mpi
@pytest.mark.parametrize(
    ("how", "code", "says"),
    [
        ("bad-input", 2, "ends: the block from row 2 is bad"),
        ("defect", 3, "fails: ZeroDivisionError: a defect"),
        ("prepare", 2, "ends: the block from row 2 is bad"),
    ],
)
def test_what_fails_on_one_rank_ends_all(how: str, code: int, says: str, tmp_path: Path, calm: dict[Path, str]) -> None:
    job = start(tmp_path, 3, "--fail", how, "--pause", 0.05)
    said = job.communicate(timeout=HANG)[1]
    assert job.returncode == code
    for rank in range(3):  # wherever it stands in a line: ranks write at the same time
        assert f"rank {rank} {says}" in said
    assert not list(tmp_path.glob("*.h5"))  # no ensemble
    assert not (tmp_path / "shards" / "a" / "rows-2.h5").exists()
    finish(start(tmp_path, 2))
    assert digests(tmp_path) == calm


def test_a_stage_without_states_has_no_place_for_one(tmp_path: Path) -> None:
    toy = toy_stage.stage(tmp_path)
    stateless = replace(toy_stage.ensemble(tmp_path, "a"), state=None)
    with pytest.raises(ValueError, match="blocks of kind toy have no saved states"):
        sharded.state_place(toy, stateless, EVERY[0])


def test_equal_blocks_are_a_defect_of_the_stage(tmp_path: Path) -> None:
    one = toy_stage.ensemble(tmp_path, "a")
    twice = replace(toy_stage.stage(tmp_path), ensembles=lambda: [one, replace(one, path=tmp_path / "again.h5")])
    with pytest.raises(ValueError, match="two blocks of a stage are equal"):
        sharded.run(parallel.world(), twice)


# --- variations --------------------------------------------------------------------------------------------


def without_states(folder: Path, **changes: object) -> sharded.Stage:
    """The toy's ensemble a only, with some parts of the stage replaced."""
    only = replace(toy_stage.ensemble(folder, "a"), state=None)
    return replace(toy_stage.stage(folder), variables={}, ensembles=lambda: [only], **changes)


def test_blocks_computed_together_have_the_same_shards(tmp_path: Path, calm: dict[Path, str]) -> None:
    """Only where neighbours are missing; each gets its rows of what they span."""
    spans: list[Rows] = []

    def groups(blocks: list[Rows]) -> list[tuple[Rows, list[Rows]]]:
        pairs = [blocks[at : at + 2] for at in range(0, len(blocks), 2)]
        spans[:] = [Rows("a", pair[0].first, pair[-1].first + pair[-1].count - pair[0].first) for pair in pairs]
        return list(zip(spans, pairs, strict=True))

    def part(x: np.ndarray, block: Rows, whole: Rows) -> np.ndarray:
        return x[block.first - whole.first :][: block.count]

    paired = without_states(tmp_path, groups=groups, part=part)
    sharded.run(parallel.world(), paired)
    assert [(span.first, span.count) for span in spans] == [(0, 7), (7, 4)]
    found = digests(tmp_path)
    assert found.items() <= calm.items()
    for name in ("rows-0.h5", "rows-7.h5", "rows-10.h5"):
        (tmp_path / "shards" / "a" / name).unlink()
    sharded.run(parallel.world(), paired)
    assert [(span.first, span.count) for span in spans] == [(0, 10), (10, 1)]
    assert digests(tmp_path) == found


def test_a_block_counts_once_its_shard_is_written(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Where the computation itself reports nothing."""
    silent = without_states(tmp_path, compute=lambda rows, *_: np.zeros(rows.count), ticks=False)
    with caplog.at_level(logging.INFO, "rnnlimits"):
        sharded.run(parallel.world(), silent)
    assert "toy: 1320 row-steps in " in caplog.text


def test_a_stage_may_join_its_shards_in_its_own_way(tmp_path: Path) -> None:
    def join(ensemble: sharded.Ensemble[Rows]) -> None:
        ends = []
        for rows in ensemble.blocks:
            with ensemble.open_shard(rows) as shard:
                ends.append(float(shard["x"][-1]))
        ensemble.path.write_text(repr(ends))

    sharded.run(parallel.world(), without_states(tmp_path, join=join, origin=lambda: {"mood": "calm"}))
    assert len((tmp_path / "a.h5").read_text().split(",")) == 4
    with h5py.File(tmp_path / "shards" / "a" / "rows-0.h5") as shard:
        assert list(shard.attrs)[5:] == ["first", "count", "mood", "backend", "device", "complete"]
