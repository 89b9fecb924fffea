"""The whole study through Snakemake, as `rnnlimits run`."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

from rnnlimits import experiments
from rnnlimits.base.errors import REFUSALS, StudyError
from rnnlimits.base.locks import exclusive, sign
from rnnlimits.base.variables import BACKEND
from rnnlimits.cluster import endings, leftovers, submission
from rnnlimits.kernels import gpu_count, require_known
from rnnlimits.kernels.interface import KernelError
from rnnlimits.plan.parts import Experiment, Part, ensembles
from rnnlimits.run import shipped
from rnnlimits.study import AnyStudy

LOG_LINES = 12


def run(
    study: AnyStudy, path: Path, results: Path, cores: int | None, further: Sequence[str], backend: str = "auto"
) -> int:
    """Run every stage that is not up to date; returns the exit code: 0, 1 for a defect, 2 if a stage refused its input.

    Raises StudyError before anything starts: a study that fails its checks, no mpiexec, results folder in use; and
    KernelError: unknown back end, no GPU for "cuda".
    """
    require_known(backend)
    cores = cores or gpu_ranks(backend, elsewhere=bool(further))
    experiment = experiments.of(study, results)
    experiment.checks()
    layout = experiment.layout
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(shipped.SNAKEFILE), "--configfile", str(path)]
    command += ["--cores", str(cores) if cores else "all", "--config", f"results={json.dumps(str(results))}"]
    command += [f"backend={backend}", "--quiet", "all"]
    with exclusive(layout.locks, "run") as lock:
        return _guarded([*command, *further], lock, experiment)


def submit(
    study: AnyStudy, path: Path, results: Path, profile: Path, further: Sequence[str], backend: str = "auto"
) -> int:
    """Run every stage that is not up to date in jobs of a Slurm cluster; profile: a folder such as cluster/slurm.

    Jobs that a killed run left behind are cancelled first: what they have done is kept, and is gone on with.
    Exit codes and errors as for `run`; StudyError also where Slurm cannot be asked.
    """
    submission.require_plain(path, results, profile)
    experiment = experiments.of(study, results)
    experiment.checks()
    layout = experiment.layout
    prefix = leftovers.prefix(layout.root)
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(shipped.SNAKEFILE), "--configfile", str(path)]
    command += ["--profile", str(profile), "--slurm-jobname-prefix", prefix]
    command += ["--config", f"results={json.dumps(str(results))}", f"site={json.dumps(str(profile))}"]
    command.append(f"backend={backend}")
    with exclusive(layout.locks, "run") as lock:
        leftovers.cancel(prefix, say=_say)
        code = _guarded([*command, *further], lock, experiment)
        with suppress(StudyError):  # the run has ended; only words about it are missing
            for line in endings.told(prefix, submission.profile(profile).logs):
                _say(line)
        return code


def _say(line: str) -> None:
    print(f"rnnlimits: {line}", file=sys.stderr)


def _guarded(command: Sequence[str], lock: int, experiment: Experiment) -> int:
    """Run Snakemake under our own lock, which unlike Snakemake's ends with a process that is killed."""
    os.environ.update(environment())
    require_mpiexec()
    locks = experiment.layout.locks
    # A workflow profile would only say the same, and is announced on every run.
    guard = [*colours(), "--nolock", "--rerun-incomplete", "--keep-going", "--workflow-profile", "none"]
    for stale in locks.glob("refusals-*"):  # of a run that was killed; the lock is ours
        stale.unlink(missing_ok=True)
    # In the results folder, which jobs on other nodes see as well.
    with tempfile.NamedTemporaryFile("r", dir=locks, prefix="refusals-") as refusals:
        forget_broken_ensembles(experiment)
        os.environ[REFUSALS] = str(Path(refusals.name).resolve())
        code = supervise([*command, *guard], lock)
        if code != 0 and refusals.read():
            return 2
    if code > 0:
        show_log()
    return code


def colours() -> list[str]:
    """What tells Snakemake that NO_COLOR is set (no-color.org)."""
    return ["--nocolor"] if os.environ.get("NO_COLOR") else []


def gpu_ranks(backend: str, elsewhere: bool = False) -> int | None:
    """One rank for each GPU of this machine if the stages will use them, else None: one for each core.

    elsewhere: Snakemake was given options, which may send jobs to machines that have a GPU.
    Raises KernelError if GPUs are asked for and there is none.
    """
    try:
        return gpu_count(backend) or None
    except KernelError:
        if elsewhere:
            return None
        raise


