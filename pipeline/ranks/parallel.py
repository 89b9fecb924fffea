"""Distribution of work over MPI ranks: blocks from a shared counter; all ranks stop together when one fails."""

from __future__ import annotations

import math
import os
import signal
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import numpy as np

from rnnlimits.base import launchers, memory, progress, segments, signals, surroundings
from rnnlimits.base.errors import StudyError
from rnnlimits.base.progress import Progress
from rnnlimits.base.signals import Asked
from rnnlimits.kernels import gpu_failure
from rnnlimits.kernels.interface import KernelError
from rnnlimits.ranks import patience

# Importing it starts MPI, so functions that use it import it: block functions are called without MPI as well.
if TYPE_CHECKING:
    from mpi4py import MPI

Result = TypeVar("Result")
Tick = Callable[[int], None]

GRACE_SECONDS = 6.0  # how long the others may take to notice a failure before the whole job is aborted
SILENT_SECONDS = 120.0  # without a sign of life from the ranks that still work, after which waiting ranks give up
ENDING_SECONDS = 12.0  # after a request to end: longest time between two ranks that finish saving their work
DRAIN_SECONDS = 1.0  # between the last message and an abort: mpiexec drops output that it has not forwarded yet
TICK_SECONDS = 0.1  # between two exchanges of a rank with the others
PUSH_SECONDS = 0.001  # between two calls of MPI by rank 0, on which ranks of other nodes wait
IDLE_SECONDS = 0.02  # between two checks by a waiting rank


def abort(comm: MPI.Intracomm, words: str) -> None:
    """Print the reason on stderr, then end all ranks with exit code 1."""
    print(words, file=sys.stderr, flush=True)
    time.sleep(DRAIN_SECONDS)
    comm.Abort(1)


class RankFailed(Exception):
    """A defect, not bad input, stopped a rank; the text is its traceback."""


class Stopped(Exception):
    """Stop the current work because a rank failed or, if `in_peace`, because one was asked to end.

    saved: the amount of work that was saved, in its unit; set by the code that saves it while this propagates.
    """

    def __init__(self, in_peace: bool) -> None:
        super().__init__()
        self.in_peace = in_peace
        self.saved = 0


class Ended(SystemExit):
    """All ranks end because one received a signal; the exit code is that of the signal."""

    def __init__(self, number: int) -> None:
        super().__init__(128 + number)


class Counts(NamedTuple):
    """Values shared by all ranks: blocks taken; work done, and done by an earlier run; for the others see below."""

    next: int
    done: int
    resumed: int
    stop: int  # failed ranks, plus END times the ranks that were asked to end
    finished: int  # finished ranks
    signs: int  # signs of life


FAILURE, END = 1, 1 << 32


class Counters:
    """A few integers on rank 0 that every rank reads and increments, one-sided, while others compute."""

    def __init__(self, comm: MPI.Intracomm) -> None:
        from mpi4py import MPI

        words = len(Counts._fields)
        self._window = MPI.Win.Allocate(8 * words if comm.rank == 0 else 0, 8, comm=comm)
        if comm.rank == 0:
            np.frombuffer(self._window, dtype=np.int64)[:] = 0  # type: ignore[call-overload]
        comm.Barrier()
        self._window.Lock_all()
        push = _several_nodes(comm) and comm.rank == 0
        self._push: AbstractContextManager[None] = _Push(comm) if push else nullcontext()
        self._push.__enter__()

    def exchange(self, **added: int) -> Counts:
        """Add to some of the counters; returns what all were before. One operation: it may cross the network."""
        from mpi4py import MPI

        new, old = np.array([added.get(name, 0) for name in Counts._fields]), np.empty(len(Counts._fields), np.int64)
        self._window.Get_accumulate(new, old, 0, op=MPI.SUM)
        self._window.Flush(0)
        return Counts(*old.tolist())

    def __enter__(self) -> Counters:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._push.__exit__(kind, error, at)
        self._window.Unlock_all()
        self._window.Free()


class _Push:
    """A thread that enters MPI regularly: operations of ranks on other nodes wait for that while rank 0 computes.

    Without it one operation took whole seconds, the time that rank 0 needs from one tick to the next.
    """

    def __init__(self, comm: MPI.Intracomm) -> None:
        self._comm, self._done = comm, threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        while not self._done.wait(PUSH_SECONDS):
            self._comm.Iprobe()

    def __enter__(self) -> None:
        from mpi4py import MPI

        if MPI.Query_thread() == MPI.THREAD_MULTIPLE:
            self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._done.set()
        if self._thread.is_alive():
            self._thread.join()


def _several_nodes(comm: MPI.Intracomm) -> bool:
    from mpi4py import MPI

    node = comm.Split_type(MPI.COMM_TYPE_SHARED, comm.rank)
    try:
        return bool(comm.allreduce(node.size < comm.size, op=MPI.LOR))
    finally:
        node.Free()


def world() -> MPI.Intracomm:
    """All ranks of this run; one rank when it was not started by mpiexec."""
    from mpi4py import MPI

    return MPI.COMM_WORLD


