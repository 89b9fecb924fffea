"""Records of sequences as the compiled recursion reads them (src/rntk.h): sorted by length, in groups of lanes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnnlimits.kernels.interface import Array, KernelError
from rnnlimits.kernels.rntk import series
from rnnlimits.kernels.rntk.network import Elman
from rnnlimits.kernels.rntk.sequences import Batch, Places

CODES = {"relu": 0, "erf": 1, "tanh": 2, "logistic": 2}
_ALIGNMENT = 64


@dataclass(frozen=True)
class Form:
    """What fixes a record: network, inputs at a step, terms of the series, arithmetic, lanes of a group."""

    network: Elman
    inputs: int
    terms: int
    dtype: np.dtype[Any]
    width: int

    @property
    def code(self) -> int:
        """ACTIVATION of src/rntk.h."""
        return CODES[self.network.activation]

    @property
    def fields(self) -> int:
        """Values of a record for each layer."""
        return (4, 3, 3 + self.terms)[self.code]

    @property
    def record(self) -> int:
        """Values of a record."""
        return self.inputs + self.network.layers * self.fields


@dataclass(frozen=True, eq=False)
class Table:
    """Records of a batch. order: the batch's index of each place; start, top: of each group; length: of each place and
    of the empty ones that fill the last group."""

    form: Form
    data: NDArray[Any]
    order: Places
    start: Places
    top: Places
    length: Places

    @property
    def count(self) -> int:
        """Number of sequences."""
        return len(self.order)

    @property
    def sorted_already(self) -> bool:
        """Whether places are the batch's indices."""
        return bool(np.array_equal(self.order, np.arange(self.count)))

    def group(self, index: int) -> NDArray[Any]:
        """The records of a group, (top, record, width), the first step first; a view."""
        size = int(self.top[index]) * self.form.record * self.form.width
        begin = int(self.start[index])
        return self.data[begin : begin + size].reshape(int(self.top[index]), self.form.record, self.form.width)

    def place(self, values: list[Array] | NDArray[Any], first: int) -> None:
        """Write values[place] (T, some), to entries `first` and after of the records of the sequence at each place."""
        width = self.form.width
        for index, top in enumerate(self.top):
            view = self.group(index)
            members = range(index * width, min((index + 1) * width, self.count))
            if isinstance(values, np.ndarray):
                part = values[members.start : members.stop]
                view[:, first : first + part.shape[2], : len(part)] = part.transpose(1, 2, 0)
                continue
            for lane, member in enumerate(members):
                one = values[member]
                view[top - len(one) :, first : first + one.shape[1], lane] = one


