"""Quantities of ensembles of trained networks along ladders of cells: their data, and the expected orders.

Source of the expected orders: docs/model.md, "Predictions".
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from rnnlimits.quantities.base import Absent, Applies, Availability, N, NoLaw, Quantity, Refused, When
from rnnlimits.quantities.prediction import Foresight
from rnnlimits.statistics.bootstrap import Array, Sample
from rnnlimits.statistics.corrections import USUAL
from rnnlimits.statistics.samples import bias, of_pairs, rms


@dataclass(frozen=True, eq=False)
class Trainings:
    """One cell at the final time, replicas arranged as (unit, member): a pair (C, -C), or a single training.

    output, memory: errors against the limit (unit, member, probe), members in the order +C, -C. drift, drift_rms,
    drift_b: the largest drift of an output weight, its root mean square over units, and that of B, (unit, member).
    rich: error of the rich twin of each unit's path (unit, member, probe), with one member where both have one law;
    None without rich twins.
    output_slack, memory_slack: root mean square error of the limit itself over probes; node_slack: the nodes' part.
    loss: mean of (Yhat_k - Y_k)^2 along the path (unit, member, bin), at times loss_time (bin,).
    twin, twin_loss: error and loss of the infinite-width twin of each unit's path (unit, probe), (unit, bin); None
    without twins.
    symmetric: C and -C have one law, so that every member is a training of the study's law; otherwise the first is.
    unit_noise: deviations of "output" and "memory" that the units of each network explain to first order, of mean zero
    (unit, member, probe); empty without tangents.
    initial, final: variables of theory/observe.py at time 0 (empty if time 0 is not a checkpoint) and at the end, each
    (unit, member, ...). shallow: output of the same cell at depth 1, of the same shape; None if no such cell exists.
    """

    output: Array
    memory: Array
    drift: Array
    symmetric: bool
    output_slack: float
    memory_slack: float
    node_slack: float
    loss: Array
    loss_time: Array
    twin: Array | None = None
    twin_loss: Array | None = None
    initial: Mapping[str, Array] = field(default_factory=dict)
    final: Mapping[str, Array] = field(default_factory=dict)
    shallow: Array | None = None
    drift_rms: Array = field(default_factory=lambda: np.zeros((0, 1)))
    drift_b: Array = field(default_factory=lambda: np.zeros((0, 1)))
    rich: Array | None = None
    unit_noise: Mapping[str, Array] = field(default_factory=dict)

    @property
    def minus_twin(self) -> Array:
        """Output minus that of the twin on the same path (unit, member, probe): the effect of finite width alone."""
        assert self.twin is not None
        return self.output - self.twin[:, None]

    @property
    def antithetic(self) -> bool:
        """Whether the units are pairs."""
        return bool(self.output.shape[1] == 2)

    def of_law(self, values: Array) -> Array:
        """The members (unit, member, ...) whose C has the study's law."""
        return values if self.symmetric else values[:, :1]


@dataclass(frozen=True, kw_only=True)
class Design:
    """The properties of a study that decide which estimators exist and which orders are expected.

    symmetric: C and -C have one law. antithetic: trainings come in pairs (C, -C). twins, rich: paths are followed by
    twins, by rich twins. trains_b: B moves.
    unit_noise: the deviation that the units of each network explain is known.
    kernel: the empirical kernel is measured. initial: time 0 is a checkpoint. shallow: for every cell of the ladder the
    same cell exists at depth 1. fixed_richness: networks of all widths of the ladder have one richness, not one beta.
    """

    symmetric: bool
    antithetic: bool
    twins: bool = False
    rich: bool = False
    unit_noise: bool = False
    trains_b: bool = True
    kernel: bool = False
    initial: bool = False
    shallow: bool = False
    fixed_richness: bool = False


Order = Callable[[float, Design], float]
"""(beta, design) -> exponent at infinity, NaN if not known; at fixed richness beta is 1, as there the order is."""
Corrections = Callable[[float, Design], tuple[float, ...]]
"""(beta, design) -> exponents of the first corrections to it, relative to the leading term."""


def usual_corrections(beta: float, design: Design) -> tuple[float, ...]:
    """N^-1/2 and N^-1, where theory gives no others."""
    return USUAL


CONSTANT = "at a fixed richness it tends to a constant, not to 0: no rate in N"


