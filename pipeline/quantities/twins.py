"""Quantities of infinite-width twins alone, as K grows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from rnnlimits.quantities.base import K, Quantity, When, register
from rnnlimits.statistics.bootstrap import Array, Sample
from rnnlimits.statistics.corrections import USUAL
from rnnlimits.statistics.samples import bias, spread


@dataclass(frozen=True, kw_only=True)
class TwinQuantity(Quantity):
    """A quantity of twins alone, along the ladder of all their K.

    sample: statistics of their errors against the limit (path, probe). expected: the exponent at infinity.
    against_limit: whether the limit's own error enters. corrections: orders of what is left out at finite K.
    without_leading: whether the leading noise of each path (poisson.h5) is subtracted from its error.
    """

    sample: Callable[[Array], Sample]
    expected: float
    against_limit: bool = False
    corrections: tuple[float, ...] = USUAL
    when: When = "end"
    without_leading: bool = False


register(
    TwinQuantity(
        name="sgd_noise",
        estimator="twin",
        variable=K,
        title="Noise of one-pass training, infinite width",
        sources=("twin",),
        sample=lambda error: spread(error[:, None]),
        expected=0.5,
    )
)
register(
    TwinQuantity(
        name="sgd_bias",
        estimator="twin",
        variable=K,
        title="Bias of one-pass training, infinite width",
        sources=("twin",),
        sample=bias,
        expected=1.0,
        beside=(("sgd_bias", "less leading noise"),),
        against_limit=True,
    )
)
register(
    TwinQuantity(
        name="sgd_bias",
        estimator="less leading noise",
        variable=K,
        title="Bias of one-pass training, infinite width",
        sources=("twin", "poisson"),
        sample=bias,
        expected=1.0,
        without_leading=True,  # the mean of what is subtracted has the limit's error too, to first order
    )
)
