"""Memory of trained networks against the limit's on the same inputs, at the end of a history."""

from __future__ import annotations

from rnnlimits.quantities.base import N, register
from rnnlimits.quantities.prediction import bias_of, rms_of, spread_of
from rnnlimits.quantities.trained import (
    TrainedQuantity,
    at_every_checkpoint,
    bias_less_unit_noise,
    even_bias_corrections,
    even_bias_order,
    mean_corrections,
    mean_share,
    memory_order,
    memory_slack,
    of_half,
    square_root_order,
    with_pair_means,
    with_unit_noise,
    without_unit_noise,
)
from rnnlimits.statistics.samples import bias, of_pairs, rms, spread

register(
    TrainedQuantity(
        name="memory_rms",
        estimator="plain",
        variable=N,
        title="Memory error against the limit memory",
        sample=lambda t: rms(t.of_law(t.memory)),
        expected=memory_order,
        corrections=mean_corrections,
        slack=memory_slack,
        leverage=lambda t: mean_share(t.of_law(t.memory)),
        predicted=rms_of("memory"),
        in_time=at_every_checkpoint,
        supremum=True,
    )
)
register(
    TrainedQuantity(
        name="memory_fluctuation",
        estimator="plain",
        variable=N,
        title="Fluctuation of the memory around its mean",
        sample=lambda t: spread(t.of_law(t.memory)),
        predicted=spread_of("memory"),
        expected=square_root_order,
        corrections=mean_corrections,
        applies=of_half,
        in_time=at_every_checkpoint,
    )
)
register(
    TrainedQuantity(
        name="memory_bias",
        estimator="pair-mean",
        variable=N,
        title="Bias of the memory, mean of pairs",
        sample=lambda t: of_pairs(bias(t.memory.mean(1))),
        predicted=bias_of("memory", pairs=True),
        expected=even_bias_order,
        corrections=even_bias_corrections,
        applies=without_unit_noise(with_pair_means),
        slack=memory_slack,
        in_time=at_every_checkpoint,
        supremum=True,
    )
)
register(
    TrainedQuantity(
        name="memory_bias",
        estimator="less unit noise",
        variable=N,
        title="Bias of the memory",
        sources=("train", "tangents"),
        sample=lambda t: bias_less_unit_noise(t.memory, "memory", t),
        predicted=bias_of("memory"),
        expected=even_bias_order,
        corrections=even_bias_corrections,
        applies=with_unit_noise,
        slack=memory_slack,
        in_time=at_every_checkpoint,
        supremum=True,
    )
)
