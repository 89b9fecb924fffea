"""What is estimated from an ensemble: a registry of quantities, each a few lines.

To add a quantity, write a function from `Trainings` to a `Sample` (per-unit statistics and how their mean becomes an
estimate), and an entry in QUANTITIES. Everything else, resampling, fit, refusal, table, figure, follows.
Source: docs/model.md, "Predictions".
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np

from rnnlimits.statistics.bootstrap import Array, Sample

ExpectedKind = Literal["theorem", "heuristic", "exact", ""]


# --- samples: statistics of independent units ------------------------------------------------------------------


def rms(error: Array) -> Sample:
    """Root mean square of error (unit, member, probe) over everything."""
    return Sample(np.square(error).mean((1, 2))[:, None], _first, power=0.5, replicas=_trainings(error))


def average(value: Array) -> Sample:
    """Mean of value (unit, member)."""
    return Sample(value.mean(1)[:, None], _first, replicas=_trainings(value))


def spread(value: Array) -> Sample:
    """S.d. over replicas, as the root mean square over probes; value (unit, member, probe). The variance is unbiased.

    Members of a unit may depend on one another; units do not.
    """
    value = value - value.mean((0, 1))  # the variance does not change, its rounding error does
    unit = value.mean(1)
    statistics = [unit, np.square(unit).mean(1)[:, None], np.square(value).mean((1, 2))[:, None]]
    return Sample(np.concatenate(statistics, axis=1), _variance, power=0.5, replicas=_trainings(value))


def bias(error: Array) -> Sample:
    """Root mean square over probes of the mean of error (unit, probe), its square freed of the mean's noise."""
    statistics = [error, np.square(error).mean(1)[:, None]]
    return Sample(np.concatenate(statistics, axis=1), _debiased_square, power=0.5, signed=True)


def _trainings(values: Array) -> int:
    """Trainings behind values (unit, member, ...)."""
    return int(np.prod(values.shape[:2]))


def of_pairs(sample: Sample) -> Sample:
    """The same sample, each unit of which is a function of both trainings of a pair."""
    return replace(sample, replicas=2 * len(sample))


def _first(mean: Array, concentration: Array) -> Array:
    return np.asarray(mean[..., 0])


def _variance(mean: Array, concentration: Array) -> Array:
    """Mean square less the square of the mean, plus the latter's expected excess, the variance of the mean."""
    square = np.square(mean[..., :-2]).mean(-1)
    excess = (mean[..., -2] - square) * concentration / (1 - concentration)
    return np.asarray(mean[..., -1] - square + excess)


def _debiased_square(mean: Array, concentration: Array) -> Array:
    """Square of the mean less the variance of the mean."""
    square = np.square(mean[..., :-1]).mean(-1)
    return np.asarray(square - (mean[..., -1] - square) * concentration / (1 - concentration))


# --- trainings and the registry --------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Trainings:
    """One cell at the final time, replicas arranged as (unit, member): a pair (C, -C), or a single training.

    output, memory: errors against the limit (unit, member, probe), members in the order +C, -C; drift (unit, member).
    output_slack, memory_slack: root mean square error of the limit itself over probes; node_slack: the nodes' part.
    loss: mean of (Yhat_k - Y_k)^2 along the path (unit, member, bin), at times loss_time (bin,).
    twin, twin_loss: the same two of the infinite-width twin of each unit's path (unit, probe), (unit, bin); None
    without twins.
    symmetric: C and -C have one law, so that every member is a training of the study's law; otherwise the first is.
    initial, final: variables of theory/observe.py at time 0 (empty where it is no checkpoint) and at the end, each
    (unit, member, ...). shallow: output as above, of the cell of depth 1 that is otherwise the same; None without.
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

    @property
    def beside_twin(self) -> Array:
        """Output less that of the twin on the same path (unit, member, probe): what the finite width does alone."""
        assert self.twin is not None
        return self.output - self.twin[:, None]

    @property
    def antithetic(self) -> bool:
        """Whether the units are pairs."""
        return bool(self.output.shape[1] == 2)

    def of_law(self, values: Array) -> Array:
        """The members (unit, member, ...) whose C has the study's law."""
        return values if self.symmetric else values[:, :1]


