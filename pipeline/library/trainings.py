"""Train networks, and follow their infinite-width twins, in this process; no file is written."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike

from rnnlimits import study as files
from rnnlimits.base.errors import StudyError
from rnnlimits.kernels import on_processor
from rnnlimits.kernels.interface import Array, Backend
from rnnlimits.library import arguments, tables
from rnnlimits.library.limits import at_histories
from rnnlimits.library.studies import Source, Study, training_study
from rnnlimits.library.threads import count, over_blocks, pieces
from rnnlimits.study.training import check_richness
from rnnlimits.theory import observe
from rnnlimits.theory.flow import probes_of
from rnnlimits.theory.laws import ParameterLaw
from rnnlimits.theory.observe import AtProbes
from rnnlimits.training import plan
from rnnlimits.training import train as stage
from rnnlimits.training import twin as twin_stage
from rnnlimits.training.plan import Axis, Block, Cell, Twin, TwinBlock

AT_END = "at the end of each probe history"
MOST_REPLICAS = 2**31  # indices of replicas are 32-bit words of the random counter


def train(
    study: files.AnyStudy | Source,
    *,
    width: int | None = None,
    beta: float | None = None,
    richness: float | None = None,
    replicas: int | None = None,
    steps_per_time: int | None = None,
    depth: int | None = None,
    first: int = 0,
    histories: ArrayLike | None = None,
    cores: int | None = None,
    backend: str = "auto",
) -> xr.Dataset:
    """Train networks of one width N, beta, K and depth tau, and record them at the study's checkpoints.

    study: a Study, a study file or the name of one that ships. width, beta: any, not only those of
    the study; each may be left out if the study has one value. richness: eps = N^-(1 - beta), in place
    of beta. replicas: how many, `first` ..
    `first + replicas - 1` (default: training.replicas_per_block, else 16). steps_per_time: K
    (default: the study's, where `width` means K = N). depth: tau (default: the study's). histories:
    on which outputs are read, (n, T, d) or (n, T) for d = 1 (default: the study's probe histories).
    cores: threads (default: all).

    Returns the variables of a shard of the stage train (docs/format.md), float64, and on the same
    back end the same bits: output and memory (replica, time, probe), loss (replica, loss_time), drift_*
    (replica, time), memory_sup, hidden_h1, hidden_h1_sup (replica, time, probe), and ntk_* with
    training.kernel. Coordinates `pair` (the path that a replica sees) and `sign` (of C in an
    antithetic pair) belong to replica. `output` is N^-beta sum C sigma. Raises StudyError
    for bad arguments. Source: docs/model.md, eq. (7) to (17).
    """
    checked = training_study(study, "train")
    cell = cell_of(checked, width, (beta, richness), steps_per_time, depth, replicas)
    start = arguments.whole("first", first, least=0, most=MOST_REPLICAS)
    probes = None if histories is None else arguments.histories(histories, checked.dimension)
    be = arguments.backend(checked.backend_for(backend))
    threads = count(be, cores)
    with arguments.computing():
        at = AtProbes.of(checked, on_processor(be)) if probes is None else _at_probes(checked, on_processor(be), probes)
        cut = pieces(start, cell.replicas, plan.block_size(checked, cell), threads)
        parts = over_blocks(
            threads, cut, lambda piece, tick: stage.train_block(checked, be, Block(cell, *piece), at, tick)
        )
    return _trained(checked, cell, start, at.history, parts)


def twin(
    study: files.AnyStudy | Source,
    *,
    steps_per_time: int | None = None,
    paths: int | None = None,
    first: int = 0,
    histories: ArrayLike | None = None,
    cores: int | None = None,
    backend: str = "auto",
) -> xr.Dataset:
    """Infinite-width twins: the same online SGD in the limit's features, along the paths that trainings see.

    study: a Study, a study file or the name of one that ships. steps_per_time: K (default: the
    study's, if it is one number). paths: how many, `first` .. `first + paths - 1` (default:
    those of a block of replicas). histories, cores: as in `train`.

    Returns output (path, time, probe) and loss (path, loss_time), float64, with the same bits as the
    stage twin on the same back end. Path p is that of the replicas whose coordinate `pair` is p. Raises
    StudyError for bad arguments. Source: docs/model.md, eq. (32).
    """
    checked = training_study(study, "twin")
    k = steps_of(checked, steps_per_time, None)
    number = arguments.whole("paths", checked.training.paths_per_block if paths is None else paths)
    start = arguments.whole("first", first, least=0, most=MOST_REPLICAS)
    probe_histories = None if histories is None else arguments.histories(histories, checked.dimension)
    be = arguments.backend(checked.backend_for(backend))
    threads = count(be, cores)
    with arguments.computing():
        near, law = on_processor(be), ParameterLaw.of(checked)
        probes = probes_of(checked, law, near) if probe_histories is None else at_histories(law, near, probe_histories)
        phi = law.features(law.nodes(checked.limit.nodes, checked.features), probes.last, probes.memory)
        cut = pieces(start, number, checked.training.paths_per_block, threads)
        twins = Twin(k, number)
        parts = over_blocks(
            threads, cut, lambda piece, tick: twin_stage.follow_block(checked, be, TwinBlock(twins, *piece), phi, tick)
        )
    return _followed(checked, k, start, probes.history, parts)


# --- arguments ------------------------------------------------------------------------------------------------


def cell_of(
    study: Study, width: object, axis: tuple[object, object], steps: object, depth: object, replicas: object
) -> Cell:
    """The cell defined by the arguments and the study's defaults; axis: beta and richness, at most one of them."""
    grid = study.training
    if width is None:
        width = arguments.one_of("width", None, grid.width, "the study has")
    if depth is None:
        depth = arguments.one_of("depth", None, grid.depth, "the study has")
    n = arguments.whole("width", width)
    number = arguments.whole("replicas", grid.smallest_block if replicas is None else replicas)
    at = steps_of(study, steps, n), arguments.whole("depth", depth), number
    return plan.cell_at(_axis_of(study, *axis, n), n, *at)


def _axis_of(study: Study, beta: object, richness: object, width: int) -> Axis:
    """The axis of a width: beta or richness, one of the arguments or the study's only one."""
    if beta is not None and richness is not None:
        raise StudyError("richness is given together with beta; give one of the two")
    grid = study.training
    if beta is None and richness is None:
        if grid.beta is not None:
            beta = arguments.one_of("beta", None, grid.beta, "the study has")
        else:
            richness = arguments.one_of("richness", None, grid.richness or (), "the study has")
    if richness is None:
        return Axis("beta", arguments.beta(beta))
    eps = arguments.richness(richness)
    with arguments.refusals():
        check_richness("richness", eps, width)
    return Axis("eps", eps)


def steps_of(study: Study, steps: object, width: int | None) -> int:
    """K: the argument, or the study's. Raises StudyError if a checkpoint is not a whole number of steps."""
    grid = study.training
    if steps is None:
        rules = grid.steps_per_time
        usable = [rule for rule in rules if width is not None or rule != "width"]
        rule = arguments.one_of("steps_per_time", None, usable or grid.width, "the study has")
        steps = width if rule == "width" else rule
    k = arguments.whole("steps_per_time", steps)
    with arguments.refusals():
        grid.check_steps("steps_per_time", k)
    return k


def _at_probes(study: Study, be: Backend, history: Array) -> AtProbes:
    """The limit along these histories, as `AtProbes.of` computes it along the study's."""
    law = ParameterLaw.of(study)
    memory = law.memory_path(be, history, np.zeros(len(history)))[:, :-1]
    hidden = observe.SobolevDistance.of(law, history.reshape(-1, study.dimension), memory.reshape(-1))
    return AtProbes(history, memory, hidden, observe.limit_kernel(law, history[:, -1], memory[:, -1]))


# --- results --------------------------------------------------------------------------------------------------


def _trained(study: Study, cell: Cell, first: int, history: Array, parts: Sequence[stage.Trained]) -> xr.Dataset:
    """The variables of a shard of the stage train, for all blocks in their order."""
    entries: dict[str, tables.Entry] = {}
    for name in ("output", "memory"):
        values = np.concatenate([getattr(part, name) for part in parts])
        entries[name] = (values, ("replica", "time", "probe"), f"network {name} {AT_END}")
    for name in parts[0].observed:
        further, words = (observe.MEMORY | observe.KERNEL)[name]
        values = np.concatenate([part.observed[name] for part in parts])
        entries[name] = (values, ("replica", "time", *further), words)
    loss = np.concatenate([part.loss for part in parts])
    entries["loss"] = (loss, ("replica", "loss_time"), "mean of (Yhat_k - Y_k)^2 along the path")
    for name, words in stage.DRIFTS.items():
        entries[name] = (np.concatenate([part.drift[name] for part in parts]), ("replica", "time"), words)
    entries["history"] = (history, ("probe", "step", "x"), "inputs of each probe history, oldest first")
    coordinates = _replica_coordinates(study, first, cell.replicas) | clock(study, loss.shape[1])
    point = coordinates_of(cell)
    return tables.dataset(entries, coordinates, {**attributes(study), **point, "cell_id": plan.cell_id(study, cell)})


def coordinates_of(cell: Cell) -> dict[str, Any]:
    """The attributes that say which networks these are."""
    return {name: value for name, value in cell.coordinates.items() if name != "replicas"}


def _replica_coordinates(study: Study, first: int, count: int) -> dict[str, tables.Entry]:
    replica = np.arange(first, first + count, dtype=np.int64)
    paired = study.training.antithetic
    sign = 1 - 2 * (replica % 2) if paired else np.ones_like(replica)
    return {
        "replica": (replica, ("replica",), "index of the independent training"),
        "pair": (replica // 2 if paired else replica, ("replica",), "index of path, W and B"),
        "sign": (sign, ("replica",), "sign of C within an antithetic pair"),
    }


def clock(study: Study, bins: int) -> dict[str, tables.Entry]:
    """The coordinates time and loss_time."""
    times = tables.loss_times(bins, study.training.horizon)
    return {
        "time": (np.array(study.training.checkpoints), ("time",), "training time t"),
        "loss_time": (times, ("loss_time",), "training time at the centre of the bin"),
    }


def _followed(
    study: Study, steps_per_time: int, first: int, history: Array, parts: Sequence[twin_stage.Followed]
) -> xr.Dataset:
    output, loss = (np.concatenate([getattr(part, name) for part in parts]) for name in ("output", "loss"))
    words = "mean of (phi.theta_k - Y_k)^2 along the path"
    about = f"output of the twin {AT_END}"
    entries: dict[str, tables.Entry] = {
        "output": (output, ("path", "time", "probe"), about),
        "loss": (loss, ("path", "loss_time"), words),
        "history": (history, ("probe", "step", "x"), "inputs of each probe history, oldest first"),
    }
    path = np.arange(first, first + len(output), dtype=np.int64)
    coordinates: dict[str, tables.Entry] = {"path": (path, ("path",), "index of the path of the chain")}
    attrs = {**attributes(study), "steps_per_time": steps_per_time}
    return tables.dataset(entries, coordinates | clock(study, loss.shape[1]), attrs)


def attributes(study: Study) -> dict[str, Any]:
    """What every dataset says of its study."""
    return {
        "study": study.name,
        "study_id": plan.study_id(study),
        "alpha": study.training.alpha,
        "horizon": study.training.horizon,
        "precision": study.precision,
        "seed": study.seed,
    }
