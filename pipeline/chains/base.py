"""The base class of kinds of chains, and the registry of kinds: `chain.kind` of a study is a name in it.

A kind is one file: a `Chain` with its keys, its paths and its known properties, under `@register`. Theory and checks
query these properties (`finite`, `gaussian`, `series`), never the class of a chain; an unknown property is None.
Source: docs/model.md section 1.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce
from operator import or_
from pathlib import Path as File
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, NamedTuple, Protocol, TypeVar, get_args

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, GetCoreSchemaHandler
from pydantic_core import CoreSchema

from rnnlimits.base.fields import Array, Section
from rnnlimits.base.streams import Stream
from rnnlimits.chains.targets import Target
from rnnlimits.kernels.interface import Backend, Replicas

if TYPE_CHECKING:
    from rnnlimits.chains.series import Series

Stretch = tuple[Array, Array, Array]

UNSAVED = File("study")  # stands for the file of a study that was not read from a file
FORGOTTEN = 1e-16  # the part of the starting point that remains after a burn-in
LONGEST_BURN_IN = 20_000  # for chains whose contraction is slow or not proved
ZERO = 1e-9  # a size less than this below 1 counts as 1
SAMPLE_SEED = 1  # of `sample_inputs`, which only decides whether a study is accepted
SAMPLES = 256  # number of inputs in a sample
SAMPLE_STEPS = 200  # steps from the start of a chain to the sample


# --- paths -----------------------------------------------------------------------------------------------------


class Path(Protocol):
    """The replicas of a chain at their present step.

    Another path of the same chain, stream and replicas, started at the `state` of this one with its `step`, continues
    exactly as this one does.
    """

    step: int  # steps taken, including those of a burn-in; it determines the next noise

    @property
    def state(self) -> NDArray[np.generic]:
        """The present states, in the form of the argument `start` of `Process.paths`."""

    def take(self, steps: int) -> Stretch:
        """The next steps: x (R, steps, d), z (R, steps, dz), y (R, steps), float64, arrays of the back end.

        Each call continues where the last one ended.
        """


class Process(Protocol):
    """A chain with its target: X in R^d is visible, Z in R^dz is hidden, Y is to be learned."""

    dimension: int
    hidden: int

    def paths(
        self, be: Backend, seed: int, stream: Stream, replicas: Replicas, start: NDArray[np.generic] | None = None
    ) -> Path:
        """Independent paths, stationary from the first step; or from `start`, one state for each replica.

        `stream` is a NOISE stream; the registry's next one is its START. A start is H (R, d + dz) for chains with
        real components, a state number (R,) for finite chains, a row (R,) for recorded series.
        """

    def shown(self, state: NDArray[np.generic]) -> Stretch:
        """x (R, d), z (R, dz) and y (R,) in states from `Path.state`, NumPy arrays."""


# --- properties of a chain -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Verdict:
    """Whether a condition holds, with a sentence that gives the reason.

    If it does not hold: the invalid `key` of the study, and the `remedy`.
    """

    holds: bool
    words: str
    key: str = "chain"
    remedy: str = "use smaller coefficients"


class FiniteLaw(NamedTuple):
    """State i is followed by j with probability transition_ij (P, P); x_i (P, d) is visible, z_i (P, dz) hidden."""

    transition: Array
    x: Array
    z: Array


class GaussianLaw(NamedTuple):
    """H' = A H + Q^(1/2) xi with H = (X, Z); both (d + dz, d + dz)."""

    a: Array
    q: Array


