"""The stages that run on a GPU, on an emulated one: what they write is what the host back end writes, up to rounding.

The emulated arrays refuse to mix with NumPy's, as CuPy's do, so a stage that lets an array stray fails here.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from device_studies import CASES, NORMAL, TEXT, drawn, trained
from emulation import emulated
from processors import host

from rnnlimits import study as studies
from rnnlimits.training import forecast, pilot

pytestmark = pytest.mark.needs_compiler


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


def test_the_plan_can_be_calibrated_on_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pilot, "ENOUGH", 0.01)
    study = CASES["coupled-tanh"]()
    assert forecast.ns_per_unit_step(study, pilot.measure(study, emulated())) >= 0
