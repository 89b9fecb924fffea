"""The verdicts of all rows of a study together: one study, one error rate.

Each row with a prediction has a p-value. With many rows some are small by chance, so Holm's step-down adjusts them:
among all rows of one study whose predictions are right, the chance that any is called "not as predicted" is LEVEL.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from rnnlimits.statistics.equality import holm
from rnnlimits.statistics.ratefile import Rate
from rnnlimits.statistics.verdicts import VERDICTS

LEVEL = 0.05  # of a study: one false alarm in twenty studies whose predictions are all right


def settled(rates: Sequence[Rate]) -> list[Rate]:
    """The rows of one study with p-values adjusted over all of them, and the verdicts that follow."""
    tested = [index for index, rate in enumerate(rates) if not math.isnan(rate.p)]
    adjusted = dict(zip(tested, holm([rates[index].p for index in tested]).tolist(), strict=True))
    return [_settled(rate, adjusted.get(index, math.nan)) for index, rate in enumerate(rates)]


def _settled(rate: Rate, adjusted: float) -> Rate:
    """One row. Rows without a p-value keep their verdict, unless a doubt says why a prediction could not be tested."""
    if adjusted < LEVEL:
        return replace(rate, p_adjusted=adjusted, verdict="not as predicted", note=_with(rate, _difference(rate)))
    if rate.doubt:
        note = rate.note if rate.refused else _with(rate, rate.doubt)  # a refusal says why itself
        return replace(rate, p_adjusted=adjusted, verdict="cannot tell", note=note)
    return rate if math.isnan(adjusted) else replace(rate, p_adjusted=adjusted, verdict="as predicted")


def _with(rate: Rate, reason: str) -> str:
    """The note with the reason of the verdict, first, except in a refusal, whose first word marks it."""
    parts = (rate.note, reason) if rate.refused else (reason, rate.note)
    return "; ".join(filter(None, parts))


def _difference(rate: Rate) -> str:
    """By how much a row differs from its prediction, in words."""
    words = []
    if not math.isnan(rate.exponent - rate.predicted):
        words.append(f"off by {rate.exponent - rate.predicted:+.3g}")
    if not math.isnan(rate.chi2):
        words.append(f"all points together: p = {rate.chi2_p:.2g}")
    return ", ".join(words)


def counted(rates: Sequence[Rate]) -> str:
    """One line: how many rows have each verdict, and how often the verdicts of a study are wrong by chance."""
    counts = [f"{sum(rate.verdict == verdict for rate in rates)} {verdict}" for verdict in VERDICTS]
    told = f"{len(rates)} rate{'s' * (len(rates) != 1)}: {', '.join(counts)}"
    if all(math.isnan(rate.p_adjusted) for rate in rates):
        return told
    return f"{told}. Of twenty studies whose predictions all hold, about one has a row that is called not as predicted."
