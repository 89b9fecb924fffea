"""Chains, maps and starts that the tests of path kernels share, on the host and on devices."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rnnlimits.kernels.interface import Array, Backend, GaussianChain, MemoryInputs, MemoryMap

SEED, STREAM = 11, 4


def contraction(rng: np.random.Generator, size: int, radius: float) -> Array:
    """A full matrix without symmetry whose largest singular value is `radius`."""
    matrix = rng.normal(size=(size, size))
    return np.asarray(matrix * radius / np.linalg.norm(matrix, 2))


def chain(inputs: int, hidden: int, nonlinear: bool) -> GaussianChain:
    """Every coefficient different from every other and from 0, so that none can be mistaken or left out."""
    rng = np.random.default_rng([inputs, hidden])
    size = inputs + hidden
    target = rng.uniform(0.3, 1.5, 1 + 2 * inputs + hidden)
    linear, noise, coupling = (contraction(rng, size, radius) for radius in (0.5, 0.7, 0.4))
    return GaussianChain(inputs, hidden, linear, noise, target, coupling if nonlinear else None)


def indices(count: int) -> NDArray[np.uint32]:
    return np.arange(100, 100 + count, dtype=np.uint32)


def starts(count: int, size: int) -> Array:
    return np.random.default_rng(5).normal(size=(count, size))


TRANSITION = np.array([[0.5, 0.3, 0.2, 0.0], [0.0, 0.0, 1.0, 0.0], [0.25, 0.25, 0.25, 0.25], [0.9, 0.0, 0.0, 0.1]])


def memory_along(be: Backend, activation: str, *case: Array) -> Array:
    """memory_path of the arguments that `memory_case` gives."""
    return be.memory_path(MemoryMap(activation, *case[:3]), MemoryInputs(*case[3:6]), case[6])


def memory_case(nodes: int, dimension: int, replicas: int, steps: int) -> tuple[Array, ...]:
    """Arguments of memory_path whose map contracts."""
    rng = np.random.default_rng([nodes, dimension])
    shape = (replicas, steps)
    return (
        rng.normal(size=(nodes, dimension)),
        rng.uniform(-0.5, 0.5, nodes) / nodes,
        rng.uniform(-0.5, 0.5, nodes) / nodes,
        rng.normal(size=shape),
        rng.normal(size=(*shape, dimension)),
        rng.normal(size=shape),
        rng.normal(size=replicas),
    )
