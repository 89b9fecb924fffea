"""The table of rates at the other checkpoints, which are shown and not judged."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

from rnnlimits.figures.labels import fixed
from rnnlimits.quantities.base import variable_of
from rnnlimits.report.numbers import short
from rnnlimits.statistics.ratefile import Rate

COLUMNS = ("Quantity", "at", "t", "Measured", "Predicted", "p", "Estimator", "in", "Note")


@dataclass(frozen=True)
class TimeRow:
    """A row of the table, in words; again: it has the quantity, the estimator and the variable of the row before."""

    again: bool
    quantity: str
    at: str
    time: str
    number: str
    predicted: str
    p: str
    estimator: str
    variable: str
    note: str


def rows(rates: Sequence[Rate]) -> list[TimeRow]:
    """The rows of the table, in the order of rates_in_time.csv."""
    before = itertools.chain([None], rates)
    return [_row(rate, last is not None and _facts(last) == _facts(rate)) for last, rate in zip(before, rates)]  # noqa: B905


def _facts(rate: Rate) -> tuple[str, str, str]:
    return rate.quantity, rate.estimator, rate.variable


def _row(rate: Rate, again: bool) -> TimeRow:
    digits = 4 if rate.stderr < 0.0005 else 3
    half = 0.5 * (rate.ci_high - rate.ci_low)
    return TimeRow(
        again,
        rate.quantity,
        fixed(rate),
        f"{rate.time:g}",
        "–" if math.isnan(rate.exponent) else f"{rate.exponent:.{digits}f} ± {half:.{digits}f}",
        "–" if math.isnan(rate.predicted) else f"{rate.predicted:.{digits}f}",
        "–" if math.isnan(rate.p) else short(rate.p, 2),
        rate.estimator,
        variable_of(rate).words,
        rate.note,
    )


def told(rates: Sequence[Rate]) -> str:
    """One sentence: how many rows there are, and how small their smallest p-value is for so many."""
    tested = [rate.p for rate in rates if not math.isnan(rate.p)]
    if not tested:
        return f"{len(rates)} rows, none with a prediction."
    smallest, corrected = min(tested), min(1.0, min(tested) * len(tested))
    return (
        f"{len(rates)} rows, {len(tested)} with a p-value against their prediction; the smallest is "
        f"{short(smallest, 2)}, or {short(corrected, 2)} after Bonferroni's correction for their number."
    )
