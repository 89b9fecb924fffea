"""Where Gram matrices are computed: GPU, compiled host code, or NumPy."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from rnnlimits import kernels
from rnnlimits.kernels.interface import KernelError
from rnnlimits.kernels.rntk import compiled, reference
from rnnlimits.kernels.rntk.network import Elman
from rnnlimits.kernels.rntk.sequences import Batch

Matrix = NDArray[Any]


class Sums(Protocol):
    """Kernels without sigma_v: values at the last step, or sums over steps (average) or over pairs of steps (mean)."""

    def sums(
        self,
        x: Batch,
        y: Batch | None,
        network: Elman,
        dtype: np.dtype[Any],
        wanted: tuple[str, ...],
        threads: int | None,
    ) -> list[Matrix]:
        """A matrix (n_x, n_y) for each kernel in `wanted`; without y symmetric, with the diagonal of `own_sums`."""

    def own_sums(self, x: Batch, network: Elman, dtype: np.dtype[Any], wanted: tuple[str, ...]) -> list[Matrix]:
        """Each sequence with itself, (n_x,)."""


def named(name: str) -> Sums:
    """The back end called `name`, see kernels.backend. Raises KernelError: unknown, or not to be had here."""
    if kernels.uses_gpu(name):
        from rnnlimits.kernels.rntk import device

        return device.backend()
    if name == "numpy":
        return reference.Numpy()
    try:
        compiled.available()
    except KernelError as error:
        raise KernelError(f"{error}; or use back end numpy, which is 10 to 100 times slower") from error
    return Host()


def in_order(*batches: Batch | None) -> bool:
    """Whether sequences are sorted by length already, so that no matrix needs to be permuted."""
    return all(batch is None or bool((np.diff(batch.lengths) >= 0).all()) for batch in batches)


class Host:
    """See Sums; compiled for this machine."""

    def sums(
        self,
        x: Batch,
        y: Batch | None,
        network: Elman,
        dtype: np.dtype[Any],
        wanted: tuple[str, ...],
        threads: int | None,
    ) -> list[Matrix]:
        """See Sums.sums."""
        prepared = compiled.prepare([x] if y is None else [x, y], network, dtype)
        left, right = prepared[0], prepared[-1]
        made = {kernel: np.empty((len(x), right.table.count), dtype) for kernel in wanted}
        compiled.fill_pairs(left, right, made.get("nngp"), made.get("ntk"), threads, triangle=y is None)
        if y is None:
            own = dict(zip(("nngp", "ntk"), compiled.diagonal(left), strict=True))
            for kernel, matrix in made.items():
                np.fill_diagonal(matrix, own[kernel])
                compiled.mirror(matrix)
        return [_ordered(made[kernel], left, right) for kernel in wanted]

    def own_sums(self, x: Batch, network: Elman, dtype: np.dtype[Any], wanted: tuple[str, ...]) -> list[Matrix]:
        """See Sums.own_sums."""
        (one,) = compiled.prepare([x], network, dtype)
        own = dict(zip(("nngp", "ntk"), compiled.diagonal(one), strict=True))
        back = np.argsort(one.table.order)
        return [own[kernel][back] for kernel in wanted]


def _ordered(matrix: Matrix, left: compiled.Prepared, right: compiled.Prepared) -> Matrix:
    """A matrix by place as one by index."""
    if left.table.sorted_already and right.table.sorted_already:
        return matrix
    return matrix[np.ix_(np.argsort(left.table.order), np.argsort(right.table.order))]
