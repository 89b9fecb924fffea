"""Random numbers: known answers, laws, independence, and that both back ends draw the same.

Every statistical check fails for a correct generator with probability at most ALARM (two-sided), once and for all: the
seed is fixed. The file holds about 200 of them, so a correct generator fails somewhere with probability below 2e-4.
"""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from numpy.typing import NDArray
from philox_answers import KNOWN, rows
from processors import host, reference
from scipy import stats

from rnnlimits.kernels import reference as definition
from rnnlimits.kernels.interface import Array, Backend

SEED, STREAM = 20231108, 4
ALARM = 1e-6
LIMIT = float(stats.norm.isf(ALARM / 2))  # of a z-score: 4.89


@pytest.mark.parametrize("known", KNOWN, ids=["zeros", "ones", "pi"])
def test_philox_gives_the_published_answers(backend: Backend, known: NDArray[np.uint32]) -> None:
    counter, key, answer = np.split(known, [4, 6])
    np.testing.assert_array_equal(backend.philox(counter[None], (int(key[0]), int(key[1]))), answer[None])


@pytest.mark.parametrize("known", KNOWN, ids=["zeros", "ones", "pi"])
def test_a_draw_is_philox_of_its_coordinates(backend: Backend, known: NDArray[np.uint32]) -> None:
    """key = (seed, stream), counter = (index // 2, step, replica, component); 52 bits, most significant word first."""
    _, step, replica, component, seed, stream = (int(word) for word in known[:6])
    counters = np.array([[lane, step, replica, component] for lane in range(20)], dtype=np.uint32)
    words = reference.philox(counters, (seed, stream)).reshape(-1, 2).tolist()
    exact = [((high << 20 | low >> 12) + 0.5) / 2**52 for high, low in words]
    assert backend.uniforms(seed, stream, rows(replica), 40, step, component)[0].tolist() == exact


def test_uniforms_at_the_ends_of_their_range_stay_inside(monkeypatch: pytest.MonkeyPatch) -> None:
    """Words that are all zeros or all ones, which no search would find, do not give 0 or 1."""
    for word, nearest in ((0, 2.0**-53), (0xFFFFFFFF, 1 - 2.0**-53)):
        monkeypatch.setattr(definition, "_philox", lambda counter, key, word=word: np.full_like(counter, word))
        assert reference.uniforms(SEED, STREAM, rows(0), 2).tolist() == [[nearest, nearest]]


@pytest.mark.needs_compiler
@pytest.mark.parametrize("extreme", [0, 1, 2**31, 2**32 - 1])
def test_both_back_ends_draw_the_same_uniforms_to_the_last_bit(extreme: int) -> None:
    for where in product([7, extreme], repeat=3):
        seed, step, component = where
        chosen = rows(0, 3, extreme)
        drawn = [be.uniforms(seed, extreme, chosen, 37, step, component) for be in (host, reference)]
        np.testing.assert_array_equal(*drawn)


@pytest.mark.needs_compiler
def test_both_back_ends_draw_the_same_normals_to_a_few_units_in_the_last_place() -> None:
    chosen = np.arange(40, dtype=np.uint32)
    drawn = [be.normals(SEED, STREAM, chosen, 5001, step=9) for be in (host, reference)]
    # NumPy rounds 2 pi u before its cosine: up to 4.4e-16 in the angle, times a radius up to 8.
    assert np.abs(drawn[0] - drawn[1]).max() < 4e-15
    assert 1 < np.abs(drawn[0]).max() < 8.6


def test_normals_are_box_muller_of_the_uniforms(backend: Backend) -> None:
    wide = np.longdouble
    u = backend.uniforms(SEED, STREAM, rows(5), 2000).reshape(-1, 2).astype(wide)
    angle = 2 * wide("3.14159265358979323846264338327950288") * u[:, 1]
    expected = np.sqrt(-2 * np.log(u[:, 0])) * np.stack([np.cos(angle), np.sin(angle)])
    drawn = backend.normals(SEED, STREAM, rows(5), 2000).reshape(-1, 2).T
    assert np.abs(drawn - expected).max() < 4e-15


# The law, over ten million draws of the compiled kernel.


@pytest.fixture(scope="module")
def many_uniforms() -> Array:
    return host.uniforms(SEED, STREAM, np.arange(10, dtype=np.uint32), 10**6).ravel()


@pytest.fixture(scope="module")
def many_normals() -> Array:
    return host.normals(SEED, STREAM, np.arange(10, dtype=np.uint32), 10**6).ravel()


def chi_square_fits(counts: NDArray[np.int64]) -> bool:
    """Neither too far from nor too near to equal counts."""
    tail = stats.chisquare(counts.ravel()).pvalue
    return bool(ALARM / 2 < tail < 1 - ALARM / 2)


@pytest.mark.needs_compiler
def test_uniforms_fill_the_unit_interval_evenly(many_uniforms: Array) -> None:
    assert 0.0 < many_uniforms.min() < 2e-6 < 1 - 2e-6 < many_uniforms.max() < 1.0  # misses with probability 4e-9
    assert chi_square_fits(np.histogram(many_uniforms, bins=4096, range=(0, 1))[0])
    last_bits = (many_uniforms * 2.0**53).astype(np.int64) >> 1 & 0xFF
    assert chi_square_fits(np.bincount(last_bits, minlength=256))


