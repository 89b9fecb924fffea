"""A complete comparison through Snakemake, as `rnnlimits rntk classify` runs it."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rnnlimits.base.errors import REFUSALS, StudyError
from rnnlimits.base.locks import exclusive
from rnnlimits.classify import jobs, methods, score
from rnnlimits.classify import table as report
from rnnlimits.classify.jobs import FOLDER, Job
from rnnlimits.run import environment, shipped, words, workflow


@dataclass(frozen=True)
class Wanted:
    """A user's request: names of data sets (none: all), their folder, the folder of results."""

    names: tuple[str, ...]
    archive: Path | None
    results: Path
    quick: bool

    def jobs(self) -> list[Job]:
        """All jobs, the longest first. Raises StudyError for data that are not available."""
        return jobs.plan(self.names, self.archive, self.results, self.quick)


def run(request: Wanted, cores: int | None, further: Sequence[str]) -> int:
    """Run every job that is not finished, then write table and figure; returns the exit code as `rnnlimits run` does.

    Raises StudyError before anything starts: unknown or malformed data, results folder in use.
    """
    workflow.relative_results(request.results)
    request.jobs()
    root = request.results / FOLDER
    words.require_readable(request.results, *filter(None, [request.archive]))
    command = [*workflow.SNAKEMAKE, "--snakefile", str(shipped.CLASSIFY), "--nolock", "--rerun-incomplete"]
    command += ["--cores", str(cores) if cores else "all", "--keep-going", "--workflow-profile", "none"]
    command += ["--quiet", "all", *workflow.WITHOUT_HOME, "--config", *_config(request)]
    workflow.require_working_folder()
    with (
        exclusive(root / ".locks", "classify") as lock,
        workflow.cache_for_all(),
        tempfile.NamedTemporaryFile("r", dir=root / ".locks", prefix="refusals-", encoding="utf-8") as refusals,
    ):
        variables = {**environment.of_jobs(), REFUSALS: str(Path(refusals.name).resolve())}
        code = workflow.supervise([*command, *further, *workflow.colours()], lock, variables)
        if code != 0 and refusals.read():
            return 2
    if code > 0:
        workflow.show_log(command)
    return code


def _config(request: Wanted) -> list[str]:
    values = {"results": words.encoded(request.results)}
    if request.names:
        values["sets"] = words.encoded(",".join(request.names))
    if request.quick:
        values["quick"] = "true"
    if request.archive is not None:
        values["archive"] = words.encoded(request.archive)
    return [f"{name}={value}" for name, value in values.items()]


def one(request: Wanted, method: str, part: int | None) -> None:
    """Run one job, or one part of it, in this process. Raises StudyError unless exactly one data set is given."""
    if len(request.names) != 1:
        raise StudyError(f"--method: takes one data set at a time, {len(request.names)} are given")
    (job,) = (job for job in request.jobs() if job.method is methods.named(method))
    if part is None:
        score.run(job)
    elif part < len(job.parts):
        score.validate_part(job, part)
    else:
        raise StudyError(f"--part: {part} does not exist; the grid of {job.name} has parts 0 to {len(job.parts) - 1}")


def table(request: Wanted) -> str:
    """Write table and figure from the existing results; returns the table."""
    return report.write(request.jobs(), request.results)
