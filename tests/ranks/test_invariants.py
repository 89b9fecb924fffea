"""The same results for every number of ranks and every chunking, and whatever is killed on the way."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
from processes import kill_all, processes
from runs import ENVIRONMENT, HANG, MPIEXEC, PROGRAM, digests, run, write_study

pytestmark = pytest.mark.needs_mpi

# d = 3 with correlated weights goes through every matrix product; erf stores slopes; depth 2 has a longer history.
WIDE = {
    "chain": {"kind": "coupled-tanh", "dimension": 3},
    "network": {
        "activation": "erf",
        "w": {"kind": "gaussian", "covariance": [[1.0, 0.3, 0.0], [0.3, 1.0, 0.2], [0.0, 0.2, 0.5]]},
        "b": {"offset": 0.1, "slope": 0.3},
    },
}
# Long enough to be killed several times: about ten seconds on one core.
LONG = {"width": [300, 511], "replicas": 64, "replicas_per_block": 2, "horizon": 600.0, "checkpoints": [0.0, 600.0]}


def train(study: Path, results: Path, ranks: int, **options: object) -> dict[str, str]:
    run("train", study, "--results", results, ranks=ranks, **options)
    return digests(results / "tiny")


@pytest.mark.parametrize("changes", [{}, WIDE], ids=["d1", "d3-erf"])
def test_ranks_chunks_and_threads_change_nothing(tmp_path: Path, changes: dict[str, object]) -> None:
    training = {"depth": [1, 2]}
    study = write_study(tmp_path, training=training, **changes)
    wanted = train(study, tmp_path / "r1", 1)
    assert len(wanted) == 4
    assert train(study, tmp_path / "r2", 2) == wanted
    assert train(study, tmp_path / "r3", 3) == wanted
    chunks = write_study(tmp_path, training={**training, "replicas_per_block": 8}, **changes)
    assert train(chunks, tmp_path / "c8", 2) == wanted
    threads = {**ENVIRONMENT, "OMP_NUM_THREADS": "2", "OPENBLAS_NUM_THREADS": "2"}
    assert train(study, tmp_path / "t2", 1, env=threads) == wanted


def test_the_seed_changes_everything(tmp_path: Path) -> None:
    one = train(write_study(tmp_path), tmp_path / "one", 1)
    other = train(write_study(tmp_path, seed=8), tmp_path / "other", 1)
    assert one.keys() == other.keys()
    assert not set(one.values()) & set(other.values())


def test_draws_do_not_depend_on_ranks(tmp_path: Path) -> None:
    found = []
    study = write_study(tmp_path, draws={"blocks": 7})
    for ranks in (1, 2, 3):
        run("draw", study, "--results", tmp_path / str(ranks), ranks=ranks)
        found.append(run("digest", tmp_path / str(ranks) / "tiny" / "draw.h5").stdout.split()[0])
    assert len(set(found)) == 1


def start(study: Path, results: Path) -> subprocess.Popen[bytes]:
    command = [MPIEXEC, "-n", "2", *PROGRAM, "train", str(study), "--results", str(results)]
    quiet = subprocess.DEVNULL
    return subprocess.Popen(command, env=ENVIRONMENT, stdout=quiet, stderr=quiet, start_new_session=True)


def shards(results: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in results.glob("tiny/shards/*/*.h5")}


def test_killed_at_random_moments_and_run_again(tmp_path: Path) -> None:
    study = write_study(tmp_path, training=LONG)
    wanted = train(study, tmp_path / "calm", 2)
    results, rng = tmp_path / "killed", random.Random(5)
    for more in (1, 2, 3, 2, 3):
        before = shards(results)
        job = start(study, results)
        while len(shards(results)) < len(before) + more:
            assert job.poll() is None
            time.sleep(0.01)
        time.sleep(rng.uniform(0.0, 0.2))
        kill_all(job, results)
        # What was finished stays as it was: not even written again. And there is work left for the next kill.
        assert before.items() <= shards(results).items()
        assert len(shards(results)) < 2 * LONG["replicas"] // LONG["replicas_per_block"]
    assert train(study, results, 2) == wanted


def test_a_killed_rank_ends_the_job_and_costs_nothing(tmp_path: Path) -> None:
    study = write_study(tmp_path, training=LONG)
    wanted = train(study, tmp_path / "calm", 2)
    results = tmp_path / "killed"
    job = start(study, results)
    while len(shards(results)) < 2:
        time.sleep(0.02)
    os.kill(processes(results)[0], signal.SIGKILL)
    assert job.wait(timeout=HANG) != 0
    assert train(study, results, 2) == wanted


FAILING = """
import sys, time
from rnnlimits.ranks import parallel
from rnnlimits.base.errors import StudyError
comm = parallel.world()
def work(index, tick):
    if sys.argv[1] == "deaf" and index != 1:
        time.sleep(7200)
    for _ in range(200):
        time.sleep(0.01)
        tick(1)
    if index == 1:
        print("failing at", time.time(), file=sys.stderr, flush=True)
    if index == 1 and sys.argv[1] == "defect":
        raise ZeroDivisionError("a defect")
    if index == 1:
        raise StudyError("block 1 is bad")
try:
    parallel.each_block(comm, [200] * 50, work, "test", "units")
