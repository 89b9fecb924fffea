"""The Elman network of finite width: its empirical kernels, and its training by gradient descent (docs/rntk.md).

Networks come in stacks of R replicas. Sequences are sorted, longest first, and aligned at their ends: at every step
those that have begun are the first k, so that a step is one product W @ H of all of them. A "column" is one step of one
sequence; P is the number of columns. No gradient of the size of W is ever formed for a kernel:
<dW, dW'> = sigma_w^2 / n sum_{t,t'} (delta_t . delta'_t') (h_{t-1} . h'_{t'-1}).

Arrays are NumPy's, or those of a device: products are BLAS's or cuBLAS's, and nothing leaves the device.
Only NumPy's functions that give way to CuPy's are used here, which np.asarray and np.ascontiguousarray are not.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rnnlimits.kernels.activations import ACTIVATIONS
from rnnlimits.kernels.interface import Array, KernelError
from rnnlimits.kernels.rntk.network import Elman
from rnnlimits.kernels.rntk.sequences import Batch

Numbers = NDArray[Any]  # float32 or float64
Send = Callable[[NDArray[Any]], NDArray[Any]]  # see interface.Backend.array


@dataclass(frozen=True, eq=False)
class Weights:
    """R networks of width n with L layers, everything standard normal.

    recurrent: L of (R, n, n); below: (R, n, m), then L - 1 of (R, n, n); bias: L of (R, n); output (R, n).
    start: L of (R, n, S), times sigma_h the states before the first step, one for each of S sequences; not trained.
    """

    recurrent: tuple[Numbers, ...]
    below: tuple[Numbers, ...]
    bias: tuple[Numbers, ...]
    output: Numbers
    start: tuple[Numbers, ...]

    @property
    def width(self) -> int:
        """Width n."""
        return int(self.output.shape[1])

    def copy(self) -> Weights:
        """Weights that can be trained in place; the start, which is not trained, is shared."""
        w, u, b = (tuple(a.copy() for a in group) for group in (self.recurrent, self.below, self.bias))
        return Weights(w, u, b, self.output.copy(), self.start)


class Columns(NamedTuple):
    """How S sequences become P columns; arrays of the back end that the networks are on.

    order (S,): the sequences, longest first. spans: (first column, k) of each step. owner (P,): sequence of a column.
    member (P, S): 1 where a column is of a sequence, else 0. x (m, P): inputs.
    """

    order: NDArray[np.int64]
    spans: tuple[tuple[int, int], ...]
    owner: NDArray[np.int64]
    member: Array
    x: Array


class Layer(NamedTuple):
    """One layer at all columns, each (R, n, P): state before the step, state after it, phi' there."""

    before: Numbers
    after: Numbers
    slope: Numbers


class Kernels(NamedTuple):
    """Empirical kernels (R, S, S), float64."""

    ntk: Array
    nngp: Array


def columns(x: Batch, send: Send = np.asarray) -> Columns:
    """The columns of a batch. send: makes arrays of the back end, interface.Backend.array (default: NumPy's)."""
    order = np.argsort(-x.lengths, kind="stable")
    longest = int(x.lengths.max())
    spans, owner, inputs, first = [], [], [], 0
    for step in range(longest):
        active = [int(s) for s in order if longest - x.lengths[s] <= step]
        spans.append((first, len(active)))
        owner += active
        inputs += [x[s][step - longest + x.lengths[s]] for s in active]
        first += len(active)
    member = (np.array(owner)[:, None] == np.arange(len(order))).astype(np.float64)
    arrays = (send(a) for a in (np.array(owner), member, np.array(inputs).T.copy()))
    return Columns(send(order), tuple(spans), *arrays)


def require_supported(network: Elman) -> None:
    """Raises KernelError for an output other than the last step's."""
    if network.output != "last":
        raise KernelError(f"networks of finite width: output {network.output!r} is not supported; use output='last'")


