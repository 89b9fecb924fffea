"""The effect of a greater depth of backpropagation: the same trainings at two depths, with common weights and data."""

from __future__ import annotations

import math

import numpy as np

from rnnlimits.quantities.base import Absent, Applies, Availability, N, register
from rnnlimits.quantities.kernel import MIXED
from rnnlimits.quantities.prediction import CellPrediction, plus
from rnnlimits.quantities.trained import Design, TrainedQuantity, Trainings, unknown_order
from rnnlimits.statistics.bootstrap import Sample
from rnnlimits.statistics.predictions import Foreseen
from rnnlimits.statistics.samples import rms


def depth_gap(trainings: Trainings) -> Sample:
    """The output minus that of depth 1."""
    assert trainings.shallow is not None
    return rms(trainings.of_law(trainings.output - trainings.shallow))


def foreseen_gap(cell: CellPrediction) -> Foreseen:
    """That of the rich twins at both depths, and its scatter: the difference of both responses to the same nodes.

    The gap is of second order in a mean over units (docs/theory/memory_and_kernel.md), so that the variance of what is
    of second order counts; it is that over random directions. Left out, and counted as errors: the scatter of the
    residual, to which the gap is proportional (`residual_error`), and that of the other factors of what a greater depth
    adds to the kernel (`Untrained.reaching`).
    """
    other, law = cell.shallow, cell.untrained
    assert other is not None
    assert law is not None
    units = min(len(cell.rich["output"]), len(other.rich["output"]))
    second = cell.second("output") - other.second("output")
    mean = cell.of_law("output")[:units] - other.of_law("output")[:units] + second
    response = cell.tangents["output_response"][:, 0] - other.tangents["output_response"][:, 0]
    first = np.square(response).sum(1).mean(1) / cell.width  # (path,)
    draws = cell.tangents["output_draws"][:, 0] - other.tangents["output_draws"][:, 0]
    beyond = np.maximum(draws.var(1, ddof=1).mean(1), 0) / cell.width**2
    scatter = first + beyond
    sample = plus(rms(mean), float(scatter.mean()))
    square = float(sample.combine(sample.statistics.mean(0), np.array(1 / len(sample))))
    error = 0.5 * float(scatter.std(ddof=1)) / len(scatter) ** 0.5 / square
    return Foreseen(sample, math.hypot(error, residual_error(cell), law.reaching / cell.width))


def residual_error(cell: CellPrediction) -> float:
    """The relative error that the residual's scatter leaves in the root of E (x y (r + z))^2, x and y of mean zero.

    E x^2 y^2 z^2 is from 1 to 5 times E x^2 y^2 E z^2, depending on how the Gaussian numbers correlate; z is the
    scatter of outputs, and r^2 the loss.
    """
    return 0.5 * 5 * cell.truncation()


def _with_depth_one(design: Design) -> Availability:
    return Applies(MIXED) if design.shallow else Absent()


register(
    TrainedQuantity(
        name="depth_gap",
        estimator="beside depth 1",
        variable=N,
        title="Output compared with that of depth 1",
        expected_kind="",
        sources=("depths",),
        sample=depth_gap,
        predicted=foreseen_gap,
        expected=unknown_order,
        applies=_with_depth_one,
    )
)
