"""Coupled pairs: the contraction of two chains with the same noise and of two memories on the same path.

Source: docs/model.md sections 1 and 4.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rnnlimits.base.streams import Stream
from rnnlimits.chains import paths as chains
from rnnlimits.kernels.interface import Array, Backend, Replicas
from rnnlimits.study import Study
from rnnlimits.theory.laws import ParameterLaw
from rnnlimits.theory.walks import Tick, Walk, burn_in

RESOLVED = 1e-13  # smaller distances are rounding errors


@dataclass(frozen=True, eq=False)
class Couplings:
    """For each pair: log_slope (P,), memory (P, S + 1) and chain (P, S) log distances; chain None if recorded.

    A log distance is NaN from the first step at which the distance is zero or below 1e-13, where rounding dominates.
    """

    log_slope: Array
    memory: Array
    chain: Array | None


def couplings(study: Study, law: ParameterLaw, chain: chains.Process, be: Backend, index: int, tick: Tick) -> Couplings:
    """Pairs of chains with the same noise, and pairs of memories on one path, each from two starts.

    The chains start from independent stationary states; the memories from 0, as a network does, and from the
    end of their range, E|B|. log_slope is the mean of log|dF/dm| along the stationary memory of the same steps.
    """
    count, steps = study.draws.couplings, study.draws.coupling_steps
    replicas = index * count + np.arange(count, dtype=np.uint32)
    if not study.chain.noisy:
        path, distances = chain.paths(be, study.seed, Stream.COUPLING_NOISE, replicas), None
    else:
        path, distances = coupled_chains(study, chain, be, replicas)
    walk = Walk(path, law, be, count)
    walk.skip(burn_in(law, walk.take(1).x[:, 0]), tick)
    part = walk.take(steps)
    tick(0)
    slope = np.abs(law.memory_slope(part.x, part.m))
    starts = (np.zeros(count), np.full(count, law.memory_bound))
    first, second = (law.memory_path(be, part.x, start) for start in starts)
    return Couplings(
        np.mean(np.log(np.maximum(slope, np.finfo(np.float64).tiny)), axis=1),
        log_distance(np.abs(first - second)),
        distances,
    )


def coupled_chains(study: Study, chain: chains.Process, be: Backend, replicas: Replicas) -> tuple[chains.Path, Array]:
    """The first chain of each pair, gone on from the coupling, and log distances (P, S) after 1 to S steps."""
    beyond = study.draws.blocks * study.draws.chains  # replicas that no block draws
    starts = [
        chain.paths(be, study.seed, Stream.DRAW_NOISE, beyond + 2 * replicas + np.uint32(k)).state for k in range(2)
    ]
    paths = [chain.paths(be, study.seed, Stream.COUPLING_NOISE, replicas, start=start) for start in starts]
    (x, z, _), (x2, z2, _) = (path.take(study.draws.coupling_steps) for path in paths)
    return paths[0], log_distance(np.sqrt(np.sum((x - x2) ** 2, axis=-1) + np.sum((z - z2) ** 2, axis=-1)))


def log_distance(distance: Array) -> Array:
    """Logarithm of distances (P, S) along steps, NaN from the first step at which they are at or below 1e-13."""
    lost = np.logical_or.accumulate(distance <= RESOLVED, axis=1)
    return np.asarray(np.where(lost, np.nan, np.log(np.where(lost, 1.0, distance))))
