"""The limit of a study, in this process: outputs on any histories, kernels, memories, eigenvalues."""

from __future__ import annotations

from functools import cached_property

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike

from rnnlimits import study as files
from rnnlimits.base.errors import StudyError
from rnnlimits.chains import paths as chains
from rnnlimits.kernels import on_processor
from rnnlimits.kernels.interface import Array, Backend
from rnnlimits.library import arguments, tables
from rnnlimits.library.studies import Source, Study, training_study
from rnnlimits.library.threads import Tick, count, over_blocks
from rnnlimits.theory import flow, observe, stationary
from rnnlimits.theory.laws import ParameterLaw
from rnnlimits.theory.moments import Moments, pooled
from rnnlimits.training import draw, plan

CURVES = {
    "output": ("time", "probe"),
    "output_error_draws": ("time", "probe"),
    "output_error_nodes": ("time", "probe"),
}
LONGEST = 1e12  # alpha t, up to which an eigenvalue that is 0 except for rounding does not move anything
LONG_NAMES = {
    "output": "g_t on the histories",
    "output_error_draws": "standard error of output from the draws",
    "output_error_nodes": "error of output from the nodes, docs/model.md section 5",
}


class Limit:
    """The infinite-width limit of a study, solved from draws of its chain; made by `limit` or `Results.limit`.

    Histories are inputs x_0 .. x_{T-1}, oldest first: arrays (n, T, d), or (n, T) for d = 1, of any
    numbers that NumPy reads. The memory starts at 0 and the output is read at the last step, as on
    the study's own probe histories, which are the default. Everything is float64. Bad
    arguments raise StudyError.

    study: the study whose limit this is.
    """

    def __init__(self, study: Study, draws: flow.Draws, be: Backend) -> None:
        self.study = study
        self._draws, self._be = draws, on_processor(be)
        self._law = ParameterLaw.of(study)

    # --- outputs -------------------------------------------------------------------------------------------

    @arguments.computing()
    def output(self, time: ArrayLike, histories: ArrayLike | None = None) -> xr.DataArray:
        """g_t at the ends of histories, (time, probe); without the first axis for a single time.

        time: one training time or several, 0 or above, beyond the study's horizon as well.
        Source: docs/model.md, eq. (29).
        """
        at, probes = self._times(time), self._probes(histories)
        phi = self._law.features(self._draws.nodes, probes.last, probes.memory)
        values = self._flow.output(np.atleast_1d(at), phi)
        return self._over_time(values, at, ("probe",), "output", LONG_NAMES["output"])

    @arguments.computing()
    def solve(self, time: ArrayLike, histories: ArrayLike | None = None) -> xr.Dataset:
        """g_t with its errors: output, output_error_draws, output_error_nodes, each (time, probe); memory (probe).

        With the names and numbers of limit.h5 (docs/format.md). Source: docs/model.md section 5.
        """
        at, probes = np.atleast_1d(self._times(time)), self._probes(histories)
        solved = flow.solve(self._draws, self._law, probes, at, self.study.training.alpha)
        entries: dict[str, tables.Entry] = {
            name: (getattr(solved, name), dims, LONG_NAMES[name]) for name, dims in CURVES.items()
        }
        entries["history"] = (probes.history, ("probe", "step", "x"), "inputs of each history, oldest first")
        entries["memory"] = (probes.memory, ("probe",), "limit memory that goes with the last input")
        entries["memory_error_nodes"] = (probes.memory_error, ("probe",), "change of memory under a finer quadrature")
        return tables.dataset(entries, {"time": (at, ("time",), "training time t")}, self._attributes)

    @arguments.computing()
    def loss(self, time: ArrayLike) -> xr.DataArray:
        """E (g_t - y)^2 over the stationary law, (time); a scalar for a single time.

        Source: docs/model.md, eq. (30).
        """
        at = self._times(time)
        return self._over_time(self._flow.loss(np.atleast_1d(at)), at, (), "loss", "E (g_t - y)^2")

    @property
    @arguments.computing()
    def loss_floor(self) -> float:
        """The loss as t grows without bound. Source: docs/model.md, eq. (30)."""
        return self._flow.floor()

    @property
    @arguments.computing()
    def eigenvalues(self) -> xr.DataArray:
        """Eigenvalues of A = E phi phi^T, largest first, (mode). Source: docs/model.md, eq. (28)."""
        values = tables.variable(self._flow.eigenvalue, ("mode",), "eigenvalues of A, largest first")
        return xr.DataArray(values, {"mode": np.arange(len(values))}, name="eigenvalue")

    # --- memory and kernel ---------------------------------------------------------------------------------

    @arguments.computing()
    def memory(self, histories: ArrayLike | None = None) -> xr.DataArray:
        """The limit's memory along histories, (probe, step): the memory with each input; it is 0 with the first.

        Source: docs/model.md, eq. (20) and (23).
        """
        history = self._histories(histories)
        values = self._memory_path(history)[:, :-1]
        about = tables.variable(values, ("probe", "step"), "limit memory that goes with each input")
        return xr.DataArray(about, {dim: np.arange(size) for dim, size in about.sizes.items()}, name="memory")

    @arguments.computing()
    def memory_map(self, x: ArrayLike, memory: ArrayLike) -> Array:
        """F(x, m) = E[B sigma(W.x + m)], the memory after input x: x (..., d), or (...) for d = 1, and m (...).

        Returns an array of the shape that m and x without its last axis broadcast to. A fixed point
        m = F(x, m) is the memory of a network that sees x for ever. Source: docs/model.md, eq.
        (18).
        """
        inputs, m = arguments.numbers("x", x), arguments.numbers("memory", memory)
        if self.study.dimension == 1 and (inputs.ndim == 0 or inputs.shape[-1] != 1):
            inputs = inputs[..., None]
        if inputs.ndim == 0 or inputs.shape[-1] != self.study.dimension:
            raise StudyError(
                f"x: has shape {inputs.shape}; its last axis must be the {self.study.dimension} components of an input"
            )
        try:
            np.broadcast_shapes(inputs.shape[:-1], m.shape)
        except ValueError:
            raise StudyError(
                f"memory: has shape {m.shape}, which does not go with inputs of shape {inputs.shape[:-1]}"
            ) from None
        return self._law.memory_map(inputs, m)

    @arguments.computing()
    def kernel(self, histories: ArrayLike | None = None, others: ArrayLike | None = None) -> xr.DataArray:
        """Kern between the ends of histories, (probe, probe_): with themselves, or with the ends of `others`.

        The error of quadrature is near rounding for Gaussian W, and for uniform W with d <= 3; else about 1e-4.
        Source: docs/model.md, eq. (22).
        """
        rows = self._probes(histories)
        columns = rows if others is None else self._probes(others, "others")
        x, m = np.concatenate([rows.last, columns.last]), np.concatenate([rows.memory, columns.memory])
        size = len(rows.memory)
        if others is None:
            values = observe.limit_kernel(self._law, rows.last, rows.memory)
        else:
            values = observe.limit_kernel(self._law, x, m)[:size, size:]
        about = tables.variable(values, ("probe", "probe_"), "limit kernel between the ends of histories")
        return xr.DataArray(about, {dim: np.arange(size) for dim, size in about.sizes.items()}, name="kernel")

    @cached_property
    @arguments.computing()
    def probes(self) -> xr.DataArray:
        """The study's own probe histories, (probe, step, x)."""
        values = tables.variable(
            self._own_probes.history, ("probe", "step", "x"), "inputs of each history, oldest first"
        )
        return xr.DataArray(values, {dim: np.arange(size) for dim, size in values.sizes.items()}, name="history")

    def __repr__(self) -> str:
        source = "exact" if self._draws.exact else f"{len(self._draws.blocks)} blocks of draws"
        return f"<Limit of {self.study.name}: {source}, {len(self._draws.blocks[0].b)} features>"

    # --- inside --------------------------------------------------------------------------------------------

    @cached_property
    def _flow(self) -> flow.Flow:
        return flow.Flow.of(pooled(self._draws.blocks), self.study.training.alpha)

    @cached_property
    def _own_probes(self) -> flow.Probes:
        return flow.probes_of(self.study, self._law, self._be)

    @property
    def _attributes(self) -> dict[str, str | float]:
        return {"study": self.study.name, "draw_id": plan.draw_id(self.study), "alpha": self.study.training.alpha}

    def _times(self, time: ArrayLike) -> Array:
        return arguments.times(time, LONGEST / self.study.training.alpha)

    def _histories(self, histories: ArrayLike | None, name: str = "histories") -> Array:
        return (
            self._own_probes.history
            if histories is None
            else arguments.histories(histories, self.study.dimension, name)
        )

    def _memory_path(self, history: Array, refine: int = 1) -> Array:
        return self._law.memory_path(self._be, history, np.zeros(len(history)), refine)

    def _probes(self, histories: ArrayLike | None, name: str = "histories") -> flow.Probes:
        if histories is None:
            return self._own_probes
        return at_histories(self._law, self._be, self._histories(histories, name))

    def _over_time(self, values: Array, time: Array, dims: tables.Dims, name: str, words: str) -> xr.DataArray:
        """Values (T, ...) with their times; without the first axis for one time."""
        about = tables.variable(values, ("time", *dims), words)
        index = {dim: np.arange(about.sizes[dim]) for dim in dims}
        values_over_time = xr.DataArray(about, {"time": np.atleast_1d(time), **index}, name=name)
        return values_over_time.isel(time=0) if time.ndim == 0 else values_over_time


