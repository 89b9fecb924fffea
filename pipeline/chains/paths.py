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
    """What paths need of a study."""

    @property
    def chain(self) -> Chain:
        """The kind of chain, with its keys."""

    @property
    def target(self) -> Target | None:
        """What is learned; None where the chain has a target of its own."""

    @property
    def source(self) -> File:
        """The study's file."""

    @property
    def seed(self) -> int:
        """Of every random number."""


class Stretches(Protocol):
    """How many probe histories there are, and how long they are."""

    @property
    def count(self) -> int:
        """Number of histories."""

    @property
    def length(self) -> int:
        """Steps in each."""


class ProbedSource(Source, Protocol):
    """What probe histories need of a study."""

    @property
    def probes(self) -> Stretches:
        """How many, and how long."""


class Position(NamedTuple):
    """State, a copy as NumPy's array, and step of a path."""

    state: NDArray[np.generic]
    step: int


def of(study: Source) -> Process:
    """The chain of a study with its target.

    Raises StudyError for a recorded series that cannot be read, and for a chain.q with a negative eigenvalue.
    """
    return study.chain.process(study.target, study.source)


def training_paths(study: Source, be: Backend, index: Replicas, at: Position | None = None) -> Path:
    """The paths `index` that trainings see: from their beginning, or from the position of an earlier such path."""
    if at is None:
        return of(study).paths(be, study.seed, Stream.CHAIN_NOISE, index)
    path = of(study).paths(be, study.seed, Stream.CHAIN_NOISE, index, start=at.state)
    path.step = at.step
    return path


def position(be: Backend, path: Path) -> Position:
    """Where a path is."""
    return Position(np.array(be.numpy(path.state)), path.step)


def probe_histories(study: ProbedSource, be: Backend) -> Array:
    """Inputs of the study's probe histories, (probe, length, d): stationary stretches of the chain, oldest first.

    `be` has NumPy's arrays (kernels.on_processor).
    """
    replicas = np.arange(study.probes.count, dtype=np.uint32)
    path = of(study).paths(be, study.seed, Stream.PROBE_NOISE, replicas)
    return np.ascontiguousarray(path.take(study.probes.length)[0])
