"""Stationary laws that are known without draws, and exact rates of mixing.

Source: docs/model.md section 5, eq. (31), and the end of section 6.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.polynomial import chebyshev
from numpy.typing import NDArray
from scipy.linalg import solve_discrete_lyapunov

from rnnlimits.base.arrays import second_modulus, spectral_radius, stationary_states
from rnnlimits.base.errors import StudyError
from rnnlimits.chains.base import kinds
from rnnlimits.chains.targets import required
from rnnlimits.kernels.interface import Backend
from rnnlimits.study import Study
from rnnlimits.theory.laws import ParameterLaw

Array = NDArray[np.float64]

FIRST_ORDER = 8  # initial number of Chebyshev points in each state
LAST_ORDER = 256
GOAL = 1e-13  # stop doubling the points when moments change by less
COMPARED = 8  # Chebyshev moments of the memory, in each state, that decide convergence
SETTLED = 1e-11  # a change of the fixed vector, summed over its points, that may be due to rounding
ITERATIONS = 5000  # for the fixed vector; with a contraction of 0.99 it takes about 3700
GRID = 257  # memories at which the range of the memory map is evaluated
ROUNDS = 1000  # most rounds through a recorded series


@dataclass(frozen=True, eq=False)
class Atoms:
    """mu(f) ~ sum_n weight_n f(x_n, z_n, y_n, m_n); weights sum to 1 and may be negative.

    x (n, d), z (n, dz), y (n,), m (n,), weight (n,). `error` is the last change of low-order moments.
    """

    x: Array
    z: Array
    y: Array
    m: Array
    weight: Array
    error: float


@dataclass(frozen=True, eq=False)
class StateMemory:
    """Joint stationary law of state and memory: weight (P, q) on memory (q,), the same points in each state."""

    memory: Array
    weight: Array
    low: float
    high: float


def atoms(study: Study, be: Backend) -> Atoms:
    """The stationary law of (X, Z, Y, M) of a chain if it is known exactly. Raises StudyError for other chains."""
    law = ParameterLaw.of(study)
    if (states := study.chain.finite()) is not None:
        joint, error = joint_law(law, states.transition, states.x)
        return finite_state_atoms(joint, error, states.x, states.z, target_values(study, states.x, states.z))
    if (series := study.chain.series(study.source)) is not None:
        return recorded_atoms(law, be, series.x, series.y)
    raise StudyError(
        f"chain.kind: {study.chain.kind} has no exact stationary law; allowed here: {', '.join(kinds(exact=True))}"
    )


def target_values(study: Study, x: Array, z: Array) -> Array:
    """Y (...) at x (..., d), z (..., dz). Source: docs/model.md, eq. (6)."""
    return required(study.target).values(x, z)


# --- finite state ----------------------------------------------------------------------------------------------


def memory_interval(law: ParameterLaw, x: Array) -> tuple[float, float]:
    """An interval that F(x_i, .) maps into itself for every row of x (P, d), a little wider than needed."""
    low, high = -law.memory_bound, law.memory_bound
    for _ in range(200):
        image = law.memory_map(x[:, None, :], np.linspace(low, high, GRID)[None, :])
        before, (low, high) = (low, high), (float(image.min()), float(image.max()))
        if max(abs(low - before[0]), abs(high - before[1])) < 1e-12:
            break
    margin = 0.01 * (high - low) + 1e-9 * law.memory_bound
    return low - margin, high + margin


def collocated_memory(law: ParameterLaw, transition: Array, x: Array, order: int) -> StateMemory:
    """Fixed vector of the collocated transition operator with `order` points per state. Source: eq. (31).

    Raises StudyError if the iteration does not converge, as for a memory map that does not contract.
    """
    low, high = memory_interval(law, x)
    nodes = np.cos(np.pi * (np.arange(order) + 0.5) / order)
    memory = (low + high) / 2 + (high - low) / 2 * nodes
    image = law.memory_map(x[:, None, :], memory[None, :])
    carry = cardinal_values((2 * image - low - high) / (high - low), nodes)
    # If it starts from the exact law of the state, only the memory has to converge, at its own contraction,
    # whatever the second eigenvalue of the transition matrix.
    weight = np.repeat(stationary_states(transition)[:, None] / order, order, axis=1)
    before = np.inf
    for _ in range(ITERATIONS):
        moved = transition.T @ np.einsum("ia,iab->ib", weight, carry)
        change = float(np.abs(moved - weight).sum())
        weight = moved / moved.sum()
        if change < SETTLED and change >= before:  # converged to rounding, which depends on the number of points
            return StateMemory(memory, weight, low, high)
        before = change
    raise StudyError(
        f"network.b: the stationary law of the memory did not settle in {ITERATIONS} steps (change {change:.1e});"
        " the memory map has to contract, use a smaller network.b.slope or offset"
    )


def cardinal_values(points: Array, nodes: Array) -> Array:
    """Values (..., q) at points (...) in [-1, 1] of the cardinal polynomials of q Chebyshev nodes."""
    order = len(nodes)
    factor = np.full(order, 2.0 / order)
    factor[0] = 1.0 / order
    at_nodes = chebyshev.chebvander(nodes, order - 1) * factor
    return np.asarray(chebyshev.chebvander(np.clip(points, -1, 1), order - 1) @ at_nodes.T)


def joint_law(law: ParameterLaw, transition: Array, x: Array) -> tuple[StateMemory, float]:
    """Stationary law of (state, memory), with points doubled until low moments converge, and their last change."""
    order, before = FIRST_ORDER, np.inf
    coarse = collocated_memory(law, transition, x, order)
    while True:
        order *= 2
        fine = collocated_memory(law, transition, x, order)
        error = float(np.abs(low_moments(fine) - low_moments(coarse)).max())
        if error < GOAL or error > before or order >= LAST_ORDER:  # a growing error is due to rounding
            return fine, error
        coarse, before = fine, error


def low_moments(joint: StateMemory) -> Array:
    """Chebyshev moments (P, 8) of the memory in each state; each is at most 1 for a probability."""
    scaled = (2 * joint.memory - joint.low - joint.high) / (joint.high - joint.low)
    return np.asarray(joint.weight @ chebyshev.chebvander(scaled, COMPARED - 1))


def finite_state_atoms(joint: StateMemory, error: float, x: Array, z: Array, y: Array) -> Atoms:
    """Atoms (P q) of a joint law; x (P, d), z (P, dz) and y (P,) are the values of each state."""
    order = len(joint.memory)
    state = np.repeat(np.arange(len(x)), order)
    memory = np.tile(joint.memory, len(x))
    return Atoms(x[state], z[state], y[state], memory, joint.weight.reshape(-1), error)


# --- recorded --------------------------------------------------------------------------------------------------


def recorded_atoms(law: ParameterLaw, be: Backend, x: Array, y: Array) -> Atoms:
    """One atom for each position of a circular series x (T, d), y (T,), with the periodic memory.

    Raises StudyError if the memory does not return to itself after many rounds.
    """
    start = np.zeros(1)
    for _ in range(ROUNDS):
        path = law.memory_path(be, x[None], start)
        change = float(abs(path[0, -1] - start[0]))
        start = path[:, -1]
        if change <= 1e-15 * max(1.0, law.memory_bound):
            weight = np.full(len(x), 1 / len(x))
            return Atoms(x, np.zeros((len(x), 0)), y, path[0, :-1], weight, change)
    raise StudyError(
        f"network.b: the memory along the recorded series did not return to itself in {ROUNDS} rounds"
        f" (change {change:.1e}); use a smaller network.b.slope or offset"
    )


# --- rates of mixing -------------------------------------------------------------------------------------------


def mixing_rate(study: Study) -> float | None:
    """Factor per step at which the chain forgets its start, or None if it is not known exactly.

    For finitely many states: second largest modulus of the eigenvalues of the transition matrix; for a linear chain:
    spectral radius of A.
    """
    if (states := study.chain.finite()) is not None:
        return second_modulus(states.transition)
    if (linear := study.chain.gaussian()) is not None:
        return spectral_radius(linear.a)
    return None


def stationary_covariance(a: Array, q: Array) -> Array:
    """S = A S A^T + Q, the stationary covariance of H' = A H + Q^(1/2) xi. Source: docs/model.md, eq. (2)."""
    return np.asarray(solve_discrete_lyapunov(a, q), dtype=np.float64)
