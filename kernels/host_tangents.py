"""Tangents of rich twins from the C++ source: the training step, with numbers that carry derivatives (src/jets.h)."""

from __future__ import annotations

import ctypes
from ctypes import c_long, c_void_p
from functools import cache

import numpy as np

from rnnlimits.kernels import compiler, launch
from rnnlimits.kernels.direction_groups import DirectionGroups
from rnnlimits.kernels.interface import Array, Training, Weighted
from rnnlimits.kernels.pointers import TrainingScalars, aligned, doubles, pointer


@cache
def _tangents(macros: tuple[tuple[str, object], ...]) -> ctypes.CDLL:
    library = compiler.load("host_tangents.cpp", dict(macros))
    library.directions.restype = library.nodes_bytes.restype = library.state_bytes.restype = c_long
    library.nodes_bytes.argtypes = [c_long]
    library.fill_nodes.argtypes = [c_void_p, c_long, *[c_void_p] * 4]
    library.fill_ends.argtypes = [c_void_p, c_long, *[c_void_p] * 4]
    library.train_nodes.argtypes = [c_void_p, c_long, *[c_void_p] * 4, c_long, c_void_p]
    library.settle_nodes.argtypes = [c_void_p, c_long, c_void_p]
    library.read_tangent_weights.argtypes = [c_void_p, c_long, c_void_p, c_void_p]
    library.square_drifts.argtypes = [c_void_p, c_long, c_void_p]
    library.probe_nodes.argtypes = [c_void_p, c_long, c_void_p, c_void_p, c_long, c_long, c_void_p, c_void_p]
    return library


class HostTangents:
    """See interface.Tangents. Directions are followed in groups of as many as one number carries derivatives for."""

    def __init__(self, training: Training, nodes: Weighted, ends: Weighted, replicas: int) -> None:
        self._library = _tangents(tuple(launch.of_unit(training).items()))
        self._scalars = TrainingScalars(len(nodes.b), training.output_scale, training.rate, training.clip_level)
        self._count, self._dimension = len(nodes.b), training.dimension
        self._groups = DirectionGroups(replicas, len(ends.b), self._library.directions())
        rows = range(self._groups.rows)
        self._nodes = [aligned(self._library.nodes_bytes(self._count)) for _ in rows]
        self._states = [aligned(self._library.state_bytes()) for _ in rows]
        self._fill(nodes, ends)

    def _fill(self, nodes: Weighted, ends: Weighted) -> None:
        columns = [doubles(column) for column in self._groups.columns(ends)]
        own = [doubles(values) for values in (nodes.w, nodes.b, nodes.c, nodes.weight)]
        for row, place in enumerate(self._nodes):
            part = [column[row % self._groups.per_path] for column in columns]
            self._library.fill_nodes(pointer(place), self._count, *(pointer(values) for values in own))
            self._library.fill_ends(pointer(place), self._count, *(pointer(values) for values in part))

    def _results(self, *shape: int) -> Array:
        return np.empty((self._groups.rows, *shape, self._groups.width + 2))

    def run(self, x: Array, y: Array) -> Array:
        """See interface.Tangents.run."""
        squared_error = self._results(y.shape[1])
        inputs, targets = doubles(x), doubles(y)
        for row, (nodes, state) in enumerate(zip(self._nodes, self._states, strict=True)):
            path = row // self._groups.per_path
            self._library.train_nodes(
                pointer(nodes), self._count, pointer(state), ctypes.byref(self._scalars), pointer(inputs[path]),
                pointer(targets[path]), y.shape[1], pointer(squared_error[row]),
            )  # fmt: skip
        return self._groups.joined(squared_error)

    def settle(self) -> None:
        """See interface.Tangents.settle."""
        for nodes, state in zip(self._nodes, self._states, strict=True):
            self._library.settle_nodes(pointer(nodes), self._count, pointer(state))

    def probe(self, histories: Array) -> tuple[Array, Array]:
        """See interface.Tangents.probe."""
        inputs, (count, length) = doubles(histories), histories.shape[:2]
        output, memory = self._results(count), self._results(count, length)
        for row, nodes in enumerate(self._nodes):
            self._library.probe_nodes(
                pointer(nodes), self._count, ctypes.byref(self._scalars), pointer(inputs), count, length,
                pointer(output[row]), pointer(memory[row]),
            )  # fmt: skip
        return self._groups.joined(output), self._groups.joined(memory)

    def weights(self) -> tuple[Array, Array]:
        """See interface.Tangents.weights."""
        columns = self._dimension + 2
        of_nodes = self._results(self._count, columns)
        of_ends = np.empty((len(self._nodes), self._groups.width, columns, 2))
        for row, nodes in enumerate(self._nodes):
            self._library.read_tangent_weights(
                pointer(nodes), self._count, pointer(of_nodes[row]), pointer(of_ends[row])
            )
        return self._groups.joined(of_nodes), self._groups.of_ends(of_ends)

    def square_drifts(self) -> Array:
        """See interface.Tangents.square_drifts."""
        squares = self._results(3)
        for nodes, own in zip(self._nodes, squares, strict=True):
            self._library.square_drifts(pointer(nodes), self._count, pointer(own))
        return self._groups.joined(squares)
