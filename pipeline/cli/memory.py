"""The verb memory: the memory of untrained networks against updates and width."""

from __future__ import annotations

import argparse

from rnnlimits.cli.words import Verb, backend_option, results_option, say, study_argument


def _memory(options: argparse.Namespace) -> None:
    from rnnlimits import study as studies
    from rnnlimits.kernels import processor
    from rnnlimits.results import memory_table
    from rnnlimits.training.layout import Layout

    study = studies.load(options.study)
    layout = Layout.of(study, options.results)
    print(memory_table.run(study, layout, processor(study.backend_for(options.backend, say))))
    print(f"\nwhere to look:\n  {layout.memory_csv}")


def _arguments(parser: argparse.ArgumentParser) -> None:
    study_argument(parser)
    results_option(parser)
    backend_option(parser)


MEMORY = Verb("memory", "table of memory against updates and width", "rnnlimits memory demo", _memory, _arguments)
