"""Memory that killed ranks left: removed if nobody has it, and only then."""

from __future__ import annotations

import mmap
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from rnnlimits.base import segments


def segment(folder: Path, name: str, age: float = 60.0) -> Path:
    path = folder / name
    path.write_bytes(bytes(4096))
    os.utime(path, (time.time() - age,) * 2)
    return path


def test_only_what_is_old_ours_and_unmapped_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_LOCALID", "0")
    left, young = segment(tmp_path, "mpich_shm_1_0"), segment(tmp_path, "mpich_shm_2_0", age=0.0)
    other, mapped = segment(tmp_path, "others_1_0"), segment(tmp_path, "mpich_shm_3_0")
    with mapped.open("r+b") as file, mmap.mmap(file.fileno(), 0):
        assert segments.forget_unused(tmp_path) == [left]
    assert {path.name for path in tmp_path.iterdir()} == {young.name, other.name, mapped.name}
    assert segments.forget_unused(tmp_path) == [mapped]


def test_what_another_process_has_mapped_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MPI_LOCALRANKID", "0")
    path = segment(tmp_path, "mpich_shm_1_0")
    code = "import mmap, sys; f = open(sys.argv[1], 'r+b'); m = mmap.mmap(f.fileno(), 0); print('mapped', flush=True)"
    with subprocess.Popen(
        [sys.executable, "-c", f"{code}; input()", str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "mapped\n"
        assert segments.forget_unused(tmp_path) == []
        process.kill()
        process.wait()
    assert segments.forget_unused(tmp_path) == [path]


def test_only_the_first_rank_of_a_node_looks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in segments.FIRST_ON_NODE:
        monkeypatch.setenv(name, "1")
    path = segment(tmp_path, "mpich_shm_1_0")
    assert segments.forget_unused(tmp_path) == []
    assert path.exists()