def limit(study: files.AnyStudy | Source, *, cores: int | None = None, backend: str = "auto") -> Limit:
    """The limit of a study, from draws of its chain in this process. Takes seconds, growing with the number of draws.

    study: a Study, a study file or the name of one that ships. The draws are those of the command
    line's stage draw, so on one back end the numbers are those of limit.h5; exact chains
    (finite-state, recorded) need none. For a finished study, `open(...).limit` reads them instead.
    cores: threads (default: all). backend: auto, cuda, host or numpy. Writes no file. Raises
    StudyError for bad arguments, and for a chain or memory that does not contract.
    """
    checked = training_study(study, "limit")
    be = arguments.backend(checked.backend_for(backend))
    threads = count(be, cores)
    with arguments.computing():
        return Limit(checked, drawn(checked, be, threads), be)


def drawn(study: files.Study, be: Backend, threads: int = 1) -> flow.Draws:
    """The moments that the stage draw passes to the stage limit in draw.h5, computed here."""
    law, near = ParameterLaw.of(study), on_processor(be)
    sets = law.node_sets(study.limit.nodes, study.features)
    if plan.has_exact_law(study):
        parts = [draw.exact_moments(near, law, stationary.atoms(study, near), sets)]
    else:

        def block(index: int, tick: Tick) -> list[Moments]:
            walk = draw.stationary_walk(study, law, chains.of(study), be, index, tick)
            return draw.record(be, walk, study, sets, tick, law)[0]

        parts = over_blocks(threads, range(plan.draw_blocks(study)), block)
    blocks = [part[0] for part in parts]
    if len(sets) == 1:
        return flow.Draws(sets[0], blocks, plan.has_exact_law(study))
    check = _mean([part[1] for part in parts], blocks[0])
    return flow.Draws(sets[0], blocks, plan.has_exact_law(study), sets[1], check)


def _mean(parts: list[Moments], first: Moments) -> Moments:
    """The mean of blocks, summed as in the stage draw."""
    a, b = (sum((getattr(part, name) for part in parts), start=0) / len(parts) for name in ("a", "b"))
    return Moments(np.asarray(a), np.asarray(b), first.y2, first.weight)


def at_histories(law: ParameterLaw, be: Backend, history: Array) -> flow.Probes:
    """Histories (n, T, d) with the limit's memory at their last step, in the form of the study's own probes."""
    start = np.zeros(len(history))
    memory, finer = (law.memory_path(be, history, start, refine)[:, -2] for refine in (1, 2))
    return flow.Probes(history, memory, np.abs(finer - memory))
