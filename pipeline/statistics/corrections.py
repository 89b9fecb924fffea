"""The exponent at infinity from finite widths: fits with a correction to scaling, averaged over their assumptions.

Over finite widths a quantity is y = a N^-p (1 + u (N/N_0)^-w + ...), and a plain power law measures no p at all but a
local exponent. The size u of the first correction, at the smallest width N_0, is not known, nor which of the exponents
w that theory offers comes first, nor from which width on one correction is enough. Each choice is a fit; all are
averaged by their evidence, so that the interval contains what is not known. Source: docs/theory/verdicts.md.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy.special import ndtr, ndtri

from rnnlimits.statistics.bootstrap import Array, degrees_of_freedom, quantile
from rnnlimits.statistics.powerlaw import MINIMUM_POINTS, RESOLUTION, Line, Point

USUAL = (0.5, 1.0)  # exponents of the correction where theory gives none
LARGEST = (-0.8, 1.5)  # of a correction, relative to the leading term at the smallest width that is kept
TYPICAL = 0.4  # standard deviation of its size before any data
SIZES = np.linspace(*LARGEST, 231)
EXCUSED = 3e-3  # relative error that one correction is allowed: the further ones
SHRINK = 0.1  # weight of independent errors in the covariance that a fit works with
NEGLIGIBLE = 1e-7  # weight of a fit that is not averaged
NORMAL = float(ndtri(0.975))
SEARCH = 30  # bisections for the ends of the interval


@dataclass(frozen=True)
class Corrected:
    """The exponent at infinity: mean over all fits, standard deviation, 95% interval."""

    value: float
    stderr: float
    low: float
    high: float


class _Fits(NamedTuple):
    """Fits of one correction over one window, by its size: exponents, their error, logarithms of the evidence."""

    exponent: Array
    stderr: float
    evidence: Array


def corrected(points: Sequence[Point], corrections: Sequence[float] = USUAL) -> Corrected | None:
    """The exponent at infinity from usable points in increasing order; None if they are too few.

    corrections: exponents w > 0 of the first correction. The smallest points are left out one by one, as long as
    half of them, and MINIMUM_POINTS, remain. A fit has the weight exp(-(chi2 + 2 parameters + 2 points left out) / 2).
    """
    if len(points) < MINIMUM_POINTS:
        return None
    line = Line(np.log([point.variable for point in points]), list(points))
    fits = list(_fits(line, sorted({w for w in corrections if w > 0}) or list(USUAL)))
    evidence = np.concatenate([fit.evidence for fit in fits])
    weight = np.exp(evidence - evidence.max())
    exponent = np.concatenate([fit.exponent for fit in fits])
    stderr = np.concatenate([np.full(len(fit.exponent), fit.stderr) for fit in fits])
    return _average(exponent, stderr, weight / weight.sum())


def _fits(line: Line, corrections: Sequence[float]) -> Iterator[_Fits]:
    """All fits; misfits common to all of them, if any, count as noise."""
    n = len(line.x)
    kept = range(min(max(MINIMUM_POINTS, (n + 1) // 2), n), n + 1)
    windows = [_Window(line, n - keep) for keep in kept]
    scale = max(1.0, min(window.least(corrections) for window in windows))
    for window in windows:
        yield window.fits(None, scale)
        for w in corrections:
            yield window.fits(w, scale)


class _Window:
    """The points from `first` on, and the least squares of straight lines through them."""

    def __init__(self, line: Line, first: int) -> None:
        self.first = first
        self.x, self.y = line.x[first:], line.y[first:]
        self.replicates, influence = line.replicates[:, first:], line.influence[:, first:]
        covariance = _working(self.replicates)
        design = np.column_stack([np.ones_like(self.x), -self.x])
        inverse = np.linalg.inv(covariance)
        self.solver = np.linalg.solve(design.T @ inverse @ design, design.T @ inverse)
        off = np.eye(len(self.x)) - design @ self.solver
        self.metric = off.T @ inverse @ off
        spread = float(np.std(self.replicates @ self.solver[1]))
        rounding = RESOLUTION * float(np.sqrt(np.square(self.solver[1]).sum()))
        student = quantile(degrees_of_freedom(influence @ self.solver[1])) / NORMAL
        self.stderr = student * float(np.hypot(spread, rounding))

    def shifted(self, w: float | None) -> Array:
        """Logarithms of the points (size, point) without a correction of each size."""
        if w is None:
            return self.y[None]
        return np.asarray(self.y - np.log1p(SIZES[:, None] * np.exp(-w * (self.x - self.x[0]))), dtype=np.float64)

    def squares(self, w: float | None) -> Array:
        """Weighted squares of the residuals (size,)."""
        shifted = self.shifted(w)
        return np.asarray(np.einsum("si,ij,sj->s", shifted, self.metric, shifted), dtype=np.float64)

    def least(self, corrections: Sequence[float]) -> float:
        """The squares of the best fit with a correction, per degree of freedom; infinite if there is none."""
        free = len(self.x) - 3
        return min(float(self.squares(w).min()) for w in corrections) / free if free > 0 else np.inf

    def fits(self, w: float | None, scale: float) -> _Fits:
        """The fits with one correction, of every size, or without any."""
        sizes = np.zeros(1) if w is None else SIZES
        prior = np.exp(-0.5 * np.square(sizes / TYPICAL))
        evidence = np.log(prior / prior.sum()) - 0.5 * self.squares(w) / scale - self.first
        return _Fits(self.shifted(w) @ self.solver[1], self.stderr * np.sqrt(scale), evidence)


def _working(replicates: Array) -> Array:
    """The covariance (point, point) that fits work with: correlations a little shrunk, further corrections excused."""
    covariance = np.atleast_2d(np.cov(replicates.T, bias=True))
    alone = np.diag(np.diag(covariance))
    return np.asarray((1 - SHRINK) * covariance + SHRINK * alone + EXCUSED**2 * np.eye(len(alone)), dtype=np.float64)


def _average(exponent: Array, stderr: Array, weight: Array) -> Corrected:
    """Mean, deviation and interval of a mixture of normal laws."""
    keep = weight > NEGLIGIBLE
    exponent, stderr, weight = exponent[keep], stderr[keep], weight[keep] / weight[keep].sum()
    mean = float(weight @ exponent)
    deviation = float(np.sqrt(weight @ (np.square(stderr) + np.square(exponent - mean))))

    def end(share: float) -> float:
        low, high = float((exponent - 9 * stderr).min()), float((exponent + 9 * stderr).max())
        for _ in range(SEARCH):
            middle = 0.5 * (low + high)
            below = float(weight @ ndtr((middle - exponent) / stderr)) < share
            low, high = (middle, high) if below else (low, middle)
        return 0.5 * (low + high)

    return Corrected(mean, deviation, end(0.025), end(0.975))
