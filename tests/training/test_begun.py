"""Blocks that the plan chooses: worth a shard, independent of the replicas, and those that shards were begun with."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import runs

from rnnlimits import experiments
from rnnlimits.study import Study, load
from rnnlimits.training import begun, plan
from rnnlimits.training.layout import Layout
from rnnlimits.training.plan import Block

UNNAMED = {"replicas_per_block": None, "replicas": 5000, "loss_bins": 1}


def study(folder: Path, **training: object) -> Study:
    return load(runs.write_study(folder, training={**UNNAMED, **training}))


def made(layout: Layout, of: Study, *rows: tuple[int, int]) -> plan.Cell:
    """The first cell, with empty files in place of shards of these rows."""
    cell = plan.cells(of)[0]
    for first, last in rows:
        path = layout.shard(Block(cell, first, last - first + 1), plan.cell_id(of, cell))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return cell


def sizes(of: Study, layout: Layout, cell: plan.Cell) -> list[int]:
    return [block.count for block in begun.blocks(of, layout, cell, plan.cell_id(of, cell))]


def test_a_cheap_replica_makes_large_blocks_and_a_dear_one_small_ones(tmp_path: Path) -> None:
    of = study(tmp_path, width=[16, 1024, 8192], horizon=2.0, checkpoints=[2.0])
    counts = {cell.width: plan.blocks(of, cell)[0].count for cell in plan.cells(of)}
    assert counts == {16: 1024, 1024: 128, 8192: 16}  # 2 N^2 unit-steps for each replica, 2^28 for a block


def test_more_replicas_keep_the_blocks_that_exist(tmp_path: Path) -> None:
    few, many = study(tmp_path), study(tmp_path, replicas=9000)
    for before, after in zip(plan.cells(few), plan.cells(many), strict=True):
        kept = [(block.first, block.count) for block in plan.blocks(few, before)[:-1]]
        assert kept == [(block.first, block.count) for block in plan.blocks(many, after)][: len(kept)]
        assert sum(block.count for block in plan.blocks(many, after)) == 9000


def test_values_of_a_replica_that_take_much_memory_make_small_blocks(tmp_path: Path) -> None:
    of = load(runs.write_study(tmp_path, training=UNNAMED, probes={"count": 512, "length": 256}))
    assert {plan.block_size(of, cell) for cell in plan.cells(of)} == {32}  # 2^22 / (512 256)


def test_a_size_that_is_named_holds(tmp_path: Path) -> None:
    of = study(tmp_path, replicas=64, replicas_per_block=8)
    layout = Layout(tmp_path / "results")
    assert sizes(of, layout, made(layout, of, (0, 15), (16, 31))) == [8] * 8


@pytest.mark.parametrize(
    ("rows", "size"),
    [
        ([(0, 15)], 16),  # as older versions wrote them
        ([(16, 31), (48, 63)], 16),  # killed before the first was done
        ([(4960, 4999)], 1024),  # a last block says nothing: it may be cut short
        ([(0, 31), (0, 15), (16, 31), (32, 47)], 16),  # most rows
        ([], 1024),
    ],
)
def test_a_cell_goes_on_with_the_blocks_of_its_shards(tmp_path: Path, rows: list[tuple[int, int]], size: int) -> None:
    of, layout = study(tmp_path), Layout(tmp_path / "results")
    cell = made(layout, of, *rows)
    found = sizes(of, layout, cell)
    assert set(found[:-1]) == {size}
    assert sum(found) == 5000
    part = next(part for part in experiments.of(of, tmp_path / "r").parts() if part.name == cell.pack)
    assert part.ensembles[0].rows == 5000


def test_a_single_block_that_was_whole_stays_when_replicas_are_added(tmp_path: Path) -> None:
    of, layout = study(tmp_path, replicas=9000), Layout(tmp_path / "results")
    assert sizes(of, layout, made(layout, of, (0, 999)))[:2] == [1000, 1000]


def test_twins_go_on_with_the_blocks_of_their_shards(tmp_path: Path) -> None:
    path = runs.write_study(tmp_path, training=UNNAMED, twin={"follow": True})
    of, layout = load(path), Layout(tmp_path / "results")
    twin = plan.twins(of)[0]
    identity = plan.twin_id(of, twin)
    whole = begun.twin_blocks(of, layout, twin, identity)
    shard = layout.twin_shard(replace(whole[0], count=8), identity)
    shard.parent.mkdir(parents=True)
    shard.touch()
    assert [block.count for block in whole][:2] == [1024, 1024]
    assert {block.count for block in begun.twin_blocks(of, layout, twin, identity)} <= {8, 4}


def test_pairs_are_never_cut(tmp_path: Path) -> None:
    with pytest.raises(Exception, match=r"training\.replicas has 7; allowed: even \(antithetic pairs\)"):
        study(tmp_path, replicas=7)
