"""Gram matrices between sequences: what a user calls."""

from __future__ import annotations

from numbers import Integral
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnnlimits.kernels.interface import KernelError
from rnnlimits.kernels.rntk import backends, memory, scales
from rnnlimits.kernels.rntk.network import Elman, network_of, require_one_of
from rnnlimits.kernels.rntk.sequences import Batch, Places, Sequences, batch, require_alike, require_steps_first
from rnnlimits.kernels.values import array_of, real

KERNELS = ("ntk", "nngp", "both")
DTYPES = ("float64", "float32")
Matrix = NDArray[Any]
Kernels = Matrix | tuple[Matrix, Matrix]


def gram(
    x: Sequences,
    y: Sequences | None = None,
    *,
    network: Elman | None = None,
    kernel: str = "ntk",
    dtype: str = "float64",
    backend: str = "auto",
    threads: int | None = None,
    layout: str | None = None,
) -> Kernels:
    """Kernel matrix between sequences: (n, n) of x with itself, or (n_x, n_y) where y is given.

    x, y: a list of arrays (T_i, m) or (T_i,), or an array (n, T, m) or (n, T). Without y a sequence is the same as
    itself: its initial state is shared (sigma_h), its correlation is 1; with y all are different sequences.
    kernel: "ntk", "nngp", or "both" for a pair (ntk, nngp). dtype: arithmetic and result. backend: "auto" (GPU, else
    the compiled one, never NumPy), "cuda", "host", "numpy". threads: of the host, by default all; results do not
    depend on it. layout: "steps_first", or "channels_first" for arrays (n, m, T) and lists of (m, T_i); an array with
    more inputs than steps needs it. Raises KernelError, one line, for bad input, and where the matrix does not fit into
    memory.
    """
    asked, wanted, dtype, threads = network_of(network), _wanted(kernel), _named(dtype), _threads(threads)
    left = _given(x, "x", layout)
    right = None if y is None else _given(y, "y", layout)
    _require_pairable(left, right, asked, dtype)
    copies = (1 if backends.in_order(left, right) else 3) * len(wanted)
    memory.require_room(len(left), len(left if right is None else right), np.dtype(dtype).itemsize, copies)
    with np.errstate(over="ignore", invalid="ignore"):
        found = backends.named(backend).sums(left, right, asked, np.dtype(dtype), wanted, threads)
        scaled = [_scaled(matrix, left, right or left, asked) for matrix in found]
    scales.require_finite(scaled, asked, dtype)
    return _delivered(scaled)


def diagonal(
    x: Sequences,
    *,
    network: Elman | None = None,
    kernel: str = "ntk",
    dtype: str = "float64",
    backend: str = "auto",
    layout: str | None = None,
) -> Kernels:
    """The diagonal (n,) of gram(x): each sequence with itself; linear in n. Arguments as in `gram`."""
    asked, wanted, left = network_of(network), _wanted(kernel), _given(x, "x", layout)
    dtype = _named(dtype)
    scales.require(left, asked, dtype)
    with np.errstate(over="ignore", invalid="ignore"):
        found = backends.named(backend).own_sums(left, asked, np.dtype(dtype), wanted)
        scaled = [a * _pair_scale(left.lengths, left.lengths, asked).astype(a.dtype) for a in found]
    scales.require_finite([a[None] for a in scaled], asked, dtype)
    return _delivered(scaled)


def rows(
    x: Sequences,
    first: int,
    last: int,
    *,
    network: Elman | None = None,
    kernel: str = "ntk",
    dtype: str = "float64",
    backend: str = "auto",
    threads: int | None = None,
) -> Kernels:
    """Rows first .. last - 1 of gram(x), (last - first, n): for matrices that exceed memory. Arguments as in `gram`."""
    asked, everything = network_of(network), _given(x, "x")
    if not 0 <= first < last <= len(everything):
        raise KernelError(f"rows {first} .. {last} are not allowed; 0 <= first < last <= {len(everything)}")
    part = everything.taken(np.arange(first, last))
    common = {"network": asked, "kernel": kernel, "dtype": dtype, "backend": backend}
    found = gram(part, everything, threads=threads, **common)  # type: ignore[arg-type]
    own = diagonal(part, **common)  # type: ignore[arg-type]
    for matrix, values in zip(_parts(found), _parts(own), strict=True):
        matrix[np.arange(last - first), np.arange(first, last)] = values
    return found


