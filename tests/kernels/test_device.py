"""The device programs against their definition, on an emulated GPU: every kind of team, and what must not change a bit.

`python tests/kernels/test_device.py` prints how far trainings are from the definition and from the host build.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from device_cases import (
    A100,
    DRIFT_TOLERANCE,
    H100,
    ROWS,
    SEGMENTS,
    TINY,
    TOLERANCE,
    V100,
    WIDTHS,
    Row,
    chosen,
    difference,
    drift_difference,
    replicas_of,
    same,
    trained,
)
from emulation import SMALL_GPU, emulated
from numpy.typing import NDArray
from path_cases import SEED, STREAM, TRANSITION, chain, indices, memory_along, memory_case, starts
from philox_answers import KNOWN, rows
from processors import host, reference
from runs import ENVIRONMENT, HANG, ROOT
from training_cases import Data

from rnnlimits import kernels
from rnnlimits.kernels import compiler, cuda_backend, cuda_driver, cuda_runtime, launch
from rnnlimits.kernels.activations import ACTIVATIONS
from rnnlimits.kernels.interface import Array, KernelError, RandomKey, Training
from rnnlimits.kernels.launch import Launch, Limits

pytestmark = pytest.mark.needs_compiler

# --- the teams that are chosen -----------------------------------------------------------------------------


def distances(training: Training, limits: Limits) -> tuple[float, float, float]:
    """From the definition; from the host build; of the drifts from the host build's, relative to their size."""
    data = Data.draw(training, replicas=2, steps=sum(SEGMENTS))
    ours = trained(emulated(limits), training, data, SEGMENTS)
    defined, compiled = (trained(be, training, data, SEGMENTS) for be in (reference, host))
    return difference(ours, defined), difference(ours, compiled), drift_difference(ours, compiled)


@pytest.mark.parametrize("precision", TOLERANCE)
@pytest.mark.parametrize("depth", [1, 3])
@pytest.mark.parametrize("dimension", [1, 3, 10])
@pytest.mark.parametrize("width", WIDTHS)
def test_training_against_the_definition(width: int, dimension: int, depth: int, precision: str) -> None:
    defined, compiled, drift = distances(chosen(width, dimension, depth, precision), H100)
    assert defined < TOLERANCE[precision]
    assert compiled < TOLERANCE[precision]
    assert drift < DRIFT_TOLERANCE[precision]


@pytest.mark.parametrize(("limits", "width"), [(V100, 4097), (A100, 2049), (TINY, 8300)], ids=str)
def test_devices_without_clusters(limits: Limits, width: int) -> None:
    training = chosen(width, 1, 1, "float64")
    assert launch.choose(training, limits).team == "grid"
    assert max(distances(training, limits)) < TOLERANCE["float64"]


def test_what_is_compared_is_far_larger_than_the_tolerance() -> None:
    for width in WIDTHS:
        training = chosen(width, 3, 3, "float64")
        data = Data.draw(training, replicas=2, steps=sum(SEGMENTS))
        for name, array in trained(reference, training, data, SEGMENTS).items():
            assert np.abs(array).max() > 1e-5, name


# --- every kind of team ------------------------------------------------------------------------------------


