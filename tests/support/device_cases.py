"""What the GPU back end is put to, emulated or real: networks, GPUs by their limits, and how results are compared.

A row names a team and a network it owns. Any two values of two of its properties occur together somewhere, and no width
is a multiple of a team's members.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pytest
from emulation import emulated
from path_cases import TRANSITION, chain, memory_along, memory_case, starts
from processors import reference
from training_cases import Data

from rnnlimits.kernels import cuda_backend, launch
from rnnlimits.kernels.activations import ACTIVATIONS
from rnnlimits.kernels.cuda_backend import CudaBackend
from rnnlimits.kernels.interface import Array, Backend, RandomKey, Training
from rnnlimits.kernels.launch import Launch, Limits

V100 = Limits("V100", (7, 0), 80)
A100 = Limits("A100", (8, 0), 108)
RTX_4090 = Limits("RTX 4090", (8, 9), 128)
H100 = Limits("H100", (9, 0), 132)
B200 = Limits("B200", (10, 0), 148)
RTX_5090 = Limits("RTX 5090", (12, 0), 170)
TINY = Limits("four multiprocessors", (8, 6), 4)

# Double precision: sums of the same terms in another order, over few steps. Single precision: a hidden value is off by
# e, at most 1.5e-7 from the activation (functions.h) and about 2^-24 |W.X| from its argument, 3e-7 in all; output and
# memory are averages of such errors times |C| or |B| of about 1, of either sign, so no larger than e but in the
# narrowest networks, where a few steps of memory add up; the square of the miss, itself about 1, doubles it.
TOLERANCE = {"float64": 1e-12, "float32": 4e-6}
# Of drifts, relative to their own size: a saturated unit moves by a slope 1 - S^2 that keeps few of S's digits.
DRIFT_TOLERANCE = {"float64": 1e-12, "float32": 2e-5}

Shown = dict[str, Array]


def trained(be: Backend, training: Training, data: Data, lengths: Sequence[int] | None = None) -> Shown:
    """All that a trainer shows (NumPy's arrays) after segments of these lengths, probed before the last one too."""
    count = len(data.w)
    trainer = be.trainer(training, count)
    for rows in (slice(0, 1), slice(1, count)):
        if rows.start < count:
            trainer.fill_from(rows.start, *(be.array(a[rows]) for a in (data.w, data.b, data.c)))
    losses, done, early = [], 0, np.zeros((count, 0))
    lengths = lengths or [data.y.shape[1]]
    for length in lengths:
        if done and length == lengths[-1]:
            trainer.settle()
            output, memory = trainer.probe(data.histories)
            early = np.concatenate([output, memory.reshape(count, -1)], axis=1)
        part = slice(done, done + length)
        losses.append(be.numpy(trainer.run(be.array(data.x[:, part]), be.array(data.y[:, part]))))
        done += length
    trainer.settle()
    output, memory = trainer.probe(data.histories)
    drifts = [trainer.drift(replica) for replica in range(count)]
    w, b, c = (np.stack([drift[i] for drift in drifts]) for i in range(3))
    shown = {"squared error": np.concatenate(losses, axis=1), "output": output, "memory": memory, "early": early}
    return {**shown, "drift of w": w, "drift of b": b, "drift of c": c, "norms": trainer.drift_norms()}


def difference(ours: Shown, theirs: Shown) -> float:
    """The largest, relative to the larger of 1 and the largest value of its kind; what is not a number is not lost."""
    return float(np.max([np.abs(ours[n] - theirs[n]).max() / max(1.0, np.abs(theirs[n]).max()) for n in present(ours)]))


def drift_difference(ours: Shown, theirs: Shown) -> float:
    """The largest of the drifts, which are small, each relative to its own largest value."""
    names = [name for name in present(ours) if name.startswith("drift") and np.abs(theirs[name]).max() > 0]
    return float(np.max([np.abs(ours[n] - theirs[n]).max() / np.abs(theirs[n]).max() for n in names]))


def present(shown: Shown) -> list[str]:
    return [name for name, array in shown.items() if array.size]


def same(ours: Shown, theirs: Shown, rows: slice = slice(None)) -> bool:
    """The same bits, of the replicas `rows` of theirs?"""
    return all(np.array_equal(array, theirs[name][rows]) for name, array in ours.items())


def replicas_of(data: Data, rows: slice) -> Data:
    return replace(data, w=data.w[rows], b=data.b[rows], c=data.c[rows], x=data.x[rows], y=data.y[rows])


# --- every kind of team ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Row:
    """A network, and the team that is made to own it, whatever would be chosen."""

    team: Launch
    width: int
    dimension: int
    activation: str
    depth: int
    update_b: bool
    clip: float | None
    precision: str

    def __str__(self) -> str:
        t = self.team
        return f"{t.team}{t.blocks}x{t.threads}x{t.slots}-{self.width}-{self.activation}{self.depth}-{self.precision}"

    @property
    def training(self) -> Training:
        """A step of 1/50, so that a few of them change much; the clip is at about 1."""
        return Training(
            self.width, self.dimension, 0.7, 50, self.activation, 1.0, self.depth, self.clip, self.update_b,
            self.precision,
        )  # fmt: skip

    def data(self) -> Data:
        """Where there is a clip, C goes along with W, so that many outputs are beyond it."""
        data = Data.draw(self.training, replicas=5, steps=7)
        return data if self.clip is None else replace(data, c=3 * np.abs(data.c) * np.sign(data.w[:, :, 0]))

    def force(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(launch, "choose", lambda training, limits: self.team)


# Teams of 16 blocks of 32 threads are as good as large ones, and sooner done. Streamed units go by fours where they are
# small, else one at a time.
ROWS = [
    Row(Launch("warp", 1, 128), 7, 1, "tanh", 1, True, None, "float64"),
    Row(Launch("warp", 3, 128), 77, 3, "erf", 2, False, 0.02, "float32"),
    Row(Launch("block", 2, 96), 165, 2, "logistic", 3, True, 0.02, "float32"),
    Row(Launch("block", 1, 256), 201, 1, "erf", 1, False, None, "float64"),
    Row(Launch("cluster", 2, 64, 2), 203, 3, "tanh", 2, True, 0.02, "float64"),
    Row(Launch("cluster", 1, 96, 4), 333, 1, "logistic", 1, True, None, "float32"),
    Row(Launch("cluster", 2, 32, 8), 401, 2, "erf", 3, True, None, "float32"),
    Row(Launch("cluster", 2, 32, 16), 777, 1, "tanh", 1, False, 0.02, "float32"),
    Row(Launch("grid", 3, 64, 2), 301, 1, "erf", 3, True, 0.02, "float64"),
    Row(Launch("grid", 2, 96, 3), 555, 2, "tanh", 1, True, None, "float32"),
    Row(Launch("grid", 2, 64, 4), 430, 3, "logistic", 2, False, None, "float64"),
    Row(Launch("block", 0, 64), 333, 1, "logistic", 2, True, 0.02, "float64"),
    Row(Launch("block", 0, 96), 790, 1, "tanh", 2, True, None, "float32"),
    Row(Launch("grid", 0, 64, 3), 1003, 2, "erf", 1, True, 0.02, "float32"),
    Row(Launch("grid", 0, 64, 4), 1301, 3, "tanh", 3, False, None, "float64"),
    Row(Launch("grid", 0, 32, 2), 1301, 1, "tanh", 1, True, None, "float32"),
]

# The largest history there is among the rows, in registers and streamed.
EVERY_ACTIVATION = [
    Row(team, 165, 2, activation, 3, True, None, precision)
    for activation in ACTIVATIONS
    for team, precision in ((Launch("block", 2, 96), "float64"), (Launch("grid", 0, 64, 2), "float32"))
]

# --- the teams that are chosen -----------------------------------------------------------------------------

WIDTHS = (1, 31, 32, 33, 1000, 4097)
SEGMENTS = [1, 4, 3]  # steps


def chosen(width: int, dimension: int, depth: int, precision: str) -> Training:
    return Training(width, dimension, 0.75, 40, depth=depth, precision=precision)


# --- a small run, to be watched by a sanitizer -------------------------------------------------------------


def exercise(be: CudaBackend, rows: Sequence[Row] = (*ROWS, *EVERY_ACTIVATION)) -> None:
    """Every program of src/ once, and every kind of team; raises if a training is not as defined."""
    for row in rows:
        with pytest.MonkeyPatch.context() as patch:
            row.force(patch)
            data = row.data()
            shown = trained(be, row.training, data, [5, 2])
        assert difference(shown, trained(reference, row.training, data, [5, 2])) < TOLERANCE[row.precision], row
    replicas = np.arange(3, dtype=np.uint32)
    be.philox(np.zeros((5, 4), dtype=np.uint32), (1, 2))
    be.normals(1, 2, replicas, 7)
    be.chain_path(chain(2, 1, True), RandomKey(1, 2, replicas), be.array(starts(3, 3)), 0, 5)
    be.finite_path(TRANSITION, RandomKey(1, 2, replicas), be.array(np.zeros(3, dtype=np.int32)), 0, 5)
    for activation in ACTIVATIONS:
        memory_along(be, activation, *(be.array(a) for a in memory_case(70, 2, 3, 5)))


def owned(row: Row, limits: Limits) -> bool:
    """Can the team of this row exist on a device? Clusters cannot everywhere."""
    return row.team.team != "cluster" or row.team.blocks in limits.clusters


if __name__ == "__main__":  # python tests/support/device_cases.py [emulated]: on a real GPU, unless told otherwise
    found = emulated() if sys.argv[1:] == ["emulated"] else cuda_backend.backend()
    exercise(
        found, [row for row in ROWS if owned(row, found._runtime.limits)][:: 5 if found.device == "emulated GPU" else 1]
    )
    print(f"as defined on {found.device}")
