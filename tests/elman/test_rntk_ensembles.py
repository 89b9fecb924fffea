"""Ensembles of Elman networks on a GPU: the host's numbers up to rounding, and stacks that depend on the index alone.

The same tests run on an emulated GPU, whose arrays refuse NumPy's, and refuse to become such, as CuPy's do.
"""

from __future__ import annotations

import tracemalloc
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import emulation
import h5py
import numpy as np
import pytest
import yaml
from emulation import conversions_refused, emulated
from mpi4py import MPI
from processors import host
from runs import TINY_RNTK

from rnnlimits.elman import chunks, plan, train, world
from rnnlimits.elman.layout import RntkLayout
from rnnlimits.elman.plan import Block, Cell
from rnnlimits.elman.train import World, block_values
from rnnlimits.kernels import cuda_backend
from rnnlimits.kernels.cuda_backend import CudaBackend
from rnnlimits.kernels.interface import Array, Backend
from rnnlimits.study import RntkStudy, loads_any

DEVICES = [
    pytest.param("gpu", marks=pytest.mark.needs_gpu),
    pytest.param("emulated", marks=pytest.mark.needs_compiler),
]
TOLERANCE = {"float64": 1e-12, "float32": 1e-5}
SMALL = 2**17  # bytes of a chunk: some replicas of the widths below


def study(**changes: Any) -> RntkStudy:
    every = {"networks": [{"activation": a, "layers": [1, 2], "sigma_h": 0.3, "sigma_b": 0.2} for a in ACTIVATIONS]}
    found = loads_any(yaml.safe_dump({**TINY_RNTK, **every, **changes}), "tiny.yaml")
    assert isinstance(found, RntkStudy)
    return found


ACTIVATIONS = ("relu", "erf", "tanh", "logistic")


@pytest.fixture
def be(device: str) -> CudaBackend:
    return cuda_backend.backend() if device == "gpu" else emulated()


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunks, "DEVICE_BYTES", SMALL)


def computed(this: RntkStudy, be: Backend, block: Block) -> dict[str, Array]:
    with conversions_refused() if be.device == "emulated GPU" else nullcontext():
        return block_values(this, be, World.of(this, be), block)


def cells(this: RntkStudy, kind: str) -> list[Cell]:
    return [cell for cell in plan.cells(this) if (cell.kind, cell.width) == (kind, 16)]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("precision", TOLERANCE)
@pytest.mark.parametrize("kind", plan.KINDS)
@pytest.mark.usefixtures("small_chunks")
def test_a_block_is_the_hosts(be: CudaBackend, kind: str, precision: str) -> None:
    """Every activation and depth; a block that begins and ends within a chunk. Rounding of a kernel, or of 6 steps."""
    this = study(precision=precision)
    assert len(cells(this, kind)) == 2 * len(ACTIVATIONS)
    for cell in cells(this, kind):
        block = Block(cell, 3, 9)
        found, expected = computed(this, be, block), computed(this, host, block)
        assert found.keys() == expected.keys() == train.VARIABLES[kind].keys()
        for name, values in expected.items():
            assert type(found[name]) is np.ndarray
            assert found[name].dtype == np.float64
            limit = TOLERANCE[precision] * np.abs(values).max()
            np.testing.assert_allclose(found[name], values, rtol=0, atol=limit, err_msg=f"{cell.network} {name}")


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("kind", plan.KINDS)
@pytest.mark.usefixtures("small_chunks")
def test_a_replica_has_the_same_bits_in_any_block(be: CudaBackend, kind: str) -> None:
    this = study(networks=TINY_RNTK["networks"])
    cell = cells(this, kind)[1]
    whole = computed(this, be, Block(cell, 0, 12))
    parts = [computed(this, be, Block(cell, first, count)) for first, count in ((0, 1), (1, 6), (7, 5))]
    for name, values in whole.items():
        assert np.array_equal(values, np.concatenate([part[name] for part in parts]))