def always(design: Design) -> Availability:
    """Available in every study."""
    return Applies()


def at_one_time(design: Design) -> bool:
    """A quantity of the start, the end, or the whole of a training."""
    return False


def at_every_checkpoint(design: Design) -> bool:
    """A quantity of networks as they are at a checkpoint."""
    return True


def unless_pairs(design: Design) -> bool:
    """The same, where there is no better estimate from pairs."""
    return not design.antithetic


def unless_twins(design: Design) -> bool:
    """The same, where there is no better estimate from twins."""
    return not design.twins


@dataclass(frozen=True, kw_only=True)
class TrainedQuantity(Quantity):
    """A quantity of trained networks, along N with K = N, or along K at fixed N.

    sample: per-unit statistics of a cell. expected: the exponent at infinity. applies: whether a design has it. slack:
    error of the reference (the limit) in the estimate's norm, 0 if the limit does not enter. leverage: the part of this
    error that moves the estimate to first order. report: a further note, on the last cell of a ladder. corrections:
    orders of what is left out at finite N. predicted: the estimate that a cell's prediction (rates.Reader.prediction)
    gives, as a sample of the same units or as a number; None: the quantity has no prediction at finite N. in_time:
    whether a design has it at every checkpoint, as a function of the trainings there; predicted_in_time: its prediction
    too. supremum: its largest value over the checkpoints has a row of its own, where it is predicted.
    """

    sample: Callable[[Trainings], Sample]
    expected: Order
    applies: Callable[[Design], Availability] = always
    slack: Callable[[Trainings], float] = lambda _: 0.0
    leverage: Callable[[Trainings], float] = lambda _: 1.0
    report: Callable[[Trainings], str] = lambda _: ""
    corrections: Corrections = usual_corrections
    predicted: Foresight | None = None
    when: When = "end"
    in_time: Callable[[Design], bool] = at_one_time
    predicted_in_time: bool = True
    supremum: bool = False

    def availability(self, design: Design) -> Availability:
        """Whether a ladder of this design has a rate; what differs from the kernel limit by richness alone has none."""
        found = self.applies(design)
        if not (isinstance(found, Applies) and design.fixed_richness and self.variable is N):
            return found
        return found if self.expected(1.0, design) > 0 else NoLaw(CONSTANT, found.remark)


# --- expected orders -------------------------------------------------------------------------------------------


def fluctuation_order(beta: float, design: Design) -> float:
    """Exponent of the initial field: a sum of N independent terms times N^-beta."""
    return beta - 0.5


def even_bias_order(beta: float, design: Design) -> float:
    """Exponent of the second order in the drift of the parameters, at most O(1/N)."""
    return min(2 * (1 - beta), 1.0)


def bias_order(beta: float, design: Design) -> float:
    """Exponent of the bias; its first order in the drift is odd in C, so that only a skewed law shows it."""
    return even_bias_order(beta, design) if design.symmetric else min(1 - beta, 1.0)


def rms_order(beta: float, design: Design) -> float:
    """The slowest of the exponents of fluctuation, bias, and the N^-1/2 of memory and data."""
    return min(fluctuation_order(beta, design), bias_order(beta, design), 0.5)


def loss_order(beta: float, design: Design) -> float:
    """Exponent of the square of the initial field plus the bias times the remaining error."""
    return min(2 * beta - 1, bias_order(beta, design), 1.0)


def drift_order(beta: float, design: Design) -> float:
    """Exponent of KT updates of size N^(beta - 1) / K."""
    return 1 - beta


def square_root_order(beta: float, design: Design) -> float:
    """Exponent of means of independent terms."""
    return 0.5


def memory_order(beta: float, design: Design) -> float:
    """Exponent of means of independent terms; the richness moves the memory too, by little."""
    return 0.0 if design.fixed_richness else square_root_order(beta, design)


def first_order(beta: float, design: Design) -> float:
    """Exponent of squares of means of independent terms."""
    return 1.0


def unknown_order(beta: float, design: Design) -> float:
    """NaN: two orders mix at all widths that can be computed, so the exponent is fitted but not judged."""
    return math.nan


# --- corrections to them ---------------------------------------------------------------------------------------


def _positive(*orders: float) -> tuple[float, ...]:
    """The orders that make a term small: the others belong to terms that are not corrections."""
    return tuple(order for order in orders if order > 0.01)


