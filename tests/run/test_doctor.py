"""`rnnlimits doctor`: alone and under mpiexec, on machines that lack things, and on folders that refuse things."""

from __future__ import annotations

import fcntl
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from processors import host, reference
from runs import ENVIRONMENT, HANG, MPIEXEC, ROOT

from rnnlimits.kernels.host import HostTrainer
from rnnlimits.ranks import selftest
from rnnlimits.run import disk, doctor, folders

FAKE = [sys.executable, str(ROOT / "tests" / "support" / "fake_cuda.py"), "doctor"]


def ask(folder: Path, *words: object, ranks: int = 0, **environment: str) -> subprocess.CompletedProcess[str]:
    """The doctor on a machine without a GPU, or with the FAKE_GPUS of tests/support/fake_cuda.py."""
    start = [MPIEXEC, "-n", str(ranks)] if ranks else []
    command, settings = [*start, *FAKE, *map(str, words)], {**ENVIRONMENT, **environment}
    return subprocess.run(command, cwd=folder, env=settings, capture_output=True, text=True, timeout=HANG)


def lines(done: subprocess.CompletedProcess[str], label: str) -> list[str]:
    """Lines of the page with this label, blanks squeezed, the mark first."""
    squeezed = [re.sub(" +", " ", line).strip() for line in done.stdout.splitlines()]
    return [line for line in squeezed if re.match(rf"(ok|warning:|FAILED:) {re.escape(label)}( |$)", line)]


