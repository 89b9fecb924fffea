"""The kind `finite-state`: every expectation is an exact sum, without draws. Source: docs/model.md, eq. (4)."""

from __future__ import annotations

from pathlib import Path as File
from typing import ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from rnnlimits.base.arrays import second_modulus, stationary_states
from rnnlimits.base.fields import Array, Found, FullMatrix, Matrix, Vector, VectorOrMatrix, check_square, refusal
from rnnlimits.base.streams import Stream
from rnnlimits.chains.base import UNSAVED, Chain, FiniteLaw, Stretch, Verdict, below_one, register
from rnnlimits.chains.targets import Target, required
from rnnlimits.kernels.interface import Backend, RandomKey, Replicas

ROW_SUM_TOLERANCE = 1e-5  # decimals such as 0.333333 are meant as thirds


@register
class FiniteState(Chain):
    """A finite Markov chain; each state has an x (visible) and a z (hidden). Every expectation is exact."""

    exact: ClassVar[bool] = True
    equation: ClassVar[str] = r"state $i \to j$ with probability $P_{ij}$; state $i$ shows $x_i$ and hides $z_i$"
    tag: ClassVar[str] = "(4)"

    kind: Literal["finite-state"]
    transition: FullMatrix = Field(description="P x P transition probabilities; each row sums to 1")
    x: VectorOrMatrix = Field(description="What the network sees in each state: P numbers or P lists")
    z: VectorOrMatrix | None = Field(default=None, description="Hidden part of each state: P numbers or P lists")

    @model_validator(mode="after")
    def _shapes(self) -> Self:
        states = len(self.transition)
        check_square("transition", self.transition, states, "one row and one column for each state")
        for index, row in enumerate(self.transition):
            if min(row) < 0 or abs(sum(row) - 1) > ROW_SUM_TOLERANCE:
                raise refusal(f"transition[{index}]", row, "allowed: probabilities that sum to 1")
        check_embedding("x", self.x, states)
        if self.z is not None:
            check_embedding("z", self.z, states)
        return self

    @property
    def dimension(self) -> int:
        """Number of components of X."""
        return int(self.finite().x.shape[1])

    @property
    def hidden(self) -> int:
        """Number of components of Z; 0 without `z`."""
        return int(self.finite().z.shape[1])

    def finite(self) -> FiniteLaw:
        """Transition (P, P), its rows scaled to sum to 1 to rounding, x (P, d) and z (P, dz), float64."""
        transition = np.array(self.transition, dtype=np.float64)
        states = len(transition)
        x = np.array(self.x, dtype=np.float64).reshape(states, -1)
        z = np.array([] if self.z is None else self.z, dtype=np.float64).reshape(states, -1 if self.z else 0)
        return FiniteLaw(transition / transition.sum(axis=1, keepdims=True), x, z)

    def process(self, target: Target | None, source: File = UNSAVED) -> FiniteProcess:
        """See Chain.process."""
        return FiniteProcess(self.finite(), required(target))

    def contraction(self, source: File = UNSAVED) -> Verdict:
        """Whether the chain converges to one stationary law: exactly one eigenvalue has modulus 1."""
        second = second_modulus(self.finite().transition)
        words = f"the chain's second eigenvalue has modulus {second:.4g}"
        refused = "the chain does not mix: it falls into several classes, or is periodic"
        return below_one(second, words, refused, "chain.transition", "make one aperiodic class of it")

    def sample_inputs(self, source: File = UNSAVED) -> Array:
        """The inputs x of the states."""
        return self.finite().x


def check_embedding(key: str, value: Vector | Matrix, states: int) -> None:
    """Refuse an embedding that does not give every state one vector of one length."""
    if len(value) != states:
        raise refusal(key, Found(f"has {len(value)} entries"), f"allowed: {states}, one for each state")
    lengths = {len(row) for row in value if isinstance(row, tuple)}
    if len(lengths) > 1:
        raise refusal(key, Found(f"has entries of lengths {sorted(lengths)}"), "allowed: one length for all")


class FiniteProcess:
    """See Process. States are drawn by inversion, starting from the exact stationary law."""

    def __init__(self, states: FiniteLaw, target: Target) -> None:
        self.transition, self.x, self.z = states
        self.dimension, self.hidden = self.x.shape[1], self.z.shape[1]
        self.target, self.law = target, stationary_states(self.transition)
        self.y = target.values(self.x, self.z)

    def paths(
        self, be: Backend, seed: int, stream: Stream, replicas: Replicas, start: NDArray[np.generic] | None = None
    ) -> FinitePath:
        """See Process.paths."""
        if start is None:
            u = be.numpy(be.uniforms(seed, Stream(stream + 1), replicas, 1))[:, 0]
            start = np.searchsorted(np.cumsum(self.law)[:-1], u, side="right")
        return FinitePath(self, be, seed, stream, replicas, be.array(np.array(start, dtype=np.int32)))

    def shown(self, state: NDArray[np.generic]) -> Stretch:
        """See Process.shown."""
        states = np.asarray(state, dtype=np.int64)
        x, z = self.x[states], self.z[states]
        return x, z, self.target.values(x, z)


class FinitePath:
    """See Path."""

    def __init__(
        self,
        process: FiniteProcess,
        be: Backend,
        seed: int,
        stream: Stream,
        replicas: Replicas,
        state: NDArray[np.int32],
    ) -> None:
        self._transition, self._be, self._key = process.transition, be, RandomKey(seed, int(stream), replicas)
        self._values = [be.array(values) for values in (process.x, process.z, process.y)]
        self.state, self.step = state, 0

    def take(self, steps: int) -> Stretch:
        """See Path.take."""
        states = self._be.finite_path(self._transition, self._key, self.state, self.step, steps)
        self.step += steps
        x, z, y = (values[states] for values in self._values)
        return x, z, y
