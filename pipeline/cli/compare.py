"""The verb compare: the same rates of several studies side by side."""

from __future__ import annotations

import argparse
from pathlib import Path

from rnnlimits.cli.words import RESULTS, Verb, completed, file_option, json_option


def _compare(options: argparse.Namespace) -> None:
    from rnnlimits.results import compare

    print(compare.run(options.results_folders, options.csv, options.figure, options.json))


def _arguments(parser: argparse.ArgumentParser) -> None:
    about = "results folder of a study: results/STUDY; or a packed file"
    argument = parser.add_argument("results_folders", type=Path, nargs="+", metavar="RESULTS", help=about)
    completed(argument, RESULTS)
    file_option(parser, "--csv", "also write the table to this file")
    file_option(parser, "--figure", "also draw the exponents with intervals (SVG)")
    json_option(parser)


COMPARE = Verb(
    "compare",
    "the rates of several studies side by side",
    "rnnlimits compare results/demo results/other",
    _compare,
    _arguments,
)
