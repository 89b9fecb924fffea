"""What Snakemake runs: exactly what is due by the identities in the files (rnnlimits.plan.due).

Snakemake itself compares time stamps, and notes that it keeps in the working folder. Neither exists for a copy, or for
results that are continued from another folder, and neither says which study a file is from.
"""

from __future__ import annotations

from collections.abc import Set
from pathlib import Path
from typing import Any

import snakemake

from rnnlimits.base.errors import StudyError
from rnnlimits.plan import due
from rnnlimits.plan.parts import Experiment


def decide(workflow: Any, experiment: Experiment) -> frozenset[Path]:
    """Let a workflow, Snakemake's own object, remake the files that are due, and ignore its notes; returns these files.

    A file is remade by the rule that has it as an output, if the targets need it. Inputs of a rule must be `ancient`,
    so that time stamps do not matter either, unless its outputs are due: Snakemake does not look at a job downstream
    of one that it runs, and takes it to be due if their file is not `ancient`. In the processes of single jobs nothing
    is to be decided. As a module of another workflow only our own rules are concerned: its notes then count too.
    """
    if not workflow.is_main_process:
        return frozenset()
    if not all(isinstance(getattr(type(workflow), name, None), property) for name in ("dag", "rerun_triggers")):
        raise StudyError(f"snakemake: this version ({snakemake.__version__}) is not supported; install version 9")
    files = frozenset(due.due(experiment).paths)
    alone = Path(workflow.main_snakefile).resolve() == (Path(str(workflow.current_basedir)) / "Snakefile").resolve()
    workflow.__class__ = _decided(type(workflow), {str(path) for path in files}, alone)
    return files


def _decided(kind: type[Any], files: Set[str], alone: bool) -> type[Any]:
    """A class of workflows like `kind`. Options of its command line are not known yet, so they cannot be changed."""

    class Decided(kind):  # type: ignore[misc]
        @property
        def rerun_triggers(self) -> Any:
            return frozenset() if alone else super().rerun_triggers

        @property
        def dag(self) -> Any:
            graph = super().dag
            graph.forcefiles.update(files)
            graph.ignore_incomplete |= alone  # files of ours are complete or absent
            return graph

    return Decided