@pytest.mark.needs_compiler
def test_alone(tmp_path: Path) -> None:
    done = ask(tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    (rank,) = lines(done, "rank 0")
    assert rank.endswith("no GPU")
    assert lines(done, "ranks")[0].startswith("ok ranks 1, started alone")
    assert lines(done, "file locks") == ["ok file locks held by one process, refused to another"]
    for name in ("host", "numpy"):
        for precision in ("float64", "float32"):
            (found,) = lines(done, f"{name} {precision}")
            assert re.search(r"ok .* [\d.]+e[-+]\d+ from .* unit-steps/s", found)
    assert "none: no GPU in this test" in done.stdout
    assert list(tmp_path.iterdir()) == []  # it leaves nothing behind


def test_variables_that_are_ignored_are_named_in_one_line() -> None:
    (found,) = doctor.variables(["OMPI_COMM_WORLD_SIZE", "PYTHONPATH"])
    assert found.text == "ignored here: OMPI_COMM_WORLD_SIZE, PYTHONPATH; RNNLIMITS_PYTHONPATH adds folders"
    assert [finding.text for finding in doctor.variables(["GIT_DIR"])] == ["ignored here: GIT_DIR"]
    assert list(doctor.variables([])) == []


@pytest.mark.needs_mpi
@pytest.mark.needs_compiler
def test_two_ranks_print_one_page(tmp_path: Path) -> None:
    done = ask(tmp_path, "--backend", "host", ranks=2)
    assert done.returncode == 0, done.stdout + done.stderr
    assert lines(done, "ranks") == ["ok ranks 2, started by mpiexec (Hydra)"]
    assert len(lines(done, "rank 0")) == len(lines(done, "rank 1")) == len(lines(done, "Python")) == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.needs_mpi
def test_gpus_and_who_shares_them(tmp_path: Path) -> None:
    done = ask(tmp_path, ranks=2, FAKE_GPUS="1")
    assert done.returncode == 0, done.stdout + done.stderr
    assert lines(done, "rank 1")[0].endswith("GPU 0 (Fake 100, 0000:00:00.0)")
    assert lines(done, "GPUs")[0].startswith("warning: GPUs up to 2 ranks share a GPU")
    assert lines(done, "cuda float32")[0].startswith("ok ")
    assert lines(ask(tmp_path, ranks=2, FAKE_GPUS="1", FAKE_ALONE="1"), "GPUs") == []


@pytest.mark.needs_mpi
def test_a_rank_without_a_gpu_does_not_stop_the_page(tmp_path: Path) -> None:
    done = ask(tmp_path, "--backend", "cuda", ranks=2, FAKE_GPUS="1,0")
    assert done.returncode == 1
    assert "FAILED: cuda rank 1: back end cuda: no GPU in this test" in lines(done, "cuda")
    assert lines(done, "rank 0")[0].startswith("ok ")
    assert lines(done, "rank 1")[0].startswith("FAILED: ")


@pytest.mark.needs_mpi
def test_a_rank_that_hangs_is_named_and_ended(tmp_path: Path) -> None:
    done = ask(tmp_path, "--backend", "auto", ranks=2, FAKE_STUCK="1")
    assert done.returncode != 0
    assert lines(done, "silent")[0].startswith("FAILED: silent rank 1: no answer in 2 s")


def test_cuda_that_is_not_there_fails(tmp_path: Path) -> None:
    done = ask(tmp_path, "--backend", "cuda")
    assert done.returncode == 1
    assert lines(done, "cuda") == ["FAILED: cuda back end cuda: no GPU in this test"]


def test_without_a_compiler(tmp_path: Path) -> None:
    environment = {"CXX": "nonexistent-compiler", "RNNLIMITS_CACHE": str(tmp_path)}
    done = ask(tmp_path, **environment)
    assert done.returncode == 1, done.stdout + done.stderr
    assert lines(done, "C++")[0].startswith("warning: C++ no C++ compiler (nonexistent-compiler")
    assert lines(done, "auto")[0].startswith("FAILED: auto no C++ compiler")
    assert lines(done, "numpy float64")[0].startswith("ok ")
    assert ask(tmp_path, "--backend", "numpy", **environment).returncode == 0


# --- the folders -------------------------------------------------------------------------------------------


def test_a_results_folder_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = ask(tmp_path, "--backend", "numpy", "--results", "file/results")
    assert done.returncode == 1
    (found,) = lines(done, "results folder")
    assert found.startswith(f"FAILED: results folder {tmp_path}/file: cannot be written: Not a directory")


@contextmanager
def mounted(folder: Path, *options: str) -> Iterator[Path]:
    """A small file system of its own at `folder`."""
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", ",".join(options), "none", str(folder)], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.needs_root
def test_a_read_only_and_a_full_file_system(tmp_path: Path) -> None:
    with mounted(tmp_path / "still", "ro") as folder:
        assert "Read-only" in lines(ask(tmp_path, "--backend", "numpy", "--results", folder), "results folder")[0]
    with mounted(tmp_path / "small of blank", "size=100k", "noexec") as folder:
        assert disk.mount_of(folder) == disk.Mount("tmpfs", False)
        done = ask(tmp_path, "--backend", "numpy", "--results", folder / "x", RNNLIMITS_CACHE=str(folder))
        assert lines(done, "free space")[0].startswith("warning: free space 0.0 GB")
        assert "mounted noexec" in lines(done, "kernel cache")[0]


def test_locks_that_are_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def marks() -> list[tuple[str, str]]:
        return [(finding.mark, finding.text) for finding in folders.locks(tmp_path / "results")]

    assert marks() == [("ok", "held by one process, refused to another")]
    monkeypatch.setattr(fcntl, "flock", lambda *_: None)  # here, not in the other process
    ((mark, text),) = marks()
    assert mark == "warning:"
    assert text.startswith("given to two processes at once; start only one run at a time")

    def unsupported(*_: object) -> None:
        raise OSError(37, "No locks available")

    monkeypatch.setattr(fcntl, "flock", unsupported)
    ((mark, text),) = marks()
    assert mark == "warning:"
    assert "No locks available" in text
    assert list(tmp_path.iterdir()) == []


def test_the_mount_table(tmp_path: Path) -> None:
    table = tmp_path / "mountinfo"
    table.write_text(
        "1 0 0:1 / / rw - ext4 /dev/sda rw\n"
        f"2 1 0:2 / {tmp_path} rw,noexec shared:1 - nfs4 server:/x rw\n"
        "3 1 0:3 / /elsewhere rw - xfs none rw\n"
        f"4 1 0:4 / {tmp_path}/a\\040b rw - lustre x rw\n"
    )
    (tmp_path / "a b").mkdir()
    assert disk.mount_of(tmp_path, table) == disk.Mount("nfs4", False)
    assert disk.mount_of(tmp_path / "a b", table) == disk.Mount("lustre", True)
    assert disk.mount_of(Path("/"), table) == disk.Mount("ext4", True)
    assert disk.mount_of(tmp_path, tmp_path / "none").kind == "unknown"


# --- known answers -----------------------------------------------------------------------------------------


def test_a_wrong_back_end_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    assert selftest.philox_agrees(reference)
    with monkeypatch.context() as patch:
        patch.setattr(reference, "philox", lambda counter, key: counter)
        assert [finding.mark for finding in doctor.known_answers(reference)] == ["FAILED:"]


@pytest.mark.needs_compiler
@pytest.mark.parametrize("factor", [1.001, float("nan")])
def test_a_slightly_wrong_training_is_found(monkeypatch: pytest.MonkeyPatch, factor: float) -> None:
    fill = HostTrainer.fill
    monkeypatch.setattr(HostTrainer, "fill", lambda self, r, w, b, c: fill(self, r, w, b, c * factor))
    for precision in ("float64", "float32"):
        assert not selftest.try_training(host, precision, seconds=0.0).good


# --- MPI ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("environment", "ranks", "mark", "says"),
    [
        ({}, 1, "ok", "started alone"),
        ({"MPI_LOCALRANKID": "0", "PMI_RANK": "0", "PMI_SIZE": "4"}, 4, "ok", "4, started by mpiexec (Hydra)"),
        ({"SLURM_NTASKS": "8"}, 1, "ok", "started alone"),
    ],
)
def test_how_it_was_started(environment: dict[str, str], ranks: int, mark: str, says: str) -> None:
    found = doctor.launched(ranks, environment)
    assert found.mark == mark
    assert says in found.text


def report(rank: int, node: str, cores: set[int], folder: int = 1) -> doctor.Report:
    return doctor.Report(rank, node, frozenset(cores), None, folder, ())


def test_ranks_are_compared() -> None:
    crowded = doctor.compare([report(0, "a", {0}), report(1, "a", {0}), report(2, "b", {0})])
    assert [f.text for f in crowded if f.mark == "warning:"] == [
        "2 ranks on 1 core; start fewer, or let the launcher bind them to more"
    ]
    divided = doctor.compare([report(0, "a", {0}), report(1, "b", {0}, folder=2)])
    assert [f.text.split(";")[0] for f in divided if f.mark == "FAILED:"] == [
        "another folder than rank 0 sees, on rank 1"
    ]


def test_a_check_that_breaks_is_a_finding() -> None:
    def broken() -> Iterator[doctor.Finding]:
        raise ZeroDivisionError("what")
        yield

    assert doctor.guarded("MPI", "x", broken) == [doctor.Finding("MPI", "FAILED:", "x", "ZeroDivisionError: what")]