class Chain(Section):
    """The base of all kinds: the keys of a `chain` section, and what is known of the chain.

    A kind has a `kind: Literal["its-name"]`, its keys, and `dimension` and `hidden` (numbers of components of X and Z),
    as properties or as keys. The argument `source` is always the study's file: errors name it, and relative paths are
    relative to its folder.
    """

    exact: ClassVar[bool] = False  # the stationary law is a sum over points, from `finite` or `series`
    noisy: ClassVar[bool] = True  # steps are random; False if only the start is random
    reads_file: ClassVar[bool] = False  # its values depend on a file that the study only names
    own_target: ClassVar[str] = ""  # which keys define the target, if the study's `target` does not
    equation: ClassVar[str] = ""  # its step in Markdown, for the table of docs/model.md
    tag: ClassVar[str] = ""  # the number of that equation there

    kind: str

    if TYPE_CHECKING:

        @property
        def dimension(self) -> int:
            """d, the number of components of X."""

        @property
        def hidden(self) -> int:
            """dz, the number of components of Z."""

    @abstractmethod
    def process(self, target: Target | None, source: File = UNSAVED) -> Process:
        """The chain with its target, as a source of paths. Raises StudyError for a chain that cannot be run."""

    @abstractmethod
    def contraction(self, source: File = UNSAVED) -> Verdict:
        """Whether the chain forgets its start, which the theory requires.

        Raises StudyError for a chain that is refused whatever `allow_noncontracting` says.
        """

    @abstractmethod
    def sample_inputs(self, source: File = UNSAVED) -> Array:
        """About 256 inputs x (n, d) that look like the stationary law, the same at every call."""

    def finite(self) -> FiniteLaw | None:
        """The transition matrix of a chain with finitely many states."""
        return None

    def gaussian(self) -> GaussianLaw | None:
        """The matrices of a linear chain with Gaussian noise, whose law is known exactly."""
        return None

    def series(self, source: File = UNSAVED) -> Series | None:
        """The recorded series that the chain runs through. Raises StudyError for a series that cannot be read."""
        return None

    def findings(self, source: File = UNSAVED) -> list[str]:
        """What a person should see of data that the chain reads, one readable line each."""
        return []

    def identity(self, source: File = UNSAVED) -> dict[str, Any]:
        """Everything that decides the values of its paths, as JSON."""
        return self.model_dump(mode="json")

    def moved(self, old: File, new: File) -> Chain:
        """The same chain for a study file in folder `new` instead of `old`."""
        return self


# --- shared by kinds ------------------------------------------------------------------------------------------


def burn_in(rate: float) -> int:
    """Number of steps after which a chain that contracts by `rate` per step has forgotten its start."""
    steps = math.log(FORGOTTEN) / math.log(rate) if 0.0 < rate < 1.0 else 0.0 if rate == 0.0 else math.inf
    return int(min(LONGEST_BURN_IN, 64 + math.ceil(min(steps, LONGEST_BURN_IN))))


def below_one(size: float, words: str, refusal: str, key: str, remedy: str) -> Verdict:
    """The verdict on the condition that `size` is below 1."""
    if size < 1 - ZERO:
        return Verdict(True, words)
    return Verdict(False, f"{refusal}: {words}, allowed: below 1", key, remedy)


def bounded(x: Array) -> Array:
    """Sampled inputs without NaN: a chain that does not contract, if the study allows that, may have diverged."""
    return np.clip(np.nan_to_num(x), -1e6, 1e6)


# --- the registry ----------------------------------------------------------------------------------------------

KINDS: dict[str, type[Chain]] = {}
_Kind = TypeVar("_Kind", bound=Chain)
_CALLED_AFTER: list[Callable[[], object]] = []


def register(section: type[_Kind]) -> type[_Kind]:
    """Register a kind of chain under its `kind`, from within the package or from your own code.

    A class that is defined again, as when a notebook cell is run twice, replaces the old one. Raises ValueError
    for a class whose `kind` is not a Literal, or belongs to another class.
    """
    names = get_args(section.model_fields["kind"].annotation)
    if len(names) != 1:
        raise ValueError(f'{section.__name__}: kind must be declared as kind: Literal["its-name"]')
    other = KINDS.get(names[0])
    if other is not None and (other.__module__, other.__qualname__) != (section.__module__, section.__qualname__):
        raise ValueError(f"{section.__name__}: kind {names[0]!r} is that of {other.__module__}.{other.__qualname__}")
    KINDS[names[0]] = section
    for call in _CALLED_AFTER:
        call()
    return section


def after_registration(call: Callable[[], object]) -> None:
    """Call `call` whenever a further kind is registered."""
    _CALLED_AFTER.append(call)


def kinds(exact: bool = False) -> list[str]:
    """The names of all kinds, or of those with an exact stationary law, in the order of messages."""
    return [name for name, section in KINDS.items() if section.exact or not exact]


@dataclass(frozen=True)
class _Registered:
    """Marks the type of a field: the union of the kinds that are registered when its model is built."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """The union, discriminated by `kind` (pydantic calls this)."""
        return handler.generate_schema(Annotated[reduce(or_, KINDS.values()), Field(discriminator="kind")])


AnyChain = Annotated[Chain, _Registered()]
