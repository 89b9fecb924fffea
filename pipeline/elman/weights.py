"""Weight of time steps: how much the limit's kernel of a sequence with itself changes with each of its inputs."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from rnnlimits.elman import world
from rnnlimits.files import durable
from rnnlimits.kernels import rntk
from rnnlimits.kernels.interface import Array, Backend
from rnnlimits.study.elman import Named, RntkStudy

KERNELS = ("ntk", "nngp")
COLUMNS = ("study", "network", "kernel", "sigma_w", "step", "weight", "study_id")


@dataclass(frozen=True)
class Curve:
    """weight (step,): root mean square over sequences of |dK(x, x)/dx_t|, its largest value 1."""

    network: str
    kernel: str
    sigma_w: float
    weight: Array = field(repr=False)


def curves(study: RntkStudy, be: Backend) -> list[Curve]:
    """A curve for each network, kernel and sigma_w of the study's section `weights`; empty without it."""
    if (section := study.weights) is None:
        return []
    x = world.weighed(study, be, section.sequences, section.length)
    return [
        Curve(named.name, kernel, sigma_w, _weight(x, named, kernel, sigma_w))
        for named in study.elmans
        for kernel in KERNELS
        for sigma_w in section.sigma_w
    ]


def _weight(x: Array, named: Named, kernel: str, sigma_w: float) -> Array:
    network = replace(named.elman, sigma_w=sigma_w)
    gradients = np.stack([rntk.input_gradient(sequence, network=network, kernel=kernel) for sequence in x])
    size = np.sqrt(np.square(gradients).sum(-1).mean(0))
    return np.asarray(size / size.max())


def write_csv(path: Path, study: RntkStudy, curves: list[Curve]) -> None:
    """Write weights.csv, complete or not at all."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for curve in curves:
        for step, weight in enumerate(curve.weight, 1):
            row = (study.name, curve.network, curve.kernel, f"{curve.sigma_w:.6g}", step, f"{weight:.6g}")
            writer.writerow((*row, study.identity))
    durable.require_folder(path)
    durable.write_bytes(path, text.getvalue().encode())
