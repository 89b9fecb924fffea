"""Entry to the stages: read and check the study, choose a back end, hold a lock, share errors. Stages need not know."""

from __future__ import annotations

import os
import platform
import shlex
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mpi4py import MPI

from rnnlimits import experiments, kernels
from rnnlimits.base import progress
from rnnlimits.base.errors import StudyError
from rnnlimits.base.locks import exclusive
from rnnlimits.kernels import backend, processor
from rnnlimits.kernels.interface import Backend
from rnnlimits.plan import due
from rnnlimits.plan.layout import StudyFolder
from rnnlimits.plan.parts import Experiment, Part
from rnnlimits.ranks import gpus, parallel
from rnnlimits.run.continuing import require_same_backend
from rnnlimits.study import AnyStudy, load_any

Say = Callable[[str], None]


@dataclass(frozen=True)
class Order:
    """A request of the command line; `say` prints a line for the user, on one rank only."""

    stage: str
    study: Path
    results: Path
    backend: str
    say: Say
    pack: str | None = None
    steps: int | None = None
    log: Path | None = None
    parts: Sequence[str] = ()


def distributed(order: Order) -> None:
    """Run draw, twin, train or several parts on all ranks of this job.

    Raises StudyError on every rank; a defect ends all of them.
    """
    comm = parallel.world()
    # SIGUSR1 requests a saved state; none exists before blocks begin or after they end. By default it would kill.
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    try:
        _distributed(comm, order)
    except StudyError as error:
        progress.note(f"rnnlimits: {error}")
        raise
    except parallel.RankFailed as failure:
        order.say(str(failure))
        progress.note(str(failure))
        raise SystemExit(1) from failure
    except Exception:
        # Perhaps only this rank has failed: the others must not wait for it.
        parallel.abort(comm, traceback.format_exc())


def _distributed(comm: MPI.Intracomm, order: Order) -> None:
    study = parallel.on_root(comm, lambda: _checked(order.study))
    parallel.on_root(comm, lambda: _begin_log(comm, order))
    be = _same_backend(comm, replace(order, backend=study.backend_for(order.backend, order.say)))
    parallel.together(comm, study.prepare)
    experiment = experiments.of(study, order.results)
    if order.backend == "auto":
        parallel.on_root(comm, lambda: require_same_backend(experiment, be.name))
    wait = order.say if order.stage == "work" else None  # wait for another process, such as a leftover job, to end
    for part in parallel.together(comm, lambda: chosen(experiment, order)):
        with _held_by_root(comm, experiment.layout, part.lock, wait):
            part.run(comm, be)


def chosen(experiment: Experiment, order: Order) -> list[Part]:
    """The requested parts. Raises StudyError for a part that the study does not have."""
    parts = experiment.parts()
    if order.stage == "work":
        by_name = {part.name: part for part in parts}
        return [by_name[_require_known(experiment, "part", name, by_name)] for name in order.parts]
    if order.stage not in experiment.parallel:
        raise experiments.has_no(experiment.study, f"stage {order.stage}")
    of_stage = [part for part in parts if part.command == order.stage]
    requested = order.pack if order.steps is None else order.steps
    if requested is None:
        return of_stage
    by_option = {part.option[1]: part for part in of_stage if part.option}
    what = "pack" if order.steps is None else f"{order.stage} with K ="
    return [by_option[_require_known(experiment, what, requested, by_option)]]


def _require_known(experiment: Experiment, what: str, requested: Any, allowed: Mapping[Any, Part]) -> Any:
    if requested in allowed:
        return requested
    names = ", ".join(map(str, allowed)) or "none"
    raise StudyError(f"{experiment.study.source}: there is no {what} {requested}; allowed: {names}")


def _begin_log(comm: MPI.Intracomm, order: Order) -> None:
    progress.log_to(order.log)
    progress.note(f"{shlex.join(sys.argv)}, {comm.size} ranks")


@contextmanager
def _held_by_root(comm: MPI.Intracomm, layout: StudyFolder, name: str, wait: Say | None) -> Iterator[None]:
    """The lock `name`, held by rank 0 for all.

    Raises StudyError on all ranks if another process holds it, unless `wait` is given, which is called while waiting.
    """
    with ExitStack() as held:
        parallel.on_root(comm, lambda: held.enter_context(exclusive(layout.locks, name, wait)))
        yield


def _checked(path: Path) -> AnyStudy:
    study = load_any(path)
    experiments.check(study)
    return study


def _same_backend(comm: MPI.Intracomm, order: Order) -> Backend:
    """The requested back end, the same on every rank. Raises StudyError on all ranks if one cannot use it."""
    split = parallel.rank_on_node(comm)
    gpu = parallel.together(comm, lambda: gpus.own(order.backend, os.environ, split))
    be = parallel.together(comm, lambda: backend(order.backend, gpu=gpu))
    require_same(comm.allgather(be.name))
    if be.on_device:
        _announce(comm, be, gpu or 0, order.say)
    return be


def require_same(names: Sequence[str]) -> None:
    """Raises StudyError unless all ranks have the same back end; names: one for each rank."""
    kinds = sorted(set(names))
    if len(kinds) == 1:
        return
    ranks = {kind: gpus.name_ranks([rank for rank, name in enumerate(names) if name == kind]) for kind in kinds}
    by_kind = ", ".join(f"{kind} on {ranks[kind]}" for kind in kinds)
    on_device = any(kernels.BACKENDS[kind].on_device for kind in kinds)
    needed = "a GPU, or --backend host" if on_device else "a compiler, or --backend numpy"
    raise StudyError(f"--backend: ranks found different ones ({by_kind}); give all {needed}")


def _announce(comm: MPI.Intracomm, be: Backend, gpu: int, say: Say) -> None:
    """Print on rank 0 which ranks work on which GPU. Collective."""
    name, identity = parallel.together(comm, lambda: kernels.gpu(be.name, gpu))
    seats = comm.gather(gpus.Seat(platform.node(), gpu, name, identity))
    if seats is None:
        return
    lines = [gpus.describe(seats), gpus.sharing(seats)]
    for line in filter(None, lines):
        say(line)
        progress.note(line)


def serial(order: Order) -> None:
    """Run one step, such as limit, rates or report, in this process."""
    experiment = experiments.of(_checked(order.study), order.results)
    step = next((step for step in experiment.steps() if step.name == order.stage), None)
    if step is None:
        raise experiments.has_no(experiment.study, f"stage {order.stage}")
    with exclusive(experiment.layout.locks, order.stage):
        due.require_inputs(experiment, step)
        backend = experiment.study.backend_for(order.backend, order.say)
        started = time.monotonic()
        step.run(lambda: processor(backend))
        if not sys.stderr.isatty():  # logs, in which otherwise nothing would show that one step follows another
            order.say(f"{order.stage}: done in {progress.readable_time(time.monotonic() - started)}")
