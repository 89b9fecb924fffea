"""Named arrays: xarray Datasets from NumPy arrays, with the units and long names of the files."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray

Dims = tuple[str, ...]
NAMES = {"probe": "index of the probe history"}  # long names of dimensions; others are called "index of ..."
Entry = tuple[ArrayLike, Dims, str]  # values, dimensions, long name


def variable(values: ArrayLike, dims: Dims, long_name: str) -> xr.Variable:
    """One variable, without units, as all quantities here are."""
    return xr.Variable(dims, np.asarray(values), {"units": "1", "long_name": long_name})


def dataset(entries: Mapping[str, Entry], coordinates: Mapping[str, Entry], attrs: Mapping[str, Any]) -> xr.Dataset:
    """A Dataset of named arrays; dimensions without a coordinate get their indices as a coordinate."""
    data = {name: variable(*entry) for name, entry in entries.items()}
    named = {name: variable(*entry) for name, entry in coordinates.items()}
    lengths = {str(dim): size for one in data.values() for dim, size in one.sizes.items()}
    index = {dim: variable(np.arange(size), (dim,), NAMES.get(dim, f"index of {dim}")) for dim, size in lengths.items()}
    return xr.Dataset(data, {**index, **named}, attrs)


def loss_times(bins: int, horizon: float) -> NDArray[np.float64]:
    """Training time at the centre of each bin of the loss."""
    return np.asarray((np.arange(bins) + 0.5) * horizon / bins)
