"""Bad input as a user meets it: one line on stderr, exit code 2, no traceback, nothing written or lost."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import h5py
import pytest
from refusals import refused
from runs import ENVIRONMENT, PROGRAM, run, write_study

from rnnlimits.cli import main

ZERO_MEMORY = {"w": {"kind": "gaussian"}, "b": {"offset": 0.3, "slope": 0.0}}
STUDIES = {
    "unknown key": ({"training": {"widht": [8]}}, "did you mean width?"),
    "wrong type": ({"training": {"width": "many"}}, "training.width"),
    "beta 0.49": ({"training": {"beta": [0.49]}}, "training.beta[0] is 0.49; allowed: from 1/2 to 1"),
    "beta 1.1": ({"training": {"beta": [1.1]}}, "training.beta[0] is 1.1; allowed: from 1/2 to 1"),
    "width 0": ({"training": {"width": [0]}}, "training.width[0] is 0"),
    "chain does not contract": ({"chain": {"a": 1.5}}, "does not contract"),
    "memory does not contract": ({"network": {"b": {"offset": 0.0, "slope": 9.0}}}, "does not contract"),
    "memory is zero": ({"network": ZERO_MEMORY}, "memory"),
    "name with a slash": ({"name": "a/b"}, "name is 'a/b'"),
    "name with a space": ({"name": "a b"}, "name is 'a b'"),
    "name with a quote": ({"name": "a'b"}, "name is"),
    "replicas": ({"training": {"replicas": 7}}, "replicas"),
}


@pytest.mark.parametrize(("changes", "says"), STUDIES.values(), ids=STUDIES.keys())
@pytest.mark.parametrize("verb", ["check", "run"])
def test_study(tmp_path: Path, verb: str, changes: dict[str, object], says: str) -> None:
    study = write_study(tmp_path, **changes)
    assert says in refused(verb, study, cwd=tmp_path)
    assert list(tmp_path.iterdir()) == [study]


@pytest.mark.needs_mpi
@pytest.mark.parametrize("ranks", [0, 2])
def test_study_at_a_stage(tmp_path: Path, ranks: int) -> None:
    study = write_study(tmp_path, training={"beta": [0.4]})
    assert "training.beta[0]" in refused("train", study, ranks=ranks, cwd=tmp_path)
    assert list(tmp_path.iterdir()) == [study]


SERIES = {
    "missing": (None, "No such file"),
    "one column": ("value\n1\n2\n", "'x'"),
    "NaN": ("x,y\n" + "1,2\n" * 20 + "nan,3\n", "line 22"),
    "empty field": ("x,y\n" + "1,2\n" * 20 + ",3\n", "line 22"),
    "not a number": ("x,y\n" + "1,2\n" * 20 + "one,3\n", "line 22"),
    "too short": ("x,y\n1,2\n", "at least"),
}


@pytest.mark.parametrize(("text", "says"), SERIES.values(), ids=SERIES.keys())
def test_recorded_series(tmp_path: Path, text: str | None, says: str) -> None:
    if text is not None:
        (tmp_path / "series.csv").write_text(text)
    chain = {"kind": "recorded", "file": "series.csv", "columns": ["x", "y"]}
    path = write_study(tmp_path)
    # written by hand: `chain` and `target` of the base do not mix with a recorded one
    lines = [line for line in path.read_text().splitlines() if "target" not in line and "kind" not in line]
    lines = [line for line in lines if line not in ("chain:", "  sin_x: 1.0", "  z: 0.5")]
    path.write_text("\n".join([*lines, f"chain: {chain}"]))
    assert says in refused("check", path)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A study file and its results after training."""
    folder = tmp_path_factory.mktemp("trained")
    study = write_study(folder)
    run("train", study, "--results", folder / "results")
    return study, folder / "results"


