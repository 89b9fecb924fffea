"""Predicted values of a cell, against draws from the Gaussian law that they describe.

Each statistical test compares with a mean over many draws and allows 4 standard errors: with a wrong formula by a few
per cent it fails, with the right one in fewer than 1e-4 of seeds; the seed is fixed.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from rnnlimits.quantities import histories, kernel_prediction, prediction
from rnnlimits.quantities.histories import supremum_of
from rnnlimits.quantities.outputs import half_difference
from rnnlimits.quantities.prediction import CellPrediction, Foreseen
from rnnlimits.statistics.bootstrap import Array, Sample
from rnnlimits.statistics.samples import bias, rms, spread
from rnnlimits.theory.observe import AtProbes

WIDTH, UNITS, PROBES, DRAWS = 64, 24, 5, 4000
ODD, EVEN = 3.0, 1.5  # N times the variances of the parts odd and even in C
SECOND = np.array([0.4, -0.2, 0.1, 0.3, -0.5])  # N times the 1/N term


@pytest.fixture(scope="module")
def cell() -> CellPrediction:
    """Rich twins on UNITS paths, and tangents that are the same on two of them."""
    rng = np.random.default_rng(8)
    output = 0.05 * rng.normal(size=(UNITS, 1, PROBES)) + np.linspace(-0.03, 0.05, PROBES)
    twin = 0.06 + 0.03 * rng.normal(size=(UNITS, PROBES))
    two = np.ones((2, 1, PROBES))
    tangents = {
        "output_variance": (ODD + EVEN) * two,
        "output_half_variance": ODD * two[:, 0],
        "output_mean_variance": EVEN * two[:, 0],
        "output_second": SECOND * two,
        "output_error_nodes": 0.0 * two,
        "memory_error_nodes": 0.0 * two,
    }
    loss = 0.3 + np.zeros((UNITS, 1, 4))
    return CellPrediction(WIDTH, {"output": output, "loss": loss}, twin, loss[:, 0], tangents)


@pytest.fixture(scope="module")
def networks(cell: CellPrediction) -> Array:
    """Errors (draw, unit, member, probe) of networks whose law is the one predicted."""
    rng = np.random.default_rng(9)
    odd, even = (np.sqrt(variance / WIDTH) * rng.normal(size=(DRAWS, UNITS, 1, PROBES)) for variance in (ODD, EVEN))
    mean = cell.rich["output"] + SECOND / WIDTH + even
    return np.concatenate([mean + odd, mean - odd], axis=2)


def value(sample: Sample) -> float:
    """The value of a sample before its power is taken: without bias, unlike the estimate."""
    return float(sample.combine(sample.statistics.mean(0), np.array(1 / len(sample))))


def agrees(foreseen: Foreseen, samples: list[Sample]) -> bool:
    assert isinstance(foreseen.value, Sample)
    values = np.array([value(sample) for sample in samples])
    return abs(values.mean() - value(foreseen.value)) < 4 * values.std() / len(values) ** 0.5


def test_rms(cell: CellPrediction, networks: Array) -> None:
    assert agrees(prediction.rms_of("output")(cell), [rms(draw) for draw in networks])
    less_twin = networks - cell.twin[:, None]
    assert agrees(prediction.rms_of("output", twin=True)(cell), [rms(draw) for draw in less_twin])


def test_fluctuation(cell: CellPrediction, networks: Array) -> None:
    """On paths that are given: the rich twins' own spread over paths is the same in every draw."""
    assert agrees(prediction.spread_of("output")(cell), [spread(draw[:, :1]) for draw in networks])
    assert agrees(prediction.half_difference_of("output")(cell), [spread(half_difference(draw)) for draw in networks])
    means = [spread(draw.mean(1, keepdims=True) - cell.twin[:, None]) for draw in networks]
    assert agrees(prediction.even_part_of_output(cell), means)


def test_bias(cell: CellPrediction, networks: Array) -> None:
    """The square is debiased by all noise, that of the paths included, which the prediction shares."""
    foreseen = prediction.bias_of("output", pairs=True)(cell)
    assert isinstance(foreseen.value, Sample)
    assert agrees(foreseen, [bias(draw.mean(1)) for draw in networks])


