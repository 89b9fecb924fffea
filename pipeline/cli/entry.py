"""Run one verb and return its exit code: 0 done; 1 a defect or a failed rank; 2 bad input; 130 interrupted."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext

from rnnlimits.base import launchers, progress, surroundings
from rnnlimits.base.errors import StudyError, note_refusal
from rnnlimits.base.segments import forget_unused
from rnnlimits.base.variables import THREADS
from rnnlimits.cli import streams
from rnnlimits.cli.page import every_verb, parser
from rnnlimits.cli.stages import unlisted
from rnnlimits.cli.words import Verb, say
from rnnlimits.run import shipped

SHOWING = ("run", "atlas", "watch")  # show themselves what others do
os.environ.update(THREADS)  # NumPy reads them when it is imported


def _further(words: Sequence[str]) -> Sequence[Verb]:
    """The verb of the command line, if it is one that the page does not list."""
    listed = {verb.name for verb in every_verb()}
    return [verb for word in words if word not in listed and word[:1] != "-" for verb in unlisted(word)]


def _watched(verb: str) -> AbstractContextManager[None]:
    """Signs of life, on one rank only."""
    is_silent = verb in SHOWING or launchers.rank_of(os.environ) > 0
    return nullcontext() if is_silent else progress.watched(verb)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb; returns the exit code."""
    if launchers.is_rank(os.environ):
        # An interrupted rank must die at once: one that shuts down in Python waits for ranks that wait for it. Nothing
        # is lost, as files appear complete or not at all.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        forget_unused()
    words = list(sys.argv[1:] if arguments is None else arguments)
    end = words.index("--") if "--" in words else len(words)
    options, unknown = parser(_further(words[:1])).parse_known_args(words[:end])
    if unknown:
        options.refuse(f"unrecognized arguments: {' '.join(unknown)}")  # with the usage of its verb
    options.further = words[end + 1 :]
    from rnnlimits.kernels import cache  # only now: NumPy need not be imported for --help
    from rnnlimits.kernels.interface import KernelError

    surroundings.pass_over_matplotlibrc()
    cache.tell(lambda line: say(f"rnnlimits: {line}"))
    try:
        if hasattr(options, "study"):
            options.study = shipped.study(options.study, say)
        with _watched(words[0]):
            options.verb(options)
        sys.stdout.flush()  # here, where a closed pipe is handled
    except (StudyError, KernelError) as error:
        line = str(error).replace("\n", "\\n")  # a path may have line breaks
        say(f"rnnlimits: {line}", every_rank=isinstance(error, launchers.Crowd))
        note_refusal(str(error))
        return 2
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second one would only garble the last message
        say("rnnlimits: interrupted; the same command continues where it stopped")
        return 130
    except BrokenPipeError:
        streams.discard()  # the reader of our output has closed the pipe, which is not an error
    return 0
