"""The chain of a study as a source of paths: stationary from the first step, the same for every chunking.

Source: docs/model.md, "Data". A path is a function of (seed, stream, replica, step).
"""

from __future__ import annotations

from pathlib import Path as File
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from rnnlimits.base.streams import Stream
from rnnlimits.chains.base import Chain, Path, Process
from rnnlimits.chains.targets import Target
from rnnlimits.kernels.interface import Array, Backend, Replicas

__all__ = ["Path", "Position", "Process", "Source", "of", "position", "probe_histories", "training_paths"]


class Source(Protocol):
    """The properties of a study that paths need."""

    @property
    def chain(self) -> Chain:
        """The kind of chain, with its keys."""

    @property
    def target(self) -> Target | None:
        """The target to be learned; None if the chain has its own target."""

    @property
    def source(self) -> File:
        """The study's file."""

    @property
    def seed(self) -> int:
        """The seed of all random numbers."""


class Stretches(Protocol):
    """The number and the length of probe histories."""

    @property
    def count(self) -> int:
        """Number of histories."""

    @property
    def length(self) -> int:
        """Number of steps in each history."""


class ProbedSource(Source, Protocol):
    """The properties of a study that probe histories need."""

    @property
    def probes(self) -> Stretches:
        """The number and the length of probe histories."""


class Position(NamedTuple):
    """State, a copy as a NumPy array, and step of a path."""

    state: NDArray[np.generic]
    step: int


def of(study: Source) -> Process:
    """The chain of a study with its target.

    Raises StudyError for a recorded series that cannot be read, and for a chain.q with a negative eigenvalue.
    """
    return study.chain.process(study.target, study.source)


def training_paths(study: Source, be: Backend, index: Replicas, at: Position | None = None) -> Path:
    """The paths `index` that trainings see: from their beginning, or from the position of an earlier path."""
    if at is None:
        return of(study).paths(be, study.seed, Stream.CHAIN_NOISE, index)
    path = of(study).paths(be, study.seed, Stream.CHAIN_NOISE, index, start=at.state)
    path.step = at.step
    return path


def position(be: Backend, path: Path) -> Position:
    """The present position of a path."""
    return Position(np.array(be.numpy(path.state)), path.step)


def probe_histories(study: ProbedSource, be: Backend) -> Array:
    """Inputs of the study's probe histories, (probe, length, d): stationary stretches of the chain, oldest first.

    `be` has NumPy arrays (kernels.on_processor).
    """
    replicas = np.arange(study.probes.count, dtype=np.uint32)
    path = of(study).paths(be, study.seed, Stream.PROBE_NOISE, replicas)
    return np.ascontiguousarray(path.take(study.probes.length)[0])
