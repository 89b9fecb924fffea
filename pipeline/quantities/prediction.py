"""Predicted values of a cell's quantities at its own N, beta and K, with nothing fitted.

From rich twins, the mean at this richness on each path; from their tangents, the variance over networks and the 1/N
term of the mean. Source: docs/model.md, "Finite width".
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from rnnlimits.statistics.bootstrap import Array, Sample
from rnnlimits.statistics.predictions import Foreseen
from rnnlimits.statistics.samples import average, bias, of_pairs, rms, spread
from rnnlimits.theory.observe import AtProbes
from rnnlimits.theory.untrained import Untrained


@dataclass(frozen=True, eq=False)
class CellPrediction:
    """One cell at the final time.

    rich: by name ("output" and "memory" as errors against the limit, "loss", "drift_c_rms"), (unit, member, ...), in
    the order of the cell's units, one member where both of a pair have one law. twin: error of the infinite-width twin
    on each path (unit, probe); twin_loss (unit, bin). tangents: variables of a file of tangents (path, ...), on a few
    paths, for a network of one unit: a width N divides them by N. hidden: the distance of the hidden layer from the
    limit's at the end of each probe history, as a function of the error of the memory (..., probe). probes: the limit
    along probe histories. untrained: networks before training. seed: of draws from Gaussian laws.
    """

    width: int
    rich: Mapping[str, Array]
    twin: Array
    twin_loss: Array
    tangents: Mapping[str, Array]
    hidden: Callable[[Array], Array] | None = None
    probes: AtProbes | None = None
    untrained: Untrained | None = None
    seed: int = 0
    ladder: Sequence[tuple[int, Mapping[str, Array]]] = ()
    node_error: Array | float = 0.0
    directions_error: float = 0.0

    @property
    def left_out(self) -> float:
        """Relative error of every predicted value: the next order in means over N units, and too few directions."""
        return math.hypot(1 / self.width, 0.5 * self.directions_error)

    def members(self, name: str) -> Array:
        """Values of the rich twin of both members of a pair (unit, 2, ...)."""
        values = self.rich[name]
        return values if values.shape[1] == 2 else np.repeat(values, 2, axis=1)

    def of_law(self, name: str) -> Array:
        """Values of the member whose C has the study's law (unit, 1, ...)."""
        return self.rich[name][:, :1]

    def second(self, name: str) -> Array:
        """The 1/N term of the mean over networks, of the member that has the study's law."""
        return np.asarray(self.tangents[f"{name}_second"].mean(0)[0] / self.width)

    def second_of_pairs(self, name: str) -> Array:
        """The 1/N term of the mean over pairs."""
        return np.asarray(self.tangents[f"{name}_second"].mean((0, 1)) / self.width)

    def variance(self, name: str) -> Array:
        """The variance over networks on one path, of the member that has the study's law."""
        return np.asarray(self.tangents[f"{name}_variance"].mean(0)[0] / self.width)

    def variance_of_pairs(self, name: str, kind: str) -> Array:
        """The variance over half-differences ("half") or means ("mean") of pairs on one path."""
        return np.asarray(self.tangents[f"{name}_{kind}_variance"].mean(0) / self.width)

    def error(self, name: str, share: float = 1.0) -> float:
        """Relative standard error of a root of this variable, known on a few paths; share: its part of the square."""

        def of_paths(tangents: Mapping[str, Array]) -> Array:
            values = tangents[name]
            values = values[:, 0] if "_half" not in name and "_mean" not in name else values
            return np.asarray(values.reshape(len(values), -1).mean(1)[:, None])

        return share * 0.5 * self.scatter_of_paths(of_paths)

    def scatter_of_paths(self, of_paths: Callable[[Mapping[str, Array]], Array]) -> float:
        """Relative standard error of the mean of of_paths(tangents) (path, ...) over this cell's paths.

        The relative variance of one path falls like 1/K, and is pooled over the ladder: its largest K have two paths.
        Cells whose tangents have one K share these paths, and their errors: each then counts as much as all of them.
        """
        found = [(steps, of_paths(tangents)) for steps, tangents in self.ladder or ((1, self.tangents),)]
        freedom = sum(len(values) - 1 for _, values in found)
        pooled = sum((len(values) - 1) * steps * _relative_variance(values) for steps, values in found) / freedom
        own_steps, own = found[0]
        sharing = sum(steps == own_steps for steps, _ in found)
        return math.sqrt(sharing * pooled / (own_steps * len(own)))

    def truncation(self) -> float:
        """The relative size of what second order leaves out of products of two errors.

        Errors of outputs are of order eps^-1 N^-1/2, which falls slowly where beta is near 1/2, so that the next order
        is smaller than the second only by their square, compared with that of the residual: the loss.
        """
        return float(self.variance("output").mean() / _late_bins(self.of_law("loss")).mean())


