"""What Snakemake would run is what is due by the files: on stand-ins for the files of a finished study."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import every_key
import pytest
import stand_ins
import yaml
from runs import ENVIRONMENT, HANG, ROOT

from rnnlimits import experiments
from rnnlimits.base.errors import StudyError
from rnnlimits.plan import due
from rnnlimits.run import decision
from rnnlimits.study import load_any

pytestmark = [pytest.mark.workflow, pytest.mark.needs_mpi]

SNAKEMAKE = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "workflow" / "Snakefile")]


def write(folder: Path, **changes: Any) -> Path:
    path = folder / "tiny.yaml"
    path.write_text(yaml.safe_dump(every_key.merged(every_key.BASES["training"], changes)))
    return path


def planned(path: Path, *targets: str, results: str = "results", **config: object) -> set[str]:
    """The rules of a dry run, without the one that only collects."""
    given = [f"results={results}", *(f"{name}={value}" for name, value in config.items())]
    command = [*SNAKEMAKE, "--configfile", str(path), "--config", *given, "--dry-run", "--quiet", "host"]
    options: dict[str, Any] = {"cwd": path.parent, "env": ENVIRONMENT, "timeout": HANG}
    done = subprocess.run([*command, "--cores", "2", *targets], capture_output=True, text=True, **options)
    assert done.returncode == 0, done.stderr
    return set(re.findall(r"^(?:local)?rule (\w+):$", done.stdout + done.stderr, flags=re.MULTILINE)) - {"all"}


def rules(path: Path, results: Path) -> set[str]:
    """The rules of what is due."""
    experiment = experiments.of(load_any(path), results)
    found = due.due(experiment)
    names = {part.rule for part in experiment.parts() if part.name in found.parts}
    names |= {step.rule or step.name for step in experiment.steps() if step.name in found.steps}
    return names | ({"study"} if experiment.layout.study_yaml in found.paths else set())


@pytest.fixture
def study(tmp_path: Path) -> Path:
    path = write(tmp_path)
    stand_ins.finish(experiments.of(load_any(path), tmp_path / "results"))
    return path


def test_a_copy_elsewhere_is_up_to_date_without_notes(study: Path, tmp_path: Path) -> None:
    shutil.copytree(tmp_path / "results", tmp_path / "other" / "place")
    for number, path in enumerate(sorted((tmp_path / "other").rglob("*"), reverse=True)):
        os.utime(path, (1e9 + 1e6 * number,) * 2)
    assert planned(study, results="other/place") == set()


@pytest.mark.parametrize(
    "changes",
    [{"limit": {"nodes": 24}}, {"training": {"width": [16, 48]}}, {"training": {"replicas_per_block": 4}}],
    ids=["nodes", "width", "blocks"],
)
def test_another_study_runs_what_is_due(study: Path, tmp_path: Path, changes: dict[str, Any]) -> None:
    path = write(tmp_path, **changes)
    expected = rules(path, tmp_path / "results")
    assert expected
    assert planned(path) == expected


def test_a_target_runs_only_what_it_needs(study: Path, tmp_path: Path) -> None:
    path = write(tmp_path, limit={"nodes": 24})
    assert planned(path, "results/tiny/limit.h5") == {"draw", "limit"}


def test_jobs_of_a_cluster_are_those_that_are_due(study: Path, tmp_path: Path) -> None:
    site = ROOT / "cluster" / "slurm"
    assert planned(study, site=site) == set()
    (tmp_path / "results" / "tiny" / "rates.csv").unlink()
    assert planned(study, site=site) == {"analysis"}


@pytest.mark.parametrize("lacking", ["dag", "rerun_triggers"])
def test_a_snakemake_whose_decisions_cannot_be_replaced_is_refused(tmp_path: Path, lacking: str) -> None:
    kept = {name: property(lambda _: None) for name in ("dag", "rerun_triggers") if name != lacking}
    workflow = type("Workflow", (), {"is_main_process": True, **kept})()
    experiment = experiments.of(load_any(write(tmp_path)), tmp_path / "results")
    with pytest.raises(StudyError, match=r"snakemake: this version \(.*\) is not supported; install version 9"):
        decision.decide(workflow, experiment)


class Workflow:
    """Of Snakemake's workflow what `decide` replaces."""

    is_main_process = True
    own = frozenset({"mtime", "params"})

    def __init__(self, main: Path, ours: Path) -> None:
        self.main_snakefile, self.current_basedir = main, ours.parent
        self._graph = SimpleNamespace(forcefiles=set(), ignore_incomplete=False)

    @property
    def rerun_triggers(self) -> frozenset[str]:
        return self.own

    @property
    def dag(self) -> SimpleNamespace:
        return self._graph


@pytest.mark.parametrize("alone", [True, False], ids=["alone", "as a module"])
def test_notes_and_time_stamps_of_snakemake_count_for_others_only(tmp_path: Path, alone: bool) -> None:
    ours = tmp_path / "Snakefile"
    workflow = Workflow(ours if alone else tmp_path / "others" / "Snakefile", ours)
    experiment = experiments.of(load_any(write(tmp_path)), tmp_path / "results")
    found = decision.decide(workflow, experiment)
    assert found == {*due.due(experiment).paths}
    assert workflow.rerun_triggers == (frozenset() if alone else Workflow.own)
    assert workflow.dag.forcefiles == {str(path) for path in found}
    assert workflow.dag.ignore_incomplete is alone
