"""The stages as verbs, which the workflow calls: one verb for each."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from typing import TYPE_CHECKING

from rnnlimits.base import launchers, memory, segments, surroundings
from rnnlimits.cli.words import Verb, backend_option, file_option, results_option, say, study_argument, whole

if TYPE_CHECKING:
    from rnnlimits.run.order import Order

Arguments = Callable[[argparse.ArgumentParser], None]


def _in_parallel(options: argparse.Namespace) -> None:
    """Run draw, twin, train or work: every rank enters here; rank 0 reads the study and holds the lock."""
    from rnnlimits.ranks import parallel

    parallel.start()
    from rnnlimits.run import stages

    stages.distributed(_order(options))


def _in_one_process(options: argparse.Namespace) -> None:
    """Run limit, poisson, rates, figures or report in one process; several copies are refused."""
    launchers.require_alone(options.name, os.environ)
    surroundings.leave_mpi()
    segments.require_room(1)
    memory.keep_freed()
    if options.name == "report" and _reported_pack(options):
        return
    from rnnlimits.run.serial import serial

    serial(_order(options))


def _reported_pack(options: argparse.Namespace) -> bool:
    """Whether STUDY is a packed file, whose report has then been written."""
    from rnnlimits.results.unpacking import is_packed

    if not is_packed(options.study):
        return False
    from rnnlimits.kernels import processor
    from rnnlimits.results import packed_report

    print(packed_report.report(options.study, lambda: processor(options.backend)))
    return True


def _order(options: argparse.Namespace) -> Order:
    from rnnlimits.run.order import Order

    return Order(
        options.name,
        options.study,
        options.results,
        options.backend,
        say,
        pack=options.pack,
        steps=options.steps,
        log=options.log,
        parts=options.parts,
    )


def _common(name: str, further: Arguments | None = None) -> Arguments:
    """The arguments of every stage, and `further` ones."""

    def arguments(parser: argparse.ArgumentParser) -> None:
        parser.set_defaults(name=name, pack=None, steps=None, log=None, parts=())
        study_argument(parser)
        results_option(parser)
        backend_option(parser)
        if further is not None:
            further(parser)

    return arguments


def _log(parser: argparse.ArgumentParser) -> None:
    file_option(parser, "--log", "also write progress to this file, in plain lines")


def _work(parser: argparse.ArgumentParser) -> None:
    about = "draw, twin-K00064 or a pack: what `rnnlimits plan --cluster` puts into jobs"
    parser.add_argument("parts", nargs="+", metavar="PART", help=about)
    _log(parser)


def _steps(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("parts", nargs="+", metavar="STEP", help="limit, poisson, rates, figures, report")


def _twin(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--steps", type=whole, metavar="K", help="one K (default: every K that has twins)")
    _log(parser)


def _train(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--pack", metavar="PACK", help="one pack of `rnnlimits plan` (default: all)")
    _log(parser)


def parallel(name: str, words: str, example: str, further: Arguments) -> Verb:
    """The verb of a stage that runs on all ranks of an MPI job."""
    return Verb(name, words, f"mpiexec -n 2 rnnlimits {example}", _in_parallel, _common(name, further))


def serial(name: str, words: str, named: str = "", further: Arguments | None = None) -> Verb:
    """The verb of a stage that runs in one process."""
    return Verb(name, words, f"rnnlimits {name} mine.yaml{named}", _in_one_process, _common(name, further))


PARALLEL = (
    parallel("draw", "draw the chain with the infinite-width memory", "draw mine.yaml", _log),
    parallel("twin", "online SGD at infinite width along the same paths", "twin mine.yaml --steps 64", _twin),
    parallel("train", "train the ensembles", "train mine.yaml --pack N00064-K00064", _train),
    parallel("work", "several parts of a study in one job", "work mine.yaml draw N00064-K00064", _work),
)
SERIAL = (
    serial("limit", "solve the limit"),
    serial("poisson", "long-run variances: constants of the square-root laws"),
    serial("rates", "estimate the rates"),
    serial("figures", "draw the figures"),
    serial("report", "write report.html, one page of all results"),
)
STEPS = serial("steps", "several steps one after the other, in one process", " limit poisson rates", _steps)


def unlisted(name: str) -> tuple[Verb, ...]:
    """A verb of the workflow that the page does not list: `steps`, or a step that only some kinds of studies have."""
    if name == STEPS.name:
        return (STEPS,)
    from rnnlimits.experiments import serial as steps  # only now: most command lines name a verb of the page

    return (serial(name, f"the step {name} of a study"),) if name in steps() else ()
