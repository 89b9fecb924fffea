"""Studies on a real Slurm, that of cluster/loopback: whole, and with everything killed that can be."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml
from runs import HANG, PROGRAM, ROOT, digests, run, write_rntk, write_study
from slurm import Loopback

from rnnlimits import experiments
from rnnlimits import study as studies
from rnnlimits.cluster import leftovers, submission
from rnnlimits.cluster.jobs import jobs

pytestmark = [pytest.mark.needs_slurm, pytest.mark.needs_mpi, pytest.mark.needs_compiler, pytest.mark.workflow]

# Ten core-seconds in one cell of many blocks: long enough to be killed in the middle.
LONG = {
    "name": "long",
    "training": {
        "width": [16, 33, 8192],
        "steps_per_time": [4096],
        "replicas": 64,
        "replicas_per_block": 4,
        "horizon": 4.0,
        "checkpoints": [0.0, 4.0],
    },
}
# Slower on paper than in truth: a little work looks like enough for two nodes.
SITE = {"ranks_per_node": 4, "nodes": 2, "minutes": 1, "shortest": 0, "megabytes_per_rank": 400, "warning": 60}
SLOW = {"float32": 5e7, "float64": 5e7}
SUBMIT = """
import sys
from pathlib import Path
from rnnlimits import study
from rnnlimits.run import workflow
from rnnlimits.cli import main
from rnnlimits.base.errors import StudyError
path, results, profile = (Path(word) for word in sys.argv[1:4])
try:
    sys.exit(workflow.submit(study.load(path), path, results, profile, sys.argv[4:]))
except StudyError as error:
    sys.exit(f"rnnlimits: {error}")
"""


def profile(folder: Path, **site: object) -> Path:
    """The loopback's own profile with another site."""
    place = folder / "profile"
    place.mkdir()
    (place / "config.yaml").write_text((ROOT / "cluster/slurm-loopback/config.yaml").read_text())
    (place / "site.yaml").write_text(yaml.safe_dump({**SITE, "speed": SLOW, **site}))
    return place


def job_rules(study: Path, place: Path, results: Path) -> list[str]:
    loaded, using = studies.load_any(study), submission.profile(place)
    return [submission.rule_name(job) for job in jobs(experiments.of(loaded, results), using.site)]


@contextmanager
def started(loopback: Loopback, study: Path, place: Path, results: Path) -> Iterator[subprocess.Popen[str]]:
    """All jobs of a study but the last, which only looks at what the others made."""
    further = ["--until", *job_rules(study, place, results)]
    command = [sys.executable, "-c", SUBMIT, str(study), str(results), str(place), *further]
    with (study.parent / "output").open("a+") as output:
        process = subprocess.Popen(command, cwd=study.parent, env=loopback.env, stdout=output, stderr=output, text=True)
        try:
            yield process
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
                process.wait(60)


def said(study: Path) -> str:
    return (study.parent / "output").read_text()


def shards(results: Path) -> dict[Path, int]:
    """Finished shards and the times of their last change."""
    return {path: path.stat().st_mtime_ns for path in results.rglob("shards/*/*.h5") if not path.name.startswith(".")}


def wait_for_shards(results: Path, count: int, process: subprocess.Popen[str]) -> dict[Path, int]:
    """Wait until so many shards are there; the run must still be under way."""
    end = time.monotonic() + HANG
    while len(found := shards(results)) < count:
        assert process.poll() is None, "it ended too soon"
        assert time.monotonic() < end, f"{len(found)} shards after {HANG} s"
        time.sleep(0.02)
    return found


