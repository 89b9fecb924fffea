"""Read a study's results: ensembles at the final time, as errors against the limit."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rnnlimits.base.errors import StudyError
from rnnlimits.files import store
from rnnlimits.files.ensembles import open_ensemble
from rnnlimits.quantities.trained import Design, Trainings
from rnnlimits.rates.ladders import shallow
from rnnlimits.statistics.bootstrap import Array
from rnnlimits.theory import observe
from rnnlimits.theory.laws import ParameterLaw
from rnnlimits.training import plan
from rnnlimits.training.plan import Cell, Twin

if TYPE_CHECKING:
    from rnnlimits.study import Study
    from rnnlimits.training.layout import Layout

TRAINED_VARIABLES = ("pair", "sign", "output", "memory", "drift_c_max", "loss")
OBSERVED_VARIABLES = (*observe.MEMORY, *observe.KERNEL)


def design_of(study: Study) -> Design:
    """The design of a study's trainings, on any of its ladders."""
    section = study.training
    return Design(
        symmetric=ParameterLaw.of(study).symmetric_c,
        antithetic=section.antithetic,
        twins=study.twin.follow,
        kernel=section.kernel,
        initial=section.checkpoints[0] == 0,
    )


class Reader:
    """Trainings of a cell at the final time, as errors against the limit; each file is read once."""

    def __init__(self, study: Study, layout: Layout) -> None:
        self.study, self.layout, self.design = study, layout, design_of(study)
        self.cells = plan.cells(study)
        self._cache: dict[Cell, Trainings] = {}
        with store.open_complete(layout.limit, "limit", limit_id=plan.limit_id(study)) as file:
            if not np.array_equal(file["time"][()], study.training.checkpoints):
                raise StudyError(f"{layout.limit}: has other checkpoints than the study; run the limit stage again")
            self.output, self.memory = file["output"].finite()[-1], file["memory"].finite()
            self._twins: dict[Twin, tuple[Array, Array]] = {}
            errors = (file["output_error_draws"].finite()[-1], file["output_error_nodes"].finite()[-1])
            self.output_slack = float(np.sqrt(sum(np.square(error).mean() for error in errors)))
            self.node_slack = float(np.sqrt(np.square(errors[1]).mean()))
            self.memory_slack = float(np.sqrt(np.square(file["memory_error_nodes"].finite()).mean()))

    def __call__(self, cell: Cell) -> Trainings:
        """Read a cell's ensemble. Raises StudyError if it is missing or belongs to another cell."""
        if cell not in self._cache:
            path = self.layout.ensemble(cell)
            with open_ensemble(path, cell_id=plan.cell_id(self.study, cell)) as file:
                file.load([name for name in (*TRAINED_VARIABLES, *OBSERVED_VARIABLES) if name in file])
                self._cache[cell] = self._trainings(path, file, cell)
        return self._cache[cell]

    def prediction(self, cell: Cell) -> Any | None:
        """What theory predicts of a cell at its own N, beta and K; None if nothing does."""
        return None

    def _trainings(self, path: Path, file: store.File, cell: Cell) -> Trainings:
        order = np.lexsort((-file["sign"][()], file["pair"][()]))
        members = 2 if self.design.antithetic else 1
        if len(order) < cell.replicas or len(order) % members:
            raise StudyError(f"{path}: has {len(order)} replicas, expected {cell.replicas}; run the train stage again")

        def arranged(values: Array) -> Array:
            return np.asarray(values[order].reshape(-1, members, *values.shape[1:]), dtype=np.float64)

        return Trainings(
            output=arranged(file["output"][:, -1] - self.output),
            memory=arranged(file["memory"][:, -1] - self.memory),
            drift=arranged(file["drift_c_max"][:, -1]),
            symmetric=self.design.symmetric,
            output_slack=self.output_slack,
            memory_slack=self.memory_slack,
            node_slack=self.node_slack,
            loss=arranged(file["loss"][()]),
            loss_time=file["loss_time"][()],
            final={name: arranged(file[name][:, -1]) for name in OBSERVED_VARIABLES if name in file},
            initial={name: arranged(file[name][:, 0]) for name in OBSERVED_VARIABLES if name in file}
            if self.design.initial
            else {},
            shallow=self._shallow(cell, len(order) // members),
            **self._twins_of(cell, len(order) // members),
        )

    def _shallow(self, cell: Cell, units: int) -> Array | None:
        """Errors of the same trainings at depth 1, None if they do not exist."""
        other = shallow(cell, self.cells)
        return self(other).output[:units] if other else None

    def _twins_of(self, cell: Cell, units: int) -> dict[str, Array]:
        """The twins of a cell's paths, one for each unit; empty if trainings are not followed."""
        if not self.study.twin.follow:
            return {}
        (twin,) = (twin for twin in plan.twins(self.study) if twin.steps_per_time == cell.steps_per_time)
        output, loss = self._read_twin(twin)
        return {"twin": output[:units], "twin_loss": loss[:units]}

    def twin(self, twin: Twin) -> Array:
        """Errors against the limit of all twins of one K at the final time, (path, probe)."""
        return self._read_twin(twin)[0]

    def _read_twin(self, twin: Twin) -> tuple[Array, Array]:
        """Errors of the outputs (path, probe), losses (path, bin). Raises StudyError if missing or of another twin."""
        if twin not in self._twins:
            path, identity = self.layout.twin(twin), plan.twin_id(self.study, twin)
            with open_ensemble(path, "twin-ensemble", twin_id=identity) as file:
                if len(file["path"]) < twin.paths:
                    raise StudyError(
                        f"{path}: has {len(file['path'])} paths, expected {twin.paths}; run the twin stage"
                    )
                file.load(["output", "loss"])
                self._twins[twin] = (file["output"][:, -1] - self.output, file["loss"][()])
        return self._twins[twin]
