"""The training step against automatic differentiation (JAX, float64) of the unrolled graph.

Which graph. At step k the definition changes every parameter by -eta * delta_k * dYhat_k/dparameter. The derivative is
taken of tau hidden layers, those of steps k-tau+1 .. k, written out below in `unrolled_output` from docs/model.md,
eq. (7) to (9), with the parameters (W, B, C) of step k in every layer and the hidden layer of step k-tau as a constant:

    M_{k-l} = (1/N) B . S_{k-l-1},    a_{k-l} = W X_{k-l} + M_{k-l},    S_{k-l} = sigma(a_{k-l}),    l = tau-1 .. 0
    Yhat_k  = N^-beta C . S_k

Why stored activations. Online training has moved the parameters since step k-l, so running the old layers again with
the parameters of step k would give slightly different a_{k-l}. Truncated backpropagation does not run them again: it
goes back through the activations as they were when they were computed, because these are there and a second run would
cost tau times as much. So a_{k-l}, l >= 1, is pinned to its stored value while its derivative flows,
a = stored + (f - stop(f)) with f the formula above. Nothing else is pinned: M_k is formed from the current B and the
stored S_{k-1} in training too. Layers before the first step do not exist: the hidden layer of step -1 is zero, and the
graph ends there.

The clip replaces the residual delta_k only; its slope does not enter (docs/model.md, after eq. 17).
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from rnnlimits.kernels.activations import ACTIVATIONS
from rnnlimits.kernels.interface import Array, Training
from rnnlimits.kernels.reference import ReferenceTrainer, smooth_clip

pytestmark = pytest.mark.needs_jax

STEPS = 9
Parameters = tuple[Array, Array, Array]


@pytest.fixture(scope="module")
def jax() -> Any:
    """JAX in double precision."""
    return double_jax()


def double_jax() -> Any:
    module = importlib.import_module("jax")
    module.config.update("jax_enable_x64", True)
    return module


@dataclass
class Recorded:
    """A real trajectory of the reference: parameters before each step and after the last, and what each step saw."""

    training: Training
    parameters: list[Parameters]
    activations: list[Array]  # a_k (N,), computed with the parameters of its own step
    x: Array  # (steps, d)
    y: Array


def trajectory(training: Training) -> Recorded:
    """Steps so large that parameters visibly move from one to the next, or stored and current would look alike."""
    rng = np.random.default_rng([training.depth, training.dimension])
    n, d = training.width, training.dimension
    w, x = rng.normal(size=(n, d)), rng.normal(size=(1, STEPS, d))
    y = 5.0 * np.sin(x).sum(axis=2) + rng.normal(size=(1, STEPS))
    trainer = ReferenceTrainer(training, 1)
    trainer.fill(0, w, 0.3 + 0.6 * w[:, 0], rng.uniform(-1.7, 1.7, n))
    parameters, activations = [], []
    for k in range(STEPS):
        parameters.append(current(trainer))
        activations.append(trainer.w[0] @ x[0, k] + trainer.memory[0])
        trainer.run(x[:, k : k + 1], y[:, k : k + 1])
    return Recorded(training, [*parameters, current(trainer)], activations, x[0], y[0])


def current(trainer: ReferenceTrainer) -> Parameters:
    return trainer.w[0].copy(), trainer.b[0].copy(), trainer.c[0].copy()


def unrolled_output(jax: Any, recorded: Recorded, k: int, pinned: bool) -> Callable[[Any, Any, Any], Any]:
    """Yhat_k as a function of (W, B, C): the graph of the module's docstring."""
    training = recorded.training
    sigma = ACTIVATIONS[training.activation].autodiff(jax)  # JAX's own: not the one under test
    start = k - training.depth  # the layer that is a constant
    before = (
        ACTIVATIONS[training.activation].value(recorded.activations[start]) if start >= 0 else np.zeros(training.width)
    )

    def output(w: Any, b: Any, c: Any) -> Any:
        hidden = before
        for layer in range(max(start + 1, 0), k + 1):
            a = w @ recorded.x[layer] + b @ hidden / training.width
            if pinned and layer < k:
                a = recorded.activations[layer] + (a - jax.lax.stop_gradient(a))
            hidden = sigma(a)
        return training.width**-training.beta * (c @ hidden)

    return output


