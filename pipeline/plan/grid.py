"""Cells of a grid, grouped into packs: what one job of the workflow runs."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol, TypeVar


class InPack(Protocol):
    """A cell of any kind of study."""

    @property
    def pack(self) -> str:
        """The name of its pack."""


C = TypeVar("C", bound=InPack)


def by_pack(cells: Iterable[C]) -> dict[str, tuple[C, ...]]:
    """The cells grouped by pack, in their original order."""
    grouped: dict[str, tuple[C, ...]] = {}
    for cell in cells:
        grouped[cell.pack] = (*grouped.get(cell.pack, ()), cell)
    return grouped