@pytest.mark.needs_compiler
@pytest.mark.parametrize("lag", [1, 2, 3, 16])
def test_uniforms_fill_the_unit_square_evenly(many_uniforms: Array, lag: int) -> None:
    pairs = many_uniforms[: len(many_uniforms) // (2 * lag) * 2 * lag].reshape(-1, 2, lag)  # none overlaps another
    first, second = pairs[:, 0].ravel(), pairs[:, 1].ravel()
    assert chi_square_fits(np.histogram2d(first, second, bins=64, range=[(0, 1), (0, 1)])[0].astype(np.int64))


@pytest.mark.needs_compiler
@pytest.mark.parametrize(("power", "mean", "variance"), [(1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96)])
def test_moments_of_the_normals(many_normals: Array, power: int, mean: float, variance: float) -> None:
    z = ((many_normals**power).mean() - mean) * np.sqrt(len(many_normals) / variance)
    assert abs(z) < LIMIT


@pytest.mark.needs_compiler
@pytest.mark.parametrize("bound", [1.0, 2.0, 3.0, 4.0, 5.0])
@pytest.mark.parametrize("side", [-1, 1])
def test_tails_of_the_normals(many_normals: Array, bound: float, side: int) -> None:
    beyond = int((side * many_normals > bound).sum())
    assert stats.binomtest(beyond, len(many_normals), stats.norm.sf(bound)).pvalue > ALARM


@pytest.mark.needs_compiler
def test_the_normals_fill_equally_likely_cells_evenly(many_normals: Array) -> None:
    edges = stats.norm.ppf(np.linspace(0, 1, 1001))
    assert chi_square_fits(np.histogram(many_normals, bins=edges)[0])


@pytest.mark.needs_compiler
def test_the_two_normals_of_a_pair_are_independent(many_normals: Array) -> None:
    """Radius and angle of Box and Muller leave no trace: a chi-square over the plane, in equally likely cells."""
    first, second = stats.norm.cdf(many_normals.reshape(-1, 2)).T
    assert chi_square_fits(np.histogram2d(first, second, bins=64, range=[(0, 1), (0, 1)])[0].astype(np.int64))


# Independence along every coordinate of a draw.

SAMPLE = 4096
BASE = {"seed": SEED, "stream": STREAM, "replica": 3, "step": 5, "component": 0}


def sample(backend: Backend, **changed: int) -> Array:
    at = BASE | changed
    drawn = backend.normals(at["seed"], at["stream"], rows(at["replica"]), SAMPLE, at["step"], at["component"])
    return np.asarray(drawn[0])


def correlated(a: Array, b: Array) -> bool:
    """Are the two normal samples, or their squares, correlated beyond chance?"""
    scores = [(a * b).mean(), ((a**2 - 1) * (b**2 - 1)).mean() / 2]
    return bool(
        max(abs(score) for score in scores) * np.sqrt(len(a)) > LIMIT + 1.0
    )  # products of squares have fat tails


@pytest.mark.parametrize("coordinate", list(BASE))
@pytest.mark.parametrize("apart", [1, 2, 3, 7, 256, 65536, 2**31])
def test_samples_that_differ_in_one_coordinate_are_uncorrelated(backend: Backend, coordinate: str, apart: int) -> None:
    a, b = sample(backend), sample(backend, **{coordinate: BASE[coordinate] + apart})
    assert not correlated(a, b)
    assert correlated(a, a), "the check itself must be able to fail"


def test_swapped_coordinates_give_other_numbers(backend: Backend) -> None:
    """No coordinate is left out or mixed up with another: 32 assignments, all numbers different."""
    drawn = [
        backend.uniforms(seed, stream, rows(replica), 64, step, component)
        for seed, stream, replica, step, component in product((1, 2), repeat=5)
    ]
    assert len(np.unique(drawn)) == 32 * 64  # two of them coincide by chance with probability 5e-10


def test_neighbouring_lanes_are_uncorrelated(backend: Backend) -> None:
    numbers = backend.normals(SEED, STREAM, rows(1), 20001)[0]
    for lag in (1, 2, 3, 4, 8, 16):
        assert not correlated(numbers[:-lag], numbers[lag:])


@pytest.mark.parametrize("draw", ["uniforms", "normals"])
@pytest.mark.parametrize("count", [1, 2, 7, 15, 16, 17, 33])
def test_fewer_draws_are_the_first_of_more(backend: Backend, draw: str, count: int) -> None:
    many = getattr(backend, draw)(SEED, STREAM, rows(2, 5), 100)
    np.testing.assert_array_equal(getattr(backend, draw)(SEED, STREAM, rows(2, 5), count), many[:, :count])


@pytest.mark.parametrize("draw", ["uniforms", "normals"])
def test_a_replica_draws_the_same_whoever_else_draws(backend: Backend, draw: str) -> None:
    together = getattr(backend, draw)(SEED, STREAM, np.arange(20, dtype=np.uint32), 21)
    alone = getattr(backend, draw)(SEED, STREAM, rows(13, 4), 21)
    np.testing.assert_array_equal(alone, together[[13, 4]])
