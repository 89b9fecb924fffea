"""How far the parameters of trained networks move."""

from __future__ import annotations

from rnnlimits.quantities.base import N, register
from rnnlimits.quantities.trained import (
    TrainedQuantity,
    drift_corrections,
    drift_order,
)
from rnnlimits.statistics.samples import average

register(
    TrainedQuantity(
        name="drift",
        estimator="plain",
        variable=N,
        title="Largest drift of an output weight",
        ordinate="mean over replicas",
        sample=lambda t: average(t.of_law(t.drift)),
        expected=drift_order,
        corrections=drift_corrections,
    )
)
