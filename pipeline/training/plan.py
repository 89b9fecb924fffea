"""What a study runs: cells, packs and blocks, their identities, their cost."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnnlimits.base import tables as columns
from rnnlimits.kernels.problem import Training
from rnnlimits.study import Study
from rnnlimits.study.training import Product

RANDOMNESS_VERSION = 1  # raise it when the same seed comes to mean other numbers
ID_DIGITS = 12
FILE_OVERHEAD = 40_000  # bytes of an HDF5 file besides its values: attributes, the study, dimension scales
TIME_SERIES = 6  # drift norms per replica and checkpoint


@dataclass(frozen=True)
class Cell:
    """One point of the grid: `replicas` independent trainings at one beta, width N, K and depth tau."""

    beta: float
    width: int
    steps_per_time: int
    depth: int
    replicas: int

    @property
    def name(self) -> str:
        """beta0.6-depth1: the cell within its pack."""
        return f"beta{self.beta}-depth{self.depth}"

    @property
    def pack(self) -> str:
        """N00064-K00064: the cells of one (N, K), which one workflow job runs."""
        return f"N{self.width:05d}-K{self.steps_per_time:05d}"


@dataclass(frozen=True)
class Block:
    """`count` consecutive replicas of a cell from `first` on: the unit of work, of restart, one shard."""

    cell: Cell
    first: int
    count: int

    @property
    def name(self) -> str:
        """replicas-00000-00015, both ends included."""
        return f"replicas-{self.first:05d}-{self.first + self.count - 1:05d}"


def cells(study: Study) -> tuple[Cell, ...]:
    """Every cell of the grid and its ladders once, with the larger of two numbers of replicas.

    Sorted by width, K, beta and depth.
    """
    found: dict[tuple[int, int, float, int], Cell] = {}
    for part in study.training.products():
        for cell in _product_cells(part):
            point = (cell.width, cell.steps_per_time, cell.beta, cell.depth)
            if point not in found or cell.replicas > found[point].replicas:
                found[point] = cell
    return tuple(found[point] for point in sorted(found))


def _product_cells(part: Product) -> Iterator[Cell]:
    widths = zip(part.width, part.replicas, strict=True)
    for (width, replicas), k, beta, depth in product(widths, part.steps_per_time, part.beta, part.depth):
        yield Cell(beta, width, width if k == "width" else k, depth, replicas)


def packs(study: Study) -> dict[str, tuple[Cell, ...]]:
    """The cells by pack, in the order of `cells`."""
    grouped: dict[str, tuple[Cell, ...]] = {}
    for cell in cells(study):
        grouped[cell.pack] = (*grouped.get(cell.pack, ()), cell)
    return grouped


def blocks(study: Study, cell: Cell) -> tuple[Block, ...]:
    """The cell's replicas cut into blocks of training.replicas_per_block, in order."""
    size = study.training.replicas_per_block
    return tuple(Block(cell, first, size) for first in range(0, cell.replicas, size))


@dataclass(frozen=True)
class Twin:
    """The twins of one K, on paths 0 .. paths - 1 of the chain."""

    steps_per_time: int
    paths: int


@dataclass(frozen=True)
class TwinBlock:
    """`count` consecutive paths of the twins of one K: a unit of work, one shard."""

    twin: Twin
    first: int
    count: int

    @property
    def name(self) -> str:
        """paths-00000-00015, both ends included."""
        return f"paths-{self.first:05d}-{self.first + self.count - 1:05d}"

    @property
    def paths(self) -> NDArray[np.uint32]:
        """Their indices."""
        return np.arange(self.first, self.first + self.count, dtype=np.uint32)


def twins(study: Study) -> tuple[Twin, ...]:
    """Every K that has twins once, with as many paths as its largest cell or the twins' own ladder needs."""
    paths = dict.fromkeys(study.twin.steps_per_time, study.twin.paths)
    for cell in cells(study) if study.twin.follow else ():
        needed = cell.replicas // 2 if study.training.antithetic else cell.replicas
        paths[cell.steps_per_time] = max(needed, paths.get(cell.steps_per_time, 0))
    return tuple(Twin(k, paths[k]) for k in sorted(paths))


def twin_blocks(study: Study, twin: Twin) -> tuple[TwinBlock, ...]:
    """The paths cut into blocks as those of the trainings are, in order."""
    size = study.training.paths_per_block
    return tuple(TwinBlock(twin, first, size) for first in range(0, twin.paths, size))


def has_exact_law(study: Study) -> bool:
    """Whether the stationary law of a study is known without drawing."""
    return study.chain.exact


def draw_blocks(study: Study) -> int:
    """Number of shards: one where the stationary law is exact."""
    return 1 if has_exact_law(study) else study.draws.blocks


def draw_steps(study: Study) -> int:
    """Draws in one block, for progress."""
    return study.draws.chains * study.draws.steps


def twin_steps(item: Twin | TwinBlock, study: Study) -> int:
    """Steps of all paths together."""
    twin, paths = (item.twin, item.count) if isinstance(item, TwinBlock) else (item, item.paths)
    return round(twin.steps_per_time * study.training.horizon) * paths


def kernel_training(study: Study, cell: Cell) -> Training:
    """The cell as the kernels take it."""
    section = study.training
    return Training(
        width=cell.width,
        dimension=study.dimension,
        beta=cell.beta,
        steps_per_time=cell.steps_per_time,
        activation=study.network.activation,
        alpha=section.alpha,
        depth=cell.depth,
        clip=section.clip,
        update_b=section.update_b,
        precision=study.precision,
    )


# --- identities --------------------------------------------------------------------------------------------


def cell_id(study: Study, cell: Cell) -> str:
    """12 hexadecimal digits of exactly what changes the numbers of a replica of the cell.

    Not in it: the study's name, paths, other cells, how many replicas there are, how they are cut into blocks.
    """
    return identity({**_world(study), **_training(study), **_point(cell)})


