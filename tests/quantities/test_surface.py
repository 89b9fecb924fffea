"""Surfaces a N^-2p + b K^-2q against known exponents, their stated coverage, refusals, and rows of rates.csv.

Coverage tests run 1,000 trials at a fixed seed. With a true coverage of 95% a result outside 93 to 97% has a chance of
0.4% (binomial) for each of the two exponents; the other statistical tests state theirs.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from pathlib import Path

import example_results as made_up
import numpy as np
import pytest
from numpy.typing import NDArray

from rnnlimits import kernels
from rnnlimits.base.errors import StudyError
from rnnlimits.base.streams import Stream
from rnnlimits.quantities.surface import OUTPUT_SURFACE, rates
from rnnlimits.quantities.trained import Trainings
from rnnlimits.rates.reader import Reader
from rnnlimits.statistics import powerlaw, ratefile, surface
from rnnlimits.statistics.bootstrap import Bootstrap, Sample
from rnnlimits.statistics.powerlaw import RateRefused
from rnnlimits.statistics.ratefile import Rate
from rnnlimits.statistics.samples import bias, rms
from rnnlimits.statistics.surface import Node, Surface, SurfaceRefused
from rnnlimits.study import Study
from rnnlimits.training import plan
from rnnlimits.training.plan import Cell

Array = NDArray[np.float64]
Draw = Callable[[np.random.Generator, tuple[int, ...]], Array]

TABLE = np.random.default_rng(2024).random((1024, 2000))
BOOTSTRAP = Bootstrap(lambda units, count: np.asarray(TABLE[units % len(TABLE), :count]), 400)
WIDTHS, STEPS = (64, 128, 256, 512, 1024), (16, 32, 64, 128, 256)
# Four independent directions in the space of probes, of unequal size; together of variance 1.
DIRECTIONS = np.diag(np.sqrt(np.array([1.0, 0.35, 0.15, 0.05]) / 1.55)) * 2
SHAPES: dict[str, Draw] = {
    "normal": lambda rng, shape: rng.normal(size=shape),
    "heavy": lambda rng, shape: rng.standard_t(6, size=shape) / np.sqrt(1.5),
}


def errors(
    rng: np.random.Generator,
    a: float,
    p: float,
    b: float,
    q: float,
    replicas: int = 128,
    common: float = 0.7,
    shape: str = "normal",
    grid: tuple[Sequence[int], Sequence[int]] = (WIDTHS, STEPS),
) -> dict[tuple[int, int], Array]:
    """Errors (replica, member, probe) at each (N, K): a field of the replica at N and one at K, uncorrelated.

    A share `common` of each field's variance is the same replica's at every N, or K; so are the cells of one N, or K.
    """

    def fields(values: Sequence[int]) -> dict[int, Array]:
        shared = SHAPES[shape](rng, (replicas, 4))
        own = {value: SHAPES[shape](rng, (replicas, 4)) for value in values}
        return {value: np.sqrt(common) * shared + np.sqrt(1 - common) * one for value, one in own.items()}

    of_n, of_k = (fields(axis) for axis in grid)
    return {(n, k): ((a * n**-p * of_n[n] + b * k**-q * of_k[k]) @ DIRECTIONS)[:, None] for n in of_n for k in of_k}


def measured(cells: dict[tuple[int, int], Array], statistic: Callable[[Array], Sample] = rms) -> list[Node]:
    return [Node(n, k, powerlaw.measure(n, statistic(error), BOOTSTRAP)) for (n, k), error in cells.items()]


def nodes(seed: int, **law: object) -> list[Node]:
    return measured(errors(np.random.default_rng(seed), **law))  # type: ignore[arg-type]


# --- the interval ----------------------------------------------------------------------------------------------

EASY = {"a": 1.0, "p": 0.25, "b": 2.0, "q": 0.5}


@pytest.mark.slow
@pytest.mark.parametrize(
    "law",
    [
        EASY,
        {"a": 1.0, "p": 0.25, "b": 2.0, "q": 0.5, "common": 0.0, "replicas": 256},
        {"a": 1.0, "p": 0.4, "b": 2.0, "q": 0.5, "common": 0.3, "replicas": 256, "shape": "heavy"},
        {"a": 1.0, "p": 0.1, "b": 3.0, "q": 0.5, "common": 0.9, "replicas": 512, "shape": "heavy"},
    ],
    ids=["easy", "independent", "heavy tails", "slow"],
)
def test_intervals_cover_the_exponents(law: dict[str, float]) -> None:
    """Over all trials that make a claim; few do not."""
    found = claims(law, 1000)
    assert len(found) > 900
    for covered in coverage(found, law):
        assert 0.93 <= covered <= 0.97
    # called at 1%: more than 25 of 1,000 has a chance below 1e-4 if the p-value is right
    assert np.mean([one.without < powerlaw.MISFIT for one in found]) <= 0.025


def test_intervals_cover_the_exponents_in_short() -> None:
    """The first 150 of the trials: with a true coverage of 95% fewer than 133 hits have a chance of 0.05%, each."""
    found = claims(EASY, 150)
    assert len(found) == 150
    assert min(coverage(found, EASY)) * len(found) >= 133
    # the exponents' own mean: 150 trials know it to 0.003 and 0.005, and a nonlinear fit's bias is of the same size
    assert np.mean([one.n.value for one in found]) == pytest.approx(0.25, abs=0.02)
    assert np.mean([one.k.value for one in found]) == pytest.approx(0.5, abs=0.025)


def test_wrong_claims_are_rare_although_a_part_hardly_stands_out() -> None:
    """An N part of at most a fifth of the square: most trials are refused, and few of all make a wrong claim.

    The estimate plus or minus 1.96 errors would be wrong in 19 of the 60 trials. With a true 5% more
    than 9 wrong ones have a chance of 0.1%.
    """
    law = {"a": 0.3, "p": 0.4, "b": 2.0, "q": 0.5, "replicas": 256}
    found = claims(law, 60)
    assert len(found) < 45
    wrong = [not one.n.low <= 0.4 <= one.n.high for one in found]
    assert sum(wrong) <= 9


def claims(law: dict[str, float], trials: int) -> list[Surface]:
    rng = np.random.default_rng(5)
    found = []
    for _ in range(trials):
        try:
            found.append(surface.fit(measured(errors(rng, **law))))  # type: ignore[arg-type]
        except SurfaceRefused:
            continue
    return found


def coverage(found: list[Surface], law: dict[str, float]) -> tuple[float, float]:
    p, q = law["p"], law["q"]
    return (
        float(np.mean([one.n.low <= p <= one.n.high for one in found])),
        float(np.mean([one.k.low <= q <= one.k.high for one in found])),
    )


def test_interval_of_a_debiased_bias_covers_it() -> None:
    """One cell's bias, 64 replicas, on average 4.4 standard errors from 0, on the scale of its debiased square.

    With a true coverage of 95% a result outside 93 to 97% has a chance of 0.4%.
    """
    rng = np.random.default_rng(6)
    profile = np.array([1.0, -0.5, 0.8, 0.3])
    true, hits = float(np.square(profile).mean()), 0
    for _ in range(1000):
        drawn = BOOTSTRAP.resample(bias(profile + rng.standard_t(6, size=(64, 4))))
        half = powerlaw.quantile(powerlaw.degrees_of_freedom(drawn.influence)) * np.std(drawn.replicates)
        hits += abs(drawn.value - true) <= half
    assert 930 <= hits <= 970


# --- the fit ---------------------------------------------------------------------------------------------------


def exact_nodes(square: Callable[[float, float], float], noise: float = 0.01, seed: int = 1) -> list[Node]:
    """Estimates whose square is square(N, K) but for independent noise of a given relative size."""
    rng = np.random.default_rng(seed)
    cells = {(n, k): np.sqrt(square(n, k)) * np.exp(noise * rng.normal(size=(64, 1, 1))) for n in WIDTHS for k in STEPS}
    return measured(cells)


def test_known_surface_is_recovered() -> None:
    """Errors of 0.1%: exponents to about 0.003, and all that is told about them."""
    found = surface.fit(exact_nodes(lambda n, k: n**-0.5 + 4.0 / k))
    assert found.n.value == pytest.approx(0.25, abs=0.01)
    assert found.k.value == pytest.approx(0.5, abs=0.01)
    assert found.prefactors == pytest.approx((1.0, 2.0), rel=0.05)
    assert found.further == ""
    share = np.array([[n**-0.5 / (n**-0.5 + 4.0 / k)] for n in WIDTHS for k in STEPS])[:, 0]
    np.testing.assert_allclose(found.shares, [share, 1 - share], atol=0.02)
    assert found.standing == (5, 5)
    assert any("N part" in note and "K part" in note for note in found.notes)
    assert any("correlations" in note and "condition" in note for note in found.notes)


def test_interval_is_the_textbook_one_where_the_fit_is_nearly_linear() -> None:
    """Small independent errors of one size: the covariance of Gauss-Newton, from finite differences."""
    noise, units = 0.02, 64
    found = surface.fit(exact_nodes(lambda n, k: n**-0.5 + 4.0 / k, noise))
    n, k = (np.array(one, dtype=float) for one in zip(*[(n, k) for n in WIDTHS for k in STEPS], strict=True))

    def model(t: Array) -> Array:
        return np.asarray(0.5 * np.log(np.exp(t[0]) * n ** (-2 * t[1]) + np.exp(t[2]) * k ** (-2 * t[3])))

    at, step = np.array([0.0, 0.25, np.log(4.0), 0.5]), 1e-6
    columns = [(model(at + step * e) - model(at - step * e)) / (2 * step) for e in np.eye(4)]
    covariance = noise**2 / units * np.linalg.inv(np.array(columns) @ np.array(columns).T)
    # 25 standard errors from 64 units and 400 replicates, each known to 10%, of which a few matter
    assert found.n.stderr == pytest.approx(np.sqrt(covariance[1, 1]), rel=0.25)
    assert found.k.stderr == pytest.approx(np.sqrt(covariance[3, 3]), rel=0.25)
    assert found.n.half_width == pytest.approx(2 * found.n.stderr, rel=0.1)
    scaled = covariance / np.sqrt(np.outer(np.diag(covariance), np.diag(covariance)))
    assert found.correlations == pytest.approx((scaled[0, 1], scaled[2, 3], scaled[1, 3]), abs=0.25)


def test_order_of_nodes_does_not_matter() -> None:
    one = nodes(2, **EASY)
    forwards, backwards = surface.fit(one), surface.fit(one[::-1])
    assert backwards.n == pytest.approx(forwards.n, rel=1e-4)
    assert backwards.k == pytest.approx(forwards.k, rel=1e-4)


@pytest.mark.parametrize(
    ("further", "extra"),
    [("cross", lambda n, k: 60.0 * n**-0.5 / k), ("constant", lambda n, k: 0.04)],
)
def test_a_third_term_joins_when_two_do_not_fit(further: str, extra: Callable[[float, float], float]) -> None:
    found = surface.fit(exact_nodes(lambda n, k: n**-0.5 + 4.0 / k + extra(n, k)))
    assert found.further == further
    assert found.without < powerlaw.MISFIT <= found.chi2_p
    assert found.n.low <= 0.25 <= found.n.high
    assert found.k.low <= 0.5 <= found.k.high
    assert any("was needed" in note for note in found.notes)


def test_no_surface_widens_the_intervals() -> None:
    wavy = exact_nodes(lambda n, k: (n**-0.5 + 4.0 / k) * (1 + 0.1 * np.sin(3 * np.log(n * k))))
    found = surface.fit(wavy)
    assert found.chi2_p < powerlaw.MISFIT
    assert found.scale > 1
    assert any("not one surface" in note for note in found.notes)
    smooth = surface.fit(exact_nodes(lambda n, k: n**-0.5 + 4.0 / k))
    assert found.n.half_width > 3 * smooth.n.half_width


# --- refusals --------------------------------------------------------------------------------------------------


def refusal_of(given: list[Node]) -> SurfaceRefused:
    with pytest.raises(SurfaceRefused) as caught:
        surface.fit(given)
    assert isinstance(caught.value, StudyError)
    assert not isinstance(caught.value, RateRefused)
    assert "\n" not in str(caught.value)
    return caught.value


@pytest.mark.parametrize(
    ("kept", "words"),
    [
        (lambda node: node.steps_per_time == 64, "one K only (64): a surface with one K"),
        (lambda node: node.width == 64, "one N only (64): a surface with one N"),
        (lambda node: node.steps_per_time < 64, "2 usable values of K, a surface needs 3"),
        (lambda node: node.width > 256, "2 usable values of N, a surface needs 3"),
        (lambda node: node.width == 4 * node.steps_per_time, "5 usable cells, a surface needs 8"),
    ],
)
def test_small_grids_are_refused(kept: Callable[[Node], bool], words: str) -> None:
    refusal = refusal_of([node for node in nodes(3, **EASY) if kept(node)])
    assert words in str(refusal)
    assert refusal.estimate is None


@pytest.mark.parametrize(
    ("law", "words"),
    [
        ({"a": 1e-3, "p": 0.25, "b": 4.0, "q": 0.5}, "the N part"),
        ({"a": 2.0, "p": 0.25, "b": 1e-3, "q": 0.5}, "the K part"),
    ],
)
def test_a_part_below_the_noise_is_refused_and_the_estimate_travels(law: dict[str, float], words: str) -> None:
    refusal = refusal_of(nodes(4, **law))
    assert words in str(refusal)
    assert "more replicas" in str(refusal)
    other = (refusal.estimate.k, 0.5) if words == "the N part" else (refusal.estimate.n, 0.25)
    # the part that is there: 128 replicas know its exponent to about 0.02
    assert other[0].value == pytest.approx(other[1], abs=0.1)


def test_dropped_nodes_do_not_enter() -> None:
    good = nodes(5, **EASY)
    spoiled = [good[0]._replace(point=good[0].point.drop("known to be wrong")), *good[1:]]
    found, without = surface.fit(spoiled), surface.fit(good[1:])
    assert found.n == without.n
    refusal = refusal_of([node for node in spoiled if node.steps_per_time < 64])
    assert "left out at N=64 K=16: known to be wrong" in str(refusal)


# --- rows ------------------------------------------------------------------------------------------------------


def grid(tmp_path: Path, limit_error: float = 0.0, **design: str) -> tuple[Study, list[Rate]]:
    """The rows of a made-up study whose output errors follow the law EASY, with the files' other contents."""
    study = made_up.make_study(**{"beta": "[0.75]", "antithetic": "false", **design})
    layout = made_up.write_results(study, tmp_path, limit_error)
    reader = Reader(study, layout)
    axes = (sorted({getattr(cell, name) for cell in plan.cells(study)}) for name in ("width", "steps_per_time"))
    drawn = errors(np.random.default_rng(8), **EASY, replicas=plan.cells(study)[0].replicas, grid=tuple(axes))

    def read(cell: Cell) -> Trainings:
        return dataclasses.replace(reader(cell), output=drawn[cell.width, cell.steps_per_time])

    be = kernels.backend("numpy")
    draw = Bootstrap(lambda units, count: be.uniforms(study.seed, Stream.BOOTSTRAP, units.astype(np.uint32), count))
    return study, list(rates(study, plan.cells(study), read, draw))