def start() -> None:
    """Prepare this process to be a rank, or the only one: its environment, shared memory, MPI.

    Raises StudyError if MPI cannot start, Crowd as `require_mpi` does.
    """
    if not launchers.is_rank(os.environ):
        surroundings.leave_mpi()
    segments.require_room()
    memory.keep_freed()
    require_mpi()


def require_mpi() -> None:
    """Start MPI, once it is known to be that of the launcher of this process: another one would end the process.

    Raises StudyError if no MPI library can be loaded, Crowd if it is another one.
    """
    if "mpi4py.MPI" not in sys.modules:
        import mpi4py

        mpi4py.rc(initialize=False, finalize=True)
    try:
        from mpi4py import MPI
    except (ImportError, RuntimeError) as error:
        line = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise StudyError(f"MPI: cannot be loaded ({line}); MPI4PY_LIBMPI names its library if it is set") from error
    name, version = MPI.get_vendor()
    library = f"{name} {'.'.join(map(str, version))}"
    launchers.require_family(library, os.environ)
    if not MPI.Is_initialized():
        os.environ.update(launchers.netmod_for_srun(MPI.Get_library_version(), os.environ))
        with _in_time(), warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # of two MPIs: what follows says it too, and what to do
            MPI.Init_thread(MPI.THREAD_MULTIPLE)
    launchers.require_same_mpi(MPI.COMM_WORLD.size, library, os.environ)


def _in_time() -> AbstractContextManager[None]:
    """A context in which MPI starts, which reports ranks that do not find each other; without effect for one rank."""
    one = launchers.started(os.environ)
    if one is None or one.size == 1:
        return nullcontext()
    return patience.limited(f"MPI: rank {one.rank} of {one.size}, started by {one.launcher}, looks for the others")


def rank_on_node(comm: MPI.Intracomm) -> int:
    """This rank's number among the ranks that share memory with it. Collective."""
    from mpi4py import MPI

    node = comm.Split_type(MPI.COMM_TYPE_SHARED, comm.rank)
    try:
        return node.rank
    finally:
        node.Free()


def on_root(comm: MPI.Intracomm, work: Callable[[], Result]) -> Result:
    """Do `work` on rank 0 and return its result, or raise its exception, on every rank. Collective."""
    outcome: tuple[Any, str | None, bool] = (None, None, False)
    if comm.rank == 0:
        outcome = _attempt(work)
    result, error, is_defect = comm.bcast(outcome, root=0)
    if error is not None:
        raise RankFailed(error) if is_defect else StudyError(error)
    return result  # type: ignore[no-any-return]


def together(comm: MPI.Intracomm, work: Callable[[], Result]) -> Result:
    """Do `work` on every rank and return its result; if it raises on one rank, raise the same on all. Collective."""
    result, error, is_defect = _attempt(work)
    _raise_first(comm, comm.allgather((error, is_defect)))
    return result  # type: ignore[return-value]


def _raise_first(comm: MPI.Intracomm, failures: Sequence[tuple[str | None, bool]]) -> None:
    """Raise the error of the first failed rank; failures: for each rank its error and whether it is a defect."""
    for rank, (error, is_defect) in enumerate(failures):
        if error is not None:
            raise RankFailed(f"rank {rank} of {comm.size} failed:\n{error}") if is_defect else StudyError(error)


def _attempt(work: Callable[[], Result]) -> tuple[Result | None, str | None, bool]:
    try:
        return work(), None, False
    except (StudyError, KernelError) as error:
        return None, str(error), False
    except MemoryError as error:
        return (
            None,
            f"out of memory ({error}); lower training.replicas_per_block or the widths, or use fewer ranks",
            False,
        )
    except Exception as error:
        if line := gpu_failure(error):
            return None, line, False
        return None, traceback.format_exc(), True


class Ticker:
    """Exchange of one rank with the others: progress, and requests by other ranks or signals. See `each_block`."""

    def __init__(self, counters: Counters, asked: Asked, display: Progress | None, ranks: int) -> None:
        self.asked = asked
        self._counters, self._display, self._ranks = counters, display, ranks
        self._forwarded, self._amount, self._published = False, 0, -math.inf
        self._launcher = os.getppid()

    @property
    def orphaned(self) -> bool:
        """Whether the launcher of this rank (the node's slurmstepd or proxy of mpiexec) has died."""
        return self._ranks > 1 and os.getppid() != self._launcher

    def __call__(self, amount: int) -> None:
        """Report that `amount` more was done. Raises Stopped if the work is to be stopped."""
        self._amount += amount
        self._hear()
        if time.monotonic() - self._published >= TICK_SECONDS:
            self.tell(signs=1)

    def resumed(self, amount: int) -> None:
        """Report that `amount` was done by an earlier run."""
        self._counters.exchange(resumed=amount, done=amount)

    def tell(self, **added: int) -> Counts:
        """Publish the work done at once, and add to the counters; returns them. Raises Stopped as above."""
        done, self._amount, self._published = self._amount, 0, time.monotonic()
        now = self._counters.exchange(done=done, **added)
        self._show(now)
        if now.stop:
            raise Stopped(in_peace=now.stop % END == 0)
        return now

    def look(self) -> Counts:
        """Forward a SIGTERM to all ranks, and show the progress."""
        self._hear()
        done, self._amount = self._amount, 0
        now = self._counters.exchange(done=done)
        self._show(now)
        return now

    def finish(self) -> None:
        """Show the last line."""
        if self._display is not None:
            now = self._counters.exchange()
            self._display.finish(now.done, now.resumed)

    def _hear(self) -> None:
        if self.orphaned:  # nothing would notice the end of this rank, and its MPI_Finalize would hang
            self.asked.end = signal.SIGTERM
        if self.asked.end and not self._forwarded:
            self._forwarded, self._published = True, -math.inf
            self._counters.exchange(stop=END)

    def _show(self, now: Counts) -> None:
        if self._display is not None:
            self._display.update(now.done, now.resumed)


