"""The activations sigma, with their slopes, in double precision: NumPy's arrays, or those of a device."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import erf as scipy_erf

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Activation:
    """A bounded smooth sigma: `value` and `slope` map arrays to arrays of the same shape."""

    name: str
    code: int  # as in src/unit.h
    value: Callable[[Array], Array]
    slope: Callable[[Array], Array]
    slope_bound: float  # sup |sigma'|
    odd: bool  # sigma(-a) = -sigma(a)


def _tanh_slope(a: Array) -> Array:
    return 1.0 - np.tanh(a) ** 2


def _erf(a: Array) -> Array:
    if isinstance(a, np.ndarray):
        return scipy_erf(a)  # type: ignore[no-any-return]
    from cupyx.scipy.special import erf  # special functions are not reached through NumPy, as tanh is

    return erf(a)


def _erf_slope(a: Array) -> Array:
    return 2.0 / np.sqrt(np.pi) * np.exp(-(a**2))  # type: ignore[no-any-return]


def _logistic(a: Array) -> Array:
    return 0.5 + 0.5 * np.tanh(0.5 * a)


def _logistic_slope(a: Array) -> Array:
    return 0.25 * _tanh_slope(0.5 * a)


ACTIVATIONS = {
    "tanh": Activation("tanh", 0, np.tanh, _tanh_slope, 1.0, True),
    "erf": Activation("erf", 1, _erf, _erf_slope, 2.0 / float(np.sqrt(np.pi)), True),
    "logistic": Activation("logistic", 2, _logistic, _logistic_slope, 0.25, False),
}
