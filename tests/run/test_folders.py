"""Folders that a run needs besides its results: one line says which one cannot be used, and the doctor knows first."""

from __future__ import annotations

import os
import resource
import shutil
import tempfile
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import h5py
import pytest
from runs import write_study

from rnnlimits import experiments
from rnnlimits.base import segments
from rnnlimits.base.errors import StudyError
from rnnlimits.base.locks import exclusive
from rnnlimits.files import seal
from rnnlimits.kernels import cache
from rnnlimits.plan.parts import Experiment
from rnnlimits.run import continuing, environment, folders, sharing, workflow
from rnnlimits.study import load_any


def texts(findings: Any, mark: str = "warning:") -> list[str]:
    return [finding.text for finding in findings if finding.mark == mark]


# --- the working folder, the home, the cache ---------------------------------------------------------------


def test_a_working_folder_without_room_for_records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    workflow.require_working_folder()
    assert texts(folders.working()) == []
    (tmp_path / ".snakemake").touch()
    with pytest.raises(
        StudyError, match=r"\.snakemake: cannot be written, and Snakemake keeps its records there; start"
    ):
        workflow.require_working_folder()
    assert texts(folders.working())[0].startswith(f"{tmp_path}/.snakemake: cannot be written")


def test_a_working_folder_that_was_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    with pytest.raises(StudyError, match="working folder: does not exist any more"):
        workflow.require_working_folder()


def test_a_run_without_a_cache_has_one_for_all_its_stages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("RNNLIMITS_CACHE", str(tmp_path / "file"))
    with workflow.cache_for_all():
        place = Path(os.environ["RNNLIMITS_CACHE"])
        assert cache.usable() == (place, "")
    assert not place.exists()
    assert os.environ["RNNLIMITS_CACHE"] == str(tmp_path / "file")
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"rnnlimits: warning: {tmp_path}/file: compiled kernels cannot be kept there")
    assert texts(folders.caches()) == [line.removeprefix("rnnlimits: warning: ")]


def test_a_user_whom_the_system_does_not_know(monkeypatch: pytest.MonkeyPatch) -> None:
    assert environment.nameless() == {}

    def unknown() -> str:
        raise KeyError("getpwuid(): uid not found")

    monkeypatch.setattr("getpass.getuser", unknown)
    monkeypatch.setenv("HOME", "~")
    assert environment.nameless() == {"HOME": "/nonexistent", "USER": str(os.getuid())}


def test_jobs_elsewhere_need_a_cache_that_all_see(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "new"))
    workflow.require_home()
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(StudyError, match="file: cannot be written, and jobs find the workflow's sources there"):
        workflow.require_home()


def test_damaged_files_of_the_cache_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RNNLIMITS_CACHE", str(tmp_path))
    cache.write(tmp_path / "whole.so", b"library")
    assert len(list(folders.caches())) == 1
    (tmp_path / "damaged.so").touch()
    assert texts(folders.caches(), "ok")[1].startswith("1 damaged or of an older version (such as damaged.so)")


def test_what_snakemake_says_before_any_job(capfd: pytest.CaptureFixture[str]) -> None:
    asked = workflow._asked_again(["sh", "-c", 'echo "$0 $@" >&2; exit 1', "a", "--quiet", "all", "b"])
    assert asked == ["a b --dry-run"]
    assert workflow._asked_again(["true", "--quiet", "all"]) == []


# --- temporary files, shared memory, limits ----------------------------------------------------------------


def test_temporary_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.delenv("TMPDIR", raising=False)
    assert texts(folders.temporary()) == []
    monkeypatch.setenv("TMPDIR", "/nonexistent")
    assert texts(folders.temporary()) == [f"TMPDIR=/nonexistent cannot be written; {tmp_path} is used instead"]
    monkeypatch.delenv("TMPDIR")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10**9, 10**9, 10))  # type: ignore[attr-defined]
    assert "0.0 MB left; set TMPDIR" in texts(folders.temporary())[0]


def test_shared_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    free = 3_000_000
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10**9, 10**9, free))  # type: ignore[attr-defined]
    monkeypatch.setattr(segments, "_runs_without", lambda: False)
    segments.require_room(2, tmp_path)
    with pytest.raises(StudyError, match=r"3\.0 MB can be written, MPI needs 4\.4 MB for 4 ranks; make it larger"):
        segments.require_room(4, tmp_path)
    monkeypatch.setattr(segments, "_runs_without", lambda: True)
    segments.require_room(4, tmp_path)


