"""What `run --quick` refuses, each in one line, before anything is computed."""

from __future__ import annotations

from pathlib import Path

import pytest
import runs

from rnnlimits import cli, experiments
from rnnlimits.plan import due
from rnnlimits.run import quick
from rnnlimits.study import load

LARGE = {"width": [8192], "replicas": 2048, "replicas_per_block": None}


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (("--cores", "2"), "--quick: computes in one process, on this machine; leave out --cores or --quick"),
        (("--profile", "slurm"), "--quick: computes in one process, on this machine; leave out --profile or --quick"),
        (("--", "--dry-run"), "--quick: computes in one process, on this machine; leave out -- or --quick"),
        (("--resolve", "0.1"), "--quick: is not for --resolve, which trains in rounds; leave out one of them"),
    ],
)
def test_options_of_other_runs_are_refused(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], words: tuple[str, ...], line: str
) -> None:
    study = runs.write_study(tmp_path)
    assert cli.main(["run", "--quick", str(study), "--results", str(tmp_path / "results"), *words]) == 2
    assert capfd.readouterr() == ("", f"rnnlimits: {line}\n")


def test_a_study_of_minutes_is_refused_until_little_of_it_is_left(tmp_path: Path) -> None:
    study = load(runs.write_study(tmp_path, training=LARGE))
    experiment = experiments.of(study, tmp_path)
    with pytest.raises(quick.StudyError, match=r"would take about 2 min 17 s of one core; --quick takes at most 1 min"):
        quick.require_short(experiment, due.due(experiment))  # N^2 2048 unit-steps of 1 ns
    for block in experiment.packs()[0].blocks[:-1]:
        block.path.parent.mkdir(parents=True, exist_ok=True)
        block.path.touch()
    quick.require_short(experiment, due.due(experiment))
