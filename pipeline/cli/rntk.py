"""The verbs of the recurrent neural tangent kernel: rntk classify."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from rnnlimits.base import launchers
from rnnlimits.cli.words import FOLDERS, Verb, completed, results_option, whole


def _classify(options: argparse.Namespace) -> None:
    from rnnlimits.classify import comparison, table

    launchers.require_alone("rntk classify", os.environ)
    request = comparison.Wanted(tuple(options.sets), options.archive, options.results, options.quick)
    if options.method is not None:
        comparison.one(request, options.method, options.part)
        return
    if not options.table:
        code = comparison.run(request, options.cores, options.further)
        if code != 0:
            raise SystemExit(code)
    print(comparison.table(request))
    print("\nwhere to look:", *(f"  {path}" for path in table.paths(options.results).values()), sep="\n")


def _classify_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("sets", nargs="*", metavar="DATASET", help="name of a data set (default: all)")
    about = "folder of a UCR or UEA archive: NAME/NAME_TRAIN.ts, NAME_TEST.ts (or .tsv); default: sets in packages"
    completed(parser.add_argument("--archive", type=Path, metavar="FOLDER", help=about), FOLDERS)
    parser.add_argument("--quick", action="store_true", help="a coarse grid of parameters for every kernel")
    parser.add_argument("--cores", type=whole, metavar="N", help="jobs at once (default: all cores)")
    results_option(parser)
    jobs = parser.add_argument_group("options for Snakemake's jobs")
    jobs.add_argument("--method", metavar="NAME", help="only this kernel on one data set, in this process")
    jobs.add_argument("--part", type=int, metavar="P", help="with --method: only part P of its validation")
    jobs.add_argument("--table", action="store_true", help="only table and figure, from existing results")


CLASSIFY = Verb(
    "classify",
    "compare it with other kernels on data sets",
    "rnnlimits rntk classify GunPoint Coffee",
    _classify,
    _classify_arguments,
    more="Arguments after -- are passed to Snakemake.",
)


def _rntk_arguments(parser: argparse.ArgumentParser) -> None:
    CLASSIFY.add_to(parser.add_subparsers(title="verbs", metavar="VERB", required=True))


def _none(_: argparse.Namespace) -> None:
    """Do nothing: the parser requires a verb."""


_EXAMPLE = "rnnlimits rntk classify GunPoint"
RNTK = Verb("rntk", "the recurrent NTK: classify series", _EXAMPLE, _none, _rntk_arguments)
