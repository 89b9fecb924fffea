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

from typing import Any

import numpy as np
import pytest
from unrolled import (
    STEPS,
    Recorded,
    asked,
    double_jax,
    expected_changes,
    mismatch,
    trajectory,
)

from rnnlimits.kernels.activations import ACTIVATIONS
from rnnlimits.kernels.interface import Training

pytestmark = pytest.mark.needs_jax


@pytest.fixture(scope="module")
def jax() -> Any:
    """JAX in double precision."""
    return double_jax()


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
