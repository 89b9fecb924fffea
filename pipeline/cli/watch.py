"""The verb watch: a live view of a running study."""

from __future__ import annotations

import argparse
from pathlib import Path

from rnnlimits.cli.words import FILES, Verb, completed, positive, results_argument, say


def _watch(options: argparse.Namespace) -> None:
    from rnnlimits.watch import live

    try:
        live.watch(options.results_folder, options.study_file, options.every, options.once, options.json)
    except KeyboardInterrupt:
        say("rnnlimits: the view has ended; the run continues")
        raise SystemExit(130) from None


def _arguments(parser: argparse.ArgumentParser) -> None:
    results_argument(parser)
    about = "study file (default: RESULTS/study.yaml)"
    completed(parser.add_argument("--study", type=Path, dest="study_file", metavar="FILE", help=about), FILES)
    about = "between refreshes (default: 2)"
    parser.add_argument("--every", type=positive, default=2.0, metavar="SECONDS", help=about)
    parser.add_argument("--once", action="store_true", help="print the state once, as if stdout were not a terminal")
    parser.add_argument("--json", action="store_true", help="one line of JSON for each refresh")


WATCH = Verb("watch", "a live view of a running study", "rnnlimits watch results/demo", _watch, _arguments)
