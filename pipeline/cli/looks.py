"""Verbs that show the results of a study."""

from __future__ import annotations

import argparse

from rnnlimits.cli.words import Verb, json_option, results_argument


def _summary(options: argparse.Namespace) -> None:
    from rnnlimits.results.summary import summary

    if options.json:
        from rnnlimits.cli import documents

        print(documents.text(documents.of_summary(options.results_folder)))
        return
    print(summary(options.results_folder))


def _arguments(parser: argparse.ArgumentParser) -> None:
    results_argument(parser)
    json_option(parser)


SUMMARY = Verb("summary", "print the table of rates of a study", "rnnlimits summary results/demo", _summary, _arguments)
