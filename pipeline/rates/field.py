"""The initial field of a study, from its files."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rnnlimits.theory.flow import probes_of
from rnnlimits.theory.initial_field import InitialField
from rnnlimits.theory.laws import ParameterLaw
from rnnlimits.training.drawn import read_draws

if TYPE_CHECKING:
    from rnnlimits.kernels.interface import Backend
    from rnnlimits.study import Study
    from rnnlimits.training.layout import Layout


def initial_field(study: Study, layout: Layout, be: Backend) -> InitialField:
    """The initial field at the horizon, at infinite width.

    Raises StudyError if draw.h5 is missing or of another study.
    """
    law = ParameterLaw.of(study)
    training = study.training
    return InitialField.of(read_draws(study, layout), law, probes_of(study, law, be), training.alpha, training.horizon)
