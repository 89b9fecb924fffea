"""How a stage is entered: study read and checked, back end chosen, lock held, errors shared. No stage knows this."""

from __future__ import annotations

import os
import platform
import shlex
import signal
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from mpi4py import MPI

from rnnlimits import experiments
from rnnlimits.base import progress
from rnnlimits.base.errors import StudyError
from rnnlimits.base.locks import exclusive
from rnnlimits.cluster.parts import DRAW, TWIN
from rnnlimits.elman import plan as rntk_plan
from rnnlimits.elman import train as networks
from rnnlimits.elman.layout import RntkLayout
from rnnlimits.kernels import backend, processor
from rnnlimits.kernels.problem import Backend
from rnnlimits.ranks import gpus, parallel
from rnnlimits.study import AnyStudy, RntkStudy, Study, load_any
from rnnlimits.training import draw, plan, train, twin
from rnnlimits.training.layout import Layout

Say = Callable[[str], None]


@dataclass(frozen=True)
class Order:
    """What the command line asked for; `say` prints a line for the user, on one rank only."""

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
    # It asks for a saved state, of which there is none before blocks begin and after they end. Unasked it would kill.
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
        # Only this rank may have come here: the others must not wait for it.
        parallel.abort(comm, traceback.format_exc())


def _distributed(comm: MPI.Intracomm, order: Order) -> None:
    study = parallel.on_root(comm, lambda: _checked(order.study))
    parallel.on_root(comm, lambda: _begin_log(comm, order))
    be = _same_backend(comm, order)
    if isinstance(study, RntkStudy):
        _networks(comm, study, be, order)
        return
    layout = Layout.of(study, order.results)
    for part in _parts(study, order):
        _one_part(comm, study, layout, be, part, order.say if order.stage == "work" else None)


def _networks(comm: MPI.Intracomm, study: RntkStudy, be: Backend, order: Order) -> None:
    """The packs of networks that were asked for."""
    if order.stage not in ("train", "work"):
        experiments.require_training(study, f"stage {order.stage}")
    layout = RntkLayout.of(study, order.results)
    packs = order.parts or ([order.pack] if order.pack else list(rntk_plan.packs(study)))
    for pack in packs:
        with _held_by_root(comm, layout, f"train-{pack}", order.say if order.stage == "work" else None):
            networks.run(study, layout, pack, comm, be)


def _parts(study: Study, order: Order) -> Sequence[str]:
    """The parts that were asked for, by name."""
    if order.stage == "work":
        return order.parts
    if order.stage == "twin":
        return [f"{TWIN}{order.steps:05d}" if order.steps else TWIN]
    if order.stage == "train":
        return [order.pack] if order.pack else list(plan.packs(study))
    return [DRAW]


def _one_part(comm: MPI.Intracomm, study: Study, layout: Layout, be: Backend, part: str, wait: Say | None) -> None:
    """Run one part under its lock. wait: told when another process, such as a job left over, has to end first."""
    if part == DRAW:
        with _held_by_root(comm, layout, "draw", wait):
            draw.run(study, layout, comm, be)
    elif part.startswith(TWIN):
        with _held_by_root(comm, layout, part.removesuffix("-K"), wait):
            steps = part.removeprefix(TWIN)
            twin.run(study, layout, int(steps) if steps.isdecimal() else None, comm, be)
    else:
        with _held_by_root(comm, layout, f"train-{part}", wait):
            train.run(study, layout, part, comm, be)


def _begin_log(comm: MPI.Intracomm, order: Order) -> None:
    progress.log_to(order.log)
    progress.note(f"{shlex.join(sys.argv)}, {comm.size} ranks")


@contextmanager
def _held_by_root(comm: MPI.Intracomm, layout: Layout, name: str, wait: Say | None) -> Iterator[None]:
    """The lock `name`, held by rank 0 for all.

    Raises StudyError on all ranks if another process has it, unless there is a `wait` to tell so.
    """
    with ExitStack() as held:
        parallel.on_root(comm, lambda: held.enter_context(exclusive(layout.locks, name, wait)))
        yield


