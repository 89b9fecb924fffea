"""Numerical checks of a study of the recurrent NTK: finite kernels, and a kernel that descent can converge with."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rnnlimits.base.errors import StudyError
from rnnlimits.elman import world
from rnnlimits.kernels import backend, rntk
from rnnlimits.kernels.interface import KernelError
from rnnlimits.study.elman import Named, RntkStudy

MOST_CONDITION = 1e12  # of the kernel on the sequences trained on: beyond, gradient flow is dominated by rounding


def check(study: RntkStudy) -> list[str]:
    """Findings, one readable line for each network.

    Raises StudyError for a kernel that is singular on the sequences trained on, or that overflows.
    """
    x, findings = world.sequences(study, backend("numpy")), []
    for named in study.elmans:
        ntk = _kernel(study, named, x)
        words = f"NTK of a sequence with itself {np.diag(ntk).min():.3g} to {np.diag(ntk).max():.3g}"
        if study.training is not None:
            words += f", condition number on those trained on {_condition(study, named.name, ntk):.3g}"
        findings.append(f"network {named.name}: {words}")
    return findings


def _kernel(study: RntkStudy, named: Named, x: rntk.Batch) -> NDArray[np.float64]:
    try:
        return np.asarray(rntk.gram(x, network=named.elman, backend="numpy"), dtype=np.float64)
    except KernelError as error:
        raise StudyError(f"{study.source}: network {named.name}: {error}") from None


def _condition(study: RntkStudy, name: str, ntk: NDArray[np.float64]) -> float:
    assert study.training is not None
    count = study.training.trained
    values = np.linalg.eigvalsh(ntk[:count, :count])
    condition = float(values[-1] / max(values[0], np.finfo(np.float64).tiny))
    if not condition < MOST_CONDITION:
        raise StudyError(
            f"{study.source}: network {name}: the kernel is singular on the {count} sequences trained on; "
            "lower training.trained or lengthen sequences"
        )
    return condition
