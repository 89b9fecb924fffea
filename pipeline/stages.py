"""How a stage is entered: study read and checked, back end chosen, lock held, errors shared. No stage knows this."""

from __future__ import annotations

import shlex
import sys
import traceback
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from mpi4py import MPI

from kernels import backend
from kernels.problem import Backend, KernelError
from pipeline import checks, draw, parallel, plan, progress, study, train
from pipeline.errors import StudyError
from pipeline.layout import Layout
from pipeline.locks import exclusive
from pipeline.study import Study

Say = Callable[[str], None]


def distributed(
    name: str, path: Path, results: Path, be_name: str, pack: str | None, log: Path | None, say: Say
) -> None:
    """Run draw or train on all ranks of this MPI job. Raises StudyError on every rank, or aborts all on a defect."""
    comm = parallel.world()
    try:
        _distributed(comm, name, path, results, be_name, pack, log, say)
    except StudyError:
        raise
    except Exception as error:
        # Only this rank may have come here: the others must not wait for it.
        text = str(error) if isinstance(error, parallel.RankFailed) else traceback.format_exc()
        if comm.rank == 0 or not isinstance(error, parallel.RankFailed):
            print(text, file=sys.stderr, flush=True)
        if not isinstance(error, parallel.RankFailed):
            comm.Abort(1)
        raise SystemExit(1) from error


def _distributed(
    comm: MPI.Intracomm,
    name: str,
    path: Path,
    results: Path,
    be_name: str,
    pack: str | None,
    log: Path | None,
    say: Say,
) -> None:
    wanted = parallel.on_root(comm, lambda: _checked(path))
    layout = Layout.of(wanted, results)
    with ExitStack() as held:

        def begin() -> None:
            held.enter_context(exclusive(layout.locks, f"{name}-{pack}" if pack else name))
            progress.log_to(log)
            progress.note(f"{shlex.join(sys.argv)}, {comm.size} ranks")

        parallel.on_root(comm, begin)
        be = _same_backend(comm, be_name, say)
        if name == "draw":
            draw.run(wanted, layout, comm, be)
            return
        for each in [pack] if pack else plan.packs(wanted):
            train.run(wanted, layout, each, comm, be)


def _checked(path: Path) -> Study:
    wanted = study.load(path)
    checks.check(wanted)
    return wanted


def _same_backend(comm: MPI.Intracomm, name: str, say: Say) -> Backend:
    """The back end called `name`, the same on every rank. Raises StudyError on all ranks if one cannot have it."""
    be, error = None, None
    try:
        be = backend(name, warn=say)
    except KernelError as raised:
        error = str(raised)
    found = comm.allgather((be.name if be else None, error))
    if errors := [error for _, error in found if error is not None]:
        raise StudyError(errors[0])
    if len(set(found)) > 1:
        names = ", ".join(str(name) for name, _ in found)
        raise StudyError(f"--backend: ranks found different ones ({names}); give all a compiler, or --backend numpy")
    assert be is not None
    return be


def serial(name: str, path: Path, results: Path, be_name: str, say: Say) -> None:
    """Run limit, rates or figures in this process."""
    wanted = _checked(path)
    layout = Layout.of(wanted, results)
    with exclusive(layout.locks, name):
        _serial_stages(be_name, say)[name](wanted, layout)


def _serial_stages(be_name: str, say: Say) -> dict[str, Callable[[Study, Layout], None]]:
    # Plotting takes a second to import: only the stage that plots pays for it.
    def limit(wanted: Study, layout: Layout) -> None:
        from pipeline import limit

        limit.run(wanted, layout, backend(be_name, warn=say))

    def rates(wanted: Study, layout: Layout) -> None:
        from pipeline import rates

        rates.run(wanted, layout, backend(be_name, warn=say))

    def figures(wanted: Study, layout: Layout) -> None:
        from pipeline import figures

        figures.run(wanted, layout)

    return {"limit": limit, "rates": rates, "figures": figures}
