"""Tangents against ensembles of networks, which know nothing of them, and against differences of rich twins."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import runs
from emulation import conversions_refused, emulated
from processors import host, reference

from rnnlimits import study as studies
from rnnlimits.chains import paths as chains
from rnnlimits.kernels.interface import Array, Backend
from rnnlimits.ranks import checkpoints
from rnnlimits.study import Study
from rnnlimits.study.grid import RichTwin, tangent_twin
from rnnlimits.theory import observe
from rnnlimits.theory.laws import Nodes, ParameterLaw
from rnnlimits.theory.shares import NodeShares
from rnnlimits.training import kernel_tangents, memory_tangents, plan, rich, tangents
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

KERNEL = {"training": {"antithetic": False, "alpha": 3.0, "kernel": True}}


def small(folder: Path, **changes: Any) -> Study:
    return studies.load(runs.write_study(folder, **{**STUDY, **changes}))


@dataclass(frozen=True)
class Measured:
    """Outputs of antithetic pairs (pair, member, probe) on one path at the end; w, b, c of the units of their first."""

    output: Array
    units: tuple[Array, Array, Array]

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
    return Measured(np.stack(outputs, axis=1), (w, b, c))


def predicted(study: Study, path: int, richness: float | None = None) -> Response:
    twin = RichTwin(richness or WIDTH ** -(1 - BETA), STEPS, 1, 0.0, PATHS)
    histories = recent(study)
    (response,) = tangents.follow_block(study, host, RichBlock(twin, path, 1), histories, lambda _: None)
    return response


def recent(study: Study) -> Array:
    return rich.recent(study, host, tangents.FORGOTTEN)


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


def explained(study: Study, seen: Measured, response: Response) -> Array:
    """What the units of each network explain of its output (pair, member, probe)."""
    law = ParameterLaw.of(study)
    ends = tangents.directions(study, law)
    shares = NodeShares.of(law, ends, study.rich.c_nodes, study.rich.b_nodes)(*seen.units)
    of_output = response.at_ends["output"]
    if len(of_output) == 2:
        return np.stack([shares @ of_output[0], shares @ of_output[1]], axis=1)
    return np.stack([shares @ of_output[0], shares[:, ends.opposite] @ of_output[0]], axis=1)


def left(values: Array, noise: Array) -> float:
    """The part of the standard deviation that is left, after the mean was found to be 0 within 4.5 errors (1e-4)."""
    assert deviations(noise, np.zeros(noise.shape[1])).max() < 4.5
    return float(np.sqrt((values - noise).var(0).mean() / values.var(0).mean()))


def test_the_units_of_a_network_explain_its_deviation(study: Study, seen: list[Measured]) -> None:
    """All but products of two deviations, of a relative N^-1/2 = 0.125; those of another path explain less."""
    first, second = (explained(study, seen[0], _foreseen(study, path)) for path in range(PATHS))
    assert left(seen[0].half, 0.5 * (first[:, 0] - first[:, 1])) < 0.25
    assert left(seen[0].mean, first.mean(1)) < 0.25
    assert left(seen[0].mean, first.mean(1)) < left(seen[0].mean, second.mean(1)) < 0.5


def test_the_units_of_both_members_of_a_skewed_law(tmp_path: Path) -> None:
    study = small(tmp_path, network={"c": {"kind": "two-point", "probability": 0.1}})
    seen = measured(study, 0, skewed=True)
    noise = explained(study, seen, predicted(study, 0))
    assert max(left(seen.output[:, member], noise[:, member]) for member in (0, 1)) < 0.25


def test_the_responses_have_the_predicted_variance(study: Study) -> None:
    response, weight = _foreseen(study, 0), tangents.directions(study, ParameterLaw.of(study)).weight
    for name in ("output", "memory"):
        at_ends = response.at_ends[name][0]
        variance = weight @ at_ends**2 - (weight @ at_ends) ** 2
        np.testing.assert_allclose(variance, response.variance[name][0, -1], rtol=1e-10)


# --- against rich twins ----------------------------------------------------------------------------------------


def test_the_value_is_the_rich_twin(study: Study) -> None:
    """But for the nodes that have a mass of 1e-6 together, and for what the memory has forgotten."""
    twin = RichTwin(WIDTH ** -(1 - BETA), STEPS, 1, 0.0, PATHS)
    histories = chains.probe_histories(study, host)
    found = rich.follow_block(study, host, RichBlock(twin, 0, 1), histories, lambda _: None)
    response = _foreseen(study, 0)
    np.testing.assert_allclose(response.value["output"], found.observed["output"][0], rtol=0, atol=1e-5)
    np.testing.assert_allclose(response.value["loss"], found.loss[0], rtol=1e-5)
    for name in "wbc":
        squares = found.observed[f"drift_{name}_rms"][0] ** 2
        np.testing.assert_allclose(response.value[f"drift_{name}"], squares, rtol=1e-4)


def test_outputs_are_those_on_the_histories_that_are_given(study: Study) -> None:
    """And not on the study's, at any checkpoint; on its first one they are those of its first probe."""
    twin, histories = RichTwin(0.5, 16, 1, 0.0, 2), recent(study)
    one, every = (
        tangents.follow_block(study, host, RichBlock(twin, 0, 1), of, lambda _: None)[0].value["output"]
        for of in (histories[:1], histories)
    )
    assert one.shape == (*every.shape[:2], 1)
    np.testing.assert_allclose(one, every[..., :1], rtol=1e-12)


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


