"""Paths of the chains and of the infinite-width memory: compiled kernels against their definition, and invariances."""

from __future__ import annotations

import numpy as np
import pytest
from path_cases import SEED, STREAM, TRANSITION, chain, indices, memory_along, memory_case, starts
from processors import host, reference

from rnnlimits.kernels.activations import ACTIVATIONS
from rnnlimits.kernels.interface import Backend, GaussianChain, RandomKey

needs_compiler = pytest.mark.needs_compiler


@needs_compiler
@pytest.mark.parametrize("nonlinear", [False, True])
@pytest.mark.parametrize(("inputs", "hidden"), [(1, 0), (1, 1), (2, 1), (3, 3), (10, 1)])
@pytest.mark.parametrize("replicas", [1, 3, 8, 17])
def test_gaussian_chains_against_their_definition(inputs: int, hidden: int, nonlinear: bool, replicas: int) -> None:
    asked = chain(inputs, hidden, nonlinear)
    results = []
    for be in (host, reference):
        state = starts(replicas, asked.size)
        history, y = be.chain_path(asked, RandomKey(SEED, STREAM, indices(replicas)), state, 7, 60)
        np.testing.assert_array_equal(history[:, -1], state)
        results.append((history, y))
    for compiled, defined in zip(*results, strict=True):
        assert compiled.shape == defined.shape
        assert np.abs(compiled - defined).max() < 1e-13
        assert np.abs(defined).max() > 0.1


def test_one_step_of_a_chain_by_hand(backend: Backend) -> None:
    """docs/model.md, eq. (3) and (6), written out for d = 1."""
    a, b, s, c, e, r = 0.5, 0.4, 0.3, 0.6, 0.2, 0.7
    asked = GaussianChain(
        1, 1, np.diag([a, c]), np.diag([s, r]), np.array([0.1, 1.0, 0.2, 0.5]), np.array([[0, b], [e, 0]])
    )
    x, z = 0.9, -1.1
    xi, zeta = backend.normals(SEED, STREAM, indices(1), 2, step=3)[0]
    history, y = backend.chain_path(asked, RandomKey(SEED, STREAM, indices(1)), np.array([[x, z]]), 3, 1)
    new_x, new_z = a * x + b * np.tanh(z) + s * xi, c * z + e * np.sin(x) + r * zeta
    np.testing.assert_allclose(history[0, 0], [new_x, new_z], rtol=0, atol=1e-15)
    np.testing.assert_allclose(y, 0.1 + np.sin(new_x) + 0.2 * new_x + 0.5 * new_z, rtol=0, atol=1e-15)


def test_chains_do_not_depend_on_how_they_are_cut(backend: Backend) -> None:
    asked = chain(2, 1, True)
    whole_state, state = starts(9, 3), starts(9, 3)
    whole, whole_y = backend.chain_path(asked, RandomKey(SEED, STREAM, indices(9)), whole_state, 0, 50)
    done, parts = 0, []
    for steps in (1, 7, 0, 23, 19):
        parts.append(backend.chain_path(asked, RandomKey(SEED, STREAM, indices(9)), state, done, steps))
        done += steps
    np.testing.assert_array_equal(np.concatenate([part[0] for part in parts], axis=1), whole)
    np.testing.assert_array_equal(np.concatenate([part[1] for part in parts], axis=1), whole_y)
    np.testing.assert_array_equal(state, whole_state)


def test_chains_pass_over_steps_they_need_not_keep(backend: Backend) -> None:
    asked = chain(1, 1, True)
    kept, skipped = starts(5, 2), starts(5, 2)
    backend.chain_path(asked, RandomKey(SEED, STREAM, indices(5)), kept, 0, 40)
    history, y = backend.chain_path(asked, RandomKey(SEED, STREAM, indices(5)), skipped, 0, 40, keep=False)
    np.testing.assert_array_equal(skipped, kept)
    assert history.shape == (5, 0, 2)
    assert y.shape == (5, 0)


def test_a_replica_walks_the_same_path_in_any_company(backend: Backend) -> None:
    asked, everyone = chain(2, 2, True), starts(19, 4)
    together, _ = backend.chain_path(asked, RandomKey(SEED, STREAM, indices(19)), everyone.copy(), 0, 30)
    chosen = [18, 2, 7]
    alone, _ = backend.chain_path(asked, RandomKey(SEED, STREAM, indices(19)[chosen]), everyone[chosen], 0, 30)
    # NumPy hands matrix products of other shapes to other routines, which may round differently.
    np.testing.assert_allclose(alone, together[chosen], rtol=0, atol=0 if backend.name == "host" else 1e-14)


