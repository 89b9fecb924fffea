"""The initial field at the horizon: the random part of the output that remains of the start, at infinite width.

At t = 0 the output is N^(1/2 - beta) times a sum of N independent terms C sigma(W.x + M) over N^1/2, a combination of
the first features of (27) with coefficients C; the flow (29) carries it along. At beta = 1/2 its Gaussian law is that
of the outputs around the limit. Source: docs/model.md, "Both ends".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from rnnlimits.theory.flow import Draws, Flow, Probes
from rnnlimits.theory.laws import ParameterLaw
from rnnlimits.theory.moments import Moments, jackknife_error, leave_one_out, pooled

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class InitialField:
    """The field at the probes, as that of a network at beta = 1/2.

    response (probe, node): what a unit of C = std_c adds to it, times N^1/2 and the root of the node's weight.
    deviation (probe,): its standard deviation, with the relative standard error deviation_error (probe,) that the
    draws leave in it.
    """

    response: Array
    deviation: Array
    deviation_error: Array

    @classmethod
    def of(cls, draws: Draws, law: ParameterLaw, probes: Probes, alpha: float, time: float) -> Self:
        """The field that is left at a time of a flow of rate alpha."""
        every = pooled(draws.blocks)
        parts = [] if draws.exact else [leave_one_out(draws.blocks, every, i) for i in range(len(draws.blocks))]
        phi = law.features(draws.nodes, probes.last, probes.memory)
        response = law.c_std * carried(every, phi, alpha, time)[:, : len(draws.nodes.weight)]
        others = [carried(part, phi, alpha, time)[:, : len(draws.nodes.weight)] for part in parts]
        deviation = np.sqrt(np.square(response).sum(1))
        error = jackknife_error(law.c_std * np.sqrt([np.square(one).sum(1) for one in others] or [deviation]))
        return cls(response, deviation, error / deviation)

    @property
    def root(self) -> Array:
        """A root (probe, probe) of the correlations over probes."""
        relative = self.response / self.deviation[:, None]
        value, vector = np.linalg.eigh(relative @ relative.T)
        return np.asarray(vector * np.sqrt(np.maximum(value, 0.0)))


def carried(moments: Moments, phi: Array, alpha: float, time: float) -> Array:
    """What is left at a time, at features phi (n, F), of each component of theta at the start (n, F)."""
    flow = Flow.of(moments, alpha)
    return np.asarray((phi @ flow.vector * np.exp(-alpha * flow.eigenvalue * time)) @ flow.vector.T)
