"""Sequences in whatever container and of whatever size, whose Gram matrix is compared with an independent one.

Stated tolerance: of float64 1e-10, of float32 1e-4, of the root of the product of the two diagonal entries.
"""

from __future__ import annotations

import decimal
import fractions
from collections.abc import Callable
from typing import Any

import fifty_digits
import numpy as np
import pandas as pd
import xarray as xr
from draws import OK, REFUSED, Draw, Fault, reader, refusal
from mpmath import mp
from numpy.typing import NDArray
from series_truth import EITHER, READ, REFUSE

from rnnlimits.library import rntk
from rnnlimits.library.rntk import ElmanNetwork

Array = NDArray[np.float64]
TOLERANCES = {"float64": 1e-10, "float32": 1e-4}
EXPONENTS = (0, 0, 0, -3, 3, -10, 10, -19, -21, 19, 21, -30, 30, -100, 100, -155, 155, -200, 200, -300, 300)


@reader
def gram_at_scale(draw: Draw) -> str:
    """Inputs of any size: the kernels to fifty digits, within the stated tolerance, or a refusal."""
    network = ElmanNetwork(
        layers=draw.choice("layers", [1, 2]),
        activation=draw.choice("activation", ["relu", "relu", "erf"]),
        sigma_w=draw.choice("sigma_w", [0.5, 1.0, 1.3, 2**0.5]),
        sigma_b=draw.choice("sigma_b", [0.0, 0.0, 0.1]),
        sigma_h=draw.choice("sigma_h", [0.0, 0.3]),
    )
    dtype, kernel = draw.choice("dtype", list(TOLERANCES)), draw.choice("kernel", ["ntk", "nngp"])
    exponent = draw.choice("exponent", EXPONENTS)
    count = draw.random.randint(1, 2)
    x = [_sequence(draw, count) * 10.0**exponent for _ in range(2)]
    if draw.chance("another scale beside it", 0.2):
        x[1] = x[1] * 10.0 ** draw.choice("exponent", [-8, 8, -20, 20])
    if not all(np.isfinite(one).all() for one in x):
        return REFUSED
    found: list[Array] = []
    backend = draw.choice("backend", ["numpy", "auto"])
    if refusal(lambda: found.append(rntk.gram(x, network=network, kernel=kernel, dtype=dtype, backend=backend))):
        if exponent == 0 and "another scale beside it" not in draw.notes:
            raise Fault("ordinary numbers are refused")
        return REFUSED
    _require_near(found[0], x, network, kernel, TOLERANCES[dtype])
    return OK


def _sequence(draw: Draw, count: int) -> Array:
    steps = draw.random.randint(1, 3)
    return np.array([[draw.random.gauss(0, 1) for _ in range(count)] for _ in range(steps)])


def _require_near(found: Array, x: list[Array], network: ElmanNetwork, kernel: str, tolerance: float) -> None:
    place = 0 if kernel == "ntk" else 1
    digits = fifty_digits.DIGITS + 4 * round(max(abs(np.log10(np.abs(one).max())) for one in x))
    with mp.workdps(digits):
        exact = [[fifty_digits.kernels(a, b, network, a is b, digits)[place] for b in x] for a in x]
        for i, row in enumerate(exact):
            for j, value in enumerate(row):
                size = mp.sqrt(exact[i][i] * exact[j][j])
                entry = float(found[i, j])
                if not np.isfinite(entry) or abs(mp.mpf(entry) - value) > tolerance * size:
                    raise Fault(f"entry [{i}, {j}] is {entry}, right is {mp.nstr(value, 12)}")


# --- containers ---------------------------------------------------------------------------------------------------


@reader
def array_container(draw: Draw) -> str:
    """Sequences in a container: the same matrix as of plain lists, or a refusal."""
    count, steps = draw.random.randint(2, 4), draw.random.randint(2, 5)
    values = np.array([[draw.random.gauss(0, 1) for _ in range(steps)] for _ in range(count)])
    name = draw.choice("container", list(CONTAINERS))
    promise, made = CONTAINERS[name]
    given, plain = made(draw, values)
    options: dict[str, Any] = {"network": ElmanNetwork(activation=draw.choice("activation", ["relu", "erf", "tanh"]))}
    act = draw.choice("of", ["gram", "gram with y", "diagonal", "transformer"])
    if act == "transformer" and (name == "text" or (promise == READ and not isinstance(given, np.ndarray))):
        promise = EITHER  # scikit-learn has conventions of its own for lists, and for numbers as text
    found: list[Array] = []
    if line := refusal(lambda: found.append(_called(act, given, options))):
        if promise == READ:
            raise Fault(f"was refused, though it must be read: {line}")
        return REFUSED
    if promise == REFUSE:
        raise Fault("was read, though it must be refused")
    expected = _called("gram" if act == "transformer" else act, [row.tolist() for row in plain], options)
    if found[0].shape != expected.shape or not np.allclose(found[0], expected, rtol=1e-12, atol=0):
        raise Fault(f"another matrix than of plain lists: {found[0].ravel()[:3]}, right is {expected.ravel()[:3]}")
    return OK


def _called(act: str, x: Any, options: dict[str, Any]) -> Array:
    if act == "diagonal":
        return np.asarray(rntk.diagonal(x, backend="numpy", **options))
    if act == "transformer":
        from sklearn.exceptions import NotFittedError

        try:
            return np.asarray(
                rntk.RecurrentNTK(activation=options["network"].activation, backend="numpy").fit_transform(x)
            )
        except (ValueError, TypeError, NotFittedError) as error:  # those of scikit-learn itself are its convention
            raise rntk_refusal(str(error)) from error
    y = [[0.5, -0.25, 0.1]] if act == "gram with y" else None
    return np.asarray(rntk.gram(x, y, backend="numpy", **options))