def _checked(path: Path) -> AnyStudy:
    study = load_any(path)
    experiments.check(study)
    return study


def _same_backend(comm: MPI.Intracomm, order: Order) -> Backend:
    """The back end asked for, the same on every rank. Raises StudyError on all ranks if one cannot have it."""
    split = parallel.rank_on_node(comm)
    gpu = parallel.together(comm, lambda: gpus.own(order.backend, os.environ, split))
    be = parallel.together(comm, lambda: backend(order.backend, warn=order.say, gpu=gpu))
    require_same(comm.allgather(be.name))
    if be.name == "cuda":
        _announce(comm, gpu or 0, order.say)
    return be


def require_same(names: Sequence[str]) -> None:
    """Raises StudyError unless all ranks have the same back end; names: one for each rank."""
    kinds = sorted(set(names))
    if len(kinds) == 1:
        return
    ranks = {kind: gpus.name_ranks([rank for rank, name in enumerate(names) if name == kind]) for kind in kinds}
    found = ", ".join(f"{kind} on {ranks[kind]}" for kind in kinds)
    needed = "a GPU, or --backend host" if "cuda" in kinds else "a compiler, or --backend numpy"
    raise StudyError(f"--backend: ranks found different ones ({found}); give all {needed}")


def _announce(comm: MPI.Intracomm, gpu: int, say: Say) -> None:
    """Say on rank 0 which ranks work on which GPU. Collective."""
    from rnnlimits.kernels import cuda

    name, identity = parallel.together(comm, lambda: (cuda.name_of(gpu), cuda.identity(gpu)))
    seats = comm.gather(gpus.Seat(platform.node(), gpu, name, identity))
    if seats is None:
        return
    lines = [gpus.describe(seats), gpus.sharing(seats)]
    for line in filter(None, lines):
        say(line)
        progress.note(line)


def serial(order: Order) -> None:
    """Run limit, poisson, rates, figures or report in this process."""
    study = _checked(order.study)
    layout = RntkLayout.of(study, order.results)
    with exclusive(layout.locks, order.stage):
        if isinstance(study, RntkStudy):
            _of_networks(study, layout, order)
        else:
            _SERIAL[order.stage](study, layout, order)


def _of_networks(study: RntkStudy, layout: RntkLayout, order: Order) -> None:
    be = processor(order.backend, warn=order.say)
    if order.stage == "rates":
        from rnnlimits.rates import elman as rates

        rates.run(study, layout, be)
    elif order.stage == "figures":
        from rnnlimits.figures import elman as figures

        figures.run(study, layout, be)
    elif order.stage == "report":
        _report(study, layout, order)
    else:
        experiments.require_training(study, f"stage {order.stage}")


# Imported when they run: plotting takes a second to import, and only the stage that plots pays for it.
def _limit(study: Study, layout: Layout, order: Order) -> None:
    from rnnlimits.training import limit

    limit.run(study, layout, processor(order.backend, warn=order.say))


def _poisson(study: Study, layout: Layout, order: Order) -> None:
    from rnnlimits.training import constants as fluctuations

    fluctuations.run(study, layout, processor(order.backend, warn=order.say))


def _rates(study: Study, layout: Layout, order: Order) -> None:
    from rnnlimits.rates import stage as rates

    rates.run(study, layout, processor(order.backend, warn=order.say))


def _figures(study: Study, layout: Layout, _: Order) -> None:
    from rnnlimits.figures import rates as figures

    figures.run(study, layout)


def _report(study: AnyStudy, layout: Layout, _: Order) -> None:
    from rnnlimits import report

    report.run(study, layout)


_SERIAL = {"limit": _limit, "poisson": _poisson, "rates": _rates, "figures": _figures, "report": _report}
