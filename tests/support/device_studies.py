"""Studies whose stages run on a device, real or emulated."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from rnnlimits import study as studies
from rnnlimits.kernels import on_processor
from rnnlimits.kernels.interface import Backend
from rnnlimits.ranks import sharded
from rnnlimits.study import Study
from rnnlimits.theory import observe
from rnnlimits.training import draw, plan, train
from rnnlimits.training.layout import Layout

TEXT = """
name: small
seed: 3
precision: {precision}
chain: {chain}
target: {{sin_x: 1.0, z: 0.5}}
network: {network}
training:
  beta: [0.75]
  width: [40]
  steps_per_time: [30]
  depth: [{depth}]
  replicas: 4
  replicas_per_block: 4
  antithetic: {antithetic}
  horizon: 1.0
  checkpoints: [0.0, 0.5, 1.0]
  loss_bins: 7
probes: {{count: 3, length: 6}}
draws: {{blocks: 2, chains: 8, steps: 40, couplings: 4, coupling_steps: 10, sample: 2}}
limit: {{nodes: 9}}
"""


TANH = "{kind: coupled-tanh, a: 0.5, b: 0.4, s: 0.5, c: 0.6, e: 0.3, r: 0.5}"


LINEAR = "{kind: linear-gaussian, a: [[0.5, 0.1, 0], [0, 0.3, 0.2], [0.1, 0, 0.4]], q: 1.0, dimension: 2}"


FINITE = "{kind: finite-state, transition: [[0.5, 0.5], [0.2, 0.8]], x: [1, -1], z: [0, 1]}"


NORMAL = "{activation: tanh, w: {kind: gaussian}, c: {kind: two-point, probability: 0.1}}"


UNIFORM = "{activation: erf, w: {kind: uniform, std: 0.5}, b: {offset: 0.2, slope: 0.3, noise: 0.1}}"


LOGISTIC = "{activation: logistic, w: {kind: gaussian}, c: {kind: gaussian}}"


def small(chain: str, network: str, **options: object) -> Study:
    kept = {"precision": "float64", "depth": 1, "antithetic": "true", **options}
    return studies.loads(TEXT.format(chain=chain, network=network, **kept), "small.yaml")


CASES: dict[str, Callable[[], Study]] = {
    "coupled-tanh": lambda: small(TANH, NORMAL, depth=2),
    "linear-gaussian": lambda: small(LINEAR, UNIFORM, antithetic="false"),
    "finite-state": lambda: small(FINITE, LOGISTIC),
    "float32": lambda: small(TANH, NORMAL, precision="float32"),
}


def trained(study: Study, be: Backend) -> dict[str, NDArray[np.float64]]:
    block = plan.blocks(study, plan.cells(study)[0])[0]
    done = train.train_block(study, be, block, observe.AtProbes.of(study, on_processor(be)), lambda _: None)
    return {"output": done.output, "memory": done.memory, "loss": done.loss, **done.drift, **done.observed}


def drawn(study: Study, be: Backend, path: Path) -> dict[str, NDArray[np.float64]]:
    stage = draw.stage(study, Layout(path), be)
    (ensemble,) = stage.ensembles()
    sharded.write_shard(stage, ensemble, 1, draw.draw_block(study, be, 1))
    with h5py.File(ensemble.shard(1)) as shard:
        return {name: data[()] for name, data in shard.items() if data.dtype.kind == "f"}