def forget_broken_ensembles(experiment: Experiment) -> None:
    """Remove ensembles that miss a shard: they hold no values, and Snakemake would think them up to date."""
    for ensemble in ensembles(experiment.parts()):
        missing = [block.path for block in ensemble.blocks if not block.path.exists()]
        if missing and ensemble.is_virtual and ensemble.output.path.exists():
            print(f"{missing[0]}: is missing; it is made again", file=sys.stderr)
            ensemble.output.path.unlink()


def supervise(command: Sequence[str], lock: int) -> int:
    """Run a command that keeps `lock` open, and interrupt it and all its jobs if we are asked to end.

    Raises KeyboardInterrupt, once the command has ended, after an interrupt, a SIGTERM or the terminal's end.
    """
    # A process group of its own: then the signal reaches the jobs as well, once, whoever sent it to us.
    child = subprocess.Popen(command, pass_fds=[lock], process_group=0)
    sign(lock, child.pid)
    received: list[int] = []

    def pass_on(number: int, _: object) -> None:
        if not received:
            print("rnnlimits: stopping; MPI may call it a bad termination, which it is not", file=sys.stderr)
        received.append(number)
        with suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGINT)

    kept = {number: signal.signal(number, pass_on) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        code = child.wait()
    finally:
        for number, handler in kept.items():
            signal.signal(number, handler)
    if received:
        raise KeyboardInterrupt
    return code


def show_log() -> None:
    """The end of Snakemake's own log: what it says of a failure that no stage explained."""
    logs = sorted(Path(".snakemake/log").glob("*.log"), key=lambda log: log.stat().st_mtime)
    if logs:
        lines = logs[-1].read_text(errors="replace").splitlines()[-LOG_LINES:]
        print(*lines, f"rnnlimits: Snakemake failed; its whole log is {logs[-1]}", sep="\n", file=sys.stderr)


def environment(backend: str | None = None) -> dict[str, str]:
    """Variables under which jobs find this Python, its mpiexec, and a clone of this package also from elsewhere.

    backend: what the jobs are to take, if that is not left to them.
    """
    ours = str(Path(sys.executable).parent)
    found = {"PATH": os.pathsep.join([ours, os.environ.get("PATH", "")])}
    if shipped.IS_CLONE:  # this Python finds what is installed, and must not see all that lies next to that
        others = os.environ.get("PYTHONPATH", "")
        found["PYTHONPATH"] = os.pathsep.join([str(shipped.PACKAGE.parent), others]).rstrip(os.pathsep)
    return {**found, **({BACKEND: backend} if backend else {})}


def relative_results(folder: object) -> str:
    """The results folder as seen from here, so that a file is the same however its path was spelled.

    Raises StudyError for braces, which Snakemake reads as wildcards.
    """
    relative = os.path.relpath(str(folder))
    if found := next((letter for letter in relative if letter in "{}"), None):
        raise StudyError(
            f"results folder {str(folder)!r}: has {found!r}, which Snakemake reads as a wildcard; rename it"
        )
    return relative


def require_site(site: object | None) -> None:
    """Raises StudyError if Snakemake was told to submit jobs, but not of what size."""
    slurm = any(word == "--executor=slurm" for word in sys.argv) or any(
        pair == ("--executor", "slurm") or pair == ("-e", "slurm") for pair in pairwise(sys.argv)
    )
    if slurm and site is None:
        raise StudyError("config: site is missing; with --executor slurm add: --config site=cluster/slurm")


def require_mpiexec() -> None:
    """Raises StudyError if there is no mpiexec on PATH."""
    if shutil.which("mpiexec") is None:
        raise StudyError("mpiexec: not found on PATH; install MPI, for instance with: python -m pip install mpich")


# --- rules -----------------------------------------------------------------------------------------------------


def part_command(part: Part) -> str:
    """The words after `rnnlimits` in the rule of a part, with the rule's params in braces."""
    if part.command == "work":
        return "work {params.study:q} {params.part:q}"
    option = f" --{part.option[0]} {{params.{part.option[0]}}}" if part.option else ""
    return f"{part.command} {{params.study:q}}{option}"


def part_params(part: Part) -> dict[str, object]:
    """Params of the rule of a part besides the study: what its command names, and the identity."""
    named = {"part": part.name} if part.command == "work" else dict([part.option] if part.option else [])
    identity = part.identity
    # Snakemake compares params as text, and results that exist have a list of cells here.
    if isinstance(identity, tuple) and all(isinstance(cell, tuple) for cell in identity):
        identity = list(identity)
    return {**named, "identity": identity}
