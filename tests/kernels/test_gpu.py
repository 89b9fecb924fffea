"""What a real GPU must do. The same tests run on an emulated one, so that they cannot be broken unnoticed.

Where there is no GPU the real half is skipped; RNNLIMITS_REQUIRE=gpu makes that a failure.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from _pytest.mark import ParameterSet
from device_cases import (
    DRIFT_TOLERANCE,
    ROWS,
    SEGMENTS,
    TOLERANCE,
    WIDTHS,
    Row,
    chosen,
    difference,
    drift_difference,
    owned,
    replicas_of,
    same,
    trained,
)
from device_studies import CASES as STUDIES
from device_studies import drawn as drawn_by
from device_studies import trained as trained_by
from emulation import emulated
from processors import host, reference
from runs import HANG, ROOT
from tangent_cases import SHAPES as TANGENT_SHAPES
from tangent_cases import Case, distance, equal, rich
from training_cases import Data

from rnnlimits.kernels import cuda_backend, launch
from rnnlimits.kernels.cuda_backend import CudaBackend
from rnnlimits.kernels.interface import KernelError, Training
from rnnlimits.kernels.launch import Limits

needs_gpu, needs_compiler = pytest.mark.needs_gpu, pytest.mark.needs_compiler
DEVICES = [pytest.param("gpu", marks=needs_gpu), pytest.param("emulated", marks=needs_compiler)]
# The emulated half only shows that a test can run: one network of each kind.
REHEARSED_ROWS = ROWS[::4]
REHEARSED = [(33, 3, 3, "float32"), (4097, 1, 1, "float64")]
NETWORKS = list(product(WIDTHS, (1, 3, 10), (1, 3), TOLERANCE))
# What the clusters and grids of launch.py need, one network of each: N, d, tau, precision.
LARGE = [(40_000, 1, 1, "float32"), (70_000, 1, 1, "float32"), (130_001, 1, 3, "float64"), (700_001, 3, 1, "float32")]


def on_either(values: Sequence[object], rehearsed: Sequence[object]) -> list[ParameterSet]:
    """Parameters: each value on a GPU, some on the emulated one."""
    pairs = [("gpu", value) for value in values] + [("emulated", value) for value in rehearsed]
    marks = {"gpu": needs_gpu, "emulated": needs_compiler}
    return [pytest.param(device, value, marks=marks[device], id=f"{device}-{value}") for device, value in pairs]


@pytest.fixture
def be(device: str) -> CudaBackend:
    return cuda_backend.backend() if device == "gpu" else emulated()


def limits_of(be: CudaBackend) -> Limits:
    return be._runtime.limits


# --- training ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("device", "row"), on_either(ROWS, REHEARSED_ROWS))
def test_a_team_trains_as_defined_and_repeats_itself(
    be: CudaBackend, row: Row, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not owned(row, limits_of(be)):
        pytest.skip(f"{be.device} has no clusters of {row.team.blocks}")
    row.force(monkeypatch)
    data = row.data()
    ours = trained(be, row.training, data, [5, 2])
    assert difference(ours, trained(reference, row.training, data, [5, 2])) < TOLERANCE[row.precision]
    assert same(trained(be, row.training, data, [5, 2]), ours), "the same run twice"
    assert same(trained(be, row.training, data, [1, 4, 2]), ours), "cut elsewhere"
    alone = trained(be, row.training, replicas_of(data, slice(3, 4)), [5, 2])
    assert same(alone, ours, slice(3, 4)), "a replica without the others"


@pytest.mark.parametrize(("device", "network"), on_either(NETWORKS, REHEARSED))
def test_the_team_that_is_chosen_trains_as_defined(be: CudaBackend, network: tuple[int, int, int, str]) -> None:
    training = chosen(*network)
    data = Data.draw(training, replicas=2, steps=sum(SEGMENTS))
    ours = trained(be, training, data, SEGMENTS)
    assert difference(ours, trained(reference, training, data, SEGMENTS)) < TOLERANCE[training.precision]
    assert drift_difference(ours, trained(host, training, data, SEGMENTS)) < DRIFT_TOLERANCE[training.precision]


@pytest.mark.parametrize(("device", "network"), on_either(LARGE, REHEARSED))
def test_wide_networks(be: CudaBackend, network: tuple[int, int, int, str]) -> None:
    training = chosen(*network)
    data = Data.draw(training, replicas=2, steps=3)
    ours = trained(be, training, data)
    assert difference(ours, trained(reference, training, data)) < TOLERANCE[training.precision]
    assert same(trained(be, training, data), ours)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("precision", TOLERANCE)
def test_many_steps_and_many_replicas(be: CudaBackend, device: str, precision: str) -> None:
    """A barrier too few shows sooner or later: more replicas than run at once, and again the same bits."""
    replicas, steps = (700, 2000) if device == "gpu" else (3, 20)
    training = Training(1500, 1, 0.75, 1000, precision=precision)
    data = Data.draw(training, replicas, steps)
    ours = trained(be, training, data)
    assert same(trained(be, training, data), ours)
    some = slice(replicas - 2, replicas)
    compiled = trained(host, training, replicas_of(data, some))
    # Rounding adds up over steps: at random in single precision, so by a factor of about their square root.
    bound = TOLERANCE[precision] * max(1.0, steps**0.5)
    picked = {name: array[some] for name, array in ours.items()}
    assert difference(picked, compiled) < bound


@pytest.mark.parametrize(("device", "shape"), on_either(TANGENT_SHAPES, TANGENT_SHAPES[:1]))
def test_tangents_are_the_hosts_and_repeat_themselves(
    be: CudaBackend, device: str, shape: tuple[str, int, int, bool, float]
) -> None:
    """On a GPU as many blocks as keep it busy: a barrier too few shows sooner or later."""
    directions, paths, steps, nodes = (128, 8, 200, 256) if device == "gpu" else (6, 2, 12, 40)
    case = Case.draw(rich(*shape), directions, paths, steps, nodes)
    ours = case.cut(be, [steps])
    assert distance(ours, case.cut(host, [steps])) < 1e-14 * steps
    assert equal(case.cut(be, [steps]), ours), "the same run twice"
    assert equal(case.cut(be, [1, steps - 4, 3]), ours), "cut elsewhere"
    alone = slice(1, 2)
    assert equal(case.paths(alone).cut(be, [steps]), ours, alone), "a path without the others"


# --- stages ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("name", STUDIES)
def test_a_small_studys_shards(be: CudaBackend, device: str, name: str, tmp_path: Path) -> None:
    study = STUDIES[name]()
    tolerance = 1e-6 if study.precision == "float32" else 1e-12
    trained, expected = trained_by(study, be), trained_by(study, host)
    for variable, values in expected.items():
        np.testing.assert_allclose(trained[variable], values, rtol=0, atol=tolerance, err_msg=variable)
    drawn, expected = drawn_by(study, be, tmp_path / "gpu.h5"), drawn_by(study, host, tmp_path / "host.h5")
    assert drawn.keys() == expected.keys()
    for variable, values in expected.items():
        np.testing.assert_allclose(drawn[variable], values, rtol=0, atol=1e-11, err_msg=variable)


# --- limits and errors -------------------------------------------------------------------------------------


@pytest.mark.parametrize("device", DEVICES)
def test_what_does_not_fit_is_refused_before_memory_is_taken(be: CudaBackend, device: str) -> None:
    training = Training(2**20, 1, 0.75, 1000, precision="float32")
    free = be._runtime.free_bytes()
    one = 2**20 * launch.words_per_unit(training) * 4
    with pytest.raises(KernelError, match=r"width 1048576: \d+ replicas need .*; \d+ would fit: lower") as refused:
        be.trainer(training, free // one + 1)
    assert "\n" not in str(refused.value)
    fit = int(str(refused.value).split("; ")[1].split()[0])
    assert 0.89 * free < (fit + 1) * one < 0.91 * free + 2 * one
    assert be._runtime.free_bytes() == pytest.approx(free, rel=0.01)  # others may use the GPU too


@needs_gpu
def test_memory_that_runs_out_is_one_line() -> None:
    be = cuda_backend.backend()
    with pytest.raises(MemoryError) as full:
        be._runtime.xp.empty(2 * be._runtime.free_bytes() // 8)
    line = cuda_backend.failure(full.value)
    assert line is not None
    assert line.startswith("the GPU failed (")
    assert "\n" not in line
    assert be.numpy(be.uniforms(1, 2, np.arange(1, dtype=np.uint32), 3)).shape == (1, 3)  # and life goes on


@needs_gpu
def test_a_gpu_that_is_not_there_is_one_line() -> None:
    with pytest.raises(KernelError, match=r"^back end cuda: there is no GPU 99; this process sees"):
        cuda_backend.backend(99)


@needs_gpu
def test_a_lost_context_is_one_line() -> None:
    """In a process of its own: after a write to address 8 nothing more can be had from the GPU there."""
    script = """if True:
        from rnnlimits.kernels import cuda_runtime
        cupy = cuda_runtime._cupy()
        write = cupy.RawKernel('extern "C" __global__ void write(long at) { *(volatile int*)at = 1; }', "write")
        try:
            write((1,), (1,), (cupy.int64(8),))
            cupy.cuda.Device().synchronize()
        except Exception as error:
            print(cuda_runtime.failure(error))
    """
    done = python("-c", script)
    assert done.stdout.startswith("the GPU failed (cudaErrorIllegalAddress"), done.stderr
    assert len(done.stdout.splitlines()) == 1


# --- under a sanitizer -------------------------------------------------------------------------------------


def python(*words: str, first: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    """Run Python on words, after `first`, with the GPUs of this process."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    command = [*first, sys.executable, *words]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=HANG, check=False)


@needs_gpu
@pytest.mark.parametrize("tool", ["memcheck", "racecheck"])
def test_the_sanitizer_finds_nothing(tool: str) -> None:
    sanitizer = shutil.which("compute-sanitizer")
    if sanitizer is None:
        pytest.skip("compute-sanitizer is not on PATH; it comes with the CUDA toolkit")
    done = python("tests/support/device_cases.py", first=(sanitizer, "--tool", tool, "--error-exitcode", "9"))
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert "as defined on" in done.stdout


@needs_compiler
def test_what_the_sanitizer_watches_can_run() -> None:
    done = python("tests/support/device_cases.py", "emulated")
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout == "as defined on emulated GPU\n"