except StudyError as error:
    if comm.rank == 0:
        print(error, file=sys.stderr)
    sys.exit(2)
"""


@pytest.mark.parametrize(
    ("how", "code", "says"),
    [("bad-input", 2, "block 1 is bad"), ("defect", 1, "a defect"), ("deaf", 1, "did not stop within")],
)
def test_one_rank_raises_and_all_end(tmp_path: Path, how: str, code: int, says: str) -> None:
    script = tmp_path / "failing.py"
    script.write_text(FAILING)
    command = [MPIEXEC, "-n", "3", PROGRAM[0], str(script), how]
    done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, timeout=HANG)
    assert "failing at" in done.stderr
    assert done.returncode == code
    assert says in done.stderr


LEAVING = """
import os, pathlib, signal, sys, time
from rnnlimits.ranks import parallel
comm = parallel.world()
parallel.ENDING_SECONDS, parallel.SILENT_SECONDS = 1.0, 2.0
def work(index, tick):
    for turn in range(300 if sys.argv[1] == "silent" else 1000000):
        time.sleep(0.01)
        tick(1)
        if turn == 5:
            pathlib.Path(f"rank{comm.rank}").write_text(f"{os.getpid()} {os.getppid()} .")
        if turn == 10 and index == 0 and sys.argv[1] != "at work":
            os.kill(os.getpid(), signal.SIGSTOP)
parallel.each_block(comm, [2000] * 3, work, "test", "units")
"""


def leaving(folder: Path, how: str) -> tuple[subprocess.Popen[str], list[list[int]], Path]:
    """Three ranks at work, the number of each and of what started it, and where their stderr goes."""
    (folder / "leaving.py").write_text(LEAVING)
    command, said = [MPIEXEC, "-n", "3", PROGRAM[0], str(folder / "leaving.py"), how], folder / "said"
    with said.open("w") as out:
        job = subprocess.Popen(command, env=ENVIRONMENT, stderr=out, text=True, cwd=folder)
    texts: list[str] = []
    while sum(text.endswith(".") for text in texts) < 3:
        assert job.poll() is None, said.read_text()
        time.sleep(0.02)
        texts = [path.read_text() for path in folder.glob("rank?")]
    return job, [[int(word) for word in text.split()[:2]] for text in texts], said


def wait_until_gone(ranks: list[list[int]]) -> None:
    """Fails if one of these processes is still there after HANG seconds."""
    last = time.monotonic() + HANG
    while any(alive(rank) for rank, _ in ranks):
        assert time.monotonic() < last
        time.sleep(0.02)


def alive(number: int) -> bool:
    try:
        return state(number) != "Z"
    except OSError:
        return False


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs Linux's /proc")
def test_a_rank_that_gives_no_sign_of_life_is_taken_for_dead(tmp_path: Path) -> None:
    """As after the end of its node, of which nobody tells the others; they work on as long as there is work."""
    job, ranks, said = leaving(tmp_path, "silent")
    assert job.wait(timeout=HANG) != 0
    wait_until_gone(ranks)
    assert "1 of 3 ranks gave no sign of life for 2 s: aborted" in said.read_text()


def state(number: int) -> str:
    """As in ps: R, S, T, Z, ..."""
    return Path(f"/proc/{number}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs Linux's /proc")
def test_ranks_do_not_outlive_what_started_them(tmp_path: Path) -> None:
    job, ranks, _ = leaving(tmp_path, "at work")
    os.kill(ranks[0][1], signal.SIGKILL)
    wait_until_gone(ranks)
    assert job.wait(timeout=HANG) != 0


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs Linux's /proc")
def test_a_rank_that_does_not_end_is_not_waited_for(tmp_path: Path) -> None:
    """One was stopped, as if its node hung; another is asked to end."""
    job, ranks, said = leaving(tmp_path, "stopped")
    time.sleep(0.5)
    stopped = [rank for rank, _ in ranks if state(rank) == "T"]
    os.kill(next(rank for rank, _ in ranks if rank not in stopped), signal.SIGTERM)
    wait_until_gone(ranks)
    assert job.wait(timeout=HANG) != 0
    assert "1 of 3 ranks did not end within 1 s: aborted" in said.read_text()


OUTSIDE = """
import sys
from rnnlimits.ranks import parallel
from rnnlimits.base.errors import StudyError
comm = parallel.world()
def work():
    if comm.rank == 1:
        raise StudyError("only rank 1 cannot see the file")
    return comm.rank
try:
    parallel.together(comm, work)
except StudyError as error:
    print(f"rank {comm.rank}: {error}", file=sys.stderr)
    sys.exit(2)
"""


def test_what_one_rank_raises_before_the_blocks_is_raised_on_all(tmp_path: Path) -> None:
    script = tmp_path / "outside.py"
    script.write_text(OUTSIDE)
    command = [MPIEXEC, "-n", "3", PROGRAM[0], str(script)]
    done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, timeout=HANG)
    assert done.returncode == 2
    assert done.stderr.count("only rank 1 cannot see the file") == 3


def test_results_can_be_moved(tmp_path: Path) -> None:
    wanted = train(write_study(tmp_path), tmp_path / "here", 1)
    shutil.move(tmp_path / "here", tmp_path / "there")
    assert digests(tmp_path / "there" / "tiny") == wanted