def forward(network: Elman, weights: Weights, at: Columns) -> list[Layer]:
    """All layers at all columns."""
    value, slope = _activation(network.activation)
    dtype = weights.output.dtype
    below = np.broadcast_to(at.x.astype(dtype), (len(weights.output), *at.x.shape))
    layers = []
    for w, u, b, start in zip(weights.recurrent, weights.below, weights.bias, weights.start, strict=True):
        drive = dtype.type(network.sigma_u / math.sqrt(below.shape[1])) * (u @ below)
        drive += (dtype.type(network.sigma_b) * b)[:, :, None]
        layers.append(_run(w, drive, dtype.type(network.sigma_h) * start[:, :, at.order], at, value, slope, network))
        below = layers[-1].after
    return layers


def _run(
    w: Numbers,
    drive: Numbers,
    h: Numbers,
    at: Columns,
    value: Callable[[Numbers], Numbers],
    slope: Callable[[Numbers], Numbers],
    network: Elman,
) -> Layer:
    """One layer in time; drive: what its input and bias add to g."""
    scale = drive.dtype.type(network.sigma_w / math.sqrt(drive.shape[1]))
    before, after, slopes = np.empty_like(drive), np.empty_like(drive), np.empty_like(drive)
    for first, active in at.spans:
        here, now = slice(first, first + active), h[:, :, :active]
        before[:, :, here] = now
        g = drive[:, :, here] + scale * (w @ now)
        after[:, :, here], slopes[:, :, here] = value(g), slope(g)
        h[:, :, :active] = after[:, :, here]
    return Layer(before, after, slopes)


def _last(states: Numbers, at: Columns) -> Numbers:
    """Columns of the last step, in the sequences' own order: (R, n, S)."""
    first, active = at.spans[-1]
    ends = np.empty_like(states, shape=(*states.shape[:2], active))
    ends[:, :, at.order] = states[:, :, first : first + active]
    return ends


def outputs(network: Elman, weights: Weights, layers: list[Layer], at: Columns) -> Numbers:
    """f (R, S) of a forward pass."""
    scale = weights.output.dtype.type(network.sigma_v / math.sqrt(weights.width))
    found: Numbers = scale * (weights.output[:, None, :] @ _last(layers[-1].after, at))[:, 0]
    return found


def backward(network: Elman, weights: Weights, layers: list[Layer], at: Columns) -> list[Numbers]:
    """delta = d f / d g of each layer, (R, n, P): every column with respect to the output of its own sequence."""
    dtype, n = weights.output.dtype, weights.width
    first, active = at.spans[-1]
    error = np.zeros_like(layers[-1].after)
    error[:, :, first : first + active] = (dtype.type(network.sigma_v / math.sqrt(n)) * weights.output)[:, :, None]
    deltas: list[Numbers] = []
    for depth in range(network.layers - 1, -1, -1):
        deltas.insert(0, _back(weights.recurrent[depth], error, layers[depth].slope, at, network))
        if depth:
            scale = dtype.type(network.sigma_u / math.sqrt(n))
            error = scale * (weights.below[depth].transpose(0, 2, 1) @ deltas[0])
    return deltas


def _back(w: Numbers, error: Numbers, slope: Numbers, at: Columns, network: Elman) -> Numbers:
    """One layer against time; error: d f / d h that comes from above."""
    scale, delta = error.dtype.type(network.sigma_w / math.sqrt(error.shape[1])), np.empty_like(error)
    transposed = _transposed(w)
    later: Numbers | None = None
    for first, active in reversed(at.spans):
        here = slice(first, first + active)
        total = error[:, :, here]
        if later is not None:
            total = total + scale * (transposed @ later[:, :, :active])
        later = total * slope[:, :, here]
        delta[:, :, here] = later
    return delta


def _transposed(w: Numbers) -> Numbers:
    """Every W^T. On a device a copy: CuPy's product of a stack would make one at every step."""
    view = w.transpose(0, 2, 1)
    return view if type(view) is np.ndarray else view.copy()


def empirical(network: Elman, weights: Weights, at: Columns) -> Kernels:
    """Empirical NTK and NNGP, sigma_v^2 / n h . h', between the sequences. Raises KernelError: output not "last"."""
    require_supported(network)
    layers = forward(network, weights, at)
    return _kernels(network, weights, layers, backward(network, weights, layers, at), at)


