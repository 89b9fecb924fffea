"""What trained networks of finite width do, predicted without training one; no file is written."""

from __future__ import annotations

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike

from rnnlimits import study as files
from rnnlimits.chains import paths as chains
from rnnlimits.kernels import on_processor
from rnnlimits.kernels.interface import Array
from rnnlimits.library import arguments, tables
from rnnlimits.library.studies import Source, Study, training_study
from rnnlimits.library.threads import count, over_blocks, pieces
from rnnlimits.library.trainings import attributes, cell_of, clock, coordinates_of, steps_of
from rnnlimits.training import plan, tangents
from rnnlimits.training import rich as stage
from rnnlimits.training.plan import RichBlock, RichTwin

MOST_PATHS = 2**31  # indices of paths are 32-bit words of the random counter
FEWEST_PATHS = 2  # from fewer nothing can be said about their scatter


def rich_twin(
    study: files.AnyStudy | Source,
    *,
    richness: float,
    steps_per_time: int | None = None,
    depth: int | None = None,
    paths: int | None = None,
    first: int = 0,
    histories: ArrayLike | None = None,
    cores: int | None = None,
    backend: str = "auto",
) -> xr.Dataset:
    """Rich twins: the training of networks in which the mean over N units is one over their law, at any richness.

    study: a Study, a study file or the name of one that ships. richness: eps, above 0 and at most 1;
    networks of width N have N^-(1 - beta). steps_per_time: K (default: the study's, if it is one
    number). depth: tau (default: the study's). paths: how many, `first` .. `first + paths - 1`
    (default: those of a block of replicas). histories, cores: as in `train`. The clip, whose level is
    that of a width, plays no part.

    Returns output and memory (path, time, probe), loss (path, loss_time), drift_w_rms, drift_b_rms and
    drift_c_rms (path, time), with training.kernel ntk_drift and ntk_drift_along too; float64, with the
    same bits as the stage on the same back end. Raises StudyError for bad arguments. Source:
    docs/model.md, "Finite width".
    """
    checked = training_study(study, "rich")
    twin = _twin(checked, richness, steps_per_time, depth, paths)
    start = arguments.whole("first", first, least=0, most=MOST_PATHS)
    probes = None if histories is None else arguments.histories(histories, checked.dimension)
    be = arguments.backend(checked.backend_for(backend))
    threads = count(be, cores)
    with arguments.computing():
        at = chains.probe_histories(checked, on_processor(be)) if probes is None else probes
        cut = pieces(start, twin.paths, checked.training.paths_per_block, threads)
        parts = over_blocks(
            threads, cut, lambda piece, tick: stage.follow_block(checked, be, RichBlock(twin, *piece), at, tick)
        )
    entries: dict[str, tables.Entry] = {}
    for name in parts[0].observed:
        dims, words = stage.OBSERVED[name]
        entries[name] = (np.concatenate([part.observed[name] for part in parts])[:, 0], ("path", *dims), words)
    loss = np.concatenate([part.loss for part in parts])[:, 0]
    entries["loss"] = (loss, ("path", "loss_time"), "mean of (Yhat_k - Y_k)^2 along the path")
    entries["history"] = (at, ("probe", "step", "x"), "inputs of each probe history, oldest first")
    path = np.arange(start, start + len(loss), dtype=np.int64)
    coordinates: dict[str, tables.Entry] = {"path": (path, ("path",), "index of the path of the chain")}
    point = {"richness": twin.richness, "steps_per_time": twin.steps_per_time, "depth": twin.depth}
    return tables.dataset(entries, coordinates | clock(checked, loss.shape[1]), {**attributes(checked), **point})


def predict(
    study: files.AnyStudy | Source,
    *,
    width: int | None = None,
    beta: float | None = None,
    richness: float | None = None,
    steps_per_time: int | None = None,
    depth: int | None = None,
    paths: int = 8,
    histories: ArrayLike | None = None,
) -> xr.Dataset:
    """Mean and scatter of networks of one width, trained along the study's paths, to order 1/N; none is trained.

    width, beta, richness, steps_per_time, depth: as in `train`. paths: of how many to take the mean, at least 2.
    histories: on which outputs are read (default: the study's probe histories).

    Returns, for output and memory (time, probe): `_mean`, the mean over networks and paths, `_mean_error`, its
    standard error from the paths, `_std`, the standard deviation over networks on one path, and `_twin`, what is
    left of the mean without the 1/N term. float64. Takes seconds for a hundred nodes; it needs compiled kernels.
    Raises StudyError for bad arguments. Source: docs/model.md, "Finite width".
    """
    checked = training_study(study, "tangents")
    cell = cell_of(checked, width, (beta, richness), steps_per_time, depth, None)
    number = arguments.whole("paths", paths, least=FEWEST_PATHS)
    probes = None if histories is None else arguments.histories(histories, checked.dimension)
    be = arguments.backend(checked.backend_for("host"))
    with arguments.computing():
        at = chains.probe_histories(checked, be) if probes is None else probes
        block = RichBlock(plan.rich_twin(checked, cell), 0, number)
        responses = tangents.follow_block(checked, be, block, at, lambda steps: None)
    entries: dict[str, tables.Entry] = {}
    for name in ("output", "memory"):
        entries |= _predicted(name, responses, cell.width)
    entries["history"] = (at, ("probe", "step", "x"), "inputs of each probe history, oldest first")
    coordinates = {"time": clock(checked, 1)["time"]}
    return tables.dataset(entries, coordinates, {**attributes(checked), **coordinates_of(cell)})


def _predicted(name: str, responses: list[tangents.Response], width: int) -> dict[str, tables.Entry]:
    value, second, variance = (
        np.stack([getattr(response, kind)[name][0] for response in responses])
        for kind in ("value", "second", "variance")
    )
    mean: Array = value + second / width
    dims = ("time", "probe")
    return {
        f"{name}_mean": (mean.mean(0), dims, f"mean {name} over networks and paths"),
        f"{name}_mean_error": (mean.std(0, ddof=1) / len(mean) ** 0.5, dims, "its standard error from the paths"),
        f"{name}_std": (np.sqrt(variance.mean(0) / width), dims, f"standard deviation of the {name} on one path"),
        f"{name}_twin": (value.mean(0), dims, f"mean {name} of the rich twin"),
    }


def _twin(study: Study, richness: object, steps: object, depth: object, paths: object) -> RichTwin:
    """The rich twin that the arguments and the study's defaults describe."""
    grid = study.training
    tau = arguments.one_of("depth", None, grid.depth, "the study has") if depth is None else depth
    number = arguments.whole("paths", grid.paths_per_block if paths is None else paths)
    return RichTwin(
        arguments.richness(richness), steps_of(study, steps, None), arguments.whole("depth", tau), 0.0, number
    )
