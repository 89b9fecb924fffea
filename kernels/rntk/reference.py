"""The recursion in plain NumPy: the definition that the other back ends are tested against, and runs without them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnnlimits.kernels.interface import Array
from rnnlimits.kernels.rntk.distances import Unit, distance, unit
from rnnlimits.kernels.rntk.expectations import Pair, expectations, own_expectations, shortfall_of
from rnnlimits.kernels.rntk.network import Elman
from rnnlimits.kernels.rntk.sequences import Batch

Matrix = NDArray[Any]


class Numpy:
    """See backends.Sums; float64 within, whatever the dtype of the result."""

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
        left = _Aligned(x, network)
        right = left if y is None else _Aligned(y, network)
        found = pair_sums(left, right, network)
        if y is None:
            for matrix, own in zip(found, left.own(network), strict=True):
                np.fill_diagonal(matrix, own)
        return _chosen(found, wanted, dtype)

    def own_sums(self, x: Batch, network: Elman, dtype: np.dtype[Any], wanted: tuple[str, ...]) -> list[Matrix]:
        """See backends.Sums.own_sums."""
        return _chosen(_Aligned(x, network).own(network), wanted, dtype)


def _chosen(found: Pair, wanted: tuple[str, ...], dtype: np.dtype[Any]) -> list[Matrix]:
    return [getattr(found, {"nngp": "value", "ntk": "slope"}[kernel]).astype(dtype) for kernel in wanted]


class _Aligned:
    """Sequences with steps counted from the end, k = 0 the last: x (k, n, m), variances q (k, layers, n), and units."""

    def __init__(self, batch: Batch, network: Elman) -> None:
        self.lengths, longest = batch.lengths, int(batch.lengths.max())
        self.x = np.zeros((longest, len(batch), batch.dimension))
        for index, sequence in enumerate(batch):
            self.x[: len(sequence), index] = sequence[::-1]
        self.q = np.zeros((longest, network.layers, len(batch)))
        self.units: dict[tuple[int, int], Unit] = {}  # of step and layer
        self.along = self._follow(network)

    def __len__(self) -> int:
        return len(self.x)

    def live(self, k: int) -> NDArray[np.bool_]:
        """Which sequences have a step k, (n,)."""
        return self.lengths > k

    def _follow(self, network: Elman) -> Pair:
        """Each sequence with itself at equal steps; fills q."""
        value = np.full((network.layers, len(self.lengths)), network.sigma_h**2)
        tangent, total = np.zeros_like(value), Pair(np.zeros(value.shape[1]), np.zeros(value.shape[1]))
        for k in range(len(self) - 1, -1, -1):
            products = np.einsum("nm,nm->n", self.x[k], self.x[k]) / self.x.shape[2]
            new, new_tangent = value.copy(), tangent.copy()
            for layer, s in steps(network, products, new, new_tangent):
                now = own_expectations(network.activation, s)
                self.q[k, layer] = s
                below, x = (new[layer - 1], self.x[k][:, :0]) if layer else (np.zeros_like(s), self.x[k])
                self.units[k, layer] = unit(network, s, x, value[layer], below)
                new[layer], new_tangent[layer] = now.value, now.slope * new_tangent[layer]
            live = self.live(k)
            value, tangent = np.where(live, new, value), np.where(live, new_tangent, tangent)
            total = added(total, value[-1] * live, tangent[-1] * live, network.output != "last")
        return total

    def own(self, network: Elman) -> Pair:
        """Sums of each sequence with itself."""
        if network.output != "mean":
            return self.along
        value, tangent = (a.copy() for a in self.along)
        for index, steps_of in enumerate(self.lengths):
            for shift in range(1, int(steps_of)):
                more = diagonal_sum(self, self, shift, network, (np.array([index]), np.array([index])))
                value[index] += 2 * more.value[0, 0]
                tangent[index] += 2 * more.slope[0, 0]
        return Pair(value, tangent)


def steps(network: Elman, products: Array, value: Array, tangent: Array) -> Iterable[tuple[int, Array]]:
    """S of one layer after another, Theta in tangent[layer]; the caller puts V_phi and V_phi' Theta there."""
    w, u, b = network.sigma_w**2, network.sigma_u**2, network.sigma_b**2
    for layer in range(network.layers):
        below = products if layer == 0 else value[layer - 1]
        s = w * value[layer] + u * below + b
        tangent[layer] = s + w * tangent[layer] + (u * tangent[layer - 1] if layer else 0.0)
        yield layer, s


def added(total: Pair, value: Array, tangent: Array, summed: bool) -> Pair:
    """The running sum, or only the newest; Pair.slope holds V_phi + V_phi' Theta."""
    both = value + tangent
    return Pair(total.value + value, total.slope + both) if summed else Pair(value, both)


def diagonal_sum(
    left: _Aligned, right: _Aligned, shift: int, network: Elman, chosen: tuple[Any, Any] = (slice(None), slice(None))
) -> Pair:
    """Sums along k' = k + shift of different sequences (or the same at different steps), (n_x, n_y)."""
    rows, columns = chosen
    shape = (len(left.lengths[rows]), len(right.lengths[columns]))
    value, tangent = np.zeros((network.layers, *shape)), np.zeros((network.layers, *shape))
    apart = _Apart(network, shape)
    total = Pair(np.zeros(shape), np.zeros(shape))
    for k in range(min(len(left), len(right) - shift) - 1, max(0, -shift) - 1, -1):
        x, y = left.x[k][rows], right.x[k + shift][columns]
        for layer, s in steps(network, x @ y.T / x.shape[1], value, tangent):
            q, other = left.q[k, layer, rows][:, None], right.q[k + shift, layer, columns]
            far = apart.step(layer, left.units[k, layer].taken(rows), right.units[k + shift, layer].taken(columns))
            now = expectations(network.activation, q, other, s, far)
            value[layer], tangent[layer] = now.value, now.slope * tangent[layer]
            apart.keep(layer, now.value)
        live = left.live(k)[rows][:, None] & right.live(k + shift)[columns]
        value, tangent = value * live, tangent * live
        apart.forget(live)
        total = added(total, value[-1], tangent[-1], network.output != "last")
    return total


class _Apart:
    """The distance of pairs as it goes along, for ReLU and erf; None for what is smooth (see distances.py)."""

    def __init__(self, network: Elman, shape: tuple[int, int]) -> None:
        self._network = network
        self._unlike = 2.0 if network.activation == "relu" else 0.0  # the link of states that do not correlate
        self._link = np.full((network.layers, *shape), self._unlike)
        self._distance = np.zeros(shape)

    def step(self, layer: int, one: Unit, other: Unit) -> Array | None:
        if self._network.activation not in ("relu", "erf"):
            return None
        below = self._link[layer - 1] if layer else np.zeros_like(self._distance)
        self._distance = distance(self._network, one, other, self._link[layer], below)
        return self._distance

    def keep(self, layer: int, value: Array) -> None:
        self._link[layer] = shortfall_of(self._distance) if self._network.activation == "relu" else value

    def forget(self, live: NDArray[np.bool_]) -> None:
        self._link = np.where(live, self._link, self._unlike)


def pair_sums(left: _Aligned, right: _Aligned, network: Elman) -> Pair:
    """Sums of all pairs, those of a sequence with itself as if they were two."""
    if network.output != "mean":
        return diagonal_sum(left, right, 0, network)
    total = diagonal_sum(left, right, 0, network)
    for shift in range(1 - len(left), len(right)):
        if shift:
            more = diagonal_sum(left, right, shift, network)
            total = Pair(total.value + more.value, total.slope + more.slope)
    return total
