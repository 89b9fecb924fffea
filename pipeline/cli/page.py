"""`rnnlimits --help`: every verb, grouped by what a user does, on one screen; and the parser of the command line."""

from __future__ import annotations

import argparse
import shutil
import textwrap
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from rnnlimits import __version__
from rnnlimits.cli import (
    atlas,
    cite,
    compare,
    completion,
    doctor,
    files,
    looks,
    memory,
    rntk,
    run,
    ships,
    stages,
    studies,
    watch,
)
from rnnlimits.cli.words import Verb

DESCRIPTION = "Measure how fast wide recurrent networks converge to their kernel limit."
EXIT_CODES = "Exit codes: 0 done, 1 a defect or a failed rank, 2 bad input, 130 interrupted."
END = ("Start with: rnnlimits run demo          More: rnnlimits VERB --help", EXIT_CODES)


@dataclass(frozen=True)
class Row:
    """One line of the page: verbs that are listed together, and a description if that of the first does not fit all."""

    verbs: tuple[Verb, ...]
    words: str = ""


def _row(*verbs: Verb, words: str = "") -> Row:
    return Row(verbs, words)


# A new verb is a Verb in its own module, and a row here.
GROUPS: dict[str, tuple[Row, ...]] = {
    "start": (
        _row(ships.STUDIES, ships.NEW, words="list studies and profiles; copy one to edit"),
        _row(studies.CHECK),
        _row(studies.PLAN),
        _row(run.RUN),
        _row(atlas.ATLAS),
        _row(doctor.DOCTOR),
    ),
    "look": (
        _row(looks.SUMMARY),
        _row(watch.WATCH),
        _row(compare.COMPARE),
        _row(memory.MEMORY),
    ),
    "stages": (
        _row(*stages.PARALLEL, words="on all ranks: mpiexec -n 2 rnnlimits draw STUDY"),
        _row(*stages.SERIAL, words="in one process"),
    ),
    "files": (
        _row(files.INSPECT),
        _row(files.VALIDATE),
        _row(files.DIGEST),
        _row(files.PACK, files.UNPACK, words="one self-contained file of a study, and back"),
    ),
    "more": (
        _row(rntk.RNTK),
        _row(cite.CITE, studies.SCHEMA, completion.COMPLETION, words="BibTeX; JSON schema of studies; for a shell"),
    ),
}


class Page(argparse.ArgumentParser):
    """The parser of all verbs; its help is the page."""

    def format_help(self) -> str:
        """The page, for the width of this terminal."""
        return page(shutil.get_terminal_size((80, 24)).columns)


def parser(further: Iterable[Verb] = ()) -> argparse.ArgumentParser:
    """The parser of the command line; `verb` of what it returns is the function to call.

    further: verbs that are not on the page, such as steps that only one kind of study has.
    """
    top = Page(prog="rnnlimits", description=DESCRIPTION, usage="%(prog)s VERB ...")
    top.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    verbs = top.add_subparsers(
        title="verbs", metavar="VERB", required=True, prog=top.prog, parser_class=argparse.ArgumentParser
    )
    for verb in (*every_verb(), *further):
        verb.add_to(verbs)
    return top


def every_verb() -> Iterator[Verb]:
    """All verbs in the order of the page."""
    for rows in GROUPS.values():
        for row in rows:
            yield from row.verbs


def page(width: int) -> str:
    """All verbs for a terminal of `width` columns, with text wrapped if it is narrow."""
    names = {id(row): ", ".join(verb.name for verb in row.verbs) for rows in GROUPS.values() for row in rows}
    column = max(len(name) for name in names.values() if len(name) <= width // 4)
    lines = ["usage: rnnlimits VERB ...", *textwrap.wrap(DESCRIPTION, width), ""]
    for group, rows in GROUPS.items():
        for number, row in enumerate(rows):
            start = f"{'' if number else group:<7} {names[id(row)]:<{column}}  "
            lines += _hung(start, row.words or row.verbs[0].words, width)
    return "\n".join([*lines, "", *(part for line in END for part in textwrap.wrap(line, width))]) + "\n"


def _hung(start: str, words: str, width: int) -> list[str]:
    """`start`, then the wrapped words, hanging below their first line, or on their own lines if space is short."""
    if width >= len(start) + 20:
        return textwrap.wrap(start + words, width, subsequent_indent=" " * len(start), drop_whitespace=True)
    return [start.rstrip(), *textwrap.wrap(words, max(width, 20), initial_indent="    ", subsequent_indent="    ")]