def test_streams_seeds_and_steps_give_other_paths(backend: Backend) -> None:
    asked = chain(1, 1, True)
    paths = [
        backend.chain_path(asked, RandomKey(seed, stream, indices(1)), starts(1, 2), first_step, 20)[0]
        for seed, stream, first_step in (
            (SEED, STREAM, 0),
            (SEED + 1, STREAM, 0),
            (SEED, STREAM + 1, 0),
            (SEED, STREAM, 1),
        )
    ]
    for i, path in enumerate(paths):
        for other in paths[:i]:
            assert np.abs(path - other).max() > 0.1


@needs_compiler
@pytest.mark.parametrize("replicas", [1, 9, 40])
def test_finite_chains_against_their_definition(replicas: int) -> None:
    walks = []
    for be in (host, reference):
        state = np.arange(replicas, dtype=np.int32) % 4
        walks.append(be.finite_path(TRANSITION, RandomKey(SEED, STREAM, indices(replicas)), state, 5, 500))
        np.testing.assert_array_equal(walks[-1][:, -1], state)
    np.testing.assert_array_equal(*walks)


def test_finite_chains_step_as_their_matrix_says(backend: Backend) -> None:
    """Impossible steps never happen; the frequency of each possible one is within 4.9 standard errors (alarm 1e-6)."""
    replicas, steps = 200, 200
    state = np.zeros(replicas, dtype=np.int32)
    walk = backend.finite_path(TRANSITION, RandomKey(SEED, STREAM, indices(replicas)), state, 0, steps)
    counts = np.zeros((4, 4))
    np.add.at(counts, (walk[:, :-1].ravel(), walk[:, 1:].ravel()), 1)
    visits = counts.sum(axis=1, keepdims=True)
    assert counts[TRANSITION == 0].sum() == 0
    assert (np.abs(counts - visits * TRANSITION) <= 4.9 * np.sqrt(visits * TRANSITION * (1 - TRANSITION))).all()


def test_finite_chains_do_not_depend_on_how_they_are_cut(backend: Backend) -> None:
    whole = backend.finite_path(TRANSITION, RandomKey(SEED, STREAM, indices(3)), np.zeros(3, np.int32), 0, 90)
    state = np.zeros(3, np.int32)
    parts = [
        backend.finite_path(TRANSITION, RandomKey(SEED, STREAM, indices(3)), state, first, 30) for first in (0, 30, 60)
    ]
    np.testing.assert_array_equal(np.concatenate(parts, axis=1), whole)


@needs_compiler
@pytest.mark.parametrize("activation", list(ACTIVATIONS))
@pytest.mark.parametrize(("nodes", "dimension"), [(1, 1), (7, 2), (8, 1), (9, 3), (64, 1), (100, 10)])
def test_memory_paths_against_their_definition(activation: str, nodes: int, dimension: int) -> None:
    case = memory_case(nodes, dimension, replicas=5, steps=80)
    compiled, defined = (memory_along(be, activation, *case) for be in (host, reference))
    assert compiled.shape == (5, 81)
    np.testing.assert_array_equal(compiled[:, 0], case[-1])
    assert np.abs(compiled - defined).max() < 1e-13
    assert np.abs(defined[:, 1:]).max() > 1e-3


def test_a_memory_step_by_hand(backend: Backend) -> None:
    """Two nodes, every argument in its own place."""
    path = memory_along(
        backend,
        "tanh",
        np.array([[0.5, -1.0], [2.0, 0.3]]),
        np.array([0.2, 0.7]),
        np.array([0.4, -0.1]),
        np.array([[0.3]]),
        np.array([[[1.5, 0.6]]]),
        np.array([[0.8]]),
        np.array([-0.25]),
    )
    first = (0.2 + 0.8 * 0.4) * np.tanh(0.3 + 0.5 * 1.5 - 1.0 * 0.6 - 0.25)
    second = (0.7 - 0.8 * 0.1) * np.tanh(0.3 + 2.0 * 1.5 + 0.3 * 0.6 - 0.25)
    np.testing.assert_allclose(path, [[-0.25, first + second]], rtol=0, atol=1e-15)


def test_memory_paths_continue_one_another_and_replicas_are_alone(backend: Backend) -> None:
    nodes, weight0, weight1, location, coordinates, slope, start = memory_case(13, 2, replicas=6, steps=40)
    map_ = ("erf", nodes, weight0, weight1)
    whole = memory_along(backend, *map_, location, coordinates, slope, start)
    first = memory_along(backend, *map_, location[:, :17], coordinates[:, :17], slope[:, :17], start)
    later = memory_along(backend, *map_, location[:, 17:], coordinates[:, 17:], slope[:, 17:], first[:, -1].copy())
    np.testing.assert_array_equal(np.concatenate([first, later[:, 1:]], axis=1), whole)
    one = memory_along(backend, *map_, location[4:5], coordinates[4:5], slope[4:5], start[4:5])
    np.testing.assert_allclose(one[0], whole[4], rtol=0, atol=0 if backend.name == "host" else 1e-14)