def truncate(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def empty(path: Path) -> None:
    os.truncate(path, 0)


def other_version(path: Path) -> None:
    with h5py.File(path, "r+") as file:
        file.attrs["format_version"] = 99


def other_study(path: Path) -> None:
    with h5py.File(path, "r+") as file:
        file.attrs["cell_id"] = "0123456789ab"


DAMAGE: dict[str, tuple[Callable[[Path], None], str]] = {
    "truncated": (truncate, "replicas-00002-00003.h5"),
    "emptied": (empty, "replicas-00002-00003.h5"),
    "another version": (other_version, "version"),
    "another study": (other_study, "another"),
}


@pytest.mark.parametrize(("damage", "says"), DAMAGE.values(), ids=DAMAGE.keys())
def test_shard(tmp_path: Path, trained: tuple[Path, Path], damage: Callable[[Path], None], says: str) -> None:
    study, results = trained
    copy = tmp_path / "results"
    shutil.copytree(results, copy)
    shard = sorted(copy.glob("tiny/shards/*/replicas-00002-00003.h5"))[0]
    others = {path: path.read_bytes() for path in copy.rglob("*.h5") if path != shard}
    damage(shard)
    assert says in refused("train", study, "--results", copy)
    assert run("validate", copy / "tiny", check=False).returncode == 2
    assert all(path.read_bytes() == content for path, content in others.items())


def test_missing_shard(tmp_path: Path, trained: tuple[Path, Path]) -> None:
    copy = tmp_path / "results"
    shutil.copytree(trained[1], copy)
    shard = sorted(copy.glob("tiny/shards/*/replicas-00002-00003.h5"))[0]
    shard.unlink()
    ensemble = sorted(copy.glob("tiny/train/*/*.h5"))[0]
    invalid = run("validate", ensemble, check=False)
    assert invalid.returncode == 2
    assert shard.name in invalid.stdout
    assert shard.name in refused("digest", ensemble)
    # the same command makes it again
    run("train", trained[0], "--results", copy)
    run("validate", copy / "tiny")


def test_damaged_shard_is_made_again_once_deleted(tmp_path: Path, trained: tuple[Path, Path]) -> None:
    copy = tmp_path / "results"
    shutil.copytree(trained[1], copy)
    before = run("digest", copy / "tiny" / "train").stdout
    shard = sorted(copy.glob("tiny/shards/*/*.h5"))[0]
    truncate(shard)
    refused("train", trained[0], "--results", copy)
    shard.unlink()
    run("train", trained[0], "--results", copy)
    assert run("digest", copy / "tiny" / "train").stdout == before


def test_results_folder_not_writable(tmp_path: Path) -> None:
    study = write_study(tmp_path)
    (tmp_path / "file").write_text("in the way")
    assert "cannot be written" in refused("train", study, "--results", tmp_path / "file")


@pytest.mark.needs_root
def test_disk_full_half_way(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", str(disk)], capture_output=True)
    if mounted.returncode != 0:
        pytest.skip("a small file system cannot be mounted here")
    try:
        study = write_study(tmp_path, training={"replicas": 32})
        assert "No space left" in refused("train", study, "--results", disk, ranks=2)
        kept = sorted(disk.glob("tiny/shards/*/*.h5"))
        assert kept, "finished shards are kept"
        assert not list(disk.rglob("*.part-*"))
        subprocess.run(["mount", "-o", "remount,size=20m", str(disk)], check=True)
        stamps = {path: path.stat().st_mtime_ns for path in kept}
        run("train", study, "--results", disk, ranks=2)
        assert all(path.stat().st_mtime_ns == stamp for path, stamp in stamps.items())
        calm = tmp_path / "calm"
        run("train", study, "--results", calm)
        assert run("digest", disk / "tiny" / "train").stdout == run("digest", calm / "tiny" / "train").stdout
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_unknown_pack(tmp_path: Path) -> None:
    said = refused("train", write_study(tmp_path), "--pack", "N1-K1", cwd=tmp_path)
    assert "allowed: N00016-K00016" in said


def test_no_mpiexec(tmp_path: Path) -> None:
    # A Python outside the environment's folder of programs, so that only PATH could offer an mpiexec.
    python = tmp_path / "bin" / "python"
    python.parent.mkdir()
    python.symlink_to(os.path.realpath(sys.executable))
    packages = [path for path in sys.path if path.endswith("site-packages")]
    environment = {**ENVIRONMENT, "PATH": str(python.parent)}
    environment["PYTHONPATH"] = os.pathsep.join([environment["PYTHONPATH"], *packages])
    environment["RNNLIMITS_PYTHONPATH"] = os.pathsep.join(packages)
    study = write_study(tmp_path)
    done = subprocess.run(
        [str(python), *PROGRAM[1:], "run", str(study)], env=environment, capture_output=True, text=True, cwd=tmp_path
    )
    assert done.returncode == 2
    assert done.stderr.startswith("rnnlimits: mpiexec: not found on PATH")
    assert len(done.stderr.splitlines()) == 1


def test_without_a_compiler_another_back_end_has_to_be_asked_for(tmp_path: Path) -> None:
    study = write_study(tmp_path)
    environment = {**ENVIRONMENT, "CXX": "no-such-compiler", "RNNLIMITS_CACHE": str(tmp_path / "cache")}
    line = refused("train", study, "--results", tmp_path / "results", env=environment)
    assert "no C++ compiler (no-such-compiler" in line
    assert "--backend numpy" in line


def test_an_argument_too_many_is_told_with_the_usage_of_its_verb(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["unpack", "demo.h5", "elsewhere"])
    told = capsys.readouterr().err.splitlines()
    assert told == [
        "usage: rnnlimits unpack [options] FILE",
        "rnnlimits unpack: error: unrecognized arguments: elsewhere",
    ]


def test_unknown_verb_and_option() -> None:
    for words in (["trian"], ["train", "x.yaml", "--widht", "3"]):
        done = run(*words, check=False)
        assert done.returncode == 2
        assert "Traceback" not in done.stderr
