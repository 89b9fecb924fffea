"""The same training in JAX and in batched NumPy, float32, each written the way a careful user of it would.

Both keep plain weights, without a drift of its own beside them, which is less work than the kernel does (and loses
small updates). State: w, b, c, past (R, N), memory (R,), with d = 1, tau = 1, tanh, B trained.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnnlimits.kernels.interface import Training

Single = NDArray[np.float32]
Runner = Callable[[], Single]  # trains and returns squared errors (R, steps)


class NumpyTrainer:
    """All replicas at once, every intermediate in a buffer that is made once."""

    def __init__(self, training: Training, w: Single, b: Single, c: Single) -> None:
        self.w, self.b, self.c = w.copy(), b.copy(), c.copy()
        self.past, self.now, self.work = (np.zeros_like(w) for _ in range(3))
        self.memory = np.zeros((len(w), 1), np.float32)
        self.width, self.scale = np.float32(training.width), np.float32(training.output_scale)
        self.push = np.float32(training.rate * training.output_scale)

    def run(self, x: Single, y: Single) -> Single:
        """x, y (R, steps)."""
        squared_error = np.empty_like(x)
        for k in range(x.shape[1]):
            squared_error[:, k] = self._step(x[:, k, None], y[:, k, None])[:, 0]
        return squared_error

    def _step(self, x: Single, y: Single) -> Single:
        value, work = self.now, self.work
        np.multiply(self.w, x, out=work)
        work += self.memory
        np.tanh(work, out=value)
        miss = self.scale * np.einsum("rn,rn->r", self.c, value)[:, None] - y
        push = self.push * miss
        np.multiply(value, value, out=work)
        np.subtract(np.float32(1), work, out=work)
        work *= self.c
        share = push * work.sum(axis=1, keepdims=True) / self.width
        work *= push * x
        self.w -= work
        np.multiply(value, push, out=work)
        self.c -= work
        self.past *= share
        self.b -= self.past
        self.memory = np.einsum("rn,rn->r", self.b, value)[:, None] / self.width
        self.past, self.now = value, self.past
        return np.asarray(miss * miss)


def jax_runner(training: Training, w: Single, b: Single, c: Single, x: Single, y: Single, unroll: int) -> Runner:
    """vmap over lax.scan, jitted and compiled here, so that compiling is not timed."""
    import jax
    import jax.numpy as jnp

    scale, push_per_miss, width = training.output_scale, training.rate * training.output_scale, training.width

    def step(state: Any, data: Any) -> Any:
        w, b, c, past, memory = state
        x, y = data
        value = jnp.tanh(w * x + memory)
        miss = scale * jnp.sum(c * value) - y
        push = push_per_miss * miss
        gain = c * (1 - value * value)
        b = b - (push * jnp.sum(gain) / width) * past
        state = (w - (push * x) * gain, b, c - push * value, value, jnp.sum(b * value) / width)
        return state, miss * miss

    def train(w: Any, b: Any, c: Any, x: Any, y: Any) -> Any:
        start = (w, b, c, jnp.zeros_like(w), jnp.float32(0))
        return jax.lax.scan(step, start, (x, y), unroll=unroll)

    arguments = [jax.device_put(array) for array in (w, b, c, x, y)]
    compiled = jax.jit(jax.vmap(train)).lower(*arguments).compile()

    def run() -> Single:
        state, squared_error = compiled(*arguments)
        jax.block_until_ready(state)
        return np.asarray(squared_error)

    return run
