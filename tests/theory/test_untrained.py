"""Networks before training: predicted moments against networks that are drawn, or enumerated.

Each statistical test allows 4 standard errors and what the prediction says of itself: false alarms below 1e-4 each.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import Any

import numpy as np
import pytest
from processors import reference

from rnnlimits.kernels.interface import Training
from rnnlimits.theory import observe
from rnnlimits.theory.laws import ParameterLaw
from rnnlimits.theory.observe import MODES, limit_kernel
from rnnlimits.theory.units import UnitNodes
from rnnlimits.theory.untrained import Array, Untrained, memory_response, square_of_products

NETWORKS = 3000
HISTORY = np.random.default_rng(2).normal(size=(4, 8, 1))


def law_of(**changes: Any) -> ParameterLaw:
    one = np.ones(1)
    fields = {"mean": 0.1 * one, "factor": np.eye(1), "offset": 0.2, "slope": 0.6, "direction": one, "noise": 0.1}
    return ParameterLaw("tanh", 7, "gaussian", **{**fields, "c_kind": "uniform", "c_std": 1.0, **changes})


def untrained(law: ParameterLaw, depth: int = 1, update_b: bool = True) -> Untrained:
    nodes = UnitNodes.product(law, law.nodes(40, "grid"), 4, 3)
    return Untrained.of(law, nodes, reference, HISTORY, depth, update_b)


def networks(law: ParameterLaw, width: int, depth: int = 1) -> tuple[Array, observe.Kernels]:
    """Memories (network, probe, step) and kernels of networks, drawn and run here."""
    rng = np.random.default_rng(width)
    w = law.mean + rng.normal(size=(NETWORKS, width, 1))
    b = law.offset + law.slope * (w[..., 0] - law.mean) + law.noise * rng.normal(size=(NETWORKS, width))
    c = 3**0.5 * (2 * rng.random((NETWORKS, width)) - 1)
    memory = np.zeros((NETWORKS, *HISTORY.shape[:2]))
    for k in range(HISTORY.shape[1] - 1):
        hidden = np.tanh(w @ HISTORY[:, k].T + memory[:, None, :, k])
        memory[:, :, k + 1] = (b[..., None] * hidden).mean(axis=1)
    training = Training(width, 1, 0.75, 8, "tanh", depth=depth)
    return memory, observe.kernels(reference, training, (w, b, c), HISTORY, memory)


def is_off(squares: Array, wanted: float, allowed: float = 0.0) -> float:
    """By how many standard errors the mean of squares differs from `wanted`, after a relative allowance of its root."""
    error = float(squares.std(ddof=1)) / len(squares) ** 0.5
    return max(0.0, abs(float(squares.mean()) - wanted) - 2 * allowed * wanted) / error


def relative(matrices: Array, kernel: Array) -> Array:
    return np.asarray(np.square(matrices).sum(axis=(1, 2)) / np.square(kernel).sum())


@pytest.mark.parametrize("depth", [1, 3])
def test_kernels_of_networks_are_as_predicted(depth: int) -> None:
    width, law = 64, law_of()
    found, (_, kernels) = untrained(law, depth), networks(law, width, depth)
    total = kernels.trained(Training(width, 1, 0.75, 8, "tanh", depth=depth))
    error, second = found.error_square(width)
    assert is_off(relative(total - found.kernel, found.kernel), error, 0.5 * second / error) < 4
    assert is_off(relative(kernels.b, found.kernel), found.b_square(width), 0.5 * found.beyond / width) < 4
    values = np.linalg.eigvalsh(found.kernel)[::-1][:MODES]
    errors = np.square(np.linalg.eigvalsh(total)[:, ::-1][:, :MODES] / values - 1).mean(axis=1)
    wanted, first = (found.eigenvalue_square(width, MODES, second) ** 0.5 for second in (True, False))
    assert is_off(errors, wanted**2, abs(wanted - first) / wanted) < 4


@pytest.mark.parametrize(
    "wrong",
    [
        lambda found, width: found.error_square(width // 2)[0],
        lambda found, width: 0.85 * found.error_square(width)[0],
    ],
    ids=["half the width", "less by 15%"],
)
def test_other_predictions_are_refused(wrong: Callable[[Untrained, int], float]) -> None:
    width, law = 64, law_of()
    found, (_, kernels) = untrained(law, update_b=False), networks(law, width)
    assert is_off(relative(kernels.direct - found.kernel, found.kernel), wrong(found, width)) > 4


def test_without_memory_the_error_is_exact_at_every_width() -> None:
    """The kernel of C and W is then a mean over units of a function of theirs, and nothing is of second order."""
    width, law = 3, law_of(offset=0.0, slope=0.0, noise=0.0)
    found, (_, kernels) = untrained(law, update_b=False), networks(law, width)
    error, second = found.error_square(width)
    assert second < 1e-12
    assert is_off(relative(kernels.direct - found.kernel, found.kernel), error) < 4


def test_the_kernel_at_the_nodes_is_the_limit() -> None:
    law = law_of()
    memory = law.memory_path(reference, HISTORY, np.zeros(len(HISTORY)))[:, -2]
    np.testing.assert_allclose(untrained(law).kernel, limit_kernel(law, HISTORY[:, -1], memory), rtol=1e-7)


def test_squares_of_products_are_exact() -> None:
    """Against all networks of three units, each one of three atoms."""
    rng = np.random.default_rng(3)
    weight, width = np.array([0.2, 0.3, 0.5]), 3
    values = rng.normal(size=(4, 3))
    values -= (values @ weight)[:, None]
    x, y, u, v = values
    wanted = 0.0
    for units in product(range(3), repeat=width):
        chosen = list(units)
        means = values[:, chosen].mean(axis=1)
        wanted += weight[chosen].prod() * (means[0] * means[1] + means[2] * means[3]) ** 2
    assert square_of_products(weight, [(x, y), (u, v)], width) == pytest.approx(wanted, rel=1e-12)


def test_the_memory_responds_as_differences_say() -> None:
    """Mass moved to one node, in a memory that is run on nodes."""
    law = law_of(noise=0.0)
    nodes = UnitNodes.product(law, law.nodes(40, "grid"), 2, 1)
    small, place = 1e-5, 35

    def memory(mass: float) -> Array:
        weight = (1 - mass) * nodes.weight + mass * (np.arange(len(nodes)) == place)
        found = np.zeros(HISTORY.shape[:2])
        for k in range(HISTORY.shape[1] - 1):
            found[:, k + 1] = (weight * nodes.b) @ np.tanh(nodes.w @ HISTORY[:, k].T + found[:, k])
        return found

    limit = law.memory_path(reference, HISTORY, np.zeros(len(HISTORY)))[:, :-1]
    differences = (memory(small) - memory(-small)) / (2 * small)
    np.testing.assert_allclose(memory_response(law, nodes, HISTORY, limit)[place], differences, atol=1e-5)
