"""Read a study's results: ensembles at the final time, or at all checkpoints, as errors against the limit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from rnnlimits.base.errors import StudyError
from rnnlimits.chains.paths import probe_histories
from rnnlimits.files import store
from rnnlimits.files.ensembles import open_ensemble
from rnnlimits.kernels import reference
from rnnlimits.quantities.prediction import CellPrediction
from rnnlimits.quantities.trained import Design, Trainings
from rnnlimits.rates.ladders import shallow
from rnnlimits.rates.unit_noise import UnitNoise
from rnnlimits.statistics.bootstrap import Array
from rnnlimits.theory import observe
from rnnlimits.theory.laws import ParameterLaw
from rnnlimits.theory.node_errors import NodeErrors
from rnnlimits.theory.observe import AtProbes, SobolevDistance
from rnnlimits.theory.untrained import Untrained
from rnnlimits.training import plan, rich
from rnnlimits.training.plan import Cell, RichTwin, Twin

if TYPE_CHECKING:
    from rnnlimits.study import Study
    from rnnlimits.training.layout import Layout

TRAINED_VARIABLES = ("pair", "sign", "output", "memory", "drift_c_max", "drift_c_rms", "drift_b_rms", "loss")
RICH_VARIABLES = ("output", "memory", "loss", "drift_c_rms", "drift_b_rms")
OBSERVED_VARIABLES = (*observe.MEMORY, *observe.KERNEL)
LAST = -1  # index of the final time


def has_tangents(study: Study) -> bool:
    """Whether rich twins of the trainings' paths have tangents."""
    return study.rich.follow and study.rich.tangents > 0


def design_of(study: Study) -> Design:
    """The design of a study's trainings, on any of its ladders."""
    section = study.training
    return Design(
        symmetric=ParameterLaw.of(study).symmetric_c,
        antithetic=section.antithetic,
        twins=study.twin.follow,
        rich=study.rich.follow,
        unit_noise=study.twin.follow and has_tangents(study) and not ParameterLaw.of(study).degenerate,
        trains_b=section.update_b,
        kernel=section.kernel,
        initial=section.checkpoints[0] == 0,
    )


class Moment(NamedTuple):
    """A cell at one checkpoint: its training time, its trainings, and what is predicted of them, if anything is."""

    time: float
    trainings: Trainings
    prediction: CellPrediction | None


