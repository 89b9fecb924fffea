"""The fall of a loss: its parts on made-up curves, and the row on a study whose limit is exact."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import runs
from processors import host

from rnnlimits import study as studies
from rnnlimits.files import store
from rnnlimits.quantities import loss_decay
from rnnlimits.statistics.bootstrap import Bootstrap
from rnnlimits.training.layout import Layout


def test_bin_means_of_a_known_curve(tmp_path: Path) -> None:
    """A parabola: the trapezoidal rule with steps h is off by h^2 / 6 on the mean."""
    time = np.linspace(0.0, 2.0, 129)
    with store.atomic_h5(tmp_path / "curve.h5", "limit", {}) as file:
        store.put(file, "fine_time", time, ("fine_time",), "1", "training time")
        store.put(file, "loss", time**2, ("fine_time",), "1", "loss")
    with store.open_complete(tmp_path / "curve.h5", "limit") as file:
        found = loss_decay.bin_means(file, "loss", 2.0, 8)
    edges = np.linspace(0.0, 2.0, 9)
    np.testing.assert_allclose(found, np.diff(edges**3 / 3) / 0.25, atol=(2 / 128) ** 2 / 6 + 1e-12)


def test_the_fall_of_a_line() -> None:
    assert loss_decay.fall(np.arange(16.0)[::-1]) == pytest.approx(14.0)


@pytest.mark.needs_compiler
def test_twins_learn_what_the_eigenvalues_say(tmp_path: Path) -> None:
    """256 paths at K = 1024 of a finite chain, whose limit is exact; 1 within 4 standard errors: false alarms 1e-4."""
    chain = {"kind": "finite-state", "transition": [[0.5, 0.5], [0.4, 0.6]], "x": [-1.0, 1.0], "z": [0.3, -0.5]}
    twin = {"steps_per_time": [1024], "paths": 256}
    path = runs.write_study(tmp_path, chain=chain, twin=twin, training={"loss_bins": 16})
    for stage in ("draw", "twin", "limit"):
        runs.run(stage, path, "--results", tmp_path / "results")
    study = studies.load(path)
    bootstrap = Bootstrap(lambda units, count: host.uniforms(1, 9, units.astype(np.uint32), count))
    (row,) = loss_decay.rates(study, Layout.of(study, tmp_path / "results"), bootstrap)
    assert row.law == "ratio"
    assert abs(row.exponent - 1) < 4 * row.stderr + 0.01  # and what steps of 1/1024 add
    assert row.stderr < 0.05