def test_the_1_over_n_term_alone(cell: CellPrediction, networks: Array) -> None:
    foreseen = prediction.beyond_rich(cell)
    assert foreseen.value == pytest.approx(np.sqrt(np.square(SECOND).mean()) / WIDTH)
    mean = (networks.mean(2) - cell.rich["output"][:, 0]).mean((0, 1))
    assert mean == pytest.approx(SECOND / WIDTH, abs=5 * np.sqrt(EVEN / WIDTH / DRAWS / UNITS))


@pytest.mark.parametrize("name", ["output_variance", "output_half_variance", "output_mean_variance"])
def test_a_variance_known_on_few_paths_has_an_error(cell: CellPrediction, name: str) -> None:
    """Two paths that differ by 20% leave 10% of the variance, and half of that of its root."""
    values = cell.tangents[name] * np.array([0.9, 1.1]).reshape(-1, *[1] * (cell.tangents[name].ndim - 1))
    other = CellPrediction(WIDTH, cell.rich, cell.twin, cell.twin_loss, {**cell.tangents, name: values})
    assert other.error(name) == pytest.approx(0.05, rel=1e-6)
    assert cell.error(name) == 0.0


def test_the_scatter_of_paths_is_pooled_over_the_ladder(cell: CellPrediction) -> None:
    """Two paths that agree by chance have the error that others of other K show, which falls like K^-1/2."""
    name = "output_variance"
    many = 1 + 0.2 * np.resize([1.0, -1.0], 16)  # whose variance is 16/15 of 0.04
    others = cell.tangents[name][:1] * many[:, None, None]
    ladder = [(256, cell.tangents), (64, {**cell.tangents, name: others})]
    found = replace(cell, ladder=ladder).error(name)
    assert found == pytest.approx(0.5 * np.sqrt(15 * 64 * 0.04 * 16 / 15 / 16 / (256 * 2)))
    again = replace(cell, ladder=[*ladder, (256, cell.tangents)])
    assert again.error(name) == pytest.approx(found * np.sqrt(2 * 16 / 17))  # one path more, and its error twice


def test_every_prediction_has_the_error_of_the_next_order(cell: CellPrediction) -> None:
    assert cell.left_out == 1 / WIDTH
    assert replace(cell, directions_error=0.2).left_out == pytest.approx(np.hypot(1 / WIDTH, 0.1))


def test_what_second_order_leaves_out(cell: CellPrediction) -> None:
    assert cell.truncation() == pytest.approx((ODD + EVEN) / WIDTH / 0.3)


def test_the_hidden_layer_follows_the_memory(cell: CellPrediction) -> None:
    """With a distance that is twice the memory's error the prediction is twice that of the memory; with another, a
    mean over the Gaussian law of the error.
    """
    two = np.ones((2, 1, PROBES))
    rich = {**cell.rich, "memory": 0.3 * cell.rich["output"]}
    tangents = {"memory_variance": ODD * two, "memory_second": SECOND * two}
    plain = CellPrediction(WIDTH, rich, cell.twin, cell.twin_loss, tangents, lambda error: 2 * np.abs(error))
    hidden, memory = prediction.hidden_layer(plain), prediction.rms_of("memory")(plain)
    assert isinstance(hidden.value, Sample)
    assert isinstance(memory.value, Sample)
    assert value(hidden.value) == pytest.approx(4 * value(memory.value), rel=1e-10)
    curved = CellPrediction(WIDTH, rich, cell.twin, cell.twin_loss, tangents, lambda error: np.abs(np.sin(error)))
    found = prediction.hidden_layer(curved).value
    assert isinstance(found, Sample)
    mean = rich["memory"][:, 0] + SECOND / WIDTH
    exact = 0.5 * (1 - np.cos(2 * mean) * np.exp(-2 * ODD / WIDTH))  # E sin^2 of a normal number
    assert value(found) == pytest.approx(exact.mean(), rel=1e-8)


def test_bias_compared_with_twins(cell: CellPrediction, networks: Array) -> None:
    less_twin = networks.mean(2) - cell.twin
    assert agrees(prediction.bias_of("output", twin=True)(cell), [bias(draw) for draw in less_twin])
    assert not agrees(prediction.bias_of("output")(cell), [bias(draw) for draw in less_twin])


