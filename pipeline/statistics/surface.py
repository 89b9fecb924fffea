"""The surface error^2 = a N^-2p + b K^-2q over a grid of cells (N, K) that share replicas: two exponents, or a refusal.

The fit is weighted nonlinear least squares of log error. Near its optimum an exponent is a linear combination of the
logarithms of the estimates, so its interval follows from their joint bootstrap as in powerlaw.py. Source:
docs/theory/surface.md.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

import numpy as np
from scipy.optimize import brentq, least_squares, nnls

from rnnlimits.base.errors import StudyError
from rnnlimits.statistics.bootstrap import Array, degrees_of_freedom, quantile, standard_error
from rnnlimits.statistics.powerlaw import MISFIT, RESOLUTION, SIGNIFICANCE, Point

MINIMUM_VALUES = 3  # of each variable, at which its part of the error exceeds noise: two always fit one power law
MINIMUM_CELLS = 8  # twice the number of parameters
REACH = 1.0  # an interval that extends farther from the exponent does not determine it
STARTS = ((0.1, 0.5), (0.25, 0.5), (0.5, 0.5), (0.25, 0.25))  # (p, q) from which the fit begins
BEYOND_ALL = 500.0  # logarithm of a term that is negligible, or dominates all others


class Exponent(NamedTuple):
    """Value, standard error, 95% interval (not symmetrical, perhaps infinite) of an exponent."""

    value: float
    stderr: float
    low: float
    high: float

    @property
    def half_width(self) -> float:
        """Half the 95% interval."""
        return 0.5 * (self.high - self.low)


class Node(NamedTuple):
    """One cell of the grid and its estimate, a root mean square error."""

    width: int
    steps_per_time: int
    point: Point


@dataclass(frozen=True)
class Surface:
    """A fitted surface. The exponents' intervals are already widened by `scale`.

    n, k: exponents p and q; prefactors: roots of a and b, at N = 1 and K = 1. shares: (2, used) shares of the error's
    square that the two parts have. standing: number of values of N, of K, at which the part exceeds the noise.
    further: the third term, of MODELS, that the data required, or "". condition: of the weighted fit with columns of
    unit length; correlations: of (log a, p), (log b, q), (p, q). chi2_p, scale: as of powerlaw.Fit.
    """

    nodes: tuple[Node, ...]
    n: Exponent
    k: Exponent
    prefactors: tuple[float, float]
    shares: Array = field(repr=False)
    standing: tuple[int, int]
    further: str
    without: float
    condition: float
    correlations: tuple[float, float, float]
    chi2_p: float
    scale: float

    @property
    def notes(self) -> list[str]:
        """Short phrases that a reader of the exponents must know."""
        (a, b), (ap, bq, pq) = (100 * np.stack([s.min(), s.max()]) for s in self.shares), self.correlations
        notes = [
            f"share of the square: N part {a[0]:.0f} to {a[1]:.0f}%, K part {b[0]:.0f} to {b[1]:.0f}%",
            f"correlations (log a, p) {ap:.2f}, (log b, q) {bq:.2f}, (p, q) {pq:.2f}; condition {self.condition:.2g}",
        ]
        if self.further:
            notes.append(f"a term {MODELS[self.further].third} was needed (p = {self.without:.2g} without)")
        if self.chi2_p < MISFIT:
            notes.append(f"not one surface (p = {self.chi2_p:.2g}), intervals widened {self.scale:.1f} times")
        return notes


class SurfaceRefused(StudyError):
    """The grid does not determine both parts. `estimate` is a surface without a claim, or None."""

    def __init__(self, missing: str, estimate: Surface | None, nodes: Sequence[Node]) -> None:
        super().__init__(missing)
        self.estimate = estimate
        self.nodes = tuple(nodes)


# --- the models ------------------------------------------------------------------------------------------------

A, P, B, Q = range(4)  # places of the parameters; log c of a third term comes last


class Model(NamedTuple):
    """Error^2 as a sum of terms over nodes at log N and log K, both counted from the centre of the grid.

    Parameters theta: log a and log b, so that a and b are positive, at the centre, where they hardly depend on the
    exponents; p and q; with a third term log c. terms (theta, n, k): logarithms of the terms (term, node). jacobian
    (theta, n, k): derivatives of log error by the parameters (node, parameter).
    """

    third: str
    terms: Callable[[Array, Array, Array], Array]
    jacobian: Callable[[Array, Array, Array], Array]

    @property
    def parameters(self) -> int:
        """Number of parameters."""
        return 5 if self.third else 4


def _two_terms(theta: Array, n: Array, k: Array) -> Array:
    return _bounded(theta[A] - 2 * theta[P] * n, theta[B] - 2 * theta[Q] * k)


def _two_terms_jacobian(theta: Array, n: Array, k: Array) -> Array:
    of_n, of_k = _half_shares(_two_terms(theta, n, k))
    return _columns(of_n, of_n * (-2 * n), of_k, of_k * (-2 * k))


def _with_cross(theta: Array, n: Array, k: Array) -> Array:
    first, second = -2 * theta[P] * n, -2 * theta[Q] * k
    return _bounded(theta[A] + first, theta[B] + second, theta[-1] + (first + second))


def _with_cross_jacobian(theta: Array, n: Array, k: Array) -> Array:
    of_n, of_k, cross = _half_shares(_with_cross(theta, n, k))
    return _columns(of_n, (of_n + cross) * (-2 * n), of_k, (of_k + cross) * (-2 * k), cross)


def _with_constant(theta: Array, n: Array, k: Array) -> Array:
    return _bounded(theta[A] - 2 * theta[P] * n, theta[B] - 2 * theta[Q] * k, np.full_like(n, theta[-1]))


def _with_constant_jacobian(theta: Array, n: Array, k: Array) -> Array:
    of_n, of_k, constant = _half_shares(_with_constant(theta, n, k))
    return _columns(of_n, of_n * (-2 * n), of_k, of_k * (-2 * k), constant)


def _bounded(*terms: Array) -> Array:
    """The terms (term, node) limited to the range of an exponential: a trial step of the fit may go anywhere."""
    stacked = np.array(terms, dtype=np.float64)  # a fit calls this many thousand times: np.stack and np.clip are slower
    return np.minimum(np.maximum(stacked, -BEYOND_ALL, out=stacked), BEYOND_ALL, out=stacked)


def _columns(*columns: Array) -> Array:
    matrix = np.empty((len(columns[0]), len(columns)))
    for place, column in enumerate(columns):
        matrix[:, place] = column
    return matrix


def _half_shares(terms: Array) -> Array:
    """Derivatives of log error by the logarithms of the terms: half their shares of the square."""
    return np.asarray(0.5 * np.exp(terms - np.logaddexp.reduce(terms)), dtype=np.float64)


MODELS = {  # a third term joins if two terms do not fit: see `fit`
    "": Model("", _two_terms, _two_terms_jacobian),
    "cross": Model("c N^-2p K^-2q", _with_cross, _with_cross_jacobian),
    "constant": Model("c", _with_constant, _with_constant_jacobian),
}


# --- the fit ---------------------------------------------------------------------------------------------------


def fit(nodes: Sequence[Node]) -> Surface:
    """Fit the surface to the usable nodes.

    Two terms are fitted. Only where their residuals are larger than chance allows (p < powerlaw.MISFIT, 1%) each third
    term of MODELS is tried, and the one that fits best is kept if its residuals pass the same test; otherwise the two
    terms stay and the intervals are widened. Raises SurfaceRefused, carrying the estimate, when the grid is too
    small or a part does not exceed the noise.
    """
    used = tuple(node for node in nodes if not node.point.reason)
    if reason := too_small(used):
        raise SurfaceRefused("; ".join([reason, *_dropped(nodes)]), None, nodes)
    surface = _fit(used, tuple(nodes))
    if reason := _hidden(surface):
        raise SurfaceRefused("; ".join([reason, *_dropped(nodes)]), surface, nodes)
    return surface


def too_small(nodes: Sequence[Node]) -> str:
    """The reason why no surface can be fitted to these nodes, or ""."""
    for name, values in (("N", {n.width for n in nodes}), ("K", {n.steps_per_time for n in nodes})):
        if len(values) == 1:
            other = "N" if name == "K" else "K"
            return (
                f"one {name} only ({min(values)}): a surface with one {name} cannot separate {name} and {other} parts"
            )
        if len(values) < MINIMUM_VALUES:
            return f"{len(values)} usable values of {name}, a surface needs {MINIMUM_VALUES}"
    few = len(nodes) < MINIMUM_CELLS
    return f"{len(nodes)} usable cells, a surface needs {MINIMUM_CELLS}" if few else ""


def _dropped(nodes: Sequence[Node]) -> list[str]:
    """One phrase for each reason why cells were left out."""
    reasons: dict[str, list[str]] = {}
    for node in nodes:
        if node.point.reason:
            reasons.setdefault(node.point.reason, []).append(f"N={node.width} K={node.steps_per_time}")
    return [f"left out at {', '.join(where)}: {reason}" for reason, where in reasons.items()]


def _hidden(surface: Surface) -> str:
    """The part that the data do not determine, with the reason, or ""."""
    parts = zip("NK", "KN", (surface.n, surface.k), surface.standing, surface.shares, strict=True)
    for name, other, exponent, standing, shares in parts:
        if standing and np.isfinite(exponent.half_width):
            continue
        finding = (
            f"has an exponent from {exponent.low:.2g} to {exponent.high:.2g}"
            if standing
            else "does not exceed the noise anywhere"
        )
        share = f"at most {100 * shares.max():.2g}% of the square"
        return f"the {name} part ({share}) {finding}: more replicas, larger {other}, or smaller {name}"
    return ""


def _fit(used: tuple[Node, ...], nodes: tuple[Node, ...]) -> Surface:
    sheet = _Sheet(used, "")
    without = sheet.chi2_p
    if without < MISFIT:
        others = [_Sheet(used, further) for further in MODELS if further]
        best = max(others, key=lambda other: other.chi2_p)
        sheet = best if best.chi2_p >= MISFIT else sheet
    p, q = (sheet.exponent(index) for index in (P, Q))
    return Surface(
        nodes=nodes,
        n=p,
        k=q,
        prefactors=sheet.prefactors(),
        shares=sheet.shares[:2],
        standing=sheet.standing(),
        further=sheet.further,
        without=without,
        condition=sheet.condition(),
        correlations=sheet.correlations(),
        chi2_p=sheet.chi2_p,
        scale=sheet.scale,
    )


class _Sheet:
    """Weighted least squares of y = log error over the used nodes with one model, and the parameters' bootstrap."""

    def __init__(self, nodes: Sequence[Node], further: str) -> None:
        points = [node.point for node in nodes]
        self.further, self.model = further, MODELS[further]
        self.log_n = np.log([node.width for node in nodes])
        self.log_k = np.log([node.steps_per_time for node in nodes])
        self.y = np.array([point.log for point in points])
        self.replicates = np.column_stack([point.log_replicates for point in points])
        self.influence = _stacked([point.log_influence for point in points])
        units = np.array([point.units for point in points])
        self.variance = _smooth_variance(self.log_n, self.log_k, self.replicates, units)
        self.weight = 1 / self.variance
        self.centre = np.average([self.log_n, self.log_k], axis=1, weights=self.weight)
        self.centred = self.log_n - self.centre[0], self.log_k - self.centre[1]
        self.theta = self._solve()
        self.chi2_p, self.scale = self._goodness()

    def terms(self, theta: Array) -> Array:
        """Logarithms of the terms of error^2 (term, node)."""
        return self.model.terms(theta, *self.centred)

    def jacobian(self, theta: Array) -> Array:
        """Derivatives of log error by the parameters (node, parameter)."""
        return self.model.jacobian(theta, *self.centred)

    def _solve(self) -> Array:
        fits = [self._least(self._start(p, q)) for p, q in STARTS]
        return min(fits, key=lambda one: one[1])[0]

    def _least(self, start: Array, fixed: int | None = None) -> tuple[Array, float]:
        """Parameters that minimise the weighted squares, starting from `start`, with `fixed` held; and the sum."""
        free = [index for index in range(len(start)) if index != fixed]
        root = np.sqrt(self.weight)

        def with_free(values: Array) -> Array:
            theta = start.copy()
            theta[free] = values
            return theta

        optimum = least_squares(
            lambda values: root * self.residual(with_free(values)),
            start[free],
            jac=lambda values: -root[:, None] * self.jacobian(with_free(values))[:, free],
            method="lm",
            x_scale="jac",
            xtol=1e-6,
            ftol=1e-8,
            max_nfev=100,
        )
        return with_free(optimum.x), float(optimum.cost)

    def residual(self, theta: Array) -> Array:
        """Logarithms of the estimates minus fitted ones (node,)."""
        return np.asarray(self.y - 0.5 * np.logaddexp.reduce(self.terms(theta)), dtype=np.float64)

    def _start(self, p: float, q: float) -> Array:
        """The best non-negative a, b (and c) for given exponents, relative to the estimates."""
        zero = np.zeros(self.model.parameters)
        zero[[P, Q]] = p, q
        size = np.exp(self.terms(zero) - 2 * self.y).T
        root = np.sqrt(self.weight / self.weight.max())
        amounts, _ = nnls(root[:, None] * size, root)
        amounts = np.log(np.maximum(amounts, 1e-3 / size.max(0)))
        return np.array([amounts[0], p, amounts[1], q, *amounts[2:]])

    @cached_property
    def solver(self) -> Array:
        """Linear map (parameter, node) from a small change of y to that of the parameters."""
        return self._solver(self.theta)

    def _solver(self, theta: Array) -> Array:
        root = np.sqrt(self.weight)
        return np.asarray(np.linalg.pinv(root[:, None] * self.jacobian(theta)) * root, dtype=np.float64)

    @cached_property
    def shares(self) -> Array:
        """Shares (term, node) of the error's square."""
        terms = self.terms(self.theta)
        return np.asarray(np.exp(terms - np.logaddexp.reduce(terms)), dtype=np.float64)

    def _goodness(self) -> tuple[float, float]:
        """(p-value, widening), as for a line: residuals compared with those of the bootstrap."""
        off = np.eye(len(self.y)) - self.jacobian(self.theta) @ self.solver
        weight = self.weight / self.weight.sum()
        observed = float(weight @ np.square(self.residual(self.theta)))
        chance = np.square((self.replicates - self.replicates.mean(0)) @ off.T) @ weight + RESOLUTION**2
        p = float((1 + np.sum(chance >= observed)) / (1 + len(chance)))
        return p, float(np.sqrt(max(1.0, observed / chance.mean()))) if p < MISFIT else 1.0

    def error(self, coefficients: Array) -> tuple[float, float]:
        """Standard error of coefficients @ y, widened by `scale`, and half its 95% interval.

        A widened interval has at most the residuals' degrees of freedom.
        """
        rounding = RESOLUTION * float(np.sqrt(np.square(coefficients).sum()))
        stderr = self.scale * float(np.hypot(standard_error(self.replicates @ coefficients), rounding))
        dof = degrees_of_freedom(self.influence @ coefficients)
        if self.scale > 1.0:
            dof = min(dof, float(len(self.y) - len(self.theta)))
        return stderr, quantile(dof) * stderr

    def exponent(self, index: int) -> Exponent:
        """An exponent with its interval: the values that the data do not exclude.

        A value is excluded if, from the best surface with that value, one linear step to the exponent that fits best is
        longer than half an interval there. Unlike the estimate plus or minus its error this is valid where the part
        hardly exceeds the noise: the data determine an exponent less well if it makes that part smaller.
        """
        value = float(self.theta[index])
        stderr, half = self.error(self.solver[index])
        low, high = (self._bound(index, sign, half) for sign in (-1, 1))
        return Exponent(value, stderr, low, high)

    def _bound(self, index: int, sign: int, half: float) -> float:
        """The value of the parameter beyond which, on one side, values are excluded; infinite if not within REACH."""
        value, near = float(self.theta[index]), 0.0

        def excess(distance: float) -> float:
            if distance == 0:
                return -1.0  # the step from the overall best surface is 0
            exponents = {P: self.theta[P], Q: self.theta[Q], index: value + sign * distance}
            theta, _ = self._least(self._start(exponents[P], exponents[Q]), index)
            coefficients = self._solver(theta)[index]
            allowed = self.error(coefficients)[1]
            step = -sign * float(coefficients @ self.residual(theta))
            return step / allowed - 1 if allowed > 0 else -1.0  # a part that has vanished does not exclude any value

        far = min(half, REACH)
        while excess(far) < 0:
            if far >= REACH:
                return sign * np.inf
            near, far = far, min(1.5 * far, REACH)
        return value + sign * float(brentq(excess, near, far, xtol=0.01 * half))

    def prefactors(self) -> tuple[float, float]:
        """Roots of a and b at N = 1 and K = 1."""
        a, p, b, q = self.theta[:4]
        return float(np.exp(0.5 * a + p * self.centre[0])), float(np.exp(0.5 * b + q * self.centre[1]))

    def standing(self) -> tuple[int, int]:
        """Number of values of N (K) at which the N (K) part is at least SIGNIFICANCE standard errors of the square."""
        exceeds = self.shares[:2] >= SIGNIFICANCE * 2 * np.sqrt(self.variance)
        return len(set(self.log_n[exceeds[0]])), len(set(self.log_k[exceeds[1]]))

    def condition(self) -> float:
        """Condition number of the weighted Jacobian, its columns scaled to unit length."""
        columns = np.sqrt(self.weight)[:, None] * self.jacobian(self.theta)
        return float(np.linalg.cond(columns / np.linalg.norm(columns, axis=0)))

    def correlations(self) -> tuple[float, float, float]:
        """Correlations of (log a, p), (log b, q), (p, q) over the bootstrap; a and b are those at N = 1 and K = 1."""
        a, p, b, q = (self.replicates @ self.solver[:4].T).T
        pairs = ((a + 2 * p * self.centre[0], p), (b + 2 * q * self.centre[1], q), (p, q))
        first, second, third = (float(np.corrcoef(*pair)[0, 1]) for pair in pairs)
        return first, second, third


def _smooth_variance(n: Array, k: Array, replicates: Array, units: Array) -> Array:
    """Variances of y (node,) whose logarithm, for one unit, is a plane in (log N, log K): see powerlaw's weights."""
    columns = np.column_stack([np.ones_like(n), n, k])
    logs = np.log((replicates.var(0) + RESOLUTION**2) * units)
    plane = columns @ np.linalg.lstsq(columns, logs, rcond=None)[0]
    return np.asarray(np.exp(plane) / units, dtype=np.float64)


def _stacked(influences: Sequence[Array]) -> Array:
    """The influences as an array (unit, node), zero where a cell lacks the unit."""
    stacked = np.zeros((max(map(len, influences)), len(influences)))
    for j, influence in enumerate(influences):
        stacked[: len(influence), j] = influence
    return stacked
