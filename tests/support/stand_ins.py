"""Stand-ins for the files of a finished study: they carry the identities that the files have, and no values."""

from __future__ import annotations

from pathlib import Path

from rnnlimits.files import store
from rnnlimits.files.identities import mark
from rnnlimits.plan import due
from rnnlimits.plan.copies import copy_of, page_mark
from rnnlimits.plan.parts import Ensemble, Experiment, Output, ensembles


def finish(experiment: Experiment) -> None:
    """Write study.yaml and every output of a study."""
    path = experiment.layout.study_yaml
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(copy_of(experiment.study, path.parent))
    write_ensembles(ensembles(experiment.parts()))
    for step in experiment.steps():
        for output in step.outputs:
            write_output(experiment, output, step.identity)


def write_ensembles(members: tuple[Ensemble, ...]) -> None:
    """Write the files of ensembles, with as many rows as they have."""
    for ensemble in members:
        rows = {"joined_along": "row"} if ensemble.rows else {}
        (name,) = (name for name in ensemble.output.kind.attributes if name.endswith("_id"))
        attrs = {name: ensemble.identity, **rows}
        with store.atomic_h5(ensemble.output.path, ensemble.output.kind.kind, attrs) as file:
            store.put(file, "row", range(ensemble.rows), ("row",), "1", "index of the row")


def write_output(experiment: Experiment, output: Output, identity: str) -> None:
    """Write a file, or a folder of one figure, of a step."""
    path, study = output.path, experiment.study.name
    ids = [name for name in output.kind.attributes if name.endswith("_id")] or ["study_id"]
    if output.kind.is_folder:
        path.mkdir(exist_ok=True)
        for suffix in ("svg", "png"):
            (path / f"one.{suffix}").write_text(mark(study_id=identity, figures="one"))
    elif output.kind.kind:
        with store.atomic_h5(path, output.kind.kind, {ids[-1]: identity, "study": study}):
            pass
    elif path.suffix == ".csv":
        path.write_text(f"study,study_id\n{study},{identity}\n")
    else:
        path.write_text(page_mark(experiment.study, experiment.layout.root))


def tables(experiment: Experiment) -> tuple[Path, Path | None]:
    """The paths of the tables of rates that a study has."""
    layout = experiment.layout
    return layout.rates_csv, layout.rates_in_time_csv if layout.rates_in_time_csv.exists() else None


def nothing_is_due(experiment: Experiment) -> bool:
    """Whether all files are there and of the study."""
    return not due.faults(experiment)


def names_of(paths: frozenset[Path] | tuple[Path, ...], root: Path) -> set[str]:
    """Paths below a results folder as text."""
    return {path.relative_to(root).as_posix() for path in paths}
