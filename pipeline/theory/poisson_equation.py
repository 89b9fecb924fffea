"""The Poisson equation u - P u = f - mu(f), mu(u) = 0, and the long-run variance from its solution.

It is solved exactly for finite chains and, by collocation, for their joint law with the memory; by coupled paths for
all chains.
Source: docs/model.md, eq. (35) and (36); docs/theory/poisson.md.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rnnlimits.base.arrays import stationary_states
from rnnlimits.base.errors import StudyError
from rnnlimits.base.streams import Stream
from rnnlimits.chains import paths as chains
from rnnlimits.kernels.interface import Backend, Replicas
from rnnlimits.study import Study
from rnnlimits.theory import stationary as exact
from rnnlimits.theory.laws import ParameterLaw
from rnnlimits.theory.stationary import Atoms, StateMemory
from rnnlimits.theory.walks import Stretch, Walk, burn_in

Array = NDArray[np.float64]
Observable = Callable[[Stretch], Array]
"""Functions of the chain and its memory: they map a stretch of (R, L) steps to values (R, L, S)."""

LARGEST = 4096  # largest number of states for which the linear system is solved directly
PAIRS_AT_ONCE = 1 << 16  # states of coupled paths held at once
STEPS = 256  # length of coupled paths
BEYOND = 1 << 24  # replicas of stationary states begin here, away from the walks of the stage


# --- exactly ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Operator:
    """A transition operator (n, n) with its stationary law (n,): P of a finite chain, or collocated with a memory."""

    matrix: Array
    law: Array

    def centred(self, f: Array) -> Array:
        """f - mu(f) for values f (n,) or (n, S)."""
        return np.asarray(f - self.law @ f)

    def solve(self, f: Array) -> Array:
        """u (n,) or (n, S) with u - P u = f - mu(f) and mu(u) = 0, for one or S functions f. Periodic P are allowed."""
        # The rank-one term makes the system regular and the solution's mean zero, as mu P = mu and mu(f~) = 0.
        system = np.eye(len(self.law)) - self.matrix + self.law
        return self.centred(np.asarray(np.linalg.solve(system, self.centred(f))))

    def covariance(self, f: Array) -> Array:
        """Long-run covariance (S, S) of functions f (n, S). Source: eq. (35)."""
        fluctuation, u = self.centred(f), self.solve(f)
        weighted = self.law[:, None] * fluctuation
        cross = weighted.T @ u
        return np.asarray(cross + cross.T - weighted.T @ fluctuation)

    def variance(self, f: Array) -> Array:
        """Long-run variances (S,) of functions f (n, S), the diagonal of `covariance`."""
        fluctuation = self.centred(f)
        return np.asarray(self.law @ (fluctuation * (2 * self.solve(f) - fluctuation)))


def finite(transition: Array, f: Array) -> Array:
    """u (P,) or (P, S) for a finite chain with transition (P, P) and functions f (P,) or (P, S).

    Raises StudyError for a chain with more than one stationary law.
    """
    return finite_operator(transition).solve(f)


def finite_operator(transition: Array) -> Operator:
    """A finite chain alone, without a memory. Raises StudyError as `finite`."""
    return Operator(transition, stationary_states(transition))


def collocated(law: ParameterLaw, transition: Array, x: Array, joint: StateMemory) -> Operator:
    """The operator of (state, memory) on the points of the joint law, index state * q + point. Source: eq. (31).

    x (P, d): the input in each state. A function is represented by its values at the points and interpolated between
    them, so the accuracy of products of two functions is that of the interpolation.
    """
    order = len(joint.memory)
    nodes = np.cos(np.pi * (np.arange(order) + 0.5) / order)
    image = law.memory_map(x[:, None, :], joint.memory[None, :])
    carry = exact.cardinal_values((2 * image - joint.low - joint.high) / (joint.high - joint.low), nodes)
    matrix = np.einsum("ij,iab->iajb", transition, carry).reshape(len(x) * order, -1)
    return Operator(matrix, joint.weight.reshape(-1))


def finite_state(study: Study, law: ParameterLaw) -> tuple[Operator, Atoms] | None:
    """Operator and points of a finite-state study with its memory; None for other chains, and for very many states."""
    states = study.chain.finite()
    if states is None:
        return None
    transition, x, z = states
    joint, error = exact.joint_law(law, transition, x)
    if joint.weight.size > LARGEST:
        return None
    atoms = exact.finite_state_atoms(joint, error, x, z, exact.target_values(study, x, z))
    return collocated(law, transition, x, joint), atoms


def at_atoms(f: Observable, atoms: Atoms) -> Array:
    """Values (n, S) of functions at the points of an exact law."""
    return f(Stretch(atoms.x[:, None], atoms.z[:, None], atoms.y[:, None], atoms.m[:, None]))[:, 0]


# --- by coupled paths ------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Estimate:
    """value (...), standard error (...), and rest (...): a bound on the contribution of omitted steps."""

    value: Array
    stderr: Array
    rest: Array


@dataclass(frozen=True, eq=False)
class States:
    """States of R chains and their memories: state as Chain.paths takes it, memory (R,)."""

    state: NDArray[np.generic]
    memory: Array

    def __getitem__(self, rows: NDArray[np.intp] | slice) -> States:
        return States(self.state[rows], self.memory[rows])


class Coupled:
    """Stationary states, and paths from given states with given noise, for a study that is not a recorded series.

    Raises StudyError for a recorded one: only its starting point is random.
    """

    def __init__(self, study: Study, be: Backend) -> None:
        if not study.chain.noisy:
            raise StudyError("chain.kind: a recorded series has no Poisson equation: only its starting point is random")
        self._study, self._be = study, be
        self._law, self._chain = ParameterLaw.of(study), chains.of(study)

    def stationary(self, replicas: Replicas) -> States:
        """Independent stationary states with their memory."""
        away = replicas + np.uint32(BEYOND)
        path = self._chain.paths(self._be, self._study.seed, Stream.POISSON_NOISE, away)
        walk = Walk(path, self._law, self._be, len(replicas))
        walk.skip(burn_in(self._law, walk.take(1).x[:, 0]), lambda _: None)
        last = walk.take(1)
        return States(np.array(path.state), last.m[:, 0])

    def follow(self, start: States, replicas: Replicas, steps: int) -> Stretch:
        """The starting states themselves and the `steps` - 1 that follow; equal replicas have equal noise."""
        path = self._chain.paths(self._be, self._study.seed, Stream.MIXING_NOISE, replicas, start=start.state)
        here, later = self._visible(start.state), path.take(steps - 1)
        x, z, y = (np.concatenate(pair, axis=1) for pair in zip(here, later, strict=True))
        return Stretch(x, z, y, self._law.memory_path(self._be, x, start.memory)[:, :-1])

    def _visible(self, state: NDArray[np.generic]) -> tuple[Array, Array, Array]:
        """x (R, 1, d), z (R, 1, dz), y (R, 1) in given states."""
        x, z, y = self._chain.shown(state)
        return x[:, None], z[:, None], y[:, None]

    def differences(self, f: Observable, start: States, other: States, replicas: Replicas, steps: int) -> Array:
        """f along paths from `start` minus f along paths from `other` with the same noise, (R, steps, S)."""
        return f(self.follow(start, replicas, steps)) - f(self.follow(other, replicas, steps))


def simulated(study: Study, be: Backend, f: Observable, start: States, replicas: int, steps: int = STEPS) -> Estimate:
    """u (n, S) at n given states, from `replicas` pairs of paths each: u(h) = sum_k E[f(H_k) - f(H'_k)].

    H starts in h, H' in a stationary state, with the same noise: once the two have met, later steps add neither value
    nor noise, and mu(u) = 0 holds by construction. `rest` is the sum of a geometric continuation of the last steps;
    it is also the residual of the Poisson equation, as the truncated sum solves it up to its first omitted term.
    """
    coupled, estimates = Coupled(study, be), []
    for index in range(len(start.state)):
        numbers = (index * replicas + np.arange(replicas)).astype(np.uint32)
        here = start[np.full(replicas, index)]
        parts = []
        for rows in _parts(replicas, steps):
            other = coupled.stationary(numbers[rows])
            parts.append(coupled.differences(f, here[rows], other, numbers[rows], steps))
        estimates.append(_summed(np.concatenate(parts), steps))
    return Estimate(*(np.stack([getattr(one, name) for one in estimates]) for name in ("value", "stderr", "rest")))


def coupled_variance(study: Study, be: Backend, f: Observable, pairs: int, steps: int = STEPS) -> Estimate:
    """Long-run variances (S,) from pairs of stationary paths that start independently and share their noise.

    With D_k = f(H_k) - f(H'_k), E D_0 D_k is twice the autocovariance at lag k, because H'_k is independent of H_0:
    sigma^2 = E[D_0 (sum_k D_k - D_0/2)]. The mean is not needed, and steps after the pair has met add no noise.
    """
    coupled, numbers = Coupled(study, be), np.arange(2 * pairs, dtype=np.uint32)
    products = []
    for rows in _parts(pairs, steps):
        first, second = (coupled.stationary(numbers[k * pairs : (k + 1) * pairs][rows]) for k in range(2))
        difference = coupled.differences(f, first, second, numbers[rows], steps)
        weight = np.where(np.arange(steps) == 0, 0.5, 1.0)[:, None]
        products.append(difference[:, :1] * difference * weight)
    return _summed(np.concatenate(products), steps)


def _parts(count: int, steps: int) -> list[slice]:
    size = max(1, PAIRS_AT_ONCE // steps)
    return [slice(first, min(first + size, count)) for first in range(0, count, size)]


def _summed(terms: Array, steps: int) -> Estimate:
    """The sum over steps of the mean over replicas of terms (R, steps, S)."""
    total, half = terms.sum(1), steps // 2
    size = np.sqrt(np.square(terms).mean(0))
    tail = size[half:].sum(0)
    with np.errstate(divide="ignore", invalid="ignore"):
        # If terms shrink geometrically, the ratio of two halves gives the ratio of the rest to the tail.
        ratio = np.where(tail > 0, np.minimum(tail / size[:half].sum(0), 0.999), 0.0)
    stderr = total.std(0, ddof=1) / np.sqrt(len(total))
    return Estimate(total.mean(0), stderr, tail * ratio / (1 - ratio))
