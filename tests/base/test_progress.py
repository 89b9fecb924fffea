"""Signs of life: work that prints nothing for a while says what it is, by a clock that the tests turn."""

from __future__ import annotations

import logging
import math
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from example_files import write_ensemble, write_shards

from rnnlimits.base import launchers, progress
from rnnlimits.base.progress import Progress, SignsOfLife
from rnnlimits.cli import entry
from rnnlimits.results import inspection


class Clock:
    """Seconds, as the test says."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def signs(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> Iterator[SignsOfLife]:
    """As the command line has them, without the thread that looks every second."""
    made, log = SignsOfLife("rates", clock=clock), logging.getLogger("rnnlimits")
    monkeypatch.setattr(progress, "_signs", made)
    log.setLevel(logging.INFO)
    log.addHandler(made)
    yield made
    log.removeHandler(made)


def lines(signs: SignsOfLife, clock: Clock, capsys: pytest.CaptureFixture[str], seconds: int) -> list[str]:
    """What is printed while so many seconds pass, looked at in each."""
    for _ in range(seconds):
        clock.now += 1.0
        signs.look()
    return capsys.readouterr().err.splitlines()


def test_silent_work_says_at_least_every_twenty_seconds_what_it_is(
    signs: SignsOfLife, clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    assert lines(signs, clock, capsys, 14) == []
    assert lines(signs, clock, capsys, 6) == ["rates: at work for 15 s"]
    progress.now("joining 1000 shards into train.h5")
    progress.reading(Path("shards/7.h5"))
    assert lines(signs, clock, capsys, 9) == []
    assert lines(signs, clock, capsys, 31) == [
        f"joining 1000 shards into train.h5: at work for {seconds}; last file: shards/7.h5"
        for seconds in ("10 s", "25 s", "40 s")
    ]


def test_short_works_in_a_row_are_not_silent(
    signs: SignsOfLife, clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    shown = []
    for name in ("one", "two", "three", "four"):
        progress.now(name)
        shown += lines(signs, clock, capsys, 9)
    assert shown == ["two: at work for 6.0 s", "four: at work for 3.0 s"]


def test_work_that_reports_progress_needs_no_signs(
    signs: SignsOfLife, clock: Clock, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rnnlimits.base.progress.time.monotonic", clock)
    shown = Progress("train", 100, "steps", sys.stderr)
    for done in range(6):
        assert lines(signs, clock, capsys, 10) == []
        shown.update(done)


def test_a_line_of_the_log_counts(signs: SignsOfLife, clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    lines(signs, clock, capsys, 12)
    progress.note("rates.csv: 3 rates")
    assert lines(signs, clock, capsys, 12) == []


def test_reading_names_the_file(signs: SignsOfLife, tmp_path: Path) -> None:
    ensemble = write_ensemble(tmp_path, write_shards(tmp_path))
    inspection.validate(ensemble)
    assert signs.file is not None
    assert signs.file.is_relative_to(tmp_path)


@pytest.mark.parametrize(
    ("verb", "variables", "watched"),
    [
        ("rates", {}, True),
        ("validate", {"PMI_RANK": "0", "PMI_SIZE": "2"}, True),
        ("train", {"PMI_RANK": "1", "PMI_SIZE": "2"}, False),
        ("run", {}, False),
    ],
)
def test_one_process_of_a_command_gives_signs(
    monkeypatch: pytest.MonkeyPatch, verb: str, variables: dict[str, str], watched: bool
) -> None:
    for name in (progress.QUIET, *(name for *names, _ in launchers.LAUNCHERS for name in names)):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with entry._watched(verb):
        assert (progress._signs is not None) == watched
    assert progress._signs is None


@pytest.mark.parametrize(("text", "seconds"), [("", 15.0), ("off", math.inf), ("5", 5.0)])
def test_the_seconds_may_be_chosen(monkeypatch: pytest.MonkeyPatch, text: str, seconds: float) -> None:
    monkeypatch.setenv(progress.QUIET, text)
    assert progress.quiet_seconds() == seconds


@pytest.mark.parametrize("text", ["0", "-1", "nan", "soon"])
def test_no_number_of_seconds_is_refused_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], text: str
) -> None:
    monkeypatch.setenv(progress.QUIET, text)
    assert entry.main(["validate", "nowhere.h5"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"rnnlimits: RNNLIMITS_QUIET_SECONDS: {text!r} is no number of seconds; allowed: 1 or more")
