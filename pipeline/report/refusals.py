"""Rates that cannot be determined, with the reasons in plain words."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from rnnlimits.figures.labels import without_exponent
from rnnlimits.report.rate_table import name
from rnnlimits.statistics.ratefile import Rate


@dataclass(frozen=True)
class Refusal:
    """A group of rates that the data cannot determine: what they have in common, and the reasons."""

    heading: str
    words: str
    reasons: Sequence[tuple[Sequence[str], str]]


def refusals(rates: Sequence[Rate]) -> list[Refusal]:
    """Undetermined rates in groups, with the reason in plain words why no verdict is given."""
    undecided = [rate for rate in rates if rate.verdict == "undetermined"]
    groups = (
        (
            "Refused",
            "No law was fitted, since too few estimates exceed their noise. Fitting the others would report the "
            "noise as a rate. The reason names the points that were left out and, if it can be estimated, how many "
            "replicas would be enough.",
            [rate for rate in undecided if rate.refused],
        ),
        (
            "No expected value",
            "The rate is measured, but no prediction exists that it could be compared with.",
            [rate for rate in undecided if not without_exponent(rate) and math.isnan(rate.expected)],
        ),
        (
            "No verdict",
            "An exponent was fitted, but its interval is too wide, or the points do not follow one law, so that "
            "agreement with the expected value would mean little.",
            [rate for rate in undecided if not rate.refused and not math.isnan(rate.expected)],
        ),
    )
    return [Refusal(heading, words, _reasons(members)) for heading, words, members in groups if members]


def _reasons(rates: Sequence[Rate]) -> list[tuple[list[str], str]]:
    """Each reason once, with the rates that it is given for."""
    by_reason: dict[str, list[str]] = {}
    for rate in rates:
        by_reason.setdefault(rate.reason or "no reason was noted", []).append(name(rate))
    return [(names, reason) for reason, names in by_reason.items()]


GLOSSARY = (
    (
        "debiased square under 3 standard errors",
        "A root mean square always looks positive. With its noise subtracted, the square is less than three standard "
        "errors above zero: it may be zero.",
    ),
    (
        "beyond the first value that is left out, where only upward fluctuations stand out",
        "Where noise hides most estimates, those that exceed it mostly do so by chance. They are left out as well.",
    ),
    ("usable points", "At least four points are needed to see whether a law fails."),
    (
        "not one law",
        "The points scatter about the fitted line by more than their errors allow. The interval is widened for it.",
    ),
    (
        "off by",
        "The fitted exponent minus the expected one. The exponent over the larger half of the points says whether the "
        "gap closes.",
    ),
)


def glossary(rates: Sequence[Rate]) -> list[tuple[str, str]]:
    """The phrases that occur in this study's notes, in plain words."""
    text = "\n".join(rate.note for rate in rates)
    return [(phrase, words) for phrase, words in GLOSSARY if phrase in text]
