"""The stages that run on a GPU, on an emulated one: what they write is what the host back end writes, up to rounding.

The emulated arrays refuse to mix with NumPy's, as CuPy's do, so a stage that lets an array stray fails here.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
from emulation import emulated
from numpy.typing import NDArray
from processors import host

from rnnlimits import study as studies
from rnnlimits.kernels import on_processor
from rnnlimits.kernels.interface import Backend
from rnnlimits.ranks import sharded
from rnnlimits.study import Study
from rnnlimits.theory import observe
from rnnlimits.training import calibration, draw, plan, train
from rnnlimits.training.layout import Layout

pytestmark = pytest.mark.needs_compiler

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


@pytest.mark.parametrize("case", CASES)
def test_a_block_trained_on_the_device(case: str) -> None:
    study = CASES[case]()
    found, expected = trained(study, emulated()), trained(study, host)
    for name, values in expected.items():
        assert type(found[name]) is np.ndarray
        # 30 steps of sums of 40 units: rounding of either precision, amplified by nothing.
        np.testing.assert_allclose(found[name], values, rtol=0, atol=1e-6 if case == "float32" else 1e-13, err_msg=name)
    assert np.abs(expected["drift_c_max"][:, 1:]).min() > 1e-3  # they were trained at all


@pytest.mark.parametrize("case", ["coupled-tanh", "linear-gaussian", "finite-state"])
def test_a_block_drawn_on_the_device(case: str, tmp_path: Path) -> None:
    study = CASES[case]()
    found, expected = drawn(study, emulated(), tmp_path / "device"), drawn(study, host, tmp_path / "host")
    assert found.keys() == expected.keys()
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], values, rtol=0, atol=1e-12, err_msg=name)


def test_a_recorded_series_on_the_device(tmp_path: Path) -> None:
    rows = "\n".join(str(np.sin(0.7 * k) + 0.1 * (k % 5)) for k in range(60))
    (tmp_path / "series.csv").write_text(f"x\n{rows}\n")
    text = TEXT.replace("target: {{sin_x: 1.0, z: 0.5}}\n", "")
    chain = f"{{kind: recorded, file: {tmp_path / 'series.csv'}, columns: [x]}}"
    options = {"precision": "float64", "depth": 1, "antithetic": "true"}
    study = studies.loads(text.format(chain=chain, network=NORMAL, **options), str(tmp_path / "small.yaml"))
    found, expected = trained(study, emulated()), trained(study, host)
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], values, rtol=0, atol=1e-13, err_msg=name)


def test_the_plan_can_be_calibrated_on_the_device() -> None:
    study = CASES["coupled-tanh"]()
    assert calibration.ns_per_unit_step(study, emulated(), seconds=0.01) > 0
