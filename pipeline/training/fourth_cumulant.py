"""The excess kurtosis over networks of half-differences of pairs, to first order in 1/N, from tangents of rich twins.

On one path it needs the influence of each node, how that responds to mass that moves along the influence itself, and
the third derivative along it. All three are differences of tangents with masses that are moved a little both ways; as
the direction is odd in C, one way is the other with -C in place of C. Source: docs/theory/outputs.md, "Law".
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from rnnlimits.chains import paths as chains
from rnnlimits.kernels import on_processor
from rnnlimits.kernels.interface import Array, Backend, Training
from rnnlimits.study import Study
from rnnlimits.theory.laws import ParameterLaw
from rnnlimits.theory.moments import jackknife_error
from rnnlimits.theory.units import UnitNodes
from rnnlimits.training.plan import RichTwin
from rnnlimits.training.rich import kernel_training, recent
from rnnlimits.training.tangents import FIRST, FORGOTTEN, NEGLIGIBLE, VALUE

GROUPS = 8  # of paths, left out in turn; one path of each has derivatives of the influence
PATHS = 256  # whose variances show how these scatter over paths
STEPS_PER_TIME = 32  # above it the constants change by a few percent
W_NODES = 12  # along each axis: twice as many change the constants by less than the paths do
MOST_NODES = 256  # the time grows with their square
SMALL = 0.05  # by how much a mass is moved, of itself, at most


@dataclass(frozen=True, eq=False)
class Kurtosis:
    """N times the root mean square over probes of the excess kurtosis, at K = N, and its standard error."""

    value: float
    stderr: float


def kurtosis_of(study: Study, twin: RichTwin, be: Backend) -> Kurtosis | None:
    """That of networks of the twin's richness and depth; None for a skewed law of C, and where nodes are too many."""
    law, host = ParameterLaw.of(study), on_processor(be)
    nodes = law.nodes(W_NODES, study.features).without(NEGLIGIBLE)
    ends = UnitNodes.product(law, nodes, study.rich.c_nodes, study.rich.b_nodes)
    if ends.opposite is None or len(ends) > MOST_NODES:
        return None
    steps = max(1, round(study.training.horizon * STEPS_PER_TIME))
    x, _, y = chains.training_paths(study, host, np.arange(PATHS, dtype=np.uint32)).take(steps)
    training = kernel_training(study, replace(twin, steps_per_time=STEPS_PER_TIME), 1.0, len(ends))
    return _kurtosis(_Influences(host, training, ends, ends.opposite, x, y, recent(study, host, FORGOTTEN)))


def _kurtosis(influences: _Influences) -> Kurtosis:
    each = PATHS // GROUPS
    groups = [slice(first, first + each) for first in range(0, PATHS, each)]
    odd = np.concatenate([influences.odd(group) for group in groups])
    variance = odd**2 @ influences.ends.weight
    alone = np.stack([_of_path(influences, group.start, odd[group.start]) for group in groups])
    less = [_rms(np.delete(alone, j, 0), np.delete(variance, group, 0)) for j, group in enumerate(groups)]
    return Kurtosis(_rms(alone, variance), float(jackknife_error(np.array(less))))


def _rms(alone: Array, variance: Array) -> float:
    """From kurtoses (path, probe) on one path, and variances (path, probe), whose own scatter is of order 1/K."""
    of_paths = 3 * STEPS_PER_TIME * variance.var(0, ddof=1) / variance.mean(0) ** 2
    return float(np.sqrt(np.square(alone.mean(0) + of_paths).mean()))


def _of_path(influences: _Influences, path: int, odd: Array) -> Array:
    """N times the excess kurtosis (probe,) on one path; odd: its influences (probe, node)."""
    return np.array([_of_probe(influences, path, probe, one) for probe, one in enumerate(odd)])


def _of_probe(influences: _Influences, path: int, probe: int, odd: Array) -> float:
    weight = influences.ends.weight
    deviation = float(np.sqrt(weight @ odd**2))
    along = odd / deviation
    step = SMALL / float(np.abs(along).max())
    half, up, down = influences.moved(path, probe, step * along)
    bent = (up - down) / (2 * step)
    bent = (bent - weight @ bent) / deviation
    third = 3 * (weight @ (along * up) - half / step) / step**2 / deviation
    own = weight @ along**4 - 3
    return float(own + 12 * (weight @ (along**2 * bent) + weight @ bent**2) + 4 * third)


@dataclass(frozen=True, eq=False)
class _Influences:
    """Influences of nodes on half-differences of pairs at the horizon; paths x (path, step, d), y (path, step)."""

    be: Backend
    training: Training
    ends: UnitNodes
    opposite: NDArray[np.intp]
    x: Array
    y: Array
    histories: Array

    def odd(self, paths: slice) -> Array:
        """Influences (path, probe, node)."""
        _, response = self._followed(paths, self.ends.weight)
        return np.asarray(0.5 * (response - response[..., self.opposite]))

    def moved(self, path: int, probe: int, relative: Array) -> tuple[float, Array, Array]:
        """The half-difference where masses are changed by `relative`, odd in C, and influences (node,) there.

        Last, influences where they are changed the other way.
        """
        (plus, of_plus), (minus, of_minus) = (
            self._followed(slice(path, path + 1), self.ends.weight * (1 + sign * relative)) for sign in (1, -1)
        )
        up, down = of_plus[0, probe], of_minus[0, probe]
        half = float(0.5 * (plus[0, probe] - minus[0, probe]))
        return half, 0.5 * (up - down[self.opposite]), 0.5 * (down - up[self.opposite])

    def _followed(self, paths: slice, weight: Array) -> tuple[Array, Array]:
        """Outputs (path, probe) at the horizon and their derivatives (path, probe, node)."""
        x, y = self.x[paths], self.y[paths]
        tangents = self.be.tangents(self.training, replace(self.ends, weight=weight), self.ends, len(x))
        tangents.run(x, y)
        tangents.settle()
        output = tangents.probe(self.histories)[0]
        return output[..., VALUE], output[..., FIRST] / np.sqrt(self.ends.weight)
