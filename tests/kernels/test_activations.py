"""Every activation of the registry is what its entry says, in NumPy, in C++ on the host and on an emulated GPU.

Nothing here names an activation: a new module of kernels/activations/ is tested as soon as it is there.
"""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from device_cases import EVERY_ACTIVATION, TOLERANCE, Row, difference, trained
from emulation import emulated
from path_cases import memory_along, memory_case
from processors import host, reference
from runs import ENVIRONMENT, ROOT, write_study
from training_cases import Data, distance, train
from twin_cases import features, paths
from unrolled import asked, double_jax, expected_changes, mismatch, trajectory

from rnnlimits.kernels import activations
from rnnlimits.kernels.activations import ACTIVATIONS, Activation
from rnnlimits.kernels.interface import Array, KernelError, Training
from rnnlimits.study import load

needs_compiler = pytest.mark.needs_compiler
every = pytest.mark.parametrize("sigma", ACTIVATIONS.values(), ids=ACTIVATIONS)
X = np.linspace(-6, 6, 1201)


# --- the definition ----------------------------------------------------------------------------------------


@every
def test_the_slope_is_the_derivative_of_the_value(sigma: Activation) -> None:
    """Central differences, whose own error is h^2 / 6 times a third derivative of size one."""
    h = 1e-4
    assert np.abs((sigma.value(X + h) - sigma.value(X - h)) / (2 * h) - sigma.slope(X)).max() < 1e-8


@every
def test_the_bound_of_the_slope_is_its_largest_size(sigma: Activation) -> None:
    """0 is among the points, where it is attained by those that are steepest there."""
    assert np.abs(sigma.slope(X)).max() == pytest.approx(sigma.slope_bound, abs=1e-15)


@every
def test_it_is_odd_if_it_says_so(sigma: Activation) -> None:
    assert sigma.odd == (np.abs(sigma.value(X) + sigma.value(-X)).max() < 1e-15)


@every
def test_it_is_bounded(sigma: Activation) -> None:
    far = sigma.value(10.0 ** np.linspace(0, 100, 101))
    assert np.abs(far).max() < 10


@every
def test_the_slope_follows_from_the_value_where_it_says_so(sigma: Activation) -> None:
    if sigma.slope_of_value is not None:
        assert np.abs(sigma.slope_of_value(sigma.value(X)) - sigma.slope(X)).max() < 1e-15


# --- the kernels -------------------------------------------------------------------------------------------


def computed(sigma: Activation, precision: str, x: Array) -> Array:
    """sigma(x) as the trainer computes it: one unit with W = C = 1, so that the output is sigma(x)."""
    trainer = host.trainer(Training(1, 1, 0.75, 1, sigma.name, precision=precision), 1)
    trainer.fill(0, np.ones((1, 1)), np.zeros(1), np.ones(1))
    output, _ = trainer.probe(x[:, None, None])
    return np.asarray(output[0])


def arguments() -> Array:
    inside = np.concatenate([np.linspace(-12, 12, 20001), 10.0 ** np.linspace(-35, 0, 2000)])
    x = np.concatenate([inside, [50.0, -50.0, 1e4, 1e20, -1e20, 3e38, -3e38]])
    return x.astype(np.float32).astype(np.float64)


@needs_compiler
@every
@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_the_error_of_the_kernel(sigma: Activation, precision: str) -> None:
    stated = {"float32": sigma.single_error, "float64": 1e-15}[precision]
    error = np.abs(computed(sigma, precision, arguments()) - sigma.value(arguments()))
    assert error.max() < stated, f"at {arguments()[error.argmax()]!r}"


@needs_compiler
@every
@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_not_a_number_stays_what_it_is(sigma: Activation, precision: str) -> None:
    assert np.isnan(computed(sigma, precision, np.array([np.nan, 1.0]))).tolist() == [True, False]


@needs_compiler
@every
@pytest.mark.parametrize("update_b", [True, False])
@pytest.mark.parametrize(("dimension", "depth"), [(1, 1), (3, 2), (2, 3)])
def test_training_on_the_host_is_as_defined(sigma: Activation, dimension: int, depth: int, update_b: bool) -> None:
    training = Training(100, dimension, 0.75, 1000, sigma.name, 1.0, depth, 0.1, update_b)
    data = Data.draw(training, replicas=2, steps=200)
    ours, defined = train(host, training, data), train(reference, training, data)
    assert max(distance(ours, defined).values()) < 1e-12
    single = train(host, replace(training, precision="float32"), data)
    assert max(distance(single, defined).values()) < 1e-4