@pytest.mark.parametrize(("environment", "needed"), [
    ({}, "1.1 MB for 1 rank;"),
    ({"MPI_LOCALRANKID": "0", "MPI_LOCALNRANKS": "4"}, "4.4 MB for 4 ranks;"),
    ({"MPI_LOCALRANKID": "1", "MPI_LOCALNRANKS": "4"}, ""),  # rank 0 may have taken what is missing
    ({"SLURM_LOCALID": "2"}, ""),
    ({"MPI_LOCALNRANKS": "x"}, "1.1 MB for 1 rank;"),
])  # fmt: skip
def test_who_asks_for_shared_memory(
    environment: dict[str, str], needed: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10**9, 10**9, 0))  # type: ignore[attr-defined]
    monkeypatch.setattr(segments, "_runs_without", lambda: False)
    for name in (*segments.FIRST_ON_NODE, segments.RANKS_ON_NODE):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(StudyError, match=needed) if needed else nullcontext():
        segments.require_room(folder=tmp_path)


def test_limits_that_are_too_low(monkeypatch: pytest.MonkeyPatch) -> None:
    def limits(number: int) -> tuple[int, int]:
        return (64, 4096) if number == resource.RLIMIT_NOFILE else (-1, -1)

    monkeypatch.setattr(resource, "getrlimit", limits)
    assert texts(folders.limits()) == ["open files: 64; runs may need 256 (ulimit -n raises it)"]
    monkeypatch.setattr(resource, "getrlimit", lambda number: (-1, -1))
    assert texts(folders.limits()) == []


# --- results that several users share ----------------------------------------------------------------------


def test_locks_that_are_held_are_named(tmp_path: Path) -> None:
    assert list(folders.held(tmp_path)) == []
    with exclusive(tmp_path / "study" / ".locks", "train"):
        (finding,) = folders.held(tmp_path)
    assert finding.text.startswith(f"{tmp_path}/study: train, by process {os.getpid()} on ")
    (tmp_path / "study" / ".locks" / "train.lock").write_text("process 1 on elsewhere")
    assert list(folders.held(tmp_path)) == []


@pytest.mark.needs_root
def test_files_of_others_become_our_own() -> None:
    with tempfile.TemporaryDirectory() as place:
        root = Path(place)
        root.chmod(0o777)
        theirs, ours, link = root / "theirs", root / "ours", root / "none"
        for path in (theirs, ours):
            path.write_text("values")
            path.chmod(0o444)
            os.utime(path, (1e9, 1e9))
        os.chown(ours, 65_534, 65_534)
        child = os.fork()
        if child == 0:
            os.setresuid(65_534, 65_534, 65_534)
            sharing.adopt([theirs, ours, link, root])
            os._exit(0)
        os.waitpid(child, 0)
        assert [path.stat().st_uid for path in (theirs, ours)] == [65_534, 65_534]
        assert (theirs.read_text(), theirs.stat().st_mtime) == ("values", 1e9)
        assert sorted(path.name for path in root.iterdir()) == ["ours", "theirs"]


# --- the back end that a study was begun with --------------------------------------------------------------


@pytest.fixture
def begun(tmp_path: Path) -> Experiment:
    """A tiny study of which one shard exists, computed by NumPy."""
    experiment = experiments.of(load_any(write_study(tmp_path)), tmp_path / "results")
    path = experiment.parts()[-1].blocks[1].path
    path.parent.mkdir(parents=True)
    with h5py.File(path, "w") as shard:
        shard.attrs["backend"] = "numpy"
    path.write_bytes(path.read_bytes() + seal.seal(path.read_bytes()))
    return experiment


def test_a_study_is_not_continued_by_another_back_end_unasked(begun: Experiment) -> None:
    continuing.require_same_backend(begun, "numpy")
    advice = "give --backend numpy to continue as before, or --backend host to mix both"
    with pytest.raises(StudyError, match=f"00003.h5: was computed by back end numpy, and auto means host.*; {advice}"):
        continuing.require_same_backend(begun, "host")


def test_a_finished_study_and_damaged_shards_are_left_to_the_stages(begun: Experiment) -> None:
    for block in (block for part in begun.parts() for block in part.blocks):
        block.path.parent.mkdir(parents=True, exist_ok=True)
        block.path.write_bytes(b"")
    continuing.require_same_backend(begun, "host")
    begun.parts()[0].blocks[0].path.unlink()
    continuing.require_same_backend(begun, "host")


def test_a_result_that_is_a_link_to_nothing(tmp_path: Path) -> None:
    """Snakemake would end with an error of its own; what the link leads to may be on a disk that is not here."""
    experiment = experiments.of(load_any(write_study(tmp_path)), tmp_path / "results")
    workflow.require_no_dangling_links(experiment)
    link = experiment.layout.rates_h5
    link.parent.mkdir(parents=True)
    link.symlink_to("gone")
    with pytest.raises(StudyError, match=r"rates\.h5: is a link to gone, which is missing; bring that back, or delete"):
        workflow.require_no_dangling_links(experiment)
