"""Labelled series in columns, a label and values in each line: .tsv (UCR 2018) and .txt (older UCR).

What separates the columns is decided by the first line: a tab if it has one, else a comma, else blanks.
"""

from __future__ import annotations

import math

import numpy as np

from rnnlimits.base import textfiles
from rnnlimits.classify.seriesvalues import MISSING, Labelled, Refused, numbers, whole
from rnnlimits.kernels.interface import Array

SHORTEST_HEADER = 3  # values 0, 1, 2, ... in the first line, from which on they are names of columns
WORDS = {"\t": "tabs", ",": "commas", " ": "blanks"}


class Columns:
    """The reader of a file's lines, one after the other."""

    def __init__(self) -> None:
        self.found = Labelled()
        self.separator = ""

    def take(self, line: str) -> None:
        """Read a line with a label and values. Raises Refused for one that leaves a doubt."""
        self.separator = self.separator or ("\t" if "\t" in line else "," if "," in line else " ")
        label, *words = _cells(line, self.separator)
        self._check_label(label, line)
        if not words:
            raise Refused(f"no values after the label {label[:30]!r}; columns are separated by {WORDS[self.separator]}")
        series = whole(numbers(words, empty_is_missing=self.separator == "\t")[:, None])
        if not self.found.series and _is_header(label, series):
            raise Refused("0, 1, 2, ... are names of columns; remove the header row")
        self.found.series.append(series)
        self.found.labels.append(plain(label))

    def _check_label(self, label: str, line: str) -> None:
        if not label or label.lower() in MISSING:
            raise Refused(f"no label before the values {line.strip()[:30]!r}; the first column is the label")
        if self.separator == "\t":
            return
        if ";" in line:
            raise Refused(f"{line.strip()[:30]!r} has semicolons; separate columns by tabs, with decimal points")
        if any(letter.isspace() for letter in label):
            raise Refused(f"label {label[:30]!r} has a blank, or values a decimal comma; separate columns by tabs")
        if self.separator == " " and math.isnan(textfiles.number(label)):
            raise Refused(f"label {label[:30]!r} is no number, and blanks may be part of it; separate columns by tabs")


def _cells(line: str, separator: str) -> list[str]:
    return line.split() if separator == " " else [cell.strip() for cell in line.split(separator)]


def _is_header(label: str, series: Array) -> bool:
    """Whether a first line is the header that a table of pandas has."""
    values, count = series[:, 0], len(series)
    counted = any(np.array_equal(values, np.arange(first, first + count)) for first in (0, 1))
    return counted and count >= SHORTEST_HEADER and math.isnan(textfiles.number(label))


def is_comment(line: str) -> bool:
    """Whether a line is a comment: it begins with # and is not a label and numbers."""
    if not line.lstrip().startswith("#"):
        return False
    for separator in ("\t", ",", " "):
        _, *words = _cells(line, separator)
        if words and all(math.isfinite(textfiles.number(word)) for word in words):
            return False
    return True


def plain(label: str) -> str:
    """The label, with whole numbers in plain form: 1.0000e+00 becomes "1"."""
    value = textfiles.number(label)
    return str(int(value)) if math.isfinite(value) and value.is_integer() else label
