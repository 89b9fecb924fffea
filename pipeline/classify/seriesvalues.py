"""Values of labelled series: numbers as text, and series without missing values."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from rnnlimits.base import textfiles
from rnnlimits.kernels.interface import Array

MISSING = ("?", "nan", "+nan", "-nan")


@dataclass
class Labelled:
    """Series (T_i, d) float64 and the label of each."""

    series: list[Array] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)


class Refused(Exception):
    """The error in a line; the reader adds file and line number."""


def numbers(words: list[str], empty_is_missing: bool = False) -> Array:
    """Numbers (n,), NaN for a missing value. Raises Refused for anything else, and for what is rounded to zero."""
    if all(word.isascii() and "_" not in word for word in words):
        try:
            values = np.array(words, dtype=np.float64)
        except ValueError:
            pass
        else:
            for index in np.flatnonzero(values == 0.0):
                _number(words[index], False)
            return values
    return np.array([_number(word, empty_is_missing) for word in words])


def _number(word: str, empty_is_missing: bool) -> float:
    text = word.strip()
    if text.lower() in MISSING or (empty_is_missing and not text):
        return float("nan")
    value = textfiles.number(text)
    if np.isnan(value):
        advice = textfiles.hint(text) or "; a missing value is written ?"
        raise Refused(f"{text[:30]!r} is not a number{advice}")
    return value


def whole(series: Array) -> Array:
    """A series (T, d) without missing values (NaN): those at its end are cut off, others are interpolated."""
    if np.isinf(series).any():
        raise Refused("an infinite value; every value must be a finite number or missing")
    steps = np.flatnonzero(np.isfinite(series).any(axis=1))
    if not steps.size:
        raise Refused("all values are missing; a series needs at least one")
    trimmed = series[: steps[-1] + 1]
    if np.isfinite(trimmed).all():
        return trimmed
    return np.stack([_filled(column) for column in trimmed.T], axis=1)


def _filled(column: Array) -> Array:
    observed = np.flatnonzero(np.isfinite(column))
    if not observed.size:
        raise Refused("a dimension whose values are all missing; leave the dimension out")
    return np.interp(np.arange(len(column)), observed, column[observed])
