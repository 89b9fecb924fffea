"""The verb run: the whole workflow, on this machine or in jobs on a cluster."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING

from rnnlimits.base import launchers
from rnnlimits.base.errors import StudyError
from rnnlimits.cli.words import (
    DEFAULT_RESULTS,
    PROFILES,
    Verb,
    backend_option,
    completed,
    results_option,
    say,
    study_argument,
    whole,
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
    study = load_any(options.study)
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
    parser.add_argument("--cores", type=whole, metavar="N", help="ranks to start (default: all cores, or all GPUs)")
    backend_option(parser)
    results_option(parser, None, f"folder of all results (default: {DEFAULT_RESULTS}, or the site's)")
    about = "submit jobs to Slurm with this profile: a folder, or one that ships (slurm, slurm-gpu)"
    completed(parser.add_argument("--profile", type=Path, metavar="PROFILE", help=about), PROFILES)


RUN = Verb(
    "run",
    "run all parts of the workflow that are out of date",
    "rnnlimits run demo --cores 4",
    _run,
    _arguments,
    more="Arguments after -- are passed to Snakemake: rnnlimits run demo -- --dry-run",
)
