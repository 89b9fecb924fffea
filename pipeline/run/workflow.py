"""The whole study through Snakemake, as `rnnlimits run`."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from itertools import pairwise
from pathlib import Path

from rich.console import Console

from rnnlimits import experiments
from rnnlimits.base import segments
from rnnlimits.base.errors import REFUSALS, StudyError
from rnnlimits.base.locks import exclusive, sign
from rnnlimits.cluster import endings, leftovers, submission
from rnnlimits.files import durable
from rnnlimits.kernels import cache, gpu_count, preferred, processor, require_known
from rnnlimits.kernels.interface import KernelError
from rnnlimits.plan import due
from rnnlimits.plan.copies import copy_of
from rnnlimits.plan.parts import Experiment
from rnnlimits.run import environment, launched, mpiexec, rules, sharing, shipped, words
from rnnlimits.run.continuing import require_same_backend
from rnnlimits.run.live import shown
from rnnlimits.study import AnyStudy

LOG_LINES = 12
REST_SECONDS = 5.0  # for the last output of jobs; those of a Snakemake that was killed may go on for hours
DRY = {"-n", "--dry-run", "--dryrun"}
RECORDS = ".snakemake"
SNAKEMAKE = (sys.executable, "-P", "-m", "snakemake")  # -P: not a snakemake.py of the working folder
# What jobs share, which by default includes copies of the sources of the workflow in the home folder.
SHARED = ("persistence", "input-output", "software-deployment", "sources", "storage-local-copies")
WITHOUT_HOME = ("--shared-fs-usage", *SHARED)


def run(
    study: AnyStudy,
    path: Path,
    results: Path,
    cores: int | None,
    further: Sequence[str],
    backend: str = "auto",
    targets: Sequence[str] = (),
    told: bool = False,
) -> int:
    """Run every stage that is not up to date; returns the exit code: 0, 1 for a defect, 2 if a stage refused its input.

    targets: names of rules, if not every stage is to be run. told: the user knows already that files are made again.
    Raises StudyError before anything starts: a study that fails its checks, no mpiexec, results folder in use; and
    KernelError: unknown back end, no GPU for "cuda".
    """
    require_known(backend)
    backend = study.backend_for(backend, lambda line: print(line, file=sys.stderr))
    cores = cores or gpu_ranks(backend, elsewhere=bool(further))
    experiment = experiments.of(study, results)
    experiment.checks()
    layout = experiment.layout
    words.require_readable(path, results)
    relative_results(results)
    command = [*SNAKEMAKE, *targets, "--snakefile", str(shipped.SNAKEFILE), "--configfile", words.as_file(path)]
    command += ["--cores", str(cores) if cores else "all", "--config", f"results={words.encoded(results)}"]
    command += [f"backend={backend}", "--quiet", "all", *WITHOUT_HOME]
    segments.require_room(cores or len(os.sched_getaffinity(0)))
    mpiexec.require(environment.of_jobs())
    with exclusive(layout.locks, "run") as lock, cache_for_all():
        if not further:  # which may send jobs to other machines, or ask for one part
            require_backend(experiment, backend)
            if not targets:
                at = command.index("--quiet")
                command[at:at] = [f"{key}={words.encoded(names)}" for key, names in _begun(experiment, told).items()]
                told = True
        return _guarded([*command, *further], lock, experiment, environment.of_jobs(), told)


def _begun(experiment: Experiment, told: bool) -> dict[str, str]:
    """What one start of the ranks and one process will do; study.yaml is written. told: what is stale is not announced.

    Raises StudyError for a working folder, or results, that the workflow could not use.
    """
    found = rules.of_one_start(experiment)
    require_working_folder()
    require_no_dangling_links(experiment)
    if not told:
        announce(experiment)
    write_copy(experiment)
    return found


def write_copy(experiment: Experiment) -> None:
    """Write study.yaml where it does not have the study's text, as its rule would: it takes a process of its own.

    One that is write-protected is left to the rule, which is refused.
    """
    path, root = experiment.layout.study_yaml, experiment.layout.root
    if due.copy_fault(experiment) is not None and not sharing.protected([path]):
        durable.require_folder(path)
        durable.write_bytes(path, copy_of(experiment.study, root).encode())


def require_backend(experiment: Experiment, backend: str) -> None:
    """Refuse once, before any stage does, a back end that does not exist here or has not begun the study.

    Raises KernelError and StudyError.
    """
    processor(backend)  # stages on a GPU use it, too
    if backend == "auto":
        require_same_backend(experiment, preferred(backend))


def submit(
    study: AnyStudy, path: Path, results: Path, profile: Path, further: Sequence[str], backend: str = "auto"
) -> int:
    """Run every stage that is not up to date in jobs of a Slurm cluster; profile: a folder such as cluster/slurm.

    Jobs that a killed run left behind are cancelled first; their results are kept, and the run resumes from them.
    Exit codes and errors as for `run`; StudyError also if Slurm does not answer.
    """
    submission.require_plain(path, results, profile)
    words.require_readable(path, results)
    backend = study.backend_for(backend, lambda line: print(line, file=sys.stderr))
    require_home()
    experiment = experiments.of(study, results)
    experiment.checks()
    layout = experiment.layout
    prefix = leftovers.prefix(layout.root)
    command = [*SNAKEMAKE, "--snakefile", str(shipped.SNAKEFILE), "--configfile", words.as_file(path)]
    command += ["--profile", str(profile), "--slurm-jobname-prefix", prefix]
    command += ["--config", f"results={words.encoded(results)}", f"site={words.encoded(profile)}"]
    command.append(f"backend={backend}")
    variables = environment.of_jobs(cluster=True)
    mpiexec.require_found(variables)
    with exclusive(layout.locks, "run") as lock:
        leftovers.cancel(prefix, say=say)
        code = _guarded([*command, *further], lock, experiment, variables)
        with suppress(StudyError):  # the run has ended; only messages about it are missing
            for line in endings.told(prefix, submission.profile(profile).logs):
                say(line)
        return code


def say(line: str) -> None:
    """Write a line of `run` to stderr."""
    print(f"rnnlimits: {line}", file=sys.stderr)


def _guarded(
    command: Sequence[str], lock: int, experiment: Experiment, variables: Mapping[str, str], told: bool = False
) -> int:
    """Run Snakemake under our own lock, which unlike Snakemake's is released when a process is killed."""
    require_working_folder()
    require_no_dangling_links(experiment)
    locks = experiment.layout.locks
    # A workflow profile would only repeat these options, and is announced on every run.
    guard = [*colours(), "--nolock", "--rerun-incomplete", "--keep-going", "--workflow-profile", "none"]
    guard.append("--keep-incomplete")  # files of ours are complete or absent
    for stale in locks.glob("refusals-*"):  # of a run that was killed; the lock is ours
        with suppress(OSError):  # another user's, in a sticky folder
            stale.unlink()
    # In the results folder, as jobs on other nodes see it too.
    with tempfile.NamedTemporaryFile("r", dir=locks, prefix="refusals-", encoding="utf-8") as refusals:
        if not told:
            announce(experiment)
        files = [] if is_dry(command) else list(sharing.outputs(experiment, Path(RECORDS)))
        sharing.adopt(files)
        variables = {**variables, REFUSALS: str(Path(refusals.name).resolve())}
        code = supervise([*command, *guard], lock, variables, None if is_dry(command) else experiment)
        if code != 0 and refusals.read():
            return 2
    if code > 0 and (fixed := sharing.protected(files)):
        raise StudyError(f"{fixed[0]}: cannot be written; make it writable (chmod u+w), or choose another --results")
    if code > 0:
        show_log([*command, *guard])
    return code


