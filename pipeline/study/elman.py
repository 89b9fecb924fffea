"""A study of the recurrent NTK, `experiment: rntk`: networks of finite width against the kernel's limit."""

from __future__ import annotations

import math
from typing import Annotated, Literal, NamedTuple, Self

from pydantic import Field, model_validator

from rnnlimits.base.fields import FINITE, WHOLE, Allowed, Count, Found, Positive, Section, refusal
from rnnlimits.kernels.rntk.network import MOST_LAYERS, Elman
from rnnlimits.study.base import QUANTITIES, AnyStudy, OwnFiles
from rnnlimits.study.identity import RANDOMNESS_VERSION, identity

Seed = Annotated[int, Field(strict=True, ge=0, le=2**32 - 1), WHOLE, Allowed("a whole number from 0 to 4294967295")]
StudyName = Annotated[
    str,
    Field(strict=True, pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$"),
    Allowed("a letter or digit, then up to 63 letters, digits, dots, dashes or underscores"),
]
Deviation = Annotated[float, FINITE, Field(ge=0, le=1e6), Allowed("a number from 0 to 1e6")]
Activation = Literal["relu", "erf", "tanh", "logistic"]
_Whole = Annotated[int, Field(strict=True, ge=1, le=2**30), WHOLE]
_Width = Annotated[int, Field(strict=True, ge=2, le=2**15), WHOLE]
Widths = Annotated[
    tuple[_Width, ...],
    Field(min_length=1),
    Allowed("a list of different whole numbers from 2 to 2^15"),
]
Replicas = Annotated[
    _Whole | Annotated[tuple[_Whole, ...], Field(min_length=1)],
    Allowed("a whole number from 1 to 2^30, or a list of them as long as width"),
]
Depths = Annotated[
    tuple[Annotated[int, Field(strict=True, ge=1, le=MOST_LAYERS), WHOLE], ...],
    Field(min_length=1),
    Allowed(f"a list of different whole numbers from 1 to {MOST_LAYERS}"),
]
Lengths = Annotated[tuple[_Whole, ...], Field(min_length=1, max_length=64), Allowed("a list of 1 to 64 whole numbers")]
Ladder = Annotated[tuple[_Whole, ...], Field(min_length=1), Allowed("a list of different whole numbers from 1 to 2^30")]
Sigmas = Annotated[
    tuple[Annotated[float, Field(strict=True, gt=0, le=1e6, allow_inf_nan=False)], ...],
    Field(min_length=1),
    Allowed("a list of different numbers above 0, at most 1e6"),
]


def check_distinct(key: str, values: tuple[object, ...]) -> None:
    """Refuse a list that has a value twice."""
    for index, value in enumerate(values):
        if value in values[:index]:
            raise refusal(f"{key}[{index}]", value, "allowed: each value once")


class WidthLadder(Section):
    """Widths n, and how many networks at each."""

    width: Widths = Field(description="Widths n of every recurrent layer")
    replicas: Replicas = Field(default=64, description="Independent networks: a number, or one for each width")

    @model_validator(mode="after")
    def _one_each(self) -> Self:
        check_distinct("width", self.width)
        if not isinstance(self.replicas, int) and len(self.replicas) != len(self.width):
            problem = Found(f"has {len(self.replicas)} entries")
            raise refusal("replicas", problem, f"allowed: a number, or {len(self.width)} (one for each width)")
        return self

    def rungs(self) -> tuple[tuple[int, int], ...]:
        """Pairs (width, replicas), the narrowest first."""
        each = self.replicas if not isinstance(self.replicas, int) else (self.replicas,) * len(self.width)
        return tuple(sorted(zip(self.width, each, strict=True)))


class ElmanSection(Section):
    """Networks with one activation and one set of standard deviations, at one or several depths."""

    activation: Activation = Field(default="relu", description="phi")
    layers: Depths = Field(default=(1,), description="Numbers of recurrent layers: a network for each")
    sigma_w: Deviation = Field(default=math.sqrt(2.0), description="S.d. of the recurrent weights, over sqrt(n)")
    sigma_u: Deviation = Field(default=1.0, description="S.d. of the input weights, over the root of their number")
    sigma_b: Deviation = Field(default=0.0, description="S.d. of the biases")
    sigma_h: Deviation = Field(default=0.0, description="S.d. of the state before the first step")
    sigma_v: Positive = Field(default=1.0, description="S.d. of the output weights, over sqrt(n)")
    bias: WidthLadder | None = Field(default=None, description="Widths of these networks, instead of the study's bias")

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        check_distinct("layers", self.layers)
        return self

    def networks(self) -> tuple[Elman, ...]:
        """The networks, one for each number of layers."""
        sigmas = (self.sigma_w, self.sigma_u, self.sigma_b, self.sigma_h, self.sigma_v)
        return tuple(Elman(layers, self.activation, *sigmas) for layers in self.layers)


class Sequences(Section):
    """The sequences between which kernels are taken: standard normal inputs, drawn once for the study."""

    lengths: Lengths = Field(default=(4, 5, 6, 8), description="Steps of each sequence")
    dimension: Count = Field(default=1, description="Inputs at a step")


class Descent(WidthLadder):
    """Full-batch gradient descent on a few sequences, compared with the linearised network and the limit's kernel."""

    trained: Count = Field(default=3, description="How many of the sequences are trained on, from the first")
    steps: Count = Field(default=40, description="Steps of gradient descent")
    rate: Positive = Field(default=0.2, description="Step size times the largest eigenvalue of the limit's kernel")
    step_ladder: Ladder = Field(
        default=(256, 512, 1024, 2048),
        description="Numbers of steps at which the limit's descent is held against its gradient flow, total time fixed",
    )

    @model_validator(mode="after")
    def _stable(self) -> Self:
        check_distinct("step_ladder", self.step_ladder)
        if not self.rate <= 1:
            raise refusal("rate", self.rate, "allowed: at most 1 (descent diverges from 2 on)")
        if (largest := self.rate * self.steps / min(self.step_ladder)) > 1:
            allowed = f"allowed: at least rate x steps, {self.rate * self.steps:g} (fewer steps are unstable)"
            raise refusal("step_ladder", Found(f"has {min(self.step_ladder)}, a step of {largest:.3g}"), allowed)
        return self


class TimeWeights(Section):
    """How much the kernel of a sequence with itself moves with each of its steps."""

    length: Count = Field(default=50, description="Steps of the sequence")
    sigma_w: Sigmas = Field(default=(1.3, math.sqrt(2.0), 1.5), description="Recurrent s.d.s, a curve for each")
    sequences: Count = Field(default=64, description="Sequences over which the weights are averaged")

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        check_distinct("sigma_w", self.sigma_w)
        return self


class Named(NamedTuple):
    """A network of the study and its name, such as relu-L1; bias: widths at which its mean is measured."""

    name: str
    elman: Elman
    bias: WidthLadder | None

    @property
    def at(self) -> str:
        """Its fixed coordinates in a table of rates."""
        return f"phi={self.elman.activation} L={self.elman.layers}"


class RntkStudy(AnyStudy):
    """A study of the recurrent NTK at finite width."""

    experiment: Literal["rntk"] = Field(description="Which kind of study this is")
    name: StudyName = Field(description="Names the folder results/NAME")
    seed: Seed = Field(default=20231108, description="Of every random number; another seed is another folder")
    precision: Literal["float32", "float64"] = Field(default="float64", description="Arithmetic of the networks")
    networks: Annotated[tuple[ElmanSection, ...], Field(min_length=1)] = Field(
        default=(ElmanSection(),), description="The networks; each activation once"
    )
    sequences: Sequences = Field(default=Sequences(), description="Between which kernels are taken")
    fluctuation: WidthLadder | None = Field(default=None, description="Networks at initialisation: the scatter")
    bias: WidthLadder | None = Field(default=None, description="The same for the mean: many, where it is large")
    training: Descent | None = Field(default=None, description="Networks trained on a few of the sequences")
    weights: TimeWeights | None = Field(default=None, description="Weight of time steps in the limit's kernels")
    quantities: OwnFiles = Field(default=(), description=QUANTITIES)

    @model_validator(mode="after")
    def _coherent(self) -> Self:
        check_distinct("networks", tuple(section.activation for section in self.networks))
        bias = self.bias or any(section.bias for section in self.networks)
        if not (self.fluctuation or bias or self.training or self.weights):
            raise refusal("", Found("measures nothing"), "add fluctuation, bias, training or weights")
        count = len(self.sequences.lengths)
        if self.training and self.training.trained > count:
            raise refusal("training.trained", self.training.trained, f"allowed: at most the {count} sequences")
        return self

    @property
    def identity(self) -> str:
        """12 hexadecimal digits of what changes any result of the study."""
        every = self.model_dump(mode="json", exclude={"name", "quantities"})
        return identity({**every, "randomness": RANDOMNESS_VERSION, **self.own_digests})

    @property
    def elmans(self) -> tuple[Named, ...]:
        """Every network of the study, by name."""
        every = ((elman, section) for section in self.networks for elman in section.networks())
        return tuple(
            Named(f"{elman.activation}-L{elman.layers}", elman, section.bias or self.bias) for elman, section in every
        )

    def ladder(self, section: Literal["fluctuation", "bias", "training"], named: Named) -> WidthLadder | None:
        """The widths of a network in a section of the study, None without that section."""
        return {"fluctuation": self.fluctuation, "bias": named.bias, "training": self.training}[section]