def test_errors_of_a_predicted_bias(cell: CellPrediction) -> None:
    """The 1/N term known on few paths, and the nodes: each relative to the estimate, together by their squares."""
    scattered = cell.tangents["output_second"] + np.array([-0.1, 0.1])[:, None, None]
    uncertain = {**cell.tangents, "output_second": scattered}
    rough = {**cell.tangents, "output_error_nodes": 0.002 * np.ones((2, 1, PROBES))}
    both = {**uncertain, "output_error_nodes": rough["output_error_nodes"]}
    apart = [
        prediction.bias_of("output")(CellPrediction(WIDTH, cell.rich, cell.twin, cell.twin_loss, values)).apart
        for values in (cell.tangents, uncertain, rough, both)
    ]
    sample = bias(cell.rich["output"][:, 0] + SECOND / WIDTH)
    estimate = value(sample) ** 0.5
    assert apart[0] == 0.0
    assert apart[1] == pytest.approx(0.1 / WIDTH / estimate)  # two paths: their s.d. over the root of 2 is half the gap
    assert apart[2] == pytest.approx(0.002 / estimate)
    assert apart[3] == pytest.approx(np.hypot(apart[1], apart[2]))


def test_nodes_are_part_of_the_error_of_the_memory_too(cell: CellPrediction) -> None:
    two = np.ones((2, 1, PROBES))
    tangents = {**cell.tangents, "memory_second": 0.0 * two, "memory_error_nodes": 0.003 * two}
    rich = {**cell.rich, "memory": 0.2 + 0.0 * cell.rich["output"]}
    assert prediction.bias_of("memory")(replace(cell, rich=rich, tangents=tangents)).apart == pytest.approx(0.015)


def test_the_loss_carries_what_second_order_leaves_out(cell: CellPrediction) -> None:
    two = np.ones((2, 1))
    tangents = {**cell.tangents, "late_loss_second": 4.0 * two, "late_loss_variance": 0.5 * two}
    followed = CellPrediction(WIDTH, cell.rich, cell.twin, cell.twin_loss, tangents)
    excess, fluctuation = prediction.loss_excess(followed), prediction.loss_fluctuation(followed)
    assert isinstance(excess.value, Sample)
    assert isinstance(fluctuation.value, Sample)
    assert value(excess.value) == pytest.approx(4.0 / WIDTH)  # rich twins have the twins' loss here
    assert value(fluctuation.value) == pytest.approx(0.5 / WIDTH)
    assert excess.apart == pytest.approx(followed.truncation())
    assert fluctuation.apart == pytest.approx(followed.truncation())


