"""How much twins learn, relative to the prediction from the eigenvalues of A: a row of rates.csv.

Source: docs/theory/outputs.md, "Training time"; docs/model.md, eq. (30).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from rnnlimits.files import store
from rnnlimits.files.ensembles import open_ensemble
from rnnlimits.quantities.base import K, register
from rnnlimits.quantities.whole import Results, StudyQuantity
from rnnlimits.statistics import powerlaw
from rnnlimits.statistics.bootstrap import Array, Bootstrap
from rnnlimits.statistics.ratefile import Rate
from rnnlimits.statistics.rows import judged_ratio
from rnnlimits.statistics.samples import average
from rnnlimits.training import plan

if TYPE_CHECKING:
    from rnnlimits.study import Study
    from rnnlimits.training.layout import Layout


def rates(study: Study, layout: Layout, bootstrap: Bootstrap) -> Iterator[Rate]:
    """Fall of the twins' loss over that of the sum of exponentials, for the largest K with half the most paths."""
    twins = plan.twins(study)
    if not twins:
        return
    with store.open_complete(layout.limit, "limit", limit_id=plan.limit_id(study)) as file:
        curve = bin_means(file, "loss", study.training.horizon, study.training.loss_bins)
        expected, error = float(fall(curve)), _error(file)
    points, most = [], max(twin.paths for twin in twins)
    for twin in twins:
        with open_ensemble(layout.twin(twin), "twin-ensemble", twin_id=plan.twin_id(study, twin)) as file:
            points.append(
                powerlaw.measure(twin.steps_per_time, average(fall(file["loss"][()])[:, None] / expected), bootstrap)
            )
    here = max(twin.steps_per_time for twin in twins if 2 * twin.paths >= most)
    yield judged_ratio(LOSS_DECAY.row(study.name, f"K={here}"), points, here, error / abs(expected), "exact")


def fall(loss: Array) -> Array:
    """Mean of the first eighth of the bins minus that of the last; loss (..., bin)."""
    few = max(1, loss.shape[-1] // 8)
    return np.asarray(loss[..., :few].mean(-1) - loss[..., -few:].mean(-1))


def bin_means(file: store.File, name: str, horizon: float, bins: int) -> Array:
    """Means of a fine curve of limit.h5 over `bins` equal bins of time, by the trapezoidal rule."""
    time, value = file["fine_time"].finite(), file[name].finite()
    area = np.concatenate([[0.0], np.cumsum(0.5 * (value[1:] + value[:-1]) * np.diff(time))])
    edges = np.linspace(0.0, horizon, bins + 1)
    return np.asarray(np.diff(np.interp(edges, time, area)) / np.diff(edges))


def _error(file: store.File) -> float:
    """Standard error of the expected fall: at most that of the loss, which is mostly that of Var Y."""
    return float(np.max(file["loss_error_draws"].finite()))


def _of_results(results: Results, bootstrap: Bootstrap) -> Iterator[Rate]:
    return rates(results.study, results.layout, bootstrap)


LOSS_DECAY = register(
    StudyQuantity(
        name="loss_decay",
        estimator="twin",
        variable=K,
        title="Fall of the loss of twins, relative to its prediction",
        ordinate="ratio",
        expected_kind="exact",
        sources=("twin",),
        law="ratio",
        rates=_of_results,
    )
)
