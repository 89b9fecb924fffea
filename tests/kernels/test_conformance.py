"""Every back end of the table computes what the definition in NumPy does, and continues what it began bit for bit.

Nothing here names a back end: a new row of kernels.BACKENDS is tested as soon as it exists, where this machine has it.
The CUDA back end is tested on an emulated GPU as well.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from device_cases import DRIFT_TOLERANCE, TOLERANCE, difference, drift_difference, same, trained
from emulation import emulated
from path_cases import TRANSITION, chain, indices, memory_along, memory_case, starts
from processors import reference
from tangent_cases import Case, distance, equal, rich
from training_cases import Data
from twin_cases import features, paths

from rnnlimits import kernels
from rnnlimits.kernels import BACKENDS
from rnnlimits.kernels.activations import ACTIVATIONS
from rnnlimits.kernels.interface import Array, Backend, RandomKey, Training
from rnnlimits.ranks.selftest import philox_agrees

EMULATED = "emulated"


HERE = [
    pytest.param(name, marks=[pytest.mark.needs_gpu] if entry.on_device else []) for name, entry in BACKENDS.items()
]


@pytest.fixture(params=[*HERE, pytest.param(EMULATED, marks=pytest.mark.needs_compiler)])
def be(request: pytest.FixtureRequest) -> Backend:
    """Each back end that can be used here."""
    if request.param == EMULATED:
        return emulated()
    if reason := BACKENDS[request.param].module().available():
        pytest.skip(reason)
    return kernels.backend(request.param)


def test_it_says_what_it_is(be: Backend) -> None:
    assert be.name in BACKENDS
    assert be.on_device == BACKENDS[be.name].on_device
    assert be.worker == ("GPU" if be.on_device else "core")
    for text in (be.device, be.rounding()):
        assert text
        assert "\n" not in text


def test_arrays_go_there_and_back(be: Backend) -> None:
    values = np.random.default_rng(1).normal(size=(3, 4))
    np.testing.assert_array_equal(be.numpy(be.array(values)), values)


def test_its_random_words_are_the_published_ones(be: Backend) -> None:
    assert philox_agrees(be)


def test_its_numbers_are_the_definitions(be: Backend) -> None:
    """Uniforms to the last bit; normals up to the rounding of an angle, times a radius up to 8."""
    for count, step, component in ((1, 0, 0), (37, 5, 2)):
        where = (11, 4, indices(3), count, step, component)
        np.testing.assert_array_equal(be.numpy(be.uniforms(*where)), reference.uniforms(*where))
        assert np.abs(be.numpy(be.normals(*where)) - reference.normals(*where)).max() < 4e-15


@pytest.mark.parametrize("nonlinear", [False, True])
def test_its_gaussian_chains(be: Backend, nonlinear: bool) -> None:
    walk, key = chain(2, 1, nonlinear), RandomKey(11, 4, indices(5))
    state, there = starts(5, 3), be.array(starts(5, 3))
    expected = [*reference.chain_path(walk, key, state, 7, 20), state]
    parts = [
        [be.numpy(a) for a in be.chain_path(walk, key, there, first, steps)] for first, steps in ((7, 8), (15, 12))
    ]
    ours = [*(np.concatenate(part, axis=1) for part in zip(*parts, strict=True)), be.numpy(there)]
    for values, defined in zip(ours, expected, strict=True):
        assert np.abs(values - defined).max() < 1e-13


def test_its_finite_chains(be: Backend) -> None:
    begin, key = np.arange(9, dtype=np.int32) % 4, RandomKey(11, 4, indices(9))
    ours = be.numpy(be.finite_path(TRANSITION, key, be.array(begin.copy()), 3, 50))
    np.testing.assert_array_equal(ours, reference.finite_path(TRANSITION, key, begin.copy(), 3, 50))


@pytest.mark.parametrize("activation", list(ACTIVATIONS))
def test_its_memory_paths(be: Backend, activation: str) -> None:
    case = memory_case(33, 2, replicas=3, steps=11)
    ours = be.numpy(memory_along(be, activation, *(be.array(a) for a in case)))
    assert np.abs(ours - memory_along(reference, activation, *case)).max() < 1e-13


def test_its_twins(be: Backend) -> None:
    what, (x, m, y) = features("tanh", 2, 33), paths(2)
    theta, there = np.ones((3, what.size)), be.array(np.ones((3, what.size)))
    expected = reference.twin_path(what, 0.05, x, m, y, theta)
    ours = be.numpy(be.twin_path(what, 0.05, *(be.array(a) for a in (x, m, y)), there))
    assert np.abs(ours - expected).max() < 1e-12
    assert np.abs(be.numpy(there) - theta).max() < 1e-13


@pytest.mark.parametrize(("activation", "d", "nodes", "draws"), [("tanh", 1, 5, 130), ("erf", 3, 33, 64)])
def test_its_moments(be: Backend, activation: str, d: int, nodes: int, draws: int) -> None:
    """Of features written down once more, draw by draw; they are added to what is there."""
    what, rng = features(activation, d, nodes), np.random.default_rng(5)
    x, m, y = rng.normal(size=(draws, d)), rng.normal(size=draws), rng.normal(size=draws)
    sigma, size = ACTIVATIONS[activation], nodes * (1 + d)
    a, b = be.array(np.ones((size, size))), be.array(np.ones(size))
    be.add_moments(what, *(be.array(values) for values in (x, m, y)), a, b)
    square, along = np.ones((size, size)), np.ones(size)
    for at, memory, target in zip(x, m, y, strict=True):
        argument = what.w @ at + memory
        slope = what.slope_scale * sigma.slope(argument)
        phi = np.concatenate([what.value_scale * sigma.value(argument), *(slope * one for one in at)])
        square, along = square + np.outer(phi, phi), along + phi * target
    np.testing.assert_allclose(be.numpy(a), square, rtol=0, atol=1e-12)
    np.testing.assert_allclose(be.numpy(b), along, rtol=0, atol=1e-12)


TRAININGS = [
    Training(width, dimension, 0.75, 40, activation, 1.0, depth, clip, update_b, precision)
    for (width, dimension, activation, depth, clip, update_b), precision in product(
        [(1, 1, "tanh", 1, None, True), (77, 3, "erf", 3, 0.1, True), (300, 2, "logistic", 2, None, False)], TOLERANCE
    )
]


@pytest.mark.parametrize("training", TRAININGS, ids=lambda t: f"{t.width}-{t.activation}-{t.precision}")
def test_its_trainings(be: Backend, training: Training) -> None:
    """Loss, output, memory and drifts; a back end may compute single precision in double, never the reverse."""
    data = Data.draw(training, replicas=3, steps=8)
    whole, defined = trained(be, training, data), trained(reference, training, data)
    assert difference(whole, defined) < TOLERANCE[training.precision]
    assert drift_difference(whole, defined) < max(1e-10, DRIFT_TOLERANCE[training.precision])
    parts = trained(be, training, data, [1, 4, 3])
    assert same({**parts, "early": whole["early"]}, whole), "segments change no bit"


def test_a_trainer_resumes_from_its_state(be: Backend) -> None:
    training = replace(TRAININGS[2], precision="float32")
    data = Data.draw(training, replicas=2, steps=8)
    x, y = be.array(data.x), be.array(data.y)

    def outcome(interrupted: bool) -> list[Array]:
        trainer = data.fill(be.trainer(training, 2))
        losses = [be.numpy(trainer.run(x[:, :5], y[:, :5]))]
        if interrupted:
            state = trainer.state()
            trainer = be.trainer(training, 2)
            trainer.restore(state)
        losses.append(be.numpy(trainer.run(x[:, 5:], y[:, 5:])))
        trainer.settle()
        return [*losses, *(be.numpy(a) for a in trainer.weights(0, 2)), trainer.drift_norms(), *trainer.state()]

    for ours, uninterrupted in zip(outcome(True), outcome(False), strict=True):
        np.testing.assert_array_equal(ours, uninterrupted)


def test_its_tangents(be: Backend) -> None:
    """To the errors of the definition's differences."""
    case = Case.draw(rich("tanh", 2, 1, True, 0.0), 3, steps=6)
    whole, defined = case.cut(be, [6]), case.cut(reference, [6])
    assert distance(whole, defined) < 1e-8
    assert equal(case.cut(be, [1, 3, 2]), whole), "segments change no bit"
