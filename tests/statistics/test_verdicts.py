"""One set of rules for every verdict: stages that judge the same estimate say the same, and why."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from rnnlimits.quantities.constants import NO_REMEDY
from rnnlimits.results import atlas_figure
from rnnlimits.statistics import powerlaw, ratefile, rows
from rnnlimits.statistics.bootstrap import Bootstrap
from rnnlimits.statistics.powerlaw import Fit, Point, Slope
from rnnlimits.statistics.ratefile import Rate
from rnnlimits.statistics.verdicts import GEOMETRIC, POWER, VERDICTS, Expected, Rule, judge, judge_fit

UNITS, COUNT = 64, 400
TABLE = np.random.default_rng(5).random((UNITS, COUNT))
BOOTSTRAP = Bootstrap(lambda units, count: TABLE[units, :count], COUNT)


def row(law: str = "power") -> Rate:
    return Rate("made-up", "ergodic_average", "plain", "draws", "f=x", law=law)


def points(exponent: float, noise: float, bend: float = 0.0) -> list[Point]:
    """Estimates n^-exponent at n = 1, 2, 4, ..., 128: logarithms with errors of s.d. `noise`, bent by `bend`."""
    unit = np.random.default_rng(6).normal(size=(UNITS, 8)) * noise * math.sqrt(UNITS)
    x = np.log(2.0) * np.arange(8)
    logs = unit - unit.mean(0) - exponent * x - bend * (x - x.mean()) ** 2  # the mean follows the law exactly
    return [rows.log_point(2.0**j, logs[:, j], BOOTSTRAP) for j in range(8)]


def made_up_fit(value: float, half: float, *, drifts: bool = False, geometric: bool = False) -> Fit:
    """A fit with this exponent and interval, with points without noise."""
    slope = Slope(value, half / 2, value - half, value + half, 30.0, np.zeros(4), np.zeros(4))
    found = powerlaw.fit(points(value, 1e-3))
    return replace(found, slope=slope, chi2_p=1.0, drifts=drifts, halves=(slope, slope), geometric=geometric)


def test_a_constant_of_the_chain_without_a_verdict_says_why() -> None:
    judged = rows.judged(row(), points(0.5, noise=0.6), Expected(0.5, "exact"), rule=NO_REMEDY)
    assert judged.verdict == "undetermined"
    assert "half-width" in judged.note


def test_a_drift_of_the_exponent_is_no_agreement_in_any_stage() -> None:
    for rule in (POWER, NO_REMEDY):
        verdict, reason = judge_fit(made_up_fit(0.5, 0.05, drifts=True), Expected(0.5, "exact"), rule)
        assert verdict == "undetermined"
        assert reason.startswith("the expected value is in the interval, but the points do not follow one law")


@pytest.mark.parametrize(("value", "expected", "verdict"), [(3.0, 3.4, "undetermined"), (3.4, 3.0, "consistent")])
def test_a_geometric_rate_is_its_own_scale(value: float, expected: float, verdict: str) -> None:
    """A half-width of 0.48 is 0.16 of a rate of 3 and 0.14 of one of 3.4, whatever is expected."""
    fit = made_up_fit(value, 0.48, geometric=True)
    for rule in (GEOMETRIC, replace(NO_REMEDY, own_scale=True)):
        assert judge_fit(fit, Expected(expected, "exact"), rule).verdict == verdict


@pytest.mark.parametrize("noise", [1e-3, 0.02, 0.6])
@pytest.mark.parametrize("bend", [0.0, 0.03])
@pytest.mark.parametrize("expected", [0.5, 0.55, 0.9])
@pytest.mark.parametrize("law", ["power", "geometric"])
def test_two_stages_give_the_same_points_one_verdict(law: str, expected: float, bend: float, noise: float) -> None:
    same = points(0.5, noise, bend)
    rule = replace(NO_REMEDY, own_scale=law == "geometric")
    usual, without = (rows.judged(row(law), same, Expected(expected, "exact"), rule=one) for one in (None, rule))
    assert usual.verdict == without.verdict
    # The reasons are the same but for what a user could do about a wide interval.
    assert usual.note.split(":")[0] == without.note.split(":")[0]
    assert (usual.exponent, usual.ci_low) == (without.exponent, without.ci_low)


# --- the rules -------------------------------------------------------------------------------------------------


def estimate(value: float, low: float, high: float) -> Slope:
    return Slope(value, (high - low) / 4, low, high, 30.0, np.zeros(4), np.zeros(4))


def test_every_verdict_but_an_agreement_has_a_reason() -> None:
    """Over intervals of all widths and places, with points that follow one law or not."""
    rules = (POWER, Rule(""), Rule("", own_scale=True))
    seen = [
        judge(estimate(0.5, 0.5 - half, 0.5 + half), expected, rule, one_law=one_law)
        for half in (0.01, 0.1, 0.3, math.inf, math.nan)
        for expected in (0.5, 0.58, 0.7, 3.0, math.nan)
        for rule in rules
        for one_law in (True, False)
    ]
    assert {verdict for verdict, _ in seen} == set(VERDICTS)
    for verdict, reason in seen:
        assert bool(reason) == (verdict != "consistent")
        assert not reason.endswith((":", " "))


def test_an_estimate_without_an_interval_neither_agrees_nor_differs() -> None:
    for broken in (estimate(math.nan, math.nan, math.nan), estimate(0.5, math.nan, math.nan)):
        assert judge(broken, 0.5, POWER) == ("undetermined", "the estimate has no interval")


def test_an_interval_that_is_not_symmetrical_decides_by_its_ends() -> None:
    assert judge(estimate(0.5, 0.4, 0.51), 0.41, POWER).verdict == "consistent"
    assert judge(estimate(0.5, 0.4, 0.51), 0.52, POWER).verdict == "inconsistent"


def test_a_tolerance_replaces_the_interval() -> None:
    """Two numbers from the same units: the interval of each is wider than that of their difference."""
    assert judge(estimate(0.5, 0.4, 0.6), 0.52, POWER, tolerance=0.01).verdict == "inconsistent"
    assert judge(estimate(0.5, 0.49, 0.51), 0.52, POWER, tolerance=0.03).verdict == "consistent"


# --- facts of a row --------------------------------------------------------------------------------------------


def test_a_row_tells_whether_it_is_refused_and_why() -> None:
    note = ratefile.refusal("3 values of K, 4 are needed", "", "a remark")
    assert note == "refused: 3 values of K, 4 are needed; a remark"
    assert replace(row(), note=note).refused
    assert replace(row(), note=note).reason == "3 values of K, 4 are needed; a remark"
    assert not replace(row(), note="off by +0.1").refused
    assert replace(row(), note="off by +0.1").reason == "off by +0.1"


def test_a_row_tells_its_coordinates() -> None:
    assert dict(replace(row(), at="beta=0.75 N=64").where) == {"beta": "0.75", "N": "64"}
    assert dict(replace(row(), at="K=512 all probes").where) == {"K": "512", "all": "", "probes": ""}
    assert dict(replace(row(), at="").where) == {}
    assert replace(row(), at="K=512 probe=0").single
    assert not replace(row(), at="K=512 all probes").single


@pytest.mark.parametrize(("at", "shown"), [("", True), (" depth=1", True), (" depth=2", False), (" depth=16", False)])
def test_an_atlas_shows_networks_of_depth_one(at: str, shown: bool) -> None:
    assert atlas_figure._has_exponent(replace(row(), at=f"beta=0.75{at}", exponent=0.5)) is shown
