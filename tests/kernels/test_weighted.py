"""Training with a weight for each unit, and its derivatives along a direction (docs/model.md, "Finite width").

Held against networks of equal units, the definition in NumPy, its differences, JAX, and formulas by hand.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import specialisations
from device_cases import difference
from emulation import emulated
from processors import host, reference
from runs import ROOT
from training_cases import Data, Outcome, distance
from unrolled import double_jax

from rnnlimits.kernels import launch
from rnnlimits.kernels.activations import ACTIVATIONS, Activation
from rnnlimits.kernels.interface import Array, Backend, KernelError, Training
from rnnlimits.kernels.launch import Launch
from rnnlimits.kernels.reference import ReferenceTrainer

needs_compiler = pytest.mark.needs_compiler

NODES, STEPS = 37, 60
# depth, d, update_b, level of the clip
SHAPES = [(1, 1, True, 0.1), (3, 2, False, 0.0)]
TANGENT_SHAPE = (3, 2, True, 0.1)


def rich(activation: str, depth: int, dimension: int, update_b: bool, level: float, nodes: int = NODES) -> Training:
    """A rate of eps^2 / 20 a step, so that a few steps change much."""
    return Training(
        nodes, dimension, 1.0, 20, activation, 1.5, depth, update_b=update_b, richness=0.35, level=level
    )  # fmt: skip


def along(training: Training, data: Data, weight: Array, be: Backend) -> Outcome:
    trainer = data.fill(be.trainer(training, len(data.w)))
    trainer.weigh(weight)
    return Outcome.of(trainer, data)


def unequal(nodes: int = NODES, replicas: int = 2) -> Array:
    weight = np.random.default_rng(2).uniform(0.2, 3.0, (replicas, nodes))
    return np.asarray(weight / weight.sum(axis=1, keepdims=True))


def clip_acts(training: Training, data: Data, weight: Array) -> bool:
    """Whether weights would be others without the clip, by far more than any tolerance here."""
    free = replace(training, level=0.0)
    clipped, plain = (along(each, data, weight, reference).drift[2] for each in (training, free))
    return bool(np.abs(clipped - plain).max() > 1e-4)


# --- values ----------------------------------------------------------------------------------------------------


@needs_compiler
@pytest.mark.parametrize(("depth", "dimension", "update_b", "level"), SHAPES, ids=str)
@pytest.mark.parametrize("activation", list(ACTIVATIONS))
def test_equal_weights_are_a_network(activation: str, depth: int, dimension: int, update_b: bool, level: float) -> None:
    """Of N units at the richness N^-(1 - beta), and with the clip at N^gamma."""
    beta = 0.75
    clip = float(np.log(level) / np.log(NODES)) if level else None
    network = Training(NODES, dimension, beta, 20, activation, 1.5, depth, clip, update_b)
    twin = replace(rich(activation, depth, dimension, update_b, level), richness=NODES ** -(1 - beta))
    data = Data.draw(network, 2, STEPS)
    theirs = Outcome.of(data.fill(host.trainer(network, 2)), data)
    ours = along(twin, data, np.full(NODES, 1 / NODES), host)
    assert max(distance(ours, theirs).values()) < 1e-12
    assert np.abs(theirs.drift[2]).max() > 0.1
    assert not level or clip_acts(twin, data, np.full(NODES, 1 / NODES))


@needs_compiler
@pytest.mark.parametrize(("depth", "dimension", "update_b", "level"), SHAPES, ids=str)
@pytest.mark.parametrize("activation", list(ACTIVATIONS))
def test_unequal_weights_against_the_definition(
    activation: str, depth: int, dimension: int, update_b: bool, level: float
) -> None:
    training, weight = rich(activation, depth, dimension, update_b, level), unequal()
    data = Data.draw(training, 2, STEPS)
    ours, defined = along(training, data, weight, host), along(training, data, weight, reference)
    assert max(distance(ours, defined).values()) < 1e-12
    equal = along(training, data, np.full(NODES, 1 / NODES), reference)
    assert min(distance(equal, defined)[name] for name in ("output", "memory", "drift of c")) > 1e-3


TEAMS = [
    Launch("warp", 2, 128),
    Launch("cluster", 1, 32, 2),
    Launch("grid", 0, 32, 2),
]


@needs_compiler
@pytest.mark.parametrize("team", TEAMS, ids=lambda team: f"{team.team}-{team.slots}")
def test_device_teams_against_the_host(team: Launch, monkeypatch: pytest.MonkeyPatch) -> None:
    """In segments, so that weights survive between launches."""
    monkeypatch.setattr(launch, "choose", lambda training, limits: team)
    training, weight = rich("erf", 2, 1, True, 0.2, nodes=53), unequal(53)
    data = Data.draw(training, 2, 7)
    shown = []
    for be in (emulated(), host):
        trainer = be.trainer(training, 2)
        trainer.fill_from(0, *(be.array(a) for a in (data.w, data.b, data.c)))
        trainer.weigh(weight)
        parts = [be.numpy(trainer.run(be.array(data.x[:, k]), be.array(data.y[:, k]))) for k in (slice(4), slice(4, 7))]
        shown.append(Outcome.of(trainer, data, np.concatenate(parts, axis=1)).arrays())
    assert difference(*shown) < 1e-12
    assert np.abs(shown[1]["drift of c"]).max() > 0.05


@pytest.mark.needs_nvrtc
def test_the_cuda_compiler_takes_weights() -> None:
    training = rich("erf", 2, 1, True, 0.2)
    device = specialisations.DEVICES[1]
    chosen = launch.choose(training, device)
    macros = tuple(sorted(launch.specialisation(training).items()))
    tasks = (
        specialisations.Specialisation(training, chosen, device).task,
        specialisations.Task("device_probe.cu", macros, device.architecture),
    )
    for task in tasks:
        found = specialisations.compile_task(task)
        assert not isinstance(found, str), found


# --- tangents --------------------------------------------------------------------------------------------------


def direction(nodes: int) -> tuple[Array, Array]:
    """Weights (nodes,) and a curve of them with s: value, first and second derivative (nodes, 3)."""
    rng = np.random.default_rng(5)
    value, first, second = unequal(nodes, 1)[0], rng.normal(size=nodes), rng.normal(size=nodes)
    return value, np.stack([value, first / nodes, second / nodes], axis=1)


H = 1e-4
POINTS = np.array([-2, -1, 0, 1, 2]) * H
FIRST = np.array([1, -8, 0, 8, -1]) / (12 * H)
SECOND = np.array([-1, 16, -30, 16, -1]) / (12 * H**2)


def moved(training: Training, data: Data, curve: Array) -> dict[str, Array]:
    """Everything that the definition shows at the points of the curve, points first."""
    many = Data(*(np.repeat(a, len(POINTS), axis=0) for a in (data.w, data.b, data.c, data.x, data.y)), data.histories)
    weight = curve[:, 0] + POINTS[:, None] * curve[:, 1] + 0.5 * POINTS[:, None] ** 2 * curve[:, 2]
    return along(training, many, weight, reference).arrays()


def check_by_differences(training: Training, steps: int = 40) -> None:
    """Errors of differences: 1e-16 / h of the first, 1e-15 / h^2 of the second, and h^4."""
    data = Data.draw(training, 1, steps)
    _, curve = direction(training.width)
    ours = along(replace(training, tangents=True), data, curve[None], host)
    expected = moved(training, data, curve)
    for name, jet in ours.arrays().items():
        for part, weights, tolerance in ((0, POINTS == 0, 1e-12), (1, FIRST, 1e-9), (2, SECOND, 1e-5)):
            wanted = np.tensordot(weights.astype(float), expected[name], 1)
            scale = max(1.0, float(np.abs(wanted).max()))
            assert np.abs(jet[0, ..., part] - wanted).max() < tolerance * scale, (name, part)
            assert np.abs(wanted).max() > 1e-3 or name == "drift of b", (name, part)


@needs_compiler
@pytest.mark.parametrize("activation", list(ACTIVATIONS))
def test_tangents_against_differences_of_the_definition(activation: str) -> None:
    training = rich(activation, *TANGENT_SHAPE)
    check_by_differences(training)
    data = Data.draw(training, 1, 40)
    assert clip_acts(training, data, unequal(replicas=1))


@needs_compiler
def test_the_first_step_by_hand() -> None:
    """Yhat_0 is linear in the weights; C moves by -(alpha eps / K) (Yhat_0 - y) S."""
    training = replace(rich("tanh", *TANGENT_SHAPE), level=0.0, tangents=True)
    data, (value, curve) = Data.draw(training, 1, 1), direction(NODES)
    found = along(training, data, curve[None], host)
    hidden = np.tanh(data.w[0] @ data.x[0, 0])
    output = curve.T @ (data.c[0] * hidden) / training.richness
    miss = output - np.array([data.y[0, 0], 0, 0])
    squared = [miss[0] ** 2, 2 * miss[0] * miss[1], 2 * (miss[1] ** 2 + miss[0] * miss[2])]
    np.testing.assert_allclose(found.squared_error[0, 0], squared, rtol=1e-13)
    drift = -(1.5 * training.richness / 20) * hidden[:, None] * miss
    np.testing.assert_allclose(found.drift[2][0], drift, rtol=0, atol=1e-15)
    assert np.isclose(value.sum(), 1)


@needs_compiler
@pytest.mark.needs_jax
def test_tangents_against_jax() -> None:
    """Four steps at depth 1 written out in JAX, and differentiated twice in the direction."""
    jax = double_jax()
    training = replace(rich("tanh", 1, 1, True, 0.0), tangents=True)
    data, (_, curve) = Data.draw(training, 1, 4), direction(NODES)
    found = along(training, data, curve[None], host)

    def output(s: Any) -> Any:
        weight = curve[:, 0] + s * curve[:, 1] + 0.5 * s**2 * curve[:, 2]
        return stepped(jax, training, data, weight)

    def first(s: Any) -> Any:
        return jax.jvp(output, (s,), (1.0,))[1]

    def jet(s: Any) -> Any:
        return jax.numpy.stack([output(s), first(s), jax.jvp(first, (s,), (1.0,))[1]], axis=-1)

    expected = np.asarray(jax.jit(jet)(0.0))
    np.testing.assert_allclose(found.output[0], expected, rtol=1e-11, atol=1e-12)
    assert np.abs(expected).min(axis=0).max() > 0


def stepped(jax: Any, training: Training, data: Data, weight: Any) -> Any:
    """Outputs on the probes after training, by docs/model.md, "Finite width", on a path in one dimension."""
    tanh, eps = jax.numpy.tanh, training.richness
    assert eps is not None
    w, b, c = data.w[0, :, 0], data.b[0], data.c[0]
    memory, before = 0.0, np.zeros(NODES)
    for x, y in zip(data.x[0, :, 0], data.y[0], strict=True):
        hidden = tanh(w * x + memory)
        slope = 1 - hidden**2
        push = training.alpha * eps / training.steps_per_time * ((weight * c * hidden).sum() / eps - y)
        reach = (weight * c * slope).sum()
        w, b, c = w - push * c * slope * x, b - push * reach * before, c - push * hidden
        memory, before = (weight * b * hidden).sum(), hidden
    m = np.zeros((len(data.histories), 1))
    for x in data.histories[..., 0].T:
        hidden = tanh(w * x[:, None] + m)
        m = (hidden @ (weight * b))[:, None]
    return hidden @ (weight * c) / eps


@needs_compiler
def test_an_activation_of_ones_own_has_tangents(monkeypatch: pytest.MonkeyPatch) -> None:
    """The one of docs/howto/own-activation.md, whose C++ takes the smaller, the larger and a ratio."""
    page = (ROOT / "docs/howto/own-activation.md").read_text(encoding="utf-8")
    found = re.search(r"```python\n(# kernels/activations/rational.py\n.*?)```", page, re.DOTALL)
    assert found
    space: dict[str, Any] = {"__name__": "rational"}
    exec(compile(found[1], "own-activation.md", "exec"), space)
    activation: Activation = space["ACTIVATION"]
    assert all(word in activation.source for word in ("smaller(", "larger(", "ratio("))
    monkeypatch.setitem(ACTIVATIONS, activation.name, activation)
    check_by_differences(rich(activation.name, 1, 1, True, 0.2))


@needs_compiler
def test_settling_and_saved_states_keep_tangents() -> None:
    training = replace(rich("tanh", *TANGENT_SHAPE), tangents=True)
    data, (_, curve) = Data.draw(training, 1, 20), direction(NODES)
    whole = along(training, data, curve[None], host)
    first = data.fill(host.trainer(training, 1))
    first.weigh(curve[None])
    losses = [first.run(data.x[:, :9], data.y[:, :9])]
    second = host.trainer(training, 1)
    second.restore(first.state())
    second.settle()
    losses.append(second.run(data.x[:, 9:], data.y[:, 9:]))
    ours = Outcome.of(second, data, np.concatenate(losses, axis=1))
    for a, b in zip(ours.arrays().values(), whole.arrays().values(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_back_ends_without_tangents_say_so() -> None:
    training = replace(rich("tanh", *TANGENT_SHAPE), tangents=True)
    with pytest.raises(KernelError, match=r"^tangents need the compiled kernels: use the back end host$"):
        ReferenceTrainer(training, 1)
    with pytest.raises(KernelError, match=r"^tangents are computed on the processor: use the back end host for them$"):
        emulated().trainer(training, 1)
