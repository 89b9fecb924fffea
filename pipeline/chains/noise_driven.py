"""Chains that run in the compiled kernels: H' = L H + M n(H) + R xi with H = (X, Z) and n(H) = (sin X, tanh Z).

A kind of this form only provides its matrices. Source: docs/model.md, eq. (2) and (3).
"""

from __future__ import annotations

from abc import abstractmethod
from pathlib import Path as File
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rnnlimits.base.arrays import spectral_radius
from rnnlimits.base.fields import Array
from rnnlimits.base.streams import Stream
from rnnlimits.chains import base
from rnnlimits.chains.base import Chain, Stretch, Verdict
from rnnlimits.chains.targets import Target, required
from rnnlimits.kernels.interface import Backend, GaussianChain, RandomKey, Replicas


class Form(NamedTuple):
    """L, R and M of H' = L H + M (sin X, tanh Z) + R xi, each (d + dz, d + dz); M is None for a linear chain."""

    linear: Array
    noise: Array
    coupling: Array | None = None


class NoiseDriven(Chain):
    """A kind of that form; it starts at zero, with a burn-in before the first step that `take` returns."""

    @abstractmethod
    def form(self, source: File = base.UNSAVED) -> Form:
        """The matrices. Raises StudyError for noise without a covariance."""

    def growth(self) -> Array:
        """Matrix (size, size) whose n-th power governs the distance of two chains with the same noise after n steps.

        For a linear chain it is dH'/dH = L, with signs, as they affect its spectral radius. For others it is an
        entrywise bound on |dH'/dH|, as sin and tanh have slopes of size at most 1.
        """
        form = self.form()
        return form.linear if form.coupling is None else np.abs(form.linear) + np.abs(form.coupling)

    def radius(self) -> float:
        """Spectral radius of `growth`: the chain contracts if it is below 1, and a linear chain only then."""
        return spectral_radius(self.growth())

    def kernel(self, target: Target, source: File = base.UNSAVED) -> GaussianChain:
        """Chain and target in the form that the kernels take. Raises StudyError as `form` does."""
        d, dz = self.dimension, self.hidden
        linear, noise, coupling = self.form(source)
        return GaussianChain(d, dz, linear, noise, target.coefficients(d, dz), coupling)

    def process(self, target: Target | None, source: File = base.UNSAVED) -> NoiseDrivenProcess:
        """See Chain.process."""
        target = required(target)
        return NoiseDrivenProcess(self.kernel(target, source), target, base.burn_in(self.radius()))

    def contraction(self, source: File = base.UNSAVED) -> Verdict:
        """Whether the bound on its growth proves contraction."""
        self.form(source)
        radius = self.radius()
        words = f"its Lipschitz matrix has spectral radius {radius:.4g}"
        if radius < 1:
            return Verdict(True, f"the chain contracts: {words}")
        return Verdict(False, f"the chain is not known to contract: {words}, allowed: below 1")

    def sample_inputs(self, source: File = base.UNSAVED) -> Array:
        """See Chain.sample_inputs."""
        form, rng = self.form(source), np.random.default_rng(base.SAMPLE_SEED)
        h = np.zeros((base.SAMPLES, len(form.linear)))
        with np.errstate(over="ignore", invalid="ignore"):
            for _ in range(base.SAMPLE_STEPS):
                curved = 0.0 if form.coupling is None else self._curved(h) @ form.coupling.T
                h = h @ form.linear.T + curved + rng.standard_normal(h.shape) @ form.noise.T
        return base.bounded(h[:, : self.dimension])

    def _curved(self, h: Array) -> Array:
        """(sin X, tanh Z) of H (R, d + dz)."""
        return np.concatenate([np.sin(h[:, : self.dimension]), np.tanh(h[:, self.dimension :])], axis=1)


class NoiseDrivenProcess:
    """See Process."""

    def __init__(self, kernel: GaussianChain, target: Target, burn_in: int) -> None:
        self.dimension, self.hidden = kernel.inputs, kernel.hidden
        self.kernel, self.target, self.burn_in = kernel, target, burn_in

    def paths(
        self, be: Backend, seed: int, stream: Stream, replicas: Replicas, start: NDArray[np.generic] | None = None
    ) -> NoiseDrivenPath:
        """See Process.paths."""
        if start is not None:
            state = be.array(np.array(start, dtype=np.float64))
            return NoiseDrivenPath(self.kernel, be, seed, stream, replicas, state, 0)
        state = be.array(np.zeros((len(replicas), self.kernel.size)))
        be.chain_path(self.kernel, RandomKey(seed, int(stream), replicas), state, 0, self.burn_in, keep=False)
        return NoiseDrivenPath(self.kernel, be, seed, stream, replicas, state, self.burn_in)

    def shown(self, state: NDArray[np.generic]) -> Stretch:
        """See Process.shown."""
        h = np.asarray(state, dtype=np.float64)
        x, z = h[:, : self.dimension], h[:, self.dimension :]
        return x, z, self.target.values(x, z)


class NoiseDrivenPath:
    """See Path."""

    def __init__(
        self,
        kernel: GaussianChain,
        be: Backend,
        seed: int,
        stream: Stream,
        replicas: Replicas,
        state: Array,
        step: int,
    ) -> None:
        self._kernel, self._be, self._key = kernel, be, RandomKey(seed, int(stream), replicas)
        self.state, self.step = state, step

    def take(self, steps: int) -> Stretch:
        """See Path.take."""
        h, y = self._be.chain_path(self._kernel, self._key, self.state, self.step, steps)
        self.step += steps
        d = self._kernel.inputs
        return h[..., :d], h[..., d:], y
