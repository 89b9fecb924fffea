"""The table of rates, in words, with the keys that each column is sorted by."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from rnnlimits.figures.labels import fixed
from rnnlimits.quantities.base import folded, title_of, variable_of
from rnnlimits.report.numbers import short
from rnnlimits.statistics.ratefile import Rate
from rnnlimits.statistics.verdicts import Verdict


@dataclass(frozen=True)
class Row:
    """A row of the table; keys: the values that each column is sorted by, in the order of the columns.

    identity: of its element. group: the same for rows that share quantity, estimator and variable. name: the row in a
    few words. is_beside: another row says nearly the same from the same units and paths, so that this one is folded.
    """

    identity: str
    is_beside: bool
    name: str
    group: str
    quantity: str
    title: str
    figure: str
    at: str
    number: str
    predicted: str
    verdict: Verdict
    expected: str
    kind: str
    estimator: str
    variable: str
    extrapolated: str
    note: str
    keys: Sequence[str]


def rows(rates: Sequence[Rate]) -> list[Row]:
    """The rows of the table, in the order of rates.csv."""
    with_figure = {rate.quantity for rate in rates if rate.cloud}
    beside = folded(rates)
    return [_row(index, rate, with_figure, beside[index]) for index, rate in enumerate(rates)]


def name(rate: Rate) -> str:
    """A rate in a few words: output_bias in N, β = 0.6 (pair-mean)."""
    return f"{rate.quantity} in {variable_of(rate).words}, {fixed(rate)} ({rate.estimator})"


def _row(index: int, rate: Rate, with_figure: set[str], is_beside: bool) -> Row:
    digits = 4 if rate.stderr < 0.0005 else 3
    determined = not math.isnan(rate.exponent)
    half = 0.5 * (rate.ci_high - rate.ci_low)
    variable, at = variable_of(rate).words, fixed(rate)
    numbers = (_key(rate.exponent), _key(rate.predicted))
    return Row(
        identity=f"rate-{index + 1}",
        is_beside=is_beside,
        name=name(rate),
        group=f"{rate.quantity} {variable} {rate.estimator}",
        quantity=rate.quantity,
        title=title_of(rate),
        figure=f"figure-{rate.quantity}" if rate.quantity in with_figure else "",
        at=at,
        number=f"{rate.exponent:.{digits}f} ± {half:.{digits}f}" if determined else "–",
        predicted="–" if math.isnan(rate.predicted) else f"{rate.predicted:.{digits}f}",
        verdict=rate.verdict,
        expected=short(rate.expected),
        kind=rate.expected_kind,
        estimator=rate.estimator,
        variable=variable,
        extrapolated="–" if math.isnan(rate.corrected) else f"{rate.corrected_low:.2f} to {rate.corrected_high:.2f}",
        note=rate.note,
        keys=(
            *(f"{index:06d}", at, *numbers, rate.verdict, _key(rate.expected), rate.estimator, variable),
            *(_key(rate.corrected), rate.note),
        ),
    )


def _key(value: float) -> str:
    return "" if math.isnan(value) else repr(value)
