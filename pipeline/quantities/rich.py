"""Quantities of rich twins alone, as the richness goes to zero."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from rnnlimits.quantities.base import RICHNESS, Quantity, When, register
from rnnlimits.quantities.trained import Design
from rnnlimits.statistics.bootstrap import Array, Sample
from rnnlimits.statistics.samples import bias


@dataclass(frozen=True, kw_only=True)
class RichQuantity(Quantity):
    """A quantity of rich twins alone, along the ladder of the richness eps, in 1/eps.

    sample: statistics of their outputs less those of twins (path, probe). order: the expected order in eps.
    """

    sample: Callable[[Array], Sample]
    order: Callable[[Design], float]
    when: When = "end"


def _order(design: Design) -> float:
    """C and -C in place of C is eps and -eps: a symmetric law leaves even orders."""
    return 2.0 if design.symmetric else 1.0


register(
    RichQuantity(
        name="richness_bias",
        estimator="rich twin",
        variable=RICHNESS,
        title="Output of rich twins compared with the infinite-width twin",
        sources=("rich",),
        sample=bias,
        order=_order,
    )
)