def test_rows_of_a_study(tmp_path: Path) -> None:
    study, rows = grid(tmp_path, steps="[16, 32, 64, 128]", replicas="256")
    assert [(row.quantity, row.variable, row.at) for row in rows] == [
        (OUTPUT_SURFACE.name, "N", "beta=0.75"),
        (OUTPUT_SURFACE.name, "K", "beta=0.75"),
    ]
    n, k = rows
    assert (n.expected, k.expected) == (0.25, 0.5)
    assert [row.verdict for row in rows] == ["no prediction"] * 2
    assert n.points == k.points == 20
    assert n.replicas == 256
    assert n.line_p == k.line_p
    cells = [(float(cell.width), float(cell.steps_per_time)) for cell in plan.cells(study)]
    assert [(p.variable, r.variable) for p, r in zip(n.cloud, k.cloud, strict=True)] == cells
    assert [p.estimate for p in n.cloud] == [p.estimate for p in k.cloud]
    assert "share of the square" in n.note
    assert ratefile.to_csv(rows).count("output_surface") == 2
    assert "output_surface in K (joint)" in ratefile.table(rows)


@pytest.mark.parametrize(
    "design",
    [
        {"steps": "[width]"},
        {"ladders": "[{width: [256], steps_per_time: [16, 32, 64, 128]}]"},
    ],
    ids=["diagonal", "a ladder in K at one N"],
)
def test_no_grid_no_rows(tmp_path: Path, design: dict[str, str]) -> None:
    assert grid(tmp_path, replicas="32", **design)[1] == []