@pytest.mark.needs_compiler
def test_a_gpus_stacks_are_functions_of_the_index(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the block, and however many replicas the cell has: it is what keeps the order of sums."""
    seen: list[tuple[int, ...]] = []

    def compute(_study: Any, _be: Any, _world: Any, _cell: Any, replicas: Any, _tick: Any) -> dict[str, Array]:
        seen.append(tuple(replicas))
        return {"ntk": replicas.astype(np.float64)}

    monkeypatch.setattr(chunks, "DEVICE_BYTES", SMALL)
    monkeypatch.setattr(train, "_kernels", compute)
    this = study()
    cell, shared = cells(this, "kernel")[0], World.of(this, emulated())
    size = chunks.device_size(this, cell)
    assert size & (size - 1) == 0
    assert 1 < size < 40
    for first, count in ((0, 40), (3, 1), (5, size), (size, size)):
        seen.clear()
        found = block_values(this, emulated(), shared, Block(cell, first, count))
        assert list(found["ntk"]) == list(range(first, first + count))
        wanted = range(first // size, (first + count - 1) // size + 1)
        assert seen == [tuple(range(k * size, (k + 1) * size)) for k in wanted]


@pytest.mark.parametrize("work", [2**19, 2**33])
def test_blocks_of_a_chunk_are_computed_at_once_on_a_gpu(work: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each block is in one group, and what a group spans is no more than a chunk, or a block where that is larger."""
    monkeypatch.setattr(plan, "BLOCK_WORK", work)
    monkeypatch.setattr(chunks, "DEVICE_BYTES", SMALL)
    this = study()
    for cell in plan.cells(this):
        blocks = list(plan.blocks(this, cell))
        there = blocks[:1] + blocks[2:]  # the second has a shard already
        groups = chunks.grouped(this, emulated(), there)
        assert [block for _, members in groups for block in members] == there
        largest = max(chunks.device_size(this, cell), plan.block_size(this, cell))
        for whole, members in groups:
            assert whole.first // largest == (whole.first + whole.count - 1) // largest
            assert {whole.first} == {members[0].first}
            for block in members:
                rows = np.arange(whole.first, whole.first + whole.count)[chunks.place(block, whole)]
                assert list(rows) == list(range(block.first, block.first + block.count))
        assert chunks.grouped(this, host, there) == [(block, (block,)) for block in there]


def test_a_chunk_fits_whatever_the_width() -> None:
    this = study(fluctuation={"width": [8, 4096, 2**15], "replicas": 4})
    for cell in plan.cells(this):
        size = chunks.device_size(this, cell)
        assert size == 1 or size * plan.replica_bytes(this, cell) <= chunks.DEVICE_BYTES
        assert size == plan.MOST_IN_BLOCK or 2 * size * plan.replica_bytes(this, cell) > chunks.DEVICE_BYTES


@pytest.mark.needs_compiler
def test_networks_stay_on_the_device() -> None:
    this = study()
    drawn = world.draw(this, emulated(), this.elmans[0].elman, 8, np.arange(2, dtype=np.uint32))
    for array in (*drawn.recurrent, *drawn.below, *drawn.bias, drawn.output, *drawn.start):
        assert type(array).__name__ == "DeviceArray"


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("kind", plan.KINDS)
@pytest.mark.usefixtures("small_chunks")
def test_a_run_that_goes_on_writes_the_same(
    be: CudaBackend, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Several blocks to a chunk; two shards are lost, and computed again to the same bits; the others are kept."""
    this = study(
        networks=[{"activation": "erf", "layers": [2]}], fluctuation={"width": [16], "replicas": 12}, bias=None
    )
    (cell,) = cells(this, kind)
    monkeypatch.setattr(plan, "BLOCK_WORK", 2 * plan.replica_work(this, cell))
    assert (plan.block_size(this, cell), chunks.device_size(this, cell)) == (2, 4)
    layout = RntkLayout.of(this, tmp_path)

    def run() -> dict[Path, dict[str, Array]]:
        train.run(this, layout, cell.pack, MPI.COMM_SELF, be)
        return {path: shown(path) for path in sorted(layout.shards.rglob("*.h5"))}

    first = run()
    assert len(first) == 6
    for path in list(first)[1:3]:
        path.unlink()
    again = run()
    assert again.keys() == first.keys()
    for path, values in first.items():
        assert all(np.array_equal(values[name], again[path][name]) for name in train.VARIABLES[kind])
    expected, whole = computed(this, host, Block(cell, 0, 12)), shown(layout.networks(cell))
    for name, values in expected.items():
        np.testing.assert_allclose(whole[name], values, rtol=0, atol=1e-12 * np.abs(values).max(), err_msg=name)


def shown(path: Path) -> dict[str, Array]:
    with h5py.File(path) as file:
        return {name: file[name][()] for name in file}


@pytest.mark.needs_compiler
@pytest.mark.parametrize(("width", "lengths"), [(16, [20, 30, 40]), (90, [3, 4])])
def test_memory_of_a_chunk_is_counted(width: int, lengths: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    """Where sums over pairs of steps, and where matrices take most of it."""
    # The guard behind every array of the emulated device is not memory that the networks need.
    monkeypatch.setattr(emulation, "GUARD", emulation.GUARD[:16])
    ladder, few = {"width": [width], "replicas": 3}, {"trained": 2, "steps": 2}
    both = [{"activation": "erf", "layers": [1, 3]}]
    this = study(
        networks=both, sequences={"lengths": lengths}, fluctuation=ladder, bias=None, training={**ladder, **few}
    )
    be = emulated()
    shared, replicas = World.of(this, be), np.arange(3, dtype=np.uint32)
    for cell in plan.cells(this):
        compute = train._kernels if cell.kind == "kernel" else train._descent
        tracemalloc.start()
        compute(this, be, shared, cell, replicas, lambda _: None)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert 0.6 < peak / 3 / plan.replica_bytes(this, cell) < 1.1, cell