def rntk_refusal(text: str) -> Exception:
    """A refusal of scikit-learn as one of ours: its text may have several lines."""
    from rnnlimits.base.errors import StudyError

    return StudyError(" ".join(text.split()))


Made = tuple[Any, Any]  # what is given, and the same as rows of float64


def _masked(draw: Draw, values: Array) -> Made:
    mask = np.zeros(values.shape, dtype=bool)
    mask[draw.random.randrange(len(values)), draw.random.randrange(values.shape[1])] = True
    return np.ma.MaskedArray(values, mask), values


def _with(bad: float) -> Callable[[Draw, Array], Made]:
    def made(draw: Draw, values: Array) -> Made:
        values[draw.random.randrange(len(values)), draw.random.randrange(values.shape[1])] = bad
        return draw.choice("as", [values, values.tolist(), list(values)]), values

    return made


def _typed(dtype: str) -> Callable[[Draw, Array], Made]:
    def made(_: Draw, values: Array) -> Made:
        given = (np.abs(values) * 3 if dtype != "?" else values > 0).astype(dtype)
        if not given.any():
            given[0, 0] = 1
        given[~given.any(axis=1), 0] = 1
        return given, given.astype(np.float64)

    return made


def _ragged(draw: Draw, values: Array) -> Made:
    rows = [row[: draw.random.randint(1, len(row))] for row in values]
    return draw.choice("as", [rows, tuple(rows), [row.tolist() for row in rows], [row[:, None] for row in rows]]), rows


def _strided(draw: Draw, values: Array) -> Made:
    wide = np.zeros((len(values), 2 * values.shape[1]))
    wide[:, ::2] = values
    return draw.choice(
        "as", [wide[:, ::2], values[::-1][::-1], np.asfortranarray(values), values.astype(">f8")]
    ), values


def _read_only(_: Draw, values: Array) -> Made:
    values.setflags(write=False)
    return values, values


def _subclass(draw: Draw, values: Array) -> Made:
    return draw.choice("as", [np.asmatrix(values), values.view(type("Mine", (np.ndarray,), {}))]), values


def _frame(draw: Draw, values: Array) -> Made:
    frame = pd.DataFrame(values, columns=[f"t{k}" for k in range(values.shape[1])])
    if draw.chance("names are numbers", 0.5):
        frame.columns = pd.RangeIndex(values.shape[1])
    return frame, values


def _frames(draw: Draw, values: Array) -> Made:
    columns = [pd.Series(row, index=range(5, 5 + len(row))) for row in values]
    return draw.choice("as", [columns, [pd.DataFrame(column) for column in columns]]), values


def _labelled(draw: Draw, values: Array) -> Made:
    array = xr.DataArray(values, dims=("series", "time"))
    return draw.choice("as", [array, list(array), xr.Dataset({"x": array})["x"]]), values


def _mapping(draw: Draw, values: Array) -> Made:
    rows = dict(enumerate(values.tolist()))
    return draw.choice(
        "as", [rows, rows.keys(), xr.Dataset({"x": ("t", values[0])}), pd.DataFrame(values).to_dict()]
    ), values


def _other(draw: Draw, values: Array) -> Made:
    forms = [None, "text", b"bytes", 3.0, [0.1, 0.2, 0.3], set(values[0]), [], [[]], [None], [["a"]], np.array(1.0)]
    forms += [values[0], [[0.1], "b"], object(), range(3), np.zeros((0, 3)), np.zeros((2, 0))]
    return draw.choice("as", forms), values


def _iterated(draw: Draw, values: Array) -> Made:
    forms = [(row for row in values), map(np.asarray, values), memoryview(values), iter(values.tolist())]
    return draw.choice("as", forms), values


def _exact(draw: Draw, values: Array) -> Made:
    made = draw.choice("as", [fractions.Fraction, decimal.Decimal])
    return [[made(float(value)) for value in row] for row in values], values


CONTAINERS: dict[str, tuple[int, Callable[[Draw, Array], Made]]] = {
    "array": (READ, lambda _, values: (values, values)),
    "lists": (READ, lambda _, values: (values.tolist(), values)),
    "ragged": (READ, _ragged),
    "strided": (READ, _strided),
    "read-only": (READ, _read_only),
    **{f"dtype {dtype}": (READ, _typed(dtype)) for dtype in ("f4", "f2", "i8", "i1", "u1", ">i4")},
    "bool": (EITHER, _typed("?")),
    "longdouble": (EITHER, lambda _, values: (values.astype(np.longdouble), values)),
    "subclass": (EITHER, _subclass),
    "data frame": (EITHER, _frame),
    "list of frames": (EITHER, _frames),
    "xarray": (EITHER, _labelled),
    "iterated": (EITHER, _iterated),
    "fractions": (EITHER, _exact),
    "no mask": (EITHER, lambda _, values: (np.ma.MaskedArray(values), values)),
    "masked": (REFUSE, _masked),
    "list of masked": (REFUSE, lambda draw, values: (list(_masked(draw, values)[0]), values)),
    "nan": (REFUSE, _with(np.nan)),
    "inf": (REFUSE, _with(-np.inf)),
    "mapping": (REFUSE, _mapping),
    "complex": (REFUSE, lambda _, values: (values + 1j, values)),
    "text": (REFUSE, lambda _, values: (values.astype("U32"), values)),
    "objects": (EITHER, lambda _, values: (values.astype(object), values)),
    "other": (REFUSE, _other),
}
