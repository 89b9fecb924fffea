"""Random draws of a study of the recurrent NTK: sequences, targets, networks. Each is a function of its indices."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from rnnlimits.base.streams import Stream
from rnnlimits.kernels import rntk
from rnnlimits.kernels.interface import Array, Backend
from rnnlimits.kernels.rntk.finite import Numbers, Weights
from rnnlimits.kernels.rntk.network import Elman
from rnnlimits.study.elman import RntkStudy

Tick = Callable[[int], None]


def sequences(study: RntkStudy, be: Backend) -> rntk.Batch:
    """The sequences of a study: standard normal inputs, sequence i a function of the seed, i and the dimension.

    be: here, and below where arrays are few and small, a back end with NumPy arrays (kernels.on_processor).
    """
    section = study.sequences
    return rntk.batch(
        [
            _normals(study, be, Stream.RNTK_SEQUENCE, index, length * section.dimension).reshape(length, -1)
            for index, length in enumerate(section.lengths)
        ]
    )


def weighed(study: RntkStudy, be: Backend, count: int, length: int) -> Array:
    """Sequences (count, length, m) at which the weight of time steps is taken."""
    m = study.sequences.dimension
    rows = be.normals(study.seed, Stream.RNTK_WEIGHED, np.arange(count, dtype=np.uint32), length * m)
    return np.asarray(rows, dtype=np.float64).reshape(count, length, m)


def targets(study: RntkStudy, be: Backend) -> Array:
    """Standard normal targets of the sequences that are trained on, (trained,)."""
    count = study.training.trained if study.training else 0
    return np.array([_normals(study, be, Stream.RNTK_TARGET, index, 1)[0] for index in range(count)])


def _normals(study: RntkStudy, be: Backend, stream: Stream, index: int, count: int) -> Array:
    normals: Array = be.normals(study.seed, stream, np.array([index], dtype=np.uint32), count)
    return normals.reshape(-1)


def draw(
    study: RntkStudy,
    be: Backend,
    network: Elman,
    width: int,
    replicas: NDArray[np.uint32],
    tick: Tick = lambda _: None,
) -> Weights:
    """The networks of these replicas, in the study's precision; arrays of the back end.

    Entry (i, j) of a matrix is number i n + j of its stream: a function of seed, layer, replica and entry. The state
    before the first step is one more index, the sequence. tick(0): called between matrices, which may be large.
    """
    dtype, n = np.dtype(study.precision), width

    def normals(stream: Stream, layer: int, *shape: int, step: int = 0) -> Numbers:
        tick(0)
        count = int(np.prod(shape))
        rows = be.normals(study.seed, stream, replicas, count, step, layer)
        return rows.astype(dtype, copy=False).reshape(len(replicas), *shape)

    layers, m, count = range(network.layers), study.sequences.dimension, len(study.sequences.lengths)
    starts = [[normals(Stream.RNTK_START, layer, n, step=index) for index in range(count)] for layer in layers]
    return Weights(
        recurrent=tuple(normals(Stream.RNTK_RECURRENT, layer, n, n) for layer in layers),
        below=tuple(normals(Stream.RNTK_BELOW, layer, n, n if layer else m) for layer in layers),
        bias=tuple(normals(Stream.RNTK_BIAS, layer, n) for layer in layers),
        output=normals(Stream.RNTK_OUTPUT, 0, n),
        start=tuple(np.stack(start, axis=-1) for start in starts),
    )
