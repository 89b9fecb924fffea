"""What the units that each network happened to get explain of its output and memory, to first order.

Units are functions of seed and replica, so that they are drawn again here, and never stored. Source: docs/model.md,
eq. (45).
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from rnnlimits.kernels import reference
from rnnlimits.quantities.trained import Design
from rnnlimits.statistics.bootstrap import Array
from rnnlimits.theory.laws import ParameterLaw
from rnnlimits.theory.shares import UNITS_AT_ONCE, NodeShares
from rnnlimits.theory.units import UnitNodes
from rnnlimits.training.tangents import PAIRED, directions

if TYPE_CHECKING:
    from rnnlimits.study import Study


class UnitNoise:
    """The noise of the units of a study's networks; the shares of each width are computed once."""

    def __init__(self, study: Study, design: Design) -> None:
        self._study, self._design, self._law = study, design, ParameterLaw.of(study)
        self._shares: dict[tuple[int, int], Array] = {}

    @cached_property
    def directions(self) -> UnitNodes:
        """The nodes at which tangents know the response of a network."""
        return directions(self._study, self._law)

    def __call__(self, tangents: Mapping[str, Array], width: int, units: int) -> dict[str, Array]:
        """Deviations (unit, member, probe) of output and memory, of mean zero; tangents: of the cell."""
        shares, opposite, noise = self._shares_of(width, units), self.directions.opposite, {}
        for name in PAIRED:
            response = tangents[f"{name}_response"].mean(0)
            of_members = [shares @ one for one in response]
            if self._design.antithetic and self._design.symmetric:  # one program for both: -C is the opposite node
                of_members.append(shares[:, opposite] @ response[0])
            noise[name] = np.stack(of_members, axis=1)
        return noise

    def earlier(self, noise: Mapping[str, Array], errors: Mapping[str, Array]) -> dict[str, Array]:
        """What the same units explain of errors (unit, member, probe) earlier: a part of `noise`, that at the end.

        The part of each probe is that of least squares; whatever it is, the mean stays zero.
        """
        paired = self._design.antithetic and self._design.symmetric
        return {name: noise[name] * _part(noise[name], errors[name], paired) for name in noise}

    def _shares_of(self, width: int, units: int) -> Array:
        """Shares (unit, direction), less expected ones, of the first networks of pairs, or of networks, of a width."""
        if (width, units) not in self._shares:
            section, of_rich = self._study.training, self._study.rich
            shares = NodeShares.of(self._law, self.directions, of_rich.c_nodes, of_rich.b_nodes)
            replicas = np.arange(units, dtype=np.uint32) * (2 if section.antithetic else 1)
            at_once = max(1, UNITS_AT_ONCE // width)
            pieces = (replicas[first : first + at_once] for first in range(0, units, at_once))
            be, seed = reference.backend(), self._study.seed
            draws = (self._law.draw(be, seed, one, width, section.antithetic) for one in pieces)
            self._shares[width, units] = np.concatenate([shares(*draw) for draw in draws])
        return self._shares[width, units]


def _part(noise: Array, error: Array, paired: bool) -> Array:
    """Coefficients (member or 1, probe) of errors (unit, member, probe) on noise; of the means of pairs if `paired`."""
    x, y = (values.mean(1, keepdims=True) if paired else values for values in (noise, error))
    x, y = x - x.mean(0), y - y.mean(0)
    return np.asarray((x * y).sum(0) / np.maximum(np.square(x).sum(0), np.finfo(np.float64).tiny))
