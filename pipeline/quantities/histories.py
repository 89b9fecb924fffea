"""Memory and hidden layer along whole histories, recorded at the checkpoints of trained networks."""

from __future__ import annotations

from rnnlimits.quantities.base import N, register
from rnnlimits.quantities.prediction import hidden_layer
from rnnlimits.quantities.trained import (
    TrainedQuantity,
    mean_corrections,
    memory_order,
    memory_slack,
    rms_of,
    with_remark,
)

register(
    TrainedQuantity(
        name="memory_sup",
        estimator="plain",
        variable=N,
        title="Largest memory error along a history",
        sample=rms_of("final", "memory_sup"),
        expected=memory_order,
        corrections=mean_corrections,
        applies=with_remark("training adds a term of order N^-2(1 - beta), with a small constant"),
        slack=memory_slack,
    )
)
register(
    TrainedQuantity(
        name="hidden_h1",
        estimator="plain",
        variable=N,
        title="Error of the hidden layer in H^1(lambda)",
        sample=rms_of("final", "hidden_h1"),
        predicted=hidden_layer,
        expected=memory_order,
        corrections=mean_corrections,
    )
)
register(
    TrainedQuantity(
        name="hidden_h1_sup",
        estimator="plain",
        variable=N,
        title="Largest error of the hidden layer in H^1(lambda) along a history",
        sample=rms_of("final", "hidden_h1_sup"),
        expected=memory_order,
        corrections=mean_corrections,
    )
)
