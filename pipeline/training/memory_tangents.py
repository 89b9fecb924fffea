"""What tangents tell of memories along whole histories at the end of training."""

from __future__ import annotations

import numpy as np

from rnnlimits.kernels.interface import Array

MODES = 8  # of the memory's error along a history: what they leave out is below 1e-5 of its variance

ALONG = {  # dimensions after path and member, and what it is, at the end of training
    "memory_along": (("probe", "step"), "memory along the probe histories, of the rich twin"),
    "memory_along_second": (("probe", "step"), "N times its mean over networks less the rich twin's"),
    "memory_along_modes": (("probe", "mode", "step"), "N times its covariance over networks is the sum of products"),
}


def along_histories(memory: Array, root: Array) -> dict[str, Array]:
    """Variables of ALONG from the memory (probe, step, direction + 2); root (direction,): of the weights."""
    first = memory[..., 1:-1]
    centred = first - root * (first @ root)[..., None]
    return {
        "memory_along": memory[..., 0],
        "memory_along_second": 0.5 * memory[..., -1],
        "memory_along_modes": modes(centred.swapaxes(1, 2)),
    }


def modes(responses: Array) -> Array:
    """The leading MODES (probe, mode, step) of responses (probe, direction, step): their products sum to theirs."""
    # Of the Gram matrix over steps: what it loses is below the rounding of the largest mode's variance.
    square, vectors = np.linalg.eigh(responses.swapaxes(1, 2) @ responses)
    count = min(MODES, *responses.shape[1:])
    found = np.zeros((len(responses), MODES, responses.shape[2]))
    size = np.sqrt(np.maximum(square[:, ::-1][:, :count], 0.0))
    found[:, :count] = size[..., None] * vectors[:, :, ::-1].swapaxes(1, 2)[:, :count]
    return found
