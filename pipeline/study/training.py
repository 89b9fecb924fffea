"""The `training` section of a study: grid, schedule, replicas. Source: docs/model.md section 3."""

from __future__ import annotations

import itertools
from typing import Annotated, Literal, NamedTuple, Self

from pydantic import Field, ValidationInfo, field_validator, model_validator

from rnnlimits.base.fields import (
    FINITE,
    WHOLE,
    Allowed,
    Count,
    Found,
    NonNegative,
    Positive,
    Section,
    Switch,
    refusal,
    show,
)
from rnnlimits.study.rich import Richness

Beta = Annotated[float, FINITE, Field(ge=0.5, le=1), Allowed("from 1/2 to 1")]
Steps = Annotated[
    Annotated[int, Field(strict=True, ge=1, le=2**30), WHOLE] | Literal["width"],
    Allowed("a whole number from 1 to 2^30, or the word width"),
]
Replicas = Annotated[
    Annotated[int, Field(strict=True, ge=1, le=2**30), WHOLE]
    | Annotated[tuple[Annotated[int, Field(strict=True, ge=1, le=2**30), WHOLE], ...], Field(min_length=1)],
    Allowed("a whole number from 1 to 2^30, or a list of them as long as width"),
]
Betas = Annotated[tuple[Beta, ...], Field(min_length=1)]
Richnesses = Annotated[tuple[Richness, ...], Field(min_length=1)]
Widths = Annotated[tuple[Count, ...], Field(min_length=1)]
StepsList = Annotated[tuple[Steps, ...], Field(min_length=1)]
Depths = Annotated[tuple[Count, ...], Field(min_length=1)]

WHOLE_STEPS_TOLERANCE = 1e-9
LEAST_RICHNESS_TOLERANCE = 2e-5  # of its square, so that N^-1/2 may be rounded to the six digits of a refusal
LEAST_REPLICAS = 16  # in a block where the study names no size
MOST_STEPS = 2**31  # the step is one 32-bit word of the random counter


class Product(NamedTuple):
    """One full product of the grid; replicas[i] belongs to width[i]; `key` says where it was written.

    Either beta or richness is empty.
    """

    key: str
    beta: tuple[float, ...]
    richness: tuple[float, ...]
    width: tuple[int, ...]
    steps_per_time: tuple[int | Literal["width"], ...]
    depth: tuple[int, ...]
    replicas: tuple[int, ...]

    def steps(self) -> set[int]:
        """Every K of the product, with the word `width` replaced by the widths."""
        return {width if k == "width" else k for k in self.steps_per_time for width in self.width}


class Ladder(Section):
    """A further product: what is given replaces the training's own list."""

    beta: Betas | None = Field(default=None, description="Instead of training.beta or training.richness")
    richness: Richnesses | None = Field(default=None, description="Instead of training.richness or training.beta")
    width: Widths | None = Field(default=None, description="Instead of training.width")
    steps_per_time: StepsList | None = Field(default=None, description="Instead of training.steps_per_time")
    depth: Depths | None = Field(default=None, description="Instead of training.depth")
    replicas: Replicas | None = Field(default=None, description="Instead of training.replicas")

    @model_validator(mode="after")
    def _one_axis(self) -> Self:
        _check_one_axis(self.beta, self.richness)
        return self


