"""Locks of a results folder: one holder at a time, whoever owns the file, and none that outlives its holder."""

from __future__ import annotations

import errno
import fcntl
import multiprocessing
import os
import stat
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from runs import HANG

from rnnlimits.base import locks
from rnnlimits.base.errors import StudyError

OTHER, GROUP = 65_534, 65_533  # another user, and a group that both belong to


def _hold(folder: Path, ready: Any, end: Any) -> None:
    with locks.exclusive(folder, "run"):
        ready.set()
        end.wait(HANG)


class Said(Exception):
    """A line was passed on."""


class Holder:
    """Another process that holds the lock `run` until the block ends."""

    def __init__(self, folder: Path) -> None:
        context = multiprocessing.get_context("fork")
        self._ready, self._end = context.Event(), context.Event()
        self._process = context.Process(target=_hold, args=(folder, self._ready, self._end))

    def __enter__(self) -> None:
        self._process.start()
        assert self._ready.wait(HANG)

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._process.join()


def as_another_user(folder: Path, act: Callable[[], object]) -> str:
    """What `act` raises in a process of another user of the group, "" if nothing."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.setgroups([GROUP])
        os.setresgid(OTHER, OTHER, OTHER)
        os.setresuid(OTHER, OTHER, OTHER)
        try:
            act()
        except BaseException as error:
            os.write(writer, str(error).encode() or b"?")
        os._exit(0)
    os.close(writer)
    os.waitpid(child, 0)
    with os.fdopen(reader) as said:
        return said.read()


@pytest.fixture
def shared() -> Iterator[Path]:
    """The locks of results that the group may write, left behind by a run of root with the usual umask."""
    with tempfile.TemporaryDirectory() as place:  # those of pytest are closed to others
        Path(place).chmod(0o755)
        root = Path(place) / "study"
        root.mkdir()
        os.chown(root, -1, GROUP)
        root.chmod(0o2775)
        before = os.umask(0o022)
        take(root / ".locks")
        os.umask(before)
        yield root / ".locks"


def take(folder: Path) -> None:
    with locks.exclusive(folder, "run"):
        pass


def test_a_second_process_is_refused_and_named_the_first(tmp_path: Path) -> None:
    with Holder(tmp_path / ".locks"):
        with pytest.raises(StudyError, match=r"run is being run by process \d+ on .*; wait for it or stop it"):
            take(tmp_path / ".locks")
        said: list[str] = []
        with pytest.raises(Said):
            _wait_once(tmp_path / ".locks", said)
    take(tmp_path / ".locks")
    assert "waiting for it" in said[0]


def _wait_once(folder: Path, said: list[str]) -> None:
    def say(line: str) -> None:
        said.append(line)
        raise Said

    with locks.exclusive(folder, "run", say):
        pass


@pytest.mark.needs_root
@pytest.mark.parametrize("mode", [0o666, 0o644])
def test_a_file_of_another_user_blocks_nobody_and_still_excludes(shared: Path, mode: int) -> None:
    lock = shared / "run.lock"
    lock.chmod(mode)
    assert as_another_user(shared, lambda: take(shared)) == ""
    os.chown(lock, 0, 0)
    lock.chmod(mode)
    with Holder(shared):
        assert "run is being run by process" in as_another_user(shared, lambda: take(shared))


@pytest.mark.needs_root
def test_whoever_replaced_the_file_holds_the_lock(shared: Path) -> None:
    """A process that had opened the old file does not hold the new one."""
    lock = shared / "run.lock"
    lock.chmod(0o644)

    def both() -> None:
        old = os.open(lock, os.O_RDONLY)
        with locks.exclusive(shared, "run"):
            fcntl.flock(old, fcntl.LOCK_EX | fcntl.LOCK_NB)
            assert not locks._is_at(old, lock), "the old file"
            with pytest.raises(StudyError, match="is being run by"):
                take(shared)

    assert as_another_user(shared, both) == ""
    assert lock.stat().st_uid == OTHER


@pytest.mark.needs_root
def test_where_the_file_cannot_be_replaced_the_old_one_is_held(shared: Path) -> None:
    lock = shared / "run.lock"
    lock.chmod(0o644)
    for mode in (0o3775, 0o2755):  # sticky; not writable
        shared.chmod(mode)

        def refused(mode: int = mode) -> None:
            with (
                locks.exclusive(shared, "run"),
                pytest.raises(StudyError, match="is being run by"),
            ):
                take(shared)

        assert as_another_user(shared, refused) == "", oct(mode)
        assert lock.stat().st_uid == 0
        assert [path.name for path in shared.iterdir()] == ["run.lock"]


@pytest.mark.needs_root
def test_a_file_that_cannot_be_opened_names_its_owner(shared: Path) -> None:
    (shared / "run.lock").chmod(0o600)
    said = as_another_user(shared, lambda: take(shared))
    assert said == f"{shared}/run.lock: belongs to user root and cannot be opened; " + (
        "ask them to remove it once their run has ended"
    )


def test_locks_are_for_all_who_may_write_the_results(tmp_path: Path) -> None:
    for mode, expected in ((0o775, 0o664), (0o755, 0o644), (0o777, 0o666)):
        root = tmp_path / oct(mode)
        root.mkdir()
        root.chmod(mode)
        before = os.umask(0o022)
        take(root / ".locks")
        os.umask(before)
        assert stat.S_IMODE((root / ".locks").stat().st_mode) == mode
        assert stat.S_IMODE((root / ".locks" / "run.lock").stat().st_mode) == expected


@pytest.mark.parametrize(("make", "says"), [
    (Path.mkdir, "Is a directory"),
    (lambda path: path.symlink_to("nowhere/at/all"), "No such file"),
    (lambda path: path.symlink_to(path.name), "Too many levels"),
])  # fmt: skip
def test_what_is_no_lock_file_is_named(tmp_path: Path, make: Callable[[Path], object], says: str) -> None:
    (tmp_path / ".locks").mkdir()
    make(tmp_path / ".locks" / "run.lock")
    with pytest.raises(StudyError, match=rf"run\.lock: cannot be written: {says}"):
        take(tmp_path / ".locks")


def test_a_folder_that_is_a_file_is_named(tmp_path: Path) -> None:
    (tmp_path / ".locks").touch()
    with pytest.raises(StudyError, match=r"\.locks: cannot be written: .*; choose another --results folder"):
        take(tmp_path / ".locks")


def test_a_file_system_that_locks_only_what_can_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As NFS does: EBADF for an exclusive lock of a file opened for reading."""
    flock = fcntl.flock

    def of_nfs(descriptor: int, operation: int) -> None:
        if operation & fcntl.LOCK_EX and fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY:
            raise OSError(errno.EBADF, "Bad file descriptor")
        flock(descriptor, operation)

    path = tmp_path / "x.lock"
    path.touch()
    monkeypatch.setattr(fcntl, "flock", of_nfs)
    with path.open() as reading, path.open("a") as writing:
        locks._lock(reading.fileno())
        flock(reading, fcntl.LOCK_UN)
        flock(writing, fcntl.LOCK_EX)
        with pytest.raises(BlockingIOError):
            locks._lock(reading.fileno())


def test_a_full_disk_only_leaves_the_holder_unnamed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "pwrite", full)
    take(tmp_path / ".locks")
    assert (tmp_path / ".locks" / "run.lock").read_bytes() == b""