def _kernels(network: Elman, weights: Weights, layers: list[Layer], deltas: list[Numbers], at: Columns) -> Kernels:
    ends = _last(layers[-1].after, at)
    nngp = (network.sigma_v**2 / weights.width * _gram(ends)).astype(np.float64)
    inputs = np.broadcast_to(at.x.T @ at.x, (len(nngp), at.x.shape[1], at.x.shape[1]))
    below, size = inputs, at.x.shape[0]
    total = np.zeros_like(nngp, shape=inputs.shape)
    for layer, delta in zip(layers, deltas, strict=True):
        w, u = network.sigma_w**2 / weights.width * _gram(layer.before), network.sigma_u**2 / size * below
        total += _gram(delta) * (w + u + network.sigma_b**2)
        below, size = _gram(layer.after), weights.width
    tangent = at.member.T @ (total @ at.member)
    return Kernels(nngp + 0.5 * (tangent + tangent.transpose(0, 2, 1)), nngp)


def _gram(a: Numbers) -> Array:
    """(R, n, P) to (R, P, P), exactly symmetric."""
    found = (a.transpose(0, 2, 1) @ a).astype(np.float64)
    symmetric: Array = 0.5 * (found + found.transpose(0, 2, 1))
    return symmetric


def descend(network: Elman, weights: Weights, at: Columns, target: Array, rate: float, steps: int) -> Iterator[Numbers]:
    """f (R, S) before the first and after each of `steps` steps of full-batch gradient descent; trains in place.

    Loss: half the sum of (f - target)^2 over the first len(target) sequences. rate: of the step, the same for all
    weights. Raises KernelError: output not "last".
    """
    require_supported(network)
    for step in range(steps + 1):
        layers = forward(network, weights, at)
        f = outputs(network, weights, layers, at)
        yield f
        if step < steps:
            residual = np.zeros_like(f)
            residual[:, : len(target)] = f[:, : len(target)] - target.astype(f.dtype)
            _update(network, weights, layers, residual, at, rate)


def _update(network: Elman, weights: Weights, layers: list[Layer], residual: Numbers, at: Columns, rate: float) -> None:
    """theta -= rate * sum over sequences of residual * grad f; residual (R, S)."""
    dtype, n = weights.output.dtype, weights.width
    deltas = backward(network, weights, layers, at)
    below, size = np.broadcast_to(at.x.astype(dtype), (len(residual), *at.x.shape)), at.x.shape[0]
    for depth, layer in enumerate(layers):
        pull = dtype.type(rate) * deltas[depth] * residual[:, None, at.owner]
        _subtract(weights.recurrent[depth], network.sigma_w / math.sqrt(n), pull @ layer.before.transpose(0, 2, 1))
        _subtract(weights.below[depth], network.sigma_u / math.sqrt(size), pull @ below.transpose(0, 2, 1))
        _subtract(weights.bias[depth], network.sigma_b, pull.sum(axis=2))
        below, size = layer.after, n
    scale = rate * network.sigma_v / math.sqrt(n)
    _subtract(weights.output, scale, (_last(layers[-1].after, at) @ residual[:, :, None])[:, :, 0])


def _subtract(a: Numbers, scale: float, b: Numbers) -> None:
    """a -= scale * b in place, with no further array of their size, which may be that of W; b is overwritten."""
    b *= b.dtype.type(scale)
    a -= b


def _activation(name: str) -> tuple[Callable[[Numbers], Numbers], Callable[[Numbers], Numbers]]:
    """phi and phi', both of the pre-activation."""
    if name == "relu":
        return _relu, _step
    known = ACTIVATIONS[name]
    return known.value, known.slope


def _relu(g: Numbers) -> Numbers:
    value: Numbers = np.maximum(g, g.dtype.type(0))
    return value


def _step(g: Numbers) -> Numbers:
    slope: Numbers = (g > 0).astype(g.dtype)
    return slope
