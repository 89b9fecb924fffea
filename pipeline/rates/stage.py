"""The rates stage: from ensembles, draws and the limit to exponents with intervals, verdicts, rates.h5 and rates.csv.

This module does not know any particular quantity; the modules of quantities/ register them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from rnnlimits.base import progress
from rnnlimits.base.streams import Stream
from rnnlimits.files import store
from rnnlimits.quantities.base import in_order, registered, when_of
from rnnlimits.quantities.own import quantities_of
from rnnlimits.quantities.whole import StudyQuantity
from rnnlimits.rates import sources
from rnnlimits.rates.contraction import contraction_rates
from rnnlimits.rates.in_time import InTime, earlier_rates, supremum_rates
from rnnlimits.rates.laws import law_rates
from rnnlimits.rates.reader import Reader
from rnnlimits.rates.trained import richness_rates, training_rates, twin_rates
from rnnlimits.statistics.bootstrap import Bootstrap
from rnnlimits.statistics.families import settled
from rnnlimits.statistics.ratefile import Rate, read, table, write_h5, write_tables
from rnnlimits.training import plan

if TYPE_CHECKING:
    from rnnlimits.kernels.interface import Backend
    from rnnlimits.study import Study
    from rnnlimits.training.layout import Layout

__all__ = ["Rate", "read", "run", "table"]


def run(study: Study, layout: Layout, be: Backend) -> list[Rate]:
    """Estimate every rate that the study's files allow; write rates.h5, rates.csv, rates_in_time.csv. For one process.

    Returns the rows of rates.csv.

    be: back end, for the bootstrap's uniforms and the predicted kurtosis. Raises StudyError for a file that is missing,
    damaged or from another study.
    """
    bootstrap = Bootstrap(
        lambda units, count: be.uniforms(study.seed, Stream.BOOTSTRAP, units.astype(np.uint32), count)
    )
    with quantities_of(study), np.errstate(all="ignore"):  # points say themselves where a number is not finite
        results = Reader(study, layout)
        in_time = InTime(results, bootstrap)
        found = in_order([*_rates(results, bootstrap, be), *supremum_rates(in_time)])
        rates = [*settled(found), *in_order(list(earlier_rates(in_time)))]
        files = sources.FilesOfRows(study, layout)
        identity = study.identity
        rates = [replace(rate, study_id=identity, time=_time(rate, study), files=files(rate)) for rate in rates]
    attrs = {**store.provenance(study), "draw_id": plan.draw_id(study), "backend": be.name, "device": be.device}
    write_h5(layout.rates_h5, attrs, rates)
    write_tables(layout.rates_csv, layout.rates_in_time_csv, rates)
    progress.note(f"{layout.rates_csv}: {len(found)} rates")
    return rates[: len(found)]


def _time(rate: Rate, study: Study) -> float:
    """The training time of a row."""
    return rate.time if rate.in_time else {"start": 0.0, "end": study.training.horizon, "": math.nan}[when_of(rate)]


def _rates(results: Reader, bootstrap: Bootstrap, be: Backend) -> Iterator[Rate]:
    study, layout = results.study, results.layout
    yield from training_rates(results, bootstrap)
    yield from law_rates(results, bootstrap, be)
    yield from twin_rates(results, bootstrap)
    yield from richness_rates(results, bootstrap)
    with store.open_complete(layout.draw, "draw", draw_id=plan.draw_id(study)) as file:
        yield from contraction_rates(study, file, bootstrap)
    for quantity in registered(StudyQuantity):
        progress.now(f"rates: {quantity.name}")
        yield from quantity.rates(results, bootstrap)
    if not layout.poisson.exists():
        progress.note(f"{layout.poisson}: is missing, so no constants are compared (rnnlimits poisson STUDY)")
