"""Verbs that show the results of a study."""

from __future__ import annotations

import argparse
from pathlib import Path

from rnnlimits.cli.words import FILES, Verb, completed, json_option, results_argument


def _summary(options: argparse.Namespace) -> None:
    from rnnlimits.results.summary import summary

    if options.json:
        from rnnlimits.cli import documents

        print(documents.text(documents.of_summary(options.results_folder, options.study_file)))
        return
    print(summary(options.results_folder, options.study_file))


def _arguments(parser: argparse.ArgumentParser) -> None:
    results_argument(parser, "; or a packed file")
    about = "refuse rates that are not of this study file, as after a change of it"
    argument = parser.add_argument("--study", type=Path, dest="study_file", metavar="FILE", help=about)
    completed(argument, FILES)
    json_option(parser)


SUMMARY = Verb("summary", "print the table of rates of a study", "rnnlimits summary results/demo", _summary, _arguments)