@pytest.fixture(scope="module")
def calm(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Digests of the long study, undisturbed, on this machine without Slurm."""
    folder = tmp_path_factory.mktemp("calm")
    study = write_study(folder, **LONG)
    for stage in ("draw", "train"):
        run(stage, study, ranks=2, cwd=folder)
    return found_in(folder / "results")


def found_in(results: Path) -> dict[str, str]:
    """Digests by path below the results folder."""
    (draws,) = digests(results / "long", "draw.h5").values()
    return {**digests(results / "long", "train"), "draws": draws}


@pytest.fixture
def long(tmp_path: Path) -> tuple[Path, Path, Path]:
    """A study, a profile, a results folder."""
    return write_study(tmp_path, **LONG), profile(tmp_path), tmp_path / "results"


# ----------------------------------------------------------------------------------------------------- whole


def test_a_whole_study_over_two_nodes_in_a_folder_with_a_hostile_name(loopback: Loopback, tmp_path: Path) -> None:
    folder = tmp_path / "a ; touch pwned & touch pwned | touch pwned > pwned {b} * ~ ! #"
    folder.mkdir()
    study = write_study(folder, training={"replicas": 16})
    place = profile(folder, speed={"float32": 20.0, "float64": 5e5})
    command = [*PROGRAM, "run", study.name, "--profile", place.name, "--results", "re sults"]
    done = loopback.run(*command, cwd=folder, timeout=HANG)
    assert "where to look" in done.stdout
    for stage in ("draw", "train", "limit"):
        run(stage, study, "--results", tmp_path / "local", cwd=tmp_path)
    ours, local = folder / "re sults" / "tiny", tmp_path / "local" / "tiny"
    for part in ("train", "draw.h5", "limit.h5"):
        assert list(digests(ours, part).values()) == list(digests(local, part).values()), part
    assert not list(tmp_path.rglob("pwned"))
    prefix = leftovers.prefix(ours)
    listed = loopback.run("sacct", "-X", "-n", "-P", "-o", "JobName,NNodes,NTasks,State").stdout.splitlines()
    mine = [line.split("|") for line in listed if line.startswith(prefix)]
    assert {fields[3] for fields in mine} == {"COMPLETED"}
    assert "2" in {fields[1] for fields in mine}


def test_an_rntk_study_over_two_nodes(loopback: Loopback, tmp_path: Path) -> None:
    study = write_rntk(tmp_path, networks=[{"activation": phi} for phi in ("relu", "erf", "tanh", "logistic")])
    place = profile(tmp_path, ranks_per_node=2, flops={"float32": 1e4, "float64": 1e4})
    rules = job_rules(study, place, tmp_path / "results")
    assert len(rules) > 1
    done = loopback.run(*PROGRAM, "run", study.name, "--profile", place.name, cwd=tmp_path, timeout=HANG)
    assert "ntk_step_gap in steps (limit)" in done.stdout
    run("train", study, "--results", tmp_path / "local", cwd=tmp_path)
    ours, local = tmp_path / "results" / "tiny-rntk", tmp_path / "local" / "tiny-rntk"
    for part in ("kernel", "descent"):
        assert list(digests(ours, part).values()) == list(digests(local, part).values()), part
    listed = loopback.run("sacct", "-X", "-n", "-P", "-o", "JobName,NNodes,State").stdout.splitlines()
    mine = [line.split("|") for line in listed if line.startswith(leftovers.prefix(ours))]
    assert [fields[2] for fields in mine] == ["COMPLETED"] * (len(rules) + 1)
    assert "2" in {fields[1] for fields in mine}


@pytest.mark.parametrize(
    ("partition", "site"),
    [
        ("cpu", {"launch": "mpiexec"}),
        ("gpu", {"gpus": True, "ranks_per_node": 1, "nodes": 1, "backend": "host"}),
    ],
    ids=["mpiexec", "one GPU"],
)
def test_other_ways_to_start_ranks(loopback: Loopback, tmp_path: Path, partition: str, site: dict[str, object]) -> None:
    study = write_study(tmp_path, name="long")
    place = profile(tmp_path, **{"speed": {"float32": 200.0, "float64": 5e5}, **site})
    config = place / "config.yaml"
    config.write_text(config.read_text().replace("slurm_partition=cpu", f"slurm_partition={partition}"))
    with started(loopback, study, place, tmp_path / "results") as process:
        assert process.wait(HANG) == 0, said(study)
    for stage in ("draw", "train"):
        run(stage, study, "--results", tmp_path / "local", cwd=tmp_path)
    assert found_in(tmp_path / "results") == found_in(tmp_path / "local")


def test_a_refused_study_is_one_line_and_exit_code_2(loopback: Loopback, tmp_path: Path) -> None:
    study = write_study(tmp_path, training={"betta": [0.75]})
    done = loopback.run(*PROGRAM, "run", study, "--profile", profile(tmp_path), cwd=tmp_path, check=False)
    assert done.returncode == 2
    assert done.stderr == f"rnnlimits: {study}: training.betta is not a key; did you mean beta?\n"


# ---------------------------------------------------------------------------------------------------- killed


def test_everything_that_submits_is_killed(
    loopback: Loopback, long: tuple[Path, Path, Path], calm: dict[str, str]
) -> None:
    """After SIGKILL jobs stay behind: the next run says that it cancels them, and goes on from their shards."""
    study, place, results = long
    with started(loopback, study, place, results) as process:
        wait_for_shards(results, 12, process)
        (child,) = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text(encoding="utf-8").split()
        process.kill()
        os.killpg(int(child), signal.SIGKILL)
        process.wait(HANG)
    assert leftovers_of(loopback, results)
    with started(loopback, study, place, results) as process:
        # Those that the jobs finished before they were cancelled count too.
        while leftovers_of(loopback, results) and "cancelled" not in said(study):
            time.sleep(0.1)
        kept = shards(results)
        assert process.wait(HANG) == 0, said(study)
    assert "of an earlier run cancelled" in said(study)
    assert found_in(results) == calm
    changed = {path for path, time_ in kept.items() if path.stat().st_mtime_ns != time_}
    assert not changed


def leftovers_of(loopback: Loopback, results: Path) -> list[str]:
    prefix = leftovers.prefix(results / "long")
    listed = loopback.run("squeue", "--noheader", "--format=%A %j").stdout.splitlines()
    return [line.split()[0] for line in listed if line.split()[1].startswith(prefix)]


def test_cancelled_jobs_are_submitted_again(
    loopback: Loopback, long: tuple[Path, Path, Path], calm: dict[str, str]
) -> None:
    study, place, results = long
    with started(loopback, study, place, results) as process:
        kept = wait_for_shards(results, 12, process)
        loopback.run("scancel", *leftovers_of(loopback, results))
        assert process.wait(HANG) == 0, said(study)
    assert "was cancelled after" in said(study)
    assert found_in(results) == calm
    assert not {path for path, time_ in kept.items() if path.stat().st_mtime_ns != time_}


def test_a_preempted_job_goes_on(loopback: Loopback, long: tuple[Path, Path, Path], calm: dict[str, str]) -> None:
    study, place, results = long
    with started(loopback, study, place, results) as process:
        kept = wait_for_shards(results, 12, process)
        urgent = loopback.submit("sleep 3", "--partition=urgent", "--nodes=4", "--exclusive", "--account=ci")
        loopback.wait_for(urgent, "COMPLETED")
        assert process.wait(180) == 0, said(study)
    assert "was preempted or lost its node" in said(study)
    assert found_in(results) == calm
    assert not {path for path, time_ in kept.items() if path.stat().st_mtime_ns != time_}


def test_a_node_dies(loopback: Loopback, long: tuple[Path, Path, Path], calm: dict[str, str]) -> None:
    study, place, results = long
    with started(loopback, study, place, results) as process:
        wait_for_shards(results, 12, process)
        (job,) = leftovers_of(loopback, results)
        loopback.kill_node("lb1")
        try:
            # Slurm believes in a node for a while; told that it is gone, it acts at once.
            loopback.run("scontrol", "update", "nodename=lb1", "state=down", "reason=killed")
            loopback.wait_for(job, "PENDING", "CONFIGURING", "NODE_FAIL", "COMPLETING")
        finally:
            loopback.start_node("lb1")
            loopback.run("scontrol", "update", "nodename=lb1", "state=resume", check=False)
        assert process.wait(300) == 0, said(study)
    assert found_in(results) == calm


def test_a_job_waits_for_another_that_works_on_the_same(
    loopback: Loopback, long: tuple[Path, Path, Path], calm: dict[str, str]
) -> None:
    """Two Snakemakes that know nothing of one another: both end right."""
    study, _, results = long
    job = ["work", study, "draw", "N08192-K04096", "N00016-K04096", "N00033-K04096", "--results", results]
    command = [str(word) for word in ["srun", "--mpi=pmi2", "-n", 2, *PROGRAM, *job]]
    both = [
        subprocess.Popen(command, env=loopback.env, cwd=study.parent, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    words = [process.communicate(timeout=HANG)[1] for process in both]
    assert [process.returncode for process in both] == [0, 0], words
    assert sum("waiting for it" in text for text in words) == 1
    assert found_in(results) == calm


# Rank 0 computes until rank 1 says that it is through, at most some minutes: it would be, waited for, never.
COMPUTING = """
import pathlib, sys, time
from rnnlimits.ranks import parallel
comm, through = parallel.world(), pathlib.Path(sys.argv[1])
with parallel.Counters(comm) as counters:
    comm.Barrier()
    end = time.monotonic() + 300
    while comm.rank == 0 and not through.exists() and time.monotonic() < end:
        time.sleep(0.05)  # at work, not in MPI
    if comm.rank == 1:
        for _ in range(50):
            counters.exchange(done=1)
        through.touch()
    if comm.rank == 0:
        print(through.exists())
    comm.Barrier()
"""


def test_another_node_does_not_wait_until_rank_0_has_computed(loopback: Loopback, tmp_path: Path) -> None:
    """Ranks of one node share memory and never would; over a network MPI answers only where rank 0 enters it."""
    (tmp_path / "computing.py").write_text(COMPUTING)
    words = ["srun", "--mpi=pmi2", "--nodes=2", "--ntasks=2", "--ntasks-per-node=1", "--account=ci", sys.executable]
    done = loopback.run(*words, tmp_path / "computing.py", tmp_path / "through", cwd=ROOT)
    assert done.stdout.strip() == "True"