def is_dry(words: Sequence[str]) -> bool:
    """Whether Snakemake is asked only to say what it would do."""
    return not DRY.isdisjoint(words)


def require_home() -> None:
    """Raises StudyError if Snakemake cannot copy the sources of the workflow to the cache, where its jobs find them."""
    base = cache.user_folder()
    if base is None or cache.checked(base / "snakemake", "XDG_CACHE_HOME")[0] is None:
        advice = "set XDG_CACHE_HOME to a folder that all nodes see and that can be written"
        raise StudyError(f"{base or 'HOME'}: cannot be written, and jobs find the workflow's sources there; {advice}")


def require_working_folder() -> None:
    """Raises StudyError if Snakemake cannot keep its records in the working folder."""
    try:
        records = Path.cwd() / RECORDS
    except OSError as error:
        raise StudyError(f"working folder: does not exist any more ({error.strerror}); change to another") from error
    place = records if records.exists() else records.parent
    if not (place.is_dir() and os.access(place, os.W_OK | os.X_OK)):
        advice = f"start in another folder, or move {RECORDS} away (--results may lie anywhere)"
        raise StudyError(f"{place}: cannot be written, and Snakemake keeps its records there; {advice}")


def require_no_dangling_links(experiment: Experiment) -> None:
    """Raises StudyError for a result that is a link to nothing, on which Snakemake fails: its disk may be missing."""
    for path in sorted(due.known_files(experiment)):
        if path.is_symlink() and not path.exists():
            where = os.readlink(path)
            raise StudyError(f"{path}: is a link to {where}, which is missing; bring that back, or delete the link")


