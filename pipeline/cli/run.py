"""The verb run: the whole workflow, on this machine or in jobs on a cluster."""

from __future__ import annotations

import argparse
import functools
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rnnlimits.base import launchers, surroundings
from rnnlimits.base.errors import StudyError
from rnnlimits.cli.words import (
    DEFAULT_RESULTS,
    PROFILES,
    QUANTITY,
    Verb,
    backend_option,
    chosen_backend,
    chosen_ranks,
    completed,
    cores_option,
    positive,
    results_option,
    say,
    study_argument,
)

if TYPE_CHECKING:
    from rnnlimits.study import AnyStudy


def _run(options: argparse.Namespace) -> None:
    from rnnlimits import experiments
    from rnnlimits.plan import due
    from rnnlimits.results.summary import summary
    from rnnlimits.run import workflow
    from rnnlimits.study import load_any

    launchers.require_alone("run", os.environ)
    _require_resolve(options)
    study = load_any(options.study)
    if options.resolve is not None:
        results = _run_adaptively(study, options)
        print(summary(experiments.of(study, results).layout.root))
        return
    if options.quick:
        print(summary(_run_quickly(study, options)))
        return
    if options.profile is not None:
        results, code = _run_on_cluster(study, options)
    else:
        results = options.results or DEFAULT_RESULTS
        code = workflow.run(study, options.study, results, options.cores, options.further, options.backend)
    if code != 0 or workflow.is_dry(options.further):
        raise SystemExit(code)
    experiment = experiments.of(study, results)
    due.require(experiment, experiment.layout.rates_h5)  # not so if Snakemake was given options, such as --until
    print(summary(experiment.layout.root))


def _require_resolve(options: argparse.Namespace) -> None:
    """Raises StudyError for options that need --resolve, or cannot be had with it."""
    if options.resolve is None:
        for name in ("quantity", "at_most"):
            if getattr(options, name) is not None:
                raise StudyError(f"--{name.replace('_', '-')}: needs --resolve, which chooses the replicas")
        return
    if options.quick:
        raise StudyError("--quick: is not for --resolve, which trains in rounds; leave out one of them")
    if options.profile is not None:
        raise StudyError(
            "--resolve: trains on this machine; for jobs of a cluster: rnnlimits plan STUDY --resolve HALF --write "
            "FILE, then rnnlimits run FILE --profile PROFILE"
        )
    if options.further:
        raise StudyError(
            f"--resolve: takes no arguments for Snakemake (found {' '.join(options.further)}); rnnlimits plan STUDY "
            "--resolve HALF says what it would train"
        )


def _run_adaptively(study: AnyStudy, options: argparse.Namespace) -> Path:
    """Train until the half-width of --resolve is reached; returns the results folder. Raises as adaptive.reach does."""
    from rnnlimits import experiments
    from rnnlimits.run import adaptive, workflow

    training, results = experiments.require_training(study, "replicas to resolve"), options.results or DEFAULT_RESULTS
    backend = functools.cache(lambda: chosen_backend(options, training))
    workers = chosen_ranks(options)

    def execute(study: AnyStudy, path: Path, targets: Sequence[str] = (), told: bool = False) -> None:
        code = workflow.run(study, path, results, options.cores, (), options.backend, targets, told)
        if code != 0:
            raise SystemExit(code)

    asked = adaptive.Asked(options.resolve, options.quantity or QUANTITY, options.at_most)
    machine = adaptive.Machine(execute, backend, workers, workflow.say)
    adaptive.reach(training, results, asked, machine)
    return results


def _run_quickly(study: AnyStudy, options: argparse.Namespace) -> Path:
    """Run in this process; returns the study's folder of results. Raises as quick.run does, and for other options."""
    given = {"--profile": options.profile, "--cores": options.cores, "--": options.further or None}
    if wrong := [name for name, value in given.items() if value is not None]:
        raise StudyError(f"--quick: computes in one process, on this machine; leave out {wrong[0]} or --quick")
    surroundings.leave_mpi()
    from rnnlimits.ranks import parallel
    from rnnlimits.run import quick
    from rnnlimits.run.order import Order

    parallel.start()
    results = options.results or DEFAULT_RESULTS
    quick.run(Order("run", options.study, results, options.backend, say))
    return results / study.name


def _run_on_cluster(study: AnyStudy, options: argparse.Namespace) -> tuple[Path, int]:
    """Run on a cluster; returns the results folder (the site's if none is given) and the exit code."""
    from rnnlimits.cluster import submission
    from rnnlimits.run import shipped, workflow

    if options.cores is not None:
        raise StudyError("--cores: is for work on this machine; with --profile, site.yaml sets the cores of jobs")
    using = submission.profile(shipped.profile(options.profile, say))
    results = options.results or Path(using.site.results)
    backend = options.backend if options.backend != "auto" else using.site.backend
    return results, workflow.submit(study, options.study, results, using.folder, options.further, backend)


def _arguments(parser: argparse.ArgumentParser) -> None:
    study_argument(parser)
    about = "a study of seconds in this process: no figures, no report"
    parser.add_argument("--quick", action="store_true", help=about)
    cores_option(parser)
    backend_option(parser)
    results_option(parser, None, f"folder of all results (default: {DEFAULT_RESULTS}, or the site's)")
    about = "submit jobs to Slurm with this profile: a folder, or one that ships (slurm, slurm-gpu)"
    completed(parser.add_argument("--profile", type=Path, metavar="PROFILE", help=about), PROFILES)
    resolve = parser.add_argument_group("until an exponent is known")
    about = "train as many replicas as give exponents this half-width"
    resolve.add_argument("--resolve", type=positive, metavar="HALF", help=about)
    resolve.add_argument("--quantity", metavar="NAME", help=f"whose exponents (default: {QUANTITY})")
    about = "hours of one core or GPU that all trainings may take"
    resolve.add_argument("--at-most", type=positive, metavar="HOURS", help=about)


RUN = Verb(
    "run",
    "run all parts of the workflow that are out of date",
    "rnnlimits run demo --cores 4",
    _run,
    _arguments,
    more="Arguments after -- are passed to Snakemake: rnnlimits run demo -- --dry-run",
)