def table_of(batch: Batch, form: Form) -> Table:
    """A table with the scaled inputs in place and zeros for all fields."""
    width, lengths = form.width, batch.lengths
    order = np.argsort(lengths, kind="stable").astype(np.int64)
    groups = -(-len(batch) // width)
    padded = np.zeros(groups * width, dtype=np.int64)
    padded[: len(batch)] = lengths[order]
    top = padded.reshape(groups, width).max(axis=1)
    ends = np.cumsum(top * form.record * width)
    start = np.concatenate([[0], ends[:-1]]).astype(np.int64)
    table = Table(form, _zeros(int(ends[-1]), form.dtype), order, start, top, padded)
    scale = form.network.sigma_u / np.sqrt(form.inputs)
    if lengths[order[0]] == lengths[order[-1]]:
        table.place(scale * batch.values.reshape(len(batch), -1, form.inputs), 0)
    else:
        table.place([scale * batch[index] for index in order], 0)
    return table


def _zeros(size: int, dtype: np.dtype[Any]) -> NDArray[Any]:
    """Zeros that start on a cache line."""
    raw = np.zeros(size * dtype.itemsize + _ALIGNMENT, dtype=np.uint8)
    shift = -raw.ctypes.data % _ALIGNMENT
    return raw[shift : shift + size * dtype.itemsize].view(dtype)


# --- smooth activations: variances and coefficients of the series ------------------------------------------


@dataclass(frozen=True, eq=False)
class Variances:
    """Of sequences: q[i] (T, layers); sums over steps, or the last, of V_phi, and of V_phi + V_phi' Theta."""

    q: list[Array]
    nngp: Array
    ntk: Array

    @property
    def largest(self) -> float:
        """The largest variance of all."""
        return max(float(q.max()) for q in self.q)


def variances(batch: Batch, network: Elman) -> Variances:
    """The recursion of each sequence with itself, for the activations of series.py, all sequences at once."""
    count, steps = len(batch), int(batch.lengths.max())
    squares = [(network.sigma_u**2 / batch.dimension) * (x**2).sum(axis=1) for x in batch]
    moments = _reaching(network, max(float(s.max()) for s in squares))
    value, tangent = np.full((network.layers, count), network.sigma_h**2), np.zeros((network.layers, count))
    q = np.zeros((steps, network.layers, count))
    nngp, ntk = np.zeros(count), np.zeros(count)
    for k in range(steps - 1, -1, -1):
        live = np.flatnonzero(batch.lengths > k)
        below, below_tangent = np.array([squares[i][-1 - k] for i in live]), np.zeros(len(live))
        for layer in range(network.layers):
            s = network.sigma_w**2 * value[layer, live] + below + network.sigma_b**2
            theta = s + network.sigma_w**2 * tangent[layer, live] + below_tangent
            now, slope = moments.squares(s)
            q[steps - 1 - k, layer, live] = s
            value[layer, live], tangent[layer, live] = now, slope * theta
            below, below_tangent = network.sigma_u**2 * now, network.sigma_u**2 * slope * theta
        keep = np.zeros(count) if network.output == "last" else 1.0
        both = value[-1] + tangent[-1]
        nngp, ntk = (np.where(batch.lengths > k, a, 0.0) + keep * b for a, b in ((value[-1], nngp), (both, ntk)))
    return Variances([q[steps - n :, :, i] for i, n in enumerate(batch.lengths)], nngp, ntk)


def _reaching(network: Elman, input_part: float) -> series.Moments:
    """Moments for the largest variance that there can be: |phi| <= 1."""
    above = network.sigma_w**2 * max(1.0, network.sigma_h**2) + network.sigma_b**2
    return series.Moments(network.activation, above + max(input_part, network.sigma_u**2))


def place_series(table: Table, found: Variances) -> None:
    """Write 1 / sqrt(q), the coefficients and what follows them at every q into the records."""
    form, activation = table.form, table.form.network.activation
    moments = series.Moments(activation, found.largest, 2 * form.terms)
    for index in range(len(table.top)):
        members = range(index * form.width, min((index + 1) * form.width, table.count))
        for lane, member in enumerate(members):
            q = np.maximum(found.q[member], series.LEAST_VARIANCE)
            numbers = moments.with_rest(q.reshape(-1), form.terms).reshape(*q.shape, form.terms + 2)
            entry = np.concatenate([1.0 / np.sqrt(q)[..., None], numbers], axis=2).reshape(len(q), -1)
            table.group(index)[table.top[index] - len(q) :, form.inputs :, lane] = entry


def with_series(
    batches: list[Batch], network: Elman, dtype: np.dtype[Any], width: int
) -> list[tuple[Table, NDArray[Any], NDArray[Any]]]:
    """Complete tables of batches that will meet, each with what its sequences have with themselves, by place.

    Raises KernelError for variances that are too large for a series.
    """
    found = [variances(batch, network) for batch in batches]
    terms = series.terms_needed(network.activation, max(one.largest for one in found))
    made = []
    for batch, one in zip(batches, found, strict=True):
        table = table_of(batch, Form(network, batch.dimension, terms, dtype, width))
        place_series(table, Variances([one.q[i] for i in table.order], one.nngp, one.ntk))
        made.append((table, one.nngp[table.order].astype(dtype), one.ntk[table.order].astype(dtype)))
    return made


def require_finite(values: NDArray[Any], network: Elman, dtype: np.dtype[Any]) -> None:
    """Raises KernelError where a kernel's diagonal has left the range of numbers."""
    if not np.isfinite(values).all():
        raise KernelError(
            f"sigma_w={network.sigma_w:g}: the variance of the state grows beyond {dtype} along these sequences; "
            "use a smaller sigma_w (ReLU: at most sqrt(2)), dtype='float64', shorter sequences or smaller inputs"
        )
