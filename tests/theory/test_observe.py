"""What checkpoints show of the hidden layer and the kernel, against integrals, autodiff and loops written here."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from emulation import emulated
from processors import host, reference
from scipy import integrate, stats
from training_cases import Data

from rnnlimits import kernels
from rnnlimits import study as studies
from rnnlimits.kernels.interface import Array, Backend, Training
from rnnlimits.theory import observe
from rnnlimits.theory.flow import kernel as kernel_by_pairs
from rnnlimits.theory.laws import ParameterLaw
from rnnlimits.theory.observe import AtProbes, KernelWatch, SobolevDistance
from rnnlimits.training import plan, train

STUDY = """
name: looked-at
seed: 11
precision: {precision}
chain: {{kind: coupled-tanh}}
target: {{sin_x: 1.0, z: 0.5}}
network: {{activation: {activation}, b: {{offset: 0.3, slope: 0.5}}}}
training:
  beta: [0.75]
  width: [24]
  steps_per_time: [16]
  depth: [{depth}]
  replicas: 8
  replicas_per_block: {block}
  horizon: 1.5
  checkpoints: {checkpoints}
  loss_bins: 3
  kernel: {kernel}
probes: {{count: 5, length: {length}}}
"""


def study_of(**changes: object) -> studies.Study:
    plain = {
        "precision": "float64",
        "activation": "tanh",
        "depth": 1,
        "block": 8,
        "checkpoints": "[0.0, 0.5, 1.5]",
        "length": 6,
        "kernel": "true",
    }
    return studies.loads(STUDY.format(**{**plain, **changes}), "looked-at.yaml")


def law_of(network: str, dimension: int) -> ParameterLaw:
    chain = f"chain: {{kind: coupled-tanh, dimension: {dimension}}}"
    training = "training: {beta: [0.75], width: [8], loss_bins: 4}"
    text = f"name: law\n{chain}\ntarget: {{sin_x: 1.0}}\nnetwork: {network}\n{training}\n"
    return ParameterLaw.of(studies.loads(text, "law.yaml"))


# --- weights as they are now -------------------------------------------------------------------------------------

BACKENDS = [reference, pytest.param("host", marks=pytest.mark.needs_compiler)]
BACKENDS += [pytest.param("emulated", marks=pytest.mark.needs_compiler)]


@pytest.mark.parametrize("named", BACKENDS, ids=["numpy", "host", "emulated"])
@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_weights_are_the_initial_ones_and_the_drift(named: Any, precision: str) -> None:
    be: Any = {"host": host, "emulated": None}.get(named, named) or emulated()
    training = Training(37, 2, 0.7, 20, depth=2, precision=precision)
    data = Data.draw(training, replicas=4, steps=12)
    trainer = be.trainer(training, 4)
    trainer.fill_from(0, *(be.array(a) for a in (data.w, data.b, data.c)))
    trainer.run(be.array(data.x), be.array(data.y))
    trainer.settle()
    found = [be.numpy(a) for a in trainer.weights(1, 2)]
    drifts = [trainer.drift(replica) for replica in (1, 2)]
    for now, start, drift in zip(found, (data.w, data.b, data.c), zip(*drifts, strict=True), strict=True):
        assert now.dtype == ("float64" if be is reference else precision)
        np.testing.assert_allclose(now, start[1:3] + np.stack(drift), atol=1e-15 if precision == "float64" else 3e-7)
        assert np.abs(np.stack(drift)).max() > 1e-4


# --- the hidden layer in H^1 -------------------------------------------------------------------------------------


def squared_distance(x: float, m: float, delta: float, density: Callable[[float], float], ends: list[float]) -> float:
    """Function and derivative in w, the latter of tanh(w x + m + delta) - tanh(w x + m) as a whole."""

    def both(w: float) -> float:
        a = w * x + m
        value = np.tanh(a + delta) - np.tanh(a)
        slope = x / np.cosh(a + delta) ** 2 - x / np.cosh(a) ** 2
        return float((value**2 + slope**2) * density(w))

    return float(integrate.quad(both, *ends, epsabs=0, epsrel=1e-11, limit=400)[0])


HALF = 0.8 * 3**0.5
LAWS = {
    "normal": ("{w: {kind: gaussian, mean: 0.2, std: 1.3}}", lambda w: stats.norm.pdf(w, 0.2, 1.3), [-13.0, 13.0]),
    "uniform": ("{w: {kind: uniform, mean: 0.2, std: 0.8}}", lambda w: 0.5 / HALF, [0.2 - HALF, 0.2 + HALF]),
}


@pytest.mark.parametrize("name", LAWS)
def test_the_distance_is_the_integral(name: str) -> None:
    network, density, ends = LAWS[name]
    x, m = np.array([[0.7], [-1.9], [0.0]]), np.array([0.1, -0.3, 0.4])
    distance = SobolevDistance.of(law_of(network, 1), x, m)
    for delta in (1e-4, -0.02, 0.3, -0.499, 0.51, 2.5):  # the last two lie beyond the polynomial
        found = distance(np.full((2, 3), delta))
        wanted = [squared_distance(x[i, 0], m[i], delta, density, ends) ** 0.5 for i in range(3)]
        np.testing.assert_allclose(found, [wanted, wanted], rtol=1e-9)
    assert not distance(np.zeros((1, 3))).any()


@pytest.mark.parametrize(("activation", "kind"), [("erf", "gaussian"), ("logistic", "uniform")])
def test_the_distance_in_two_dimensions(activation: str, kind: str) -> None:
    """Against a large sum over draws of W, good to some 1e-3."""
    law = law_of(f"{{activation: {activation}, w: {{kind: {kind}, mean: [0.1, -0.2], std: [1.0, 0.5]}}}}", 2)
    x, m, delta = np.array([[0.8, -1.1]]), np.array([0.2]), 0.2
    nodes = law.nodes(2**14, "quasi-random")
    value = {
        "erf": lambda a: np.vectorize(stats.norm.cdf)(a * 2**0.5) * 2 - 1,
        "logistic": lambda a: 1 / (1 + np.exp(-a)),
    }
    step, a = 1e-5, nodes.w @ x[0] + m[0]

    def change(shift: float) -> Array:
        return np.asarray(value[activation](a + shift + delta) - value[activation](a + shift))

    slope = (change(step) - change(-step)) / (2 * step)  # times x: the gradient in w
    wanted = np.sqrt(nodes.weight @ (change(0.0) ** 2 + (x[0] @ x[0]) * slope**2))
    np.testing.assert_allclose(SobolevDistance.of(law, x, m)(np.array([[delta]])), [[wanted]], rtol=2e-3)


def test_memory_and_hidden_take_the_largest_and_the_last() -> None:
    study = study_of()
    probes, rng = AtProbes.of(study, reference), np.random.default_rng(1)
    memory = probes.memory + 0.1 * rng.normal(size=(3, *probes.memory.shape))
    found = observe.memory_and_hidden(probes, memory)
    np.testing.assert_array_equal(found["memory_sup"], np.abs(memory - probes.memory).max(axis=2))
    for r, p in ((0, 0), (2, 4)):
        steps = [
            SobolevDistance.of(ParameterLaw.of(study), probes.history[p, k : k + 1], probes.memory[p, k : k + 1])(
                memory[r, p, k : k + 1] - probes.memory[p, k]
            )[0]
            for k in range(6)
        ]
        assert found["hidden_h1"][r, p] == pytest.approx(steps[-1], rel=1e-12)
        assert found["hidden_h1_sup"][r, p] == pytest.approx(max(steps), rel=1e-12)


# --- the kernel of the limit -------------------------------------------------------------------------------------


def points(dimension: int) -> tuple[Array, Array]:
    rng = np.random.default_rng(dimension)
    return rng.normal(size=(4, dimension)), 0.2 * rng.normal(size=4)


@pytest.mark.parametrize("dimension", [1, 2])
def test_the_limit_kernel_is_that_of_the_pairs(dimension: int) -> None:
    x, m = points(dimension)
    law = law_of("{w: {kind: gaussian, mean: 0.1, std: 0.9}, c: {kind: uniform, std: 1.5}}", dimension)
    np.testing.assert_allclose(observe.limit_kernel(law, x, m), kernel_by_pairs(law, x, m, x, m, nodes=128), atol=1e-8)


def test_the_limit_kernel_of_erf_in_closed_form() -> None:
    """docs/model.md, eq. (25) and (26)."""
    x, _ = points(3)
    law = law_of("{activation: erf, c: {kind: uniform, std: 1.5}, b: {offset: 0.1}}", 3)
    inner = x @ x.T
    own = 1 + 2 * np.diag(inner)
    value = 2 / np.pi * np.arcsin(2 * inner / np.sqrt(np.outer(own, own)))
    slope = 4 / np.pi / np.sqrt(np.outer(own, own) - 4 * inner**2)
    wanted = value + 1.5**2 * inner * slope
    np.testing.assert_allclose(observe.limit_kernel(law, x, np.zeros(4)), wanted, atol=1e-6)


def test_the_limit_kernel_for_uniform_weights() -> None:
    law = law_of("{w: {kind: uniform, std: 0.8}, c: {kind: uniform, std: 1.5}}", 1)
    x, m = points(1)
    w = (np.arange(20000) + 0.5) / 10000 - 1  # midpoints
    a = 0.8 * 3**0.5 * w * x + m[:, None]
    value, slope = np.tanh(a), x * (1 - np.tanh(a) ** 2)
    np.testing.assert_allclose(
        observe.limit_kernel(law, x, m), (value @ value.T + 2.25 * slope @ slope.T) / 20000, atol=1e-8
    )


# --- the empirical kernel against autodiff -----------------------------------------------------------------------


@pytest.fixture(scope="module")
def jax() -> Any:
    """JAX in double precision."""
    module = importlib.import_module("jax")
    module.config.update("jax_enable_x64", True)
    return module


def gradients(jax: Any, training: Training, weights: list[Array], history: Array) -> list[Array]:
    """dYhat/d(W, B, C) at the end of a history, through the last tau hidden layers: the one before is a constant."""
    sigma = {"tanh": jax.numpy.tanh, "erf": jax.scipy.special.erf, "logistic": jax.nn.sigmoid}[training.activation]
    constant = len(history) - training.depth

    def output(w: Any, b: Any, c: Any) -> Any:
        hidden = jax.numpy.zeros(training.width)
        for k, x in enumerate(history):
            hidden = jax.lax.stop_gradient(hidden) if k == constant else hidden
            hidden = sigma(w @ x + b @ hidden / training.width)
        return training.width**-training.beta * (c @ hidden)

    return [np.asarray(part).reshape(-1) for part in jax.grad(output, argnums=(0, 1, 2))(*weights)]


def parts_by_autodiff(jax: Any, training: Training, weights: list[Array], histories: Array) -> Array:
    """The Gram matrices of W, B and C (3, P, P), with the output scaling."""
    rows = [gradients(jax, training, weights, history) for history in histories]
    each = [np.stack([row[i] for row in rows]) for i in range(3)]
    return training.width ** (2 * training.beta - 1) * np.stack([part @ part.T for part in each])


@pytest.mark.needs_jax
@pytest.mark.parametrize(("depth", "dimension", "length", "activation"), [
    (1, 1, 6, "tanh"), (2, 3, 6, "erf"), (3, 2, 6, "logistic"), (4, 1, 7, "tanh"), (1, 1, 1, "erf"), (3, 1, 2, "tanh"),
])  # fmt: skip
@pytest.mark.parametrize("update_b", [True, False])
def test_the_kernel_is_the_gram_matrix_of_gradients(
    jax: Any, depth: int, dimension: int, length: int, activation: str, update_b: bool
) -> None:
    training = Training(11, dimension, 0.7, 10, activation, depth=depth, update_b=update_b)
    data = Data.draw(training, replicas=3, steps=20)
    data = replace(data, histories=np.random.default_rng(depth).normal(size=(4, length, dimension)), b=3 * data.b)
    trainer = data.fill(reference.trainer(training, 3))
    trainer.run(data.x, data.y)
    weights, memory = trainer.weights(0, 3), trainer.probe(data.histories)[1]
    found = observe.kernels(reference, training, weights, data.histories, memory)
    for r in range(3):
        mine = [a[r] for a in weights]
        deep, shallow, two = (
            parts_by_autodiff(jax, replace(training, depth=tau), mine, data.histories)
            for tau in (depth, 1, max(depth, 2))
        )
        # W, B, C in this order
        total = deep[0] + deep[2] + (deep[1] if update_b else 0.0)
        scale = np.abs(total).max()
        assert np.abs(found.trained(training)[r] - total).max() < 1e-12 * scale
        assert np.abs(found.direct[r] - shallow[0] - shallow[2]).max() < 1e-12 * scale
        assert np.abs(found.b[r] - shallow[1]).max() < 1e-12 * scale
        assert np.abs(found.past_w[r] + found.past_b[r] - (two - shallow).sum(axis=0)).max() < 1e-12 * scale
        assert length == 1 or np.abs(shallow[1]).max() > 1e-6 * scale
        assert length == 1 or np.abs(two - shallow).max() > 1e-6 * scale


# --- back ends, and what must not change a bit -------------------------------------------------------------------


@pytest.mark.needs_compiler
@pytest.mark.parametrize("activation", ["tanh", "erf", "logistic"])
def test_a_device_and_single_precision_give_the_same(activation: str) -> None:
    study = study_of(activation=activation)
    probes, be = AtProbes.of(study, host), emulated()
    seen = []
    for where, precision in ((host, "float64"), (be, "float64"), (host, "float32")):
        training = Training(70, 1, 0.75, 20, activation, depth=2, precision=precision)
        data = Data.draw(training, replicas=3, steps=10)
        trainer: Any = where.trainer(training, 3)
        trainer.fill_from(0, *(where.array(a) for a in (data.w, data.b, data.c)))
        watch = KernelWatch(where, training, probes)
        watch.begin(trainer, 3)
        trainer.run(where.array(data.x), where.array(data.y))
        trainer.settle()
        memory = trainer.probe(probes.history)[1]
        seen.append(observe.memory_and_hidden(probes, memory) | watch(trainer, memory))
    for name, values in seen[0].items():
        assert type(seen[1][name]) is np.ndarray
        assert values.dtype == seen[2][name].dtype == np.float64
        np.testing.assert_allclose(seen[1][name], values, rtol=1e-9, atol=1e-12)
        # Small eigenvalues carry the rounding of large ones.
        loose = {"ntk_drift": (2e-3, 0.0), "ntk_eigenvalue_error": (0.0, 3e-3)}.get(name, (1e-4, 2e-6))
        np.testing.assert_allclose(seen[2][name], values, *loose)
        assert np.abs(values).min() > 1e-9, name


def observed(study: studies.Study, be: Backend) -> dict[str, Array]:
    """Of all blocks of the study's only cell."""
    (cell,) = plan.cells(study)
    probes = AtProbes.of(study, be)
    found = [train.train_block(study, be, block, probes, lambda _: None).observed for block in plan.blocks(study, cell)]
    return {name: np.concatenate([one[name] for one in found]) for name in found[0]}


