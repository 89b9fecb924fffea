"""Rates of contraction: geometric laws in the coupled paths of draw.h5."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from rnnlimits.files import store
from rnnlimits.quantities.base import registered
from rnnlimits.quantities.contraction import Contraction, grouped
from rnnlimits.statistics import powerlaw
from rnnlimits.statistics.bootstrap import Array, Bootstrap
from rnnlimits.statistics.ratefile import Rate
from rnnlimits.statistics.rows import judged, log_point
from rnnlimits.statistics.verdicts import Expected
from rnnlimits.theory.couplings import RESOLVED

if TYPE_CHECKING:
    from rnnlimits.study import Study

LOST = 0.01  # a step counts if at most this fraction of the coupled pairs has fallen below couplings.RESOLVED
TRANSIENT = 1e-2  # steps count once distances have shrunk by this factor: larger ones are not yet infinitesimal


def contraction_rates(study: Study, file: store.File, bootstrap: Bootstrap) -> Iterator[Rate]:
    """Geometric rates of the coupled paths in draw.h5."""
    for entry in registered(Contraction):
        if entry.distance not in file:
            continue
        blank = entry.row(study.name, "N=infinity")
        distance = file[entry.distance]
        step = file[distance.dims[-1]][()].astype(np.float64)
        log_distance = distance[()].reshape(-1, len(step))
        expected = entry.expected(study, file, bootstrap)
        yield contraction_rate(blank, step, log_distance, expected, bootstrap)


def contraction_rate(blank: Rate, step: Array, log_distance: Array, expected: Expected, bootstrap: Bootstrap) -> Rate:
    """Rate of decay of exp(mean log distance); log_distance (pair, step), NaN where a distance is rounding error."""
    points = []
    for index in resolved_steps(log_distance):
        column = np.nan_to_num(log_distance[:, index], nan=math.log(RESOLVED))
        point = log_point(step[index], grouped(column), bootstrap)
        points.append(replace(point, replicas=len(column)))
    remark = (
        ""
        if len(points) >= powerlaw.MINIMUM_POINTS
        else "distances fall below rounding, or to zero, within a few steps"
    )
    return judged(blank, points, expected, remark)


def resolved_steps(log_distance: Array) -> list[int]:
    """Indices of steps after the transient at which nearly all distances are still resolved."""
    lost = np.isnan(log_distance).mean(0)
    resolved = [index for index in range(log_distance.shape[1]) if lost[index] <= LOST]
    mean = np.nanmean(log_distance[:, resolved], axis=0) if resolved else np.zeros(0)
    late = [index for index, value in zip(resolved, mean, strict=True) if value <= mean[0] + math.log(TRANSIENT)]
    return late if len(late) >= powerlaw.MINIMUM_POINTS else resolved