def _relative_variance(values: Array) -> float:
    """The variance over paths (path, ...) of one path relative to the squared mean, both averaged over the rest."""
    square = float(np.square(values.mean(0)).mean())
    return float(values.var(0, ddof=1).mean()) / square if square > 0 else 0.0


def of_paths(squares: Array) -> tuple[float, float]:
    """The root of the mean of squares (path,) of a few paths, and its relative standard error."""
    mean, error = float(squares.mean()), float(squares.std(ddof=1)) / len(squares) ** 0.5
    return math.sqrt(mean), 0.5 * error / mean if mean > 0 else 0.0


GAUSS_NODES = 9  # for the law of the memory's error: the squared distance is nearly a parabola

Foresight = Callable[[CellPrediction], Foreseen]


# --- squares of errors -------------------------------------------------------------------------------------------


def rms_of(name: str, twin: bool = False) -> Foresight:
    """Root mean square over networks and probes of an error against the limit, or against the twin on its path."""

    def foreseen(cell: CellPrediction) -> Foreseen:
        mean = cell.of_law(name) + cell.second(name)
        if twin:
            mean = mean - cell.twin[:, None]
        scatter = float(cell.variance(name).mean())
        sample = plus(rms(mean), scatter)
        return _with_error(sample, cell, f"{name}_variance", scatter)

    return foreseen


def spread_of(name: str) -> Foresight:
    """Standard deviation over networks, each on its own path."""

    def foreseen(cell: CellPrediction) -> Foreseen:
        scatter = float(cell.variance(name).mean())
        return _with_error(plus(spread(cell.of_law(name)), scatter), cell, f"{name}_variance", scatter)

    return foreseen


def half_difference_of(name: str) -> Foresight:
    """Standard deviation over half-differences of pairs."""

    def foreseen(cell: CellPrediction) -> Foreseen:
        both = cell.members(name)
        scatter = float(cell.variance_of_pairs(name, "half").mean())
        sample = plus(spread(0.5 * (both[:, :1] - both[:, 1:])), scatter)
        return _with_error(sample, cell, f"{name}_half_variance", scatter)

    return foreseen


def pair_mean_of_output(cell: CellPrediction) -> Foreseen:
    """Standard deviation over means of pairs, each on its own path."""
    scatter = float(cell.variance_of_pairs("output", "mean").mean())
    mean = cell.members("output").mean(1, keepdims=True)
    return _with_error(plus(spread(mean), scatter), cell, "output_mean_variance", scatter)


def even_part_of_output(cell: CellPrediction) -> Foreseen:
    """Standard deviation over means of pairs, each less the twin on its path."""
    scatter = float(cell.variance_of_pairs("output", "mean").mean())
    mean = cell.members("output").mean(1, keepdims=True) - cell.twin[:, None]
    return _with_error(plus(spread(mean), scatter), cell, "output_mean_variance", scatter)


def _with_error(sample: Sample, cell: CellPrediction, name: str, scatter: float) -> Foreseen:
    value = float(sample.combine(sample.statistics.mean(0), np.array(1 / len(sample))))
    return Foreseen(sample, cell.error(name, scatter / value if value > 0 else 0.0))


def plus(sample: Sample, scatter: float) -> Sample:
    """The sample with a constant added to its value, a square."""
    combine = sample.combine
    return replace(sample, combine=lambda mean, concentration: combine(mean, concentration) + scatter)


def hidden_layer(cell: CellPrediction) -> Foreseen:
    """Root mean square over networks and probes of the hidden layer's distance, a function of the memory's error alone.

    The mean over the Gaussian law of that error, by Gauss-Hermite nodes.
    """
    from scipy.special import roots_hermitenorm  # imported here, as it takes a fifth of a second

    assert cell.hidden is not None
    points, weights = roots_hermitenorm(GAUSS_NODES)
    mean = cell.of_law("memory")[:, 0] + cell.second("memory")
    errors = mean[:, None] + points[:, None] * np.sqrt(cell.variance("memory"))
    squares = np.einsum("q,uqp->up", weights / weights.sum(), np.square(cell.hidden(errors)))
    return Foreseen(rms(np.sqrt(squares)[:, None]), cell.error("memory_variance"))


# --- means -------------------------------------------------------------------------------------------------------


