"""Verbs that examine a study file before anything runs: check, plan; and the schema of such files."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from rnnlimits.base.errors import StudyError
from rnnlimits.cli.words import (
    PROFILES,
    QUANTITY,
    Verb,
    backend_option,
    chosen_backend,
    chosen_ranks,
    completed,
    cores_option,
    file_option,
    json_option,
    positive,
    results_option,
    say,
    study_argument,
)

if TYPE_CHECKING:
    from rnnlimits.kernels.interface import Backend
    from rnnlimits.plan.parts import Pace
    from rnnlimits.rates.design import Resolved
    from rnnlimits.study import AnyStudy, Study

PROFILE = Path("slurm")


# --- check ---------------------------------------------------------------------------------------------------


def _check(options: argparse.Namespace) -> None:
    from rnnlimits import experiments
    from rnnlimits.files import durable
    from rnnlimits.plan.copies import copy_of
    from rnnlimits.study import load_any

    study = load_any(options.study)
    experiment = experiments.of(study)
    findings = [*experiment.checks(), *experiment.remarks()]
    if options.resolved is not None:
        durable.require_folder(options.resolved)
        durable.write_bytes(options.resolved, copy_of(study, options.resolved.parent).encode())
    print(*findings, f"{options.study}: good", sep="\n")


def _check_arguments(parser: argparse.ArgumentParser) -> None:
    study_argument(parser)
    file_option(parser, "--resolved", "also write the study with every default")


# --- plan ----------------------------------------------------------------------------------------------------


def _plan(options: argparse.Namespace) -> None:
    if options.resolve is None and options.write is not None:
        raise StudyError("--write: needs --resolve, which chooses the replicas to write")
    print(_planned(options))


def _planned(options: argparse.Namespace) -> str:
    from rnnlimits import experiments
    from rnnlimits.cli import documents
    from rnnlimits.study import load_any

    study = load_any(options.study)
    if options.cluster is not None:
        return _cluster_plan(study, options)
    if options.resolve is not None:
        return _resolved_plan(experiments.require_training(study, "replicas to resolve"), options)
    experiment = experiments.of(study, options.results)
    ranks, pace = chosen_ranks(options), experiment.pace(lambda: chosen_backend(options, study))
    if options.json:
        return documents.text(documents.of_plan(experiment, pace, ranks))
    return "\n".join([experiment.summary(pace), "", *experiment.forecast_lines(pace, ranks)])


def _resolved_plan(study: Study, options: argparse.Namespace) -> str:
    """The plan on this machine, with the replicas that --resolve chooses."""
    from rnnlimits import experiments
    from rnnlimits.cli import documents

    be = chosen_backend(options, study)
    ranks, measured = chosen_ranks(options), cache(lambda: experiments.of(study, options.results).pace(lambda: be))
    resolved, pace = _resolved(study, options, be, measured), measured()
    experiment = experiments.of(resolved.study, options.results)
    if options.json:
        return documents.text(documents.of_resolved(experiment, resolved, pace, ranks))
    report, lines = resolved.report(pace.ns_per_unit, pace.worker), experiment.forecast_lines(pace, ranks)
    return "\n".join([report, "", *lines])


def _cluster_plan(study: AnyStudy, options: argparse.Namespace) -> str:
    from rnnlimits import experiments
    from rnnlimits.cli import documents
    from rnnlimits.cluster import submission
    from rnnlimits.run import shipped

    experiments.check(study)
    using = submission.profile(shipped.profile(options.cluster, say))
    experiment = experiments.of(study, Path(using.site.results))
    if options.json:
        return documents.text(documents.of_jobs(experiment, using))
    return submission.report(experiment, using)


def _resolved(study: Study, options: argparse.Namespace, be: Backend, pace: Callable[[], Pace]) -> Resolved:
    """The study with the replicas for --resolve, also written to the file of --write."""
    from rnnlimits.files import durable
    from rnnlimits.kernels import on_processor
    from rnnlimits.rates import design
    from rnnlimits.training.layout import Layout

    layout = Layout.of(study, options.results)
    if design.needs_predictions(study, layout):
        from rnnlimits import experiments
        from rnnlimits.plan.forecast import PREDICTIONS, missing_files, ranged
        from rnnlimits.quantities.own import quantities_of
        from rnnlimits.ranks import parallel
        from rnnlimits.rates import foretold

        with quantities_of(study):
            design.require_predicted(study, layout, design.quantity_of(study, options.quantity))
        ahead = experiments.of(foretold.small(study), options.results).forecast(pace(), 1, missing_files)
        say(f"nothing is trained: predicting the scatter takes {ranged(ahead.of(*PREDICTIONS).clock)}")
        foretold.prepare(study, layout, parallel.world(), be)
    resolved = design.resolve(study, layout, on_processor(be), options.resolve, options.quantity)
    if options.write is not None:
        durable.require_folder(options.write)
        durable.write_bytes(options.write, resolved.to_yaml(options.write.parent).encode())
    return resolved


def _plan_arguments(parser: argparse.ArgumentParser) -> None:
    study_argument(parser)
    cores_option(parser)
    backend_option(parser)
    json_option(parser)
    about = f"the jobs of a Slurm profile instead (default: {PROFILE})"
    cluster = parser.add_argument("--cluster", nargs="?", type=Path, const=PROFILE, metavar="PROFILE", help=about)
    completed(cluster, PROFILES)
    resolve = parser.add_argument_group("replicas from existing results")
    about = "replicas that give exponents this half-width"
    resolve.add_argument("--resolve", type=positive, metavar="HALF", help=about)
    about = f"whose exponents (default: {QUANTITY})"
    resolve.add_argument("--quantity", default=QUANTITY, metavar="NAME", help=about)
    file_option(resolve, "--write", "also write the study with these replicas")
    results_option(resolve)


# --- schema --------------------------------------------------------------------------------------------------


def _schema(_: argparse.Namespace) -> None:
    from rnnlimits.study import json_schema

    print(json.dumps(json_schema(), indent=2))


CHECK = Verb("check", "check a study file", "rnnlimits check mine.yaml", _check, _check_arguments)
PLAN = Verb("plan", "estimate what a study will cost", "rnnlimits plan full --cluster", _plan, _plan_arguments)
SCHEMA = Verb("schema", "print the JSON schema of study files", "rnnlimits schema > schema.json", _schema)
