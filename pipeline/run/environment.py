"""The environment of Snakemake and of all that it starts."""

from __future__ import annotations

import getpass
import os
import sys
from collections.abc import Mapping
from pathlib import Path

from rnnlimits.base import surroundings
from rnnlimits.base.variables import BACKEND
from rnnlimits.run import mpiexec, shipped


def of_jobs(cluster: bool = False) -> dict[str, str]:
    """The whole environment of Snakemake and all that it starts.

    cluster: for jobs of Slurm, which need more of the caller's environment than ranks on this machine.
    """
    clean = surroundings.of_jobs(os.environ, cluster) | nameless()
    return {**clean, **additions(clean, cluster=cluster)}


def additions(caller: Mapping[str, str], backend: str | None = None, cluster: bool = False) -> dict[str, str]:
    """Variables with which jobs find this Python, its mpiexec, and a clone of this package from anywhere.

    caller: the environment that they are added to. backend: the back end that the jobs must use, None if they choose.
    """
    variables = {"PATH": os.pathsep.join([str(Path(sys.executable).parent), caller.get("PATH", os.defpath)])}
    if shipped.IS_CLONE:  # an installed package is found without it, and other packages next to it must stay hidden
        ours = str(shipped.PACKAGE.parent)
        others = [entry for entry in caller.get("PYTHONPATH", "").split(os.pathsep) if entry not in ("", ours)]
        variables["PYTHONPATH"] = os.pathsep.join([ours, *others])
    return {**variables, **({} if cluster else mpiexec.ON_ONE_MACHINE), **({BACKEND: backend} if backend else {})}


def nameless() -> dict[str, str]:
    """Names of user and home where the system knows none, as in a container: Snakemake insists on both."""
    variables = {} if os.path.isabs(os.path.expanduser("~")) else {"HOME": "/nonexistent"}
    try:
        getpass.getuser()
    except (KeyError, OSError):
        variables["USER"] = str(os.getuid())
    return variables
