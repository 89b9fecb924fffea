"""The live view: a results folder in every state, a run under way, terminals of several kinds; it only reads."""

from __future__ import annotations

import fcntl
import io
import json
import os
import platform
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from pathlib import Path

import h5py
import pytest
import stand_ins
from refusals import refused
from rich.console import Console
from runs import ENVIRONMENT, HANG, MPIEXEC, PROGRAM, run, write_rntk, write_study
from stand_ins import write_ensembles

from rnnlimits.plan.parts import Part
from rnnlimits.study import load_any, to_yaml
from rnnlimits.watch import listing, logs, watcher
from rnnlimits.watch.estimate import SoFar, estimate
from rnnlimits.watch.logs import Log
from rnnlimits.watch.moment import Pace as Rates
from rnnlimits.watch.moment import PartNow, Snapshot, Worker
from rnnlimits.watch.screen import screen
from rnnlimits.watch.watcher import Programme, Watcher

LONG = {"width": [300, 511], "replicas": 32, "replicas_per_block": 2, "horizon": 3000.0, "checkpoints": [0.0, 3000.0]}
STAMP = "2026-01-02 03:04:05,678 "


@pytest.fixture(params=[write_study, write_rntk], ids=["training", "rntk"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A results folder of either experiment that has its study.yaml and nothing else."""
    return begun(request.param(tmp_path), tmp_path)


def begun(path: Path, folder: Path) -> Path:
    study = load_any(path)
    root = folder / "results" / study.name
    root.mkdir(parents=True)
    (root / "study.yaml").write_text(to_yaml(study))
    return root


def programme(root: Path) -> Programme:
    return watcher.programme(load_any(root / "study.yaml"), root)


def fill(part: Part, count: int | None = None) -> None:
    """Finished shards of a part, the first `count`, or all and its outputs as well. Nobody reads what is in shards."""
    names = [(cell, name) for cell in part.ensembles for name in cell.work]
    for cell, name in names[:count]:
        cell.shards.mkdir(parents=True, exist_ok=True)
        (cell.shards / name).touch()
    if count is None:
        write_ensembles(part.ensembles)


def finish(root: Path) -> None:
    whole = programme(root)
    for part in whole.parts:
        fill(part)
    stand_ins.finish(whole.experiment)


def log(root: Path, name: str, *lines: str) -> None:
    (root / "logs").mkdir(exist_ok=True)
    (root / "logs" / f"{name}.log").write_text("".join(f"{STAMP}{line}\n" for line in lines))


def sign(root: Path, name: str, process: int, host: str = platform.node()) -> Path:
    path = root / ".locks" / f"{name}.lock"
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"process {process} on {host}\n")
    return path


@pytest.fixture
def held(folder: Path) -> Iterator[Path]:
    """The same folder, with its `run` lock held by another process."""
    path = sign(folder, "run", 1)
    code = f"import fcntl,sys; f=open({str(path)!r},'a+'); fcntl.flock(f, fcntl.LOCK_EX); print(1,flush=True); input()"
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        sign(folder, "run", process.pid)
        yield folder
        process.kill()


def entries(root: Path) -> dict[str, tuple[int, int, int]]:
    """Everything below a folder with its inode, size and time of change."""
    found = [root, *root.rglob("*")]
    return {str(path): (path.stat().st_ino, path.stat().st_size, path.stat().st_mtime_ns) for path in found}


def shown(seen: Snapshot, width: int, height: int | None = None) -> list[str]:
    console = Console(file=io.StringIO(), width=width, color_system=None)
    console.print(screen(seen, console, height))
    return console.file.getvalue().splitlines()  # type: ignore[attr-defined]


# --- states ----------------------------------------------------------------------------------------------------


def test_not_started(folder: Path) -> None:
    seen = Watcher(folder).look()
    assert (seen.state, seen.blocks[0], seen.cells[0], seen.left) == ("not started", 0, 0, None)
    assert {part.state for part in seen.parts} == {"waiting"}
    assert sum(part.work for part in seen.parts) > 0


def test_nothing_is_known_yet(tmp_path: Path) -> None:
    (tmp_path / "results" / "new").mkdir(parents=True)
    watcher = Watcher(tmp_path / "results" / "new")
    assert (watcher.look().state, watcher.look().parts) == ("not started", ())
    study = load_any(write_study(tmp_path, name="new"))
    (tmp_path / "results" / "new" / "study.yaml").write_text(to_yaml(study))
    assert watcher.look().parts


def test_blocks_and_cells_are_counted(folder: Path) -> None:
    whole = programme(folder)
    fill(whole.parts[0])
    fill(whole.parts[-1], 1)
    seen = Watcher(folder).look()
    assert seen.state == "stopped"
    assert [seen.parts[0].state, seen.parts[-1].state] == ["done", "partial"]
    assert seen.parts[-1].work_done == next(iter(whole.parts[-1].ensembles[0].work.values()))
    assert seen.blocks == (seen.parts[0].planned + 1, sum(part.planned for part in seen.parts))
    whole.parts[0].outputs[0].unlink()
    assert Watcher(folder).look().parts[0].state == "partial"


def test_foreign_and_unfinished_files_do_not_count(folder: Path) -> None:
    part = programme(folder).parts[-1]
    fill(part, 1)
    (part.ensembles[0].shards / ".replicas-00002-00003.h5.part-0123456789ab").touch()
    (part.ensembles[0].shards / "replicas-00000-99999.h5").touch()
    assert Watcher(folder).look().parts[-1].done == 1


def test_finished(folder: Path) -> None:
    finish(folder)
    seen = Watcher(folder).look()
    assert seen.state == "finished"
    assert seen.cells[0] == seen.cells[1]
    assert any("rnnlimits summary" in line for line in shown(seen, 100))


def test_a_held_lock_is_a_run(held: Path) -> None:
    seen = Watcher(held).look()
    assert (seen.state, seen.run.alive) == ("running", True)


def test_a_lock_left_behind_is_none(folder: Path) -> None:
    fill(programme(folder).parts[-1], 1)
    sign(folder, "run", os.getpid())  # a process that is there, and has not opened the file
    seen = Watcher(folder).look()
    assert (seen.state, seen.run.alive) == ("stopped", False)


@pytest.mark.parametrize(("age", "state"), [(5, "running"), (10_000, "stopped")])
def test_on_another_machine_signs_of_life_count(folder: Path, age: float, state: str) -> None:
    path = sign(folder, "run", 1, "elsewhere")
    part = programme(folder).parts[-1]
    log(
        folder, part.lock, "python -m rnnlimits train x, 8 ranks", f"{part.label}:  40%, 1e+06 {part.unit}/s, 30 s left"
    )
    for file in (path, folder / "logs" / f"{part.lock}.log"):
        os.utime(file, (time.time() - age,) * 2)
    seen = Watcher(folder).look()
    assert seen.state == state
    assert [worker.per_rank for worker in seen.workers] == ([125_000.0] if state == "running" else [])


# --- what logs tell --------------------------------------------------------------------------------------------


def told(*lines: str) -> Log:
    return logs.with_lines(Log("x", 0.0), [STAMP + line for line in lines])


def test_progress_lines_are_those_that_are_written(caplog: pytest.LogCaptureFixture) -> None:
    from rnnlimits.base.progress import Progress

    progress = Progress("train N00064-K00064", 1000, "unit-steps", io.StringIO())
    progress._started -= 100.0
    progress._logged -= 100.0
    with caplog.at_level("INFO", "rnnlimits"):
        progress.update(250)
        progress.finish(1000)
    moving, ended = caplog.messages
    found = told("python -m rnnlimits train x, 4 ranks", "ranks 0-3: n7 GPU 0 (NVIDIA H100)", moving)
    assert (found.label, found.share, found.unit, found.ranks) == ("train N00064-K00064", 0.25, "unit-steps", 4)
    assert found.rate == pytest.approx(2.5)
    assert found.left == pytest.approx(300, abs=1)
    assert found.devices.endswith("(NVIDIA H100)")
    assert told(moving, ended).ended
    assert told(moving, ended).rate == pytest.approx(10.0)


@pytest.mark.parametrize(("text", "length"), [("0.4 s", 0.4), ("3 min 20 s", 200), ("5 h 04 min", 18240)])
def test_lengths_of_time(text: str, length: float) -> None:
    assert logs.seconds(text) == pytest.approx(length)
    assert logs.seconds("unknown time") is None


def test_failures_have_one_line(folder: Path) -> None:
    part = programme(folder).parts[-1]
    log(folder, part.lock, "train x, 2 ranks", "Traceback (most recent call last):", "ValueError: bad")
    log(folder, "rates", "rnnlimits: results/x/draw.h5: is missing; run the command that makes it")
    (folder / ".locks").mkdir()
    (folder / ".locks" / "refusals-abc").write_text("study: no\n")
    found = {failure.where: failure.line for failure in Watcher(folder).look().failures}
    missing = "results/x/draw.h5: is missing; run the command that makes it"
    assert found == {"run": "study: no", part.lock: "ValueError: bad", "rates": missing}


def test_a_part_that_was_killed_is_told(folder: Path) -> None:
    part = programme(folder).parts[-1]
    log(folder, part.lock, "train x, 2 ranks", f"{part.label}:  40%, 1e+06 {part.unit}/s, 30 s left")
    fill(part, 1)
    (failure,) = Watcher(folder).look().failures
    assert failure.line.startswith("ended at 40% without a word")
    fill(part)
    assert Watcher(folder).look().failures == ()


def test_a_log_is_read_on_from_where_it_ended(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log(folder, "train-x", "train x, 2 ranks", *["train x:   1%, 1 unit-steps/s, 9.0 s left"] * 3000)
    watched = logs.Logs(folder / "logs", listing.Listing())
    assert [each.share for each in watched.all()] == [0.01]
    assert watched.all()[0].ranks == 2  # of the first line, although only the end was read
    with (folder / "logs" / "train-x.log").open("a") as file:
        file.write("train x:  50%, 7 unit-steps/s, 9.0 s left\ntrain x:  60")
    read = []
    with_lines = logs.with_lines
    monkeypatch.setattr(logs, "with_lines", lambda log, lines: (read.extend(lines), with_lines(log, read[-1:]))[1])
    assert [each.rate for each in watched.all()] == [7.0]
    assert len(read) == 1


# --- time left -------------------------------------------------------------------------------------------------


def part_now(done: int, planned_blocks: int, name: str = "train-a") -> PartNow:
    return PartNow(name, "running", "u", planned_blocks, done, 0, 100 * planned_blocks, 100 * done, ())


def test_time_left_from_rates() -> None:
    worker = Worker("train-a", "train a", 2, "", 0.5, "u", 10.0, 5.0, 40.0, 1.0)
    parts = [part_now(2, 10), part_now(0, 10, "train-b")]
    found = estimate(parts, [worker], [Rates("u", 10.0, 5.0, None)], SoFar(100.0, 0, 2))
    assert found is not None
    assert (found.low_seconds, found.high_seconds) == ((400 + 1000) / 10, (400 + 1000) / 5)


def test_time_left_without_rates_is_counted_in_blocks_and_parts() -> None:
    parts = [part_now(0, 10), part_now(0, 20, "train-b"), part_now(10, 10, "train-c")]
    found = estimate(parts, [], [Rates("u", None, 10.0, 300.0)], SoFar(100.0, 1, 10))
    assert found is not None
    assert (found.low_seconds, found.high_seconds) == (210.0, 300.0)  # 2 parts as long as one and 3000 u; 30 blocks
    assert estimate(parts, [], [Rates("u", None, None, None)], SoFar(100.0, 0, 0)) is None


# --- reading only ----------------------------------------------------------------------------------------------


@pytest.fixture
def stopped(folder: Path) -> Path:
    """A folder with shards, a saved state, logs and locks, at which nobody works."""
    part = programme(folder).parts[-1]
    fill(part, 2)
    log(folder, part.lock, "train x, 2 ranks", f"{part.label}:  40%, 1e+06 {part.unit}/s, 30 s left")
    sign(folder, "run", 2**22 + 1)
    return folder


def test_nothing_is_written_and_no_lock_is_taken(stopped: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = entries(stopped)
    done = run("watch", stopped, "--json", "--once", cwd=stopped)
    assert json.loads(done.stdout)["state"] == "stopped"
    assert entries(stopped) == before
    monkeypatch.setattr(fcntl, "flock", lambda *_: pytest.fail("a lock was taken"))
    monkeypatch.setattr(fcntl, "lockf", lambda *_: pytest.fail("a lock was taken"))
    Watcher(stopped).look()
    assert entries(stopped) == before


def test_a_second_look_lists_nothing_again(stopped: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for path in [stopped, *stopped.rglob("*")]:
        os.utime(path, (time.time() - 100,) * 2)
    watcher = Watcher(stopped)
    first = watcher.look()
    kept = os.listdir

    def listdir(path: Path) -> list[str]:
        assert not str(path).startswith(str(stopped)), f"{path} was listed again"
        return kept(path)

    monkeypatch.setattr(listing.os, "listdir", listdir)
    assert watcher.look().parts == first.parts


def test_times_are_asked_for_a_thousand_at_a_time(tmp_path: Path) -> None:
    names = [f"{number}.h5" for number in range(listing.STATS + 50)]
    for name in names:
        (tmp_path / name).touch()
    seen = listing.Listing()
    assert seen.times(tmp_path, names) is None
    assert seen.times(tmp_path, names) is None
    seen.begin()
    assert seen.times(tmp_path, names) is not None
    assert set(seen.times(tmp_path, names) or {}) == set(names)


def test_a_shard_that_vanishes_is_not_there(held: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    part = programme(held).parts[-1]
    fill(part, 2)
    kept = os.listdir

    def listdir(path: Path) -> list[str]:
        """Another process removes a shard right after the listing."""
        names = kept(path)
        if Path(path) == part.ensembles[0].shards:
            (Path(path) / sorted(names)[0]).unlink()
        return names

    monkeypatch.setattr(listing.os, "listdir", listdir)
    seen = Watcher(held).look()
    assert seen.state == "running"
    assert seen.parts[-1].done <= 2


def test_saved_states_count_inside_blocks(tmp_path: Path) -> None:
    root = begun(write_study(tmp_path), tmp_path)
    cell = programme(root).parts[-1].ensembles[0]
    assert cell.steps == 33  # K horizon
    first, second, _ = list(cell.work)[:3]
    cell.states.mkdir(parents=True)
    with h5py.File(cell.states / first, "w") as file:
        file.attrs["done"] = 11
    (cell.states / second).write_bytes(b"damaged")
    watcher = Watcher(root)
    (seen,) = watcher.look().parts[-1].cells
    assert (seen.saved, seen.done) == (2, 0)
    assert seen.share == pytest.approx(11 / 33 / len(cell.work), abs=1e-4)
    # A writer renames another file to this name while ours is open; and no lock of HDF5's is in its way.
    with h5py.File(cell.states / "new", "w") as file:
        file.attrs["done"] = 22
    os.replace(cell.states / "new", cell.states / first)
    assert watcher.look().parts[-1].cells[0].share == pytest.approx(22 / 33 / len(cell.work), abs=1e-4)


def test_no_mpi_and_no_plotting(tmp_path: Path) -> None:
    root = begun(write_study(tmp_path), tmp_path)
    code = (
        "import sys; from pathlib import Path; from rnnlimits.watch.watcher import Watcher;"
        f"Watcher(Path({str(root)!r})).look();"
        "assert not {'mpi4py.MPI', 'matplotlib', 'snakemake'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], env=ENVIRONMENT, check=True)


# --- terminals -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("width", "height"), [(30, 8), (40, 24), (80, 24), (200, 50)])
def test_the_screen_fits(held: Path, width: int, height: int) -> None:
    log(held, "rates", "rnnlimits: " + "a long line " * 30)
    lines = shown(Watcher(held).look(), width, height)
    assert max(map(len, lines)) <= width
    assert len(lines) <= max(height, 14)
    assert any("running" in line for line in lines)
    if width >= 40:
        assert any(re.search(r"waiting +0/\d+", line) for line in lines)


def test_not_a_terminal(tmp_path: Path) -> None:
    root = begun(write_study(tmp_path), tmp_path)
    fill(programme(root).parts[-1], 2)
    done = run("watch", root, env={**ENVIRONMENT, "COLUMNS": "60"})
    assert "\x1b" not in done.stdout
    assert "stopped" in done.stdout.splitlines()[0]
    assert max(map(len, done.stdout.splitlines())) <= 60


def in_terminal(root: Path, keys: bytes, **environment: str) -> tuple[int, str]:
    """Exit code and output of the live view in a terminal of 70 x 20, where these keys are pressed after a while."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 20, 70, 0, 0))
    command = [*PROGRAM, "watch", str(root), "--every", "0.2"]
    env = {name: text for name, text in ENVIRONMENT.items() if name not in ("NO_COLOR", "COLUMNS", "LINES")}
    env |= {"TERM": "xterm-256color", **environment}
    process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=env, start_new_session=True,
                               preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0))  # fmt: skip
    os.close(theirs)
    seen = _until(ours, b"parts done")
    os.write(ours, keys)
    seen += _until(ours, None)
    os.close(ours)
    return process.wait(HANG), seen.decode(errors="replace")


