"""The table of rates and its notes, in words, with the keys that each column is sorted by."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from rnnlimits.figures.labels import fixed
from rnnlimits.quantities.base import about, variable_of
from rnnlimits.report.numbers import short
from rnnlimits.statistics.ratefile import Rate
from rnnlimits.statistics.verdicts import Verdict


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
    predicted: str
    expected: str
    kind: str
    extrapolated: str
    verdict: Verdict
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
    digits = 4 if rate.stderr < 0.0005 else 3
    determined = not math.isnan(rate.exponent)
    half = 0.5 * (rate.ci_high - rate.ci_low)
    note = numbered.get(rate.note, 0)
    variable, at = variable_of(rate).words, fixed(rate)
    values = (rate.exponent, rate.predicted, rate.expected)
    keys = (f"{index:06d}", variable, at, rate.estimator, *map(_key, values))
    return Row(
        quantity=rate.quantity,
        title=about(rate).title,
        figure=f"figure-{rate.quantity}" if rate.quantity in with_figure else "",
        variable=variable,
        at=at,
        estimator=rate.estimator,
        number=f"{rate.exponent:.{digits}f} ± {half:.{digits}f}" if determined else "–",
        predicted="–" if math.isnan(rate.predicted) else f"{rate.predicted:.{digits}f}",
        expected=short(rate.expected),
        kind=rate.expected_kind or "–",
        extrapolated="–" if math.isnan(rate.corrected) else f"{rate.corrected_low:.2f} to {rate.corrected_high:.2f}",
        verdict=rate.verdict,
        note=note,
        keys=(*keys, rate.expected_kind, rate.verdict, _key(rate.corrected), str(note or "")),
    )


def _key(value: float) -> str:
    return "" if math.isnan(value) else repr(value)