@dataclass(frozen=True)
class _Outcome:
    """The outcome of one rank's share of the work."""

    error: str | None
    is_defect: bool
    saved: int
    asked_to_end: int
    orphaned: bool


def each_block(
    comm: MPI.Intracomm, sizes: Sequence[int], work: Callable[[int, Ticker], None], label: str, unit: str
) -> None:
    """Call work(index, tick) once for every block, on whichever rank is free, the largest first. Collective.

    sizes: work of each block in `unit`s; `tick(amount)` reports progress from inside and must be called at least
    every second or so: there a rank learns that another one failed, or that one was asked to end, and raises Stopped;
    work may be saved while that propagates. An exception of one rank is raised on every rank; Ended after a signal.
    """
    order = sorted(range(len(sizes)), key=lambda index: -sizes[index])
    with signals.heard() as requests, Counters(comm) as counters:
        display = Progress(label, sum(sizes), unit) if comm.rank == 0 else None
        tick = Ticker(counters, requests, display, comm.size)
        saved, error, is_defect = _attempt(lambda: _take_blocks(order, work, tick))
        counters.exchange(finished=1, stop=0 if error is None else FAILURE)
        _wait(comm, tick, error)
        outcomes = comm.allgather(_Outcome(error, is_defect, saved or 0, requests.end, tick.orphaned))
        number = max(outcome.asked_to_end for outcome in outcomes)
        requests.answered = number > 0
        if not requests.answered and not any(outcome.error for outcome in outcomes):
            tick.finish()
    _raise_first(comm, [(outcome.error, outcome.is_defect) for outcome in outcomes])
    orphans = [rank for rank, outcome in enumerate(outcomes) if outcome.orphaned]
    if orphans:
        _leave_orphaned(comm, orphans, label)
    if requests.answered:
        _end(comm, number, label, f"{sum(outcome.saved for outcome in outcomes):.4g} {unit}")


def _leave_orphaned(comm: MPI.Intracomm, orphans: Sequence[int], label: str) -> None:
    """Abort, because MPI cannot end normally without its launcher; rank 0 prints the reason while the others wait."""
    if comm.rank == 0:
        progress.say(
            f"rnnlimits: {label}: the launcher of rank {orphans[0]} of {comm.size} has died (its node's slurmstepd or "
            "proxy of mpiexec); unfinished blocks are saved; the same command continues"
        )
    time.sleep(DRAIN_SECONDS)
    comm.Abort(1)


def _end(comm: MPI.Intracomm, number: int, label: str, saved: str) -> None:
    if comm.rank == 0:
        progress.say(
            f"rnnlimits: {label}: stopped by {signal.Signals(number).name} after saving {saved} of unfinished blocks; "
            "the same command continues"
        )
    raise Ended(number)


def _take_blocks(order: Sequence[int], work: Callable[[int, Ticker], None], tick: Ticker) -> int:
    """Work until no blocks remain or the work is stopped; returns the amount saved of an unfinished block."""
    try:
        while (turn := tick.tell(next=1, signs=1).next) < len(order):
            work(order[turn], tick)
    except Stopped as stopped:
        return stopped.saved
    return 0


def _wait(comm: MPI.Intracomm, tick: Ticker, error: str | None) -> None:
    """Wait until all ranks have finished. A rank that failed or was asked to end aborts those that do not follow."""
    last, since, signs, heard = (0, 0), time.monotonic(), 0, time.monotonic()
    while (now := tick.look()).finished < comm.size:
        if error is None and last != (now.finished, tick.asked.end):
            last, since = (now.finished, tick.asked.end), time.monotonic()
        if now.signs != signs:
            signs, heard = now.signs, time.monotonic()
        waited, silent, left = time.monotonic() - since, time.monotonic() - heard, comm.size - now.finished
        if error is not None and waited > GRACE_SECONDS:
            abort(comm, f"{error}\nother ranks did not stop within {GRACE_SECONDS:.0f} s and were aborted")
        if tick.asked.end and waited > ENDING_SECONDS:
            abort(comm, f"{left} of {comm.size} ranks did not end within {ENDING_SECONDS:.0f} s: aborted")
        if silent > SILENT_SECONDS:
            abort(comm, f"{left} of {comm.size} ranks gave no sign of life for {SILENT_SECONDS:.0f} s: aborted")
        time.sleep(IDLE_SECONDS)