@dataclass(frozen=True)
class Design:
    """What decides which estimators exist and what they should show."""

    symmetric: bool
    antithetic: bool
    twins: bool = False
    kernel: bool = False  # the empirical kernel is measured
    initial: bool = False  # time 0 is a checkpoint


@dataclass(frozen=True)
class Quantity:
    """One quantity and one estimator of it.

    variable: what goes to infinity (N along K = N, or K at fixed N). title, ordinate: of its figure.
    sample: per-unit statistics of a cell. expected: exponent for (beta, design), of `expected_kind`.
    slack: error of the reference (the limit) in the estimate's norm, 0 if none enters. leverage: how much of it moves
    the estimate to first order.
    exists: whether the design has such an estimator; refusal: why it would be wrong there, or ""; no_law: why its
    estimates, though right, follow no law to judge, or "". deep: only for cells beside one of depth 1.
    remark: always noted; report: a note on the last cell.
    """

    name: str
    estimator: str
    variable: str
    title: str
    sample: Callable[[Trainings], Sample]
    expected: Callable[[float, Design], float]
    expected_kind: ExpectedKind = "heuristic"
    ordinate: str = "root mean square over probes"
    slack: Callable[[Trainings], float] = lambda _: 0.0
    leverage: Callable[[Trainings], float] = lambda _: 1.0
    exists: Callable[[Design], bool] = lambda _: True
    refusal: Callable[[Design], str] = lambda _: ""
    no_law: Callable[[Design], str] = lambda _: ""
    deep: bool = False
    remark: Callable[[Design], str] = lambda _: ""
    report: Callable[[Trainings], str] = lambda _: ""

    @property
    def key(self) -> tuple[str, str]:
        """Name and estimator, which identify the entry."""
        return self.name, self.estimator


def fluctuation_order(beta: float, design: Design) -> float:
    """Initial field: a sum of N independent terms times N^-beta."""
    return beta - 0.5


def even_bias_order(beta: float, design: Design) -> float:
    """Second order in the drift of the parameters, beside O(1/N)."""
    return min(2 * (1 - beta), 1.0)


def bias_order(beta: float, design: Design) -> float:
    """First order in the drift is odd in C: it is there for a skewed law only."""
    return even_bias_order(beta, design) if design.symmetric else min(1 - beta, 1.0)


def rms_order(beta: float, design: Design) -> float:
    """The slowest of fluctuation, bias, and the memory's and the data's N^-1/2."""
    return min(fluctuation_order(beta, design), bias_order(beta, design), 0.5)


def loss_order(beta: float, design: Design) -> float:
    """Square of the initial field, and the bias times what is left to learn."""
    return min(2 * beta - 1, bias_order(beta, design), 1.0)


def drift_order(beta: float, design: Design) -> float:
    """KT updates of size N^(beta - 1) / K."""
    return 1 - beta


def square_root_order(beta: float, design: Design) -> float:
    """Means of independent terms."""
    return 0.5


def _with_twins(design: Design) -> bool:
    return design.twins


def _bias_beside_twin(trainings: Trainings) -> Sample:
    """Pair means where a pair mean has the study's bias: the initial field is odd in C and drops out."""
    error = trainings.beside_twin
    if trainings.antithetic and trainings.symmetric:
        return of_pairs(bias(error.mean(1)))
    return bias(error[:, 0])


