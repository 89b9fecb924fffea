"""Verbs for the files that ship with the package: list them, and copy one to edit."""

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
    for head, paths in heads.items():
        print(head, *(f"  {name:<16} {shipped.about(path)}" for name, path in paths.items()), sep="\n")
    print("To edit a copy: rnnlimits new NAME PLACE")


def _new(options: argparse.Namespace) -> None:
    from rnnlimits.cli import copies

    for path in copies.make(options.what, options.place):
        print(path)


def _new_arguments(parser: argparse.ArgumentParser) -> None:
    about = "name from `rnnlimits studies`: demo, slurm, sites/gpu-4"
    completed(parser.add_argument("what", metavar="NAME", help=about), SHIPPED)
    about = "file to write, or for a cluster profile the folder; it must not exist yet"
    completed(parser.add_argument("place", type=Path, metavar="PLACE", help=about), FILES)


_STUDIES_WORDS = "list the studies, atlases and cluster profiles that ship"
STUDIES = Verb("studies", _STUDIES_WORDS, "rnnlimits studies", _studies, json_option)
NEW = Verb(
    "new",
    "write a copy of a shipped file to edit",
    "rnnlimits new demo mine.yaml",
    _new,
    _new_arguments,
    more="A study is named after its file; its data are copied too.\nPrints each file that was written.",
)
