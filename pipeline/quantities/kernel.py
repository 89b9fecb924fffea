"""The empirical tangent kernel on the probes (training.kernel): its error at the start, its parts, its change."""

from __future__ import annotations

from collections.abc import Callable

from rnnlimits.quantities import kernel_prediction
from rnnlimits.quantities.base import Absent, Applies, Availability, N, register
from rnnlimits.quantities.trained import (
    Design,
    TrainedQuantity,
    Trainings,
    at_every_checkpoint,
    bias_corrections,
    bias_order,
    first_order,
    mean_corrections,
    rms_of,
    square_root_order,
    unknown_order,
    with_remark,
)
from rnnlimits.statistics.bootstrap import Sample
from rnnlimits.statistics.samples import bias, of_pairs

OVER_REPLICAS = "root mean square over replicas"
MIXED = "orders N^-1 (present from the start) and N^-2(1 - beta) (from training) mix: no order at infinity is known"


def mean_drift(trainings: Trainings) -> Sample:
    """Mean of pairs if a pair mean has the study's bias: the part that is odd in C cancels."""
    along = trainings.final["ntk_drift_along"]
    if trainings.antithetic and trainings.symmetric:
        return of_pairs(bias(along.mean(1)[:, None]))
    return bias(along[:, :1])


def _measured(remark: str = "") -> Callable[[Design], Availability]:
    return lambda design: with_remark(remark)(design) if design.kernel else Absent()


def _measured_at_start(design: Design) -> Availability:
    return Applies() if design.kernel and design.initial else Absent()


register(
    TrainedQuantity(
        name="ntk_initial_error",
        estimator="plain",
        variable=N,
        title="Empirical kernel at initialisation, relative error",
        ordinate=OVER_REPLICAS,
        sample=rms_of("initial", "ntk_error"),
        predicted=kernel_prediction.initial_error,
        expected=square_root_order,
        corrections=mean_corrections,
        applies=_measured_at_start,
        when="start",
    )
)
register(
    TrainedQuantity(
        name="ntk_eigenvalue",
        estimator="plain",
        variable=N,
        title="Leading eigenvalues of the initial kernel, relative error",
        ordinate="root mean square over replicas and eigenvalues",
        sample=rms_of("initial", "ntk_eigenvalue_error"),
        predicted=kernel_prediction.initial_eigenvalues,
        expected=square_root_order,
        corrections=mean_corrections,
        applies=_measured_at_start,
        when="start",
    )
)
register(
    TrainedQuantity(
        name="ntk_b_part",
        estimator="initial",
        variable=N,
        title="Part of B in the initial kernel",
        ordinate=OVER_REPLICAS,
        sample=rms_of("initial", "ntk_b_part"),
        predicted=kernel_prediction.initial_b_part,
        expected=first_order,
        applies=_measured_at_start,
        when="start",
    )
)
register(
    TrainedQuantity(
        name="ntk_b_part",
        estimator="trained",
        variable=N,
        title="Part of B in the trained kernel",
        ordinate=OVER_REPLICAS,
        expected_kind="",
        sample=rms_of("final", "ntk_b_part"),
        expected=unknown_order,
        applies=_measured(MIXED),
        in_time=at_every_checkpoint,
    )
)
register(
    TrainedQuantity(
        name="ntk_past_part",
        estimator="initial",
        variable=N,
        title="Part of earlier steps in the initial kernel",
        ordinate=OVER_REPLICAS,
        sample=rms_of("initial", "ntk_past_part"),
        expected=first_order,
        applies=_measured_at_start,
        when="start",
    )
)
register(
    TrainedQuantity(
        name="ntk_past_part",
        estimator="trained",
        variable=N,
        title="Part of earlier steps in the trained kernel",
        ordinate=OVER_REPLICAS,
        expected_kind="",
        sample=rms_of("final", "ntk_past_part"),
        expected=unknown_order,
        applies=_measured(MIXED),
        in_time=at_every_checkpoint,
    )
)
register(
    TrainedQuantity(
        name="ntk_drift",
        estimator="norm",
        variable=N,
        title="Change of the empirical kernel in training",
        ordinate=OVER_REPLICAS,
        expected_kind="",
        sample=rms_of("final", "ntk_drift"),
        predicted=kernel_prediction.drift_norm,
        expected=unknown_order,
        applies=_measured("the mean's order and the fluctuation's N^-(3/2 - beta) mix: no order at infinity is known"),
        in_time=at_every_checkpoint,
        predicted_in_time=False,
    )
)
register(
    TrainedQuantity(
        name="ntk_drift",
        estimator="mean along the limit",
        variable=N,
        title="Mean change of the empirical kernel along the limit's",
        ordinate="absolute value of the mean",
        sample=mean_drift,
        predicted=kernel_prediction.drift_along,
        expected=bias_order,
        corrections=bias_corrections,
        applies=_measured(),
        in_time=at_every_checkpoint,
        predicted_in_time=False,
    )
)
