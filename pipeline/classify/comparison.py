"""A whole comparison through Snakemake, as `rnnlimits rntk classify`."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rnnlimits.base.errors import REFUSALS, StudyError
from rnnlimits.base.locks import exclusive
from rnnlimits.classify import jobs, methods
from rnnlimits.classify import score as classify
from rnnlimits.classify import table as report
from rnnlimits.classify.jobs import FOLDER, Job
from rnnlimits.run import shipped, workflow


@dataclass(frozen=True)
class Wanted:
    """What a user asks for: names of data sets (none: all), where they are, where results go."""

    names: tuple[str, ...]
    archive: Path | None
    results: Path
    quick: bool

    def jobs(self) -> list[Job]:
        """All jobs, the longest first. Raises StudyError for data that cannot be had."""
        return jobs.plan(self.names, self.archive, self.results, self.quick)


def run(wanted: Wanted, cores: int | None, further: Sequence[str]) -> int:
    """Do every job that is not done, then write table and figure; returns the exit code as `rnnlimits run` does.

    Raises StudyError before anything starts: unknown or malformed data, results folder in use.
    """
    workflow.relative_results(wanted.results)
    wanted.jobs()
    root = wanted.results / FOLDER
    command = [
        sys.executable,
        "-m",
        "snakemake",
        "--snakefile",
        str(shipped.CLASSIFY),
        "--nolock",
        "--rerun-incomplete",
    ]
    command += ["--cores", str(cores) if cores else "all", "--keep-going", "--workflow-profile", "none"]
    command += ["--quiet", "all", "--config", *_config(wanted)]
    os.environ.update(workflow.environment())
    with (
        exclusive(root / ".locks", "classify") as lock,
        tempfile.NamedTemporaryFile("r", dir=root / ".locks", prefix="refusals-") as refusals,
    ):
        os.environ[REFUSALS] = str(Path(refusals.name).resolve())
        code = workflow.supervise([*command, *further, *workflow.colours()], lock)
        if code != 0 and refusals.read():
            return 2
    if code > 0:
        workflow.show_log()
    return code


def _config(wanted: Wanted) -> list[str]:
    """Snakemake reads values as YAML: JSON keeps text as it is."""
    values = {"results": str(wanted.results)}
    if wanted.names:
        values["sets"] = ",".join(wanted.names)
    if wanted.quick:
        values["quick"] = "true"
    if wanted.archive is not None:
        values["archive"] = str(wanted.archive)
    return [f"{name}={json.dumps(value)}" for name, value in values.items()]


def one(wanted: Wanted, method: str, part: int | None) -> None:
    """Do one job, or one part of it, in this process. Raises StudyError for more or less than one data set."""
    if len(wanted.names) != 1:
        raise StudyError(f"--method: one data set is done at a time, {len(wanted.names)} are given")
    (job,) = (job for job in wanted.jobs() if job.method is methods.named(method))
    if part is None:
        classify.run(job)
    elif part < len(job.parts):
        classify.validate_part(job, part)
    else:
        raise StudyError(f"--part: {part} is not there; the grid of {job.name} has parts 0 to {len(job.parts) - 1}")


def table(wanted: Wanted) -> str:
    """Write table and figure of results that are there; returns the table."""
    return report.write(wanted.jobs(), wanted.results)
