"""Verbs for what ships with the package: list it, and copy a piece of it to edit."""

from __future__ import annotations

import argparse
from pathlib import Path

from rnnlimits.cli.words import FILES, SHIPPED, Verb, completed, json_option
from rnnlimits.run import shipped


def _studies(options: argparse.Namespace) -> None:
    if options.json:
        from rnnlimits.cli import documents

        print(documents.text(documents.of_shipped()))
        return
    heads = {
        "studies (rnnlimits run NAME)": shipped.studies(),
        "atlases (rnnlimits atlas NAME)": shipped.atlases(),
        "cluster profiles (rnnlimits run STUDY --profile NAME)": shipped.profiles(),
        "templates of a profile's site.yaml": shipped.sites(),
    }
    for head, found in heads.items():
        print(head, *(f"  {name:<16} {shipped.about(path)}" for name, path in found.items()), sep="\n")
    print("A copy to edit: rnnlimits new NAME PLACE")


def _new(options: argparse.Namespace) -> None:
    from rnnlimits.cli import copies

    for path in copies.make(options.what, options.place):
        print(path)


def _new_arguments(parser: argparse.ArgumentParser) -> None:
    about = "name from `rnnlimits studies`: demo, slurm, sites/gpu-4"
    completed(parser.add_argument("what", metavar="NAME", help=about), SHIPPED)
    about = "file to write, or for a cluster profile the folder; it must not be there yet"
    completed(parser.add_argument("place", type=Path, metavar="PLACE", help=about), FILES)


_STUDIES_WORDS = "list what ships: studies, atlases, cluster profiles"
STUDIES = Verb("studies", _STUDIES_WORDS, "rnnlimits studies", _studies, json_option)
NEW = Verb(
    "new",
    "write a copy of what ships, to edit",
    "rnnlimits new demo mine.yaml",
    _new,
    _new_arguments,
    more="A study is named after its file, and brings its data along.\nPrinted: each file that was written.",
)
