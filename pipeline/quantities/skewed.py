"""Means of pairs if C is skewed: the bias of the part that is even in C, which is not that of the study."""

from __future__ import annotations

from rnnlimits.quantities.base import Absent, Applies, Availability, N, register
from rnnlimits.quantities.prediction import bias_of
from rnnlimits.quantities.trained import (
    Design,
    TrainedQuantity,
    at_every_checkpoint,
    even_bias_corrections,
    even_bias_order,
    node_slack,
    output_slack,
    unless_twins,
)
from rnnlimits.statistics.samples import bias, of_pairs


def _skewed_pairs(design: Design) -> Availability:
    return Applies() if design.antithetic and not design.symmetric else Absent()


def _skewed_pairs_with_twins(design: Design) -> Availability:
    return _skewed_pairs(design) if design.twins else Absent()


register(
    TrainedQuantity(
        name="output_even_bias",
        estimator="twin",
        variable=N,
        title="Bias of the mean of pairs compared with their twin (even part in C)",
        sources=("train", "twin"),
        sample=lambda t: of_pairs(bias(t.minus_twin.mean(1))),
        predicted=bias_of("output", twin=True, pairs=True),
        expected=even_bias_order,
        corrections=even_bias_corrections,
        applies=_skewed_pairs_with_twins,
        slack=node_slack,
        in_time=at_every_checkpoint,
    )
)
register(
    TrainedQuantity(
        name="output_even_bias",
        estimator="pair-mean",
        variable=N,
        title="Bias of the mean of pairs (even part in C)",
        sample=lambda t: of_pairs(bias(t.output.mean(1))),
        predicted=bias_of("output", pairs=True),
        expected=even_bias_order,
        corrections=even_bias_corrections,
        applies=_skewed_pairs,
        slack=output_slack,
        in_time=unless_twins,
        beside=(("output_even_bias", "twin"),),
    )
)
