"""The verb cite: entries of BibTeX for this software and the papers behind a study."""

from __future__ import annotations

import argparse
from pathlib import Path

from rnnlimits.cli.words import RESULTS, Verb, completed, json_option


def _cite(options: argparse.Namespace) -> None:
    from rnnlimits.run import citing

    found = citing.entries(options.cited)
    if options.json:
        from rnnlimits.cli import documents

        print(documents.text(documents.of_citation(found)))
        return
    print(*found, sep="\n\n")


def _arguments(parser: argparse.ArgumentParser) -> None:
    about = "study file or name, results folder, or packed file (default: all papers)"
    completed(parser.add_argument("cited", nargs="?", type=Path, metavar="STUDY", help=about), RESULTS)
    json_option(parser)


CITE = Verb("cite", "print BibTeX for the software and its papers", "rnnlimits cite results/demo", _cite, _arguments)
