"""The CUDA source of the recurrent NTK: executed on an emulated GPU, and compiled for GPUs that need not be there."""

from __future__ import annotations

import re
from itertools import product
from typing import Any

import numpy as np
import pytest
from emulation import EmulatedRuntime
from specialisations import Task, compile_all

from rnnlimits.kernels import compiler, rntk
from rnnlimits.kernels.rntk import backends
from rnnlimits.kernels.rntk.device import Device, macros
from rnnlimits.kernels.rntk.network import Elman
from rnnlimits.kernels.rntk.tables import Form


@pytest.mark.needs_compiler
@pytest.mark.parametrize(("activation", "layers", "output", "dtype"), [
    ("relu", 1, "last", "float64"), ("relu", 2, "mean", "float64"), ("erf", 2, "average", "float64"),
    ("erf", 1, "mean", "float64"), ("tanh", 2, "last", "float64"), ("logistic", 1, "mean", "float64"),
    ("relu", 1, "last", "float32"),
])  # fmt: skip
def test_device_is_the_host(
    monkeypatch: pytest.MonkeyPatch, activation: str, layers: int, output: str, dtype: str
) -> None:
    """Square and rectangular, more sequences than a group has, in tiles of few rows."""
    network = Elman(layers, activation, 1.2, 0.8, 0.3, 0.4, 0.9, output)
    rng = np.random.default_rng(50)
    x, y = ([rng.standard_normal((5 if output == "average" else int(n), 2)) for n in rng.integers(1, 6, count)]
            for count in (37, 9))  # fmt: skip
    emulated = Device(EmulatedRuntime(memory=37 * 8 * 2 * 12))
    limit = 1e-13 if dtype == "float64" else 1e-5
    for other in (None, y):
        wanted = rntk.gram(x, other, network=network, kernel="both", dtype=dtype, backend="host")
        with monkeypatch.context() as patch:
            patch.setattr(backends, "named", lambda _: emulated)
            found = rntk.gram(x, other, network=network, kernel="both", dtype=dtype)
            own: Any = rntk.diagonal(x, network=network, dtype=dtype)
        for a, b in zip(found, wanted, strict=True):
            assert a.dtype == np.dtype(dtype)
            np.testing.assert_allclose(a, b, rtol=limit, atol=limit * np.abs(b).max())
        if other is None:
            np.testing.assert_array_equal(own, np.diag(found[0]))


@pytest.mark.needs_nvrtc
def test_device_programs_compile_and_work_in_registers() -> None:
    tasks = [
        Task(
            "device_rntk.cu",
            tuple(sorted(macros(Form(Elman(layers, activation), 1, 8, np.dtype(dtype), 32)).items())),
            sm,
        )
        for (activation, layers, dtype), sm in product(
            product(("relu", "erf", "tanh"), (1, 3), ("float32", "float64")), (80, 90)
        )
    ]
    seen = set()
    for task, programs in compile_all(tasks).items():
        assert not isinstance(programs, str), f"{task}: {programs}"
        for name, usage in programs.items():
            seen.add(name)
            assert max(usage.stack, usage.spill_stores, usage.spill_loads) == 0, f"{name} {task}: {usage}"
            assert usage.registers <= 168, f"{name} {task}: {usage}"  # 12 warps on a multiprocessor
    text = (compiler.SOURCE / "device_rntk.cu").read_text()
    assert seen == set(re.findall(r"^DEVICE_PROGRAM (?:AT_MOST_THREADS\(\d+\)\s+)?(\w+)\(", text, re.MULTILINE))