@pytest.mark.needs_compiler
@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_blocks_change_no_bit(precision: str, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = observed(study_of(precision=precision, depth=2), host)
    monkeypatch.setattr(observe, "CHUNK_VALUES", 5 * 24 * 3)  # three replicas at a time
    for block in (2, 4, 8):
        parts = observed(study_of(precision=precision, depth=2, block=block), host)
        assert all(np.array_equal(parts[name], values) for name, values in whole.items())


@pytest.mark.needs_compiler
def test_changes_are_counted_from_time_0_whatever_the_checkpoints() -> None:
    every = observed(study_of(), host)
    assert not every["ntk_drift"][:, 0].any()
    assert every["ntk_drift"][:, 1:].min() > 0
    along = np.abs(every["ntk_drift_along"])
    assert (along <= every["ntk_drift"] * (1 + 1e-12)).all()  # Cauchy and Schwarz
    assert along[:, 1:].mean() > 0.1 * every["ntk_drift"][:, 1:].mean()
    late = observed(study_of(checkpoints="[0.5, 1.5]"), host)
    for name, values in late.items():
        np.testing.assert_array_equal(values, every[name][:, 1:])


def test_the_stage_compares_with_loops(backend: Backend) -> None:
    """Memory by loops, the kernel by sums over units, at time 0, in an initial network drawn here."""
    study = study_of()
    found, probes, law = observed(study, backend), AtProbes.of(study, backend), ParameterLaw.of(study)
    w, b, c = (a[3] for a in law.draw(backend, study.seed, np.arange(8, dtype=np.uint32), 24, True))
    rows = []
    for p, history in enumerate(probes.history):
        memory, limit, worst, hidden = 0.0, 0.0, 0.0, np.zeros(24)
        for x in history:
            worst = max(worst, abs(memory - limit))
            before, hidden, last = hidden, np.tanh(w @ x + memory), x
            memory, limit = float(b @ hidden) / 24, float(law.memory_map(x[None], limit)[0])
        assert found["memory_sup"][3, 0, p] == pytest.approx(worst, rel=1e-9)
        gain = c * (1 - hidden**2)
        rows.append(np.concatenate([hidden, gain * last[0], gain.mean() * before]) / 24**0.5)
    gram, norm = np.stack(rows) @ np.stack(rows).T, np.linalg.norm(probes.kernel)
    assert found["ntk_error"][3, 0] == pytest.approx(np.linalg.norm(gram - probes.kernel) / norm, rel=1e-9)
    ratio = np.linalg.eigvalsh(gram)[::-1][:3] / np.linalg.eigvalsh(probes.kernel)[::-1][:3] - 1
    np.testing.assert_allclose(found["ntk_eigenvalue_error"][3, 0], ratio, rtol=1e-9)


# --- orders ------------------------------------------------------------------------------------------------------


@pytest.mark.needs_compiler
def test_initial_networks_show_the_orders() -> None:
    """Slopes over N = 64 to 1024, 256 networks; their standard errors are below 0.02, so 0.1 is five of them."""
    study, widths = study_of(), [64, 256, 1024]
    probes, law, index = AtProbes.of(study, host), ParameterLaw.of(study), np.arange(256, dtype=np.uint32)
    found: dict[str, list[float]] = {}
    for width in widths:
        trainer = host.trainer(Training(width, 1, 0.75, width), 256)
        trainer.fill_from(0, *law.draw(host, study.seed, index, width))
        memory = trainer.probe(probes.history)[1]
        seen = observe.memory_and_hidden(probes, memory)
        seen |= KernelWatch(host, trainer.training, probes)(trainer, memory)
        for name, values in seen.items():
            found.setdefault(name, []).append(float(np.sqrt(np.square(values).mean())))
    orders = {"memory_sup": 0.5, "hidden_h1": 0.5, "hidden_h1_sup": 0.5, "ntk_error": 0.5, "ntk_b_part": 1.0}
    for name, order in {**orders, "ntk_past_part": 1.0}.items():
        slope = -np.polyfit(np.log(widths), np.log(found[name]), 1)[0]
        assert slope == pytest.approx(order, abs=0.1), (name, slope)


def test_the_two_way_table_settles_geometrically_and_then_in_n() -> None:
    study = study_of(length=24)
    table = {
        (row.width, row.updates): row for row in observe.settling_table(study, reference, [32, 512], [0, 1, 11], 64)
    }
    assert {key[1] for key in table} == {0, 1, 11}
    assert table[512, 0].distance > table[512, 1].distance > 2 * table[512, 11].distance  # forgets its start
    assert table[32, 0].distance == table[512, 0].distance  # both start from 0
    ratio = table[32, 11].distance / table[512, 11].distance
    assert 3 < ratio < 5  # the square root of 16; standard error 0.35
    assert 0 < table[32, 11].error < 0.2 * table[32, 11].distance


# --- Wasserstein-1 -----------------------------------------------------------------------------------------------


def test_wasserstein_in_closed_form() -> None:
    rng = np.random.default_rng(3)
    a = rng.normal(size=50)
    assert observe.wasserstein1(a, a) == 0.0
    assert observe.wasserstein1(a, a + 0.3) == pytest.approx(0.3, rel=1e-12)  # a shift
    assert observe.wasserstein1(np.zeros(3), np.array([1.0, -2.0, 6.0])) == pytest.approx(3.0)  # E|X| from a point
    assert observe.wasserstein1(np.array([0.0, 1.0]), np.array([0.0, 0.0, 0.0, 1.0])) == pytest.approx(0.25)
    grid = (np.arange(4000) + 0.5) / 4000
    # Two normal laws of one mean: |sigma - sigma'| E|xi|, a comonotone coupling
    found = observe.wasserstein1(stats.norm.ppf(grid), 1.5 * stats.norm.ppf(grid))
    assert found == pytest.approx(0.5 * np.sqrt(2 / np.pi), rel=1e-3)
    for size in (1, 7, 50):
        b = rng.exponential(size=size)
        assert observe.wasserstein1(a, b) == pytest.approx(stats.wasserstein_distance(a, b), rel=1e-12)
        assert observe.wasserstein1(b, a) == pytest.approx(observe.wasserstein1(a, b), rel=1e-12)


def test_memory_laws_take_the_second_half() -> None:
    rng = np.random.default_rng(4)
    limit = rng.normal(size=(3, 10))
    finite = limit + np.array([0.2, -0.5])[:, None, None]
    finite[..., :5] = 99.0
    np.testing.assert_allclose(observe.memory_law_distances(limit, finite), [0.2, 0.5], rtol=1e-12)


def test_a_study_without_the_kernel_has_its_old_identity() -> None:
    study = study_of()
    plain = study_of(kernel="false")
    (cell,) = plan.cells(study)
    assert plan.cell_id(plain, cell) != plan.cell_id(study, cell)
    assert plan.draw_id(plain) == plan.draw_id(study)
    be = kernels.backend("numpy")
    assert observed(plain, be).keys() == observe.MEMORY.keys()
    for name, values in observed(plain, be).items():
        np.testing.assert_array_equal(values, observed(study, be)[name])
