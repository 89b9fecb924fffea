"""HDF5 and netCDF-4 files: packed values, fill values, missing rows, layouts, links; and damage.

Decoding follows the CF conventions, section 8.1 and 2.5.1: value = raw * scale_factor + add_offset, missing where raw
is _FillValue or missing_value, or outside valid_min .. valid_max or valid_range.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from draws import Draw, reader
from numpy.typing import NDArray
from series_truth import EITHER, REFUSE, Truth, chain_of, judge

FILES = ("s.nc", "s.h5", "série.nc", "a b.hdf5", "series", "s.csv")
NAMES = ("a", "b", "temperature", "sst (K)", "höhe", "0")
DTYPES = ("f8", "f4", ">f8", ">f4", "f2", "i1", "i2", "i4", "i8", "u1", "u2", ">i2", "u4")
SCALES = (0.001, 0.5, 10.0, 1e-6, -0.25)
OFFSETS = (0.0, 273.15, -40.0, 1e6)


class Variable:
    """One variable: raw values as stored, attributes, the options of its dataset, and which values are missing."""

    def __init__(self, draw: Draw, rows: int) -> None:
        self.dtype = np.dtype(draw.choice("dtype", DTYPES))
        values = np.array([draw.random.gauss(0, 30) for _ in range(rows)])
        self.raw: NDArray[Any] = (
            np.abs(values).astype(self.dtype) if self.dtype.kind == "u" else values.astype(self.dtype)
        )
        self.attributes: dict[str, Any] = {}
        self.options: dict[str, Any] = {}
        self.missing = np.zeros(rows, dtype=bool)

    @property
    def truth(self) -> NDArray[np.float64]:
        """The values that the file means, NaN where missing."""
        values = self.raw.astype(np.float64)
        with np.errstate(over="ignore"):  # of marks of missing values
            if "scale_factor" in self.attributes:
                values = values * float(np.ravel(self.attributes["scale_factor"])[0])
            if "add_offset" in self.attributes:
                values = values + float(np.ravel(self.attributes["add_offset"])[0])
        return np.where(self.missing, np.nan, values)


@reader
def netcdf_file(draw: Draw) -> str:
    """A recorded series as HDF5 or netCDF-4: read as the conventions say, or refused."""
    path = draw.folder / draw.choice("file", FILES)
    rows = draw.random.randint(17, 40)
    names = draw.random.sample(NAMES, draw.random.randint(2, 3))
    used = draw.random.sample(names, draw.random.randint(1, 2))
    variables = {name: Variable(draw, rows) for name in names}
    extra: list[Callable[[h5py.File], None]] = []
    truth = Truth({})
    if draw.random.random() < 0.7:
        draw.random.choice(PACKED)(draw, variables[used[0]], truth)
    if draw.random.random() < 0.3:
        draw.random.choice(LAYOUTS)(draw, variables[used[0]], truth)
    if draw.random.random() < 0.25:
        extra.append(draw.random.choice(WRONG)(draw, used[0], truth, len(used) > 1))
    draw.notes.append(f"used={used}, attributes={variables[used[0]].attributes}")
    _write(path, variables, extra)
    truth.columns = {name: variable.truth for name, variable in variables.items()}
    chain = chain_of(draw, path, used)
    read = {*chain["columns"], chain["target_column"]}  # type: ignore[misc]
    if chain["standardize"] and any(len(set(truth.columns[name])) == 1 for name in read):
        truth.worse(REFUSE)
    if any(np.isnan(truth.columns[name]).any() for name in read):
        truth.worse(REFUSE)
    if draw.chance("truncated", 0.05):
        content = path.read_bytes()
        path.write_bytes(content[: draw.random.randrange(1, len(content))])
        truth.worse(EITHER)
    return judge(draw, path, chain, truth)


def _write(path: Path, variables: dict[str, Variable], extra: list[Callable[[h5py.File], None]]) -> None:
    with h5py.File(path, "w") as file:
        rows = len(next(iter(variables.values())).raw)
        file["time"] = np.arange(rows, dtype="f8")
        file["time"].make_scale("time")
        file["time"].attrs["units"] = "days since 2000-01-01"
        for name, variable in variables.items():
            dataset = file.create_dataset(name, data=variable.raw, dtype=variable.dtype, **variable.options)
            dataset.dims[0].attach_scale(file["time"])
            for key, value in variable.attributes.items():
                dataset.attrs[key] = value
        for spoil in extra:
            spoil(file)


# --- packed values ------------------------------------------------------------------------------------------------


def _scale(draw: Draw, variable: Variable, truth: Truth) -> None:
    variable.attributes["scale_factor"] = np.float64(draw.random.choice(SCALES))
    if draw.random.random() < 0.5:
        variable.attributes["add_offset"] = np.float64(draw.random.choice(OFFSETS))


def _scale_oddly(draw: Draw, variable: Variable, truth: Truth) -> None:
    form = draw.choice("scale_factor as", ["array", "text", "integer", "zero", "nan"])
    forms = {"array": np.array([0.5]), "text": "0.5", "integer": np.int32(2)}
    forms |= {"zero": np.float64(0), "nan": np.float64("nan")}
    variable.attributes["scale_factor"] = forms[form]
    truth.worse(REFUSE if form == "nan" else EITHER)


def _offset(draw: Draw, variable: Variable, truth: Truth) -> None:
    variable.attributes["add_offset"] = np.float64(draw.random.choice(OFFSETS[1:]))


def _fill(draw: Draw, variable: Variable, truth: Truth, name: str = "") -> None:
    """A fill value, with or without values that are missing."""
    name = name or draw.choice("marked by", ["_FillValue", "missing_value"])
    limits = np.finfo(variable.dtype) if variable.dtype.kind == "f" else np.iinfo(variable.dtype)
    value = draw.choice("fill", [limits.min, limits.max, 99, np.nan if variable.dtype.kind == "f" else limits.min])
    fill = np.array(value).astype(variable.dtype)[()]
    variable.attributes[name] = fill if draw.random.random() < 0.8 else np.array([fill])
    if draw.chance("values are missing", 0.7):
        variable.raw[draw.random.sample(range(len(variable.raw)), draw.random.randint(1, 4))] = fill
    variable.missing |= np.isnan(variable.raw) if variable.raw.dtype.kind == "f" else False
    variable.missing |= variable.raw == fill


def _fill_and_scale(draw: Draw, variable: Variable, truth: Truth) -> None:
    _fill(draw, variable, truth)
    _scale(draw, variable, truth)


def _valid(draw: Draw, variable: Variable, truth: Truth) -> None:
    low, high = sorted(float(v) for v in draw.random.sample(list(variable.raw), 2))
    names = draw.choice("valid", ["valid_min", "valid_max", "valid_range"])
    dtype = variable.dtype
    if names == "valid_range":
        variable.attributes[names] = np.array([low, high], dtype=dtype)
    else:
        variable.attributes[names] = np.array(low if names == "valid_min" else high, dtype=dtype)[()]
    raw = variable.raw.astype(np.float64)
    variable.missing |= (raw < low) & (names != "valid_max") | (raw > high) & (names != "valid_min")


def _unsigned(draw: Draw, variable: Variable, truth: Truth) -> None:
    """Bytes of unsigned numbers stored as signed ones, as netCDF-3 had to."""
    if variable.dtype.kind == "i" and variable.dtype.itemsize < 8:
        draw.notes.append("_Unsigned")
        variable.attributes["_Unsigned"] = "true"
        truth.worse(EITHER)
        bits = 8 * variable.dtype.itemsize
        plain = variable.raw.astype(np.int64) % 2**bits
        stored = variable.raw
        variable.__class__ = type("Unsigned", (Variable,), {"truth": property(lambda _: plain.astype(np.float64))})
        variable.raw = stored


PACKED = (_scale, _scale, _scale_oddly, _offset, _fill, _fill, _fill_and_scale, _fill_and_scale, _valid, _unsigned)

# --- layouts ------------------------------------------------------------------------------------------------------


def _chunks(draw: Draw, variable: Variable, truth: Truth) -> None:
    draw.notes.append("chunks")
    variable.options = {"chunks": (draw.random.choice([1, 5, 16]),), "compression": "gzip", "shuffle": True}
    variable.options["fletcher32"] = draw.random.random() < 0.5


def _unlimited(draw: Draw, variable: Variable, truth: Truth) -> None:
    draw.notes.append("unlimited")
    variable.options = {"chunks": (8,), "maxshape": (None,)}


def _column(draw: Draw, variable: Variable, truth: Truth) -> None:
    """One number at a time, but with a second dimension."""
    draw.notes.append("(n, 1)")
    variable.options = {"shape": (len(variable.raw), 1)}
    truth.worse(EITHER)


LAYOUTS = (_chunks, _unlimited, _column)

# --- wrong --------------------------------------------------------------------------------------------------------


def _replaced(draw: Draw, name: str, truth: Truth, others: bool) -> Callable[[h5py.File], None]:
    """A dataset of the same name that is something else."""
    forms = ["text", "group", "scalar", "complex", "compound", "matrix", "empty", "object"]
    form = draw.choice("instead", [*forms, "longer"] if others else forms)
    truth.worse(REFUSE, name)

    def spoil(file: h5py.File) -> None:
        rows = file[name].shape[0]
        del file[name]
        if form == "group":
            file.create_group(name)
        elif form == "compound":
            file[name] = np.zeros(rows, dtype=[("x", "f8"), ("y", "f8")])
        elif form == "object":
            file.create_dataset(name, data=["1"] * rows, dtype=h5py.string_dtype())
        elif form == "empty":
            file.create_dataset(name, data=h5py.Empty("f8"))
        else:
            values = {"text": np.array([b"1"] * rows), "scalar": 1.0, "complex": np.ones(rows, dtype=complex)}
            values |= {"matrix": np.ones((rows, 2)), "longer": np.arange(rows + 7.0)}
            file[name] = values[form]

    if form == "longer":
        truth.named = ()
    return spoil


def _elsewhere(draw: Draw, name: str, truth: Truth, _: bool) -> Callable[[h5py.File], None]:
    """Values that lie in another file, or nowhere: HDF5 would give fill values without a word."""
    form = draw.choice("elsewhere", ["virtual", "external link", "soft link", "never written", "external file"])
    truth.worse(REFUSE, name)

    def spoil(file: h5py.File) -> None:
        rows = file[name].shape[0]
        del file[name]
        if form == "virtual":
            layout = h5py.VirtualLayout((rows,), "f8")
            layout[:] = h5py.VirtualSource("gone.h5", name, (rows,))
            file.create_virtual_dataset(name, layout)
        elif form == "external link":
            file[name] = h5py.ExternalLink("gone.h5", name)
        elif form == "soft link":
            file[name] = h5py.SoftLink("/nowhere")
        elif form == "external file":
            file.create_dataset(name, (rows,), "f8", external=[("gone.raw", 0, 8 * rows)])
        else:
            part = file.create_dataset(name, (rows,), "f8", chunks=(4,))
            part[: rows // 2] = np.arange(rows // 2)

    return spoil


def _not_finite(draw: Draw, name: str, truth: Truth, _: bool) -> Callable[[h5py.File], None]:
    value = draw.choice("value", [np.nan, np.inf, -np.inf])
    row = draw.random.randrange(17)
    truth.worse(REFUSE, name)

    def spoil(file: h5py.File) -> None:
        attributes, values = dict(file[name].attrs), file[name][()].astype("f8")
        values[row] = value
        del file[name]
        file[name] = values
        for key in ("scale_factor", "add_offset"):
            if key in attributes:
                file[name].attrs[key] = attributes[key]

    return spoil


def _absent(draw: Draw, name: str, truth: Truth, _: bool) -> Callable[[h5py.File], None]:
    draw.notes.append("absent")
    truth.worse(REFUSE, name)

    def spoil(file: h5py.File) -> None:
        del file[name]

    return spoil


WRONG = (_replaced, _elsewhere, _not_finite, _absent)