@needs_compiler
@pytest.mark.parametrize("row", EVERY_ACTIVATION, ids=str)
def test_training_on_a_device_is_as_defined(row: Row, monkeypatch: pytest.MonkeyPatch) -> None:
    """In segments, so that what a unit remembers goes through device memory."""
    row.force(monkeypatch)
    data = row.data()
    ours, compiled, defined = (trained(be, row.training, data, [3, 4]) for be in (emulated(), host, reference))
    assert difference(ours, defined) < TOLERANCE[row.precision]
    assert difference(ours, compiled) < TOLERANCE[row.precision]


@needs_compiler
@every
@pytest.mark.parametrize(("nodes", "dimension"), [(7, 1), (70, 3)])
def test_the_memory_of_the_limit(sigma: Activation, nodes: int, dimension: int) -> None:
    case = memory_case(nodes, dimension, replicas=3, steps=11)
    defined, be = memory_along(reference, sigma.name, *case), emulated()
    on_device = be.numpy(memory_along(be, sigma.name, *(be.array(a) for a in case)))
    for ours in (memory_along(host, sigma.name, *case), on_device):
        assert np.abs(ours - defined).max() < 1e-13


@needs_compiler
@every
def test_the_infinite_width_twin(sigma: Activation) -> None:
    what, (x, m, y) = features(sigma.name, 2, 33), paths(2)
    expected = reference.twin_path(what, 0.05, x, m, y, np.ones((3, what.size)))
    for be in (host, emulated()):
        ours = be.twin_path(what, 0.05, *(be.array(a) for a in (x, m, y)), be.array(np.ones((3, what.size))))
        assert np.abs(be.numpy(ours) - expected).max() < 1e-12


@pytest.mark.needs_jax
@every
def test_training_follows_the_gradient_that_jax_finds(sigma: Activation) -> None:
    jax = double_jax()
    for depth, dimension in product((1, 3), (1, 2)):
        recorded = trajectory(asked(depth, dimension, sigma.name))
        assert mismatch(recorded, 8, expected_changes(jax, recorded, 8)) < 1e-12, (depth, dimension)


# --- the registry ------------------------------------------------------------------------------------------


def test_studies_may_name_every_entry(tmp_path: Path) -> None:
    for name in ACTIVATIONS:
        assert load(write_study(tmp_path, network={"activation": name})).network.activation == name


@pytest.mark.parametrize("name", ["tanh", "no identifier"])
def test_a_name_that_cannot_be_taken_is_refused(name: str) -> None:
    with pytest.raises(KernelError, match=f"^activation '{name}': the name is taken or is not an identifier"):
        activations.register(replace(ACTIVATIONS["tanh"], name=name))
    with pytest.raises(KernelError, match=r"^activation 3 is not a rnnlimits.kernels.activations.Activation$"):
        activations.register(3)  # type: ignore[arg-type]


PACKAGE = """
from dataclasses import replace
import numpy as np
from rnnlimits.kernels.activations.tanh import ACTIVATION

half = replace(ACTIVATION, name="half", value=lambda a: np.tanh(a) / 2, slope_of_value=None, slope_bound=0.5,
               slope=lambda a: (1 - np.tanh(a) ** 2) / 2)
"""


def test_an_installed_package_may_offer_one(tmp_path: Path) -> None:
    (tmp_path / "halves.py").write_text(PACKAGE)
    (tmp_path / "halves-1.dist-info").mkdir()
    (tmp_path / "halves-1.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: halves\nVersion: 1\n")
    (tmp_path / "halves-1.dist-info" / "entry_points.txt").write_text("[rnnlimits.activations]\nhalf = halves:half\n")
    study = write_study(tmp_path, network={"activation": "half"})
    ask = "import sys; from rnnlimits.study import load; print(load(sys.argv[1]).network.activation)"
    settings = {**ENVIRONMENT, "PYTHONPATH": f"{ROOT}:{tmp_path}"}
    done = subprocess.run([sys.executable, "-c", ask, study], env=settings, capture_output=True, text=True, check=False)
    assert done.stdout == "half\n", done.stderr
