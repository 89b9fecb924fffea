"""The whole study through Snakemake, as `rnnlimits run`."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

from rnnlimits import experiments
from rnnlimits.base import surroundings
from rnnlimits.base.errors import REFUSALS, StudyError
from rnnlimits.base.locks import exclusive, sign
from rnnlimits.base.variables import BACKEND
from rnnlimits.cluster import endings, leftovers, submission
from rnnlimits.kernels import gpu_count, require_known
from rnnlimits.kernels.interface import KernelError
from rnnlimits.plan.parts import Experiment, Part, ensembles
from rnnlimits.run import mpiexec, shipped, words
from rnnlimits.study import AnyStudy

LOG_LINES = 12
SNAKEMAKE = (sys.executable, "-P", "-m", "snakemake")  # -P: not a snakemake.py of the working folder


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
    words.require_readable(path, results)
    relative_results(results)
    command = [*SNAKEMAKE, "--snakefile", str(shipped.SNAKEFILE), "--configfile", words.as_file(path)]
    command += ["--cores", str(cores) if cores else "all", "--config", f"results={words.encoded(results)}"]
    command += [f"backend={backend}", "--quiet", "all"]
    variables = environment()
    mpiexec.require(variables)
    with exclusive(layout.locks, "run") as lock:
        return _guarded([*command, *further], lock, experiment, variables)


def submit(
    study: AnyStudy, path: Path, results: Path, profile: Path, further: Sequence[str], backend: str = "auto"
) -> int:
    """Run every stage that is not up to date in jobs of a Slurm cluster; profile: a folder such as cluster/slurm.

    Jobs that a killed run left behind are cancelled first; their results are kept, and the run resumes from them.
    Exit codes and errors as for `run`; StudyError also if Slurm does not answer.
    """
    submission.require_plain(path, results, profile)
    words.require_readable(path, results)
    experiment = experiments.of(study, results)
    experiment.checks()
    layout = experiment.layout
    prefix = leftovers.prefix(layout.root)
    command = [*SNAKEMAKE, "--snakefile", str(shipped.SNAKEFILE), "--configfile", words.as_file(path)]
    command += ["--profile", str(profile), "--slurm-jobname-prefix", prefix]
    command += ["--config", f"results={words.encoded(results)}", f"site={words.encoded(profile)}"]
    command.append(f"backend={backend}")
    variables = environment(cluster=True)
    mpiexec.require_found(variables)
    with exclusive(layout.locks, "run") as lock:
        leftovers.cancel(prefix, say=_say)
        code = _guarded([*command, *further], lock, experiment, variables)
        with suppress(StudyError):  # the run has ended; only messages about it are missing
            for line in endings.told(prefix, submission.profile(profile).logs):
                _say(line)
        return code


def _say(line: str) -> None:
    print(f"rnnlimits: {line}", file=sys.stderr)


def _guarded(command: Sequence[str], lock: int, experiment: Experiment, variables: Mapping[str, str]) -> int:
    """Run Snakemake under our own lock, which unlike Snakemake's is released when a process is killed."""
    locks = experiment.layout.locks
    # A workflow profile would only repeat these options, and is announced on every run.
    guard = [*colours(), "--nolock", "--rerun-incomplete", "--keep-going", "--workflow-profile", "none"]
    for stale in locks.glob("refusals-*"):  # of a run that was killed; the lock is ours
        stale.unlink(missing_ok=True)
    # In the results folder, as jobs on other nodes see it too.
    with tempfile.NamedTemporaryFile("r", dir=locks, prefix="refusals-", encoding="utf-8") as refusals:
        forget_broken_ensembles(experiment)
        code = supervise([*command, *guard], lock, {**variables, REFUSALS: str(Path(refusals.name).resolve())})
        if code != 0 and refusals.read():
            return 2
    if code > 0:
        show_log()
    return code


def colours() -> list[str]:
    """The options that pass NO_COLOR (no-color.org) to Snakemake."""
    return ["--nocolor"] if os.environ.get("NO_COLOR") else []


def gpu_ranks(backend: str, elsewhere: bool = False) -> int | None:
    """One rank for each GPU of this machine if the stages will use them, else None: one for each core.

    elsewhere: Snakemake was given options, which may send jobs to other machines with a GPU.
    Raises KernelError if GPUs are requested and none exists.
    """
    try:
        return gpu_count(backend) or None
    except KernelError:
        if elsewhere:
            return None
        raise


