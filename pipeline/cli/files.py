"""Verbs that read result files: inspect, validate, digest; and pack, which merges a study into one file."""

from __future__ import annotations

import argparse
from pathlib import Path

from rnnlimits.base.errors import StudyError
from rnnlimits.cli.words import FILES, RESULTS, Verb, completed, json_option, results_argument, results_option, say


def _inspect(options: argparse.Namespace) -> None:
    from rnnlimits.cli import documents
    from rnnlimits.results.inspection import inspect

    print(documents.text(documents.of_files(options.path)) if options.json else inspect(options.path))


def _validate(options: argparse.Namespace) -> None:
    from rnnlimits.cli import documents
    from rnnlimits.results.inspection import hdf5_files, missing, validate
    from rnnlimits.results.standing import leftovers

    faults = [*validate(options.path), *missing(options.path)]
    for path in leftovers(options.path, hdf5_files(options.path)):
        say(f"{path}: is no file of the study in study.yaml; it may be deleted")
    if options.json:
        print(documents.text(documents.of_faults(options.path, faults)))
    else:
        print(*(faults or [f"{options.path}: valid"]), sep="\n")
    if faults:
        raise StudyError(f"{options.path}: {len(faults)} fault{'s' * (len(faults) > 1)} found")


def _digest(options: argparse.Namespace) -> None:
    from rnnlimits.cli import documents
    from rnnlimits.results.inspection import digest

    print(documents.text(documents.of_digests(options.path)) if options.json else "\n".join(digest(options.path)))


def _path(parser: argparse.ArgumentParser) -> None:
    completed(parser.add_argument("path", type=Path, metavar="PATH", help="HDF5 file or results folder"), RESULTS)
    json_option(parser)


def _pack(options: argparse.Namespace) -> None:
    from rnnlimits.results.packing import pack

    for path in pack(options.results_folder, options.output):
        say(f"{path}: is no file of the study in study.yaml; it is left out")


def _pack_arguments(parser: argparse.ArgumentParser) -> None:
    results_argument(parser)
    completed(parser.add_argument("output", type=Path, metavar="OUTPUT", help="HDF5 file to write"), FILES)


def _unpack(options: argparse.Namespace) -> None:
    from rnnlimits.results.unpacking import unpack

    print(unpack(options.packed, options.results))


def _unpack_arguments(parser: argparse.ArgumentParser) -> None:
    about = "file that `rnnlimits pack` wrote"
    completed(parser.add_argument("packed", type=Path, metavar="FILE", help=about), FILES)
    results_option(parser, about="folder in which STUDY is restored (default: results)")


INSPECT = Verb("inspect", "show the contents of HDF5 files", "rnnlimits inspect results/demo/rates.h5", _inspect, _path)
VALIDATE = Verb(
    "validate",
    "check files against format and digests",
    "rnnlimits validate results/demo",
    _validate,
    _path,
    more="Exit code 2 if faults are found; they are listed on stdout.",
)
DIGEST = Verb("digest", "digests of contents, without time stamps", "rnnlimits digest results/demo", _digest, _path)
PACK = Verb("pack", "one self-contained file of a study", "rnnlimits pack results/demo demo.h5", _pack, _pack_arguments)
UNPACK = Verb(
    "unpack",
    "restore the results folder of a packed file",
    "rnnlimits unpack demo.h5 --results elsewhere",
    _unpack,
    _unpack_arguments,
    more="Prints the folder, which must not exist yet.\nrnnlimits run then adds figures and report.",
)
