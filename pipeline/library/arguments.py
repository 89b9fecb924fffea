"""Checks of the public functions' arguments: plain numbers and arrays, or one line that refuses them."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic_core import PydanticCustomError
from threadpoolctl import threadpool_limits

from rnnlimits import kernels
from rnnlimits.base.errors import StudyError
from rnnlimits.base.fields import nearest, show
from rnnlimits.kernels import cache, values
from rnnlimits.kernels.interface import Array, Backend, KernelError

MOST = 2**30  # the largest count that a study file allows
Option = TypeVar("Option")


def plain(value: object, name: str = "value") -> Any:
    """The value in the types of a study file: NumPy scalars as Python numbers, arrays and tuples as lists.

    Arrays are those of NumPy, pandas, xarray or anything with __array__; name: what a refusal calls it. Raises
    StudyError for masked values.
    """
    if isinstance(value, np.generic):
        return value.tolist()
    if hasattr(value, "__array__"):
        with refusals():
            values.require_whole(value, name)
        return np.asarray(value).tolist()
    if isinstance(value, Mapping):
        return {key: plain(item, f"{name}.{key}") for key, item in value.items()}
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, list | tuple | range):
        return [plain(item, f"{name}[{index}]") for index, item in enumerate(value)]
    return value


def scalar(value: object) -> object:
    """A NumPy number, or an array of one number, as a Python number."""
    if isinstance(value, np.generic) or (isinstance(value, np.ndarray) and value.ndim == 0):
        return value.item()
    return value


def whole(name: str, value: object, least: int = 1, most: int = MOST) -> int:
    """A whole number from `least` to `most`; 64.0 counts as one. Raises StudyError otherwise."""
    number = scalar(value)
    if isinstance(number, float) and number.is_integer():
        number = int(number)
    if isinstance(number, bool) or not isinstance(number, int) or not least <= number <= most:
        limit = "2^30" if most == MOST else str(most)
        raise StudyError(f"{name} is {show(number)}; allowed: a whole number from {least} to {limit}")
    return number


def beta(value: object) -> float:
    """An exponent beta of the output scaling. Raises StudyError unless it is strictly between 1/2 and 1."""
    number = scalar(value)
    if isinstance(number, bool) or not isinstance(number, float | int) or not 0.5 < number < 1:
        raise StudyError(f"beta is {show(number)}; allowed: strictly between 1/2 and 1")
    return float(number)


def richness(value: object) -> float:
    """A richness eps. Raises StudyError unless it is above 0 and at most 1."""
    number = scalar(value)
    if isinstance(number, bool) or not isinstance(number, float | int) or not 0 < number <= 1:
        raise StudyError(f"richness is {show(number)}; allowed: above 0 and at most 1")
    return float(number)


def one_of(name: str, value: object, options: Sequence[Option], label: str = "") -> Option:
    """The value, or the only option if it is None.

    label: introduces the options in the refusal. Raises StudyError for None with several options,
    and for a value that is not among them.
    """
    number = scalar(value)
    listed = f"{label or 'allowed'}: {', '.join(map(str, options))}"
    if number is None:
        if len(options) == 1:
            return options[0]
        raise StudyError(f"{name} is missing; give one ({listed})")
    for option in options:
        if number == option:
            return option
    if isinstance(number, str):
        raise StudyError(f"{name} is {show(number)}; {nearest(number, map(str, options))}")
    raise StudyError(f"{name} is {show(number)}; {listed}")


def numbers(name: str, given: ArrayLike, axes: Sequence[int] = ()) -> Array:
    """Real, finite numbers as float64, of any shape. Raises StudyError for anything else.

    axes: what its axes are, where they may have names (kernels.values).
    """
    with refusals():
        values.require_plain(given, name, axes)
    try:
        array = values.array_of(given, name, axes)
    except KernelError as error:
        if not isinstance(given, list | tuple):
            raise StudyError(str(error)) from None
        array = np.empty(0, dtype=object)
    if array.dtype.kind not in "iuf":
        what = "rows of different lengths or values that are not real numbers"
        raise StudyError(f"{name}: has {what}; give an array of finite numbers")
    array = array.astype(np.float64)
    _require_finite(name, array)
    return array


def _require_finite(name: str, array: NDArray[np.float64]) -> None:
    wrong = np.argwhere(~np.isfinite(array))
    if len(wrong):
        place = tuple(int(index) for index in wrong[0])
        where = f"[{', '.join(map(str, place))}]" if place else ""
        raise StudyError(f"{name}{where} is {array[place]}; allowed: finite numbers")


def times(given: ArrayLike, most: float) -> Array:
    """Training times, one or several, from 0 to `most`: float64 of shape () or (T,).

    Raises StudyError otherwise.
    """
    array = numbers("time", given)
    if array.ndim > 1 or array.size == 0:
        raise StudyError(f"time: has shape {array.shape}; give one time, or a list of them")
    if (array < 0).any():
        raise StudyError(f"time is {float(array.min())!r}; allowed: 0 or above")
    if (array > most).any():
        raise StudyError(f"time is {float(array.max())!r}; allowed: at most {most:.3g}, beyond which rounding grows")
    return array


def histories(given: ArrayLike, dimension: int, name: str = "histories") -> Array:
    """Input histories, oldest first, as float64 (n, T, d). Raises StudyError for another shape, or a NaN.

    given: (n, T, d), or (n, T) if the dimension d of the inputs is 1.
    """
    array = numbers(name, given, values.COLLECTION)
    shape_given = array.shape
    if array.ndim == 2 and dimension == 1:
        array = array[:, :, None]
    if array.ndim != 3 or array.shape[2] != dimension or array.size == 0:
        shape = "(n, T) or (n, T, 1)" if dimension == 1 else f"(n, T, {dimension})"
        raise StudyError(
            f"{name}: has shape {shape_given}; give an array {shape} of n histories of T >= 1 steps,"
            f" as the study's inputs have dimension {dimension}"
        )
    return np.ascontiguousarray(array)


def backend(name: str) -> Backend:
    """The back end of that name: auto, cuda, host or numpy. Raises StudyError if it is not available."""
    cache.tell(_warn)
    with refusals():
        return kernels.backend(one_of("backend", name, kernels.BACKEND_NAMES))


def _warn(line: str) -> None:
    """Pass on what the user should know of compiled kernels, but not that they are compiled."""
    if line.startswith("warning: "):
        warnings.warn(line.removeprefix("warning: "), RuntimeWarning, stacklevel=2)


@contextmanager
def computing() -> Iterator[None]:
    """Like `refusals`, with one thread for linear algebra, as on the command line.

    Small products are many times slower with threads that compete for cores, and sums would depend on
    their number.
    """
    with refusals(), threadpool_limits(1, user_api="blas"):
        yield


@contextmanager
def refusals() -> Iterator[None]:
    """Raise StudyError, one line, for what a kernel or a section of the study refuses, and if memory runs out."""
    try:
        yield
    except KernelError as error:
        raise StudyError(str(error)) from None
    except PydanticCustomError as error:
        context = error.context or {}
        raise StudyError(f"{context.get('key')} {context.get('found')}; {context.get('allowed')}") from None
    except MemoryError as error:
        words = str(error) or "the arrays do not fit"
        raise StudyError(f"out of memory ({words}); ask for fewer replicas, steps or histories") from None
