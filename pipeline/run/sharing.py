"""Results that several users share: files of others that cannot be written, in folders that can."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

from rnnlimits.plan.parts import Experiment

SNAKEMAKES = ("metadata", "incomplete", "auxiliary")  # below its records: files that it writes again


def outputs(experiment: Experiment, records: Path) -> Iterator[Path]:
    """Files that a run may write again in place: outputs of parts and steps, their logs, Snakemake's records."""
    yield experiment.layout.study_yaml
    for part in experiment.parts():
        yield from part.outputs
    for step in experiment.steps():
        yield from step.paths
    yield from sorted(experiment.layout.logs.glob("*.log"))
    for name in SNAKEMAKES:
        yield from sorted((records / name).glob("*"))


def adopt(paths: Iterable[Path]) -> None:
    """Replace files of other users by copies of one's own, with the same times, where the folder allows it.

    Programs that open an output to write it, as Snakemake and tee do, fail although its folder can be written.
    """
    for path in protected(paths):
        if path.stat().st_uid == os.geteuid():
            continue  # write-protected on purpose
        copy = path.with_name(f".{path.name}.part-{uuid4().hex[:12]}")
        with suppress(OSError):
            shutil.copy2(path, copy)
            os.replace(copy, path)
        with suppress(OSError):
            copy.unlink()


def protected(paths: Iterable[Path]) -> list[Path]:
    """The files among these paths that cannot be written."""
    return [path for path in paths if path.is_file() and not os.access(path, os.W_OK)]
