"""Gradients of the unrolled graph in JAX, against which training steps are held."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from rnnlimits.kernels.activations import ACTIVATIONS
from rnnlimits.kernels.interface import Array, Training
from rnnlimits.kernels.reference import ReferenceTrainer, smooth_clip

STEPS = 9


Parameters = tuple[Array, Array, Array]


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
