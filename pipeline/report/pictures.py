"""The pictures at the top of the page: the figures that say most of a whole study, drawn by the figures stage."""

from __future__ import annotations

from typing import NamedTuple

from rnnlimits.plan.layout import StudyFolder


class Picture(NamedTuple):
    """One picture. name: that of the figure's files. words: what it shows, also for readers who do not see it.

    wide: it has a panel for each axis, and takes the width of the page.
    """

    name: str
    title: str
    words: str
    wide: bool = True


PICTURES = (
    Picture(
        "collapse",
        "Bias against the richness",
        "Bias of the output at every width and axis against the richness ε: one curve, but for a term of order 1/N.",
        wide=False,
    ),
    Picture(
        "exponents",
        "Exponents against β",
        "Exponents in N, measured and predicted over the study's widths, and the orders at infinity that compete.",
        wide=False,
    ),
    Picture(
        "exponents_in_time",
        "Exponents in time",
        "Exponents in N at every checkpoint, measured and predicted, and that of the largest value over all of them.",
    ),
    Picture(
        "error_budget",
        "Error budget",
        "Mean square error of the output against N, and the parts that add up to it: where lines cross, another part "
        "becomes the largest.",
    ),
    Picture(
        "outputs",
        "Networks and their limit",
        "Outputs of single networks against training time around the limit, for the smallest and the largest width.",
    ),
    Picture(
        "quantiles",
        "Quantiles of the outputs",
        "Outputs at the final time, standardised, against the normal law; the band is what chance allows.",
    ),
)


def pictures(layout: StudyFolder) -> list[Picture]:
    """The pictures that the study has."""
    return [picture for picture in PICTURES if layout.figure(picture.name, "svg").exists()]
