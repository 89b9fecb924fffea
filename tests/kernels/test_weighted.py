"""Training with a weight for each unit (docs/model.md, "Finite width").

Held against networks of equal units and the definition in NumPy.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import specialisations
from device_cases import difference
from emulation import emulated
from processors import host, reference
from training_cases import Data, Outcome, distance

from rnnlimits.kernels import launch
from rnnlimits.kernels.activations import ACTIVATIONS
from rnnlimits.kernels.interface import Array, Backend, Training
from rnnlimits.kernels.launch import Launch

needs_compiler = pytest.mark.needs_compiler

NODES, STEPS = 37, 60
# depth, d, update_b, level of the clip
SHAPES = [(1, 1, True, 0.1), (3, 2, False, 0.0)]


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