class Reader:
    """Trainings of a cell at the final time, as errors against the limit; each file is read once.

    `moments` are those at all checkpoints, of which only the last is kept.
    """

    def __init__(self, study: Study, layout: Layout) -> None:
        self.study, self.layout, self.design = study, layout, design_of(study)
        self.cells = plan.cells(study)
        self._cache: dict[Cell, Trainings] = {}
        self._predictions: dict[Cell, CellPrediction] = {}
        self._rich: dict[RichTwin, dict[str, Array]] = {}
        self._rich_ladder: dict[RichTwin, Array] = {}
        self._rich_in_time: dict[RichTwin, dict[str, Array]] = {}
        self._tangents: dict[RichTwin, dict[str, tuple[Array, tuple[str, ...]]]] = {}
        self._tangents_at: dict[tuple[RichTwin, int], dict[str, Array]] = {}
        self._starts: dict[int, Untrained] = {}
        self._noise: tuple[Cell, dict[str, Array]] | None = None
        self._unit_noise = UnitNoise(study, self.design)
        with store.open_complete(layout.limit, "limit", limit_id=plan.limit_id(study)) as file:
            if not np.array_equal(file["time"][()], study.training.checkpoints):
                raise StudyError(f"{layout.limit}: has other checkpoints than the study; run the limit stage again")
            self.outputs, self.memory = file["output"].finite(), file["memory"].finite()
            self._twins: dict[Twin, tuple[Array, Array]] = {}
            errors = (file["output_error_draws"].finite(), file["output_error_nodes"].finite())
            self._output_slack = np.sqrt(sum(np.square(error).mean(1) for error in errors))
            self._node_slack = np.sqrt(np.square(errors[1]).mean(1))
            self.output_slack, self.node_slack = float(self._output_slack[LAST]), float(self._node_slack[LAST])
            self.memory_slack = float(np.sqrt(np.square(file["memory_error_nodes"].finite()).mean()))

    def __call__(self, cell: Cell) -> Trainings:
        """Read a cell's ensemble. Raises StudyError if it is missing or belongs to another cell."""
        if cell not in self._cache:
            self._read(cell, (LAST,))
        return self._cache[cell]

    def moments(self, cell: Cell) -> list[Moment]:
        """A cell at all checkpoints, in order, the noise of its units at the last alone. Raises as reading it does."""
        times = self.study.training.checkpoints
        earlier = self._read(cell, tuple(range(len(times))))[:-1]
        found = [self._foreseen(cell, index) for index in range(len(earlier))]
        self._rich_in_time.clear()
        *early, last = times
        parts = [Moment(*of_one) for of_one in zip(early, earlier, found, strict=True)]
        return [*parts, Moment(last, self._cache[cell], self.prediction(cell))]

    def _read(self, cell: Cell, indices: Sequence[int]) -> list[Trainings]:
        """Trainings at these checkpoints, the last of which is the final one, and is kept."""
        path = self.layout.ensemble(cell)
        with open_ensemble(path, cell_id=plan.cell_id(self.study, cell)) as file:
            file.load([name for name in (*TRAINED_VARIABLES, *OBSERVED_VARIABLES) if name in file])
            *earlier, self._cache[cell] = [self._trainings(path, file, cell, index) for index in (*indices[:-1], LAST)]
        return [*earlier, self._cache[cell]]

    def prediction(self, cell: Cell) -> CellPrediction | None:
        """What rich twins and their tangents predict of a cell at its own N, beta and K; None without them."""
        if cell not in self._predictions and (found := self._foreseen(cell, LAST)) is not None:
            self._predictions[cell] = found
        return self._predictions.get(cell)

    def _foreseen(self, cell: Cell, index: int) -> CellPrediction | None:
        """The prediction of a cell at one checkpoint."""
        if not has_tangents(self.study):
            return None
        units = cell.replicas // (2 if self.design.antithetic else 1)
        of_rich = {name: values[:units] for name, values in self._read_rich(cell, index).items()}
        twins = self._twins_of(cell, units, index)
        return CellPrediction(
            cell.width,
            of_rich,
            twins["twin"],
            twins["twin_loss"],
            self._tangents_of(self._tangent_twins[cell], index),
            self._hidden,
            self._probes,
            self._untrained(cell.depth) if self.design.kernel else None,
            self.study.seed,
            self._ladder_of(cell, index),
            self._nodes.memory_error,
            self._nodes.variance_error,
        )

    def _ladder_of(self, cell: Cell, index: int) -> list[tuple[int, dict[str, Array]]]:
        """K and tangents of the cells that differ from this one in N or K, its own first."""
        others = [one for one in self.cells if (one.axis, one.depth) == (cell.axis, cell.depth) and one != cell]
        twins = dict.fromkeys(self._tangent_twins[one] for one in (cell, *others))
        return [(twin.steps_per_time, self._tangents_of(twin, index)) for twin in twins]

    @cached_property
    def _tangent_twins(self) -> dict[Cell, RichTwin]:
        """The rich twin whose tangents predict each cell."""
        return {cell: plan.tangent_twin(self.study, cell) for cell in self.cells}

    @cached_property
    def _nodes(self) -> NodeErrors:
        law = ParameterLaw.of(self.study)
        return NodeErrors.of(law, rich.unit_nodes(self.study, law), self._unit_noise.directions, self._probes)

    @cached_property
    def _hidden(self) -> SobolevDistance:
        """The distance of the hidden layer from the limit's at the ends of the probe histories."""
        last = probe_histories(self.study, reference.backend())[:, -1]
        return SobolevDistance.of(ParameterLaw.of(self.study), last, self.memory)

    @cached_property
    def _probes(self) -> AtProbes:
        """The limit along the probe histories."""
        return AtProbes.of(self.study, reference.backend())

    def _untrained(self, depth: int) -> Untrained:
        """Networks of the study before training, whose kernel is that of a depth."""
        if depth not in self._starts:
            law, update_b = ParameterLaw.of(self.study), self.study.training.update_b
            nodes, history = self._unit_noise.directions, self._probes.history
            self._starts[depth] = Untrained.of(law, nodes, reference.backend(), history, depth, update_b)
        return self._starts[depth]

    def rich_less_twin(self, twin: RichTwin) -> Array:
        """Output of rich twins of the ladder less that of the twins on their paths (path, time, probe)."""
        if twin not in self._rich_ladder:
            output = self._rich_file(twin, ("output",))["output"][:, 0] - self.outputs
            (kernel,) = (one for one in plan.twins(self.study) if one.steps_per_time == twin.steps_per_time)
            self._rich_ladder[twin] = output - self.twin_in_time(kernel)[: len(output)]
        return self._rich_ladder[twin]

    def slack_at(self, index: int) -> float:
        """Root mean square error over probes of the limit's output at one checkpoint."""
        return float(self._output_slack[index])

    def _read_rich(self, cell: Cell, index: int) -> dict[str, Array]:
        """Rich twins of a cell at one checkpoint, outputs and memories as errors against the limit."""
        twin = plan.rich_twin(self.study, cell)
        if index == LAST and twin in self._rich:
            values = self._rich[twin]
        else:
            if twin not in self._rich_in_time:
                names = RICH_VARIABLES + (rich.KERNEL if self.design.kernel else ())
                self._rich_in_time = {twin: self._rich_file(twin, names)}
                self._rich[twin] = _at(self._rich_in_time[twin], LAST)
            values = _at(self._rich_in_time[twin], index)
        memory = values["memory"] - self.memory - self._nodes.memory_error[:, -1]
        return {**values, "output": values["output"] - self.outputs[index], "memory": memory}

    def _rich_file(self, twin: RichTwin, names: Sequence[str]) -> dict[str, Array]:
        """Variables (path, member, time, ...) of rich twins, the loss in all its bins."""
        path, identity = self.layout.rich(twin), plan.rich_id(self.study, twin)
        with open_ensemble(path, "rich-ensemble", rich_id=identity) as file:
            if len(file["path"]) < twin.paths:
                raise StudyError(f"{path}: has {len(file['path'])} paths, the study {twin.paths}; run the study again")
            file.load(list(names))
            return {name: file[name][()] for name in names}

    def _tangents_of(self, twin: RichTwin, index: int) -> dict[str, Array]:
        """Tangents of a cell at one checkpoint; without those that are known at another time alone."""
        if (twin, index) not in self._tangents_at:
            every = self._tangents_file(twin)
            self._tangents_at[twin, index] = {
                name: np.asarray(values.take(index, axis=dims.index("time"))) if "time" in dims[1:] else values
                for name, (values, dims) in every.items()
            }
        return self._tangents_at[twin, index]

    def _tangents_file(self, twin: RichTwin) -> dict[str, tuple[Array, tuple[str, ...]]]:
        """Variables of tangents at all times, with their dimensions."""
        if twin not in self._tangents:
            path, identity = self.layout.tangents(twin), plan.tangents_id(self.study, twin)
            with open_ensemble(path, "tangents-ensemble", tangents_id=identity) as file:
                file.load(list(file))
                self._tangents[twin] = {name: (file[name][()], file[name].dims) for name in file}
        return self._tangents[twin]

    def _trainings(self, path: Path, file: store.File, cell: Cell, index: int) -> Trainings:
        order = np.lexsort((-file["sign"][()], file["pair"][()]))
        members = 2 if self.design.antithetic else 1
        if len(order) < cell.replicas or len(order) % members:
            raise StudyError(f"{path}: has {len(order)} replicas, the study {cell.replicas}; run the train stage again")

        def arranged(values: Array) -> Array:
            return np.asarray(values[order].reshape(-1, members, *values.shape[1:]), dtype=np.float64)

        output = arranged(file["output"][:, index] - self.outputs[index])
        memory, twins = arranged(file["memory"][:, index] - self.memory), self._twins_of(cell, len(output), index)
        return Trainings(
            output=output,
            memory=memory,
            drift=arranged(file["drift_c_max"][:, index]),
            drift_rms=arranged(file["drift_c_rms"][:, index]),
            drift_b=arranged(file["drift_b_rms"][:, index]),
            symmetric=self.design.symmetric,
            output_slack=float(self._output_slack[index]),
            memory_slack=self.memory_slack,
            node_slack=float(self._node_slack[index]),
            loss=arranged(file["loss"][()]),
            loss_time=file["loss_time"][()],
            final={name: arranged(file[name][:, index]) for name in OBSERVED_VARIABLES if name in file},
            initial={name: arranged(file[name][:, 0]) for name in OBSERVED_VARIABLES if name in file}
            if self.design.initial and index == LAST
            else {},
            rich=self._read_rich(cell, index)["output"][: len(output)] if self.study.rich.follow else None,
            unit_noise=self._noise_of(cell, output, memory, twins, index),
            shallow=self._shallow(cell, len(order) // members) if index == LAST else None,
            **twins,
        )

    def _noise_of(
        self, cell: Cell, output: Array, memory: Array, twins: Mapping[str, Array], index: int
    ) -> dict[str, Array]:
        """What the units of the networks explain of these errors (unit, member, probe); empty if that is not known."""
        if not self.design.unit_noise:
            return {}
        if self._noise is None or self._noise[0] != cell:
            tangents = self._tangents_of(plan.tangent_twin(self.study, cell), LAST)
            self._noise = cell, self._unit_noise(tangents, cell.width, len(output))
        noise = self._noise[1]
        if index == LAST:
            return noise
        return self._unit_noise.earlier(noise, {"output": output - twins["twin"][:, None], "memory": memory})

    def _shallow(self, cell: Cell, units: int) -> Array | None:
        """Errors of the same trainings at depth 1, None if they do not exist."""
        other = shallow(cell, self.cells)
        return self(other).output[:units] if other else None

    def _twins_of(self, cell: Cell, units: int, index: int) -> dict[str, Array]:
        """The twins of a cell's paths at one checkpoint, one for each unit; empty if trainings are not followed."""
        if not self.study.twin.follow:
            return {}
        (twin,) = (twin for twin in plan.twins(self.study) if twin.steps_per_time == cell.steps_per_time)
        output, loss = self._read_twin(twin)
        return {"twin": output[:units, index], "twin_loss": loss[:units]}

    def twin(self, twin: Twin) -> Array:
        """Errors against the limit of all twins of one K at the final time, (path, probe)."""
        return self.twin_in_time(twin)[:, LAST]

    def twin_in_time(self, twin: Twin) -> Array:
        """Errors against the limit of all twins of one K, (path, time, probe)."""
        return self._read_twin(twin)[0]

    @cached_property
    def has_leading(self) -> bool:
        """Whether poisson.h5 exists and holds the leading noise of the twins: not of a recorded series."""
        return self.study.chain.noisy and self.layout.poisson.exists()

    def twin_less_leading(self, twin: Twin) -> Array:
        """Errors against the limit, less their leading noise, of the first twins of one K (path, probe)."""
        steps, noise = self._leading
        noise = noise[steps == twin.steps_per_time]
        return np.asarray(self.twin(twin)[: len(noise)] - noise)

    @cached_property
    def _leading(self) -> tuple[Array, Array]:
        """K (row,) and leading noise (row, probe) of the twins."""
        identity = plan.poisson_id(self.study)
        with store.open_complete(self.layout.poisson, "poisson", poisson_id=identity) as file:
            return file["leading_steps_per_time"][()], file["leading_noise"].finite()

    def _read_twin(self, twin: Twin) -> tuple[Array, Array]:
        """Errors of the outputs (path, time, probe), losses (path, bin). Raises StudyError where they are not there."""
        if twin not in self._twins:
            path, identity = self.layout.twin(twin), plan.twin_id(self.study, twin)
            with open_ensemble(path, "twin-ensemble", twin_id=identity) as file:
                if len(file["path"]) < twin.paths:
                    raise StudyError(
                        f"{path}: has {len(file['path'])} paths, the study {twin.paths}; run the twin stage"
                    )
                file.load(["output", "loss"])
                self._twins[twin] = (file["output"][()] - self.outputs, file["loss"][()])
        return self._twins[twin]


def _at(values: Mapping[str, Array], index: int) -> dict[str, Array]:
    """Variables (path, member, time, ...) at one checkpoint; the loss, which has no such times, as it is."""
    return {name: array if name == "loss" else array[:, :, index].copy() for name, array in values.items()}
