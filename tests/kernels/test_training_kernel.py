"""The compiled training step against its definition in NumPy, and what must not change a result.

The definition itself is held against automatic differentiation in test_autodiff.py.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from processors import host, reference
from training_cases import Data, Outcome, distance, train

from rnnlimits.kernels import compiler
from rnnlimits.kernels import host as compiled
from rnnlimits.kernels.activations import ACTIVATIONS
from rnnlimits.kernels.interface import Backend, Training
from rnnlimits.kernels.reference import smooth_clip

needs_compiler = pytest.mark.needs_compiler


def same(ours: Outcome, theirs: Outcome) -> bool:
    """The same bits?"""
    return all(np.array_equal(a, b) for a, b in zip(ours.arrays().values(), theirs.arrays().values(), strict=True))


# width, d, activation, tau, update_b, clip. Any two values of two of them (but width) occur together somewhere. Widths
# lie about a vector, and about the 64 vectors after which a sum goes on in double (512 units or 1024).
# A rate of 1/1000 per step keeps the narrow ones from being chaotic, for chaos would amplify rounding beyond any bound.
CASES = [
    (1, 1, "tanh", 1, True, None),
    (1, 3, "erf", 2, True, 0.1),
    (1, 1, "logistic", 3, False, None),
    (5, 2, "erf", 2, False, None),
    (5, 10, "logistic", 2, False, 0.1),
    (16, 3, "logistic", 3, True, 0.1),
    (16, 1, "tanh", 3, False, 0.1),
    (17, 10, "tanh", 5, True, None),
    (17, 2, "erf", 5, True, 0.1),
    (100, 1, "tanh", 1, True, 0.1),
    (100, 1, "erf", 3, True, None),
    (100, 2, "logistic", 1, False, 0.1),
    (100, 3, "tanh", 5, False, None),
    (511, 1, "tanh", 1, True, None),
    (512, 1, "tanh", 1, True, None),
    (513, 1, "tanh", 1, True, None),
    (1001, 3, "tanh", 2, False, None),
    (1001, 1, "logistic", 5, False, None),
    (1001, 3, "erf", 1, True, 0.1),
    (1001, 2, "tanh", 3, True, None),
    (1001, 1, "tanh", 2, True, None),
    (1024, 10, "logistic", 1, True, None),
    (1025, 10, "logistic", 1, True, None),
    (1040, 10, "erf", 3, True, None),
]


def asked(case: tuple[int, int, str, int, bool, float | None], beta: float = 0.75) -> Training:
    width, dimension, activation, depth, update_b, clip = case
    return Training(width, dimension, beta, 1000, activation, 1.0, depth, clip, update_b)


@needs_compiler
@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_thousand_steps_against_the_definition(case: tuple[int, int, str, int, bool, float | None]) -> None:
    training = asked(case)
    data = Data.draw(training, replicas=2, steps=1000)
    ours, defined = train(host, training, data), train(reference, training, data)
    assert np.max(list(distance(ours, defined).values())) < 1e-12, distance(ours, defined)
    # The bound must mean something: what is compared is far larger than 1e-12.
    for name, array in defined.arrays().items():
        if name == "drift of b" and not training.update_b:
            assert np.abs(array).max() == 0.0
        else:
            assert np.abs(array).max() > 1e-6, name


@needs_compiler
@pytest.mark.parametrize("beta", [0.51, 0.6, 0.9, 0.99])
def test_other_exponents_against_the_definition(beta: float) -> None:
    training = asked((100, 1, "tanh", 1, True, 0.1), beta)
    data = Data.draw(training, replicas=1, steps=300)
    assert np.max(list(distance(train(host, training, data), train(reference, training, data)).values())) < 1e-12


@needs_compiler
@pytest.mark.parametrize("width", [1008, 1023, 1024, 1025, 1040, 2048, 2049])
def test_single_precision_across_the_boundary_of_a_sum(width: int) -> None:
    """A tile left out or counted twice would show at 1e-2; single precision rounds at about 1e-6."""
    training = asked((width, 1, "tanh", 1, True, None))
    data = Data.draw(training, replicas=1, steps=100)
    ours = train(host, replace(training, precision="float32"), data)
    assert max(distance(ours, train(reference, training, data)).values()) < 2e-5


@pytest.mark.parametrize("be", [reference, pytest.param(host, marks=needs_compiler)], ids=["numpy", "host"])
def test_the_clip_acts(be: Backend) -> None:
    """Outputs beyond N^gamma are common here, so that training with and without the clip differ."""
    training = asked((100, 1, "tanh", 1, True, 0.1), beta=0.55)
    data = Data.draw(training, replicas=1, steps=100)
    data = replace(data, c=np.abs(data.c) * np.sign(data.w[:, :, 0]), y=data.y + 3.0)
    clipped, free = (train(be, asked, data) for asked in (training, replace(training, clip=None)))
    assert clipped.squared_error[0, 0] == free.squared_error[0, 0]
    assert np.abs(clipped.squared_error - free.squared_error).max() > 1e-3


def test_the_clip_is_what_it_says() -> None:
    """The identity on [-L, L], odd, bounded by 2 L, slope in (0, 1]: docs/model.md, eq. (12)."""
    level, y = 1.5, np.linspace(-40, 40, 80001)
    psi = smooth_clip(y, level)
    np.testing.assert_array_equal(psi[np.abs(y) <= level], y[np.abs(y) <= level])
    np.testing.assert_array_equal(smooth_clip(-y, level), -psi)
    assert np.abs(psi).max() <= 2 * level
    slope = np.diff(psi) / np.diff(y)
    assert slope.min() >= 0.0
    assert slope.max() < 1 + 1e-9
    assert np.abs(np.diff(slope)).max() < 2e-3  # no jump of the slope at +-L


# What must not change a result, to the last bit.

VARIANTS = [
    ("float64", (17, 2, "erf", 5, True, 0.1)),
    ("float64", (100, 1, "tanh", 1, True, 0.1)),
    ("float32", (100, 1, "tanh", 1, True, None)),
    ("float32", (1001, 3, "logistic", 2, False, None)),
]


@pytest.mark.parametrize(("precision", "case"), VARIANTS, ids=str)
def test_segments_and_settling_change_no_bit(
    backend: Backend, precision: str, case: tuple[int, int, str, int, bool, float | None]
) -> None:
    training = replace(asked(case), precision=precision)
    data = Data.draw(training, replicas=2, steps=60)
    whole = train(backend, training, data)
    for lengths, settled in (([60], True), ([1] * 60, False), ([1, 0, 2, 30, 27], True), ([13, 47], False)):
        trainer = data.fill(backend.trainer(training, 2))
        losses, done = [], 0
        for length in lengths:
            part = slice(done, done + length)
            losses.append(trainer.run(data.x[:, part], data.y[:, part]) if length else np.empty((2, 0)))
            if settled:
                trainer.settle()
                trainer.probe(data.histories)
                trainer.settle()
            done += length
        assert same(Outcome.of(trainer, data, np.concatenate(losses, axis=1)), whole), (lengths, settled)


@pytest.mark.parametrize(("precision", "case"), VARIANTS, ids=str)
def test_a_replica_trains_the_same_in_any_company(
    backend: Backend, precision: str, case: tuple[int, int, str, int, bool, float | None]
) -> None:
    training = replace(asked(case), precision=precision)
    data = Data.draw(training, replicas=5, steps=40)
    together = train(backend, training, data)
    for rows in (slice(0, 1), slice(3, 5)):
        some = Data(data.w[rows], data.b[rows], data.c[rows], data.x[rows], data.y[rows], data.histories)
        alone = train(backend, training, some)
        for ours, theirs in zip(alone.arrays().values(), together.arrays().values(), strict=True):
            np.testing.assert_array_equal(ours, theirs[rows])


def test_filling_again_starts_again(backend: Backend) -> None:
    training = asked((100, 1, "tanh", 1, True, 0.1))
    data = Data.draw(training, replicas=2, steps=30)
    trainer = data.fill(backend.trainer(training, 2))
    first = Outcome.of(trainer, data)
    again = Outcome.of(data.fill(trainer), data)
    assert same(first, again)


@pytest.mark.parametrize("depth", [1, 3])
def test_the_caller_may_reuse_its_arrays(backend: Backend, depth: int) -> None:
    training = asked((17, 2, "erf", depth, True, 0.1))
    data = Data.draw(training, replicas=2, steps=10)
    trainer, x, y = data.fill(backend.trainer(training, 2)), np.empty((2, 1, 2)), np.empty((2, 1))
    losses = []
    for k in range(10):
        x[:, 0], y[:, 0] = data.x[:, k], data.y[:, k]
        losses.append(trainer.run(x, y))
    assert same(Outcome.of(trainer, data, np.concatenate(losses, axis=1)), train(backend, training, data))


def test_an_untrained_network_is_the_formula(backend: Backend) -> None:
    """Output and memory on histories by docs/model.md, eq. (7) to (9), written with loops."""
    training = asked((5, 2, "erf", 2, False, None))
    data = Data.draw(training, replicas=1, steps=1)
    trainer = data.fill(backend.trainer(training, 1))
    output, memory = trainer.probe(data.histories)
    erf = np.vectorize(math.erf)
    for p, history in enumerate(data.histories):
        m, hidden = 0.0, np.zeros(5)
        for k, x in enumerate(history):
            m = float(data.b[0] @ hidden) / 5
            hidden = erf(data.w[0] @ x + m)
            assert memory[0, p, k] == pytest.approx(m, abs=1e-15)
        assert output[0, p] == pytest.approx(5**-0.75 * float(data.c[0] @ hidden), abs=1e-15)


@needs_compiler
@pytest.mark.parametrize("activation", list(ACTIVATIONS))
def test_single_precision_is_lost_in_the_statistical_error(activation: str) -> None:
    """Each replica's rounding error is below a tenth of the standard error of the ensemble's mean; here 1/100."""
    training = Training(256, 1, 0.75, 256, activation)
    data = Data.draw(training, replicas=16, steps=512)
    double = train(host, training, data)
    single = train(host, replace(training, precision="float32"), data)
    standard_error = double.output.std(axis=0, ddof=1) / 4
    assert (np.abs(single.output - double.output).max(axis=0) < standard_error / 100).all()
    for ours, exact in zip(single.drift, double.drift, strict=True):
        assert np.abs(ours - exact).max() < 1e-3 * np.abs(exact).max()


@needs_compiler
def test_single_precision_does_not_lose_small_updates() -> None:
    """Updates far below the spacing of floats at the weights add up: why drift is kept apart from the initial value."""
    training = Training(4096, 1, 0.51, 200000, precision="float32")
    data = Data.draw(training, replicas=1, steps=2000)
    double = train(host, replace(training, precision="float64"), data)
    single = train(host, training, data)
    step = np.abs(double.drift[2]).max() / 2000
    assert step < np.spacing(np.float32(1.0)) / 2, "the updates must be too small to be added to a weight"
    assert np.abs(single.drift[2] - double.drift[2]).max() < 1e-3 * np.abs(double.drift[2]).max()


# The comparison with the definition must be able to fail: each mutation below changes one character of the C++ source.

MUTATIONS = [
    ("sign of the update of B", "unit.h", "unit.b_drift -= pending.b[l]", "unit.b_drift += pending.b[l]"),
    ("sign of the update of W", "unit.h", "unit.w_drift[j] -= pending.w[j]", "unit.w_drift[j] += pending.w[j]"),
    ("sign of the update of C", "unit.h", "unit.c_drift -= pending.c", "unit.c_drift += pending.c"),
    (
        "sign of W through the memory",
        "unit.h",
        "unit.w_drift[j] -= pending.w_back",
        "unit.w_drift[j] += pending.w_back",
    ),
    ("memory from B before its update", "team.h", "next_memory -= change", "next_memory += change"),
    ("hidden value of the wrong step", "unit.h", "* unit.value[l + 1];", "* unit.value[l + 0];"),
    ("slope of the wrong step", "unit.h", "past_slope(unit, l));", "past_slope(unit, 0));"),
    ("a unit too many", "host_train.cpp", "i < width - (tiles_of", "i <=width - (tiles_of"),
]
MUTATED = (17, 2, "tanh", 3, True, None)


@pytest.fixture
def source_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A private copy of src/ that is compiled instead of it, into a private cache."""
    copy = Path(shutil.copytree(compiler.SOURCE, tmp_path / "src"))
    monkeypatch.setattr(compiler, "SOURCE", copy)
    monkeypatch.setenv("RNNLIMITS_CACHE", str(tmp_path / "cache"))
    forget()
    yield copy
    forget()


def forget() -> None:
    """Drop the libraries that this process has loaded."""
    for cached in (compiler._library, compiled._training, compiled._paths, compiled._memory, compiled._twin):
        cached.cache_clear()


def mutated_distance() -> float:
    training = asked(MUTATED)
    data = Data.draw(training, replicas=1, steps=200)
    return np.max(list(distance(train(host, training, data), train(reference, training, data)).values()))


@needs_compiler
@pytest.mark.parametrize(("file", "text", "mutant"), [row[1:] for row in MUTATIONS], ids=[row[0] for row in MUTATIONS])
def test_the_comparison_sees_every_sign(source_copy: Path, file: str, text: str, mutant: str) -> None:
    source = (source_copy / file).read_text()
    assert source.count(text) == 1, "the mutation must name exactly one place"
    (source_copy / file).write_text(source.replace(text, mutant))
    assert sum(a != b for a, b in zip(text, mutant, strict=True)) == 1
    assert mutated_distance() > 1e-10, "a hundred times the tolerance"


@needs_compiler
def test_the_unmutated_copy_passes(source_copy: Path) -> None:
    assert mutated_distance() < 1e-12
    assert any((source_copy.parent / "cache").glob("host_train-*.so"))
