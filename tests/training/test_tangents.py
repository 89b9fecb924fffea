"""Tangents against ensembles of networks, which know nothing of them, and against differences of rich twins."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import runs
from processors import host, reference

from rnnlimits import study as studies
from rnnlimits.base.errors import StudyError
from rnnlimits.chains import paths as chains
from rnnlimits.kernels.interface import Array
from rnnlimits.ranks import parallel
from rnnlimits.study import Study
from rnnlimits.study.grid import RichTwin, tangent_twin
from rnnlimits.theory import observe
from rnnlimits.theory.laws import ParameterLaw
from rnnlimits.training import plan, rich, tangent_ends, tangents
from rnnlimits.training.layout import Layout
from rnnlimits.training.plan import Cell, RichBlock
from rnnlimits.training.tangents import Response

pytestmark = pytest.mark.needs_compiler

WIDTH, BETA, STEPS, PAIRS, PATHS = 64, 0.85, 64, 6000, 2
CELL = Cell(BETA, WIDTH, STEPS, 1, 2 * PAIRS)
STUDY: dict[str, Any] = {
    "twin": {"follow": True},
    "rich": {"follow": True},
    "limit": {"nodes": 40},
    "training": {"antithetic": True, "alpha": 3.0},
}


def small(folder: Path, **changes: Any) -> Study:
    return studies.load(runs.write_study(folder, **{**STUDY, **changes}))


@dataclass(frozen=True)
class Measured:
    """Outputs of antithetic pairs (pair, member, probe) on one path at the end."""

    output: Array

    @property
    def half(self) -> Array:
        return np.asarray(0.5 * (self.output[:, 0] - self.output[:, 1]))

    @property
    def mean(self) -> Array:
        return np.asarray(self.output.mean(1))


def measured(study: Study, path: int, skewed: bool = False) -> Measured:
    """Networks of the study on one path, whose weights are drawn here and by no code of the project."""
    rng = np.random.default_rng([3, path])
    w = rng.normal(size=(PAIRS, WIDTH, 1))
    b, u = 0.2 + 0.6 * w[..., 0], rng.random((PAIRS, WIDTH))
    c = np.where(u < 0.1, 3.0, -1 / 3) if skewed else 3**0.5 * (2 * u - 1)
    x, _, y = chains.training_paths(study, host, np.array([path], dtype=np.uint32)).take(STEPS)
    histories, outputs = chains.probe_histories(study, host), []
    for sign in (1, -1):
        trainer = host.trainer(plan.kernel_training(study, CELL), PAIRS)
        trainer.fill_from(0, w, b, sign * c)
        trainer.run(*(np.broadcast_to(a, (PAIRS, *a.shape[1:])) for a in (x, y)))
        trainer.settle()
        outputs.append(trainer.probe(histories)[0])
    return Measured(np.stack(outputs, axis=1))


def predicted(study: Study, path: int, richness: float | None = None) -> Response:
    twin = RichTwin(richness or WIDTH ** -(1 - BETA), STEPS, 1, 0.0, PATHS)
    histories = tangents.recent(study, host)
    (response,) = tangents.follow_block(study, host, RichBlock(twin, path, 1), histories, lambda _: None)
    return response


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    return small(tmp_path_factory.mktemp("study"))


@pytest.fixture(scope="module")
def seen(study: Study) -> list[Measured]:
    return [measured(study, path) for path in range(PATHS)]


@cache
def _foreseen(study: Study, path: int, richness: float | None = None) -> Response:
    return predicted(study, path, richness)


def deviations(values: Array, wanted: Array, allowed: float = 0.0) -> Array:
    """How many standard errors the mean of values (pair, probe) is from `wanted`, after a relative allowance."""
    error = values.std(0, ddof=1) / len(values) ** 0.5
    beyond = np.abs(values.mean(0) - wanted) - allowed * np.abs(wanted)
    return np.asarray(np.maximum(beyond, 0) / error)


def squares(values: Array) -> Array:
    """Whose mean is the variance."""
    return np.asarray((values - values.mean(0)) ** 2 * len(values) / (len(values) - 1))


def scatter_is_off(seen: Measured, response: Response) -> float:
    """The largest deviation of the two variances, each averaged over probes.

    A predicted variance leaves out a relative O(1/N); 2/N is allowed for it.
    """
    pairs = ((seen.half, response.half), (seen.mean, response.mean))
    found = [
        deviations(squares(values).mean(1)[:, None], np.array([of["output"][-1].mean() / WIDTH]), 2 / WIDTH)
        for values, of in pairs
    ]
    return float(np.max(found))


def mean_is_off(seen: Measured, response: Response) -> float:
    wanted = response.value["output"][0, -1] + response.second["output"][0, -1] / WIDTH
    return float(deviations(seen.mean, wanted).max())


def test_the_scatter_of_networks_is_the_predicted_one(study: Study, seen: list[Measured]) -> None:
    """Within 4 standard errors, four numbers: a false alarm has a chance below 3e-4, and the seed is fixed."""
    assert max(scatter_is_off(one, _foreseen(study, path)) for path, one in enumerate(seen)) < 4


def test_the_mean_of_networks_is_the_predicted_one(study: Study, seen: list[Measured]) -> None:
    """Eight numbers within 4 standard errors: 5e-4."""
    assert max(mean_is_off(one, _foreseen(study, path)) for path, one in enumerate(seen)) < 4


def test_other_predictions_are_refused(study: Study, seen: list[Measured], tmp_path: Path) -> None:
    """The same comparisons of what is nearly right: a smaller step, no richness, no 1/N term."""
    other = small(tmp_path, training={"antithetic": True, "alpha": 2.5})
    assert scatter_is_off(seen[0], predicted(other, 0)) > 8
    assert mean_is_off(seen[0], predicted(study, 0, 0.01)) > 8
    response = _foreseen(study, 0)
    silent = {name: np.zeros_like(values) for name, values in response.second.items()}
    assert mean_is_off(seen[0], replace(response, second=silent)) > 8


def test_both_members_of_pairs_of_a_skewed_law(tmp_path: Path) -> None:
    """Means of C and of -C, each within 4 standard errors of its own twin and not of the other's: 5e-4."""
    study = small(tmp_path, network={"c": {"kind": "two-point", "probability": 0.1}})
    output, response = measured(study, 0, skewed=True).output, predicted(study, 0)
    wanted = response.value["output"][:, -1] + response.second["output"][:, -1] / WIDTH
    assert max(deviations(output[:, member], wanted[member]).max() for member in (0, 1)) < 4
    assert min(deviations(output[:, member], wanted[1 - member]).max() for member in (0, 1)) > 8


