"""Whether sequences have a scale at which a kernel is right in its precision (docs/rntk.md, "Scale").

Rounding has an absolute part: what underflows (ReLU, tanh), and the rounding of 1 (erf, whose recursion carries
2 (1 - z)). Where that is not small compared with a sequence's own V_phi, its entries would be noise.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnnlimits.kernels.interface import Array, KernelError
from rnnlimits.kernels.rntk.network import Elman
from rnnlimits.kernels.rntk.sequences import Batch

TOLERANCE = {"float32": 1e-3, "float64": 1e-6}  # of the absolute part of rounding, relative to V_phi
SLOPE = {"relu": 0.5, "erf": 4 / np.pi, "tanh": 1.0}  # the largest V_phi'
SERIES_REFUSES = 1e4  # a variance that no series of tanh or logistic reaches (series.terms_needed), known beforehand
MOST_WEIGHT = 1e8  # sigma_w^2 at which nodes for such a series would not fit into memory


def require(x: Batch, network: Elman, dtype: str, name: str = "x") -> None:
    """Raises KernelError for sequences whose scale is too small or too large for the precision, naming `name`."""
    with np.errstate(all="ignore"):
        inputs = _input_variances(x, network)
        _require_not_large(x, inputs, network, dtype, name)
        if network.activation in SLOPE:  # the logistic function's V_phi is 1/4 at least
            _require_not_small(x, inputs, network, dtype, name)


def require_finite(matrices: list[NDArray[Any]], network: Elman, dtype: str) -> None:
    """Raises KernelError if a computed kernel has left the range of numbers."""
    for matrix in matrices:
        if not all(np.isfinite(row).all() for row in matrix):
            raise KernelError(
                f"sigma_w={network.sigma_w:g}, sigma_v={network.sigma_v:g}: the kernel leaves the range of {dtype}; "
                "use smaller ones, dtype='float64', shorter sequences or smaller inputs"
            )


def _input_variances(x: Batch, network: Elman) -> Array:
    """sigma_u^2/m |x_t|^2 of all steps, in a row."""
    found: Array = np.square(network.sigma_u * x.values / np.sqrt(x.dimension)).sum(axis=1)
    return found


# --- too large -----------------------------------------------------------------------------------------------


def _require_not_large(x: Batch, inputs: Array, network: Elman, dtype: str, name: str) -> None:
    most = _largest_allowed(network, dtype, int(x.lengths.max()))
    if inputs.max() <= most:
        _require_moderate_weights(network, most, dtype)
        return
    index = _sequence(x, int(inputs.argmax()))
    size, bound = np.abs(x[index]).max(), np.sqrt(most * x.dimension) / network.sigma_u
    raise KernelError(
        f"{name}: sequence {index} has values up to {size:.3g}; {network.activation}: a hidden unit's variance of "
        f"{inputs.max():.3g} is too large for {_wanted_of(network)} in {dtype}; scale {name} (or sigma_u) down: "
        f"allowed are values up to about {bound:.1g}"
    )


def _require_moderate_weights(network: Elman, most: float, dtype: str) -> None:
    """The variance that weights alone can lead to: |phi| <= 1, but for ReLU, whose growth shows in the result."""
    if network.activation == "relu":
        return
    most = max(most, MOST_WEIGHT) if network.activation != "erf" else most
    largest = network.sigma_w**2 + network.sigma_b**2 + (network.sigma_u**2 if network.layers > 1 else 0.0)
    if largest > most:
        sigmas = f"sigma_w={network.sigma_w:g}, sigma_u={network.sigma_u:g}, sigma_b={network.sigma_b:g}"
        raise KernelError(
            f"{sigmas}: a hidden unit's variance of up to {largest:.3g} is too large for {network.activation} in "
            f"{dtype}; allowed: up to {most:.1g}"
        )


def _wanted_of(network: Elman) -> str:
    return "its series" if network.activation in ("tanh", "logistic") else "this kernel"


def _largest_allowed(network: Elman, dtype: str, steps: int) -> float:
    """The largest variance of inputs. Two sequences with z near -1 lose a share q eps of V_phi' with erf."""
    if network.activation == "relu":
        return float(np.finfo(dtype).max) / (64.0 * steps * steps)
    if network.activation == "erf":
        return TOLERANCE[dtype] / float(np.finfo(dtype).eps)
    return SERIES_REFUSES