def fluctuation_corrections(beta: float, design: Design) -> tuple[float, ...]:
    """The square of the richness N^-(1 - beta), in which an odd field is even; for a skewed law the richness itself."""
    return _positive(2 * (1 - beta), 1.0) if design.symmetric else _positive(1 - beta, 2 * (1 - beta))


def bias_corrections(beta: float, design: Design) -> tuple[float, ...]:
    """The next order of the richness, and O(1/N) relative to the bias."""
    step = 2 * (1 - beta) if design.symmetric else 1 - beta
    return _positive(step, abs(1 - step))


def even_bias_corrections(beta: float, design: Design) -> tuple[float, ...]:
    """As of the bias of a symmetric law."""
    return _positive(2 * (1 - beta), abs(2 * beta - 1))


def drift_corrections(beta: float, design: Design) -> tuple[float, ...]:
    """The richness N^-(1 - beta), and N^-1/2."""
    return _positive(1 - beta, 0.5)


def mean_corrections(beta: float, design: Design) -> tuple[float, ...]:
    """N^-1/2 and N^-1 of means of independent terms, and the drift's N^-2(1 - beta) beside N^-1/2."""
    return _positive(0.5, 1.0, 4 * (1 - beta) - 1)


# --- which designs have a quantity -----------------------------------------------------------------------------


def with_remark(remark: str) -> Callable[[Design], Availability]:
    """Available in every study, with this remark on its order in N at a fixed beta."""
    return lambda design: Applies("" if design.fixed_richness else remark)


def of_half(design: Design) -> Applies:
    """Estimated from the members that have the study's law: half of them if the law is skewed."""
    return Applies(
        "" if design.symmetric or not design.antithetic else "from the half of each pair that has the law of C"
    )


def with_pairs(design: Design) -> Availability:
    """Available with pairs: estimated from both trainings of each pair."""
    return Applies() if design.antithetic else Absent()


def with_pair_means(design: Design) -> Availability:
    """Estimated from the means of pairs, which have the bias of the study's law only if -C has that law too."""
    if design.antithetic and not design.symmetric:
        why = "C is skewed: -C has another law, so a pair mean has another bias than the study's"
        return Refused(f"{why}; set network.c to a symmetric law")
    return with_pairs(design)


def half_with_twins(design: Design) -> Availability:
    """Available with twins: estimated from the members that have the study's law."""
    return of_half(design) if design.twins else Absent()


def without_unit_noise(applies: Callable[[Design], Availability]) -> Callable[[Design], Availability]:
    """Available where the noise of the units is not known: else a better estimate of the same number exists."""
    return lambda design: Absent() if design.unit_noise else applies(design)


def with_unit_noise(design: Design) -> Availability:
    """Available where the noise of the units is known; estimated from the members that have the study's law."""
    return of_half(design) if design.unit_noise else Absent()


# --- errors of the limit ---------------------------------------------------------------------------------------


def output_slack(trainings: Trainings) -> float:
    """Error of the limit's output."""
    return trainings.output_slack


def memory_slack(trainings: Trainings) -> float:
    """Error of the limit's memory."""
    return trainings.memory_slack


def node_slack(trainings: Trainings) -> float:
    """Error from nodes in place of the law of W: with few nodes and d >= 3, the twin belongs to another network."""
    return trainings.node_slack


def mean_share(error: Array) -> float:
    """The mean error relative to the rms error: only the mean responds, to first order, to a shifted limit."""
    return float(np.sqrt(np.square(error.mean((0, 1))).mean() / np.square(error).mean()))


# --- biases ----------------------------------------------------------------------------------------------------


def bias_less_unit_noise(error: Array, name: str, trainings: Trainings) -> Sample:
    """Bias of error (unit, member, probe), from members of the study's law; their units' noise is subtracted."""
    values = trainings.of_law(error - trainings.unit_noise[name])
    sample = bias(values.mean(1))
    return of_pairs(sample) if values.shape[1] == 2 else sample


# --- samples of observed variables -----------------------------------------------------------------------------


def rms_of(when: str, name: str) -> Callable[[Trainings], Sample]:
    """Root mean square of an observed variable at "initial" or "final" time, over its further dimensions."""

    def sample(trainings: Trainings) -> Sample:
        values = trainings.of_law(getattr(trainings, when)[name])
        return rms(values.reshape(*values.shape[:2], -1))

    return sample