def require_psd(matrix: Matrix, tolerance: float | None = None) -> float:
    """The smallest eigenvalue of a symmetric Gram matrix over its largest.

    Raises KernelError where it is below -tolerance (default: n times the rounding unit of the matrix's dtype times 64).
    """
    found = array_of(matrix, "matrix")
    if found.ndim != 2 or found.shape[0] != found.shape[1]:
        raise KernelError(f"matrix has shape {found.shape}; a square Gram matrix is needed")
    entries = real(found, "matrix")
    if not np.isfinite(entries).all():
        raise KernelError("matrix has entries that are not finite; compute it again")
    values = np.linalg.eigvalsh(entries)
    largest = max(abs(float(values[-1])), np.finfo(np.float64).tiny)
    relative = float(values[0]) / largest
    limit = (
        64 * len(found) * float(np.finfo(found.dtype if found.dtype.kind == "f" else np.float64).eps)
        if tolerance is None
        else tolerance
    )
    if not relative >= -limit:
        raise KernelError(
            f"the Gram matrix is not positive semi-definite: smallest eigenvalue {values[0]:.3g}, {relative:.3g} of "
            f"the largest, beyond rounding ({-limit:.3g}); compute it with dtype='float64' or add "
            f"{-2 * values[0]:.3g} to its diagonal"
        )
    return relative


def _given(x: Sequences, name: str, layout: str | None = None) -> Batch:
    if isinstance(x, Elman):
        raise KernelError(f"{name} is a network; give it by its name, network=...")
    made = batch(x, name, layout)
    if layout is None:
        require_steps_first(x, name)
    return made


def _wanted(kernel: str) -> tuple[str, ...]:
    require_one_of("kernel", kernel, KERNELS)
    return ("ntk", "nngp") if kernel == "both" else (kernel,)


def _named(dtype: Any) -> str:
    """The name of a dtype, which may also be NumPy's own. Raises KernelError for others than DTYPES."""
    own = isinstance(dtype, np.dtype) or (isinstance(dtype, type) and issubclass(dtype, np.generic))
    name = np.dtype(dtype).name if own else dtype
    require_one_of("dtype", name, DTYPES)
    return str(name)


def _threads(threads: Any) -> int | None:
    """The number of threads, None for all: none given, or -1 as in scikit-learn. Raises KernelError for others."""
    if threads is None or (isinstance(threads, Integral) and threads == -1):
        return None
    if isinstance(threads, bool) or not isinstance(threads, Integral) or threads < 1:
        raise KernelError(f"threads: {threads!r} is not allowed; a whole number from 1, or -1 for all")
    return int(threads)


def _delivered(found: list[Matrix]) -> Kernels:
    return found[0] if len(found) == 1 else (found[0], found[1])


def _parts(found: Kernels) -> tuple[Matrix, ...]:
    return found if isinstance(found, tuple) else (found,)


def _require_pairable(left: Batch, right: Batch | None, network: Elman, dtype: str) -> None:
    if right is not None:
        require_alike(left, right)
    for name, one in (("x", left), ("y", right)):
        if one is not None:
            scales.require(one, network, dtype, name)
    if network.output != "average":
        return
    lengths = np.concatenate([left.lengths, left.lengths if right is None else right.lengths])
    if lengths.min() != lengths.max():
        raise KernelError(
            f"output 'average' needs sequences of one length, these have {lengths.min()} to {lengths.max()} steps; "
            "use output='mean' or 'last'"
        )


def _pair_scale(rows: Places, columns: Places, network: Elman) -> Matrix:
    """What sums over steps are multiplied by: sigma_v^2, over the number of steps or of pairs of them."""
    scale = np.full(np.broadcast_shapes(rows.shape, columns.shape), network.sigma_v**2)
    if network.output == "average":
        return scale / rows
    return scale / (rows.astype(np.float64) * columns) if network.output == "mean" else scale


def _scaled(matrix: Matrix, left: Batch, right: Batch, network: Elman) -> Matrix:
    if network.output == "last" and network.sigma_v == 1.0:
        return matrix
    scale = network.sigma_v**2
    if network.output == "last":
        matrix *= matrix.dtype.type(scale)
        return matrix
    for row, steps in zip(matrix, left.lengths, strict=True):  # by rows: no second matrix of the same size
        row *= (scale / (steps * right.lengths if network.output == "mean" else steps)).astype(matrix.dtype)
    return matrix
