"""The verb doctor: one page about this machine, or about all ranks of an MPI job."""

from __future__ import annotations

import argparse

from rnnlimits.cli.words import Verb, backend_option, json_option, results_option


def _doctor(options: argparse.Namespace) -> None:
    from rnnlimits.ranks import parallel

    parallel.start()
    from rnnlimits.cli import documents
    from rnnlimits.run import doctor

    show = (lambda findings: documents.text(documents.of_findings(findings))) if options.json else None
    code = doctor.run(options.results, options.backend, show)
    if code != 0:
        raise SystemExit(code)


def _arguments(parser: argparse.ArgumentParser) -> None:
    results_option(parser)
    backend_option(parser)
    json_option(parser)


DOCTOR = Verb(
    "doctor",
    "check whether this machine can train, and how fast",
    "mpiexec -n 2 rnnlimits doctor",
    _doctor,
    _arguments,
    more="Exit code 1 if anything FAILED; the page is written to stdout in any case.",
)
