"""What a study runs: cells, packs and blocks, their identities, their cost."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from rnnlimits.base.tables import size_text
from rnnlimits.kernels import launch
from rnnlimits.kernels.interface import Training
from rnnlimits.plan import costs
from rnnlimits.plan.costs import PackCost
from rnnlimits.plan.grid import by_pack
from rnnlimits.study import Study
from rnnlimits.study.grid import Axis as Axis
from rnnlimits.study.grid import Cell as Cell
from rnnlimits.study.grid import RichTwin as RichTwin
from rnnlimits.study.grid import Twin as Twin
from rnnlimits.study.grid import cell_at as cell_at
from rnnlimits.study.grid import cells as cells
from rnnlimits.study.grid import rich_ladder as rich_ladder
from rnnlimits.study.grid import rich_twin as rich_twin
from rnnlimits.study.grid import rich_twins as rich_twins
from rnnlimits.study.grid import tangent_twin as tangent_twin
from rnnlimits.study.grid import tangent_twins as tangent_twins
from rnnlimits.study.grid import twins as twins
from rnnlimits.study.identity import RANDOMNESS_VERSION as RANDOMNESS_VERSION
from rnnlimits.study.identity import cell_id as cell_id
from rnnlimits.study.identity import draw_id as draw_id
from rnnlimits.study.identity import identity as identity
from rnnlimits.study.identity import limit_id as limit_id
from rnnlimits.study.identity import poisson_id as poisson_id
from rnnlimits.study.identity import rich_id as rich_id
from rnnlimits.study.identity import study_id as study_id
from rnnlimits.study.identity import tangents_id as tangents_id
from rnnlimits.study.identity import twin_id as twin_id

BLOCK_UNIT_STEPS = 2**28  # of a block of trainings where the study names no size: tenths of a second of a core
BLOCK_WORDS = 2**25  # numbers that describe its units, at most
BLOCK_RECORDS = 2**22  # memories on the steps of its probe histories, at most
MOST_REPLICAS = 1024  # in such a block
TWIN_STEPS = 2**19  # steps of all paths in a block of twins, likewise
FILE_OVERHEAD = 40_000  # bytes of an HDF5 file in addition to its values: attributes, the study, dimension scales
RICH_STEPS = 2**21  # steps of all paths in a block of rich twins, about
TANGENT_PATHS = 16  # paths in a block of tangents
TANGENTS_AT_ONCE = 2**18  # nodes times directions of its paths that are followed together, about
TIME_SERIES = 6  # drift norms per replica and checkpoint


@dataclass(frozen=True)
class Block:
    """`count` consecutive replicas of a cell, starting at `first`: the unit of work and of restart, and one shard."""

    cell: Cell
    first: int
    count: int

    @property
    def name(self) -> str:
        """Its name, such as replicas-00000-00015, both ends included."""
        return f"replicas-{self.first:05d}-{self.first + self.count - 1:05d}"


def packs(study: Study) -> dict[str, tuple[Cell, ...]]:
    """The cells by pack, in the order of `cells`."""
    return by_pack(cells(study))


def block_size(study: Study, cell: Cell) -> int:
    """Replicas in a block: training.replicas_per_block, else as many as are worth a shard, a power of two.

    It depends on the cost of a replica alone, so that more replicas add blocks and keep those that exist.
    """
    if study.training.replicas_per_block is not None:
        return study.training.replicas_per_block
    words, probes = launch.words_per_unit(kernel_training(study, cell)), study.probes
    steps = round(cell.steps_per_time * study.training.horizon)
    most = (
        BLOCK_UNIT_STEPS // (cell.width * steps),
        BLOCK_WORDS // (cell.width * words),
        BLOCK_RECORDS // (probes.count * probes.length),
    )
    return _power_of_two(min(*most, MOST_REPLICAS), study.training.smallest_block)


def _power_of_two(most: int, least: int) -> int:
    """The largest power of two that is at most `most`; at least `least`."""
    return max(least, 1 << max(most, 1).bit_length() - 1)


def blocks(study: Study, cell: Cell, size: int | None = None) -> tuple[Block, ...]:
    """The cell's replicas cut into blocks of this size (default: `block_size`), in order; the last may be smaller."""
    size = size or block_size(study, cell)
    return tuple(Block(cell, first, min(size, cell.replicas - first)) for first in range(0, cell.replicas, size))


TwinKind = TypeVar("TwinKind", Twin, RichTwin)


@dataclass(frozen=True)
class PathBlock(Generic[TwinKind]):
    """`count` consecutive paths of twins, rich twins, or tangents: a unit of work, and one shard."""

    twin: TwinKind
    first: int
    count: int

    @property
    def name(self) -> str:
        """Its name, such as paths-00000-00015, both ends included."""
        return f"paths-{self.first:05d}-{self.first + self.count - 1:05d}"

    @property
    def paths(self) -> NDArray[np.uint32]:
        """The indices of its paths."""
        return np.arange(self.first, self.first + self.count, dtype=np.uint32)


TwinBlock = PathBlock[Twin]
RichBlock = PathBlock[RichTwin]


