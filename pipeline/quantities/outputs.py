"""Outputs of trained networks: rms error, fluctuation and bias against the limit, and compared with twins."""

from __future__ import annotations

from rnnlimits.quantities.base import Absent, Applies, Availability, N, register
from rnnlimits.quantities.prediction import (
    beyond_rich,
    bias_of,
    even_part_of_output,
    half_difference_of,
    rms_of,
    spread_of,
)
from rnnlimits.quantities.trained import (
    Design,
    TrainedQuantity,
    Trainings,
    at_every_checkpoint,
    bias_corrections,
    bias_less_unit_noise,
    bias_order,
    first_order,
    fluctuation_corrections,
    fluctuation_order,
    half_with_twins,
    mean_corrections,
    mean_share,
    node_slack,
    of_half,
    output_slack,
    rms_order,
    square_root_order,
    unless_pairs,
    unless_twins,
    with_pair_means,
    with_pairs,
    with_unit_noise,
    without_unit_noise,
)
from rnnlimits.statistics.bootstrap import Array, Sample
from rnnlimits.statistics.samples import bias, of_pairs, rms, spread


def half_difference(output: Array) -> Array:
    """The part (unit, 1, probe) of output (unit, 2, probe) that is odd in C."""
    return 0.5 * (output[:, :1] - output[:, 1:])


def bias_minus_twin(trainings: Trainings) -> Sample:
    """Mean of pairs if a pair mean has the study's bias: the initial field is odd in C and cancels."""
    error = trainings.minus_twin
    if trainings.antithetic and trainings.symmetric:
        return of_pairs(bias(error.mean(1)))
    return bias(error[:, 0])


def variance_ratios(trainings: Trainings) -> str:
    """Variances of a pair mean, and of a pair mean minus its twin, relative to that of two lone trainings, in words."""
    if not trainings.antithetic:
        variances = [values[:, 0].var(0, ddof=1).mean() for values in (trainings.output, trainings.minus_twin)]
        return f"variance after subtracting the twin: 1/{variances[0] / variances[1]:.3g} of the plain one"
    lone = trainings.output.var(0, ddof=1).mean() / 2
    pair, twin = (values.mean(1).var(0, ddof=1).mean() for values in (trainings.output, trainings.minus_twin))
    return (
        f"variance of a pair's mean: 1/{lone / pair:.3g} of that of two lone ones, minus the twin another"
        f" 1/{pair / twin:.3g}"
    )


def _from_first(design: Design) -> Availability:
    return Applies("from the first of each pair" if design.antithetic else "")


def _bias_with_twins(design: Design) -> Availability:
    if not design.twins:
        return Absent()
    return Applies("from the first of each pair" if design.antithetic and not design.symmetric else "")


def mean_beyond_rich(trainings: Trainings) -> Sample:
    """Mean less the rich twin on the same path: what the finite number of units alone does to the mean."""
    assert trainings.rich is not None
    error = trainings.output - trainings.rich - trainings.unit_noise.get("output", 0.0)
    return of_pairs(bias(error.mean(1))) if trainings.antithetic else bias(error[:, 0])


def _with_rich(design: Design) -> Availability:
    return Applies() if design.rich else Absent()


def _pairs_with_twins(design: Design) -> Availability:
    return Applies() if design.twins and design.antithetic else Absent()


