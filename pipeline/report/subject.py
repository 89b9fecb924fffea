"""The subject of the page: a study of any kind, with the figures that only its kind has."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from rnnlimits.plan.parts import Experiment
from rnnlimits.report.plots import Plot
from rnnlimits.report.rate_plots import ToLink


class Subject(Experiment, Protocol):
    """A study with its results folder, as the report needs it."""

    def plots(self, link: ToLink) -> Sequence[Plot]:
        """Interactive figures in addition to those of the rates, in the order of the figures stage."""
