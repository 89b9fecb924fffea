"""Features and paths of twins that the tests of kernels share."""

from __future__ import annotations

import numpy as np

from rnnlimits.kernels.interface import Array, FeatureMap


def paths(d: int, replicas: int = 3, steps: int = 40) -> tuple[Array, Array, Array]:
    rng = np.random.default_rng(2)
    return rng.normal(size=(replicas, steps, d)), rng.normal(size=(replicas, steps)), rng.normal(size=(replicas, steps))


def features(activation: str, d: int, nodes: int) -> FeatureMap:
    rng = np.random.default_rng(1)
    scale = 1 / np.sqrt(nodes)
    return FeatureMap(activation, rng.normal(size=(nodes, d)), *(scale * rng.uniform(0.2, 1, (2, nodes))))
