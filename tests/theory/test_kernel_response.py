"""The kernel of a rich twin with its derivatives, against differences of the kernel code of networks."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from processors import reference

from rnnlimits.kernels.interface import Training
from rnnlimits.kernels.reference import ReferenceTrainer
from rnnlimits.kernels.reference_tangents import DifferenceTangents
from rnnlimits.theory import observe
from rnnlimits.theory.kernel_response import Weights, kernel_jet
from rnnlimits.theory.laws import ParameterLaw
from rnnlimits.theory.units import UnitNodes
from rnnlimits.theory.untrained import Array

HISTORY = np.random.default_rng(2).normal(size=(3, 5, 1))
LAW = ParameterLaw("tanh", 7, "gaussian", np.zeros(1), np.eye(1), 0.2, 0.6, np.ones(1), 0.0, "uniform", 1.0)
NODES = UnitNodes.product(LAW, LAW.nodes(12, "grid"), 3, 1)
ENDS = UnitNodes.product(LAW, LAW.nodes(5, "grid"), 2, 1)


def training_of(depth: int, update_b: bool) -> Training:
    of = Training(len(NODES), 1, 1.0, 8, "tanh", depth=depth, update_b=update_b)
    return replace(of, richness=0.5)


def kernels_of(steps: int, depth: int, update_b: bool, history: Array) -> tuple[Array, Array]:
    """The kernel (P, P, D + 2) after some steps, by its own arithmetic, and by differences of networks' kernels."""
    training = training_of(depth, update_b)
    of_rows, rows = DifferenceTangents.rows(training, NODES, ENDS, 1)
    trainer = ReferenceTrainer(of_rows, rows)
    tangents = DifferenceTangents(trainer, NODES, ENDS, 1)
    if steps:
        rng = np.random.default_rng(5)
        tangents.run(rng.normal(size=(1, steps, 1)), rng.normal(size=(1, steps)))
        tangents.settle()
    weights, memory = tangents.weights(), trainer.probe(history)[1]
    mass = tangents._weight[:, None]
    every = observe.kernels(reference, of_rows, trainer.weights(0, rows), history, memory, mass).trained(of_rows)
    law = Weights(NODES.weight, np.sqrt(ENDS.weight), weights[0][0], weights[1][0])
    found = kernel_jet("tanh", law, history, tangents.probe(history)[1][0], depth, update_b)
    ours = np.concatenate([found.value[..., None], np.moveaxis(found.first, 0, -1), found.second[..., None]], axis=-1)
    return ours, tangents._derived(every)[0]


@pytest.mark.parametrize(("depth", "update_b"), [(1, True), (3, True), (2, False)])
def test_values_and_derivatives_are_those_of_the_kernel_of_networks(depth: int, update_b: bool) -> None:
    """After training; derivatives of sigma' are differences."""
    for history in (HISTORY, HISTORY[:, :2]):
        found, wanted = kernels_of(6, depth, update_b, np.ascontiguousarray(history))
        np.testing.assert_allclose(found[..., 0], wanted[..., 0], rtol=0, atol=1e-12)
        for part in (slice(1, -1), slice(-1, None)):
            scale = np.abs(wanted[..., part]).max()
            np.testing.assert_allclose(found[..., part], wanted[..., part], rtol=0, atol=1e-4 * scale)