def _until(terminal: int, sign: bytes | None) -> bytes:
    """What a terminal shows up to a sign (None: to the end)."""
    seen, until = b"", time.monotonic() + HANG
    while time.monotonic() < until and (sign is None or sign not in seen):
        ready, _, _ = select.select([terminal], [], [], 1.0)
        try:
            piece = os.read(terminal, 65536) if ready else b""
        except OSError:  # closed by the other side
            break
        seen += piece
        if ready and not piece:
            break
    return seen


@pytest.mark.parametrize(("keys", "code"), [(b"q", 0), (b"\x03", 130)], ids=["q", "Ctrl-C"])
def test_keys_end_the_view(tmp_path: Path, keys: bytes, code: int) -> None:
    root = begun(write_study(tmp_path), tmp_path)
    found, text = in_terminal(root, keys, NO_COLOR="1")
    assert found == code
    assert "\x1b[?1049h" in text
    assert "\x1b[?1049l" in text  # the screen is given back
    assert not re.search(r"\x1b\[[\d;]*[34]\d[;m]", text), "colour although NO_COLOR is set"


def test_a_finished_study_ends_the_view(tmp_path: Path) -> None:
    root = begun(write_study(tmp_path), tmp_path)
    finish(root)
    found, text = in_terminal(root, b"")
    assert found == 0
    assert "finished" in text