def forget_broken_ensembles(experiment: Experiment) -> None:
    """Remove ensembles that lack a shard: they contain no values, but Snakemake would consider them up to date."""
    for ensemble in ensembles(experiment.parts()):
        missing = [block.path for block in ensemble.blocks if not block.path.exists()]
        if missing and ensemble.is_virtual and ensemble.output.path.exists():
            print(f"{missing[0]}: is missing; it is rebuilt", file=sys.stderr)
            ensemble.output.path.unlink()


def supervise(command: Sequence[str], lock: int, variables: Mapping[str, str]) -> int:
    """Run a command that keeps `lock` open, and interrupt it and all its jobs if this process is asked to end.

    variables: the command's environment.
    Raises KeyboardInterrupt, once the command has ended, after an interrupt, a SIGTERM or the terminal's end.
    """
    # A separate process group, so that the signal reaches the jobs too, exactly once, whoever sent it.
    child = subprocess.Popen(command, env=variables, pass_fds=[lock], process_group=0)
    sign(lock, child.pid)
    received: list[int] = []

    def pass_on(number: int, _: object) -> None:
        if not received:
            print("rnnlimits: stopping; MPI may call it a bad termination, which it is not", file=sys.stderr)
        received.append(number)
        with suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGINT)

    handlers = {number: signal.signal(number, pass_on) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        code = child.wait()
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    if received:
        raise KeyboardInterrupt
    return code


def show_log() -> None:
    """Print the end of Snakemake's own log, with its messages about a failure that no stage explained."""
    logs = sorted(Path(".snakemake/log").glob("*.log"), key=lambda log: log.stat().st_mtime)
    if logs:
        lines = logs[-1].read_text(encoding="utf-8", errors="replace").splitlines()[-LOG_LINES:]
        print(*lines, f"rnnlimits: Snakemake failed; its whole log is {logs[-1]}", sep="\n", file=sys.stderr)


def environment(cluster: bool = False) -> dict[str, str]:
    """The whole environment of Snakemake and all that it starts.

    cluster: for jobs of Slurm, which need more of the caller's environment than ranks on this machine.
    """
    clean = surroundings.of_jobs(os.environ, cluster)
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


def relative_results(folder: object) -> str:
    """The results folder relative to the present folder, so that a file has one path however it was spelled.

    Raises StudyError for braces, which Snakemake reads as wildcards, and a dash at the start, as options have it.
    """
    relative = os.path.relpath(str(folder))
    if brace := next((letter for letter in relative if letter in "{}"), None):
        raise StudyError(
            f"results folder {str(folder)!r}: has {brace!r}, which Snakemake reads as a wildcard; rename it"
        )
    if relative.startswith("-"):
        raise StudyError(f"results folder {str(folder)!r}: starts with a dash, as options do; rename it")
    return relative


def require_site(site: object | None) -> None:
    """Raises StudyError if Snakemake is to submit jobs, but the site with their sizes is missing."""
    slurm = any(word == "--executor=slurm" for word in sys.argv) or any(
        pair == ("--executor", "slurm") or pair == ("-e", "slurm") for pair in pairwise(sys.argv)
    )
    if slurm and site is None:
        raise StudyError("config: site is missing; with --executor slurm add: --config site=cluster/slurm")


# --- rules -----------------------------------------------------------------------------------------------------


def part_command(part: Part) -> str:
    """The words after `rnnlimits` in the rule of a part, with the rule's params in braces."""
    if part.command == "work":
        return "work {params.study:q} {params.part:q}"
    option = f" --{part.option[0]} {{params.{part.option[0]}}}" if part.option else ""
    return f"{part.command} {{params.study:q}}{option}"


def part_params(part: Part) -> dict[str, object]:
    """Params of the rule of a part in addition to the study: the arguments of its command, and the identity."""
    arguments = {"part": part.name} if part.command == "work" else dict([part.option] if part.option else [])
    identity = part.identity
    # Snakemake compares params as text, and existing results have a list of cells here.
    if isinstance(identity, tuple) and all(isinstance(cell, tuple) for cell in identity):
        identity = list(identity)
    return {**arguments, "identity": identity}
