"""Tangents of rich twins from the C++ source: the training step, with numbers that carry derivatives (src/jets.h)."""

from __future__ import annotations

import ctypes
from ctypes import c_long, c_void_p
from functools import cache

import numpy as np

from rnnlimits.kernels import compiler, launch
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
        self._count, self._directions, self._replicas = len(nodes.b), len(ends.b), replicas
        self._width, self._dimension = self._library.directions(), training.dimension
        self._groups = -(-self._directions // self._width)
        rows = range(replicas * self._groups)
        self._nodes = [aligned(self._library.nodes_bytes(self._count)) for _ in rows]
        self._states = [aligned(self._library.state_bytes()) for _ in rows]
        self._fill(nodes, ends)

    def _fill(self, nodes: Weighted, ends: Weighted) -> None:
        padding = self._groups * self._width - self._directions  # no mass moves to the ends that are added
        columns = [np.pad(ends.w, ((0, padding), (0, 0)))]
        columns += [np.pad(values, (0, padding)) for values in (ends.b, ends.c, np.sqrt(ends.weight))]
        own = [doubles(values) for values in (nodes.w, nodes.b, nodes.c, nodes.weight)]
        for row, place in enumerate(self._nodes):
            first = row % self._groups * self._width
            part = [doubles(column[first : first + self._width]) for column in columns]
            self._library.fill_nodes(pointer(place), self._count, *(pointer(values) for values in own))
            self._library.fill_ends(pointer(place), self._count, *(pointer(values) for values in part))

    def _results(self, *shape: int) -> Array:
        return np.empty((len(self._nodes), *shape, self._width + 2))

    def _joined(self, groups: Array) -> Array:
        """Results (row, ..., directions of a group + 2) of groups as those of replicas."""
        parts = groups.reshape(self._replicas, self._groups, *groups.shape[1:])
        first = np.moveaxis(parts[..., 1:-1], 1, -2).reshape(self._replicas, *groups.shape[1:-1], -1)
        values, seconds = parts[:, 0, ..., :1], parts[..., -1:].sum(axis=1)
        return np.concatenate([values, first[..., : self._directions], seconds], axis=-1)

    def run(self, x: Array, y: Array) -> Array:
        """See interface.Tangents.run."""
        squared_error = self._results(y.shape[1])
        inputs, targets = doubles(x), doubles(y)
        for row, (nodes, state) in enumerate(zip(self._nodes, self._states, strict=True)):
            path = row // self._groups
            self._library.train_nodes(
                pointer(nodes), self._count, pointer(state), ctypes.byref(self._scalars), pointer(inputs[path]),
                pointer(targets[path]), y.shape[1], pointer(squared_error[row]),
            )  # fmt: skip
        return self._joined(squared_error)

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
        return self._joined(output), self._joined(memory)

    def weights(self) -> tuple[Array, Array]:
        """See interface.Tangents.weights."""
        columns = self._dimension + 2
        of_nodes = self._results(self._count, columns)
        of_ends = np.empty((len(self._nodes), self._width, columns, 2))
        for row, nodes in enumerate(self._nodes):
            self._library.read_tangent_weights(
                pointer(nodes), self._count, pointer(of_nodes[row]), pointer(of_ends[row])
            )
        ends = of_ends.reshape(self._replicas, -1, columns, 2)[:, : self._directions]
        return self._joined(of_nodes), ends

    def square_drifts(self) -> Array:
        """See interface.Tangents.square_drifts."""
        squares = self._results(3)
        for nodes, own in zip(self._nodes, squares, strict=True):
            self._library.square_drifts(pointer(nodes), self._count, pointer(own))
        return self._joined(squares)
