"""The poisson stage: long-run variances behind the constants of K^-1/2 and M^-1/2 laws, and how fast the chain mixes.

Reads draw.h5 for the flow, writes poisson.h5. Source: docs/theory/poisson.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import h5py
import numpy as np
from numpy.typing import NDArray

from rnnlimits.files import store
from rnnlimits.kernels.interface import Backend
from rnnlimits.statistics.longrun import FIRST, BatchMeans, LongRun, Scales, long_run
from rnnlimits.study import Study
from rnnlimits.theory import poisson_equation
from rnnlimits.theory.flow import Flow, probes_of
from rnnlimits.theory.laws import ParameterLaw
from rnnlimits.theory.mixing import Departure, departure
from rnnlimits.theory.moments import pooled
from rnnlimits.theory.poisson_equation import Estimate, Observable
from rnnlimits.theory.sgd_noise import Noise, Scores, exact_noise, simulated_noise
from rnnlimits.theory.walks import Stretch, stationary_walk
from rnnlimits.training import plan
from rnnlimits.training.drawn import read_draws
from rnnlimits.training.layout import Layout
from rnnlimits.training.leading import LeadingNoise
from rnnlimits.training.plan import Twin

Array = NDArray[np.float64]

GROUP = 64  # chains followed side by side
IN_CACHE = 8  # of them, whose scores are held at once
FUNCTIONS = ("x", "y", "x^2", "m")
AVERAGED = 128  # values in the shortest average of a test function
AVERAGES = 128  # such averages along each chain
AVERAGED_GROUPS = 4
PAIRS = 1 << 14
WALKS_BEYOND = 1 << 20  # first replica of the walks for test functions, far from those for the scores


@dataclass(frozen=True, eq=False)
class Averages:
    """Averages of the test functions and their variances.

    short: averages (chain, average, function); batch: long-run variances along the same chains; predicted: the
    variances (function,) that the Poisson equation predicts.
    """

    short: Array
    batch: LongRun
    predicted: Estimate


def run(study: Study, layout: Layout, be: Backend) -> None:
    """Compute what poisson.h5 holds and write it. For one process; `be` has NumPy's arrays.

    A recorded series gets a file without variables: its only randomness is where it starts, so no law of large numbers
    with a chain's constant applies. Raises StudyError if draw.h5 is missing, incomplete or from another study.
    """
    identities = {
        "draw_id": plan.draw_id(study),
        "limit_id": plan.limit_id(study),
        "poisson_id": plan.poisson_id(study),
    }
    attrs = {**store.provenance(study), **identities, "backend": be.name, "device": be.device}
    results = _results(study, layout, be) if study.chain.noisy else None
    with store.atomic_h5(layout.poisson, "poisson", attrs) as file:
        if results is not None:
            put_noise(file, results[0])
            put_averages(file, results[1])
            put_departure(file, results[2])
            put_leading(file, results[3])


def _results(
    study: Study, layout: Layout, be: Backend
) -> tuple[Noise, Averages, Departure | None, list[tuple[Twin, Array]]]:
    return noise(study, layout, be), averages(study, be), departure(study, be), leading_noises(study, layout, be)


# --- the constant of one-pass noise ----------------------------------------------------------------------------


def noise(study: Study, layout: Layout, be: Backend) -> Noise:
    """Predicted constants at the probes: exact for finite-state studies, else from as many draws as the draw stage."""
    law = ParameterLaw.of(study)
    draws, probes = read_draws(study, layout), probes_of(study, law, be)
    flow = Flow.of(pooled(draws.blocks), study.training.alpha)
    scores = Scores.of(flow, law.features(draws.nodes, probes.last, probes.memory), study.training.horizon)
    if (finite := poisson_equation.finite_state(study, law)) is not None:
        operator, atoms = finite
        at_atoms = poisson_equation.at_atoms(scores.observable(law, draws.nodes), atoms)
        return exact_noise(operator, at_atoms, scores.combination)
    batches = scores.batches(law, draws.nodes, 1 << FIRST)
    groups = -(-study.draws.blocks * study.draws.chains // GROUP)
    scales = Scales.of_groups([_scales(study, law, be, batches, group) for group in range(groups)])
    return simulated_noise(long_run(scales, scores.combination))


def _scales(study: Study, law: ParameterLaw, be: Backend, batches: Observable, group: int) -> Scales:
    """Batch means of the scores along one group of chains."""
    sums = [BatchMeans(least=FIRST) for _ in range(GROUP // IN_CACHE)]
    walk = stationary_walk(study, law, be, (group * GROUP + np.arange(GROUP)).astype(np.uint32))
    for _ in range(max(2, -(-study.draws.steps // sums[0].longest))):
        part = walk.take(sums[0].longest)
        for index, some in enumerate(sums):
            some.add(batches(part.of(slice(index * IN_CACHE, (index + 1) * IN_CACHE))))
    return Scales.of_groups([some.result() for some in sums])


def leading_noises(study: Study, layout: Layout, be: Backend) -> list[tuple[Twin, Array]]:
    """The leading noise of the twins of each K along their own paths (path, probe)."""
    law, probes = ParameterLaw.of(study), probes_of(study, ParameterLaw.of(study), be)
    draws = read_draws(study, layout)
    flow = Flow.of(pooled(draws.blocks), study.training.alpha)
    noise = LeadingNoise(study, law, be, flow, law.features(draws.nodes, probes.last, probes.memory))
    return [(twin, noise.of(twin)) for twin in plan.twins(study)]


# --- test functions --------------------------------------------------------------------------------------------


def functions(part: Stretch) -> Array:
    """The test functions FUNCTIONS (R, L, 4) along a stretch; x is the first component of X."""
    x = part.x[..., 0]
    return np.stack([x, part.y, x**2, part.m], axis=-1)


def averages(study: Study, be: Backend) -> Averages:
    """Averages of the test functions along stationary chains, and their predicted long-run variances."""
    law, short, scales = ParameterLaw.of(study), [], []
    for group in range(AVERAGED_GROUPS):
        numbers = (WALKS_BEYOND + group * GROUP + np.arange(GROUP)).astype(np.uint32)
        walk, sums, here = stationary_walk(study, law, be, numbers), BatchMeans(), []
        for _ in range(AVERAGES * AVERAGED // sums.longest):
            values = functions(walk.take(sums.longest))
            sums.add(values)
            here.append(values.reshape(GROUP, -1, AVERAGED, values.shape[-1]).mean(2))
        short.append(np.concatenate(here, axis=1))
        scales.append(sums.result())
    return Averages(np.concatenate(short), long_run(Scales.of_groups(scales)), predicted(study, law, be))


def predicted(study: Study, law: ParameterLaw, be: Backend) -> Estimate:
    """Long-run variances (function,) from the Poisson equation, exactly where that is possible."""
    if (finite := poisson_equation.finite_state(study, law)) is None:
        return poisson_equation.coupled_variance(study, be, functions, PAIRS)
    operator, atoms = finite
    value = operator.variance(poisson_equation.at_atoms(functions, atoms))
    return Estimate(value, np.zeros_like(value), np.zeros_like(value))


# --- files -----------------------------------------------------------------------------------------------------


def put_noise(file: h5py.File, constants: Noise) -> None:
    """The constants of eq. (37)."""
    store.put(file, "probe", np.arange(len(constants.constant)), ("probe",), "1", "index of the probe history")
    name = "predicted sqrt(K) times the s.d. of the infinite-width output at the horizon, docs/model.md eq. (37)"
    store.put(file, "noise", constants.constant, ("probe",), "1", name)
    store.put(file, "noise_stderr", constants.stderr, ("probe",), "1", "standard error of noise, 0 if exact")
    store.put(file, "noise_bias", constants.bias, ("probe",), "1", "change of noise when batches were doubled last")


def put_leading(file: h5py.File, noises: Sequence[tuple[Twin, Array]]) -> None:
    """The leading noise of the twins: a row for each K and path."""
    if not noises:
        return
    put, dims = store.put, ("leading",)
    steps = np.concatenate([np.full(len(values), twin.steps_per_time) for twin, values in noises])
    paths = np.concatenate([np.arange(len(values)) for _, values in noises])
    put(file, "leading_steps_per_time", steps, dims, "1", "K of the twin")
    put(file, "leading_path", paths, dims, "1", "index of the path of the chain")
    name = "leading noise of the twin on this path at the horizon, of mean zero, docs/theory/poisson.md eq. (d)"
    put(file, "leading_noise", np.concatenate([values for _, values in noises]), ("leading", "probe"), "1", name)


def put_averages(file: h5py.File, results: Averages) -> None:
    """Averages of test functions and their long-run variances."""
    put, batch = store.put, results.batch
    put(file, "function", list(FUNCTIONS), ("function",), "1", "test functions of the chain and its memory")
    dims = ("chain", "stretch", "function")
    put(file, "average", results.short, dims, "1", f"averages over {AVERAGED} consecutive values")
    name = "long-run variance from batch means, for each chain about the mean of all"
    put(file, "batch_variance", batch.chains, ("chain", "function"), "1", name)
    put(file, "batch_bias", batch.bias, ("function",), "1", "change of batch_variance when batches were doubled last")
    name = "n Var(average of n values) is the long-run variance times 1 - lag_time/n"
    put(file, "lag_time", batch.lag_time, ("function",), "1", name)
    value = results.predicted
    put(file, "long_run_variance", value.value, ("function",), "1", "long-run variance, docs/model.md eq. (35)")
    put(file, "long_run_variance_stderr", value.stderr, ("function",), "1", "its standard error, 0 if exact")
    put(file, "long_run_variance_rest", value.rest, ("function",), "1", "bound on what later steps would add")


def put_departure(file: h5py.File, distances: Departure | None) -> None:
    """Chains with one start, where the rate of mixing is known exactly."""
    if distances is None:
        return
    store.put(file, "mixing_step", distances.step, ("mixing_step",), "1", "steps since the start")
    name = "averages over groups of chains with one start, less their stationary value"
    store.put(file, "mixing_error", distances.error, ("mixing_step", "unit", "component"), "1", name)
