"""The table of what a study will cost on this machine, as `rnnlimits plan` prints it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rnnlimits.base.tables import duration, size_text
from rnnlimits.base.tables import table as columns


@dataclass(frozen=True)
class PackCost:
    """The size of a pack: cells, replicas, blocks, work in the unit of its kind of study, estimated bytes of output."""

    name: str
    cells: int
    replicas: int
    blocks: int
    work: int
    bytes: int


def total(packs: Sequence[PackCost], name: str) -> PackCost:
    """The sum of all packs."""
    cells, replicas, blocks, work, size = (
        sum(getattr(pack, field) for pack in packs) for field in ("cells", "replicas", "blocks", "work", "bytes")
    )
    return PackCost(name, cells, replicas, blocks, work, size)


def table(packs: Sequence[PackCost], whole: str, unit: str, ns_per_unit: float, worker: str = "core") -> list[str]:
    """Lines of the table: a row for each pack, and the total under the name `whole`.

    ns_per_unit: nanoseconds that one `worker` (core or GPU) takes for a unit of work.
    """
    header = ("pack", "cells", "replicas", "blocks", unit, f"{worker} time", "output")
    return columns(header, [_row(pack, ns_per_unit) for pack in (*packs, total(packs, whole))])


def _row(pack: PackCost, ns_per_unit: float) -> tuple[str, ...]:
    return (
        pack.name,
        str(pack.cells),
        str(pack.replicas),
        str(pack.blocks),
        f"{pack.work:.3g}",
        duration(pack.work * ns_per_unit / 1e9),
        size_text(pack.bytes),
    )
