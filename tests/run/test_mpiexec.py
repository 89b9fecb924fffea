"""mpiexec is tried before a run waits for it."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from snakemake.cli import parse_config

from rnnlimits.base.errors import StudyError
from rnnlimits.run import environment, mpiexec, words, workflow


def fake(folder: Path, script: str) -> dict[str, str]:
    """An environment in which mpiexec is a script."""
    path = folder / "mpiexec"
    path.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    path.chmod(0o755)
    return {**environment.of_jobs(), "PATH": f"{folder}:{os.environ['PATH']}"}


@pytest.mark.needs_mpi
def test_ours_starts_ranks() -> None:
    assert Path(mpiexec.require(environment.of_jobs())).name == "mpiexec"


def test_none(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="mpiexec: not found on PATH; install MPI"):
        mpiexec.require({"PATH": str(tmp_path)})


def test_one_that_hangs_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mpiexec, "SECONDS", 0.2)
    with pytest.raises(StudyError, match=r"/mpiexec: cannot start ranks of this Python's MPI: no sign of life in"):
        mpiexec.require(fake(tmp_path, "sleep 3600 & sleep 3600"))


def test_one_that_fails(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="MPI: cannot reach node7; put the mpiexec of that MPI first"):
        mpiexec.require(fake(tmp_path, "echo cannot reach node7 >&2; exit 1"))


@pytest.mark.needs_mpi
def test_one_of_another_mpi(tmp_path: Path) -> None:
    """As Open MPI's mpirun starts them: with these variables, and each alone."""
    script = 'shift 2; for i in 0 1; do OMPI_COMM_WORLD_SIZE=2 OMPI_COMM_WORLD_RANK=$i "$@"; done'
    with pytest.raises(
        StudyError, match=r"MPI: Open MPI's mpiexec started this as rank 0 of 2 .* is MPICH .* the two do not match"
    ):
        mpiexec.require(fake(tmp_path, script))


@pytest.mark.needs_mpi
def test_a_batch_job_around_it_is_not_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    node = os.uname().nodename
    job = {"SLURM_JOB_ID": "7", "SLURM_NNODES": "1", "SLURM_JOB_NODELIST": node, "SLURM_TASKS_PER_NODE": "2"}
    for name, value in {**job, "HYDRA_LAUNCHER": "ssh", "HYDRA_HOST_FILE": "/nowhere"}.items():
        monkeypatch.setenv(name, value)
    assert mpiexec.require(environment.of_jobs())


NAMES = [
    "résultats",
    "007",
    "1e5",
    "true",
    "a: b",
    "[x]",
    "a #b",
    "'q'",
    "\N{GRINNING FACE}",
    "a\u2028b",
    "\udcff",
    "%41",
]


@pytest.mark.parametrize("name", NAMES)
def test_a_folder_reaches_the_workflow_under_its_name(name: str) -> None:
    once = parse_config([f"results={words.encoded(name)}"])["results"]
    again = parse_config([f"results='{once}'"])["results"]  # as Snakemake passes it to jobs of a cluster
    assert words.decoded(once) == words.decoded(again) == name


@pytest.mark.parametrize(
    ("name", "says"),
    [("\udcff", r"b'\\xff': is not UTF-8"), ("a\nb", "control character"), ("a\x7f", "control character")],
)
def test_a_folder_that_the_workflow_cannot_use(name: str, says: str) -> None:
    with pytest.raises(StudyError, match=says):
        words.require_readable(Path(name))
    words.require_readable(Path("é \N{GRINNING FACE} *?[a]%#"))


def test_a_dash_is_no_option() -> None:
    assert words.as_file("-x.yaml") == "./-x.yaml"
    with pytest.raises(StudyError, match="starts with a dash"):
        workflow.relative_results("./-x")


def test_snakemake_is_not_that_of_the_working_folder() -> None:
    assert workflow.SNAKEMAKE[:2] == (sys.executable, "-P")