def bias_of(name: str, twin: bool = False, pairs: bool = False) -> Foresight:
    """Root mean square over probes of the mean error, against the limit or against twins."""

    def foreseen(cell: CellPrediction) -> Foreseen:
        if pairs:
            mean = cell.members(name).mean(1) + cell.second_of_pairs(name)
        else:
            mean = cell.of_law(name)[:, 0] + cell.second(name)
        sample = bias(mean - cell.twin) if twin else bias(mean)
        errors = second_error(cell, name, sample), _node_error(cell, name, sample)
        return Foreseen(of_pairs(sample) if pairs else sample, math.hypot(*errors))

    return foreseen


def beyond_rich(cell: CellPrediction) -> Foreseen:
    """Root mean square over probes of the 1/N term alone."""
    terms = cell.second_of_pairs("output")
    return Foreseen(
        float(np.sqrt(np.square(terms).mean())), cell.scatter_of_paths(lambda of: of["output_second"].mean(1))
    )


def drift_of(name: str) -> Foresight:
    """Root mean square over networks and units of a drift."""

    def foreseen(cell: CellPrediction) -> Foreseen:
        mean, second = float(np.square(cell.of_law(f"{name}_rms")).mean()), float(cell.second(name))
        sample = plus(rms(cell.of_law(f"{name}_rms")[..., None]), second)
        above = _products_beyond(mean, second) if name == "drift_b" else 0.0
        return Foreseen(sample, second_error(cell, name, sample), above)

    return foreseen


def _products_beyond(mean: float, second: float) -> float:
    """By what part, at most, the products that second order leaves out raise the root mean square of B's drift.

    B moves by the residual times a mean over units. Of the mean square of (r + r')(m + m'), where r' and m' vary over
    networks, second order has r^2 m^2, the rich twin's, and r^2 m'^2 + r'^2 m^2. It leaves out r'^2 m'^2, which is at
    most a quarter of the latter's square over the former.
    """
    if not (mean > 0 and second > 0):
        return 0.0
    return math.sqrt(1 + second**2 / (4 * mean) / (mean + second)) - 1


def loss_excess(cell: CellPrediction) -> Foreseen:
    """Mean over networks and late bins of the loss less the twin's."""
    sample = replace(average(_late(cell) + cell.second("late_loss")), signed=True)
    value = abs(float(sample.combine(sample.statistics.mean(0), np.array(1 / len(sample)))))
    error = math.hypot(_stderr_of_second(cell, "late_loss"), _loss_by_nodes(cell))
    return Foreseen(sample, math.hypot(error / value if value > 0 else 0.0, cell.truncation()))


def loss_fluctuation(cell: CellPrediction) -> Foreseen:
    """Standard deviation over networks of that difference."""
    scatter = float(cell.variance("late_loss"))
    foreseen = _with_error(plus(spread(_late(cell)[..., None]), scatter), cell, "late_loss_variance", scatter)
    return replace(foreseen, apart=math.hypot(foreseen.apart, cell.truncation()))


def _late(cell: CellPrediction) -> Array:
    """Loss of the rich twin less that of the twin (unit, 1), last quarter of the bins."""
    return np.asarray(_late_bins(cell.of_law("loss")).mean(-1) - _late_bins(cell.twin_loss).mean(-1)[:, None])


def _loss_by_nodes(cell: CellPrediction) -> float:
    """Standard error that nodes leave in the late loss, a square r^2 that they change by 2 r dy: at most twice this."""
    output = float(np.square(cell.tangents["output_error_nodes"].mean((0, 1))).mean())
    return math.sqrt(float(_late_bins(cell.twin_loss).mean()) * output)


def _late_bins(values: Array) -> Array:
    return values[..., 3 * values.shape[-1] // 4 :]


def _node_error(cell: CellPrediction, name: str, sample: Sample) -> float:
    """Relative error that the number of nodes leaves in an estimate of the mean of the output or the memory."""
    value = float(sample.combine(sample.statistics.mean(0), np.array(1 / len(sample))))
    error = float(np.sqrt(np.square(cell.tangents[f"{name}_error_nodes"].mean((0, 1))).mean()))
    return error / value**sample.power if value > 0 else 0.0


def _stderr_of_second(cell: CellPrediction, name: str) -> float:
    size = float(np.sqrt(np.square(cell.second(name)).mean()))
    return size * cell.scatter_of_paths(lambda of: of[f"{name}_second"][:, 0].reshape(len(of[f"{name}_second"]), -1))


def second_error(cell: CellPrediction, name: str, sample: Sample) -> float:
    """Relative standard error that the 1/N term, known on a few paths, leaves in an estimate."""
    error = _stderr_of_second(cell, name)
    value = float(sample.combine(sample.statistics.mean(0), np.array(1 / len(sample))))
    if value <= 0:
        return 0.0
    return sample.power * error / value if name.startswith("drift") else error / value**sample.power
