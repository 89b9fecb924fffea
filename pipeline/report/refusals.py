"""Rates that cannot be determined, or judged, with the reasons in plain words."""

from __future__ import annotations

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
    """Rates without a verdict that decides, in groups, with the reasons in plain words."""
    groups = (
        (
            "Refused",
            "No law was fitted, since too few estimates exceed their noise, or since they tend to a constant. Fitting "
            "noise would report it as a rate. The reason names the points that were left out and, if it can be "
            "estimated, how many replicas would be enough.",
            [rate for rate in rates if rate.refused],
        ),
        (
            "Cannot tell",
            "There is a prediction, and nothing excludes it, but the interval is too wide for an agreement to mean "
            "much, or the points do not follow one law.",
            [rate for rate in rates if rate.verdict == "cannot tell" and not rate.refused],
        ),
        (
            "No prediction",
            "The rate is measured, but nothing predicts it at these widths. An exponent that holds at infinity says "
            "little about finite widths, so it is not held against them. The extrapolated interval is what the points "
            "say of infinity.",
            [rate for rate in rates if rate.verdict == "no prediction" and not without_exponent(rate)],
        ),
    )
    return [Refusal(heading, words, _reasons(members)) for heading, words, members in groups if members]


def _reasons(rates: Sequence[Rate]) -> list[tuple[list[str], str]]:
    """Each reason once, with the rates that it is given for."""
    by_reason: dict[str, list[str]] = {}
    for rate in rates:
        by_reason.setdefault(rate.reason or "nothing else is to be noted", []).append(name(rate))
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
        "The measured number minus the predicted one, over the same points.",
    ),
    (
        "all points together",
        "All points were compared with their predicted values at once, with the errors that they share.",
    ),
    (
        "half-width",
        "Half the 95% interval of the measured exponent minus the predicted one. So wide an interval agrees with "
        "almost any prediction.",
    ),
)


def glossary(rates: Sequence[Rate]) -> list[tuple[str, str]]:
    """The phrases that occur in this study's notes, in plain words."""
    text = "\n".join(rate.note for rate in rates)
    return [(phrase, words) for phrase, words in GLOSSARY if phrase in text]