# --- against rich twins ----------------------------------------------------------------------------------------


def test_the_value_is_the_rich_twin(study: Study) -> None:
    """Whose probes were cut to what the memory still depends on."""
    twin = RichTwin(WIDTH ** -(1 - BETA), STEPS, 1, 0.0, PATHS)
    histories = chains.probe_histories(study, host)
    found = rich.follow_block(study, host, RichBlock(twin, 0, 1), histories, lambda _: None)
    response = _foreseen(study, 0)
    np.testing.assert_allclose(response.value["output"], found.observed["output"][0], rtol=0, atol=1e-11)
    np.testing.assert_allclose(response.value["loss"], found.loss[0], rtol=1e-12)
    for name in "wbc":
        squares = found.observed[f"drift_{name}_rms"][0] ** 2
        np.testing.assert_allclose(response.value[f"drift_{name}"], squares, rtol=1e-10)


def test_before_training_the_scatter_is_that_of_a_sum(study: Study) -> None:
    """N Var = E (C S)^2 / eps^2 in the memory of the limit; half-differences have all of it and means none."""
    response, law = _foreseen(study, 0), ParameterLaw.of(study)
    ends = tangents.directions(study, law)
    histories = chains.probe_histories(study, host)
    memory = law.memory_path(host, histories, np.zeros(len(histories)))[:, histories.shape[1] - 1]
    hidden = np.tanh(ends.w[:, 0] * histories[:, -1] + memory[:, None])
    wanted = (ends.weight * (ends.c * hidden) ** 2).sum(1) * WIDTH ** (2 * (1 - BETA))
    np.testing.assert_allclose(response.half["output"][0], wanted, rtol=1e-5)
    np.testing.assert_allclose(response.variance["output"][0, 0], wanted, rtol=1e-5)
    assert response.mean["output"][0].max() < 1e-20


