"""Directions of tangents in groups of as many as one number carries derivatives for (src/jets.h)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rnnlimits.kernels.interface import Array, Weighted


@dataclass(frozen=True)
class DirectionGroups:
    """`directions` of each of `replicas` paths by groups of `width`; a row is a group of a path, path by path."""

    replicas: int
    directions: int
    width: int

    @property
    def per_path(self) -> int:
        """Groups of a path."""
        return -(-self.directions // self.width)

    @property
    def rows(self) -> int:
        """Rows of all paths."""
        return self.replicas * self.per_path

    def columns(self, ends: Weighted) -> list[Array]:
        """The ends of every group: w (group, width, d), then b, c and the roots of the weights (group, width)."""
        padding = self.per_path * self.width - self.directions  # no mass moves to the ends that are added
        columns = [np.pad(ends.w, ((0, padding), (0, 0)))]
        columns += [np.pad(values, (0, padding)) for values in (ends.b, ends.c, np.sqrt(ends.weight))]
        return [column.reshape(self.per_path, self.width, *column.shape[1:]) for column in columns]

    def joined(self, results: Array) -> Array:
        """Results (row, ..., width + 2), arrays of any back end, as those of paths (R, ..., directions + 2)."""
        parts = results.reshape(self.replicas, self.per_path, *results.shape[1:])
        first = np.moveaxis(parts[..., 1:-1], 1, -2).reshape(self.replicas, *results.shape[1:-1], -1)
        values, seconds = parts[:, 0, ..., :1], parts[..., -1:].sum(axis=1)
        return np.concatenate([values, first[..., : self.directions], seconds], axis=-1)

    def of_ends(self, results: Array) -> Array:
        """Results (row, width, ...) of the ends as those of paths (R, directions, ...)."""
        return results.reshape(self.replicas, -1, *results.shape[2:])[:, : self.directions]