@pytest.mark.parametrize(
    ("design", "words"),
    [
        ({"steps": "[16]"}, "refused: one K only (16)"),
        ({"steps": "[16, 32]"}, "refused: 2 usable values of K"),
        ({"width": "[64, 128]", "steps": "[16, 32, 48, 96]"}, "refused: 2 usable values of N"),
    ],
)
def test_grids_that_are_too_small_come_with_the_reason(tmp_path: Path, design: dict[str, str], words: str) -> None:
    _, rows = grid(tmp_path, replicas="32", **design)
    assert len(rows) == 2
    assert all(words in row.note and row.verdict == "no prediction" and math.isnan(row.exponent) for row in rows)
    assert len(rows[0].cloud) >= 5


def test_an_exponent_without_bounds_is_not_printed(tmp_path: Path) -> None:
    """32 replicas: of the N part's exponent only the lower end is known, of the K part's both."""
    _, (n, k) = grid(tmp_path, steps="[16, 32, 64, 128]", replicas="32")
    assert n.verdict == k.verdict == "no prediction"
    assert "to inf" in n.note
    assert math.isnan(n.exponent)
    assert k.ci_low < k.exponent < k.ci_high
    assert "inf " not in ratefile.table([n, k]).split("[1] ")[0]


def test_each_beta_has_its_own_surface(tmp_path: Path) -> None:
    _, rows = grid(tmp_path, beta="[0.6, 0.75]", steps="[16, 32, 48]", replicas="64")
    assert [row.at for row in rows] == ["beta=0.6"] * 2 + ["beta=0.75"] * 2
    assert [row.expected for row in rows] == pytest.approx([0.1, 0.5, 0.25, 0.5])


def test_cells_spoiled_by_the_limits_error_are_left_out(tmp_path: Path) -> None:
    _, (n, _) = grid(tmp_path, limit_error=0.1, steps="[16, 32, 64, 128]", replicas="64")
    lost = [p.estimate for p in n.cloud if not p.used]
    assert lost
    assert all(estimate < 3 * 0.1 for estimate in lost)
