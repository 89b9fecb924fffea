"""The effect of a greater depth of backpropagation: the same trainings at two depths, with common weights and data."""

from __future__ import annotations

from rnnlimits.quantities.base import Absent, Availability, N, register
from rnnlimits.quantities.kernel import MIXED
from rnnlimits.quantities.trained import Design, TrainedQuantity, Trainings, unknown_order, with_remark
from rnnlimits.statistics.bootstrap import Sample
from rnnlimits.statistics.samples import rms

NOT_PREDICTED = "its scatter is of third order in means over units, so that nothing predicts it"


def depth_gap(trainings: Trainings) -> Sample:
    """The output minus that of depth 1."""
    assert trainings.shallow is not None
    return rms(trainings.of_law(trainings.output - trainings.shallow))


def _with_depth_one(design: Design) -> Availability:
    return with_remark(f"{MIXED}; {NOT_PREDICTED}")(design) if design.shallow else Absent()


register(
    TrainedQuantity(
        name="depth_gap",
        estimator="beside depth 1",
        variable=N,
        title="Output compared with that of depth 1",
        expected_kind="",
        sources=("depths",),
        sample=depth_gap,
        expected=unknown_order,
        applies=_with_depth_one,
    )
)
