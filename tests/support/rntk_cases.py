"""The reference values of the recurrent NTK, made by an independent program, and a plain loop that goes further."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rnnlimits.kernels.rntk import Elman

DATA = json.loads((Path(__file__).parent.parent / "data" / "rntk_reference.json").read_text())
OUTPUTS = {"": "last", "meanpool_sharedv": "mean", "avg_indepv": "average"}


@dataclass(frozen=True)
class Case:
    name: str
    x: list[Any]
    network: Elman
    kernel: str
    values: Any

    @property
    def meets_an_end(self) -> bool:
        """One input and no bias: correlations of the first step are 1 or -1, where arccos loses half the digits."""
        return self.network.activation == "relu" and self.network.sigma_b == 0 and self.x[0].shape[1] == 1


def cases() -> Iterator[Case]:
    for case in DATA["cases"]:
        p = DATA["params"][case["params"]]
        x = [np.array(sequence) for sequence in DATA["sequences"][case["seqs"]]]
        for key, values in case["ref"].items():
            kernel, _, output = key.partition("_")
            sigmas = (p["sw"], p["su"], p["sb"], p["sh"], p["sv"])
            network = Elman(case["layers"], case["phi"], *sigmas, OUTPUTS[output])
            yield Case(f"{case['id']}-{key}", x, network, kernel, np.array(values))


def relu(q: float, other: float, s: float) -> tuple[float, float]:
    scale = math.sqrt(q * other)
    c = max(-1.0, min(1.0, s / scale))
    c = c if 1 - abs(c) > 1e-15 else math.copysign(1.0, c)
    angle = math.pi - math.acos(c)
    return scale / (2 * math.pi) * (c * angle + math.sqrt(1 - c * c)), angle / (2 * math.pi)


def erf(q: float, other: float, s: float) -> tuple[float, float]:
    inner = (1 + 2 * q) * (1 + 2 * other)
    return 2 / math.pi * math.asin(2 * s / math.sqrt(inner)), 4 / math.pi / math.sqrt(inner - 4 * s * s)


def every_pair_of_steps(x: Any, y: Any, network: Elman, same: bool) -> tuple[Any, Any]:
    """V_phi and V_phi + V_phi' Theta of the last layer for all (t, t'), written as the definition is."""
    moments: Callable[[float, float, float], tuple[float, float]] = {"relu": relu, "erf": erf}[network.activation]
    own = [own_variances(z, network, moments) for z in (x, y)]
    shape = (network.layers, len(x) + 1, len(y) + 1)
    value, tangent = np.zeros(shape), np.zeros(shape)
    value[:, 0, 0] = network.sigma_h**2 if same else 0.0
    for t in range(1, len(x) + 1):
        for r in range(1, len(y) + 1):
            below, below_tangent = float(x[t - 1] @ y[r - 1]) / x.shape[1], 0.0
            for layer in range(network.layers):
                s = network.sigma_w**2 * value[layer, t - 1, r - 1] + network.sigma_u**2 * below + network.sigma_b**2
                theta = s + network.sigma_w**2 * tangent[layer, t - 1, r - 1] + network.sigma_u**2 * below_tangent
                v, slope = moments(own[0][t - 1][layer], own[1][r - 1][layer], s)
                below = value[layer, t, r] = v
                below_tangent = tangent[layer, t, r] = slope * theta
    return value[-1, 1:, 1:], (value + tangent)[-1, 1:, 1:]


def own_variances(x: Any, network: Elman, moments: Any) -> list[list[float]]:
    found, value = [], [network.sigma_h**2] * network.layers
    for step in x:
        below, row = float(step @ step) / len(step), []
        for layer in range(network.layers):
            row.append(network.sigma_w**2 * value[layer] + network.sigma_u**2 * below + network.sigma_b**2)
            below = value[layer] = moments(row[-1], row[-1], row[-1])[0]
        found.append(row)
    return found


def plain(x: Any, y: Any, network: Elman, same: bool) -> tuple[float, float]:
    """(ntk, nngp) of two sequences."""
    nngp, ntk = every_pair_of_steps(x, y, network, same)
    reduced = {
        "last": lambda a: a[-1, -1],
        "mean": lambda a: a.mean(),
        "average": lambda a: np.trace(a) / len(a),
    }[network.output]
    return network.sigma_v**2 * float(reduced(ntk)), network.sigma_v**2 * float(reduced(nngp))