# --- too small -----------------------------------------------------------------------------------------------


def _require_not_small(x: Batch, inputs: Array, network: Elman, dtype: str, name: str) -> None:
    floor = _floor(x, network, dtype)
    if _plainly_fine(x, inputs, network, dtype, floor):
        return
    value, lost = _along(x, inputs, network, floor)
    wrong = np.flatnonzero(lost > TOLERANCE[dtype] * value)
    if not wrong.size:
        return
    index = int(wrong[0])
    least = floor / TOLERANCE[dtype] / network.sigma_v**2 if network.sigma_v else floor / TOLERANCE[dtype]
    other = ", or use dtype='float64'" if dtype == "float32" else ""
    raise KernelError(
        f"{name}: sequence {index} has values up to {np.abs(x[index]).max():.3g} and leads to a variance of "
        f"{value[index]:.2g}, too small for {network.activation} in {dtype}, which would lose it in rounding "
        f"(least: about {least:.0e}); scale {name} or sigma_u up{other}"
    )


def _floor(x: Batch, network: Elman, dtype: str) -> float:
    """What rounding may do to a V_phi in a step, whatever its size; sigma_v^2 times it must stay in range, too."""
    about = np.finfo(dtype)
    if network.activation == "erf":
        return float(about.eps)
    scale = min(1.0, network.sigma_v**2) or 1.0
    return float(about.tiny) * (x.dimension + 2) / scale


def _plainly_fine(x: Batch, inputs: Array, network: Elman, dtype: str, floor: float) -> bool:
    """A sufficient condition from the last inputs alone, without following the sequences."""
    w, u, b = network.sigma_w**2, network.sigma_u**2, network.sigma_b**2
    steps, slope = int(x.lengths.max()), SLOPE[network.activation]
    value = _value(network.activation, inputs[x.offsets[1:] - 1] + b)
    lost = floor
    growth = steps * np.power(max(1.0, w * slope), steps)  # infinite rather than out of range
    for layer in range(network.layers):
        if layer:
            value = _value(network.activation, u * value + b)
        lost = (floor + u * slope * lost * (layer > 0)) * growth
    return bool((lost <= TOLERANCE[dtype] * value).all())


def _along(x: Batch, inputs: Array, network: Elman, floor: float) -> tuple[Array, Array]:
    """Of each sequence: its own V_phi, summed over steps unless the output is the last, and what rounding may lose.

    A share of S that is lost is the same share of V_phi. A sequence that is zero so far loses nothing.
    """
    w, u, b = network.sigma_w**2, network.sigma_u**2, network.sigma_b**2
    ends, count = x.offsets[1:], len(x)
    value, lost = np.full((network.layers, count), float(network.sigma_h) ** 2), np.zeros((network.layers, count))
    sums, sum_lost = np.zeros(count), np.zeros(count)
    silent = np.array([not sequence.any() for sequence in x]) if network.sigma_u else np.ones(count, dtype=bool)
    silent &= not (network.sigma_b or network.sigma_h)
    for k in range(int(x.lengths.max()) - 1, -1, -1):
        live = np.flatnonzero(x.lengths > k)
        below, below_lost = inputs[ends[live] - 1 - k], np.zeros(len(live))
        for layer in range(network.layers):
            q = w * value[layer, live] + below + b
            value[layer, live] = _value(network.activation, q)
            share = np.divide(value[layer, live], q, out=np.zeros_like(q), where=q > 0)
            lost[layer, live] = share * (w * lost[layer, live] + below_lost) + floor
            below, below_lost = u * value[layer, live], u * lost[layer, live]
        if network.output == "last":
            sums[live], sum_lost[live] = value[-1, live], lost[-1, live]
        else:
            sums[live], sum_lost[live] = sums[live] + value[-1, live], sum_lost[live] + lost[-1, live]
    return sums, np.where(silent, 0.0, sum_lost)


def _value(activation: str, q: Array) -> Array:
    """V_phi of a sequence with itself; an approximation for tanh."""
    if activation == "relu":
        return q / 2
    if activation == "erf":
        return np.asarray(2 / np.pi * np.arctan2(2 * q, np.sqrt(1 + 4 * q)))
    return q / (1 + q)


def _sequence(x: Batch, row: int) -> int:
    return int(np.searchsorted(x.offsets, row, side="right")) - 1
