"""Open a results folder: rates as a table, ensembles as lazy named arrays, the limit, the study."""

from __future__ import annotations

import difflib
import shutil
import tempfile
import weakref
from collections.abc import Sequence
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd
import xarray as xr

from rnnlimits import experiments
from rnnlimits import study as files
from rnnlimits.base.errors import StudyError
from rnnlimits.base.fields import nearest
from rnnlimits.files import store
from rnnlimits.kernels import processor
from rnnlimits.library import arguments, datasets
from rnnlimits.library.limits import Limit
from rnnlimits.library.studies import AnyStudy, Source, Study, adopted
from rnnlimits.plan.layout import StudyFolder
from rnnlimits.plan.parts import Ensemble
from rnnlimits.results import standing, unpacking
from rnnlimits.statistics import ratefile
from rnnlimits.training import plan
from rnnlimits.training.drawn import read_draws
from rnnlimits.training.layout import Layout

RATE_COLUMNS = (*ratefile.COLUMNS, "law", "line_p")
RATE_OF_POINT = ("quantity", "estimator", "variable", "at")
POINT_COLUMNS = ("rate", *RATE_OF_POINT, "value", *[name for name in ratefile.POINT_VARIABLES if name != "variable"])
GIVE = "give results/STUDY of a study that has run (rnnlimits run STUDY), or a packed file"


class Results:
    """The results folder of one study, made by `open` and `run_study`.

    Files are opened when they are needed, and only if they are complete, of this format version and
    of this study: otherwise StudyError, one line.

    folder: the results folder; of a packed file a temporary one, which lasts as long as this
    object. study: the study with every default, as it was run.
    """

    def __init__(self, folder: Path, study: AnyStudy, pack: Path | None = None) -> None:
        self.folder, self.study, self._opened = folder, study, pack or folder
        self._experiment = experiments.at(study, folder)

    # --- rates ---------------------------------------------------------------------------------------------

    @cached_property
    def rates(self) -> pd.DataFrame:
        """The table of rates, one per row: the columns of rates.csv at full precision, then law and line_p.

        Numbers that do not exist are NaN.
        """
        rows = [{name: getattr(rate, name) for name in RATE_COLUMNS} for rate in self._rates]
        return pd.DataFrame(rows, columns=pd.Index(RATE_COLUMNS)).rename_axis("rate")

    @cached_property
    def points(self) -> pd.DataFrame:
        """Every point of every fit: `rate` is the row of `rates`, `value` the value of its variable (N, K, ...).

        Then estimate, stderr, used (by the fit), replicas, the local exponent with its
        interval, and the predicted value with its standard error.
        """
        rows = []
        for index, rate in enumerate(self._rates):
            about = {"rate": index, **{name: getattr(rate, name) for name in RATE_OF_POINT}}
            for point in rate.cloud:
                values = asdict(point)
                rows.append({**about, "value": values.pop("variable"), **values})
        return pd.DataFrame(rows, columns=pd.Index(POINT_COLUMNS))

    @cached_property
    def _rates(self) -> list[ratefile.Rate]:
        return ratefile.read(self._experiment.layout.rates_h5, **self._identity)

    @property
    def stale(self) -> list[str]:
        """The files of the folder that are not those of its study, one line each; empty if all are up to date."""
        return [str(fault) for fault in standing.stale(self.folder)]

    @property
    def _identity(self) -> dict[str, str]:
        """The identity that the rates must have; nothing where the file of a recorded series is not here."""
        try:
            return {"study_id": self._experiment.identity}
        except StudyError:
            standing.require_rates(self.folder)
            return {}

    # --- ensembles -----------------------------------------------------------------------------------------

    @property
    def cells(self) -> pd.DataFrame:
        """Every cell of the study's grid, one per row: its coordinates, its replicas."""
        return pd.DataFrame([_coordinates(ensemble) for ensemble in self._ensembles])

    def ensemble(self, **coordinates: Any) -> xr.Dataset:
        """The ensemble of one cell, opened lazily: variables as in docs/format.md, dimension replica first.

        coordinates: beta or richness, width, steps_per_time, depth (or kind, network, width for `experiment:
        rntk`), as many as identify one cell. Raises StudyError if none or several cells match, and says
        which exist. Close it, or use `with`, to release the file.
        """
        ensemble = self._single(coordinates)
        return datasets.opened(ensemble.output.path, cell_id=ensemble.identity)

    def twin(self, steps_per_time: int | None = None) -> xr.Dataset:
        """The infinite-width twins of one K, opened lazily. Raises StudyError for a K without twins."""
        study = self._training("twins")
        by_steps = {twin.steps_per_time: twin for twin in plan.twins(study)}
        if not by_steps:
            raise StudyError(f"{self.folder}: the study has no twins; set twin: {{follow: true}} and run it again")
        chosen = by_steps[arguments.one_of("steps_per_time", steps_per_time, list(by_steps), "the study has twins at")]
        return datasets.opened(self._layout.twin(chosen), twin_id=plan.twin_id(study, chosen))

    @property
    def draws(self) -> xr.Dataset:
        """The stationary draws, opened lazily: moments by block, thinned draws, coupled pairs (draw.h5)."""
        return datasets.opened(self._layout.draw, draw_id=plan.draw_id(self._training("draws")))

    @cached_property
    def limit(self) -> Limit:
        """The limit from the draws in the folder: like `limit(study)`, without drawing again."""
        study = self._training("limit")
        with arguments.computing():
            return Limit(study, read_draws(study, self._layout), processor())

    def __repr__(self) -> str:
        return f"<Results of {self.study.name} in {self._opened}: {len(self._ensembles)} cells>"

    # --- inside --------------------------------------------------------------------------------------------

    @property
    def _layout(self) -> Layout:
        return Layout(self.folder)

    @cached_property
    def _ensembles(self) -> Sequence[Ensemble]:
        return [one for part in self._experiment.packs() for one in part.ensembles if one.cell is not None]

    def _single(self, coordinates: dict[str, Any]) -> Ensemble:
        """The ensemble of the one cell with these coordinates."""
        matching = list(self._ensembles)
        if not matching:
            raise StudyError(f"{self.folder}: the study computes no networks, so that there are no ensembles")
        of_all = {name: None for ensemble in matching for name in _coordinates(ensemble)}
        coordinate_names = [name for name in of_all if name != "replicas"]
        for name, value in coordinates.items():
            if name not in coordinate_names:
                raise StudyError(f"{name} is not a coordinate of a cell; {nearest(name, coordinate_names)}")
            if value is not None:
                chosen = arguments.one_of(name, value, _values(matching, name), "there is")
                matching = [ensemble for ensemble in matching if getattr(ensemble.cell, name) == chosen]
        if len(matching) == 1:
            return matching[0]
        options = {name: values for name in coordinate_names if len(values := _values(matching, name)) > 1}
        words = "; ".join(f"{name}: {', '.join(map(str, values))}" for name, values in options.items())
        raise StudyError(f"{self.folder}: {len(matching)} cells have these coordinates; say which ({words})")

    def _training(self, what: str) -> Study:
        if isinstance(self.study, Study):
            return self.study
        raise StudyError(f"{self.folder}: experiment is {self.study.experiment}, which has no {what}")


