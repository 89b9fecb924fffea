"""Tangents of rich twins on a GPU: src/device_tangents.cu, a block of threads for each path and group of directions."""

from __future__ import annotations

from typing import Any

import numpy as np

from rnnlimits.kernels import launch
from rnnlimits.kernels.cuda_runtime import MOST_BLOCKS, Runtime
from rnnlimits.kernels.device_memory import Layout, layouts, require_room
from rnnlimits.kernels.direction_groups import DirectionGroups
from rnnlimits.kernels.interface import Array, Training, Weighted

SOURCE = "device_tangents.cu"
SEGMENT_STEPS = 1024  # steps of a path whose errors exist at a time, about


class CudaTangents:
    """See interface.Tangents. Units lie in device memory as (rows, words, units), rows of `DirectionGroups`."""

    def __init__(self, runtime: Runtime, training: Training, nodes: Weighted, ends: Weighted, replicas: int) -> None:
        self.training, self._runtime = training, runtime
        self._macros, self._threads = launch.of_tangents(training), launch.tangent_threads(len(nodes.b))
        self._groups = DirectionGroups(replicas, len(ends.b), launch.DIRECTIONS)
        self._count, rows, xp = len(nodes.b), self._groups.rows, runtime.xp
        self._at_nodes, self._at_ends = layouts(runtime, SOURCE, "tangent_layouts", self._macros, 2)
        self._refuse_what_does_not_fit()
        self._nodes = xp.zeros((rows, self._at_nodes.unit, self._count))
        self._ends = xp.zeros((rows, self._at_ends.unit, self._groups.width))
        self._states = xp.zeros((rows, self._at_nodes.state))
        self._fill(nodes, ends)

    def _refuse_what_does_not_fit(self) -> None:
        width, d = self._groups.width, self.training.dimension
        units = self._at_nodes.unit * self._count + (self._at_ends.unit + 1) * width + self._at_nodes.state
        row = units + SEGMENT_STEPS * 2 * (width + 2)  # errors of groups, and joined
        one = 8 * (self._groups.per_path * row + SEGMENT_STEPS * 3 * (d + 1))
        advice = "lower rich.directions or limit.nodes, or use --backend host"
        what = f"tangents of {self._count} nodes along {self._groups.directions} directions"
        require_room(self._runtime, one, self._groups.replicas, what, "paths", (advice, advice))

    def _fill(self, nodes: Weighted, ends: Weighted) -> None:
        device = self._runtime.xp.asarray
        put(self._nodes, self._at_nodes, *(device(values) for values in (nodes.w, nodes.b, nodes.c, nodes.weight)))
        of_rows = [np.tile(a, (self._groups.replicas, *[1] * (a.ndim - 1))) for a in self._groups.columns(ends)]
        w, b, c, root = (self._runtime.xp.ascontiguousarray(device(values)) for values in of_rows)
        put(self._ends, self._at_ends, w, b, c, 1.0)
        self._roots = root

    def _results(self, *shape: int) -> Any:
        return self._runtime.xp.empty((self._groups.rows, *shape, self._groups.width + 2))

    def _start(self, name: str, blocks: int, *arguments: Any) -> None:
        program = self._runtime.program(SOURCE, name, self._macros)
        program((min(blocks, MOST_BLOCKS),), (self._threads,), arguments)

    @property
    def _units(self) -> tuple[Any, ...]:
        return self._nodes, self._ends, self._roots

    @property
    def _sizes(self) -> tuple[np.int64, np.int64]:
        return np.int64(self._count), np.int64(self._groups.rows)

    def run(self, x: Array, y: Array) -> Array:
        """See interface.Tangents.run."""
        t, xp = self.training, self._runtime.xp
        inputs, targets = (xp.ascontiguousarray(xp.asarray(a, dtype=np.float64)) for a in (x, y))
        squared_error = self._results(y.shape[1])
        self._start(
            "train_tangents", self._groups.rows, *self._units, self._states, *self._sizes,
            np.int64(self._groups.per_path), np.float64(t.output_scale), np.float64(t.rate), np.float64(t.clip_level),
            inputs, targets, squared_error, np.int64(y.shape[1]),
        )  # fmt: skip
        self._runtime.keep_pace()
        return self._groups.joined(squared_error)

    def settle(self) -> None:
        """See interface.Tangents.settle."""
        self._start("settle_tangents", self._groups.rows, *self._units, self._states, *self._sizes)

    def probe(self, histories: Array) -> tuple[Array, Array]:
        """See interface.Tangents.probe."""
        xp, (count, length) = self._runtime.xp, histories.shape[:2]
        inputs = xp.ascontiguousarray(xp.asarray(histories, dtype=np.float64))
        output, memory = self._results(count), self._results(count, length)
        self._start(
            "probe_tangents", self._groups.rows * count, *self._units, *self._sizes,
            np.float64(self.training.output_scale), inputs, np.int64(count), np.int64(length), output, memory,
        )  # fmt: skip
        return self._shown(output), self._shown(memory)

    def _shown(self, results: Any) -> Array:
        return self._groups.joined(self._runtime.to_host(results))

    def weights(self) -> tuple[Array, Array]:
        """See interface.Tangents.weights."""
        d, to_host = self.training.dimension, self._runtime.to_host
        of_nodes = weights_of(to_host(self._nodes), self._at_nodes, d, self._groups.width + 2)
        of_ends = weights_of(to_host(self._ends), self._at_ends, d, 3)[..., :2]
        return self._groups.joined(of_nodes), self._groups.of_ends(of_ends)

    def square_drifts(self) -> Array:
        """See interface.Tangents.square_drifts."""
        squares = self._results(3)
        self._start("square_tangents", self._groups.rows, *self._units, *self._sizes, squares)
        return self._shown(squares)


def put(units: Any, at: Layout, w: Any, b: Any, c: Any, weight: Any) -> None:
    """Set initial weights and masses of units (row, word, unit): w (..., unit, d), b, c and weight (..., unit)."""
    for j in range(w.shape[-1]):
        units[:, at.w_start + j] = w[..., j]
    for word, values in ((at.b_start, b), (at.c_start, c), (at.weight, weight)):
        units[:, word] = values


def weights_of(units: Array, at: Layout, dimension: int, numbers: int) -> Array:
    """Weights w, b, c (row, unit, d + 2, numbers) of units (row, word, unit), whose jets have so many numbers."""
    places = [(at.w_start + j, at.w_drift + j * numbers) for j in range(dimension)]
    places += [(at.b_start, at.b_drift), (at.c_start, at.c_drift)]
    found = np.stack([units[:, drift : drift + numbers] for _, drift in places], axis=1)
    found[:, :, 0] += np.stack([units[:, start] for start, _ in places], axis=1)
    return np.moveaxis(found, 3, 1)