def test_json_ends_when_the_study_is_finished(folder: Path) -> None:
    finish(folder)
    (line,) = run("watch", folder, "--json").stdout.splitlines()
    found = json.loads(line)
    assert (found["state"], found["blocks_done"]) == ("finished", found["blocks"])
    keys = {"study", "folder", "experiment", "time", "state", "run", "parts", "stages", "workers", "pace", "left"}
    keys |= {"failures", "stale", "look_seconds", "cells_done", "cells", "blocks_done", "blocks"}
    assert set(found) == keys
    text = (Path(__file__).parent.parent.parent / "docs" / "watch-and-compare.md").read_text()
    assert all(f"`{key}`" in text for key in keys)


def test_files_of_another_study_are_not_done(folder: Path) -> None:
    finish(folder)
    watched = Watcher(folder)
    assert watched.look().state == "finished"
    study = load_any(folder / "study.yaml")
    other = study.model_copy(update={"seed": study.seed + 1})
    (folder / "study.yaml").write_text(to_yaml(other))
    seen = watched.look()
    assert seen.state == "not started"
    assert {part.state for part in seen.parts} == {"waiting"}
    assert set(seen.stages.values()) == {"waiting"}
    assert len(seen.stale) == sum(len(part.outputs) for part in programme(folder).parts) + sum(
        len(paths) for paths in programme(folder).stages.values()
    )
    assert any(line.startswith("not of this study: ") for line in shown(seen, 100))