def twin_block_size(study: Study, twin: Twin) -> int:
    """Paths in a block of twins: those of the trainings' blocks, else as many as are worth a shard."""
    if study.training.replicas_per_block is not None:
        return study.training.paths_per_block
    steps = round(twin.steps_per_time * study.training.horizon)
    return _power_of_two(min(TWIN_STEPS // steps, MOST_REPLICAS), study.training.paths_per_block)


def twin_blocks(study: Study, twin: Twin, size: int | None = None) -> tuple[TwinBlock, ...]:
    """The paths cut into blocks of this size (default: `twin_block_size`), in order; the last may be smaller."""
    size = size or twin_block_size(study, twin)
    return tuple(TwinBlock(twin, first, min(size, twin.paths - first)) for first in range(0, twin.paths, size))


def rich_blocks(study: Study, twin: RichTwin) -> tuple[RichBlock, ...]:
    """The paths of a rich twin cut into blocks, in order: large ones, as a path takes far less than its trainings."""
    steps = round(twin.steps_per_time * study.training.horizon)
    size = max(study.training.paths_per_block, RICH_STEPS // steps)
    starts = range(0, twin.paths, size)
    return tuple(RichBlock(twin, first, min(size, twin.paths - first)) for first in starts)


def tangent_blocks(study: Study, twin: RichTwin) -> tuple[RichBlock, ...]:
    """The paths with tangents, cut into blocks: small ones, as a path takes as long as many trainings of its length."""
    count, size = twin.paths, TANGENT_PATHS
    return tuple(RichBlock(twin, first, min(size, count - first)) for first in range(0, count, size))


def has_exact_law(study: Study) -> bool:
    """Whether the stationary law of a study is known without drawing."""
    return study.chain.exact


def draw_blocks(study: Study) -> int:
    """Number of shards: one if the stationary law is exact."""
    return 1 if has_exact_law(study) else study.draws.blocks


def draw_steps(study: Study) -> int:
    """Number of draws in one block, for progress."""
    return study.draws.chains * study.draws.steps


def twin_steps(item: Twin | TwinBlock | RichBlock, study: Study) -> int:
    """Number of steps of all paths together."""
    twin, paths = (item.twin, item.count) if isinstance(item, PathBlock) else (item, item.paths)
    return round(twin.steps_per_time * study.training.horizon) * paths


def kernel_training(study: Study, cell: Cell) -> Training:
    """The cell in the form that the kernels take."""
    section = study.training
    return Training(
        width=cell.width,
        dimension=study.dimension,
        beta=cell.beta,
        steps_per_time=cell.steps_per_time,
        activation=study.activation,
        alpha=section.alpha,
        depth=cell.depth,
        clip=section.clip,
        update_b=section.update_b,
        precision=study.precision,
        unit_richness=cell.richness,
    )


# --- costs -------------------------------------------------------------------------------------------------


def unit_steps(item: Cell | Block, study: Study) -> int:
    """Unit updates N K T R of a cell or of a block."""
    cell, replicas = (item.cell, item.count) if isinstance(item, Block) else (item, item.replicas)
    return cell.width * round(cell.steps_per_time * study.training.horizon) * replicas


def output_bytes(cell: Cell, study: Study) -> int:
    """Estimated size of the cell's shards, uncompressed."""
    times = len(study.training.checkpoints)
    values = times * (2 * study.probes.count + TIME_SERIES) + study.training.loss_bins + 4
    return 8 * cell.replicas * values + FILE_OVERHEAD * len(blocks(study, cell))


def draw_bytes(study: Study) -> int:
    """Estimated size of the draw stage's shards and of their merged copy, uncompressed."""
    features = study.limit.nodes * (1 + study.dimension)
    draws = study.draws
    sample = draws.chains * draws.sample * (study.dimension + study.hidden + 2)
    couplings = draws.couplings * (2 * draws.coupling_steps + 1)
    return 2 * draws.blocks * (8 * (features**2 + features + sample + couplings) + FILE_OVERHEAD)


def summary(study: Study, ns_per_unit_step: float, worker: str = "core") -> str:
    """A printable table: for each pack its cells, replicas, blocks, unit-steps, core time, bytes; and totals.

    `ns_per_unit_step` is what one `worker` (core or GPU) of this machine takes, from a calibration.
    """
    hours = sum(unit_steps(cell, study) for cell in cells(study)) * ns_per_unit_step / 3.6e12
    notes = (
        f"{hours:.3g} {worker}-hours at {ns_per_unit_step:.3g} ns per unit-step in {study.precision}",
        _draws_note(study),
        f"study {study.name}, id {study_id(study)}",
    )
    rows = [pack_cost(name, members, study) for name, members in packs(study).items()]
    return "\n".join([*costs.table(rows, "all trainings", "unit-steps", ns_per_unit_step, worker), *notes])


def pack_cost(name: str, members: tuple[Cell, ...], study: Study) -> PackCost:
    """The size and cost of the cells of a pack."""
    return PackCost(
        name,
        cells=len(members),
        replicas=sum(cell.replicas for cell in members),
        blocks=sum(len(blocks(study, cell)) for cell in members),
        work=sum(unit_steps(cell, study) for cell in members),
        bytes=sum(output_bytes(cell, study) for cell in members),
    )


def _draws_note(study: Study) -> str:
    if has_exact_law(study):
        return "draws: none needed, the stationary law is exact"
    draws = study.draws
    return (
        f"draws: {draws.blocks} blocks of {draws.chains} chains x {draws.steps} draws, {size_text(draw_bytes(study))}"
    )
