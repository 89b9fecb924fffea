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

HOME = Path(__file__).parent.parent
SNAKEFILE = HOME / "workflow" / "Snakefile"


def run(study: Study, path: Path, results: Path, cores: int | None, further: Sequence[str]) -> int:
    """Run every stage that is not up to date; returns Snakemake's exit code.

    Raises StudyError before anything starts: a study that fails its checks, no mpiexec, results folder in use.
    """
    check(study)
    os.environ.update(environment())
    require_mpiexec()
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(SNAKEFILE), "--configfile", str(path)]
    command += ["--cores", str(cores) if cores else "all", "--config", f"results={results}"]
    command += [word for word in further if word != "--"]
    with exclusive(Layout.of(study, results).locks, "run"):
        return subprocess.run(command, check=False).returncode


def environment() -> dict[str, str]:
    """Variables under which jobs find this Python, its mpiexec, and this package also from another environment."""
    ours = str(Path(sys.executable).parent)
    return {
        "PATH": os.pathsep.join([ours, os.environ.get("PATH", "")]),
        "PYTHONPATH": os.pathsep.join([str(HOME), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep),
    }


def require_mpiexec() -> None:
    """Raises StudyError if there is no mpiexec on PATH."""
    if shutil.which("mpiexec") is None:
        raise StudyError("mpiexec: not found on PATH; install MPI, for instance with: python -m pip install mpich")
