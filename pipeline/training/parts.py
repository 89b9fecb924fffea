"""The parts of a study of trainings: the draws, the twins of one K, the cells of one (N, K)."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING

from rnnlimits.kernels import launch
from rnnlimits.plan.files import ENSEMBLES, JOINED, MACHINE, RANGE, SAVED
from rnnlimits.plan.parts import Block, Ensemble, FileKind, Output, Part
from rnnlimits.study import Study
from rnnlimits.training import begun, plan
from rnnlimits.training.checks import MOST_FEATURES
from rnnlimits.training.layout import Layout
from rnnlimits.training.plan import Cell, Twin

if TYPE_CHECKING:  # importing MPI starts it
    from mpi4py import MPI

    from rnnlimits.kernels.interface import Backend

_TRAINING = ("cell_id", "cell", "beta", "width", "steps_per_time", "depth", "alpha", "horizon")
_TWIN = ("twin_id", "steps_per_time", "alpha", "horizon")
TRAIN_SHARD = FileKind("train-shard", (*_TRAINING, *MACHINE, *RANGE))
TRAIN_STATE = FileKind("train-state", (*TRAIN_SHARD.attributes, *SAVED))
TRAIN_ENSEMBLE = FileKind("train-ensemble", (*_TRAINING, *JOINED), caption=ENSEMBLES, folder="train")
DRAW_SHARD = FileKind("draw-shard", ("draw_id", "block", "exact", *MACHINE))
DRAW = FileKind("draw", ("draw_id", "exact", *MACHINE), "draw.h5")
TWIN_SHARD = FileKind("twin-shard", (*_TWIN, *MACHINE, *RANGE))
TWIN_STATE = FileKind("twin-state", (*TWIN_SHARD.attributes, *SAVED))
TWIN_ENSEMBLE = FileKind("twin-ensemble", (*_TWIN, *JOINED), folder="twin")
_RICH = ("richness", "steps_per_time", "depth", "alpha", "horizon")
RICH_SHARD = FileKind("rich-shard", ("rich_id", *_RICH, *MACHINE, *RANGE))
RICH_STATE = FileKind("rich-state", (*RICH_SHARD.attributes, *SAVED))
RICH_ENSEMBLE = FileKind("rich-ensemble", ("rich_id", *_RICH, *JOINED), folder="rich")
TANGENTS_SHARD = FileKind("tangents-shard", ("tangents_id", *_RICH, *MACHINE, *RANGE))
TANGENTS_ENSEMBLE = FileKind("tangents-ensemble", ("tangents_id", *_RICH, *JOINED), folder="tangents")
FILES = (
    *(TRAIN_SHARD, TRAIN_STATE, TRAIN_ENSEMBLE),
    *(DRAW_SHARD, DRAW),
    *(TWIN_SHARD, TWIN_STATE, TWIN_ENSEMBLE),
    *(RICH_SHARD, RICH_STATE, RICH_ENSEMBLE),
    *(TANGENTS_SHARD, TANGENTS_ENSEMBLE),
)

# Measured on one core, in unit-steps in double precision: a draw or a twin's step, for each of its features.
DRAW_FEATURE = 30.0
TWIN_FEATURE = 4.0
RICH_NODE = 1.3
TANGENT_NODE = 1.0  # for each node and each direction

PATH_STEPS = 1024  # steps of a path that a twin holds at a time


def parts(study: Study, layout: Layout) -> tuple[Part, ...]:
    """Every part, in the order of work: draws, twins by K, rich twins, tangents, packs by width."""
    twins = (_twin(study, layout, twin) for twin in plan.twins(study))
    rich = [_rich(study, layout)] if plan.rich_twins(study) else []
    tangents = [_tangents(study, layout)] if plan.tangent_twins(study) else []
    return (_draw(study, layout), *twins, *rich, *tangents, *packs(study, layout))


def packs(study: Study, layout: Layout) -> Iterator[Part]:
    """The packs of trainings."""
    return (_pack(study, layout, name, cells) for name, cells in plan.packs(study).items())


def _features(study: Study) -> int:
    return study.limit.nodes * (1 + study.dimension)


def _draw(study: Study, layout: Layout) -> Part:
    identity, count = plan.draw_id(study), plan.draw_blocks(study)
    work, features = plan.draw_steps(study), _features(study)
    paths = (layout.draw_shard(index, identity) for index in range(count))
    ensemble = Ensemble(
        name="draw",
        output=Output(layout.draw, DRAW),
        shard=DRAW_SHARD,
        identity=identity,
        blocks=tuple(Block(path, None, work, work * features * DRAW_FEATURE) for path in paths),
        bytes=0 if plan.has_exact_law(study) else plan.draw_bytes(study),
        is_virtual=False,
    )
    return Part(
        name="draw",
        label="draw",
        unit="draws",
        identity=identity,
        ensembles=(ensemble,),
        run=partial(_run_draw, study, layout),
        command="draw",
        operation="unit-steps",
        megabytes=8e-6 * min(features, MOST_FEATURES) ** 2 * (4 + count),
    )


def _run_draw(study: Study, layout: Layout, comm: MPI.Intracomm, be: Backend) -> None:
    from rnnlimits.training import draw

    draw.run(study, layout, comm, be)


def _twin(study: Study, layout: Layout, twin: Twin) -> Part:
    name, blocks = f"twin-K{twin.steps_per_time:05d}", plan.twin_blocks(study, twin)
    return Part(
        name=name,
        label="twin",
        unit="steps",
        identity=(plan.twin_id(study, twin), twin.paths),
        ensembles=(_twin_ensemble(study, layout, twin, name),),
        run=partial(_run_twin, study, layout, twin.steps_per_time),
        command="twin",
        option=("steps", twin.steps_per_time),
        operation="unit-steps",
        megabytes=8e-6 * blocks[0].count * (_features(study) + PATH_STEPS * (4 + study.dimension)),
    )


def _twin_ensemble(study: Study, layout: Layout, twin: Twin, name: str) -> Ensemble:
    identity, features = plan.twin_id(study, twin), _features(study)
    blocks = []
    for block in begun.twin_blocks(study, layout, twin, identity):
        work = plan.twin_steps(block, study)
        paths = layout.twin_shard(block, identity), layout.twin_state(block, identity)
        blocks.append(Block(*paths, work, work * features * TWIN_FEATURE))
    steps = round(twin.steps_per_time * study.training.horizon)
    output = Output(layout.twin(twin), TWIN_ENSEMBLE)
    return Ensemble(name, output, TWIN_SHARD, identity, tuple(blocks), steps, length=twin.paths)


def _run_twin(study: Study, layout: Layout, steps: int, comm: MPI.Intracomm, be: Backend) -> None:
    from rnnlimits.training import twin

    twin.run(study, layout, steps, comm, be)


def node_count(study: Study, nodes: int) -> int:
    """About how many nodes stand for the units, with so many in W."""
    return nodes * study.rich.c_nodes * (study.rich.b_nodes if study.network.b.noise else 1)


def _rich(study: Study, layout: Layout) -> Part:
    nodes, ensembles = node_count(study, study.limit.nodes), []
    for twin in plan.rich_twins(study):
        identity, blocks = plan.rich_id(study, twin), []
        for block in plan.rich_blocks(study, twin):
            work, paths = plan.twin_steps(block, study), (layout.rich_shard, layout.rich_state)
            shard, state = (path(block, identity) for path in paths)
            blocks.append(Block(shard, state, work, work * nodes * RICH_NODE))
        steps = round(twin.steps_per_time * study.training.horizon)
        output = Output(layout.rich(twin), RICH_ENSEMBLE)
        ensemble = Ensemble(f"rich {twin.name}", output, RICH_SHARD, identity, tuple(blocks), steps, length=twin.paths)
        ensembles.append(ensemble)
    return Part(
        name="rich",
        label="rich",
        unit="steps",
        identity=tuple((ensemble.identity, ensemble.length) for ensemble in ensembles),
        ensembles=tuple(ensembles),
        run=partial(_run_rich, study, layout),
        operation="unit-steps",
        megabytes=8e-6 * study.training.paths_per_block * (16 * nodes + PATH_STEPS * (3 + study.dimension)),
    )


def _run_rich(study: Study, layout: Layout, comm: MPI.Intracomm, be: Backend) -> None:
    from rnnlimits.training import rich

    rich.run(study, layout, comm, be)


def _tangents(study: Study, layout: Layout) -> Part:
    nodes = node_count(study, study.limit.nodes)
    directions = node_count(study, study.rich.directions)
    ensembles = []
    for twin in plan.tangent_twins(study):
        identity, blocks = plan.tangents_id(study, twin), []
        for block in plan.tangent_blocks(study, twin):
            work = plan.twin_steps(block, study)
            shard = layout.tangents_shard(block, identity)
            blocks.append(Block(shard, None, work, work * nodes * directions * TANGENT_NODE))
        output, length = Output(layout.tangents(twin), TANGENTS_ENSEMBLE), twin.paths
        name = f"tangents {twin.name}"
        ensembles.append(Ensemble(name, output, TANGENTS_SHARD, identity, tuple(blocks), length=length))
    return Part(
        name="tangents",
        label="tangents",
        unit="steps",
        identity=tuple((ensemble.identity, ensemble.length) for ensemble in ensembles),
        ensembles=tuple(ensembles),
        run=partial(_run_tangents, study, layout),
        operation="unit-steps",
        megabytes=tangent_megabytes(study),
    )


def tangent_megabytes(study: Study) -> float:
    """Memory for all nodes and directions of the paths that are followed together, and their losses of a segment."""
    nodes, directions = node_count(study, study.limit.nodes), node_count(study, study.rich.directions)
    paths = max(1, min(plan.TANGENT_PATHS, plan.TANGENTS_AT_ONCE // (nodes * directions)))
    values = 2 * (study.dimension + 4 + max(study.training.depth))
    return 8e-6 * paths * directions * (nodes * values + PATH_STEPS * 4)


def _run_tangents(study: Study, layout: Layout, comm: MPI.Intracomm, be: Backend) -> None:
    from rnnlimits.training import tangents

    tangents.run(study, layout, comm, be)


def _pack(study: Study, layout: Layout, name: str, cells: tuple[Cell, ...]) -> Part:
    return Part(
        name=name,
        label=f"train {name}",
        unit="unit-steps",
        identity=tuple((plan.cell_id(study, cell), cell.replicas) for cell in cells),
        ensembles=tuple(_train_ensemble(study, layout, cell) for cell in cells),
        run=partial(_run_train, study, layout, name),
        command="train",
        option=("pack", name),
        operation="unit-steps",
        precision=study.precision,
        megabytes=max(state_megabytes(study, cell) for cell in cells),
    )


def _train_ensemble(study: Study, layout: Layout, cell: Cell) -> Ensemble:
    identity, blocks = plan.cell_id(study, cell), []
    for block in begun.blocks(study, layout, cell, identity):
        work = plan.unit_steps(block, study)
        blocks.append(Block(layout.shard(block, identity), layout.state(block, identity), work, work))
    return Ensemble(
        name=f"{cell.pack} {cell.name}",
        output=Output(layout.ensemble(cell), TRAIN_ENSEMBLE),
        shard=TRAIN_SHARD,
        identity=identity,
        blocks=tuple(blocks),
        steps=round(cell.steps_per_time * study.training.horizon),
        replicas=cell.replicas,
        cell=cell,
        bytes=plan.output_bytes(cell, study),
    )


def _run_train(study: Study, layout: Layout, pack: str, comm: MPI.Intracomm, be: Backend) -> None:
    from rnnlimits.training import train

    train.run(study, layout, pack, comm, be)


def state_megabytes(study: Study, cell: Cell) -> float:
    """Memory for the networks of one block and for what is recorded of them."""
    words = launch.words_per_unit(plan.kernel_training(study, cell))
    replicas = min(plan.block_size(study, cell), cell.replicas)
    values = len(study.training.checkpoints) * study.probes.count * (study.probes.length + 2)
    return 1e-6 * replicas * (4 * words * cell.width + 8 * values)