def test_mean_squares_of_drifts_have_the_derivatives_of_a_product() -> None:
    """Against differences along a curve of weights and drifts."""
    rng = np.random.default_rng(4)
    weight, drift = rng.normal(size=(5, 3)), rng.normal(size=(5, 2, 3))
    h = 1e-3

    def at(s: float) -> float:
        mass, moved = (a[..., 0] + s * a[..., 1] + 0.5 * s**2 * a[..., 2] for a in (weight, drift))
        return float((mass[:, None] * moved**2).sum())

    found = tangents.mean_square(weight, drift[:, 0]) + tangents.mean_square(weight, drift[:, 1])
    numbers = at(0), (at(h) - at(-h)) / (2 * h), (at(h) - 2 * at(0) + at(-h)) / h**2
    np.testing.assert_allclose(found, numbers, rtol=1e-4)


def test_mass_is_moved_and_kept() -> None:
    mass = tangents.moved_mass(np.array([0.25, 0.75]), 3)
    assert mass.shape == (3, 3, 3)
    np.testing.assert_allclose(mass.sum(axis=1), [[1, 0, 0]] * 3, atol=1e-15)


# --- at the end: memories along histories, the kernel, responses -------------------------------------------------

KERNEL = {"training": {"antithetic": False, "alpha": 3.0, "kernel": True}}
TRAINED = 3000


@dataclass(frozen=True)
class Kernels:
    """Networks on one path at the end: variables of observe.MEMORY and observe.KERNEL, (network, ...)."""

    study: Study
    seen: dict[str, Array]
    memory: Array

    @property
    def ends(self) -> dict[str, Array]:
        """What tangents tell of them, of the only member."""
        response = _foreseen(self.study, 0)
        return {name: values[0] for name, values in response.ends.items()}

    def square(self, name: str) -> float:
        """The mean square that the coefficients of powers of 1/N give."""
        return float(self.ends[name] @ float(WIDTH) ** -np.arange(3.0))


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Kernels:
    study = small(tmp_path_factory.mktemp("kernel"), **KERNEL)
    rng, probes = np.random.default_rng(12), observe.AtProbes.of(study, host)
    w = rng.normal(size=(TRAINED, WIDTH, 1))
    training = plan.kernel_training(study, CELL)
    trainer, watch = host.trainer(training, TRAINED), observe.KernelWatch(host, training, probes)
    trainer.fill_from(0, w, 0.2 + 0.6 * w[..., 0], 3**0.5 * (2 * rng.random((TRAINED, WIDTH)) - 1))
    watch.begin(trainer, TRAINED)
    x, _, y = chains.training_paths(study, host, np.zeros(1, dtype=np.uint32)).take(STEPS)
    trainer.run(*(np.broadcast_to(a, (TRAINED, *a.shape[1:])) for a in (x, y)))
    trainer.settle()
    memory = trainer.probe(probes.history)[1]
    seen = {**observe.memory_and_hidden(probes, memory), **watch(trainer, memory)}
    return Kernels(study, seen, memory)


def test_the_kernel_of_networks_moves_as_predicted(trained: Kernels) -> None:
    """Its mean along the limit's, and its size, to which 32 random directions leave 5%: within 4 standard errors."""
    mean = trained.ends["ntk_drift_along"] + trained.ends["ntk_drift_along_second"] / WIDTH
    assert deviations(trained.seen["ntk_drift_along"][:, None], mean[None]).max() < 4
    assert deviations(trained.seen["ntk_drift_along"][:, None], trained.ends["ntk_drift_along"][None]).max() > 4
    squares = trained.seen["ntk_drift"][:, None] ** 2
    assert deviations(squares, np.array([trained.square("ntk_drift_square")]), 0.05).max() < 4
    assert deviations(squares, trained.ends["ntk_drift_square"][:1], 0.05).max() > 8  # the rich twin's alone


def test_the_kernel_moves_as_that_of_the_rich_twin(trained: Kernels) -> None:
    """Which is computed by the code for networks, with weights in place of 1/N."""
    twin = RichTwin(WIDTH ** -(1 - BETA), STEPS, 1, 0.0, PATHS)
    histories = chains.probe_histories(trained.study, host)
    found = rich.follow_block(trained.study, host, RichBlock(twin, 0, 1), histories, lambda _: None).observed
    assert abs(found["ntk_drift_along"][0, 0, 0]) < 1e-9
    np.testing.assert_allclose(found["ntk_drift_along"][0, 0, -1], trained.ends["ntk_drift_along"], rtol=1e-6)
    np.testing.assert_allclose(found["ntk_drift"][0, 0, -1] ** 2, trained.ends["ntk_drift_square"][0], rtol=1e-6)


