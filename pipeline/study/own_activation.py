"""An activation from a Python file of the user's own: held to what the theory needs of it, and registered by digest.

It has no C++, so that only the NumPy back end computes with it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from rnnlimits.base import ownfiles
from rnnlimits.base.errors import StudyError
from rnnlimits.base.fields import Array
from rnnlimits.base.ownfiles import OwnFile
from rnnlimits.kernels.activations import ACTIVATIONS, Activation, register

SUFFIX = ".py"
NEEDED = "an activation needs the functions value(a) and slope(a), and the number slope_bound"
STEP, INNER = 1e-3, 12.0  # of the points at which slopes are compared
NUDGE = 1e-4  # of the differences of the value
CLOSE = 1e-6  # of slope and differences, in units of slope_bound
JUMP = 0.05  # by which the slope may change from a point to the next, in units of slope_bound
FAR, FARTHER = 1e6, 1e12
GROWTH = 1.01  # from FAR to FARTHER, of the value's largest size


def name_of(file: OwnFile) -> str:
    """The name under which the activation of a file is registered, now if it was not.

    Raises StudyError, one line, for a file that cannot be run or breaks the contract.
    """
    name = f"own_{file.digest[:16]}"
    if name not in ACTIVATIONS:
        register(_activation(name, file))
    return name


def _activation(name: str, file: OwnFile) -> Activation:
    names = vars(ownfiles.module(file))
    for needed in ("value", "slope", "slope_bound"):
        if needed not in names:
            raise StudyError(f"{file.path}: has no name {needed}; {NEEDED}")
    bound = names["slope_bound"]
    if isinstance(bound, bool) or not isinstance(bound, int | float | np.number) or not 0 < float(bound) < math.inf:
        raise StudyError(f"{file.path}: slope_bound is {' '.join(repr(bound).split())[:60]}; allowed: a number above 0")
    value, slope = (_function(file, key, names[key]) for key in ("value", "slope"))
    _require_bounded(file, value)
    _require_smooth(file, value, slope, float(bound))
    a = np.linspace(0, INNER, 1001)
    return Activation(
        name=name,
        value=value,
        slope=slope,
        slope_of_value=None,
        slope_bound=float(bound),
        odd=bool(np.abs(value(a) + value(-a)).max() <= 1e-14 * np.abs(value(a)).max()),
        single_error=math.inf,
        source="",
        autodiff=lambda jax: None,  # type: ignore[arg-type, return-value]
    )


def _function(file: OwnFile, key: str, given: Any) -> Callable[[Array], Array]:
    """The function with its results checked: real, finite where a is, of the shape of a, and in its precision."""
    if not callable(given):
        raise StudyError(f"{file.path}: {key} is not a function; {NEEDED}")

    def checked(a: Array) -> Array:
        try:
            with np.errstate(all="ignore"):
                found = np.asarray(given(a))
        except Exception as error:
            raise ownfiles.failure(file, error) from error
        if found.shape != np.shape(a) or found.dtype.kind not in "fiu":
            what = f"{key} returns {found.dtype} of shape {found.shape} for a of shape {np.shape(a)}"
            raise StudyError(f"{file.path}: {what}; allowed: real numbers of the shape of a")
        return np.asarray(found, dtype=np.result_type(a))

    return checked


def _require_bounded(file: OwnFile, value: Callable[[Array], Array]) -> None:
    sizes: list[float] = []
    for far in (FAR, FARTHER):
        a = np.concatenate([np.linspace(-INNER, INNER, 2401), np.geomspace(INNER, far, 400)])
        a = np.stack([a, -a])
        found = value(a)
        _require_finite(file, "value", a, found)
        sizes.append(float(np.abs(found).max()))
    if not sizes[0]:
        raise StudyError(f"{file.path}: value is 0 up to a = {FAR:g}; allowed: a bounded function other than 0")
    if sizes[1] > GROWTH * sizes[0]:
        what = f"value has size {sizes[0]:.4g} up to a = {FAR:g} and {sizes[1]:.4g} up to {FARTHER:g}"
        raise StudyError(f"{file.path}: {what}; allowed: a bounded function")


def _require_finite(file: OwnFile, key: str, a: Array, found: Array) -> None:
    if (bad := ~np.isfinite(found)).any():
        raise StudyError(f"{file.path}: {key} is {found[bad][0]} at a = {a[bad][0]:.6g}; allowed: finite numbers")


def _require_smooth(
    file: OwnFile, value: Callable[[Array], Array], slope: Callable[[Array], Array], bound: float
) -> None:
    a = np.arange(-INNER, INNER + STEP / 2, STEP)
    found = slope(a)
    _require_finite(file, "slope", a, found)
    if (largest := float(np.abs(found).max())) > bound * (1 + CLOSE):
        at = a[np.abs(found).argmax()]
        raise StudyError(f"{file.path}: slope_bound is {bound:g}, but slope is {largest:.6g} in size at a = {at:.6g}")
    jumps = np.abs(np.diff(found))
    if jumps.max() > JUMP * bound:
        at = int(jumps.argmax())
        what = f"slope jumps from {found[at]:.4g} to {found[at + 1]:.4g} at a = {a[at]:.6g}"
        raise StudyError(f"{file.path}: {what}; allowed: a smooth function")
    # Richardson: what is left of the error is of order NUDGE^4, and rounding over NUDGE.
    wide, narrow = ((value(a + h) - value(a - h)) / (2 * h) for h in (2 * NUDGE, NUDGE))
    differences = (4 * narrow - wide) / 3
    wrong = np.abs(differences - found)
    if wrong.max() > CLOSE * bound:
        at = int(wrong.argmax())
        what = f"slope is {found[at]:.6g} at a = {a[at]:.6g}, differences of value give {differences[at]:.6g}"
        raise StudyError(f"{file.path}: {what}; allowed: the derivative of value")
