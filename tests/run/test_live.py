"""The live line of `run`: what it says at each stage of a study, and that nothing else is lost."""

from __future__ import annotations

import io
import os
import time
from pathlib import Path

import pytest
from rich.console import Console
from runs import write_study

from rnnlimits import experiments
from rnnlimits.run import live
from rnnlimits.study import load_any
from rnnlimits.watch.moment import CellNow, Estimate, PartNow, Run, Snapshot

RUN = Run(True, "here", (1,), 0.0, 0.0)
STEPS = {"limit": "waiting", "rates": "waiting"}


def part(name: str, state: str, share: float) -> PartNow:
    done = 4 if share == 1 else 0
    return PartNow(name, state, "steps", 4, done, 0, 8, 2 * done, (CellNow("", 4, done, 0, share),))


def seen(*parts: PartNow, left: Estimate | None = None, **stages: str) -> Snapshot:
    return Snapshot("s", "results/s", "training", 0.0, "running", RUN, {**STEPS, **stages}, parts, left=left)


DONE, AT_WORK, LATER = part("draw", "done", 1), part("train-N1", "running", 0.5), part("train-N2", "waiting", 0)


@pytest.mark.parametrize(
    ("snapshot", "line"),
    [
        (seen(), "s: starting"),
        (seen(DONE, LATER), "s: 1 of 2 parts are done"),
        (seen(DONE, AT_WORK, LATER), "s: part 2 of 3, train-N1, 50%"),
        (seen(AT_WORK, left=Estimate(3.0, 70.0, (), ())), "s: part 1 of 1, train-N1, 50%; 3.0 s to 1 min 10 s left"),
        (seen(DONE, limit="running"), "s: step 1 of 2, limit"),
        (seen(DONE, limit="done"), "s: step 2 of 2, rates"),
        (seen(DONE, limit="done", rates="done"), "s: finished"),
    ],
)
def test_the_line_says_what_runs_and_how_much_is_left(snapshot: Snapshot, line: str) -> None:
    assert live.line_of(snapshot) == line


def test_lines_of_stages_are_kept_but_for_progress(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And the line is there in the first second, for a study whose folder does not exist yet."""
    monkeypatch.setattr(live, "EVERY", 0.02)
    experiment = experiments.of(load_any(write_study(tmp_path)), tmp_path / "results")
    out, (reading, writing) = io.StringIO(), os.pipe()
    console = Console(file=out, force_terminal=True, width=200)
    with os.fdopen(reading, "rb") as stderr, live.shown(stderr, experiment, console):
        assert "tiny: starting" in out.getvalue()
        os.write(writing, b"draw:  61%, 5.2e+08 draws/s, 20 s left\nrates: at work for 18 s\n")
        os.write(writing, b"draw: 4.1e+05 draws in 3.7 s, 1.1e+05 draws/s\nrnnlimits: warning: \xff\n")
        os.close(writing)
        (tmp_path / "results" / "tiny").mkdir(parents=True)
        for _ in range(500):
            if "warning: \ufffd" in out.getvalue() and out.getvalue().count("tiny: ") > 2:
                break
            time.sleep(0.02)
    shown = out.getvalue()
    assert "draw: 4.1e+05 draws in 3.7 s" in shown
    assert "warning: \ufffd" in shown
    assert "61%" not in shown
    assert "at work" not in shown