def expected_changes(jax: Any, recorded: Recorded, k: int, pinned: bool = True) -> list[Array]:
    """-eta delta_k dYhat_k/d(W, B, C)."""
    training = recorded.training
    graph = jax.jit(jax.value_and_grad(unrolled_output(jax, recorded, k, pinned), argnums=(0, 1, 2)))
    output, gradient = graph(*recorded.parameters[k])
    delta = smooth_clip(np.asarray(output), training.clip_level) - recorded.y[k]
    return [-training.rate * float(delta) * np.asarray(part) for part in gradient]


def mismatch(recorded: Recorded, k: int, expected: list[Array]) -> float:
    """Largest difference between change and expectation, relative to the largest change of the same parameter.

    A change is the difference of two stored parameters, so it is known up to their spacing, which is allowed for.
    """
    worst = 0.0
    for now, after, change in zip(recorded.parameters[k], recorded.parameters[k + 1], expected, strict=True):
        beyond = np.abs(after - now - change).max() - np.spacing(np.abs(after).max())
        worst = max(worst, float(beyond / np.abs(change).max()) if np.abs(change).max() > 0 else float(beyond > 0))
    return worst


def asked(depth: int, dimension: int, activation: str, clip: float | None = 0.1) -> Training:
    return Training(13, dimension, 0.6, 7, activation, 1.5, depth, clip)


@pytest.mark.parametrize("activation", list(ACTIVATIONS))
@pytest.mark.parametrize("dimension", [1, 3])
@pytest.mark.parametrize("depth", [1, 2, 3])
def test_every_change_is_the_gradient_of_the_unrolled_graph(
    jax: Any, depth: int, dimension: int, activation: str
) -> None:
    recorded = trajectory(asked(depth, dimension, activation))
    for k in (0, 1, 3, 8):
        assert mismatch(recorded, k, expected_changes(jax, recorded, k)) < 1e-12, k


def test_a_deep_graph_without_a_clip(jax: Any) -> None:
    recorded = trajectory(asked(5, 2, "tanh", None))
    for k in (4, 8):
        assert mismatch(recorded, k, expected_changes(jax, recorded, k)) < 1e-12, k


def test_the_clip_was_active_on_the_trajectories() -> None:
    """Some outputs lie beyond N^gamma, so the residual is not just Yhat - Y."""
    recorded = trajectory(asked(2, 1, "tanh"))
    sigma = ACTIVATIONS["tanh"].value
    outputs = [13**-0.6 * float(recorded.parameters[k][2] @ sigma(recorded.activations[k])) for k in range(STEPS)]
    assert max(np.abs(outputs)) > recorded.training.clip_level


@pytest.mark.parametrize("depth", [2, 3])
def test_stored_activations_matter(jax: Any, depth: int) -> None:
    """Running old layers again with the current parameters gives a gradient that differs visibly: the test can fail."""
    recorded = trajectory(asked(depth, 1, "tanh"))
    assert mismatch(recorded, 8, expected_changes(jax, recorded, 8, pinned=False)) > 1e-6


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_depth_matters(jax: Any, depth: int) -> None:
    """The gradient of a graph one layer longer or shorter is not the change that was made."""
    recorded = trajectory(asked(depth, 1, "tanh"))
    for other in {depth - 1, depth + 1} - {0}:
        wrong = Recorded(asked(other, 1, "tanh"), recorded.parameters, recorded.activations, recorded.x, recorded.y)
        assert mismatch(recorded, 8, expected_changes(jax, wrong, 8)) > 1e-6


def test_b_stays_where_it_is_not_trained() -> None:
    recorded = trajectory(Training(13, 1, 0.6, 7, "tanh", 1.5, 3, None, update_b=False))
    np.testing.assert_array_equal(recorded.parameters[0][1], recorded.parameters[-1][1])
    assert np.abs(recorded.parameters[0][0] - recorded.parameters[-1][0]).max() > 0.01