@pytest.fixture(params=ROWS, ids=str)
def row(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Row:
    """A network whose team is forced upon it."""
    asked: Row = request.param
    asked.force(monkeypatch)
    return asked


def test_the_rows_cover_what_they_should() -> None:
    """Any two values of two properties meet, but of the team and another where that would take more rows than one."""
    values = [(r.team.team, r.activation, r.update_b, r.clip is None, r.precision, r.depth) for r in ROWS]
    for first, second in ((1, 2), (1, 3), (1, 4), (1, 5), (2, 3), (2, 4), (3, 4), (4, 5), (0, 4)):
        wanted = set(product({v[first] for v in values}, {v[second] for v in values}))
        assert {(v[first], v[second]) for v in values} == wanted, (first, second, wanted)
    assert {r.team.blocks for r in ROWS if r.team.team == "cluster"} == {2, 4, 8, 16}
    assert all(r.width % r.team.members for r in ROWS)


def test_a_team_trains_as_defined(row: Row) -> None:
    data = row.data()
    ours, defined = (trained(be, row.training, data) for be in (emulated(), reference))
    assert difference(ours, defined) < TOLERANCE[row.precision]
    assert drift_difference(ours, defined) < max(1e-10, DRIFT_TOLERANCE[row.precision])  # it subtracts large numbers
    assert np.abs(defined["drift of b"]).max() > 1e-5 if row.update_b else not ours["drift of b"].any()
    if row.clip is not None:
        free = trained(reference, replace(row.training, clip=None), data)
        assert difference(free, defined) > 1e-4, "the clip must act"


def test_a_write_past_the_end_of_an_array_is_seen() -> None:
    be = emulated()
    program = be._runtime.program("device_paths.cu", "philox_words", {})
    words = be._runtime.xp.zeros((2, 4), dtype=np.uint32)
    program((1,), (32,), (words, np.int64(2), np.uint32(1), np.uint32(2)))
    with pytest.raises(AssertionError, match="philox_words: a write past the end of an array"):
        program((1,), (32,), (words, np.int64(3), np.uint32(1), np.uint32(2)))


def test_the_order_of_turns_changes_no_bit(row: Row) -> None:
    data = row.data()
    assert same(*(trained(emulated(backwards=order), row.training, data) for order in (False, True)))


def test_segments_change_no_bit(row: Row) -> None:
    data = row.data()
    whole = trained(emulated(), row.training, data)
    for lengths in ([1] * 7, [1, 4, 2], [5, 2]):
        parts = trained(emulated(), row.training, data, lengths)
        assert same({**parts, "early": whole["early"]}, whole), lengths


def test_company_changes_no_bit(row: Row) -> None:
    """More replicas than teams, one, or as many teams as replicas: the same numbers for each replica."""
    data = row.data()
    together = trained(emulated(SMALL_GPU), row.training, data, [5, 2])
    for part in (slice(0, 1), slice(3, 5)):
        assert same(trained(emulated(SMALL_GPU), row.training, replicas_of(data, part), [5, 2]), together, part)
    large = Limits("emulated GPU", (9, 0), 64)
    assert row.team.grid(5, large) >= row.team.grid(5, SMALL_GPU)
    assert same(trained(emulated(large), row.training, data, [5, 2]), together)


def test_grids_take_replicas_in_turns() -> None:
    """Or the test above would not see them do so."""
    grids = [row.team for row in ROWS if row.team.team == "grid"]
    assert {team.grid(5, SMALL_GPU) // team.blocks for team in grids} == {1, 2}
    assert {team.slots == 0 for team in grids} == {True, False}


def test_few_blocks_do_the_work_of_many(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where there is more to do than a launch has blocks."""
    training = chosen(777, 2, 2, "float64")
    data = Data.draw(training, replicas=3, steps=5)
    case = memory_case(40, 2, replicas=5, steps=4)

    def work() -> list[Array]:
        be = emulated()
        numbers = be.normals(SEED, STREAM, indices(3), 1001), memory_along(be, "erf", *(be.array(a) for a in case))
        return [*trained(be, training, data).values(), *(be.numpy(a) for a in numbers)]

    many = work()
    monkeypatch.setattr(cuda_backend, "MOST_BLOCKS", 2)
    for ours, theirs in zip(work(), many, strict=True):
        np.testing.assert_array_equal(ours, theirs)


# --- random numbers and paths ------------------------------------------------------------------------------


@pytest.mark.parametrize("known", KNOWN, ids=["zeros", "ones", "pi"])
def test_philox_gives_the_published_answers(known: NDArray[np.uint32]) -> None:
    be = emulated()
    counter, key, answer = np.split(known, [4, 6])
    words = be.numpy(be.philox(np.stack([counter, counter]), (int(key[0]), int(key[1]))))
    np.testing.assert_array_equal(words, np.stack([answer, answer]))


@pytest.mark.parametrize("extreme", [0, 1, 2**31, 2**32 - 1])
def test_uniforms_are_the_definitions_to_the_last_bit(extreme: int) -> None:
    be = emulated()
    for seed, step, component in product([7, extreme], repeat=3):
        where = (seed, extreme, rows(0, 3, extreme), 37, step, component)
        np.testing.assert_array_equal(be.numpy(be.uniforms(*where)), reference.uniforms(*where))


@pytest.mark.parametrize("count", [1, 2, 2001])
def test_normals_are_the_definitions_to_a_few_units_in_the_last_place(count: int) -> None:
    where = (SEED, STREAM, np.arange(7, dtype=np.uint32), count, 9)
    be = emulated()
    # NumPy rounds 2 pi u before its cosine: up to 4.4e-16 in the angle, times a radius up to 8.
    assert np.abs(be.numpy(be.normals(*where)) - reference.normals(*where)).max() < 4e-15


def walked(inputs: int, hidden: int, nonlinear: bool, lengths: Sequence[int], keep: bool = True) -> list[Array]:
    """H, Y and the last state of 40 replicas after stretches of these lengths, which begin at step 7."""
    be, asked, done = emulated(), chain(inputs, hidden, nonlinear), 7
    state, parts = be.array(starts(40, asked.size)), []
    for length in lengths:
        h, y = be.chain_path(asked, RandomKey(SEED, STREAM, indices(40)), state, done, length, keep)
        parts.append((be.numpy(h), be.numpy(y)))
        done += length
    return [*(np.concatenate(part, axis=1) for part in zip(*parts, strict=True)), be.numpy(state)]


@pytest.mark.parametrize("nonlinear", [False, True])
@pytest.mark.parametrize(("inputs", "hidden"), [(1, 0), (1, 1), (2, 1), (3, 2)])
def test_gaussian_chains(inputs: int, hidden: int, nonlinear: bool) -> None:
    asked = chain(inputs, hidden, nonlinear)
    state = starts(40, asked.size)
    defined = [*reference.chain_path(asked, RandomKey(SEED, STREAM, indices(40)), state, 7, 30), state]
    whole = walked(inputs, hidden, nonlinear, [30])
    for ours, theirs in zip(whole, defined, strict=True):
        assert ours.shape == theirs.shape
        assert np.abs(ours - theirs).max() < 1e-13
        assert np.abs(theirs).max() > 0.1
    for ours, theirs in zip(walked(inputs, hidden, nonlinear, [1, 12, 17]), whole, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    history, y, last = walked(inputs, hidden, nonlinear, [13, 17], keep=False)
    assert history.shape == (40, 0, asked.size)
    assert y.shape == (40, 0)
    np.testing.assert_array_equal(last, whole[2])


@pytest.mark.parametrize("replicas", [1, 40])
def test_finite_chains(replicas: int) -> None:
    be, begin = emulated(), np.arange(replicas, dtype=np.int32) % 4
    walks = []
    for each in (be, reference):
        state = each.array(begin.copy())
        parts = [
            each.numpy(each.finite_path(TRANSITION, RandomKey(SEED, STREAM, indices(replicas)), state, *where))
            for where in ((5, 60), (65, 40))
        ]
        walks.append(np.concatenate([*parts, each.numpy(state)[:, None]], axis=1))
    np.testing.assert_array_equal(*walks)


@pytest.mark.parametrize("activation", list(ACTIVATIONS))
@pytest.mark.parametrize(("nodes", "dimension"), [(1, 1), (70, 2), (300, 3)])
def test_memory_paths(activation: str, nodes: int, dimension: int) -> None:
    case = memory_case(nodes, dimension, replicas=3, steps=11)
    defined = memory_along(reference, activation, *case)
    for backwards in (False, True):
        be = emulated(backwards=backwards)
        ours = be.numpy(memory_along(be, activation, *(be.array(a) for a in case)))
        assert ours.shape == defined.shape
        assert np.abs(ours - defined).max() < 1e-13
    alone = be.numpy(memory_along(be, activation, *case[:3], *(be.array(a[2:]) for a in case[3:])))
    np.testing.assert_array_equal(alone, ours[2:])


# --- refusals and errors -----------------------------------------------------------------------------------


def test_what_does_not_fit_is_refused_before_anything_starts() -> None:
    """A unit of d = 1, tau = 1 with B trained is 8 numbers, a step of the path 6; nine tenths of the memory count."""
    training = Training(1000, 1, 0.75, 1000, precision="float32")
    room = 10 * (1000 * 8 * 4 + 1024 * 6 * 8) / 0.9 + 1
    be = emulated(memory=int(room))
    be.trainer(training, 10)
    with pytest.raises(
        KernelError, match=r"^width 1000: 11 replicas need .* GiB of GPU memory, .*; 10 would fit:"
    ) as no:
        be.trainer(training, 11)
    assert "\n" not in str(no.value)
    assert "training.replicas_per_block" in str(no.value)
    with pytest.raises(KernelError, match="not even one fits: use another GPU"):
        emulated(memory=20_000).trainer(training, 1)
    assert be._runtime.launched == ["layout"]  # type: ignore[attr-defined]


def test_a_gpu_failure_is_one_line() -> None:
    lost = type("CUDARuntimeError", (RuntimeError,), {"__module__": "cupy_backends.cuda.api.runtime"})
    full = type("OutOfMemoryError", (MemoryError,), {"__module__": "cupy.cuda.memory"})
    for error in (lost("cudaErrorIllegalAddress:\n an illegal\n memory access"), full("Out of memory\n64 bytes")):
        line = cuda_backend.failure(error)
        assert line is not None
        assert line.startswith("the GPU failed (")
        assert "\n" not in line
        assert " ".join(str(error).split()) in line
    assert cuda_backend.failure(RuntimeError("cupy has nothing to do with it")) is None


def test_a_compilers_first_error_is_told() -> None:
    log = 'a.cu(1): warning #1: x\na.cu(7): error: no "y"\n  y = 3;\n  ^\n1 error detected\n'
    assert cuda_runtime.first_error(log) == 'a.cu(7): error: no "y" | y = 3;'
    assert cuda_runtime.first_error("  nothing known  \n") == "nothing known"


def no_driver(name: str) -> object:
    raise OSError(name)


def driver(code: int, count: int = 0) -> Callable[[str], object]:
    """A driver whose cuInit answers `code`, and that shows `count` devices."""

    def name_of(code: int, name: object) -> None:
        name._obj.value = b"CUDA_ERROR_NO_DEVICE"  # type: ignore[attr-defined]

    def devices(found: object) -> None:
        found._obj.value = count  # type: ignore[attr-defined]

    return lambda name: SimpleNamespace(cuInit=lambda _: code, cuGetErrorName=name_of, cuDeviceGetCount=devices)


WITHOUT = {
    "CuPy": (False, driver(0, 1), "CuPy is not installed; install CuPy with: python -m pip install "),
    "a driver": (True, no_driver, "no GPU: this machine has no NVIDIA driver (libcuda.so.1)"),
    "a device": (True, driver(100), "no GPU: the NVIDIA driver answers CUDA_ERROR_NO_DEVICE (100)"),
    "one shown": (True, driver(0, 0), "no GPU: the driver shows none to this process (CUDA_VISIBLE_DEVICES?)"),
}


@pytest.fixture
def no_gpu_asked() -> Iterator[None]:
    """The driver is asked again, and after the test once more."""
    cuda_driver._driver.cache_clear()
    yield
    cuda_driver._driver.cache_clear()


@pytest.mark.usefixtures("no_gpu_asked")
@pytest.mark.parametrize(("cupy", "library", "says"), WITHOUT.values(), ids=WITHOUT)
def test_why_there_is_no_gpu(
    monkeypatch: pytest.MonkeyPatch, cupy: bool, library: Callable[[str], object], says: str
) -> None:
    monkeypatch.setattr(ctypes, "CDLL", library)
    monkeypatch.setattr(cuda_driver.importlib.util, "find_spec", lambda name: "found" if cupy else None)
    reason = cuda_backend.available()
    assert reason is not None
    assert reason.startswith(says)
    assert "\n" not in reason
    assert cuda_backend.report() == [("GPU", reason)]
    with pytest.raises(KernelError, match=r"^back end cuda: ") as refused:
        kernels.backend("cuda")
    assert str(refused.value) == f"back end cuda: {reason}"


def test_cupy_is_not_imported_without_a_gpu() -> None:
    script = """if True:
        import ctypes, sys
        from rnnlimits.kernels import KernelError, backend, cuda_backend as cuda
        def refuse(name):
            raise OSError(name)
        ctypes.CDLL = refuse
        assert cuda.available() and cuda.report()
        for ask in (cuda.visible, cuda.backend, lambda: backend("cuda"), lambda: cuda.identity(0)):
            try:
                ask()
            except KernelError as error:
                assert "\\n" not in str(error)
            else:
                raise AssertionError(ask)
        print(sorted(name for name in sys.modules if name.startswith("cupy")))
    """
    done = subprocess.run(
        [sys.executable, "-c", script], env=ENVIRONMENT, cwd=ROOT, capture_output=True, text=True, timeout=HANG
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "[]\n"


# --- the comparison must be able to fail -------------------------------------------------------------------

BLOCK, CLUSTER, GRID, STREAMED = ROWS[2], ROWS[5], ROWS[9], ROWS[13]
MUTATIONS = {
    "an empty slot counts": ("device_train.cu", "if (s >= live)", "if (s > live)", BLOCK),
    "units of the wrong member": ("device_train.cu", "i = first + s * stride;", "i = first + s + stride;", BLOCK),
    "another replica's state": ("device_train.cu", "states + r, training", "states + 0, training", GRID),
    "the drift of b is not saved": ("store.h", "f == WORD(V, b_start);", "f == WORD(V, b_drift);", BLOCK),
    "a lane counts twice": ("groups.h", "int distance = 16;", "int distance = 8;", BLOCK),
    "rows are left out": ("groups.h", "&& distance < count;", "&& distance > count;", BLOCK),
    "a block is left out": ("groups.h", "sum_of_rows(CLUSTER,", "sum_of_rows(CLUSTER - 1,", CLUSTER),
    "another lane's sum": ("groups.h", "own_sum() * lanes_per_sum);", "own_sum());", CLUSTER),
    "halves of a block overlap": ("groups.h", "+ half * MOST_WARPS * padded_sums;", "+ half * padded_sums;", BLOCK),
    "a streamed part is lost": ("device_train.cu", "add(sums, part);", "", STREAMED),
    "no barrier of a block": ("groups.h", "wait_for_block();\n        half ^= 1;", "half ^= 1;", BLOCK),
    "one half for a block": ("groups.h", "half ^= 1;", "", BLOCK),
    "no barrier of a cluster": ("groups.h", "        wait_for_cluster();\n", "", CLUSTER),
    "one half for a cluster": ("groups.h", "+ block.half * MOST_BLOCKS * padded_sums;", ";", CLUSTER),
    "a cluster's block begins alone": ("device_train.cu", "    wait_for_cluster();  // a block must", "//", CLUSTER),
    "a grid does not wait": ("groups.h", "wait_until(count, reached);", "", GRID),
    "a warp does not wait": ("groups.h", "wait_for_warp();\n            const double all", "const double all", GRID),
    "one half for a grid": ("groups.h", "rows + block.half * blocks * padded_sums;", "rows;", GRID),
    "warps do not wait for the first": ("groups.h", "wait_for_block();\n        return", "return", GRID),
}


def mutated_difference(source: Path, row: Row) -> float:
    """From the definition, whoever comes first; the device programs are those of `source`.

    In a process of its own; infinity where a signal kills it, as a stuck program's abort does, or where it hangs.
    """
    command = [sys.executable, __file__, str(source), str(ROWS.index(row))]
    paths = os.pathsep.join([str(ROOT / "src"), str(ROOT / "tests" / "support")])
    options = {"env": {**ENVIRONMENT, "PYTHONPATH": paths}, "capture_output": True, "text": True, "timeout": HANG}
    try:
        done = subprocess.run(command, **options)  # type: ignore[call-overload]
    except subprocess.TimeoutExpired:
        return np.inf
    assert done.returncode <= 0, done.stderr
    return float(done.stdout) if done.returncode == 0 else np.inf


def difference_with(source: Path, row: Row) -> float:
    """What `mutated_difference` asks its process for."""
    compiler.SOURCE = source
    launch.choose = lambda training, limits: row.team
    data = row.data()
    defined = trained(reference, row.training, data, [5, 2])
    orders = [trained(emulated(backwards=order), row.training, data, [5, 2]) for order in (False, True)]
    return float(np.max([difference(shown, defined) for shown in orders]))


@pytest.mark.parametrize(("file", "text", "mutant", "row"), MUTATIONS.values(), ids=MUTATIONS)
def test_the_comparison_sees_every_mutation(tmp_path: Path, file: str, text: str, mutant: str, row: Row) -> None:
    source = Path(shutil.copytree(compiler.SOURCE, tmp_path / "src"))
    program = (source / file).read_text()
    assert program.count(text) == 1, "the mutation must name exactly one place"
    (source / file).write_text(program.replace(text, mutant))
    assert not mutated_difference(source, row) < 20 * TOLERANCE[row.precision]


@pytest.mark.parametrize("row", [BLOCK, CLUSTER, GRID, STREAMED], ids=str)
def test_the_unmutated_copy_passes(tmp_path: Path, row: Row) -> None:
    source = Path(shutil.copytree(compiler.SOURCE, tmp_path / "src"))
    assert mutated_difference(source, row) < TOLERANCE[row.precision]


# --- a table for people ------------------------------------------------------------------------------------


def worst_differences(limits: Limits = H100) -> None:
    """Print how far each network's training is from the definition, from the host build, and its drifts from that's."""
    print(
        f"{'N':>5} {'d':>3} {'tau':>3} {'precision':<9} {'team':<8} blocks x threads x slots  definition  host  drift"
    )
    for precision, width, dimension, depth in product(TOLERANCE, WIDTHS, (1, 3, 10), (1, 3)):
        training = chosen(width, dimension, depth, precision)
        print(f"{width:5} {dimension:3} {depth:3} {precision:<9} {described(launch.choose(training, limits))}", end="")
        print("".join(f"  {distance:.1e}" for distance in distances(training, limits)))


def described(team: Launch) -> str:
    return f"{team.team:<8} {team.blocks:2} x {team.threads:3} x {team.slots:2}"


if __name__ == "__main__":
    if len(sys.argv) == 3:
        print(difference_with(Path(sys.argv[1]), ROWS[int(sys.argv[2])]))
    else:
        worst_differences()
