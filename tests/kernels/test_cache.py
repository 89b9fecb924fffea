"""The cache of compiled kernels: whatever is damaged in it is made again, and a folder that cannot be used is told."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import multiprocessing
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from runs import HANG

from rnnlimits.kernels import activations, cache, compiler, cuda_runtime, toolchain
from rnnlimits.kernels.interface import KernelError

pytestmark = pytest.mark.needs_compiler
SOURCE = 'extern "C" int answer() { return 42; }\n'


@pytest.fixture(autouse=True)
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A source that compiles at once, and a cache of its own, whose path is returned."""
    source, place = tmp_path / "src", tmp_path / "cache"
    source.mkdir()
    (source / "answer.cpp").write_text(SOURCE)
    monkeypatch.setattr(compiler, "SOURCE", source)
    monkeypatch.setenv("RNNLIMITS_CACHE", str(place))
    monkeypatch.delenv("CXX", raising=False)
    _forget()
    yield place
    _forget()


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The lines that a user is told."""
    told: list[str] = []
    monkeypatch.setattr(cache, "say", told.append)
    return told


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The libraries that have been compiled."""
    made: list[bytes] = []
    build = compiler._build

    def counted(*arguments: object) -> bytes:
        made.append(build(*arguments))  # type: ignore[arg-type]
        return made[-1]

    monkeypatch.setattr(compiler, "_build", counted)
    return made


def _forget() -> None:
    for function in (compiler._library, compiler.announce, cache.warn, toolchain.version, toolchain.target):
        getattr(function, "cache_clear", bool)()


def answer(**defines: object) -> int:
    """As a new process would ask."""
    _forget()
    return int(compiler.load("answer.cpp", defines).answer())


def _ask(start: Any, out: Any) -> None:
    start.wait()
    out.put(answer())


def in_children(count: int) -> list[int]:
    """The answers in so many processes that begin at once."""
    context = multiprocessing.get_context("fork")
    start, out = context.Barrier(count), context.Queue()
    children = [context.Process(target=_ask, args=(start, out)) for _ in range(count)]
    for child in children:
        child.start()
    answers = [out.get(timeout=HANG) for _ in children]
    for child in children:
        child.join()
    return answers


def library(place: Path) -> Path:
    (path,) = place.glob("*.so")
    return path


def _flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0x40
    path.unlink()  # it may be loaded
    path.write_bytes(data)


