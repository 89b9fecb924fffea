"""Paths of a study's chain with the memory of the limit, as named arrays."""

from __future__ import annotations

import numpy as np
import xarray as xr

from rnnlimits import study as files
from rnnlimits.chains.paths import training_paths
from rnnlimits.library import arguments, tables
from rnnlimits.library.studies import Source, training_study
from rnnlimits.theory.laws import ParameterLaw
from rnnlimits.training import plan

MOST_INDEX = 2**32 - 1  # a path's index is one word of the random counter


def paths(
    study: files.AnyStudy | Source, steps: int, replicas: int = 1, *, first: int = 0, backend: str = "auto"
) -> xr.Dataset:
    """Paths of the chain, those that trainings see, with the infinite-width memory along them.

    study: a Study, a study file or the name of one that ships. Path p is the one that replica p
    sees, or, with training.antithetic, replicas 2p and 2p + 1; paths `first` .. `first + replicas -
    1` are returned, stationary from the first step, float64:

    - x (path, step, x_component), what the network sees; z (path, step, z_component), hidden; y
      (path, step), the target;
    - memory (path, step), the limit's memory that goes with each x, from 0 at the first step.

    Raises StudyError for bad arguments. Source: docs/model.md, eq. (1) to (6) and (20).
    """
    checked = training_study(study, "paths")
    count, length = arguments.whole("replicas", replicas), arguments.whole("steps", steps)
    start = arguments.whole("first", first, least=0, most=MOST_INDEX - count)
    be = arguments.backend(checked.backend_for(backend))
    with arguments.computing():
        index = np.arange(start, start + count, dtype=np.uint32)
        x, z, y = training_paths(checked, be, index).take(length)
        memory = ParameterLaw.of(checked).on(be).memory_path(be, x, be.array(np.zeros(count)))[:, :-1]
        x, z, y, memory = (be.numpy(values) for values in (x, z, y, memory))
    entries: dict[str, tables.Entry] = {
        "x": (x, ("path", "step", "x_component"), "input X that the network sees"),
        "z": (z, ("path", "step", "z_component"), "hidden part Z of the chain"),
        "y": (y, ("path", "step"), "target Y"),
        "memory": (memory, ("path", "step"), "infinite-width memory that goes with x"),
    }
    coordinates: dict[str, tables.Entry] = {
        "path": (index.astype(np.int64), ("path",), "index of the path of the chain"),
    }
    return tables.dataset(entries, coordinates, {"study": checked.name, "study_id": plan.study_id(checked)})
