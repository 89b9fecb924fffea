"""Chains with their own step in NumPy: slower than the compiled ones, but free in what they compute.

Paths are computed on the processor, whatever the back end, and are bit for bit the same for every number of ranks and
every block size: noise comes from the counter-based streams, and a replica's step is always evaluated at the same
place of arrays of the same shape, so that vector instructions and BLAS round alike however replicas are grouped.
"""

from __future__ import annotations

from abc import abstractmethod
from pathlib import Path as File
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from rnnlimits.base.errors import StudyError
from rnnlimits.base.fields import Array
from rnnlimits.base.streams import Stream
from rnnlimits.chains import base
from rnnlimits.chains.base import Chain, Stretch, Verdict
from rnnlimits.chains.targets import Target, required
from rnnlimits.kernels import on_processor
from rnnlimits.kernels.interface import Backend, Replicas

ROWS = 32  # replicas that are stepped together: replica r is row r mod ROWS


class Stepped(Protocol):
    """What the paths of such a chain need of it; see OwnStep."""

    @property
    def kind(self) -> str:
        """The kind of chain."""

    @property
    def dimension(self) -> int:
        """Number of components of X."""

    @property
    def hidden(self) -> int:
        """Number of components of Z."""

    @property
    def normals(self) -> int:
        """Number of standard normals in a step."""

    def start(self) -> Array:
        """The state in which the burn-in starts."""

    def step(self, h: Array, xi: Array) -> Array:
        """The next states."""

    def lipschitz(self) -> float:
        """Factor by which a step multiplies distances, which decides the length of the burn-in."""


class OwnStep(Chain):
    """A kind whose states are H = (X, Z) in R^(d + dz), with a vectorised step."""

    @abstractmethod
    def step(self, h: Array, xi: Array) -> Array:
        """The next states (n, d + dz) of h (n, d + dz), with independent standard normals xi (n, normals).

        Each row of the result depends only on the same row of h and xi.
        """

    @abstractmethod
    def lipschitz(self) -> float:
        """Largest factor by which a step multiplies the distance of two paths with one noise; `math.inf` if unknown."""

    @property
    def normals(self) -> int:
        """Number of standard normals in a step; `scipy.special.ndtr` converts them to uniforms."""
        return self.dimension + self.hidden

    def start(self) -> Array:
        """The state (d + dz,) in which the burn-in starts."""
        return np.zeros(self.dimension + self.hidden)

    def process(self, target: Target | None, source: File = base.UNSAVED) -> OwnStepProcess:
        """See Chain.process."""
        return OwnStepProcess(self, required(target))

    def contraction(self, source: File = base.UNSAVED) -> Verdict:
        """Whether the factor of `lipschitz` proves contraction."""
        factor = self.lipschitz()
        words = f"a step multiplies the distance of two paths with the same noise by at most {factor:.4g}"
        if factor < 1 - base.ZERO:
            return Verdict(True, f"the chain contracts: {words}")
        return Verdict(False, f"the chain is not known to contract: {words}, allowed: below 1")

    def sample_inputs(self, source: File = base.UNSAVED) -> Array:
        """See Chain.sample_inputs."""
        return base.bounded(sample_states(self)[:, : self.dimension])


def sample_states(chain: Stepped) -> Array:
    """About 256 states (n, d + dz) some steps after the start, the same at every call."""
    rng, h = np.random.default_rng(base.SAMPLE_SEED), np.tile(chain.start(), (base.SAMPLES, 1))
    with np.errstate(over="ignore", invalid="ignore"):
        for _ in range(base.SAMPLE_STEPS):
            h = chain.step(h, rng.standard_normal((base.SAMPLES, chain.normals)))
    return h


class OwnStepProcess:
    """See Process."""

    def __init__(self, chain: Stepped, target: Target) -> None:
        self.dimension, self.hidden = chain.dimension, chain.hidden
        self.chain, self.target, self.burn_in = chain, target, base.burn_in(chain.lipschitz())

    def paths(
        self, be: Backend, seed: int, stream: Stream, replicas: Replicas, start: NDArray[np.generic] | None = None
    ) -> OwnStepPath:
        """See Process.paths."""
        if start is not None:
            return OwnStepPath(self, be, seed, stream, replicas, np.array(be.numpy(start), dtype=np.float64))
        path = OwnStepPath(self, be, seed, stream, replicas, np.tile(self.chain.start(), (len(replicas), 1)))
        for _ in range(self.burn_in):
            path.advance()
        return path

    def shown(self, state: NDArray[np.generic]) -> Stretch:
        """See Process.shown."""
        h = np.asarray(state, dtype=np.float64)
        x, z = h[:, : self.dimension], h[:, self.dimension :]
        return x, z, self.target.values(x, z)


class OwnStepPath:
    """See Path. The state is a NumPy array on every back end."""

    def __init__(
        self, process: OwnStepProcess, be: Backend, seed: int, stream: Stream, replicas: Replicas, state: Array
    ) -> None:
        self._process, self._be, self._near = process, be, on_processor(be)
        self._key, self._replicas, self._batches = (seed, int(stream)), replicas, batches(replicas)
        self.state, self.step = state, 0

    def take(self, steps: int) -> Stretch:
        """See Path.take."""
        h, y = np.empty((len(self.state), steps, self.state.shape[1])), np.empty((len(self.state), steps))
        for k in range(steps):
            y[:, k] = self.advance()
            h[:, k] = self.state
        d = self._process.dimension
        x, z, y = (self._be.array(np.ascontiguousarray(a)) for a in (h[..., :d], h[..., d:], y))
        return x, z, y

    def advance(self) -> Array:
        """One step of all replicas; returns the targets (R,)."""
        chain = self._process.chain
        following, y = np.empty_like(self.state), np.empty(len(self.state))
        for batch, own in self._batches:
            xi = self._near.normals(*self._key, self._replicas[batch], chain.normals, step=self.step)
            h = np.asarray(chain.step(self.state[batch], xi), dtype=np.float64)
            if h.shape != (ROWS, self.state.shape[1]):
                shape = f"{h.shape} for {ROWS} states; allowed: {(ROWS, self.state.shape[1])}"
                raise StudyError(f"chain.kind: the step of {chain.kind} returns shape {shape}")
            following[batch[own]], y[batch[own]] = h[own], self._process.shown(h)[2][own]
        self.state, self.step = following, self.step + 1
        return y


def batches(replicas: Replicas) -> list[tuple[NDArray[np.intp], NDArray[np.bool_]]]:
    """Assignment of replicas to rows of batches: positions in `replicas` (ROWS,), and which rows are used.

    Replica r is in row r mod ROWS. An unused row repeats one of the others.
    """
    rows = np.asarray(replicas, dtype=np.int64) % ROWS
    filled = np.zeros(ROWS, dtype=np.int64)
    places: list[dict[int, int]] = []
    for position, row in enumerate(rows.tolist()):
        if filled[row] == len(places):
            places.append({})
        places[filled[row]][row] = position
        filled[row] += 1
    pairs = []
    for place in places:
        used = np.isin(np.arange(ROWS), list(place))
        pairs.append((np.array([place.get(row, min(place.values())) for row in range(ROWS)], dtype=np.intp), used))
    return pairs
