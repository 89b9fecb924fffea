"""Shared parts of the verbs: their description, common options and arguments, messages and output."""

from __future__ import annotations

import argparse
import math
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rnnlimits.base.variables import BACKEND

# The stages, MPI and plotting are imported by the verbs that need them, so that `--help` and `check` start at once.
if TYPE_CHECKING:
    from rnnlimits.kernels.interface import Backend
    from rnnlimits.study import AnyStudy

DEFAULT_RESULTS = Path("results")
QUANTITY = "output_fluctuation"  # whose exponents --resolve resolves
RESULTS_OPTION = f"folder of all results (default: {DEFAULT_RESULTS})"
STUDY_ARGUMENT = "study file (YAML), or the name of one that ships"

# A parser, or a group of its options.
Options = argparse._ActionsContainer


def _no_arguments(_: argparse.ArgumentParser) -> None:
    """Add nothing: the verb has no arguments or options."""


@dataclass(frozen=True)
class Verb:
    """One verb: its name, a short description, an example, and the function it calls."""

    name: str
    words: str
    example: str
    act: Callable[[argparse.Namespace], None]
    arguments: Callable[[argparse.ArgumentParser], None] = _no_arguments
    more: str = ""  # further lines below the example

    def add_to(self, verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
        """Add this verb to the parser."""
        end = f"example: {self.example}" + (f"\n{self.more}" if self.more else "")
        parser = verbs.add_parser(
            self.name,
            help=self.words,
            description=self.words[0].upper() + self.words[1:],
            epilog=end,
            formatter_class=Screen,
        )
        self.arguments(parser)
        positionals = [_shown(one) for one in parser._actions if not one.option_strings]
        parser.usage = " ".join(["%(prog)s [options]", *positionals])
        parser.set_defaults(verb=self.act, refuse=parser.error)


def _shown(argument: argparse.Action) -> str:
    word = str(argument.metavar)
    return {"+": f"{word} ...", "*": f"[{word} ...]", "?": f"[{word}]"}.get(str(argument.nargs), word)


class Screen(argparse.RawDescriptionHelpFormatter):
    """Help of one verb on one screen: a wide column for the descriptions; line breaks in the example are kept."""

    def __init__(self, prog: str, **options: Any) -> None:
        super().__init__(prog, **{"max_help_position": 22, **options})


def say(line: str, every_rank: bool = False) -> None:
    """Write a line to stderr, on one rank only: a failed stage raises the same error on all ranks."""
    mpi = sys.modules.get("mpi4py.MPI")
    if mpi is not None and mpi.Is_initialized():
        rank = mpi.COMM_WORLD.rank
    else:
        rank = os.environ.get("PMI_RANK", os.environ.get("PMIX_RANK", "0"))
    if every_rank or str(rank) == "0":
        print(line, file=sys.stderr, flush=True)


def chosen_backend(options: argparse.Namespace, study: AnyStudy) -> Backend:
    """The back end that --backend selects.

    Raises KernelError if it is unknown or not available here, StudyError if it cannot compute the study.
    """
    from rnnlimits.kernels import backend

    return backend(study.backend_for(options.backend, say))


def chosen_ranks(options: argparse.Namespace) -> int:
    """The number of ranks that `run` starts on this machine. Raises KernelError as workflow.gpu_ranks does."""
    from rnnlimits.run import workflow

    return int(options.cores or workflow.gpu_ranks(options.backend) or len(os.sched_getaffinity(0)))


# --- arguments and options ---------------------------------------------------------------------------------
# An attribute of each argument says what a shell completes; rnnlimits.cli.completion translates it for each shell.

STUDIES, ATLASES, PROFILES, SHIPPED, RESULTS, FILES, FOLDERS = (
    "studies", "atlases", "profiles", "shipped", "results", "files", "folders",
)  # fmt: skip


def completed(argument: argparse.Action, what: str) -> None:
    """Set what shells complete an argument with: STUDIES, PROFILES, RESULTS, FILES ..."""
    argument.completed = what  # type: ignore[attr-defined]


def cores_option(parser: Options) -> None:
    """Add --cores."""
    parser.add_argument("--cores", type=whole, metavar="N", help="ranks to start (default: all cores, or all GPUs)")


def study_argument(parser: Options) -> None:
    """Add STUDY, which entry.main resolves if it is the name of a study that ships."""
    completed(parser.add_argument("study", type=Path, metavar="STUDY", help=STUDY_ARGUMENT), STUDIES)


def results_argument(parser: Options, further: str = "") -> None:
    """Add RESULTS, the folder of one study, or what `further` says."""
    about = f"results folder of a study: results/STUDY{further}"
    completed(parser.add_argument("results_folder", type=Path, metavar="RESULTS", help=about), RESULTS)


def results_option(
    parser: Options,
    default: Path | None = DEFAULT_RESULTS,
    about: str = RESULTS_OPTION,
) -> None:
    """Add --results."""
    argument = parser.add_argument("--results", type=Path, default=default, metavar="FOLDER", help=about)
    completed(argument, FOLDERS)


def backend_option(parser: Options) -> None:
    """Add --backend."""
    default = os.environ.get(BACKEND) or "auto"
    about = f"auto, cuda, host or numpy (default: {default})"
    parser.add_argument("--backend", default=default, metavar="NAME", help=about)


def json_option(parser: Options) -> None:
    """Add --json."""
    parser.add_argument("--json", action="store_true", help="one JSON document on stdout, for scripts")


def file_option(parser: Options, name: str, about: str) -> None:
    """Add an option that names a file."""
    completed(parser.add_argument(name, type=Path, metavar="FILE", help=about), FILES)


def positive(text: str) -> float:
    """Parse a number above 0. Raises ArgumentTypeError otherwise."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0")
    return value


def whole(text: str) -> int:
    """Parse a whole number above 0. Raises ArgumentTypeError otherwise."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return int(text)