OUTPUT_RMS = register(
    TrainedQuantity(
        name="output_rms",
        estimator="plain",
        variable=N,
        title="Output error against the limit",
        sample=lambda t: rms(t.of_law(t.output)),
        expected=rms_order,
        corrections=fluctuation_corrections,
        applies=of_half,
        slack=output_slack,
        leverage=lambda t: mean_share(t.of_law(t.output)),
        predicted=rms_of("output"),
        in_time=at_every_checkpoint,
        supremum=True,
    )
)
register(
    TrainedQuantity(
        name="output_fluctuation",
        estimator="plain",
        variable=N,
        title="Fluctuation of the output around its mean",
        sample=lambda t: spread(t.of_law(t.output)),
        predicted=spread_of("output"),
        expected=fluctuation_order,
        corrections=fluctuation_corrections,
        applies=of_half,
        in_time=unless_pairs,
        beside=(("output_fluctuation", "half-difference"),),
    )
)
register(
    TrainedQuantity(
        name="output_fluctuation",
        estimator="half-difference",
        variable=N,
        title="Fluctuation of the output, half-difference of pairs",
        sample=lambda t: of_pairs(spread(half_difference(t.output))),
        predicted=half_difference_of("output"),
        expected=fluctuation_order,
        corrections=fluctuation_corrections,
        applies=with_pairs,
        in_time=at_every_checkpoint,
    )
)
register(
    TrainedQuantity(
        name="output_bias",
        estimator="plain",
        variable=N,
        title="Bias of the output",
        sample=lambda t: bias(t.output[:, 0]),
        predicted=bias_of("output"),
        expected=bias_order,
        corrections=bias_corrections,
        applies=without_unit_noise(_from_first),
        slack=output_slack,
        in_time=unless_twins,
        beside=(("output_bias", "twin"), ("output_bias", "pair-mean")),
    )
)
register(
    TrainedQuantity(
        name="output_bias",
        estimator="pair-mean",
        variable=N,
        title="Bias of the output, mean of pairs",
        sample=lambda t: of_pairs(bias(t.output.mean(1))),
        predicted=bias_of("output", pairs=True),
        expected=bias_order,
        corrections=bias_corrections,
        applies=without_unit_noise(with_pair_means),
        slack=output_slack,
        in_time=unless_twins,
        beside=(("output_bias", "twin"),),
    )
)
register(
    TrainedQuantity(
        name="output_bias",
        estimator="twin",
        variable=N,
        title="Bias of the output compared with its infinite-width twin",
        sources=("train", "twin"),
        sample=bias_minus_twin,
        predicted=bias_of("output", twin=True),
        expected=bias_order,
        corrections=bias_corrections,
        applies=without_unit_noise(_bias_with_twins),
        slack=node_slack,
        report=variance_ratios,
        in_time=at_every_checkpoint,
        supremum=True,
    )
)
register(
    TrainedQuantity(
        name="output_bias",
        estimator="less unit noise",
        variable=N,
        title="Bias of the output compared with its infinite-width twin",
        sources=("train", "twin", "tangents"),
        sample=lambda t: bias_less_unit_noise(t.minus_twin, "output", t),
        predicted=bias_of("output", twin=True),
        expected=bias_order,
        corrections=bias_corrections,
        applies=with_unit_noise,
        slack=node_slack,
        in_time=at_every_checkpoint,
        supremum=True,
    )
)
register(
    TrainedQuantity(
        name="output_in_n",
        estimator="twin",
        variable=N,
        title="Output compared with its infinite-width twin, path by path",
        sources=("train", "twin"),
        sample=lambda t: rms(t.of_law(t.minus_twin)),
        predicted=rms_of("output", twin=True),
        expected=rms_order,
        corrections=fluctuation_corrections,
        applies=half_with_twins,
        slack=node_slack,
        in_time=at_every_checkpoint,
    )
)
register(
    TrainedQuantity(
        name="output_even_in_n",
        estimator="twin",
        variable=N,
        title="Fluctuation of the pair mean compared with its twin",
        sources=("train", "twin"),
        sample=lambda t: of_pairs(spread(t.minus_twin.mean(1, keepdims=True))),
        predicted=even_part_of_output,
        expected=square_root_order,
        corrections=mean_corrections,
        applies=_pairs_with_twins,
        in_time=at_every_checkpoint,
        supremum=True,
    )
)
register(
    TrainedQuantity(
        name="output_beyond_rich",
        estimator="rich twin",
        variable=N,
        title="Mean output compared with the rich twin, path by path",
        sources=("train", "rich"),
        sample=mean_beyond_rich,
        expected=first_order,
        applies=_with_rich,
        slack=node_slack,  # the rich twin is on nodes
        predicted=beyond_rich,
        in_time=at_every_checkpoint,
    )
)
