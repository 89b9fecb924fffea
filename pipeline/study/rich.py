"""The `rich` section of a study: rich twins and their tangents, which predict every point at its own finite width.

Source: docs/model.md, "Finite width".
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from rnnlimits.base.fields import FINITE, WHOLE, Allowed, Count, Section, Switch

Richness = Annotated[float, FINITE, Field(gt=0, le=1), Allowed("above 0 and at most 1")]
Paths = Annotated[int, Field(strict=True, ge=0, le=2**20), WHOLE, Allowed("a whole number from 0 to 2^20")]

REFERENCE_STEPS = 64  # the K at which rich.tangents counts paths
LEAST_PATHS = 2  # so that the spread over paths can be told from them


class RichSection(Section):
    """Rich twins: the mean over N units is replaced by a quadrature over their law, at the richness N^-(1 - beta)."""

    follow: Switch = Field(default=False, description="A rich twin for the path of every training")
    tangents: Paths = Field(
        default=16, description="Paths with tangents at K = 64, in proportion fewer at larger K, at least 2; 0: none"
    )
    tangent_steps: Count = Field(
        default=512, description="Largest K of tangents: beyond, variances and 1/N terms no longer depend on K"
    )
    c_nodes: Count = Field(default=4, description="Nodes for the law of C")
    b_nodes: Count = Field(default=3, description="Nodes for the noise of B, where it has some")
    directions: Count = Field(default=32, description="Nodes of W to which tangents move mass")
    epsilon: tuple[Richness, ...] = Field(
        default=(), description="A ladder in the richness alone: no network is trained"
    )
    steps_per_time: Count = Field(default=128, description="K of that ladder")
    paths: Count = Field(default=64, description="Paths of that ladder; a multiple of the block's paths")

    def tangent_paths(self, steps_per_time: int) -> int:
        """The number of paths that have tangents at this K: their relative scatter falls like K^-1/2."""
        wanted = self.tangents * REFERENCE_STEPS // max(steps_per_time, REFERENCE_STEPS)
        return max(LEAST_PATHS, wanted) if self.tangents else 0