def open(folder: Source) -> Results:
    """The results of a study, from its folder, results/STUDY, or from a file that `rnnlimits pack` wrote.

    Of a folder, only the study and the header of one file are read; a packed file is restored to a
    temporary folder. Raises StudyError for: no such folder (with the nearest one), an empty one,
    results of another format version, a damaged study or packed file.
    """
    path = Path(folder)
    if path.is_file():
        return _of_pack(path)
    _require_results(path)
    study = _study_in(path)
    if first := next((file for file in _files(study, path) if file.exists()), None):
        with store.open_complete(first, None):
            pass
    return Results(path, adopted(study))


def _of_pack(pack: Path) -> Results:
    place = tempfile.mkdtemp(prefix="rnnlimits-")
    try:
        root = unpacking.restored(pack, Path(place))
        found = Results(root, adopted(_study_in(root)), pack)
    except BaseException:
        shutil.rmtree(place, ignore_errors=True)
        raise
    weakref.finalize(found, shutil.rmtree, place, ignore_errors=True)
    return found


def _require_results(path: Path) -> None:
    if path.is_dir():
        return
    siblings = [one.name for one in path.parent.iterdir() if one.is_dir()] if path.parent.is_dir() else []
    close = difflib.get_close_matches(path.name, siblings, n=1)
    advice = f"did you mean {path.parent / close[0]}?" if close else GIVE
    raise StudyError(f"{path}: is not a folder; {advice}")


def _study_in(path: Path) -> files.AnyStudy:
    """The study of a folder: its study.yaml, or the copy in one of its files."""
    layout = StudyFolder(path)
    if layout.study_yaml.is_file():
        return files.load_any(layout.study_yaml)
    for file in (*sorted(path.glob("*.h5")), *sorted(path.glob("*/*/*.h5"))):
        if file.exists():
            with store.open_complete(file, None) as opened:
                text = store.attribute_of(opened, "study_yaml")
            if text is not None:
                return files.loads_any(str(text), layout.study_yaml)
    raise StudyError(f"{path}: has no results; {GIVE}")


def _files(study: files.AnyStudy, root: Path) -> list[Path]:
    """HDF5 files that a finished study has in its folder."""
    experiment = experiments.at(study, root)
    outputs = [ensemble.output for part in experiment.parts() for ensemble in part.ensembles]
    outputs += [output for step in experiment.steps() for output in step.outputs]
    return [output.path for output in outputs if output.kind.kind]


def _coordinates(ensemble: Ensemble) -> dict[str, Any]:
    """The fields of its cell that have a value."""
    return {name: value for name, value in asdict(ensemble.cell).items() if value is not None}


def _values(ensembles: Sequence[Ensemble], name: str) -> list[Any]:
    """The values of one coordinate, each once."""
    return sorted({_coordinates(ensemble)[name] for ensemble in ensembles if name in _coordinates(ensemble)})
