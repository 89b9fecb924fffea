"""Rows of rates.csv about long-run variances: measured constants over predicted ones, ergodic averages, mixing.

Source: docs/theory/poisson.md. These rows have a ratio instead of an exponent; the expected ratio is 1.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from rnnlimits.files import store
from rnnlimits.files.ensembles import open_ensemble
from rnnlimits.quantities.base import CHAIN_STEPS, DRAWS, K, register
from rnnlimits.quantities.whole import Results, StudyQuantity
from rnnlimits.statistics import powerlaw
from rnnlimits.statistics.bootstrap import Array, Bootstrap, degrees_of_freedom
from rnnlimits.statistics.powerlaw import Point
from rnnlimits.statistics.ratefile import Rate, refusal
from rnnlimits.statistics.rows import Ratio, judged, judged_ratio, ratio_row, scaled, without_local
from rnnlimits.statistics.samples import spread
from rnnlimits.statistics.verdicts import Expected, Rule
from rnnlimits.theory import mixing, stationary
from rnnlimits.training import plan
from rnnlimits.training.constants import AVERAGED

if TYPE_CHECKING:
    from rnnlimits.study import Study
    from rnnlimits.training.layout import Layout

MEMORY_SHARE = 0.5  # an average is long enough if the chain's memory shifts it by at most this many standard errors
# Averages of test functions, and mixing, use as many chains, as long, in every study: no study file can change that.
NO_REMEDY = Rule("")
NOT_DRAWN = "a recorded series has no constant of its own: its only randomness is where a path starts"


def _from_poisson(
    rows: Callable[[Study, Layout, store.File, Bootstrap], Iterator[Rate]],
) -> Callable[[Results, Bootstrap], Iterator[Rate]]:
    """The rows from poisson.h5; empty before it is written, and for a recorded series, whose file has no variables."""

    def select(results: Results, bootstrap: Bootstrap) -> Iterator[Rate]:
        study, layout = results.study, results.layout
        if not study.chain.noisy or not layout.poisson.exists():
            return
        with store.open_complete(layout.poisson, "poisson", poisson_id=plan.poisson_id(study)) as file:
            yield from rows(study, layout, file, bootstrap)

    return select


# --- the constant of one-pass noise ----------------------------------------------------------------------------


def noise_constants(study: Study, layout: Layout, file: store.File, bootstrap: Bootstrap) -> Iterator[Rate]:
    """S.d. of twins over paths times sqrt(K) over its prediction, at one K (`_judged_k`); all probes, then each."""
    outputs = {}
    for twin in plan.twins(study):
        with open_ensemble(layout.twin(twin), "twin-ensemble", twin_id=plan.twin_id(study, twin)) as ensemble:
            outputs[twin.steps_per_time] = ensemble["output"][:, -1]
    if not outputs:
        return
    constant, errors = file["noise"][()], np.hypot(file["noise_stderr"][()], file["noise_bias"][()])
    every, k_here = list(range(len(constant))), _judged_k(outputs)
    for probes in ([every] if len(every) > 1 else []) + [[probe] for probe in every]:
        at = f"K={k_here} " + (f"probe={probes[0]}" if len(probes) == 1 else "all probes")
        blank = SGD_NOISE_CONSTANT.row(study.name, at)
        predicted = float(np.sqrt(np.square(constant[probes]).mean()))
        # Errors of the probes' predictions come from the same walks: as if they were fully correlated.
        error = float(constant[probes] @ errors[probes] / len(probes) / predicted**2)
        ratios = [_over(k, output[:, None, probes], predicted, bootstrap) for k, output in outputs.items()]
        yield judged_ratio(blank, ratios, k_here, error, "heuristic")


def _judged_k(outputs: Mapping[int, Array]) -> int:
    """The largest K with at least half the most paths: beyond it, noise of the estimate outweighs the larger K."""
    most = max(len(output) for output in outputs.values())
    return max(k for k, output in outputs.items() if 2 * len(output) >= most)


def _over(k: int, output: Array, predicted: float, bootstrap: Bootstrap) -> Point:
    """sqrt(K) times the s.d. over paths of output (path, 1, probe), divided by its prediction."""
    return scaled(powerlaw.measure(k, spread(output), bootstrap), math.sqrt(k) / predicted)


# --- ergodic averages ------------------------------------------------------------------------------------------


def ergodic_averages(study: Study, layout: Layout, file: store.File, bootstrap: Bootstrap) -> Iterator[Rate]:
    """The order of the s.d. of averages of test functions."""
    short, lag = file["average"][()], file["lag_time"][()]
    for index, name in enumerate(_functions(file)):
        blank = ERGODIC_AVERAGE.row(study.name, f"f={name}")
        points = average_points(short[..., index], float(lag[index]), bootstrap)
        yield without_local(judged(blank, points, Expected(0.5, "exact", everywhere=True), rule=NO_REMEDY))


def _averages(results: Results, bootstrap: Bootstrap) -> Iterator[Rate]:
    """The rows of `ergodic_averages`; for a recorded series a row that says why it has none."""
    if not results.study.chain.noisy and results.layout.poisson.exists():
        yield replace(ERGODIC_AVERAGE.row(results.study.name, ""), note=refusal(NOT_DRAWN))
    yield from _from_poisson(ergodic_averages)(results, bootstrap)


def ergodic_constants(study: Study, layout: Layout, file: store.File, bootstrap: Bootstrap) -> Iterator[Rate]:
    """Constants from batch means, divided by those that the Poisson equation predicts."""
    for index, name in enumerate(_functions(file)):
        yield ergodic_constant(ERGODIC_CONSTANT.row(study.name, f"f={name}"), file, index)


def _functions(file: store.File) -> list[str]:
    return [str(name) for name in file["function"].values()]


def average_points(short: Array, lag_time: float, bootstrap: Bootstrap) -> list[Point]:
    """S.d. of averages of short averages (chain, stretch), over 1, 2, 4, ... of them.

    Averages so short that the chain's memory shows (1 - lag_time/n in their variance) are left out.
    """
    points, size = [], AVERAGED
    while True:
        point = powerlaw.measure(size, spread(short[..., None]), bootstrap)
        if 0.5 * abs(lag_time) / size * point.estimate > MEMORY_SHARE * point.stderr:
            point = point.drop("averages this short feel the chain's memory")
        points.append(point)
        if short.shape[1] < 2:
            return points
        short, size = (short[:, ::2] + short[:, 1::2]) / 2, 2 * size


def ergodic_constant(blank: Rate, file: store.File, index: int) -> Rate:
    """Square root of the long-run variance from batch means, divided by that from the Poisson equation."""
    chains, bias = file["batch_variance"][:, index], float(file["batch_bias"][index])
    predicted = float(file["long_run_variance"][index])
    row = replace(blank, expected=1.0, expected_kind="exact", predicted=1.0, verdict="cannot tell")
    if not np.isfinite([predicted, *chains]).all():
        return replace(row, note=refusal(powerlaw.NOT_FINITE))
    if not predicted > 0 or not chains.mean() > 0:
        return replace(row, note=refusal("the function does not vary"))
    own = np.hypot(chains.std(ddof=1) / math.sqrt(len(chains)), bias) / chains.mean()
    error = (file["long_run_variance_stderr"][index] + file["long_run_variance_rest"][index]) / predicted
    ratio = math.sqrt(chains.mean() / predicted)
    dof = degrees_of_freedom(chains - chains.mean())
    row = replace(row, predicted_stderr=0.5 * float(error))
    return ratio_row(row, Ratio(ratio, ratio * 0.5 * float(np.hypot(own, error)), dof), len(chains))


# --- mixing ----------------------------------------------------------------------------------------------------


def mixing_rates(study: Study, layout: Layout, file: store.File, bootstrap: Bootstrap) -> Iterator[Rate]:
    """The rate at which chains with one start become stationary, compared with the exact rate."""
    factor = stationary.mixing_rate(study)
    if "mixing_step" not in file or factor is None:
        return
    blank = MIXING.row(study.name, "N=infinity")
    if factor <= 0:
        yield replace(blank, note=refusal("the chain forgets its start in one step"))
        return
    departures = mixing.points(mixing.Departure(file["mixing_step"][()], file["mixing_error"][()]), bootstrap)
    rule = replace(NO_REMEDY, own_scale=True)
    yield without_local(judged(blank, departures, Expected(-math.log(factor), "exact", everywhere=True), rule=rule))


# --- entries ---------------------------------------------------------------------------------------------------

SGD_NOISE_CONSTANT = register(
    StudyQuantity(
        name="sgd_noise_constant",
        estimator="twin",
        when="end",
        variable=K,
        title="Noise of one-pass training, relative to its prediction",
        ordinate="ratio",
        sources=("twin",),
        law="ratio",
        rates=_from_poisson(noise_constants),
    )
)
ERGODIC_AVERAGE = register(
    StudyQuantity(
        name="ergodic_average",
        estimator="plain",
        variable=DRAWS,
        title="Averages of test functions of the chain",
        ordinate="standard deviation",
        expected_kind="exact",
        sources=("poisson",),
        rates=_averages,
    )
)
ERGODIC_CONSTANT = register(
    StudyQuantity(
        name="ergodic_constant",
        estimator="batch-means",
        variable=DRAWS,
        title="Constants of averages of the chain, relative to their prediction",
        ordinate="ratio",
        expected_kind="exact",
        sources=("poisson",),
        law="ratio",
        rates=_from_poisson(ergodic_constants),
    )
)
MIXING = register(
    StudyQuantity(
        name="mixing",
        estimator="law",
        variable=CHAIN_STEPS,
        title="Chains with one start, on their way to the stationary law",
        ordinate="root mean square distance",
        expected_kind="exact",
        sources=("poisson",),
        law="geometric",
        rates=_from_poisson(mixing_rates),
    )
)