def _shorten(path: Path) -> None:
    data = path.read_bytes()
    path.unlink()
    path.write_bytes(data[: len(data) // 2])


def _replace(make: Callable[[Path], object]) -> Callable[[Path], None]:
    def damage(path: Path) -> None:
        path.unlink()
        make(path)

    return damage


def _folder(path: Path) -> None:
    path.mkdir()
    (path / "inside").touch()


DAMAGE = {
    "flipped": _flip,
    "shortened": _shorten,
    "empty": _replace(Path.touch),
    "folder": _replace(_folder),
    "dangling": _replace(lambda path: path.symlink_to("nowhere")),
    "circle": _replace(lambda path: path.symlink_to(path.name)),
    "pipe": _replace(os.mkfifo),
    "unsealed": _replace(lambda path: path.write_bytes(b"\x7fELF")),
    # A whole file that no loader takes: compiled on a machine of another kind, or by another C library.
    "foreign": _replace(lambda path: cache.replace(path, cache.sealed(b"\x7fELF of another machine"))),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_whatever_is_damaged_is_made_again(small: Path, damage: Callable[[Path], None]) -> None:
    """Each time in a new process: one that has loaded a path does not look at it again."""
    assert in_children(1) == [42]
    first = library(small).read_bytes()
    damage(library(small))
    assert in_children(1) == [42]
    assert library(small).read_bytes() == first
    assert not library(small).is_symlink()
    made = library(small).stat()
    assert in_children(1) == [42]
    assert os.path.samestat(library(small).stat(), made)


def test_every_flipped_byte_is_found(small: Path) -> None:
    path = small / "x"
    small.mkdir()
    cache.write(path, b"data")
    whole = path.read_bytes()
    assert cache.read(path) == b"data"
    for at in range(len(whole)):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        assert cache.read(path) is None
        path.write_bytes(whole[:at])
        assert cache.read(path) is None


def test_a_folder_that_is_removed_during_the_run_is_made_again(small: Path) -> None:
    assert answer() == 42
    for path in small.iterdir():
        path.unlink()
    small.rmdir()
    assert answer() == 42
    assert answer(OTHER=1) == 42
    assert len(list(small.glob("*.so"))) == 2


def test_a_folder_that_is_a_file_is_told_once_and_nothing_is_left(
    small: Path, lines: list[str], built: list[bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small.touch()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    before = sorted(tmp_path.iterdir())
    assert compiler.load("answer.cpp").answer() == compiler.load("answer.cpp", {"OTHER": 1}).answer() == 42
    assert len(built) == 2
    warnings = [line for line in lines if line.startswith("warning: ")]
    assert warnings == [
        f"warning: {small}: compiled kernels cannot be kept there (File exists), and are compiled again each time; "
        "set RNNLIMITS_CACHE to a folder that can be written"
    ]
    assert sorted(tmp_path.iterdir()) == before


def test_a_folder_of_others_that_can_only_be_read(
    small: Path, lines: list[str], built: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert answer() == 42
    header = activations.ACTIVATIONS["tanh"].header()
    monkeypatch.setattr(cache, "checked", lambda place, variable: (None, "not writable"))
    lines.clear()
    assert answer() == 42
    assert (len(built), lines) == (1, [])
    assert activations.ACTIVATIONS["tanh"].header() == header
    assert answer(OTHER=1) == 42
    assert (len(built), lines[0]) == (2, "warning: not writable")


def test_a_full_disk_is_told_and_nothing_is_left(
    small: Path, lines: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, data: bytes) -> int:
        path.touch()
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    assert answer() == 42
    assert [path.suffix for path in small.iterdir()] == [".lock"]
    assert "cannot be written (No space left on device); it is compiled again each time" in lines[-1]


def test_temporary_files_that_find_no_room_lie_in_the_cache(
    small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = wrapper(
        tmp_path / "fills",
        f'case "$TMPDIR" in {small}*) ;; *) echo "a.s: No space left on device" >&2; exit 1;; esac',
        f'exec {toolchain.find_compiler()[0]} "$@"',
    )
    monkeypatch.setenv("CXX", str(full))
    assert answer() == 42
    assert sorted(path.suffix for path in small.iterdir()) == [".lock", ".so"]
    monkeypatch.setattr("tempfile.tempdir", "/nonexistent")
    assert answer(OTHER=1) == 42


def test_no_room_for_temporary_files_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", str(wrapper(tmp_path / "fills", 'echo "a.s: No space left on device" >&2; exit 1')))
    with pytest.raises(KernelError, match=r"no room for the compiler's temporary files .*; set TMPDIR"):
        answer()


@pytest.mark.parametrize("make", [_folder, lambda path: path.symlink_to("nowhere/at/all"), os.mkfifo])
def test_a_lock_that_is_none_stops_nothing(small: Path, make: Callable[[Path], object]) -> None:
    assert answer() == 42
    lock = library(small).with_suffix(".lock")
    lock.unlink()
    library(small).unlink()
    make(lock)
    assert answer() == 42


def test_a_lock_that_is_never_released_is_waited_for_only_so_long(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert answer() == 42
    path = library(small)
    path.unlink()
    monkeypatch.setattr(cache, "PATIENCE", 0.1)
    with path.with_suffix(".lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert answer() == 42


def test_two_processes_at_once_make_one_library(small: Path) -> None:
    assert in_children(2) == [42, 42]
    assert cache.read(library(small)) is not None
    assert sorted(path.suffix for path in small.iterdir()) == [".lock", ".so"]


def test_a_file_system_that_may_not_hold_programs(
    small: Path, built: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Libraries are then loaded from memory, and still kept."""
    real = ctypes.CDLL

    def refuse(path: str) -> ctypes.CDLL:
        if path.startswith(str(small)):
            raise OSError(f"{path}: failed to map segment from shared object")
        return real(path)

    monkeypatch.setattr(ctypes, "CDLL", refuse)
    assert answer() == answer() == answer(OTHER=1) == 42
    assert len(built) == 2


@pytest.mark.needs_root
def test_a_real_file_system_mounted_noexec(small: Path) -> None:
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "noexec", "none", str(small)], check=True)
    try:
        assert answer() == 42
        with pytest.raises(OSError, match="failed to map"):
            ctypes.CDLL(str(library(small)))
    finally:
        subprocess.run(["umount", "--lazy", str(small)], check=True)


def test_first_use_is_told_once(lines: list[str]) -> None:
    assert answer() == answer() == 42
    assert lines == ["compiling kernels for this machine takes some seconds, at first use"]


# --- which folder ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("environment", "place"), [
    ({"RNNLIMITS_CACHE": "/a/b", "XDG_CACHE_HOME": "/x", "HOME": "/h"}, "/a/b"),
    ({"XDG_CACHE_HOME": "/x", "HOME": "/h"}, "/x/rnnlimits"),
    ({"XDG_CACHE_HOME": "relative", "HOME": "/h"}, "/h/.cache/rnnlimits"),
    ({"XDG_CACHE_HOME": "", "HOME": "/h"}, "/h/.cache/rnnlimits"),
    ({"HOME": "relative"}, None),
])  # fmt: skip
def test_which_folder(environment: dict[str, str], place: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RNNLIMITS_CACHE", "XDG_CACHE_HOME", "HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert cache.named() == (Path(place) if place else None)


def test_without_a_home_the_reason_is_told(lines: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "named", lambda: None)
    assert answer() == 42
    assert lines[0].startswith("warning: no home folder (HOME is not set): compiled kernels cannot be kept")


# --- other caches ------------------------------------------------------------------------------------------


def test_a_damaged_header_of_an_activation_is_written_again(small: Path) -> None:
    tanh = activations.ACTIVATIONS["tanh"]
    path = tanh.header()
    for damage in (Path.touch, _folder, lambda path: path.symlink_to("nowhere")):
        path.unlink() if path.is_file() else None
        damage(path)
        assert tanh.header() == path
        assert path.read_text(encoding="utf-8") == tanh.source
        assert not path.is_symlink()


def test_cupy_keeps_its_programs_in_memory_where_it_cannot_write(
    small: Path, lines: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("CUPY_CACHE_DIR", "CUPY_CACHE_IN_MEMORY"):
        monkeypatch.setenv(name, "")
    cuda_runtime.choose_cache()
    assert os.environ["CUPY_CACHE_DIR"] == str(small / "cupy")
    assert os.environ["CUPY_CACHE_IN_MEMORY"] == ""
    (small / "file").touch()
    monkeypatch.setenv("CUPY_CACHE_DIR", str(small / "file"))
    cuda_runtime.choose_cache()
    assert os.environ["CUPY_CACHE_IN_MEMORY"] == "1"
    assert "file: compiled kernels cannot be kept there" in lines[-1]
    assert "set CUPY_CACHE_DIR" in lines[-1]


# --- unlike machines on one cache --------------------------------------------------------------------------


def test_two_kinds_of_processor_have_a_library_each(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Machines that the system calls by one name: hidden flags, or another meaning of `native` to the compiler."""
    text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    keys = set()
    for other in (text, text.replace(" avx2 ", " "), text.replace("cpu family\t: ", "cpu family\t: 1")):
        monkeypatch.setattr(compiler, "_processor", lambda other=other: compiler.kind_of(other))
        keys.add(compiler._key(toolchain.find_compiler(), ["-O3"]))
    monkeypatch.setattr(toolchain, "target", lambda words, march: "other features")
    keys.add(compiler._key(toolchain.find_compiler(), ["-O3"]))
    assert len(keys) == 4 if " avx2 " in text else 3
    faster = "\n".join(line + "0" if line.startswith(("cpu MHz", "microcode")) else line for line in text.split("\n"))
    assert compiler.kind_of(faster) == compiler.kind_of(text)


# --- the compiler ------------------------------------------------------------------------------------------


def wrapper(path: Path, *lines: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(["#!/bin/sh", *lines]) + "\n", encoding="utf-8")
    path.chmod(0o755)
    return path


def test_the_words_of_cxx(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, small: Path) -> None:
    """A wrapper, options, and paths with blanks, quoted or not."""
    real = toolchain.find_compiler()[0]
    passes = wrapper(tmp_path / "of me" / "passes on", 'exec "$@"')
    renamed = wrapper(tmp_path / "of me" / "g++ 12", f'exec {real} "$@"')
    for words in (
        f"'{passes}' {real}",
        f"{real} -m64",
        f"{renamed}",
        f'"{renamed}" -pipe',
        f" {real} ",
        f"env A=b {real}",
    ):
        monkeypatch.setenv("CXX", words)
        assert answer() == 42
    assert len(list(small.glob("*.so"))) == 6  # one of them is the plain compiler's


@pytest.mark.parametrize(("words", "says"), [
    ("nonexistent -m64", r"no C\+\+ compiler \(nonexistent -m64 not on PATH"),
    ("'g++", r"CXX='g\+\+: no closing quotation; give a command"),
    ("g++ -ffast-math", "-ffast-math changes what is computed; leave it out"),
    ("g++ -Ofast", "-Ofast changes what is computed"),
    ("g++ -mno-fma", "-mno-fma changes what is computed"),
    ("true", "true is not a C.. compiler: it wrote no library from answer.cpp; set CXX"),
    ("false", "false cannot compile answer.cpp: it ended with code 1"),
    ("cat", "cat cannot compile answer.cpp: "),
    (sys.executable, "cannot compile answer.cpp: "),
    ("/etc/passwd", r"no C\+\+ compiler \(/etc/passwd not on PATH"),
    ("/", r"no C\+\+ compiler \(/ not on PATH"),
])  # fmt: skip
def test_a_cxx_that_is_no_compiler(words: str, says: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", words)
    with pytest.raises(KernelError, match=says) as caught:
        answer()
    assert "\n" not in str(caught.value)


def test_a_compiler_whose_library_cannot_be_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lies = wrapper(tmp_path / "lies", 'while [ "$1" != -o ]; do shift || exit 0; done', 'echo "no library" > "$2"')
    monkeypatch.setenv("CXX", str(lies))
    with pytest.raises(KernelError, match=rf"a library compiled by {lies} cannot be loaded \((?!/proc).*; set CXX"):
        answer()


def test_a_text_that_cannot_be_executed_is_no_compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = tmp_path / "text"
    text.write_bytes(b"\x00\x01")
    text.chmod(0o755)
    monkeypatch.setenv("CXX", str(text))
    with pytest.raises(KernelError, match=r"the C\+\+ compiler cannot be started"):
        answer()


def test_surroundings_of_the_compiler_change_nothing(
    small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "include").mkdir()
    (tmp_path / "include" / "cmath").write_text("#error another header\n")
    (compiler.SOURCE / "answer.cpp").write_text(f"#include <cmath>\n{SOURCE}")
    assert answer() == 42
    whole = library(small).read_bytes()
    for name in sorted(toolchain.LEFT_OUT | {"CXXFLAGS", "CPPFLAGS", "LDFLAGS"}):
        monkeypatch.setenv(name, str(tmp_path / "include"))
    monkeypatch.setenv("TMPDIR", "/nonexistent")
    monkeypatch.setenv("LANG", "de_DE.UTF-8")
    assert answer() == 42
    assert library(small).read_bytes() == whole, "the same key, so that nothing is compiled again"
    library(small).unlink()
    assert answer() == 42
    assert library(small).read_bytes() == whole