def test_small_parts_of_the_trained_kernel_are_as_predicted(trained: Kernels) -> None:
    """Factors that are taken at their means leave a part of 1/N: within 4 standard errors and 4/N."""
    for name, square in (("ntk_b_part", "ntk_b_square"), ("ntk_past_part", "ntk_past_square")):
        wanted = np.array([trained.square(square)])
        assert deviations(trained.seen[name][:, None] ** 2, wanted, 2 * 4 / WIDTH).max() < 4
        assert deviations(trained.seen[name][:, None] ** 2, 2 * wanted, 2 * 4 / WIDTH).max() > 4


def test_memories_along_histories_have_the_predicted_covariance(trained: Kernels) -> None:
    """Means and mean products of steps of each history: 5 standard errors for a hundred numbers, 1e-4."""
    ends, memory = trained.ends, trained.memory[:, :, 1:]
    mean = (ends["memory_along"] + ends["memory_along_second"] / WIDTH)[:, 1:]
    assert deviations(memory, mean).max() < 5
    modes = ends["memory_along_modes"][:, :, 1:]
    wanted = np.einsum("pmk,pml->pkl", modes, modes) / WIDTH
    centred = memory - memory.mean(0)
    products = np.einsum("rpk,rpl->rpkl", centred, centred) * TRAINED / (TRAINED - 1)
    scale = np.sqrt(np.einsum("pkk,pll->pkl", wanted, wanted))  # so that small covariances have an allowance too
    shifted = products + scale - wanted
    assert deviations(shifted, scale, 2 / WIDTH).max() < 5
    assert deviations(shifted + wanted, scale, 2 / WIDTH).max() > 8


def test_random_directions_have_the_covariance_of_one_unit(study: Study) -> None:
    """Of all nodes together: none moves mass in all, and squares are weight (1 - weight); 5 s.e. for 8 numbers."""
    weight = np.array([0.1, 0.2, 0.3, 0.4])
    moved = np.concatenate([tangent_ends.random_mass(study, weight, path)[..., 1] for path in range(100)])
    np.testing.assert_allclose(moved.sum(axis=1), 0, atol=1e-12)
    assert deviations(moved, 0 * weight).max() < 5
    assert deviations(moved**2, weight * (1 - weight)).max() < 5
    assert not np.array_equal(*(tangent_ends.random_mass(study, weight, path) for path in (0, 1)))


def test_modes_keep_the_covariance() -> None:
    responses = np.random.default_rng(1).normal(size=(2, 20, 5))
    found = tangent_ends.modes(responses)
    assert found.shape == (2, tangent_ends.MODES, 5)
    wanted = np.einsum("pqk,pql->pkl", responses, responses)
    np.testing.assert_allclose(np.einsum("pmk,pml->pkl", found, found), wanted, atol=1e-12)


def test_depths_are_compared_along_the_same_directions(tmp_path: Path) -> None:
    """With one depth alone nothing of it is written; responses are of mean zero and their squares the variance."""
    study = small(tmp_path, training={"antithetic": False, "depth": [1, 2], "width": [16]})
    response = predicted(study, 0)
    assert "output_response" not in _foreseen(small(tmp_path), 0).ends
    found = response.ends["output_response"][0]
    np.testing.assert_allclose(np.square(found).sum(0), response.variance["output"][0, -1], rtol=1e-9)
    assert response.ends["output_draws"].shape == (1, tangent_ends.DRAWS, found.shape[1])


# --- the plan --------------------------------------------------------------------------------------------------


def test_tangents_take_few_paths_and_a_k_that_is_small_enough(tmp_path: Path) -> None:
    training = {"width": [16, 64, 256], "replicas": 8, "antithetic": True}
    study = small(tmp_path, training=training, rich={"follow": True, "tangents": 8, "tangent_steps": 128})
    found = [tangent_twin(study, cell) for cell in plan.cells(study)]
    assert [(one.steps_per_time, one.paths) for one in found] == [(16, 8), (64, 8), (128, 4)]
    assert [one.richness for one in found] == [16**-0.25, 64**-0.25, 256**-0.25]


def test_numpy_is_refused_in_one_line(study: Study, tmp_path: Path) -> None:
    with pytest.raises(
        StudyError, match=r"rich.tangents is 16, which needs compiled kernels; use --backend host"
    ) as no:
        tangents.run(study, Layout.of(study, tmp_path), parallel.world(), reference)
    assert "\n" not in str(no.value)
