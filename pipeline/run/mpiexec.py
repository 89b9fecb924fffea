"""mpiexec on this machine: found, and able to start ranks, before anything that waits for them is started."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from rnnlimits.base.errors import StudyError

SECONDS = 15.0  # for two processes to start
ATTEMPTS = 3  # Hydra may die of a closed pipe, without a word, where processes end as soon as they have begun
# By which mpiexec starts ranks on this machine only, without a look at a job that this machine may be part of: Hydra of
# MPICH, Intel's Hydra, Open MPI 4 and 5. Open MPI refuses more ranks than cores, and root, unless it is told.
ON_ONE_MACHINE = {
    "HYDRA_LAUNCHER": "fork",
    "HYDRA_RMK": "user",
    "I_MPI_HYDRA_BOOTSTRAP": "fork",
    "I_MPI_HYDRA_RMK": "user",
    "OMPI_MCA_plm": "isolated",
    "OMPI_MCA_rmaps_base_oversubscribe": "1",
    "OMPI_ALLOW_RUN_AS_ROOT": "1",
    "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
    "PRTE_MCA_plm": "ssh",
    "PRTE_MCA_rmaps_default_mapping_policy": ":oversubscribe",
}
INSTALL = "install MPI, for instance with: python -m pip install mpich"
# What each of two processes says: how many there are for the launcher, or, where the MPI library may be another one,
# for that library.
_LAUNCHED = ["sh", "-c", 'echo "rnnlimits:${PMI_SIZE:-${OMPI_COMM_WORLD_SIZE:-?}}"']
_RANK = """
from rnnlimits.base.errors import StudyError
from rnnlimits.ranks import parallel
try:
    parallel.require_mpi()
    print(f"rnnlimits:{parallel.world().size}", flush=True)
except StudyError as error:
    print(f"rnnlimits:{error}", flush=True)
"""


def require_found(variables: Mapping[str, str]) -> str:
    """The path of mpiexec. Raises StudyError if PATH has none."""
    path = shutil.which("mpiexec", path=variables["PATH"])
    if path is None:
        raise StudyError(f"mpiexec: not found on PATH; {INSTALL}")
    return path


def require(variables: Mapping[str, str]) -> str:
    """The path of mpiexec, which has started two ranks for a trial.

    variables: the environment of the jobs. Raises StudyError if there is none, if it does not start them in time, or
    if it belongs to another MPI than this Python's.
    """
    path = require_found(variables)
    beside = Path(path).parent == Path(sys.executable).parent  # it comes with the library
    program = _LAUNCHED if beside else [sys.executable, "-P", "-c", _RANK]
    for _ in range(ATTEMPTS):
        said, complaint = _tried([path, "-n", "2", *program], variables)
        answers = [line.removeprefix("rnnlimits:") for line in said.splitlines() if line.startswith("rnnlimits:")]
        if answers == ["2", "2"]:
            return path
        if answers or complaint:
            break
    reason = next((one for one in answers if not one.isdigit()), complaint or f"it started {len(answers)} of 2")
    raise StudyError(
        f"{path}: cannot start ranks of this Python's MPI: {reason}; put the mpiexec of that MPI first on PATH, "
        f"or {INSTALL}"
    )


def _tried(command: list[str], variables: Mapping[str, str]) -> tuple[str, str]:
    """What a command printed on stdout, and its complaint: the last line of stderr, or that it took too long."""
    pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    try:
        child = subprocess.Popen(command, env=variables, errors="replace", process_group=0, **pipes)  # type: ignore[call-overload]
    except OSError as error:
        return "", f"cannot be started ({error.strerror})"
    with child:
        try:
            out, complaint = child.communicate(timeout=SECONDS)
        except BaseException as error:
            with suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
            if isinstance(error, subprocess.TimeoutExpired):
                return "", f"no sign of life in {SECONDS:.0f} s"
            raise
    return out, next((line for line in reversed(complaint.splitlines()) if any(map(str.isalpha, line))), "").strip()
