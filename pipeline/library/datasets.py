"""Files of results as xarray datasets whose values are read, when they are needed, through the gate for reading."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from xarray.backends import BackendArray
from xarray.core import indexing

from rnnlimits.files.shards import TABLE
from rnnlimits.files.store import File, Variable, open_complete

# Attributes by which HDF5 and netCDF keep dimensions.
HIDDEN = {"CLASS", "NAME", "REFERENCE_LIST", "DIMENSION_LIST", "DIMENSION_LABELS"}


def opened(path: Path, **identity: object) -> xr.Dataset:
    """A file of results, lazily, after checking that it is complete and has this identity. Close it, or use `with`.

    Raises StudyError, when it is opened and when values are read, for a file or a shard that is damaged or replaced.
    """
    source = _Source(path, identity)
    variables = {name: _variable(source, one) for name, one in source.file.variables.items() if name not in TABLE}
    dataset = xr.Dataset(variables, attrs=_attributes(source.file))
    dataset.set_close(source.close)
    return dataset


class _Source:
    """An open file, which a process that gets a copy of the data set opens again."""

    def __init__(self, path: Path, identity: dict[str, object]) -> None:
        self.path, self.identity = Path(path).absolute(), identity
        self._stack = ExitStack()
        self._file: File | None = None

    @property
    def file(self) -> File:
        if self._file is None:
            self._file = self._stack.enter_context(open_complete(self.path, None, **self.identity))
        return self._file

    def close(self) -> None:
        self._file = None
        self._stack.close()

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.path, self.identity)


class _Lazy(BackendArray):
    """One variable, indexed by xarray."""

    def __init__(self, source: _Source, name: str) -> None:
        self._source, self._name = source, name
        self.shape, self.dtype = source.file[name].shape, source.file[name].dtype

    def __getitem__(self, key: indexing.ExplicitIndexer) -> Any:
        return indexing.explicit_indexing_adapter(key, self.shape, indexing.IndexingSupport.OUTER_1VECTOR, self._read)

    def _read(self, key: tuple[Any, ...]) -> NDArray[Any]:
        variable = self._source.file[self._name]
        return np.asarray(variable.values()[key] if variable.dtype.kind == "O" else variable[key])


def _variable(source: _Source, one: Variable) -> xr.Variable:
    name = one.name.rsplit("/", 1)[-1]
    data = one.values() if one.dims == (name,) else indexing.LazilyIndexedArray(_Lazy(source, name))
    return xr.Variable(one.dims, data, attrs=_attributes(one))


def _attributes(owner: File | Variable) -> dict[str, Any]:
    return {
        name: value for name, value in owner.attrs.items() if name not in HIDDEN and not name.startswith("_Netcdf4")
    }