@contextmanager
def cache_for_all() -> Iterator[None]:
    """One temporary folder of compiled kernels for all stages of a run, where the user's cannot be used."""
    place, reason = cache.usable()
    if place is not None or cache.is_filled():
        yield
        return
    say(f"warning: {reason}")
    with tempfile.TemporaryDirectory(prefix="rnnlimits-") as folder:
        before = os.environ.get(cache.VARIABLE)
        os.environ[cache.VARIABLE] = folder
        try:
            yield
        finally:
            os.environ.pop(cache.VARIABLE)
            os.environ.update({} if before is None else {cache.VARIABLE: before})


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


def announce(experiment: Experiment) -> None:
    """Say in one line which existing files are not those of the study: made again, or only completed."""
    wrong = due.stale(experiment)
    derived = {path for step in experiment.steps() for path in step.paths} | {experiment.layout.study_yaml}
    if grown := [fault for fault in wrong if fault.grown]:
        grown.sort(key=lambda fault: "replicas" not in fault.words)  # before the twins that go with them
        say(f"{_first(grown)}; those that are finished are kept, and what is computed from all of them is made again")
        wrong = [fault for fault in wrong if not fault.grown and fault.path not in derived]
    if wrong:
        say(f"{_first(wrong)}; what differs from {experiment.study.source} is made again")


def _first(wrong: Sequence[due.Fault]) -> str:
    return f"{wrong[0]}" + (f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else "")


def supervise(command: Sequence[str], lock: int, variables: Mapping[str, str], of: Experiment | None = None) -> int:
    """Run a command that keeps `lock` open, and interrupt it and all its jobs if this process is asked to end.

    variables: the command's environment. of: the study of which a live line is shown on a terminal.
    Raises KeyboardInterrupt, once the command has ended, after an interrupt, a SIGTERM or the terminal's end.
    """
    # A separate process group, so that the signal reaches the jobs too, exactly once, whoever sent it.
    console = Console(stderr=True, highlight=False)
    live = of is not None and console.is_terminal and not console.is_dumb_terminal
    stderr = subprocess.PIPE if live else None
    output = None if is_dry(command) else subprocess.PIPE  # what a dry run prints may have colours
    child = subprocess.Popen(command, env=variables, pass_fds=[lock], process_group=0, stdout=output, stderr=stderr)
    sign(lock, child.pid)
    received: list[int] = []
    forward = launched.forwarded(child.stdout.fileno(), lambda: bool(received)) if child.stdout else None

    def pass_on(number: int, _: object) -> None:
        if not received:
            say("stopping")
        received.append(number)
        with suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGINT)

    handlers = {number: signal.signal(number, pass_on) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        with shown(child.stderr, of, console) if live and of and child.stderr else nullcontext():
            code = child.wait()
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        if forward is not None and child.stdout is not None:
            forward.join(REST_SECONDS)
            if not forward.is_alive():
                child.stdout.close()
    if received:
        raise KeyboardInterrupt
    return code


def _asked_again(command: Sequence[str]) -> list[str]:
    """What Snakemake says of a failure before any job has started, which --quiet keeps from its log."""
    at = command.index("--quiet")
    plain = [*command[:at], *command[at + 2 :], "--dry-run"]
    done = subprocess.run(plain, capture_output=True, text=True, errors="replace", check=False)
    return [] if done.returncode == 0 else done.stderr.splitlines()[-LOG_LINES:]


def show_log(command: Sequence[str]) -> None:
    """Print the end of Snakemake's own log, with its messages about a failure that no stage explained."""
    logs = sorted(Path(RECORDS, "log").glob("*.log"), key=lambda log: log.stat().st_mtime)
    if logs:
        text = logs[-1].read_text(encoding="utf-8", errors="replace")
        lines = text.splitlines()[-LOG_LINES:] or _asked_again(command)
        print(*lines, f"rnnlimits: Snakemake failed; its whole log is {logs[-1]}", sep="\n", file=sys.stderr)


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
