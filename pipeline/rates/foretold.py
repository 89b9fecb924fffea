"""A pilot that trains nothing: trainings drawn from what is predicted of their cells, to design a study by.

Rich twins and tangents of a few paths give mean and variance of every cell at its own N, beta and K. The scatter is
drawn as normal: of outputs correlated over probes as the initial field is after training at infinite width
(docs/model.md, eq. (29)); of other variables fully correlated, which is the safe side, since a root mean square over
probes then scatters as much as one of them.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from rnnlimits.base.streams import Stream
from rnnlimits.kernels import on_processor
from rnnlimits.quantities.prediction import CellPrediction
from rnnlimits.quantities.trained import Trainings
from rnnlimits.rates.field import initial_field
from rnnlimits.rates.reader import Reader
from rnnlimits.statistics.bootstrap import Array
from rnnlimits.training import draw, limit, rich, tangents, twin

if TYPE_CHECKING:
    from mpi4py import MPI

    from rnnlimits.kernels.interface import Backend
    from rnnlimits.study import Study
    from rnnlimits.training.layout import Layout
    from rnnlimits.training.plan import Cell

PATHS = 32  # of rich twins, in whole blocks
UNITS = 4096  # that are drawn for each cell

Index = NDArray[np.int64]


def small(study: Study) -> Study:
    """The study with so few replicas that rich twins follow about PATHS paths."""
    members, block = 2 if study.training.antithetic else 1, study.training.smallest_block
    fewest = -(-PATHS * members // block) * block
    replicas = tuple(min(count, fewest) for count in study.training.products()[0].replicas)
    training = study.training.model_copy(update={"replicas": replicas, "ladders": ()})
    lonely = study.rich.model_copy(update={"epsilon": ()})
    alone = study.twin.model_copy(update={"steps_per_time": ()})
    return study.model_copy(update={"training": training, "rich": lonely, "twin": alone})


def prepare(study: Study, layout: Layout, comm: MPI.Intracomm, be: Backend) -> None:
    """Compute what the predictions of a study need, and what of it does not exist yet; it counts for the study's run.

    Collective over `comm`. Raises what the stages raise.
    """
    study = small(study)
    draw.run(study, layout, comm, be)
    twin.run(study, layout, None, comm, be)
    rich.run(study, layout, comm, be)
    tangents.run(study, layout, comm, be)
    if comm.rank == 0:
        limit.run(study, layout, on_processor(be))


class Foretold:
    """Trainings (`Trainings`, UNITS units) of the cells of a study, drawn from their predictions."""

    def __init__(self, study: Study, layout: Layout, be: Backend) -> None:
        self._study, self._be = study, be
        self._read = Reader(small(study), layout)
        self._few = {_place(cell): cell for cell in self._read.cells}
        self._root = initial_field(study, layout, on_processor(be)).root

    def __call__(self, cell: Cell) -> Trainings:
        """The trainings of a cell. Raises StudyError where a file of the predictions is missing."""
        few = self._few[_place(cell)]
        prediction = self._read.prediction(few)
        assert prediction is not None, "only for studies with rich twins and tangents"
        return self._drawn(prediction, few)

    def _drawn(self, prediction: CellPrediction, cell: Cell) -> Trainings:
        read, members = self._read, 2 if self._read.design.antithetic else 1
        own = np.arange(UNITS, dtype=np.int64) % len(prediction.rich["output"])
        odd, even, others = self._normals(cell)
        output = self._field(prediction, "output", members, own, odd, even)
        memory = self._field(prediction, "memory", members, own, others[:, :1], others[:, 1:2])
        late = prediction.second("late_loss") + np.sqrt(prediction.variance("late_loss")) * others[:, 2:3]
        loss = _of_members(prediction.rich["loss"], members)[own] + late[:, :, None]
        drift = {name: self._drift(prediction, name, members, own, others[:, 3:]) for name in ("drift_c", "drift_b")}
        return Trainings(
            output=output,
            memory=memory,
            drift=np.full((UNITS, members), np.nan),
            drift_rms=drift["drift_c"],
            drift_b=drift["drift_b"],
            symmetric=read.design.symmetric,
            output_slack=read.output_slack,
            memory_slack=read.memory_slack,
            node_slack=read.node_slack,
            loss=loss,
            loss_time=(np.arange(loss.shape[-1]) + 0.5) * self._study.training.horizon / loss.shape[-1],
            rich=prediction.rich["output"][own],
            twin=prediction.twin[own],
            twin_loss=prediction.twin_loss[own],
        )

    def _normals(self, cell: Cell) -> tuple[Array, Array, Array]:
        """Standard normals of a cell: two sets correlated as outputs (UNITS, probe), and independent (UNITS, 4)."""
        replicas = (np.arange(UNITS) + UNITS * self._read.cells.index(cell)).astype(np.uint32)
        count = self._root.shape[1]
        normals = np.asarray(self._be.normals(self._study.seed, Stream.FORETOLD, replicas, 2 * count + 4))
        return normals[:, :count] @ self._root.T, normals[:, count : 2 * count] @ self._root.T, normals[:, 2 * count :]

    @staticmethod
    def _field(prediction: CellPrediction, name: str, members: int, own: Index, odd: Array, even: Array) -> Array:
        """Errors of the output or the memory (UNITS, member, probe); odd, even: normals (UNITS, probe or 1)."""
        mean = _of_members(prediction.rich[name], members)[own]
        mean = mean + _of_members(prediction.tangents[f"{name}_second"].mean(0)[None], members) / prediction.width
        if members == 1:
            return np.asarray(mean + (np.sqrt(prediction.variance(name)) * odd)[:, None])
        half, middle = (np.sqrt(prediction.variance_of_pairs(name, kind)) for kind in ("half", "mean"))
        return np.asarray(mean + np.stack([middle * even + half * odd, middle * even - half * odd], axis=1))

    @staticmethod
    def _drift(prediction: CellPrediction, name: str, members: int, own: Index, normal: Array) -> Array:
        """Root mean squares over units (UNITS, member); normal: (UNITS, 1), of their scatter over networks."""
        squares = np.square(_of_members(prediction.rich[f"{name}_rms"], members))[own] + prediction.second(name)
        scatter = np.sqrt(prediction.variance(name)) * normal
        return np.asarray(np.sqrt(np.maximum(squares + scatter, 0.0)))


def _place(cell: Cell) -> Cell:
    """The cell without its number of replicas."""
    return replace(cell, replicas=1)


def _of_members(values: Array, members: int) -> Array:
    """Values (path, member, ...) of one or two members, as so many."""
    return np.repeat(values, members, axis=1) if values.shape[1] < members else values[:, :members]
