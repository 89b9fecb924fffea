"""Kernels of equal and nearly equal sequences against fifty digits: every activation, precision and back end."""

from __future__ import annotations

from functools import cache
from typing import Any

import fifty_digits
import numpy as np
import pytest
from emulation import EmulatedRuntime

from rnnlimits.kernels import rntk
from rnnlimits.kernels.rntk import backends
from rnnlimits.kernels.rntk.device import Device
from rnnlimits.kernels.rntk.network import Elman

NETWORKS = {
    "relu": (Elman(1, "relu", 1.4, 1.0, 0.2), 30, 1),
    "relu-deep": (Elman(3, "relu", 1.3, 0.8, 0.1, 0.5, 0.9), 8, 3),
    "erf": (Elman(1, "erf", 1.4, 1.0, 0.2), 30, 1),
    "erf-deep": (Elman(2, "erf", 1.3, 0.8, 0.1, 0.5), 8, 2),
    "erf-large": (Elman(1, "erf", 1.3, 9.0, 0.1, 0.5), 8, 2),
    "tanh": (Elman(1, "tanh", 1.3, 1.0, 0.2), 2, 1),
    "logistic": (Elman(1, "logistic", 1.3, 1.0, 0.2), 2, 1),
}
QUADRATURES = ("tanh", "logistic")  # their fifty digits take long
HOST = pytest.param("host", marks=pytest.mark.needs_compiler)
DEVICE = pytest.param("device", marks=pytest.mark.needs_compiler)


@cache
def pairs(name: str, dtype: str) -> list[tuple[Any, Any, Any]]:
    """x, y and their exact (ntk, nngp), inputs rounded to dtype."""
    network, steps, inputs = NETWORKS[name]
    rng, made = np.random.default_rng(60), []
    for difference in (0.0, 1e-6) if name in QUADRATURES else fifty_digits.DIFFERENCES:
        x, noise = (rng.standard_normal((steps, inputs)).astype(dtype) for _ in range(2))
        y = x + np.dtype(dtype).type(difference) * noise
        x, y = x.astype(np.float64), y.astype(np.float64)
        made.append((x, y, fifty_digits.kernels(x, y, network)))
    return made


def worst(name: str, dtype: str, backend: str) -> float:
    network, errors = NETWORKS[name][0], []
    for x, y, exact in pairs(name, dtype):
        found = rntk.gram([x], [y], network=network, kernel="both", dtype=dtype, backend=backend)
        errors += [fifty_digits.relative_error(a[0, 0], b) for a, b in zip(found, exact, strict=True)]
    return max(errors)


@pytest.mark.parametrize("backend", ["numpy", HOST, DEVICE])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", NETWORKS)
def test_a_few_units_at_every_difference(name: str, dtype: str, backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two units for each step and some for its own functions; half of the digits were lost without the distance."""
    if backend == "device":
        emulated = Device(EmulatedRuntime(memory=1 << 20))
        monkeypatch.setattr(backends, "named", lambda _: emulated)
    assert worst(name, dtype, backend) < 2 * (NETWORKS[name][1] + 10) * np.finfo(dtype).eps


def test_the_bound_sees_a_loss_of_digits() -> None:
    """arccos of a rounded correlation, as a plain loop has it, at a difference of 1e-9."""
    from rntk_cases import plain

    network = NETWORKS["relu"][0]
    x, y, exact = pairs("relu", "float64")[fifty_digits.DIFFERENCES.index(1e-9)]
    assert fifty_digits.relative_error(plain(x, y, network, False)[0], exact[0]) > 1e4 * 2 * 40 * np.finfo(float).eps
