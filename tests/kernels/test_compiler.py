"""Compiling at first use: with no compiler, a failing one, a home that cannot be written, and two processes at once."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from runs import HANG

from rnnlimits import kernels
from rnnlimits.kernels import compiler, host, toolchain
from rnnlimits.kernels.interface import KernelError, Training

ROOT = Path(__file__).parent.parent.parent
needs_compiler = pytest.mark.needs_compiler

ASK = """
import sys
from rnnlimits import kernels
from rnnlimits.kernels import cache
from rnnlimits.kernels.interface import KernelError
cache.tell(lambda line: line.startswith("warning: ") and print(line, file=sys.stderr))
try:
    be = kernels.backend(sys.argv[1])
except KernelError as error:
    print(error, file=sys.stderr)
    sys.exit(2)
print(be.name, float(be.normals(1, 2, __import__("numpy").arange(1, dtype="uint32"), 1)[0, 0]))
"""


def ask(name: str, tmp_path: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """A fresh process that asks for a back end and draws a number with it; its cache is in tmp_path unless told."""
    return subprocess.run([sys.executable, "-c", ASK, name], **asking(tmp_path, environment))


def asking(tmp_path: Path, environment: dict[str, str]) -> dict[str, Any]:
    kept = {key: value for key, value in os.environ.items() if key not in ("CXX", "XDG_CACHE_HOME", "RNNLIMITS_CACHE")}
    own = {"RNNLIMITS_CACHE": str(tmp_path / "cache")} | environment
    return {"env": kept | own, "cwd": ROOT, "capture_output": True, "text": True, "check": False, "timeout": HANG}


def libraries(folder: Path) -> list[str]:
    return sorted(
        path.name for path in folder.rglob("*") if ".lock" not in path.name and path.suffix != ".h" and path.is_file()
    )


# No compiler


@pytest.mark.parametrize("name", ["auto", "host"])
@pytest.mark.parametrize("environment", [{"PATH": ""}, {"CXX": "nonexistent-compiler"}], ids=["path", "cxx"])
def test_without_a_compiler_nothing_is_computed_by_another_back_end(
    tmp_path: Path, environment: dict[str, str], name: str
) -> None:
    done = ask(name, tmp_path, CUDA_VISIBLE_DEVICES="", **environment)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("no C++ compiler (")
    assert environment.get("CXX", "g++") in done.stderr
    assert ("; or ask for --backend numpy" in done.stderr) == (name == "auto")


def test_an_unknown_back_end_is_refused_with_those_that_exist() -> None:
    with pytest.raises(KernelError, match="'cobol' is not known; allowed: auto, cuda, host, numpy"):
        kernels.backend("cobol")


@needs_compiler
def test_auto_without_a_gpu_is_the_host_and_silent(tmp_path: Path) -> None:
    done = ask("auto", tmp_path, CUDA_VISIBLE_DEVICES="")
    assert done.returncode == 0
    assert done.stdout.startswith("host ")
    assert done.stderr == ""


# A compiler that fails


def script(folder: Path, line: str) -> str:
    path = folder / "wrapped-c++"
    path.write_text(f"#!/bin/sh\n{line}\n")
    path.chmod(0o755)
    return str(path)


def wrapped_compiler(folder: Path, before: str) -> str:
    """The real compiler, which does `before` ahead of every compilation (questions to the compiler are none)."""
    real = shlex.join(toolchain.find_compiler())
    return script(folder, f'case "$*" in *--version*|*\'-###\'*) ;; *) {before} ;; esac\nexec {real} "$@"')


def failing_compiler(folder: Path, complaint: str) -> str:
    return script(folder, f"printf '%s\\n' {complaint} >&2\nexit 1")


def test_a_compile_error_is_told_by_its_first_error_line(tmp_path: Path) -> None:
    complaint = "'In file included from x.h:' 'x.h:3:1: error: first thing' 'x.h:9:1: error: second thing'"
    done = ask("host", tmp_path, CXX=failing_compiler(tmp_path, complaint))
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "cannot compile host_paths.cpp: x.h:3:1: error: first thing" in done.stderr
    assert libraries(tmp_path / "cache") == []


def test_a_compiler_killed_without_a_word_is_told_too(tmp_path: Path) -> None:
    done = ask("auto", tmp_path, CXX=failing_compiler(tmp_path, "''"))
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "cannot compile host_paths.cpp: it ended with code 1" in done.stderr


@needs_compiler
def test_a_real_compile_error_is_told_by_its_first_error_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copy = Path(shutil.copytree(compiler.SOURCE, tmp_path / "src"))
    (copy / "broken.cpp").write_text("int one = 1;\nint two = one +;\nint three = four;\n")
    monkeypatch.setattr(compiler, "SOURCE", copy)
    monkeypatch.setenv("RNNLIMITS_CACHE", str(tmp_path / "cache"))
    with pytest.raises(KernelError, match=r"cannot compile broken\.cpp: .*broken\.cpp:2:.*error") as caught:
        compiler.load("broken.cpp")
    assert "\n" not in str(caught.value)
    assert libraries(tmp_path / "cache") == []


# Where libraries are kept


@needs_compiler
def test_a_missing_or_read_only_home_does_not_stop_anything(tmp_path: Path) -> None:
    blocked, temporary = tmp_path / "file", tmp_path / "temporary"
    temporary.mkdir()
    blocked.write_text("a file where a folder should be")
    for environment in (
        {"RNNLIMITS_CACHE": "", "HOME": str(blocked)},
        {"RNNLIMITS_CACHE": "", "HOME": "/proc"},
        {"RNNLIMITS_CACHE": str(blocked / "cache")},
    ):
        done = ask("host", tmp_path, TMPDIR=str(temporary), **environment)
        assert done.returncode == 0, environment
        assert done.stdout.startswith("host ")
        assert re.match("warning: .*: compiled kernels cannot be kept there .*; set RNNLIMITS_CACHE", done.stderr)
        assert done.stderr.count("\n") == 1
        assert list(temporary.iterdir()) == []


@needs_compiler
def test_the_cache_is_where_it_is_told_to_be(tmp_path: Path) -> None:
    assert ask("host", tmp_path).returncode == 0
    assert len(libraries(tmp_path / "cache")) == 1
    assert ask("host", tmp_path, RNNLIMITS_CACHE="", XDG_CACHE_HOME=str(tmp_path / "xdg")).returncode == 0
    assert libraries(tmp_path / "xdg" / "rnnlimits") == libraries(tmp_path / "cache")


@needs_compiler
def test_the_second_start_compiles_nothing(tmp_path: Path) -> None:
    calls = tmp_path / "calls"
    counted = wrapped_compiler(tmp_path, f"echo compiled >> {calls}")
    for _ in range(2):
        assert ask("host", tmp_path, CXX=counted).returncode == 0
        assert calls.read_text().splitlines() == ["compiled"]


@needs_compiler
def test_processes_that_compile_at_once_end_with_one_library(tmp_path: Path) -> None:
    """Four of them, with a compiler slow enough that all find the cache empty: one compiles, the others wait."""
    calls = tmp_path / "calls"
    slow = wrapped_compiler(tmp_path, f"echo compiled >> {calls}; sleep 2")
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: ask("host", tmp_path, CXX=slow), range(4)))
    assert {answer.stderr for answer in answers} == {""}
    assert len({answer.stdout for answer in answers}) == 1
    assert answers[0].stdout.startswith("host ")
    assert calls.read_text().splitlines() == ["compiled"]
    assert len(libraries(tmp_path / "cache")) == 1


@needs_compiler
def test_a_process_killed_while_it_compiles_leaves_nothing_in_the_way(tmp_path: Path) -> None:
    started = tmp_path / "started"
    hanging = wrapped_compiler(tmp_path, f"[ -e {started} ] || {{ touch {started}; sleep 7200; }}")
    arguments = [sys.executable, "-c", ASK, "host"]
    environment = asking(tmp_path, {"CXX": hanging})["env"]
    first = subprocess.Popen(arguments, env=environment, cwd=ROOT, start_new_session=True)
    try:
        deadline = time.monotonic() + HANG
        while not started.exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        first.kill()
        first.wait()
        done = ask("host", tmp_path, CXX=hanging)
    finally:
        os.killpg(first.pid, signal.SIGKILL)  # the compiler it leaves behind
    assert (done.returncode, done.stderr) == (0, "")


# What names a library


@pytest.fixture
def own_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    copy = Path(shutil.copytree(compiler.SOURCE, tmp_path / "src"))
    monkeypatch.setattr(compiler, "SOURCE", copy)
    return copy


@needs_compiler
def test_whatever_changes_the_code_changes_the_key(own_source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, flags = toolchain.find_compiler(), ["a.cpp", "-O3"]
    before = compiler._key(real, flags)
    assert compiler._key(real, flags) == before, "the same thing has the same key"
    keys = {before, compiler._key(real, ["a.cpp", "-O2"]), compiler._key(real, ["b.cpp", "-O3"])}
    header = own_source / "unit.h"
    header.write_text(header.read_text() + "\n")
    keys.add(compiler._key(real, flags))
    header.rename(own_source / "renamed.h")
    keys.add(compiler._key(real, flags))
    monkeypatch.setattr(compiler, "_processor", lambda: "another processor")
    keys.add(compiler._key(real, flags))
    monkeypatch.setattr(toolchain, "version", lambda words: "another compiler")
    keys.add(compiler._key(real, flags))
    assert len(keys) == 7


@needs_compiler
def test_each_variant_of_the_training_is_a_library_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RNNLIMITS_CACHE", str(tmp_path))
    compiler._library.cache_clear()
    host._training.cache_clear()
    for precision, update_b in (("float64", True), ("float32", True), ("float64", False)):
        host.HostBackend().trainer(Training(1, 1, 0.75, 1, precision=precision, update_b=update_b), 1)
    assert len(libraries(tmp_path)) == 3
    compiler._library.cache_clear()
    host._training.cache_clear()