# --- a run under way -------------------------------------------------------------------------------------------


@pytest.mark.needs_mpi
def test_a_run_under_way(tmp_path: Path) -> None:
    path = write_study(tmp_path, training=LONG)
    root = tmp_path / "results" / "tiny"
    root.mkdir(parents=True)
    (root / "study.yaml").write_text(to_yaml(load_any(path)))
    name = "train-N00511-K00511"
    words = ["train", path, "--pack", "N00511-K00511", "--log", root / "logs" / f"{name}.log"]
    command = [MPIEXEC, "-n", "2", *PROGRAM, *map(str, words)]
    work = subprocess.Popen(command, cwd=tmp_path, env=ENVIRONMENT, stderr=subprocess.DEVNULL, process_group=0)
    try:
        found = _mid_run(root, name)
    finally:
        os.killpg(work.pid, signal.SIGTERM)
        work.wait(60)
    assert (found["state"], found["run"]["alive"], found["run"]["host"]) == ("running", True, platform.node())
    (worker,) = found["workers"]
    assert (worker["log"], worker["ranks"]) == (name, 2)
    part = next(part for part in found["parts"] if part["name"] == name)
    assert part["state"] == "running"
    assert 0 < part["done"] < part["planned"] == 16
    after = Watcher(root).look()
    assert after.state == "stopped"
    assert [failure.where for failure in after.failures] == [name]
    assert "stopped by SIGTERM after saving" in after.failures[0].line


def _mid_run(root: Path, name: str) -> dict[str, object]:
    """What --once --json says once a shard is there."""
    until = time.monotonic() + HANG
    while time.monotonic() < until:
        found: dict[str, object] = json.loads(run("watch", root, "--once", "--json").stdout)
        if any(part["done"] for part in found["parts"]):  # type: ignore[attr-defined]
            return found
    raise AssertionError(f"no shard of {name} in {HANG} seconds")


# --- bad input -------------------------------------------------------------------------------------------------


def test_bad_input(tmp_path: Path) -> None:
    folder = begun(write_study(tmp_path), tmp_path)
    (tmp_path / "results" / "tiny" / ".locks").mkdir(parents=True, exist_ok=True)
    assert "is missing; give results/STUDY" in refused("watch", tmp_path / "none")
    assert "is not a folder" in refused("watch", folder / "study.yaml")
    assert f"give one of these: {tmp_path / 'results' / 'tiny'}" in refused("watch", tmp_path / "results")
    assert "is missing; give the study file that was run" in refused("watch", folder, "--study", tmp_path / "none.yaml")
    (folder / "study.yaml").write_text("name: [")
    assert "study.yaml: line 1" in refused("watch", folder, "--once")
