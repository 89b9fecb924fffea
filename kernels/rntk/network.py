"""The infinitely wide Elman network whose kernels are computed."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from numbers import Integral, Real

from rnnlimits.kernels.interface import KernelError

ACTIVATIONS = ("relu", "erf", "tanh", "logistic")
OUTPUTS = ("last", "mean", "average")
MOST_LAYERS = 32


@dataclass(frozen=True)
class Elman:
    """Recurrent layers, activation, standard deviations and output of a network (docs/rntk.md, "Network").

    sigma_w scales the recurrent weights, sigma_u the input weights, sigma_b the biases, sigma_v the output weights;
    sigma_h is that of the state before the first step, which is not trained. output: "last" reads the last state,
    "mean" the mean over time of the states, "average" adds T^(-1/2) v_t.h_t with own weights v_t at each step.
    Raises KernelError for a value that is not allowed.
    """

    layers: int = 1
    activation: str = "relu"
    sigma_w: float = math.sqrt(2.0)
    sigma_u: float = 1.0
    sigma_b: float = 0.0
    sigma_h: float = 0.0
    sigma_v: float = 1.0
    output: str = "last"

    def __post_init__(self) -> None:
        require_one_of("activation", self.activation, ACTIVATIONS)
        require_one_of("output", self.output, OUTPUTS)
        whole = isinstance(self.layers, Integral) and not isinstance(self.layers, bool)
        if not whole or not 1 <= self.layers <= MOST_LAYERS:
            raise KernelError(f"layers: {self.layers!r} is not allowed; a whole number from 1 to {MOST_LAYERS}")
        for name in (field.name for field in fields(self) if field.name.startswith("sigma_")):
            _require_deviation(name, getattr(self, name))


def require_one_of(key: str, value: object, allowed: tuple[str, ...]) -> None:
    """Raises KernelError unless `value` is one of the allowed words."""
    if value not in allowed:
        raise KernelError(f"{key}: {value!r} is not known; allowed: {', '.join(allowed)}")


def network_of(given: object) -> Elman:
    """The network that was given, by default one ReLU layer. Raises KernelError if it is something else."""
    if given is None:
        return Elman()
    if not isinstance(given, Elman):
        raise KernelError(f"network is {type(given).__name__}; give a network, such as ElmanNetwork(sigma_w=1.2)")
    return given


def _require_deviation(name: str, value: object) -> None:
    if not isinstance(value, Real) or isinstance(value, bool) or not 0.0 <= float(value) < math.inf:
        raise KernelError(f"{name}: {value!r} is not allowed; a standard deviation is a number >= 0")
