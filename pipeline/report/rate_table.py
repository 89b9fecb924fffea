"""The table of rates and its notes, in words, with the keys that each column is sorted by."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from rnnlimits.figures.labels import fixed
from rnnlimits.quantities.base import about, variable_of
from rnnlimits.report.numbers import short
from rnnlimits.statistics.ratefile import Rate


@dataclass(frozen=True)
class Row:
    """A row of the table; keys: the values that each column is sorted by, in the order of the columns."""

    quantity: str
    title: str
    figure: str
    variable: str
    at: str
    estimator: str
    number: str
    interval: str
    expected: str
    kind: str
    verdict: str
    note: int
    keys: Sequence[str]


@dataclass(frozen=True)
class Note:
    """A note below the table, and the rows that refer to it."""

    number: int
    text: str
    rows: Sequence[str]


def rows(rates: Sequence[Rate]) -> list[Row]:
    """The rows of the table, in the order of rates.csv."""
    numbered = notes_of(rates)
    with_figure = {rate.quantity for rate in rates if rate.cloud}
    return [_row(index, rate, numbered, with_figure) for index, rate in enumerate(rates)]


def notes_of(rates: Sequence[Rate]) -> dict[str, int]:
    """Each note once, numbered in the order in which rows refer to them."""
    return {text: number for number, text in enumerate(dict.fromkeys(rate.note for rate in rates if rate.note), 1)}


def notes(rates: Sequence[Rate]) -> list[Note]:
    """The notes with the rows that refer to them."""
    return [
        Note(number, text, [name(rate) for rate in rates if rate.note == text])
        for text, number in notes_of(rates).items()
    ]


def name(rate: Rate) -> str:
    """A rate in a few words: output_bias in N, β = 0.6 (pair-mean)."""
    return f"{rate.quantity} in {variable_of(rate).words}, {fixed(rate)} ({rate.estimator})"


def _row(index: int, rate: Rate, numbered: dict[str, int], with_figure: set[str]) -> Row:
    digits = 3 if rate.stderr >= 0.0005 else 4
    determined = not math.isnan(rate.exponent)
    half = 0.5 * (rate.ci_high - rate.ci_low)
    number = f"{rate.exponent:.{digits}f} ± {half:.{digits}f}" if determined else "–"
    interval = f"{rate.ci_low:.{digits}f} to {rate.ci_high:.{digits}f}" if determined else "–"
    note = numbered.get(rate.note, 0)
    variable = variable_of(rate).words
    at = fixed(rate)
    keys = (f"{index:06d}", variable, at, rate.estimator, _key(rate.exponent), _key(rate.ci_low), _key(rate.expected))
    return Row(
        rate.quantity,
        about(rate).title,
        f"figure-{rate.quantity}" if rate.quantity in with_figure else "",
        variable,
        at,
        rate.estimator,
        number,
        interval,
        short(rate.expected),
        rate.expected_kind or "–",
        rate.verdict,
        note,
        (*keys, rate.expected_kind, rate.verdict, str(note or "")),
    )


def _key(value: float) -> str:
    return "" if math.isnan(value) else repr(value)
