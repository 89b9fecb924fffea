"""What cannot be told, and why, in plain words."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from rnnlimits.figures.labels import undetermined
from rnnlimits.report.rate_table import name
from rnnlimits.statistics.ratefile import Rate


@dataclass(frozen=True)
class Refusal:
    """A group of rates about which the data cannot say anything: what they have in common, and the reasons."""

    heading: str
    words: str
    reasons: Sequence[tuple[Sequence[str], str]]


def refusals(rates: Sequence[Rate]) -> list[Refusal]:
    """Undetermined rates in groups that say in plain words why no verdict is given."""
    left = [rate for rate in rates if rate.verdict == "undetermined"]
    groups = (
        (
            "Refused",
            "No law was fitted, since too few estimates stand out of their noise. Fitting the others would report the "
            "noise as a rate. The reason names the points that were left out and, where it can be told, how many "
            "replicas would do.",
            [rate for rate in left if rate.refused],
        ),
        (
            "No expected value",
            "The rate is measured, but nothing is predicted that it could be compared with.",
            [rate for rate in left if not undetermined(rate) and math.isnan(rate.expected)],
        ),
        (
            "No verdict",
            "An exponent was fitted, but its interval is too wide, or the points do not follow one law, so that "
            "agreement with the expected value would mean little.",
            [rate for rate in left if not rate.refused and not math.isnan(rate.expected)],
        ),
    )
    return [Refusal(heading, words, _reasons(members)) for heading, words, members in groups if members]


def _reasons(rates: Sequence[Rate]) -> list[tuple[list[str], str]]:
    """Each reason once, with the rates that it is given for."""
    named: dict[str, list[str]] = {}
    for rate in rates:
        named.setdefault(rate.reason or "no reason was noted", []).append(name(rate))
    return [(names, reason) for reason, names in named.items()]


GLOSSARY = (
    (
        "debiased square under 3 standard errors",
        "A root mean square always looks positive. With its noise subtracted, the square is less than three standard "
        "errors above zero: it may be nothing.",
    ),
    (
        "beyond the first value that is left out, where only upward fluctuations stand out",
        "Where most estimates drown in noise, those that do not are the lucky ones. They are left out as well.",
    ),
    ("usable points", "Four points are the fewest from which a law can be told from its failure."),
    (
        "not one law",
        "The points scatter about the fitted line by more than their errors allow. The interval is widened for it.",
    ),
    (
        "off by",
        "The fitted exponent less the expected one. The exponent over the larger half of the points says whether the "
        "gap closes.",
    ),
)


def glossary(rates: Sequence[Rate]) -> list[tuple[str, str]]:
    """The phrases that occur in this study's notes, in plain words."""
    text = "\n".join(rate.note for rate in rates)
    return [(phrase, words) for phrase, words in GLOSSARY if phrase in text]
