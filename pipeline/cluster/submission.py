"""Description of a job for Snakemake and Slurm: resources, the start of its ranks, and the resulting sbatch line."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from rnnlimits.base.errors import StudyError
from rnnlimits.base.tables import duration, table
from rnnlimits.base.textfiles import read_utf8
from rnnlimits.base.variables import MPI_START
from rnnlimits.cluster.jobs import Job, jobs, megabytes_per_core, minutes
from rnnlimits.cluster.site import FILE, Site, load, suited
from rnnlimits.plan.parts import Experiment, Operation
from rnnlimits.study.text import parse

# Snakemake writes paths into the script of a job in quotes, which these characters would end or have expanded.
_READ_BY_A_SHELL = re.compile(r"['\"`$\\\x00-\x1f\x7f]")

Resource = int | str | Callable[..., int]

SPEEDS: dict[Operation, tuple[str, str]] = {  # units, and which key of a site says it
    "unit-steps": ("unit-steps/s", "speed; rnnlimits doctor measures it on a node"),
    "flop": ("flop/s", "flops, or else speed; logs of jobs show the speed reached"),
}
ANALYSIS_MINUTES = 20  # asked for by the job of limit, poisson, rates, figures and report
ANALYSIS_SECONDS = 5  # and for each cell; demo.yaml takes 1
ANALYSIS_MEGABYTES = 1500
# The executor plugin removes nearly all SLURM variables from a job, so the hosts are looked up by the job's number.
_HOSTS = '"$(scontrol show hostnames "$(squeue -h -j "$SLURM_JOB_ID" -o %N)" | paste -sd, -)"'


def resources(job: Job, site: Site) -> dict[str, Resource]:
    """The resources of the job's Snakemake rule; time and memory, which may be too small, grow with each attempt."""
    values: dict[str, Resource] = {
        "nodes": job.nodes,
        "runtime": lambda wildcards, attempt: minutes(job, site, attempt),
        "mem_mb_per_cpu": lambda wildcards, attempt: megabytes_per_core(job, site, attempt),
        "slurm_extra": f"--signal=USR1@{site.warning}",
    }
    if site.gpus:
        values["gres"] = f"gpu:{job.ranks_per_node}"
    if job.ranks > 1:
        values["mpi"] = "mpiexec" if site.launch == "mpiexec" else "srun"
        # For one rank on each of several nodes the executor plugin only accepts their sum.
        values |= {"tasks": job.ranks} if job.ranks_per_node == 1 else {"tasks_per_node": job.ranks_per_node}
        if site.gpus and job.ranks_per_node == 1:  # otherwise it would take the sum as the number for each GPU
            values["tasks_per_gpu"] = 1
    return values


def require_plain(*paths: Path) -> None:
    """Raises StudyError if a path that is passed to jobs contains a character with a meaning in the shell."""
    for path in (Path.cwd(), *paths):
        if match := _READ_BY_A_SHELL.search(str(path)):
            line = f"{str(path)!r}: has {match[0]!r}, which the job's shell would interpret; rename the folder"
            raise StudyError(line)


def analysis_resources(experiment: Experiment, site: Site) -> dict[str, Resource]:
    """Resources of the job of all serial stages: time from the number of cells, memory from what is read at a time."""
    cells = sum(len(part.ensembles) for part in experiment.packs())
    held = experiment.held_bytes()
    megabytes = math.ceil(ANALYSIS_MEGABYTES + 3e-6 * held)
    most = site.megabytes_per_rank * site.ranks_per_node
    expected_minutes = ANALYSIS_MINUTES + math.ceil(cells * ANALYSIS_SECONDS / 60)
    return {
        "runtime": lambda wildcards, attempt: min(site.longest, expected_minutes * attempt),
        "mem_mb_per_cpu": lambda wildcards, attempt: min(most, megabytes * attempt),
    }


def launcher(job: Job, site: Site) -> str:
    """The words before `python` in the job's shell that start its ranks.

    A single rank needs no launcher, and must not take itself for a rank of the step that runs the job's shell.

    Every number is repeated: a plain srun does not see the job's own numbers and would start one rank on each node.
    """
    if job.ranks == 1:
        return f"env {' '.join(f'-u {name}' for name in MPI_START)} "
    if site.launch == "mpiexec":
        return f"mpiexec -launcher slurm -hosts {_HOSTS} -n {job.ranks} -ppn {job.ranks_per_node} "
    words = [
        f"srun --mpi={site.launch.removeprefix('srun-')} --kill-on-bad-exit=1 --nodes={job.nodes}",
        f"--ntasks={job.ranks} --ntasks-per-node={job.ranks_per_node} --cpus-per-task={site.cores_per_rank}",
    ]
    if site.gpus:
        words.append(f"--gres=gpu:{job.ranks_per_node}")
    return " ".join(words) + " "


