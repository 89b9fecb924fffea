"""Quantities of a whole study, which compute their own rows from any of its files."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from rnnlimits.quantities.base import Quantity
from rnnlimits.quantities.trained import Trainings
from rnnlimits.statistics.bootstrap import Array, Bootstrap
from rnnlimits.statistics.ratefile import Rate
from rnnlimits.training.plan import Cell, Twin

if TYPE_CHECKING:
    from rnnlimits.study import Study
    from rnnlimits.training.layout import Layout


class Results(Protocol):
    """The results of a study: paths of its files, and its ensembles as errors against the limit."""

    @property
    def study(self) -> Study:
        """The study."""

    @property
    def layout(self) -> Layout:
        """The paths of its files."""

    @property
    def cells(self) -> Sequence[Cell]:
        """Its cells."""

    def __call__(self, cell: Cell) -> Trainings:
        """Trainings of a cell. Raises StudyError if its ensemble is missing or belongs to another cell."""

    def twin(self, twin: Twin) -> Array:
        """Errors against the limit of all twins of one K at the final time, (path, probe)."""


@dataclass(frozen=True, kw_only=True)
class StudyQuantity(Quantity):
    """A quantity that computes its own rows. rates: the rows, empty if the study does not have it."""

    rates: Callable[[Results, Bootstrap], Iterator[Rate]]
