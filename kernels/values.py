"""What a user calls numbers, as an array: taken for what it is, or refused with the argument's name.

NumPy would read the names of a table's columns, the keys of a mapping, or what lies behind a mask.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnnlimits.kernels.interface import Array, KernelError

REAL = "biuf"  # kinds of NumPy's types that are real numbers
SERIES, TIME, INPUT = range(3)
COLLECTION, SEQUENCE = (SERIES, TIME, INPUT), (TIME, INPUT)  # the order of axes
# What names of dimensions mean (xarray), as far as they leave no doubt.
AXES = {
    SERIES: {"series", "sample", "samples", "instance", "instances", "case", "path", "replica", "probe"},
    TIME: {"time", "times", "step", "steps", "t", "date", "timepoint", "timepoints"},
    INPUT: {"channel", "channels", "variable", "variables", "feature", "features", "x_component"},
}
TIME_INDEXES = ("DatetimeIndex", "PeriodIndex", "TimedeltaIndex", "MultiIndex")


def real(values: object, name: str, axes: Sequence[int] = ()) -> Array:
    """`array_of` as float64, C-contiguous, of one dimension at least.

    Whole numbers beyond 2^53 and longdouble are rounded; NaN and infinity are kept. Raises KernelError, which begins
    with `name`, for what is not an array of real numbers.
    """
    found = array_of(values, name, axes)
    if found.dtype.kind not in REAL:
        lost = {"c": ", whose imaginary part would be lost", "m": ", whose unit would be lost"}.get(
            found.dtype.kind, ""
        )
        raise KernelError(f"{name} cannot be read as real numbers (type {found.dtype}{lost}); give arrays of floats")
    return np.ascontiguousarray(found, dtype=np.float64)


def array_of(values: object, name: str, axes: Sequence[int] = ()) -> NDArray[Any]:
    """The array that `values` are: of NumPy, xarray, pandas, anything with __array__, or nested lists; maybe a view.

    axes: what its axes are, COLLECTION or SEQUENCE, where they may have names. Raises KernelError for a mapping, a set,
    text, a sparse matrix, a table that is not all numbers, missing and masked values.
    """
    require_plain(values, name, axes)
    if _is_pandas(values):
        return _of_pandas(values, name)
    try:
        return np.asarray(values)
    except (TypeError, ValueError, RuntimeError, OverflowError) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise KernelError(f"{name} cannot be read as real numbers ({reason}); give arrays of floats") from error


def require_plain(values: object, name: str, axes: Sequence[int] = ()) -> None:
    """Raises KernelError for what NumPy would take for something else, see `array_of`."""
    if isinstance(values, str | bytes | bytearray):
        raise KernelError(f"{name} is text; give an array of numbers")
    if isinstance(values, Mapping | Set):
        raise KernelError(f"{name} is a {type(values).__name__}; give an array, or a list of its values")
    if type(values).__module__.startswith("scipy.sparse"):
        raise KernelError(f"{name} is a sparse matrix; give {name}.toarray()")
    require_whole(values, name, axes)


def require_whole(values: object, name: str, axes: Sequence[int] = ()) -> None:
    """Raises KernelError for masked values, and for named axes and times of rows that are not in the order `axes`."""
    _require_no_masks(values, name)
    if axes:
        _require_order(getattr(values, "dims", ()), name, axes)
        index = type(getattr(values, "index", None)).__name__
        if axes[0] == SERIES and index in TIME_INDEXES:
            raise KernelError(f"{name} has rows by {index}, but a row must be one series; give an array (n, T)")


def _require_no_masks(values: object, name: str) -> None:
    if isinstance(values, np.ma.MaskedArray):
        masked = np.argwhere(np.ma.getmaskarray(values))
        if len(masked):
            raise KernelError(f"{name}{_place(masked[0])} is masked; fill masked values, or leave them out")
    elif isinstance(values, list | tuple):
        for index, item in enumerate(values):
            if isinstance(item, np.ma.MaskedArray | list | tuple):
                _require_no_masks(item, f"{name}[{index}]")


def _place(index: NDArray[np.int64]) -> str:
    return f"[{', '.join(str(int(part)) for part in index)}]" if len(index) else ""


def _require_order(dims: object, name: str, axes: Sequence[int]) -> None:
    if not isinstance(dims, tuple):
        return
    for dim, wanted in zip(dims, axes, strict=False):
        if any(str(dim).lower() in words for axis, words in AXES.items() if axis != wanted):
            order = ", ".join(("series", "time", "input")[axis] for axis in axes)
            raise KernelError(f"{name} has the dimensions {', '.join(map(str, dims))}; give them in the order {order}")


def _is_pandas(values: object) -> bool:
    return type(values).__module__.split(".")[0] == "pandas" and hasattr(values, "to_numpy")


def _of_pandas(values: Any, name: str) -> NDArray[Any]:
    """Numbers of a Series, DataFrame, Index or extension array."""
    types = list(values.dtypes) if values.ndim == 2 else [values.dtype]
    for kind in types:
        if getattr(kind, "kind", "O") not in REAL or kind.name == "category":
            raise KernelError(f"{name} has values of type {kind}; give columns of numbers only")
    missing = np.argwhere(np.asarray(values.isna()))
    if len(missing):
        raise KernelError(f"{name}{_place(missing[0])} is missing (nan); every value must be a finite number")
    return np.asarray(values.to_numpy(dtype=np.float64))
