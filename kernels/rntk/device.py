"""The recursion on a GPU (src/device_rntk.cu), through kernels.cuda_backend."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnnlimits.kernels.cuda_runtime import MOST_BLOCKS, THREADS, USABLE, CupyRuntime, Runtime
from rnnlimits.kernels.interface import KernelError
from rnnlimits.kernels.rntk import series, tables
from rnnlimits.kernels.rntk.network import Elman
from rnnlimits.kernels.rntk.sequences import Batch
from rnnlimits.kernels.rntk.tables import Form, Table

WIDTH = 32  # of src/device_rntk.cu
OUTPUT_CODES = {"last": 0, "average": 1, "mean": 2}
WANTED_CODES = {"nngp": 1, "ntk": 2}
Matrix = NDArray[Any]


@dataclass(frozen=True, eq=False)
class _Prepared:
    """A table and its parts on the device; what each sequence has with itself, by place."""

    table: Table
    data: Any
    places: Any
    nngp: Matrix
    ntk: Matrix

    @property
    def groups(self) -> np.int64:
        return np.int64(len(self.table.top))

    @property
    def arguments(self) -> tuple[Any, ...]:
        return self.data, self.places, self.groups


class Device:
    """See backends.Sums."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    def sums(
        self,
        x: Batch,
        y: Batch | None,
        network: Elman,
        dtype: np.dtype[Any],
        wanted: tuple[str, ...],
        threads: int | None,
    ) -> list[Matrix]:
        """See backends.Sums.sums."""
        prepared = self._prepare([x] if y is None else [x, y], network, dtype)
        left, right = prepared[0], prepared[-1]
        made = {kernel: np.empty((len(x), right.table.count), dtype) for kernel in wanted}
        size = self._rows_that_fit(right.table.count, dtype, len(wanted))
        for first in range(0, len(x), size):
            self._fill(left, right, first, min(first + size, len(x)), made, triangle=y is None)
        if y is None:
            own = dict(zip(("nngp", "ntk"), self._own(left), strict=True))
            for kernel, matrix in made.items():
                np.fill_diagonal(matrix, own[kernel])
                _mirror(matrix)
        rows, columns = (np.argsort(one.table.order) for one in (left, right))
        ordered = left.table.sorted_already and right.table.sorted_already
        return [made[kernel] if ordered else made[kernel][np.ix_(rows, columns)] for kernel in wanted]

    def own_sums(self, x: Batch, network: Elman, dtype: np.dtype[Any], wanted: tuple[str, ...]) -> list[Matrix]:
        """See backends.Sums.own_sums."""
        (one,) = self._prepare([x], network, dtype)
        own, back = dict(zip(("nngp", "ntk"), self._own(one), strict=True)), np.argsort(one.table.order)
        return [own[kernel][back] for kernel in wanted]

    def _rows_that_fit(self, columns: int, dtype: np.dtype[Any], matrices: int) -> int:
        rows = int(USABLE * self._runtime.free_bytes()) // (columns * dtype.itemsize * matrices)
        if rows == 0:
            raise KernelError(f"not one row of {columns} entries fits into GPU memory; use the host")
        return rows

    def _prepare(self, batches: list[Batch], network: Elman, dtype: np.dtype[Any]) -> list[_Prepared]:
        if network.activation in series.SMOOTH:
            return [self._sent(*one) for one in tables.with_series(batches, network, dtype, WIDTH)]
        return [self._closed(tables.table_of(b, Form(network, b.dimension, 0, dtype, WIDTH))) for b in batches]

    def _sent(self, table: Table, nngp: Matrix, ntk: Matrix) -> _Prepared:
        places = np.concatenate([table.start, table.top, table.length])
        return _Prepared(table, self._runtime.xp.asarray(table.data), self._runtime.xp.asarray(places), nngp, ntk)

    def _closed(self, table: Table) -> _Prepared:
        sent, form = self._sent(table, np.empty(0), np.empty(0)), table.form
        nngp, ntk = (self._runtime.xp.empty(table.count, dtype=form.dtype) for _ in range(2))
        summed = np.int32(form.network.output != "last")
        self._start("own_fields", form, table.count, *sent.arguments, np.int64(table.count), summed, nngp, ntk)
        own = [self._runtime.to_host(a) for a in (nngp, ntk)]
        tables.require_finite(own[1], form.network, form.dtype)
        return _Prepared(table, sent.data, sent.places, *own)

    def _own(self, one: _Prepared) -> tuple[Matrix, Matrix]:
        form, count = one.table.form, one.table.count
        if form.network.output != "mean":
            return one.nngp, one.ntk
        nngp, ntk = (self._runtime.xp.empty(count, dtype=form.dtype) for _ in range(2))
        self._start("own_rest", form, count, *one.arguments, np.int64(count), nngp, ntk)
        return one.nngp + 2 * self._runtime.to_host(nngp), one.ntk + 2 * self._runtime.to_host(ntk)

    def _fill(
        self, left: _Prepared, right: _Prepared, first: int, last: int, made: dict[str, Matrix], triangle: bool
    ) -> None:
        """Rows first .. last - 1 of each wanted matrix."""
        form, columns = left.table.form, right.table.count
        parts = {
            kernel: self._runtime.xp.empty((last - first, columns) if kernel in made else (1, 1), dtype=form.dtype)
            for kernel in WANTED_CODES
        }
        counts = (np.int64(a) for a in (first, last, columns))
        codes = (int(triangle), OUTPUT_CODES[form.network.output], sum(WANTED_CODES[kernel] for kernel in made))
        work = (last - first) * len(right.table.top) * WIDTH
        self._start(
            "pair_rows", form, work, *left.arguments, *right.arguments, *counts,
            *(np.int32(code) for code in codes), parts["nngp"], parts["ntk"],
        )  # fmt: skip
        for kernel, matrix in made.items():
            matrix[first:last] = self._runtime.to_host(parts[kernel])

    def _start(self, name: str, form: Form, work: int, *arguments: Any) -> None:
        """Start a program whose threads share `work` pieces."""
        n = form.network
        constant = series.SMOOTH[n.activation].constant ** 2 if n.activation in series.SMOOTH else 0.0
        squares = np.array([n.sigma_w**2, n.sigma_u**2, n.sigma_b**2, n.sigma_h**2, constant])
        program = self._runtime.program("device_rntk.cu", name, macros(form))
        blocks = max(1, min(-(-work // THREADS), MOST_BLOCKS))
        shape = (np.int32(form.inputs), np.int32(form.terms))
        program((blocks,), (THREADS,), (self._runtime.xp.asarray(squares), *shape, *arguments))


def macros(form: Form) -> dict[str, object]:
    """What src/device_rntk.cu is compiled for."""
    real = "float" if form.dtype == np.float32 else "double"
    return {"REAL": real, "ACTIVATION": form.code, "LAYERS": form.network.layers}


def _mirror(matrix: Matrix, size: int = 256) -> None:
    """Copy the lower triangle to the upper one, a square at a time."""
    for first in range(0, len(matrix), size):
        last = first + size
        matrix[:first, first:last] = matrix[first:last, :first].T
        square = matrix[first:last, first:last]
        square[:] = np.tril(square) + np.tril(square, -1).T


@cache
def backend(index: int = 0) -> Device:
    """The back end on one GPU. Raises KernelError: no CuPy, no such GPU, one too old."""
    return Device(CupyRuntime(index))
