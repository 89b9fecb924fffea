"""The phrases of notes, in plain words."""

from __future__ import annotations

from collections.abc import Sequence

from rnnlimits.statistics.ratefile import Rate

GLOSSARY = (
    (
        "refused",
        "No law was fitted, since too few estimates exceed their noise, or since they tend to a constant. Fitting "
        "noise would report it as a rate. The note names the points that were left out and, if it can be estimated, "
        "how many replicas would be enough.",
    ),
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