def test_a_path_is_the_same_in_any_block(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And whatever number of paths is followed at once."""
    study = small(tmp_path, **KERNEL)
    twin, histories = RichTwin(0.5, 16, 1, 0.0, 4), recent(study)
    whole = tangents.follow_block(study, host, RichBlock(twin, 0, 3), histories, lambda _: None)
    monkeypatch.setattr(plan, "TANGENTS_AT_ONCE", 1)
    parts = tangents.follow_block(study, host, RichBlock(twin, 1, 2), histories, lambda _: None)
    for one, other in zip(whole[1:], parts, strict=True):
        for kind in ("value", "variance", "second", "half", "mean", "ends"):
            for name, values in getattr(one, kind).items():
                np.testing.assert_array_equal(getattr(other, kind)[name], values)
        for name in tangents.PAIRED:
            np.testing.assert_array_equal(other.errors[name], one.errors[name])


def test_errors_of_few_nodes_are_told(tmp_path: Path) -> None:
    """What training does to output and memory on few nodes differs from that on many, by about as much as is said."""
    few, many = (small(tmp_path, limit={"nodes": nodes}) for nodes in (10, 80))
    one, other = (predicted(study, 0) for study in (few, many))
    for name in tangents.PAIRED:
        off = np.abs(np.diff((one.value[name] - other.value[name])[:, [0, -1]], axis=1)).mean()
        assert 0.2 * off < one.errors[name][:, -1].mean() < 5 * off
        assert other.errors[name][:, -1].mean() < 0.3 * off


def test_nodes_without_mass_are_left_out_in_pairs() -> None:
    weight = np.array([1e-9, 0.2, 1e-7, 0.3, 1e-7 * (1 + 1e-15), 0.5, 1e-9])
    nodes = Nodes(np.arange(7.0)[:, None], weight / weight.sum(), np.zeros(7), np.zeros(7))
    for mass, kept in ((0.0, 7), (1.5e-9, 7), (3e-9, 5), (1.5e-7, 5), (3e-7, 3)):
        found = nodes.without(mass)
        assert len(found.w) == kept
        assert found.weight.sum() == pytest.approx(1, abs=1e-15)


# --- back ends -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("skewed", [False, True])
def test_the_definition_agrees_on_a_whole_block(skewed: bool, tmp_path: Path) -> None:
    """To the error of its differences, for both members of a pair of a skewed law too."""
    law = {"network": {"c": {"kind": "two-point", "probability": 0.1}}} if skewed else {}
    few = {"rich": {"follow": True, "directions": 4, "c_nodes": 2}, "limit": {"nodes": 8}}
    study = small(tmp_path, **law, **few, training={"antithetic": True, "alpha": 3.0, "kernel": True})
    block, histories = RichBlock(RichTwin(0.5, 16, 1, 0.0, 2), 0, 2), recent(study)
    found, defined = (tangents.follow_block(study, be, block, histories, lambda _: None) for be in (host, reference))
    for one, other in zip(found, defined, strict=True):
        for kind, tolerance in (("value", 1e-12), ("variance", 1e-8), ("second", 1e-7), ("half", 1e-8), ("mean", 1e-8)):
            for name, values in getattr(other, kind).items():
                scale = max(1e-12, float(np.abs(values).max()))
                np.testing.assert_allclose(getattr(one, kind)[name], values, rtol=0, atol=tolerance * scale)
        for name in {*one.ends} - {"memory_along_modes"}:  # which have no sign
            scale = float(np.abs(other.ends[name]).max())
            np.testing.assert_allclose(one.ends[name], other.ends[name], rtol=0, atol=1e-5 * scale, err_msg=name)
    assert found[0].value["output"].shape[0] == 1 + skewed
    assert {*found[0].ends} == {*tangents.ENDS}


def of_stage(study: Study, be: Backend, block: RichBlock, folder: Path) -> list[Response]:
    """What the stage computes for a block."""
    stage = tangents.stage(study, Layout.of(study, folder), be)
    return stage.compute(block, stage.prepare(), lambda _: None, checkpoints.Forgetful(lambda _: None))


def test_the_stage_uses_the_device(tmp_path: Path) -> None:
    """To rounding, which differences of kernels magnify."""
    few = {"rich": {"follow": True, "directions": 3, "c_nodes": 2}, "limit": {"nodes": 4}}
    study = small(tmp_path, **few, training={"antithetic": True, "alpha": 3.0, "kernel": True})
    block, device = RichBlock(RichTwin(0.5, 8, 1, 0.0, 2), 0, 2), emulated()
    with conversions_refused():
        found = of_stage(study, device, block, tmp_path)
    wanted = of_stage(study, host, block, tmp_path)
    assert {"train_tangents", "probe_tangents"} <= {*device._runtime.launched}  # type: ignore[attr-defined]
    for one, other in zip(found, wanted, strict=True):
        for kind in ("value", "variance", "second", "half", "mean", "at_ends", "ends"):
            for name, values in getattr(other, kind).items():
                of_device, tolerance = getattr(one, kind)[name], 1e-9 if name in kernel_tangents.CHANGE else 1e-12
                if name == "memory_along_modes":  # only their products are determined
                    of_device, values = (a.swapaxes(-1, -2) @ a for a in (of_device, values))
                scale = max(1e-12, float(np.abs(values).max()))
                np.testing.assert_allclose(of_device, values, rtol=0, atol=tolerance * scale, err_msg=name)
        for name in tangents.PAIRED:
            np.testing.assert_allclose(one.errors[name], other.errors[name], rtol=0, atol=1e-12)


# --- at the end: memories along histories ------------------------------------------------------------------------

TRAINED = 3000


@dataclass(frozen=True)
class Ensemble:
    """Networks on one path at the end: their memories (network, probe, step), and what they are held against."""

    study: Study
    memory: Array
    change: dict[str, Array]  # of the kernel, (network,)

    @property
    def ends(self) -> dict[str, Array]:
        """What tangents tell of them, of the only member."""
        return {name: values[0] for name, values in _foreseen(self.study, 0).ends.items()}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Ensemble:
    study = small(tmp_path_factory.mktemp("ends"), **KERNEL)
    rng = np.random.default_rng(12)
    w = rng.normal(size=(TRAINED, WIDTH, 1))
    training, probes = plan.kernel_training(study, CELL), observe.AtProbes.of(study, host)
    trainer, watch = host.trainer(training, TRAINED), observe.KernelWatch(host, training, probes)
    trainer.fill_from(0, w, 0.2 + 0.6 * w[..., 0], 3**0.5 * (2 * rng.random((TRAINED, WIDTH)) - 1))
    watch.begin(trainer, TRAINED)
    x, _, y = chains.training_paths(study, host, np.zeros(1, dtype=np.uint32)).take(STEPS)
    trainer.run(*(np.broadcast_to(a, (TRAINED, *a.shape[1:])) for a in (x, y)))
    trainer.settle()
    memory = trainer.probe(probes.history)[1]
    return Ensemble(study, memory, watch(trainer, memory))


def test_memories_along_histories_have_the_predicted_covariance(trained: Ensemble) -> None:
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


def test_the_kernel_of_networks_moves_as_predicted(trained: Ensemble) -> None:
    """Its mean along the limit's, within 4 standard errors, and its size.

    Random directions leave some 10% of a second order that is a tenth of the square, and a third order is left out.
    """
    along, ends = trained.change["ntk_drift_along"][:, None], trained.ends
    assert deviations(along, (ends["ntk_drift_along"] + ends["ntk_drift_along_second"] / WIDTH)[None]).max() < 4
    assert deviations(along, ends["ntk_drift_along"][None]).max() > 4
    squares, orders = trained.change["ntk_drift"][:, None] ** 2, ends["ntk_drift_square"]
    assert deviations(squares, np.array([orders @ float(WIDTH) ** -np.arange(3.0)]), 0.05).max() < 4
    assert deviations(squares, orders[:1], 0.05).max() > 8  # the rich twin's alone


def test_the_kernel_moves_as_that_of_the_rich_twin(trained: Ensemble) -> None:
    """Which is computed by the code for networks, with weights in place of 1/N; but for nodes of nearly no mass."""
    twin = RichTwin(WIDTH ** -(1 - BETA), STEPS, 1, 0.0, PATHS)
    histories = recent(trained.study)
    found = rich.follow_block(trained.study, host, RichBlock(twin, 0, 1), histories, lambda _: None).observed
    assert abs(found["ntk_drift_along"][0, 0, 0]) < 1e-9
    np.testing.assert_allclose(found["ntk_drift_along"][0, 0, -1], trained.ends["ntk_drift_along"], rtol=1e-4)
    np.testing.assert_allclose(found["ntk_drift"][0, 0, -1] ** 2, trained.ends["ntk_drift_square"][0], rtol=1e-4)


def test_random_directions_have_the_covariance_of_one_unit(study: Study) -> None:
    """Of all nodes together: none moves mass in all, and squares are weight (1 - weight); 5 s.e. for 8 numbers."""
    weight = np.array([0.1, 0.2, 0.3, 0.4])
    every = np.stack([kernel_tangents.random_mass(study, weight, path) for path in range(400)])
    np.testing.assert_allclose(every.sum(axis=2), 0, atol=1e-12)
    assert not every[:, 0].any()
    half = kernel_tangents.DRAWS + 1
    np.testing.assert_array_equal(every[:, 1:half], -every[:, half:])
    moved = every[:, 1:half].reshape(-1, 4)
    assert deviations(moved, 0 * weight).max() < 5
    assert deviations(moved**2, weight * (1 - weight)).max() < 5


def test_modes_keep_the_covariance() -> None:
    responses = np.random.default_rng(1).normal(size=(2, 20, 5))
    found = memory_tangents.modes(responses)
    assert found.shape == (2, memory_tangents.MODES, 5)
    wanted = np.einsum("pqk,pql->pkl", responses, responses)
    np.testing.assert_allclose(np.einsum("pmk,pml->pkl", found, found), wanted, atol=1e-12)


# --- the plan --------------------------------------------------------------------------------------------------


def test_tangents_take_few_paths_and_a_k_that_is_small_enough(tmp_path: Path) -> None:
    training = {"width": [16, 64, 256], "replicas": 8, "antithetic": True}
    study = small(tmp_path, training=training, rich={"follow": True, "tangents": 8, "tangent_steps": 128})
    found = [tangent_twin(study, cell) for cell in plan.cells(study)]
    assert [(one.steps_per_time, one.paths) for one in found] == [(16, 8), (64, 8), (128, 4)]
    assert [one.richness for one in found] == [16**-0.25, 64**-0.25, 256**-0.25]
