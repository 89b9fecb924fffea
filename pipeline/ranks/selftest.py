"""Self-test of a back end: published random words, a short training against the definition, and its speed."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

import numpy as np

from rnnlimits.kernels.interface import Array, Backend, Trainer, Training
from rnnlimits.kernels.reference import NumpyBackend

# Counter, key, answer of Philox4x32-10: the lines of Random123's kat_vectors (zeros, ones, digits of pi).
PUBLISHED = (
    "00000000 00000000 00000000 00000000 00000000 00000000 6627e8d5 e169c58d bc57ac4c 9b00dbd8",
    "ffffffff ffffffff ffffffff ffffffff ffffffff ffffffff 408f276d 41c83b0e a20bc7c6 6d5451fd",
    "243f6a88 85a308d3 13198a2e 03707344 a4093822 299f31d0 d16cfe09 94fdcceb 5001e420 24126ea1",
)
# Far above the rounding errors of a short training (about 1e-15 and 1e-7), far below the effect of a mistake.
BOUNDS = {"float64": 1e-12, "float32": 1e-4}
STEPS = 256
SMALL = Training(width=100, dimension=2, beta=0.75, steps_per_time=100, depth=2)
TIMED = Training(width=1024, dimension=1, beta=0.75, steps_per_time=1024)
ON_DEVICE, ON_CORE = 512, 8  # replicas: enough to fill a GPU; a core needs few
SECONDS = 0.3


@dataclass(frozen=True)
class Trial:
    """Result for one precision of one back end: the worst difference from the definition, and unit-steps per second."""

    precision: str
    difference: float
    speed: float

    @property
    def good(self) -> bool:
        """Whether the difference is within the bound of this precision (a NaN is not)."""
        return self.difference <= BOUNDS[self.precision]


def philox_agrees(be: Backend) -> bool:
    """Return whether the random words are the published ones."""
    words = np.array([[int(word, 16) for word in line.split()] for line in PUBLISHED], dtype=np.uint32)
    answers = [be.philox(w[None, :4], (int(w[4]), int(w[5]))) for w in words]
    return all(np.array_equal(be.numpy(answer)[0], w[6:]) for answer, w in zip(answers, words, strict=True))


def try_training(be: Backend, precision: str, seconds: float = SECONDS) -> Trial:
    """Compare a short training in one precision with the NumPy definition, and measure its speed for `seconds`."""
    training = replace(SMALL, precision=precision)
    ours, theirs = (_outcome(one, training) for one in (be, NumpyBackend()))
    differences = [np.abs(a - b).max() / max(1.0, np.abs(b).max()) for a, b in zip(ours, theirs, strict=True)]
    worst = float(np.max(differences))  # NaN if any is NaN
    return Trial(precision, worst, _speed(be, replace(TIMED, precision=precision), seconds))


def _filled(be: Backend, training: Training, replicas: int) -> tuple[Trainer, Array, Array]:
    """A trainer with all replicas filled, inputs (R, STEPS, d) and targets (R, STEPS)."""
    rng, trainer = np.random.default_rng(1), be.trainer(training, replicas)
    w = rng.normal(size=(replicas, training.width, training.dimension))
    c = rng.uniform(-1.7, 1.7, (replicas, training.width))
    trainer.fill_from(0, be.array(w), be.array(0.2 + 0.6 * w[:, :, 0]), be.array(c))
    x = 0.7 * rng.normal(size=(replicas, STEPS, training.dimension))
    return trainer, x, np.sin(x).sum(axis=2) + rng.normal(size=(replicas, STEPS))


def _outcome(be: Backend, training: Training) -> list[Array]:
    """Everything that two trained replicas return: squared errors, outputs, memory, drifts."""
    trainer, x, y = _filled(be, training, 2)
    squared_error = be.numpy(trainer.run(x, y))
    trainer.settle()
    return [squared_error, *trainer.probe(x[0, :20].reshape(4, 5, -1)), *trainer.drift(0), *trainer.drift(1)]


def _speed(be: Backend, training: Training, seconds: float) -> float:
    """Unit-steps per second of this process, the best of several runs."""
    replicas = ON_DEVICE if be.on_device else ON_CORE
    trainer, x, y = _filled(be, training, replicas)
    be.numpy(trainer.run(x, y))  # warm: compiled, in cache
    best, end = np.inf, time.perf_counter() + seconds
    while time.perf_counter() < end:
        started = time.perf_counter()
        be.numpy(trainer.run(x, y))  # waits until a device has finished
        best = min(best, time.perf_counter() - started)
    return replicas * training.width * STEPS / best
