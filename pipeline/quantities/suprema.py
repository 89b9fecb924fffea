"""The largest value of a quantity over the checkpoints: what statements on the supremum over time are about."""

from __future__ import annotations

from dataclasses import dataclass

from rnnlimits.quantities.base import Quantity, When, register, registered
from rnnlimits.quantities.trained import TrainedQuantity
from rnnlimits.statistics.ratefile import Rate

ESTIMATOR = "sup over t"


@dataclass(frozen=True, kw_only=True)
class SupremumQuantity(Quantity):
    """The largest value over the checkpoints of a quantity of trained networks, `base`, where that is predicted."""

    base: TrainedQuantity
    when: When = "end"


def _supremum(base: TrainedQuantity) -> SupremumQuantity:
    return SupremumQuantity(
        name=base.name,
        estimator=f"{base.estimator}, {ESTIMATOR}",
        variable=base.variable,
        title=f"{base.title}, largest over the checkpoints",
        ordinate=base.ordinate,
        units=base.units,
        expected_kind=base.expected_kind,
        sources=base.sources,
        beside=(base.key, *base.beside),
        base=base,
    )


def is_supremum(rate: Rate) -> bool:
    """Whether a row is that of the largest value over the checkpoints."""
    return rate.estimator.endswith(f", {ESTIMATOR}")


def base_of(rate: Rate) -> tuple[str, str]:
    """The key of a row's quantity at single checkpoints."""
    return rate.quantity, rate.estimator.removesuffix(f", {ESTIMATOR}")


for _base in list(registered(TrainedQuantity)):
    if _base.supremum:
        register(_supremum(_base))