def variance_ratios(trainings: Trainings) -> str:
    """How much less the mean of a pair, and of a pair beside its twin, scatters than that of two lone trainings."""
    if not trainings.antithetic:
        variances = [values[:, 0].var(0, ddof=1).mean() for values in (trainings.output, trainings.beside_twin)]
        return f"variance beside the twin 1/{variances[0] / variances[1]:.3g} of the plain one"
    lone = trainings.output.var(0, ddof=1).mean() / 2
    pair, twin = (values.mean(1).var(0, ddof=1).mean() for values in (trainings.output, trainings.beside_twin))
    return (
        f"variance of a pair's mean 1/{lone / pair:.3g} of two lone ones', beside the twin another 1/{pair / twin:.3g}"
    )


def _excess_loss(trainings: Trainings) -> Array:
    """Loss less the twin's (unit, member) over the last quarter of the bins; on one path the data's noise cancels."""
    assert trainings.twin_loss is not None
    late = slice(3 * trainings.loss.shape[-1] // 4, None)
    excess = trainings.of_law(trainings.loss)[..., late].mean(-1) - trainings.twin_loss[:, None, late].mean(-1)
    return np.asarray(excess)


def _loss_beside_twin(trainings: Trainings) -> Sample:
    return replace(average(_excess_loss(trainings)), signed=True)


def _delay(trainings: Trainings) -> Sample:
    """Later time at which the mean loss has fallen half-way from the twin's first bin to its last, than the twin's."""
    assert trainings.twin_loss is not None
    both = np.concatenate([trainings.of_law(trainings.loss).mean(1), trainings.twin_loss], axis=1)
    time = trainings.loss_time

    def later(mean: Array, concentration: Array) -> Array:
        rows = np.atleast_2d(mean)
        found = np.array([_half_way(time, row[len(time) :], row) for row in rows])
        return found.reshape(np.shape(mean)[:-1])

    return Sample(both, later, signed=True, replicas=int(np.prod(trainings.of_law(trainings.loss).shape[:2])))


def _half_way(time: Array, twin: Array, both: Array) -> float:
    """Difference of the times at which two falling curves reach the middle of the second one's range."""
    level = (twin[0] + twin[-1]) / 2
    ours, theirs = (_first_below(time, curve, level) for curve in (both[: len(time)], twin))
    return ours - theirs


def _first_below(time: Array, curve: Array, level: float) -> float:
    """Time at which the curve first falls below a level, by interpolation; the last time if it never does."""
    below = np.flatnonzero(curve <= level)
    if not len(below):
        return float(time[-1])
    if below[0] == 0:
        return float(time[0])
    late = below[0]
    fraction = (curve[late - 1] - level) / (curve[late - 1] - curve[late])
    return float(time[late - 1] + fraction * (time[late] - time[late - 1]))


def _pairs(design: Design) -> bool:
    return design.antithetic


def _skewed_pair(design: Design) -> str:
    return (
        "" if design.symmetric else "C is skewed: -C has another law, so a pair mean has another bias than the study's"
    )


def _half(design: Design) -> str:
    return "" if design.symmetric or not design.antithetic else "from the half of each pair that has the law of C"


def _output_slack(trainings: Trainings) -> float:
    return trainings.output_slack


def _twin_slack(trainings: Trainings) -> float:
    """Nodes in place of the law of W: with few of them, and d of 3 or more, the twin is another network's."""
    return trainings.node_slack


def _mean_share(error: Array) -> float:
    """Size of the mean error over the rms error: only the mean responds, to first order, to a shifted limit."""
    return float(np.sqrt(np.square(error.mean((0, 1))).mean() / np.square(error).mean()))


def _half_difference(output: Array) -> Array:
    """Odd part in C (unit, 1, probe) of output (unit, 2, probe)."""
    return 0.5 * (output[:, :1] - output[:, 1:])


def _noise_in_k(trainings: Trainings) -> Sample:
    """Pair means where there are pairs: the initial field is odd in C and drops out."""
    found = spread(trainings.output.mean(1, keepdims=True))
    return of_pairs(found) if trainings.antithetic else found


def _unknown_order(beta: float, design: Design) -> float:
    """Two orders mix over any range of widths that can be computed: an exponent is fitted, but not judged."""
    return math.nan


def _rms_of(when: str, name: str) -> Callable[[Trainings], Sample]:
    """Root mean square of an observed variable at "initial" or "final" time, over what it is an array of."""

    def sample(trainings: Trainings) -> Sample:
        values = trainings.of_law(getattr(trainings, when)[name])
        return rms(values.reshape(*values.shape[:2], -1))

    return sample


def _mean_drift_of_kernel(trainings: Trainings) -> Sample:
    """Pair means where a pair mean has the study's bias: what is odd in C drops out."""
    along = trainings.final["ntk_drift_along"]
    if trainings.antithetic and trainings.symmetric:
        return of_pairs(bias(along.mean(1)[:, None]))
    return bias(along[:, :1])


def _depth_gap(trainings: Trainings) -> Sample:
    """The same trainings at two depths of backpropagation, weights and data in common."""
    assert trainings.shallow is not None
    return rms(trainings.of_law(trainings.output - trainings.shallow))


def _with_kernel(design: Design) -> bool:
    return design.kernel


def _with_initial_kernel(design: Design) -> bool:
    return design.kernel and design.initial


def _mixed(design: Design) -> str:
    return "orders N^-1 (there from the start) and N^-2(1 - beta) (from training) mix: no expected value"


OBSERVED = (
    Quantity(
        "memory_sup",
        "plain",
        "N",
        "Largest memory error along a history",
        _rms_of("final", "memory_sup"),
        square_root_order,
        slack=lambda t: t.memory_slack,
        remark=lambda _: "training adds a term of order N^-2(1 - beta), with a small constant",
    ),
    Quantity(
        "hidden_h1",
        "plain",
        "N",
        "Error of the hidden layer in H^1(lambda)",
        _rms_of("final", "hidden_h1"),
        square_root_order,
    ),
    Quantity(
        "hidden_h1_sup",
        "plain",
        "N",
        "Largest error of the hidden layer in H^1(lambda) along a history",
        _rms_of("final", "hidden_h1_sup"),
        square_root_order,
    ),
    Quantity(
        "ntk_initial_error",
        "plain",
        "N",
        "Empirical kernel at initialisation, relative error",
        _rms_of("initial", "ntk_error"),
        square_root_order,
        ordinate="root mean square over replicas",
        exists=_with_initial_kernel,
    ),
    Quantity(
        "ntk_eigenvalue",
        "plain",
        "N",
        "Leading eigenvalues of the initial kernel, relative error",
        _rms_of("initial", "ntk_eigenvalue_error"),
        square_root_order,
        ordinate="root mean square over replicas and eigenvalues",
        exists=_with_initial_kernel,
    ),
    Quantity(
        "ntk_b_part",
        "initial",
        "N",
        "Part of B in the initial kernel",
        _rms_of("initial", "ntk_b_part"),
        lambda beta, design: 1.0,
        ordinate="root mean square over replicas",
        exists=_with_initial_kernel,
    ),
    Quantity(
        "ntk_b_part",
        "trained",
        "N",
        "Part of B in the trained kernel",
        _rms_of("final", "ntk_b_part"),
        _unknown_order,
        "",
        ordinate="root mean square over replicas",
        exists=_with_kernel,
        remark=_mixed,
    ),
    Quantity(
        "ntk_past_part",
        "initial",
        "N",
        "Part of earlier steps in the initial kernel",
        _rms_of("initial", "ntk_past_part"),
        lambda beta, design: 1.0,
        ordinate="root mean square over replicas",
        exists=_with_initial_kernel,
    ),
    Quantity(
        "ntk_past_part",
        "trained",
        "N",
        "Part of earlier steps in the trained kernel",
        _rms_of("final", "ntk_past_part"),
        _unknown_order,
        "",
        ordinate="root mean square over replicas",
        exists=_with_kernel,
        remark=_mixed,
    ),
    Quantity(
        "ntk_drift",
        "norm",
        "N",
        "Change of the empirical kernel in training",
        _rms_of("final", "ntk_drift"),
        _unknown_order,
        "",
        ordinate="root mean square over replicas",
        exists=_with_kernel,
        remark=lambda _: "the mean's order and the fluctuation's N^-(3/2 - beta) mix: no expected value",
    ),
    Quantity(
        "ntk_drift",
        "mean along the limit",
        "N",
        "Mean change of the empirical kernel along the limit's",
        _mean_drift_of_kernel,
        bias_order,
        ordinate="absolute value of the mean",
        exists=_with_kernel,
    ),
    Quantity(
        "depth_gap",
        "beside depth 1",
        "N",
        "Output beside that of depth 1",
        _depth_gap,
        _unknown_order,
        "",
        deep=True,
        remark=_mixed,
    ),
)

ENTRIES = (
    Quantity(
        "output_rms",
        "plain",
        "N",
        "Output error against the limit",
        lambda t: rms(t.of_law(t.output)),
        rms_order,
        slack=_output_slack,
        leverage=lambda t: _mean_share(t.of_law(t.output)),
        remark=_half,
    ),
    Quantity(
        "output_fluctuation",
        "plain",
        "N",
        "Fluctuation of the output around its mean",
        lambda t: spread(t.of_law(t.output)),
        fluctuation_order,
        remark=_half,
    ),
    Quantity(
        "output_fluctuation",
        "half-difference",
        "N",
        "Fluctuation of the output, half-difference of pairs",
        lambda t: of_pairs(spread(_half_difference(t.output))),
        fluctuation_order,
        exists=_pairs,
    ),
    Quantity(
        "output_bias",
        "plain",
        "N",
        "Bias of the output",
        lambda t: bias(t.output[:, 0]),
        bias_order,
        slack=_output_slack,
        remark=lambda design: "from the first of each pair" if design.antithetic else "",
    ),
    Quantity(
        "output_bias",
        "pair-mean",
        "N",
        "Bias of the output, mean of pairs",
        lambda t: of_pairs(bias(t.output.mean(1))),
        bias_order,
        slack=_output_slack,
        exists=_pairs,
        refusal=_skewed_pair,
    ),
    Quantity(
        "output_bias",
        "twin",
        "N",
        "Bias of the output beside its infinite-width twin",
        _bias_beside_twin,
        bias_order,
        slack=_twin_slack,
        exists=_with_twins,
        remark=lambda design: "from the first of each pair" if design.antithetic and not design.symmetric else "",
        report=variance_ratios,
    ),
    Quantity(
        "output_in_n",
        "twin",
        "N",
        "Output beside its infinite-width twin, path by path",
        lambda t: rms(t.of_law(t.beside_twin)),
        lambda beta, design: min(fluctuation_order(beta, design), bias_order(beta, design), 0.5),
        slack=_twin_slack,
        exists=_with_twins,
        remark=_half,
    ),
    Quantity(
        "output_even_in_n",
        "twin",
        "N",
        "Fluctuation of the pair mean beside its twin",
        lambda t: of_pairs(spread(t.beside_twin.mean(1, keepdims=True))),
        square_root_order,
        exists=lambda design: design.twins and design.antithetic,
    ),
    Quantity(
        "loss_excess",
        "twin",
        "N",
        "Loss beside that of the infinite-width twin",
        _loss_beside_twin,
        loss_order,
        ordinate="mean over replicas, last quarter of the time",
        exists=_with_twins,
        remark=_half,
    ),
    Quantity(
        "loss_fluctuation",
        "twin",
        "N",
        "Fluctuation of the loss beside that of the twin",
        lambda t: spread(_excess_loss(t)[..., None]),
        lambda beta, design: min(fluctuation_order(beta, design), 0.5),
        ordinate="standard deviation over replicas, last quarter of the time",
        exists=_with_twins,
        remark=_half,
    ),
    Quantity(
        "time_to_learn",
        "twin",
        "N",
        "Delay in reaching half of the twin's progress",
        _delay,
        loss_order,
        ordinate="difference of times",
        exists=_with_twins,
        remark=_half,
    ),
    Quantity(
        "output_even_bias",
        "twin",
        "N",
        "Bias of the mean of pairs beside their twin (even part in C)",
        lambda t: of_pairs(bias(t.beside_twin.mean(1))),
        even_bias_order,
        slack=_twin_slack,
        exists=lambda design: design.twins and design.antithetic and not design.symmetric,
    ),
    Quantity(
        "output_even_bias",
        "pair-mean",
        "N",
        "Bias of the mean of pairs (even part in C)",
        lambda t: of_pairs(bias(t.output.mean(1))),
        even_bias_order,
        slack=_output_slack,
        exists=lambda design: design.antithetic and not design.symmetric,
    ),
    Quantity(
        "memory_rms",
        "plain",
        "N",
        "Memory error against the limit memory",
        lambda t: rms(t.of_law(t.memory)),
        square_root_order,
        slack=lambda t: t.memory_slack,
        leverage=lambda t: _mean_share(t.of_law(t.memory)),
    ),
    Quantity(
        "memory_fluctuation",
        "plain",
        "N",
        "Fluctuation of the memory around its mean",
        lambda t: spread(t.of_law(t.memory)),
        square_root_order,
        remark=_half,
    ),
    Quantity(
        "memory_bias",
        "pair-mean",
        "N",
        "Bias of the memory, mean of pairs",
        lambda t: of_pairs(bias(t.memory.mean(1))),
        even_bias_order,
        slack=lambda t: t.memory_slack,
        exists=_pairs,
        refusal=_skewed_pair,
    ),
    Quantity(
        "drift",
        "plain",
        "N",
        "Largest drift of an output weight",
        lambda t: average(t.of_law(t.drift)),
        drift_order,
        ordinate="mean over replicas",
    ),
    Quantity(
        "sgd_noise",
        "pair-mean",
        "K",
        "Noise of one-pass training, mean of pairs",
        _noise_in_k,
        square_root_order,
        exists=_pairs,
    ),
    Quantity(
        "sgd_noise",
        "plain",
        "K",
        "Noise of one-pass training",
        _noise_in_k,
        square_root_order,
        exists=lambda design: not design.antithetic,
        no_law=lambda _: "no pairs: the initial field is in it, which does not shrink with K",
    ),
    *OBSERVED,
)
QUANTITIES: dict[tuple[str, str], Quantity] = {entry.key: entry for entry in ENTRIES}


# --- twins -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class TwinQuantity:
    """What twins alone show as K grows; sample: from their errors against the limit (path, probe).

    against_limit: whether the limit's own error enters.
    """

    name: str
    title: str
    sample: Callable[[Array], Sample]
    expected: float
    against_limit: bool = False
    ordinate: str = "root mean square over probes"


TWIN_ENTRIES = (
    TwinQuantity("sgd_noise", "Noise of one-pass training, infinite width", lambda e: spread(e[:, None]), 0.5),
    TwinQuantity("sgd_bias", "Bias of one-pass training, infinite width", bias, 1.0, against_limit=True),
)


# --- couplings -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Contraction:
    """A geometric law seen in coupled paths of draw.h5; expected rates are those of the law of large numbers."""

    name: str
    distance: str
    variable: str
    title: str
    ordinate: str = "geometric mean over pairs"


CONTRACTIONS = (
    Contraction(
        "memory_contraction",
        "memory_log_distance",
        "hidden_updates",
        "Distance of two memories on one path",
    ),
    Contraction(
        "chain_contraction",
        "chain_log_distance",
        "chain_steps",
        "Distance of two chains with the same noise",
    ),
)