class Training(Section):
    """One pass along the chain for each replica, with one update for each data point."""

    beta: Betas | None = Field(
        default=None,
        description="Exponents of the output scaling N^-beta, each from 1/2 (the limit is random) to 1 (mean field)",
    )
    richness: Richnesses | None = Field(
        default=None, description="In place of beta: eps = N^-(1 - beta) that all widths have, from N^-1/2 to 1"
    )
    width: Widths = Field(description="Widths N")
    steps_per_time: StepsList = Field(
        default=("width",), description="K, steps per unit of training time; the word width means K = N"
    )
    depth: Depths = Field(default=(1,), description="Depths tau of truncated backpropagation through time")
    replicas: Replicas = Field(default=64, description="Independent trainings: a number, or one for each width")
    ladders: tuple[Ladder, ...] = Field(default=(), description="Further products: a ladder in K at one width")
    alpha: Positive = Field(default=1.0, description="Learning rate of the limit; the step is alpha N^(2 beta - 1)/K")
    horizon: Positive = Field(default=2.0, description="Training time T")
    checkpoints: tuple[NonNegative, ...] = Field(
        default=(),
        validate_default=True,
        description="Times of record, the last is T; default: 0, T/4, T/2, T",
    )
    clip: Positive | None = Field(default=None, description="gamma of the smooth clip of the output at N^gamma")
    update_b: Switch = Field(default=True, description="Train B too")
    replicas_per_block: Count | None = Field(
        default=None,
        description="Size of the unit of work and of restart; default: by the cost of a replica, from 16 to 1024",
    )
    antithetic: Switch = Field(default=True, description="Replicas 2p and 2p+1 share all but the sign of C")
    loss_bins: Count = Field(default=32, description="Bins of the loss along the path")
    kernel: Switch = Field(default=False, description="Measure the empirical tangent kernel at each checkpoint too")

    @field_validator("checkpoints")
    @classmethod
    def _default_checkpoints(cls, given: tuple[float, ...], info: ValidationInfo) -> tuple[float, ...]:
        horizon = info.data.get("horizon")  # absent if the horizon itself was refused
        if given or horizon is None:
            return given
        return (0.0, horizon / 4, horizon / 2, horizon)

    @model_validator(mode="after")
    def _coherent(self) -> Self:
        _check_one_axis(self.beta, self.richness)
        if self.beta is None and self.richness is None:
            raise refusal("beta", Found("is missing"), "give either beta or richness; there is no default")
        self._check_blocks()
        self._check_checkpoints()
        for product in self.products():
            self._check_product(product)
        return self

    @property
    def smallest_block(self) -> int:
        """Replicas in a block, or in the smallest one where the plan chooses its size."""
        return LEAST_REPLICAS if self.replicas_per_block is None else self.replicas_per_block

    @property
    def paths_per_block(self) -> int:
        """Paths of the chain that the smallest block of replicas sees: the two of an antithetic pair share one."""
        return self.smallest_block // 2 if self.antithetic else self.smallest_block

    def products(self) -> tuple[Product, ...]:
        """The main product and the ladders, with all values filled in."""
        return (self._product("", Ladder()), *self._ladder_products())

    def _ladder_products(self) -> tuple[Product, ...]:
        return tuple(self._product(f"ladders[{i}].", ladder) for i, ladder in enumerate(self.ladders))

    def _product(self, key: str, ladder: Ladder) -> Product:
        width = self.width if ladder.width is None else ladder.width
        axes = self if ladder.beta is None and ladder.richness is None else ladder
        return Product(
            key,
            axes.beta or (),
            axes.richness or (),
            width,
            self.steps_per_time if ladder.steps_per_time is None else ladder.steps_per_time,
            self.depth if ladder.depth is None else ladder.depth,
            _one_each(key, self.replicas if ladder.replicas is None else ladder.replicas, width),
        )

    def _check_blocks(self) -> None:
        if self.antithetic and self.replicas_per_block is not None and self.replicas_per_block % 2:
            raise refusal("replicas_per_block", self.replicas_per_block, "allowed: even (antithetic pairs)")

    def _check_checkpoints(self) -> None:
        times = self.checkpoints
        if any(late <= early for early, late in itertools.pairwise(times)):
            raise refusal("checkpoints", times, "allowed: increasing times")
        if times[-1] != self.horizon:
            raise refusal("checkpoints", times, f"allowed: times that end at the horizon, {self.horizon}")

    def _check_product(self, product: Product) -> None:
        for name in ("beta", "richness", "width", "steps_per_time", "depth"):
            _check_distinct(product.key + name, getattr(product, name))
        _check_richness(product)
        for replicas in product.replicas:
            if self.replicas_per_block is not None and replicas % self.replicas_per_block:
                allowed = f"allowed: multiples of training.replicas_per_block, {self.replicas_per_block}"
                raise refusal(product.key + "replicas", Found(f"has {replicas}"), allowed)
            if self.antithetic and replicas % 2:
                raise refusal(product.key + "replicas", Found(f"has {replicas}"), "allowed: even (antithetic pairs)")
        for steps in sorted(product.steps()):
            self.check_steps(product.key + "steps_per_time", steps)

    def allows(self, steps: float) -> bool:
        """Whether there could be a cell of this K."""
        try:
            self.check_steps("", int(steps))
        except ValueError:
            return False
        return steps == int(steps)

    def check_steps(self, key: str, steps: int) -> None:
        """Raises a refusal if the schedule does not allow this K."""
        problem = Found(f"has K = {steps}")
        for time in self.checkpoints:
            if abs(time * steps - round(time * steps)) > WHOLE_STEPS_TOLERANCE * max(1.0, time * steps):
                # A rounded time would be a bias of order 1/K, the size of what is measured.
                raise refusal(key, problem, f"allowed: a whole number of steps at checkpoint {show(time)}")
        total = round(self.horizon * steps)
        if total >= MOST_STEPS:
            raise refusal(key, problem, f"which makes {total} steps; allowed: at most {MOST_STEPS - 1}")
        if total < self.loss_bins:
            allowed = f"that is fewer than the {self.loss_bins} bins of the loss: lower training.loss_bins"
            raise refusal(key, Found(f"has K = {steps}, which makes {total} steps in all"), allowed)


def _one_each(key: str, replicas: int | tuple[int, ...], width: tuple[int, ...]) -> tuple[int, ...]:
    if isinstance(replicas, int):
        return (replicas,) * len(width)
    if len(replicas) != len(width):
        problem = Found(f"has {len(replicas)} entries")
        raise refusal(key + "replicas", problem, f"allowed: a number, or {len(width)} (one for each width)")
    return replicas


def _check_one_axis(beta: object, richness: object) -> None:
    if beta is not None and richness is not None:
        raise refusal("richness", Found("is given together with beta"), "allowed: one of the two, leave out the other")


def _check_richness(product: Product) -> None:
    """Refuse a richness that the smallest width cannot have."""
    for index, value in enumerate(product.richness):
        check_richness(f"{product.key}richness[{index}]", value, min(product.width))


def check_richness(key: str, value: float, width: int) -> None:
    """Raises a refusal if networks of this width would need an exponent below 1/2 for this richness."""
    if value**2 * width < 1 - LEAST_RICHNESS_TOLERANCE:
        allowed = f"allowed: at least N^-1/2 (beta = 1/2), which is {width**-0.5:.6g} at the width {width}"
        raise refusal(key, value, allowed)


def _check_distinct(key: str, values: tuple[object, ...]) -> None:
    for index, value in enumerate(values):
        if value in values[:index]:
            raise refusal(f"{key}[{index}]", value, "allowed: each value once")
