"""Noise of one-pass training in the number of steps K, from the scatter of trained networks at one N."""

from __future__ import annotations

from rnnlimits.quantities.base import Absent, Availability, K, NoLaw, register
from rnnlimits.quantities.prediction import pair_mean_of_output
from rnnlimits.quantities.trained import (
    Design,
    TrainedQuantity,
    Trainings,
    at_every_checkpoint,
    square_root_order,
    with_pairs,
)
from rnnlimits.statistics.bootstrap import Sample
from rnnlimits.statistics.samples import of_pairs, spread


def noise_in_k(trainings: Trainings) -> Sample:
    """Mean of pairs if trainings come in pairs: the initial field is odd in C and cancels."""
    sample = spread(trainings.output.mean(1, keepdims=True))
    return of_pairs(sample) if trainings.antithetic else sample


def _without_pairs(design: Design) -> Availability:
    if design.antithetic:
        return Absent()
    return NoLaw("no pairs: it contains the initial field, which does not shrink with K; set training.antithetic: true")


register(
    TrainedQuantity(
        name="sgd_noise",
        estimator="pair-mean",
        variable=K,
        title="Noise of one-pass training, mean of pairs",
        sample=noise_in_k,
        predicted=pair_mean_of_output,
        expected=square_root_order,
        applies=with_pairs,
        in_time=at_every_checkpoint,
    )
)
register(
    TrainedQuantity(
        name="sgd_noise",
        estimator="plain",
        variable=K,
        title="Noise of one-pass training",
        sample=noise_in_k,
        expected=square_root_order,
        applies=_without_pairs,
    )
)