# --- the line that the executor plugin will submit --------------------------------------------------------------


@dataclass(frozen=True)
class Profile:
    """A profile's folder: the defaults of all jobs from its config.yaml, the folder of their output, and its site."""

    folder: Path
    defaults: Mapping[str, object]
    requeue: bool
    logs: Path
    site: Site


def profile(folder: Path) -> Profile:
    """Read a profile's folder. Raises StudyError: no such folder, no config.yaml, no site.yaml, either unreadable."""
    path = folder / "config.yaml"
    raw = parse(read_utf8(path, f"give a folder with config.yaml and {FILE}, such as cluster/slurm"), str(path))
    if not isinstance(raw, dict):
        raise StudyError(f"{path}: is not a Snakemake profile; allowed: options of Snakemake as keys and values")
    logs = Path(str(raw.get("slurm-logdir", ".snakemake/slurm_logs")))
    return Profile(folder, dict(_defaults(path, raw)), raw.get("slurm-requeue") is True, logs, load(folder))


def _defaults(path: Path, raw: Mapping[str, Any]) -> Iterator[tuple[str, object]]:
    """Names and values of default-resources: a mapping, or a list of name=value."""
    entries = raw.get("default-resources") or {}
    pairs = entries.items() if isinstance(entries, dict) else (str(entry).partition("=")[::2] for entry in entries)
    for name, value in pairs:
        text = str(value).strip("'\"")
        yield str(name), int(text) if text.isdecimal() and not str(name).startswith("slurm_") else text


class _Resources(dict[str, Any]):
    """Resources as the plugin reads them: by key, and as attributes."""

    __getattr__ = dict.__getitem__


def sbatch_line(job: Job, using: Profile) -> str:
    """The executor plugin's submission of a job, without the script: RUN and LOG stand for values that differ by run.

    Raises StudyError where the plugin is not installed.
    """
    try:
        from snakemake_executor_plugin_slurm.submit_string import get_submit_command
        from snakemake_executor_plugin_slurm.utils import set_gres_string
    except ImportError as error:
        line = "the Slurm executor of Snakemake is not installed; run: python -m pip install 'rnnlimits[slurm]'"
        raise StudyError(line) from error
    per_job = {name: value(None, 1) if callable(value) else value for name, value in resources(job, using.site).items()}
    request = SimpleNamespace(resources=_Resources({**using.defaults, **per_job}), threads=using.site.cores_per_rank)
    account, partition = (using.defaults.get(f"slurm_{what}") for what in ("account", "partition"))
    params = {
        "run_uuid": "RUN",
        "slurm_logfile": "LOG",
        "comment_str": f"rule_{rule_name(job)}",
        "account": f"-A {account}" if account else "",
        "partition": f"-p {partition}" if partition else "",
        "workdir": None,
    }
    settings = SimpleNamespace(requeue=using.requeue, no_requeue=False, qos=None, reservation=None)
    return " ".join((get_submit_command(request, params, settings) + set_gres_string(request)).split())


def rule_name(job: Job) -> str:
    """The job's Snakemake rule: job_draw_to_N00064_K00064."""
    return "job_" + job.name.replace("..", "_to_").replace("-", "_")


# --- a page about all jobs --------------------------------------------------------------------------------------


def report(experiment: Experiment, using: Profile) -> str:
    """A printable table of the jobs, what they cost together, and their sbatch lines."""
    using = replace(using, site=suited(using.site, experiment))
    every = jobs(experiment, using.site)
    hours = sum(job.rank_hours for job in every)
    useful = sum(job.work for job in every) / 3600
    worker = "GPU" if using.site.gpus else "core"
    rows = [_row(job, using.site) for job in every]
    header = ("job", "parts", "nodes x ranks", "expected", "asked for", "MB/core", f"{worker}-hours")
    total = ("all jobs", str(sum(len(job.parts) for job in every)), "", "", "", "", f"{hours:.3g}")
    return "\n".join(
        [
            *table(header, [*rows, total]),
            f"{len(every)} {'job' if len(every) == 1 else 'jobs'} and one of the serial stages; {useful:.3g} "
            f"{worker}-hours of work at {_speed(experiment, using.site)}",
            "",
            *(sbatch_line(job, using) for job in every),
        ]
    )


def _speed(experiment: Experiment, site: Site) -> str:
    operation, precision = experiment.operation, experiment.study.precision
    words = SPEEDS[operation]
    return f"{site.per_second(operation, precision):.3g} {words[0]} per rank ({site.source}: {words[1]})"


def _row(job: Job, site: Site) -> tuple[str, ...]:
    return (
        job.name,
        str(len(job.parts)),
        f"{job.nodes} x {job.ranks_per_node}",
        duration(job.seconds),
        f"{minutes(job, site)} min",
        str(megabytes_per_core(job, site)),
        f"{job.rank_hours:.3g}",
    )
