"""The benchmarks run. What they measure is not for a test: machines differ, and other work disturbs."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
from runs import ENVIRONMENT, HANG, ROOT

from benchmarks import train_gpu
from benchmarks.cluster import Renames, kind_of
from benchmarks.train_gpu import COUNTS, Speed
from rnnlimits.kernels.interface import Training
from rnnlimits.kernels.launch import Limits

H100 = Limits("NVIDIA H100 80GB HBM3", (9, 0), 132)
H100_SPEED = Speed(1.98e9, 3.35e12)


def benchmark(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return program("train_gpu.py", *words, **environment)


def program(name: str, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "benchmarks" / name), *words]
    settings = {**ENVIRONMENT, "JAX_PLATFORMS": "cpu", **environment}
    return subprocess.run(command, env=settings, cwd=ROOT, capture_output=True, text=True, timeout=HANG, check=False)


@pytest.mark.needs_compiler
def test_dry_run_prints_the_table() -> None:
    done = benchmark("--dry-run")
    assert done.returncode == 0, done.stderr
    assert "these figures mean nothing" in done.stdout
    rows = [line for line in done.stdout.splitlines() if re.match(r" *\d+ +\d+ +[13] float", line)]
    assert len(rows) == 3
    columns = train_gpu.HEAD.count("|")
    for row in rows:
        assert row.count("|") == columns
        rate, limit = (float(part.split()[0]) for part in (row.split("|")[1], row.split("|")[3]))
        assert 0 < rate < limit, row


@pytest.mark.needs_compiler
def test_ensembles_are_timed_on_a_core_and_a_gpu() -> None:
    done = program("ensembles.py", "--dry-run")
    assert done.returncode == 0, done.stderr
    rows = [line.strip("|").split("|") for line in done.stdout.splitlines() if " float" in line]
    assert [row[0].strip() for row in rows] == ["host C++"] * 4 + ["emulated GPU"] * 4
    for row in rows:
        assert all(float(cell) > 0 for cell in row[3:7]), row
        assert 0 <= float(row[7].strip(" %")) < 100, row


def test_without_a_gpu_it_says_so_in_one_line() -> None:
    done = benchmark(CUDA_VISIBLE_DEVICES="")
    assert done.returncode == 2
    assert done.stdout == ""
    assert re.fullmatch(r"back end cuda: .*\n", done.stderr)


def test_limit_of_a_full_device() -> None:
    """16 units a thread, every lane busy: lanes times clock over the instructions that a unit-step takes, counted."""
    training = Training(1024, 1, 0.75, 1024, precision="float32")
    rate, name = train_gpu.limit(training, 4096, H100, H100_SPEED)
    count = COUNTS["float32", 1]
    assert name == "instructions"
    assert rate == pytest.approx(132 * 128 * 1.98e9 / (count.unit + count.step / 16))
    assert rate > train_gpu.TARGETS[1024, 4096], "a target beyond the limit"


def test_limit_of_one_replica_counts_its_own_lanes_only() -> None:
    training = Training(1024, 1, 0.75, 1024, precision="float32")
    one, many = (train_gpu.limit(training, replicas, H100, H100_SPEED)[0] for replicas in (1, 4096))
    assert one == pytest.approx(many * 64 / (132 * 128))  # a block of 64 threads


def test_limit_of_streamed_units_is_memory() -> None:
    """Eight values read and five written, four bytes each."""
    training = Training(1_000_000, 1, 0.75, 1024, precision="float32")
    assert train_gpu.streamed_bytes(training) == 52
    assert train_gpu.limit(training, 1, H100, H100_SPEED) == (pytest.approx(3.35e12 / 52), "memory")


def test_limit_where_double_precision_is_rare() -> None:
    """A consumer's GPU has two such lanes a multiprocessor: even the few sums of a step then take longest."""
    training = Training(1024, 1, 0.75, 1024, precision="float32")
    assert train_gpu.limit(training, 4096, Limits("RTX", (8, 9), 128), H100_SPEED)[1] == "double precision"


def test_every_line_has_a_count() -> None:
    assert {(d, precision) for _, _, d, precision in train_gpu.everything()} <= {(d, p) for p, d in COUNTS}


# --------------------------------------------------------------------------------------- faults and many blocks


@pytest.mark.needs_slurm
@pytest.mark.needs_mpi
@pytest.mark.needs_compiler
@pytest.mark.workflow
def test_faults_are_survived_and_told(tmp_path: Path) -> None:
    """A killed Snakemake, and a second run: the program itself compares the bits, and its exit code says so."""
    kinds = ["SIGTERM rnnlimits run", "second run at the same time"]
    table = tmp_path / "table.md"
    words = ["--short", "--chaos", "0", "--lanes", "2", "--only", ",".join(kinds), "--write", str(table)]
    done = program("faults.py", *words)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    rows = [line for line in table.read_text().splitlines() if line.startswith(tuple(f"| {kind}" for kind in kinds))]
    assert [row.split(" | ")[-3:] for row in rows] == [["0", "0", "yes |"]] * 2
    assert "interrupted; the same command continues where it stopped" in rows[0]
    assert "is being run by process" in rows[1]


def test_an_unknown_fault_is_refused() -> None:
    done = program("faults.py", "--only", "SIGKILL everything")
    assert done.returncode == 2
    assert "SIGKILL everything not among" in done.stderr


def test_what_a_process_of_a_study_is() -> None:
    python = "/usr/bin/python3"
    job = ["-m", "snakemake", "--snakefile", "S", "--target-jobs", "a:"]
    rank = ["-m", "rnnlimits", "work", "study.yaml"]
    found = [kind_of(words) for words in ([python, *rank], ["srun", "-n2", "python", *rank], [python, *job])]
    assert found == ["rank", "srun", "job's Snakemake"]
    assert [kind_of([python, *job[:4]]), kind_of(["sh", "-c", "python -m rnnlimits work"])] == ["Snakemake", ""]


def test_renames_are_counted(tmp_path: Path) -> None:
    """What appears by rename counts each time; what is only written does not."""
    renames = Renames([tmp_path / "a"])
    for _ in range(2):
        (tmp_path / "a" / ".part").write_text("x")
        (tmp_path / "a" / ".part").rename(tmp_path / "a" / "shard.h5")
    (tmp_path / "a" / "other").write_text("x")
    end = time.monotonic() + HANG
    while time.monotonic() < end:
        if renames.count[tmp_path / "a" / "shard.h5"] == 2:
            break
        time.sleep(0.05)
    assert dict(renames.count) == {tmp_path / "a" / "shard.h5": 2}