def draw_id(study: Study) -> str:
    """12 hexadecimal digits of what changes the draw stage and the limit."""
    return identity({**_world(study), **_draws(study)})


def twin_id(study: Study, twin: Twin) -> str:
    """12 hexadecimal digits of what changes the numbers of one twin."""
    keys = {"alpha", "horizon", "checkpoints", "loss_bins"}
    clock = study.training.model_dump(mode="json", include=keys)
    return identity({**_world(study), **_nodes(study), "training": clock, "steps_per_time": twin.steps_per_time})


def limit_id(study: Study) -> str:
    """12 hexadecimal digits of what changes the limit: the draws, and the training's clock."""
    keys = {"alpha", "horizon", "checkpoints"}
    clock = study.training.model_dump(mode="json", include=keys)
    return identity({"draws": draw_id(study), "training": clock})


def study_id(study: Study) -> str:
    """12 hexadecimal digits of what changes any result of the study."""
    grid = [{**_point(cell), "replicas": cell.replicas} for cell in cells(study)]
    alone = {"twins": [asdict(twin) for twin in twins(study)]} if twins(study) else {}
    return identity({**_world(study), **_training(study), **_draws(study), "cells": grid, **alone})


def _world(study: Study) -> dict[str, Any]:
    """What every stage sees."""
    values = _dump(study, "seed", "target", "network", "probes")
    return {**values, "chain": study.chain.identity(study.source), "randomness": RANDOMNESS_VERSION}


def _draws(study: Study) -> dict[str, Any]:
    return {**_dump(study, "draws"), **_nodes(study)}


def _nodes(study: Study) -> dict[str, Any]:
    """The kind of nodes counts, not whether it was left to its default."""
    return {"limit": {"nodes": study.limit.nodes, "features": study.features}}


def _training(study: Study) -> dict[str, Any]:
    keys = {"alpha", "horizon", "checkpoints", "clip", "update_b", "antithetic", "loss_bins"}
    if study.training.kernel:  # otherwise nothing is measured that was not before there was such a key
        keys.add("kernel")
    return {**_dump(study, "precision"), "training": study.training.model_dump(mode="json", include=keys)}


def _point(cell: Cell) -> dict[str, Any]:
    return {
        "beta": cell.beta,
        "width": cell.width,
        "steps_per_time": cell.steps_per_time,
        "depth": cell.depth,
    }


def _dump(study: Study, *keys: str) -> dict[str, Any]:
    return study.model_dump(mode="json", include=set(keys))


def identity(values: dict[str, Any]) -> str:
    """12 hexadecimal digits of values in canonical JSON.

    The types of the study have made 1 and 1.0 the same already; sorting takes care of the order of keys.
    """
    text = json.dumps(values, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:ID_DIGITS]


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
    rows = [_row(name, members, study, ns_per_unit_step) for name, members in packs(study).items()]
    rows.append(_row("all trainings", cells(study), study, ns_per_unit_step))
    header = ("pack", "cells", "replicas", "blocks", "unit-steps", f"{worker} time", "output")
    hours = sum(unit_steps(cell, study) for cell in cells(study)) * ns_per_unit_step / 3.6e12
    notes = (
        f"{hours:.3g} {worker}-hours at {ns_per_unit_step:.3g} ns per unit-step in {study.precision}",
        _draws_note(study),
        "starts of the parts, draws, twins, limit, figures and report come on top: about a minute of a small study",
        f"study {study.name}, id {study_id(study)}",
    )
    return "\n".join([*table(header, rows), *notes])


def _draws_note(study: Study) -> str:
    if has_exact_law(study):
        return "draws: none needed, the stationary law is exact"
    draws = study.draws
    return (
        f"draws: {draws.blocks} blocks of {draws.chains} chains x {draws.steps} draws, {size_text(draw_bytes(study))}"
    )


def _row(name: str, members: Iterable[Cell], study: Study, ns_per_unit_step: float) -> tuple[str, ...]:
    members = tuple(members)
    steps = sum(unit_steps(cell, study) for cell in members)
    return (
        name,
        str(len(members)),
        str(sum(cell.replicas for cell in members)),
        str(sum(len(blocks(study, cell)) for cell in members)),
        f"{steps:.3g}",
        duration(steps * ns_per_unit_step / 1e9),
        size_text(sum(output_bytes(cell, study) for cell in members)),
    )


def table(header: tuple[str, ...], rows: list[tuple[str, ...]]) -> list[str]:
    """Lines of a table: the first column to the left, the others to the right; the last row under a rule.

    Where the terminal is too narrow for it, a block of lines for each row.
    """
    widths = [max(len(row[i]) for row in (header, *rows)) for i in range(len(header))]
    lines = [_aligned(row, widths) for row in (header, *rows)]
    if not columns.fits(lines, width := columns.terminal_width()):
        return [line for row in rows for line in columns.block(header, row, width)]
    return [*lines[:-1], "-" * len(lines[0]), lines[-1]]


def _aligned(row: tuple[str, ...], widths: list[int]) -> str:
    first, *others = (cell.rjust(width) for cell, width in zip(row, widths, strict=True))
    return "  ".join([first.strip().ljust(widths[0]), *others])


def duration(seconds: float) -> str:
    """A length of time in two or three digits and the unit that suits it."""
    for unit, length in (("ms", 1e-3), ("s", 1.0), ("min", 60.0)):
        if seconds < 100 * length:
            return f"{seconds / length:.2g} {unit}"
    return f"{seconds / 3600:.3g} h"


def size_text(count: float) -> str:
    """Bytes for people: 812 B, 3.1 kB, 20 MB."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} TB"
