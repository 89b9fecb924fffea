"""The whole study through Snakemake, as `rnnlimits run`."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from pipeline.checks import check
from pipeline.errors import StudyError
from pipeline.layout import Layout
from pipeline.locks import exclusive
from pipeline.study import Study

SNAKEFILE = Path(__file__).parent.parent / "workflow" / "Snakefile"


def run(study: Study, path: Path, results: Path, cores: int | None, further: Sequence[str]) -> int:
    """Run every stage that is not up to date; returns Snakemake's exit code.

    Raises StudyError before anything starts: a study that fails its checks, no mpiexec, results folder in use.
    """
    check(study)
    environment = with_our_programs(dict(os.environ))
    require_mpiexec(environment)
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(SNAKEFILE), "--configfile", str(path)]
    command += ["--cores", str(cores) if cores else "all", "--config", f"results={results}"]
    command += [word for word in further if word != "--"]
    with exclusive(Layout.of(study, results).locks, "run"):
        return subprocess.run(command, env=environment, check=False).returncode


def with_our_programs(environment: dict[str, str]) -> dict[str, str]:
    """The environment with the folder of this Python first on PATH: rnnlimits and mpiexec live there."""
    ours = str(Path(sys.executable).parent)
    return {**environment, "PATH": os.pathsep.join([ours, environment.get("PATH", "")])}


def require_mpiexec(environment: dict[str, str]) -> None:
    """Raises StudyError if there is no mpiexec on PATH."""
    if shutil.which("mpiexec", path=environment["PATH"]) is None:
        raise StudyError("mpiexec: not found on PATH; install MPI, for instance with: python -m pip install mpich")
