"""The chains of a study as sources of paths: stationary from the first step, the same for every chunking.

Source: docs/model.md, "Data". A path is a function of (seed, stream, replica, step).
"""

from __future__ import annotations

import math
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from rnnlimits.base.streams import Stream
from rnnlimits.chains.sections import CoupledTanh, FiniteState, LinearGaussian, Recorded
from rnnlimits.chains.series import load_series
from rnnlimits.kernels.problem import Array, Backend, GaussianChain, Replicas
from rnnlimits.study import Study
from rnnlimits.theory.laws import eigenpairs
from rnnlimits.theory.stationary import spectral_radius, stationary_states, target_values

Stretch = tuple[Array, Array, Array]

FORGOTTEN = 1e-16  # what a burn-in leaves of the starting point
LONGEST_BURN_IN = 20_000  # for chains whose contraction is slow or not proved


class Path(Protocol):
    """Where the replicas of a chain are now.

    Another path of the same chain, stream and replicas that is started at this one's `state` and given its `step` goes
    on as this one does.
    """

    step: int  # steps taken, with those of a burn-in: which noise is next

    @property
    def state(self) -> NDArray[np.generic]:
        """The present states, as `Chain.paths` takes them for a start."""

    def take(self, steps: int) -> Stretch:
        """The next steps: x (R, steps, d), z (R, steps, dz), y (R, steps), float64. Calls continue one another."""


class Position(NamedTuple):
    """State, a copy as NumPy's array, and step of a path."""

    state: NDArray[np.generic]
    step: int


class Chain(Protocol):
    """A chain with its target: X in R^d is seen, Z in R^dz is hidden, Y is to be learned."""

    dimension: int
    hidden: int
    exact: bool  # stationary expectations need no drawing (pipeline/theory/stationary.py)

    def paths(
        self, be: Backend, seed: int, stream: Stream, replicas: Replicas, start: NDArray[np.generic] | None = None
    ) -> Path:
        """Independent paths, stationary from the first step; or from `start`, one state for each replica.

        `stream` is a NOISE stream; the registry's next one is its START. A start is H (R, d + dz) for chains driven
        by Gaussian noise, a state number (R,) for finite chains, a row (R,) for recorded series.
        """


def of(study: Study) -> Chain:
    """The chain of a study.

    Raises StudyError for a recorded series that cannot be read, and for a chain.q with a negative eigenvalue.
    """
    section = study.chain
    if isinstance(section, FiniteState):
        return FiniteChain(section, study)
    if isinstance(section, Recorded):
        return RecordedChain(section, study)
    return NoiseDrivenChain(section, study)


def training_paths(study: Study, be: Backend, index: Replicas, at: Position | None = None) -> Path:
    """The paths `index` that trainings see: from their beginning, or from the position of an earlier such path."""
    if at is None:
        return of(study).paths(be, study.seed, Stream.CHAIN_NOISE, index)
    path = of(study).paths(be, study.seed, Stream.CHAIN_NOISE, index, start=at.state)
    path.step = at.step
    return path


def position(be: Backend, path: Path) -> Position:
    """Where a path is."""
    return Position(np.array(be.numpy(path.state)), path.step)


def growth_matrix(section: LinearGaussian | CoupledTanh) -> Array:
    """Matrix (size, size) of which n factors govern how far two chains with one noise can be apart after n steps.

    linear-gaussian: dH'/dH = A itself, signs included, as they decide its spectral radius. coupled-tanh: an entrywise
    bound on |dH'/dH|, as sin and tanh have slopes of size at most 1.
    """
    if isinstance(section, LinearGaussian):
        return np.asarray(section.matrices()[0])
    m = section.matrices()
    return np.asarray(np.abs(np.block([[m.a, m.b], [m.e, m.c]])))


def contraction(section: LinearGaussian | CoupledTanh) -> float:
    """Spectral radius of the growth matrix: the chain contracts if it is below 1, a linear chain only then."""
    return spectral_radius(growth_matrix(section))


def kernel_chain(study: Study) -> GaussianChain:
    """The study's noise-driven chain and target as the kernels take them.

    Raises StudyError for a chain.q with a negative eigenvalue.
    """
    section, d, dz = study.chain, study.dimension, study.hidden
    assert study.target is not None
    assert isinstance(section, LinearGaussian | CoupledTanh)
    target = study.target.vectors(d, dz)
    coefficients = np.concatenate([[target.constant], target.sin_x, target.x, target.z])
    if isinstance(section, LinearGaussian):
        a, q = section.matrices()
        values, vectors = eigenpairs(q, f"{study.source}: chain.q")
        # The symmetric root: unlike vectors alone it is unique, so a seed means the same path on every machine.
        noise = (vectors * np.sqrt(values)) @ vectors.T
        return GaussianChain(d, dz, linear=a, noise=noise, target=coefficients)
    m = section.matrices()
    zero = np.zeros((d, d))
    linear, coupling = np.block([[m.a, zero], [zero, m.c]]), np.block([[zero, m.b], [m.e, zero]])
    return GaussianChain(d, dz, linear, np.diag(np.concatenate([m.s, m.r])), coefficients, coupling)


