"""Blocks of work on all cores of this machine, in threads: kernels and NumPy release Python's global lock."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from threading import Event
from typing import TypeVar

from rnnlimits.kernels.interface import Backend
from rnnlimits.library.arguments import whole

Item = TypeVar("Item")
Result = TypeVar("Result")
Tick = Callable[[int], None]


class Interrupted(Exception):
    """Another block failed, or the user interrupted: stop this one."""


def count(be: Backend, cores: object) -> int:
    """Threads to start: `cores`, or all that this process may use; one for a GPU.

    Raises StudyError for a value that is not a whole number.
    """
    threads = len(os.sched_getaffinity(0)) if cores is None else whole("cores", cores)
    return 1 if be.on_device else threads


def pieces(first: int, number: int, block: int, threads: int) -> Iterator[tuple[int, int]]:
    """(first, count) of stretches of replicas or paths: each at most a block, and enough for all threads.

    Results do not depend on them. An even count keeps antithetic pairs, which share a path, together.
    """
    share = -(-number // threads)
    size = min(block, share + share % 2)
    for start in range(first, first + number, size):
        yield start, min(size, first + number - start)


def over_blocks(threads: int, items: Iterable[Item], work: Callable[[Item, Tick], Result]) -> list[Result]:
    """The results of work(item, tick) for each item, in order.

    `work` should call `tick` about every second: the call raises once another block has failed.
    """
    stop = Event()

    def tick(_: int) -> None:
        if stop.is_set():
            raise Interrupted

    with ThreadPoolExecutor(threads) as pool:
        futures = [pool.submit(work, item, tick) for item in items]
        try:
            wait(futures, return_when=FIRST_EXCEPTION)
            failed = [future for future in futures if future.done() and future.exception()]
            return [future.result() for future in failed or futures]
        except BaseException:
            stop.set()
            pool.shutdown(cancel_futures=True)
            raise
