"""How far the parameters of trained networks move."""

from __future__ import annotations

from rnnlimits.quantities.base import Absent, Applies, Availability, N, register
from rnnlimits.quantities.prediction import drift_of
from rnnlimits.quantities.trained import (
    Design,
    TrainedQuantity,
    at_every_checkpoint,
    drift_corrections,
    drift_order,
    even_bias_order,
)
from rnnlimits.statistics.samples import average, rms


def _b_is_trained(design: Design) -> Availability:
    return Applies() if design.trains_b else Absent()


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
        in_time=at_every_checkpoint,
    )
)
register(
    TrainedQuantity(
        name="drift_rms",
        estimator="plain",
        variable=N,
        title="Drift of the output weights",
        ordinate="root mean square over replicas and units",
        sample=lambda t: rms(t.of_law(t.drift_rms)[..., None]),
        expected=drift_order,
        corrections=drift_corrections,
        predicted=drift_of("drift_c"),
        in_time=at_every_checkpoint,
    )
)
register(
    TrainedQuantity(
        name="drift_b",
        estimator="plain",
        variable=N,
        title="Drift of B",
        ordinate="root mean square over replicas and units",
        sample=lambda t: rms(t.of_law(t.drift_b)[..., None]),
        expected=even_bias_order,
        applies=_b_is_trained,
        corrections=drift_corrections,
        predicted=drift_of("drift_b"),
        in_time=at_every_checkpoint,
    )
)