class NoiseDrivenChain:
    """linear-gaussian and coupled-tanh: started at zero, a burn-in before the first step that is given out."""

    exact = False

    def __init__(self, section: LinearGaussian | CoupledTanh, study: Study) -> None:
        self.dimension, self.hidden = study.dimension, study.hidden
        self.kernel = kernel_chain(study)
        rate = contraction(section)
        steps = math.log(FORGOTTEN) / math.log(rate) if 0.0 < rate < 1.0 else 0.0 if rate == 0.0 else math.inf
        self.burn_in = int(min(LONGEST_BURN_IN, 64 + math.ceil(min(steps, LONGEST_BURN_IN))))

    def paths(
        self, be: Backend, seed: int, stream: Stream, replicas: Replicas, start: NDArray[np.generic] | None = None
    ) -> NoiseDrivenPath:
        """See Chain.paths."""
        if start is not None:
            state = be.array(np.array(start, dtype=np.float64))
            return NoiseDrivenPath(self.kernel, be, seed, stream, replicas, state, 0)
        state = be.array(np.zeros((len(replicas), self.kernel.size)))
        be.chain_path(self.kernel, seed, stream, replicas, state, 0, self.burn_in, keep=False)
        return NoiseDrivenPath(self.kernel, be, seed, stream, replicas, state, self.burn_in)


class NoiseDrivenPath:
    """See Path."""

    def __init__(
        self,
        kernel: GaussianChain,
        be: Backend,
        seed: int,
        stream: Stream,
        replicas: Replicas,
        state: Array,
        step: int,
    ) -> None:
        self._kernel, self._be, self._key, self._replicas = kernel, be, (seed, int(stream)), replicas
        self.state, self.step = state, step

    def take(self, steps: int) -> Stretch:
        """See Path.take."""
        h, y = self._be.chain_path(self._kernel, *self._key, self._replicas, self.state, self.step, steps)
        self.step += steps
        d = self._kernel.inputs
        return h[..., :d], h[..., d:], y


class FiniteChain:
    """A finite chain: states by inversion, started from the exact stationary law."""

    exact = True

    def __init__(self, section: FiniteState, study: Study) -> None:
        self.dimension, self.hidden = study.dimension, study.hidden
        self.transition, self.x, self.z = section.arrays()
        self.law = stationary_states(self.transition)
        self.y = target_values(study, self.x, self.z)

    def paths(
        self, be: Backend, seed: int, stream: Stream, replicas: Replicas, start: NDArray[np.generic] | None = None
    ) -> FinitePath:
        """See Chain.paths."""
        if start is None:
            u = be.numpy(be.uniforms(seed, Stream(stream + 1), replicas, 1))[:, 0]
            start = np.searchsorted(np.cumsum(self.law)[:-1], u, side="right")
        return FinitePath(self, be, seed, stream, replicas, be.array(np.array(start, dtype=np.int32)))


class FinitePath:
    """See Path."""

    def __init__(
        self,
        chain: FiniteChain,
        be: Backend,
        seed: int,
        stream: Stream,
        replicas: Replicas,
        state: NDArray[np.int32],
    ) -> None:
        self._transition, self._be, self._key, self._replicas = chain.transition, be, (seed, int(stream)), replicas
        self._values = [be.array(values) for values in (chain.x, chain.z, chain.y)]
        self.state, self.step = state, 0

    def take(self, steps: int) -> Stretch:
        """See Path.take."""
        states = self._be.finite_path(self._transition, *self._key, self._replicas, self.state, self.step, steps)
        self.step += steps
        x, z, y = (values[states] for values in self._values)
        return x, z, y


class RecordedChain:
    """A recorded series run through in a circle, each replica from a random row: mu is the series' empirical law."""

    exact = True

    def __init__(self, section: Recorded, study: Study) -> None:
        self.dimension, self.hidden = study.dimension, 0
        self.series = load_series(section, study.source)

    def paths(
        self, be: Backend, seed: int, stream: Stream, replicas: Replicas, start: NDArray[np.generic] | None = None
    ) -> RecordedPath:
        """See Chain.paths."""
        if start is None:
            u = be.numpy(be.uniforms(seed, Stream(stream + 1), replicas, 1))[:, 0]
            start = np.floor(u * len(self.series.y))
        return RecordedPath(self, be, np.array(start, dtype=np.int64))


class RecordedPath:
    """See Path."""

    def __init__(self, chain: RecordedChain, be: Backend, row: NDArray[np.int64]) -> None:
        self._x, self._y = be.array(chain.series.x), be.array(chain.series.y)
        self._be, self.state, self.step = be, be.array(row), 0

    def take(self, steps: int) -> Stretch:
        """See Path.take."""
        rows = (self.state[:, None] + self._be.array(np.arange(steps))) % len(self._y)
        self.state = (self.state + steps) % len(self._y)
        self.step += steps
        return self._x[rows], self._be.array(np.empty((*rows.shape, 0))), self._y[rows]


def probe_histories(study: Study, be: Backend) -> Array:
    """Inputs of the study's probe histories, (probe, length, d): stationary stretches of the chain, oldest first.

    `be` has NumPy's arrays (kernels.on_processor).
    """
    replicas = np.arange(study.probes.count, dtype=np.uint32)
    path = of(study).paths(be, study.seed, Stream.PROBE_NOISE, replicas)
    return np.ascontiguousarray(path.take(study.probes.length)[0])
