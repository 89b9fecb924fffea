"""Building blocks of the sections of a study file: numbers with stated ranges, and the section itself."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

Array = NDArray[np.float64]
Vector = tuple[float, ...]
Matrix = tuple[tuple[float, ...], ...]


def show(value: object, limit: int = 60) -> str:
    """A value as the user wrote it in YAML, on one short line."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None:
        return "null"
    if isinstance(value, Mapping):
        return f"a mapping of {len(value)} keys"
    text = repr(list(value)) if isinstance(value, tuple) else repr(value)
    return text if len(text) <= limit else text[: limit - 3] + "..."


def nearest(word: str, choices: Iterable[str]) -> str:
    """The end of a message that refuses `word`: the nearest of `choices`, or all of them if none is near."""
    names = list(choices)
    close = difflib.get_close_matches(word, names, n=1)
    return f"did you mean {close[0]}?" if close else f"allowed: {', '.join(names)}"


def refusal(key: str, found: object, allowed: str) -> PydanticCustomError:
    """The error of a check that involves more than one value; `key` is relative to the section that raises it.

    `found` is shown as a value, or verbatim if it is a `Found`.
    """
    text = found.text if isinstance(found, Found) else f"is {show(found)}"
    return PydanticCustomError("refused", "{key} {found}; {allowed}", {"key": key, "found": text, "allowed": allowed})


@dataclass(frozen=True)
class Found:
    """A description of what was found, where the value alone would not be clear."""

    text: str


@dataclass(frozen=True)
class Allowed:
    """Annotation of a type: for every error in a value the user sees this one sentence."""

    text: str

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> CoreSchema:
        """Wrap the annotated type's own validation (pydantic calls this)."""
        return core_schema.no_info_wrap_validator_function(self._check, handler(source))

    def _check(self, value: object, inner: core_schema.ValidatorFunctionWrapHandler) -> object:
        try:
            return inner(value)
        except ValidationError:
            raise PydanticCustomError("not_allowed", "{allowed}", {"allowed": self.text}) from None


def _integer_if_whole(value: object) -> object:
    """Accept a float with a whole value: YAML reads 1e5 as a float."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


WHOLE = BeforeValidator(_integer_if_whole)
FINITE = Field(strict=True, allow_inf_nan=False)

Switch = Annotated[bool, Field(strict=True), Allowed("true or false")]
Name = Annotated[str, Field(strict=True, min_length=1), Allowed("text")]
Number = Annotated[float, FINITE, Allowed("a finite number")]
Positive = Annotated[float, FINITE, Field(gt=0), Allowed("a finite number above 0")]
NonNegative = Annotated[float, FINITE, Field(ge=0), Allowed("a finite number, 0 or above")]
Count = Annotated[int, Field(strict=True, ge=1, le=2**30), WHOLE, Allowed("a whole number from 1 to 2^30")]
Several = Annotated[int, Field(strict=True, ge=2, le=2**30), WHOLE, Allowed("a whole number from 2 to 2^30")]

# Strict elements without a sentence of their own: only the list as a whole has one.
_Element = Annotated[float, FINITE]
_Elements = Annotated[tuple[_Element, ...], Field(min_length=1)]
_Rows = Annotated[tuple[_Elements, ...], Field(min_length=1)]
_PositiveElement = Annotated[float, FINITE, Field(gt=0)]
_PositiveElements = Annotated[tuple[_PositiveElement, ...], Field(min_length=1)]

NumberOrVector = Annotated[_Element | _Elements, Allowed("a finite number or a list of them")]
PositiveOrVector = Annotated[_PositiveElement | _PositiveElements, Allowed("a finite number above 0 or a list of them")]
NumberOrMatrix = Annotated[_Element | _Rows, Allowed("a finite number or a matrix as a list of rows")]
VectorOrMatrix = Annotated[_Elements | _Rows, Allowed("a list of finite numbers, or of such lists")]
FullMatrix = Annotated[_Rows, Allowed("a matrix of finite numbers as a list of rows")]
FullVector = Annotated[_Elements, Allowed("a list of finite numbers")]


class Section(BaseModel):
    """A part of a study: frozen, and an unknown key is refused with the nearest known one."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=False)

    @model_validator(mode="before")
    @classmethod
    def _known_keys(cls, raw: object) -> object:
        if isinstance(raw, cls):
            return raw
        if not isinstance(raw, Mapping):
            raise refusal("", raw, f"allowed: keys and values ({', '.join(cls.model_fields)})")
        for key in raw:
            if key not in cls.model_fields:
                raise refusal(str(key), Found("is not a key"), nearest(str(key), cls.model_fields))
        return raw


def as_vector(value: float | Vector, size: int) -> Array:
    """A number (the same for each component) or a list, as float64 of shape (size,)."""
    return np.array(np.broadcast_to(np.asarray(value, dtype=np.float64), (size,)))


def as_matrix(value: float | Matrix, size: int) -> Array:
    """A number (times the identity) or rows, as float64 of shape (size, size)."""
    if isinstance(value, tuple):
        return np.array(value, dtype=np.float64)
    return value * np.eye(size)


def check_vector(key: str, value: float | Vector, size: int, why: str) -> None:
    """Refuse a list whose length is not `size`; `why` says where that size comes from."""
    if isinstance(value, tuple) and len(value) != size:
        raise refusal(key, Found(f"has {len(value)} entries"), f"allowed: a number or {size} entries ({why})")


def check_square(key: str, value: float | Matrix, size: int, why: str) -> None:
    """Refuse rows that are not `size` x `size`; `why` says where that size comes from."""
    if not isinstance(value, tuple):
        return
    lengths = {len(row) for row in value}
    if len(value) != size or lengths != {size}:
        columns = " or ".join(str(length) for length in sorted(lengths))
        raise refusal(key, Found(f"has {len(value)} rows of {columns} entries"), f"allowed: {size} x {size} ({why})")


def check_symmetric(key: str, value: float | Matrix) -> None:
    """Refuse a covariance matrix that is not symmetric, naming the first pair of entries that differ."""
    if not isinstance(value, tuple):
        return
    for i, row in enumerate(value):
        for j in range(i):
            if row[j] != value[j][i]:
                mismatch = Found(f"is not symmetric: [{i}][{j}] is {row[j]}, [{j}][{i}] is {value[j][i]}")
                raise refusal(key, mismatch, "allowed: a covariance matrix")