def test_errors_of_a_loss_are_those_of_its_size_where_it_is_below_the_twins(cell: CellPrediction) -> None:
    """1/N terms of -3 and -5 on two paths, whose mean of -4 is known to 1; nodes that change outputs by 0.1."""
    terms = np.array([[-3.0], [-5.0]])
    tangents = {**cell.tangents, "late_loss_second": terms, "late_loss_variance": 0.0 * terms}
    without = CellPrediction(WIDTH, cell.rich, cell.twin, cell.twin_loss, tangents)
    apart = prediction.loss_excess(without).apart
    assert apart == pytest.approx(np.hypot(1 / 4, without.truncation()))
    tangents["output_error_nodes"] = 0.1 * np.ones((2, 1, PROBES))
    late = float(cell.twin_loss[..., 3 * cell.twin_loss.shape[-1] // 4 :].mean())
    with_nodes = CellPrediction(WIDTH, cell.rich, cell.twin, cell.twin_loss, tangents)
    nodes = 0.1 * np.sqrt(late) / (4.0 / WIDTH)
    assert prediction.loss_excess(with_nodes).apart == pytest.approx(np.hypot(apart, nodes))


# --- suprema along histories ---------------------------------------------------------


def along(modes: Array, mean: Array) -> dict[str, Array]:
    """Tangents of two paths whose memories along histories have this mean (probe, step) and modes at N = 1."""
    second = 0.0 * mean
    both = {"memory_along": mean, "memory_along_second": second, "memory_along_modes": modes}
    return {name: np.stack([values[None]] * 2) for name, values in both.items()}


def test_errors_of_nodes_are_no_errors_of_memories() -> None:
    limit, modes = np.zeros((1, 4)), np.zeros((1, 2, 4))
    cell = with_histories(along(modes, limit + 0.3), limit)
    (errors, _) = histories.memory_errors(replace(cell, node_error=np.full((1, 4), 0.1)))
    np.testing.assert_allclose(errors, 0.2)


def with_histories(tangents: dict[str, Array], limit: Array) -> CellPrediction:
    probes = AtProbes(np.zeros((*limit.shape, 1)), limit, lambda delta: 3 * np.abs(delta), np.eye(len(limit)))  # type: ignore[arg-type]
    none = np.zeros((1, 1))
    return CellPrediction(WIDTH, {}, none, none, tangents, probes=probes, seed=4)


@pytest.mark.parametrize("correlation", [0.0, 0.8, -1.0])
def test_the_supremum_of_two_gaussian_numbers(correlation: float) -> None:
    """E max(a^2, b^2) = 1 + (2/pi) sqrt(1 - r^2) for a and b of variance 1 and correlation r.

    DRAWS draws at five probes leave 2%; a false alarm at 4 times that has a chance below 1e-4, and the seed is fixed.
    """
    modes = np.zeros((PROBES, 8, 2))
    modes[:, 0] = 1.0, correlation
    modes[:, 1, 1] = np.sqrt(1 - correlation**2)
    cell = with_histories(along(modes, np.full((PROBES, 2), 0.5)), np.full((PROBES, 2), 0.5))
    found = supremum_of(lambda _, errors: np.abs(errors))(cell)
    assert isinstance(found.value, float)
    assert found.value**2 * WIDTH == pytest.approx(1 + 2 / np.pi * np.sqrt(1 - correlation**2), rel=0.08)
    assert 0 < found.apart < 0.02


def test_the_supremum_has_the_mean_of_the_rich_twin() -> None:
    mean, limit = np.array([[0.1, -0.4]] * PROBES), np.array([[0.1, 0.3]] * PROBES)
    cell = with_histories(along(np.zeros((PROBES, 8, 2)), mean), limit)
    found = supremum_of(lambda _, errors: np.abs(errors))(cell)
    assert found.value == pytest.approx(0.7)
    second = {**cell.tangents, "memory_along_second": WIDTH * 0.2 + 0.0 * cell.tangents["memory_along"]}
    assert supremum_of(lambda _, errors: np.abs(errors))(with_histories(second, limit)).value == pytest.approx(0.5)


# --- the change of the kernel --------------------------------------------------------------------------------------


def test_the_change_of_the_kernel_follows_the_paths(cell: CellPrediction) -> None:
    """Means and squares are those of rich twins on the same paths; the rest is added."""
    rng = np.random.default_rng(11)
    norm = 0.02 + 0.01 * rng.random((UNITS, 1))
    tangents = {
        "ntk_drift_square": np.array([[[9.0, 0.1, 2.0]], [[9.0, 0.1, 2.0]]]),
        "ntk_drift_along_second": np.array([[0.3], [0.3]]),
    }
    kernel = replace(cell, rich={"ntk_drift": norm, "ntk_drift_along": -norm}, tangents=tangents)
    size, along_limit = kernel_prediction.drift_norm(kernel), kernel_prediction.drift_along(kernel)
    assert isinstance(size.value, Sample)
    assert isinstance(along_limit.value, Sample)
    square = np.square(norm).mean() + 0.1 / WIDTH + 2 / WIDTH**2
    assert value(size.value) == pytest.approx(square)
    assert size.apart == pytest.approx(0.5 * 2 / WIDTH**2 / square)
    mean = 0.3 / WIDTH - norm.mean()
    assert value(along_limit.value) == pytest.approx(mean**2 - norm.var() / (UNITS - 1), rel=1e-6)
    assert along_limit.apart == 0.0
    other = {**tangents, "ntk_drift_square": np.array([[[9.0, 0.05, 2.0]], [[9.0, 0.15, 2.0]]])}
    apart = kernel_prediction.drift_norm(replace(kernel, tangents=other)).apart
    assert apart == pytest.approx(0.5 * np.hypot(0.05 / WIDTH, 2 / WIDTH**2) / square)


@pytest.mark.parametrize(("r", "m"), [(0.2, 1.0), (1.0, 0.2), (1.0, 1.0)])
def test_products_that_second_order_leaves_out(r: float, m: float) -> None:
    """E (1 + r')^2 (1 + m')^2 for independent r', m' of these s.d.: reached where both matter alike, else below."""
    second, exact = r**2 + m**2, (1 + r**2) * (1 + m**2)
    raised = (1 + second) * (1 + prediction._products_beyond(1.0, second)) ** 2
    assert raised >= exact - 1e-12
    assert (raised == pytest.approx(exact)) == (r == m)
