"""The compiled recursion on this machine's processor (src/host_rntk.cpp)."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from ctypes import c_int, c_long, c_void_p
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnnlimits.kernels import compiler
from rnnlimits.kernels.rntk import series, tables
from rnnlimits.kernels.rntk.network import Elman
from rnnlimits.kernels.rntk.sequences import Batch
from rnnlimits.kernels.rntk.tables import Form, Table

OUTPUT_CODES = {"last": 0, "average": 1, "mean": 2}
PAIR_STEPS_PER_THREAD = 4_000_000  # some milliseconds: less is done sooner than a thread has started
TASKS_PER_THREAD = 16  # so that none waits long for the last one
Real = NDArray[Any]


class _Table(ctypes.Structure):  # struct Table of src/host_rntk.cpp
    _fields_ = (*((field, c_void_p) for field in ("data", "start", "top", "length")), ("count", c_long))


class _Result(ctypes.Structure):  # struct Result
    _fields_ = (("nngp", c_void_p), ("ntk", c_void_p))


@cache
def _network_type(dtype: np.dtype[Any]) -> type[ctypes.Structure]:
    """Struct Network of src/rntk.h."""
    real = ctypes.c_float if dtype == np.float32 else ctypes.c_double
    numbers = [(field, real) for field in ("w", "u", "b", "start", "constant")]
    return type("Network", (ctypes.Structure,), {"_fields_": [*numbers, *((f, c_int) for f in _COUNTS)]})


_COUNTS = ("layers", "inputs", "terms")


@cache
def _library(dtype: np.dtype[Any], code: int) -> ctypes.CDLL:
    real = "float" if dtype == np.float32 else "double"
    library = compiler.load("host_rntk.cpp", {"REAL": real, "ACTIVATION": code})
    library.gram_rows.argtypes = [c_void_p, c_void_p, c_void_p, c_long, c_long, c_int, c_int, _Result, c_long]
    library.diagonal_rest.argtypes = [c_void_p, c_void_p, _Result]
    library.mirror.argtypes = [c_void_p, c_long]
    if code != tables.CODES["tanh"]:
        library.fill_fields.argtypes = [c_void_p, c_void_p, c_int, _Result]
    return library


def available() -> None:
    """Compile (or find) the kernels of the default network. Raises KernelError where that is not possible."""
    _library(np.dtype(np.float64), 0)


def numbers_of(form: Form) -> ctypes.Structure:
    """Struct Network of src/rntk.h."""
    n = form.network
    constant = series.SMOOTH[n.activation].constant ** 2 if n.activation in series.SMOOTH else 0.0
    squares = (n.sigma_w**2, n.sigma_u**2, n.sigma_b**2, n.sigma_h**2)
    return _network_type(form.dtype)(*squares, constant, n.layers, form.inputs, form.terms)


def threads_or_all(threads: int | None) -> int:
    """The number asked for, or that of the processors this process may use."""
    return threads or len(os.sched_getaffinity(0))


@dataclass(frozen=True, eq=False)
class Prepared:
    """A batch ready to be paired: its records, and what each sequence has with itself (c = 1), by place, unscaled."""

    table: Table
    nngp: Real
    ntk: Real


def prepare(batches: list[Batch], network: Elman, dtype: np.dtype[Any]) -> list[Prepared]:
    """Records of batches that will meet one another. Raises KernelError: variances too large."""
    code = tables.CODES[network.activation]
    width = _library(dtype, code).group_width()
    if code == tables.CODES["tanh"]:
        return [Prepared(*one) for one in tables.with_series(batches, network, dtype, width)]
    return [_prepare_closed(batch, Form(network, batch.dimension, 0, dtype, width)) for batch in batches]


def _prepare_closed(batch: Batch, form: Form) -> Prepared:
    table = tables.table_of(batch, form)
    nngp, ntk = np.empty(len(batch), form.dtype), np.empty(len(batch), form.dtype)
    summed = int(form.network.output != "last")
    _library(form.dtype, form.code).fill_fields(
        ctypes.byref(numbers_of(form)), ctypes.byref(_struct(table)), summed, _result(nngp, ntk)
    )
    tables.require_finite(ntk, form.network, form.dtype)
    return Prepared(table, nngp, ntk)


def _struct(table: Table) -> _Table:
    return _Table(*(a.ctypes.data for a in (table.data, table.start, table.top, table.length)), table.count)


def _result(nngp: Real | None, ntk: Real | None) -> _Result:
    return _Result(*(None if a is None else a.ctypes.data for a in (nngp, ntk)))


def diagonal(prepared: Prepared) -> tuple[Real, Real]:
    """(nngp, ntk) of each sequence with itself, by place: sums over steps, or over pairs of steps (mean)."""
    form = prepared.table.form
    if form.network.output != "mean":
        return prepared.nngp, prepared.ntk
    nngp, ntk = (np.empty(prepared.table.count, form.dtype) for _ in range(2))
    _library(form.dtype, form.code).diagonal_rest(
        ctypes.byref(numbers_of(form)), ctypes.byref(_struct(prepared.table)), _result(nngp, ntk)
    )
    return prepared.nngp + 2 * nngp, prepared.ntk + 2 * ntk


def fill_pairs(
    left: Prepared, right: Prepared, nngp: Real | None, ntk: Real | None, threads: int | None, triangle: bool
) -> None:
    """Sums of all pairs of places into arrays (left, right); triangle: only those below the diagonal, of one batch.

    Each entry is computed by itself: its bits do not depend on threads, nor on what other sequences are there.
    """
    form, count = left.table.form, left.table.count
    library, numbers = _library(form.dtype, form.code), numbers_of(form)
    one, other = _struct(left.table), _struct(right.table)
    stride, output = right.table.count, OUTPUT_CODES[form.network.output]

    def work(rows: tuple[int, int]) -> None:
        part = _result(*(None if a is None else a[rows[0] :] for a in (nngp, ntk)))
        pointers = (ctypes.byref(a) for a in (numbers, one, other))
        library.gram_rows(*pointers, *rows, int(triangle), output, part, stride)

    steps = int(_pair_steps(left.table, right.table) * (0.5 if triangle else 1.0))
    useful = min(threads_or_all(threads), max(1, steps // PAIR_STEPS_PER_THREAD))
    _share(work, count, library.rows_at_once(), useful, triangle)


def _pair_steps(left: Table, right: Table) -> float:
    """About the number of steps of all pairs: those of the shorter batch on average."""
    means = [float(table.length.sum()) / table.count for table in (left, right)]
    steps = min(means) if left.form.network.output != "mean" else means[0] * means[1]
    return steps * left.count * right.count * left.form.network.layers


def _share(work: Callable[[tuple[int, int]], None], count: int, step: int, threads: int, triangle: bool) -> None:
    """Call work((first, last)) for pieces of range(count) in threads; the long rows of a triangle come first."""
    if threads == 1:
        work((0, count))
        return
    size = step * max(1, count // (threads * TASKS_PER_THREAD * step))
    pieces = [(first, min(first + size, count)) for first in range(0, count, size)]
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(work, reversed(pieces) if triangle else pieces))


def mirror(matrix: Real) -> None:
    """Copy the lower triangle of a square matrix to the upper one."""
    code = tables.CODES["relu"]
    _library(matrix.dtype, code).mirror(matrix.ctypes.data, len(matrix))
