"""One set of rules for every verdict: stages that judge the same estimate say the same, and why."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from rnnlimits.quantities.constants import NO_REMEDY
from rnnlimits.results import atlas_figure
from rnnlimits.statistics import powerlaw, ratefile, rows
from rnnlimits.statistics.bootstrap import Bootstrap
from rnnlimits.statistics.families import settled
from rnnlimits.statistics.powerlaw import Fit, Point, Slope
from rnnlimits.statistics.ratefile import Rate
from rnnlimits.statistics.verdicts import GEOMETRIC, POWER, Expected, Rule, judge, judge_fit

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


def everywhere(value: float) -> Expected:
    return Expected(value, "exact", everywhere=True)


def slope_of(value: float, half: float) -> Slope:
    """An estimate whose 95% interval is value - half to value + half."""
    return Slope(value, half / stats.t.ppf(0.975, 30), value - half, value + half, 30.0, np.zeros(4), np.zeros(4))


def made_up_fit(value: float, half: float, *, chi2_p: float = 1.0, drifts: bool = False, law: str = "power") -> Fit:
    """A fit with this exponent and interval, with points without noise."""
    slope, found = slope_of(value, half), powerlaw.fit(points(value, 1e-3))
    same = {"slope": slope, "halves": (slope, slope), "geometric": law == "geometric"}
    return replace(found, chi2_p=chi2_p, drifts=drifts, **same)


def verdict_of(row: Rate) -> tuple[str, str]:
    (alone,) = settled([row])
    return alone.verdict, alone.note


# --- rows ------------------------------------------------------------------------------------------------------


def test_a_value_that_holds_at_infinity_is_no_prediction_at_finite_points() -> None:
    """Precise points with another exponent are not called wrong; they are extrapolated instead."""
    judged = rows.judged(row(), points(0.5, noise=1e-3), Expected(0.9, "heuristic"))
    assert verdict_of(judged)[0] == "no prediction"
    assert math.isnan(judged.predicted)
    assert judged.corrected_low < 0.5 < judged.corrected_high
    assert judged.corrected_high - judged.corrected_low > judged.ci_high - judged.ci_low
    assert judged.expected == 0.9


@pytest.mark.parametrize(("value", "verdict"), [(0.5, "as predicted"), (0.55, "not as predicted")])
def test_a_value_that_holds_at_these_points_is_their_prediction(value: float, verdict: str) -> None:
    judged = rows.judged(row(), points(0.5, noise=0.01), everywhere(value))
    assert verdict_of(judged)[0] == verdict
    assert (judged.predicted, judged.predicted_stderr) == (value, 0.0)
    assert math.isnan(judged.corrected)
    assert ("off by -0.05" in verdict_of(judged)[1]) == (verdict == "not as predicted")


def test_a_constant_of_the_chain_that_decides_nothing_says_why() -> None:
    judged = rows.judged(row(), points(0.5, noise=0.6), everywhere(0.5), rule=NO_REMEDY)
    verdict, note = verdict_of(judged)
    assert verdict == "cannot tell"
    assert "half-width" in note


def test_a_refused_row_cannot_tell_if_there_was_a_prediction() -> None:
    for expected, verdict in ((everywhere(0.5), "cannot tell"), (Expected(0.5, "exact"), "no prediction")):
        judged = rows.judged(row(), points(0.5, noise=0.01)[:3], expected)
        assert judged.refused
        assert verdict_of(judged) == (verdict, judged.note)


def test_a_drift_of_the_exponent_is_no_agreement_in_any_stage() -> None:
    for rule in (POWER, NO_REMEDY):
        for misfit in ({"drifts": True}, {"chi2_p": 0.005}):
            p, doubt = judge_fit(made_up_fit(0.5, 0.05, **misfit), everywhere(0.5), rule)
            assert (p, doubt) == (1.0, "the points do not follow one law")


@pytest.mark.parametrize(
    ("value", "half", "doubt"),
    [
        (0.02, 0.1, "the interval holds 0, that is, no contraction"),
        (0.5, 0.1, "half-width 0.1 is over 0.075 (0.15 of the rate)"),
        (0.5, 0.07, ""),
        (3.4, 0.48, ""),
        (3.0, 0.48, "half-width 0.48 is over 0.45"),
    ],
)
def test_a_geometric_rate_is_its_own_scale(value: float, half: float, doubt: str) -> None:
    fit = made_up_fit(value, half, law="geometric")
    for rule in (GEOMETRIC, replace(NO_REMEDY, own_scale=True)):
        for expected in (value, 0.9 * value, 7.0):
            found = judge_fit(fit, everywhere(expected), rule).doubt
            assert found.startswith(doubt)
            assert bool(found) == bool(doubt)


@pytest.mark.parametrize("noise", [1e-3, 0.02, 0.6])
@pytest.mark.parametrize("bend", [0.0, 0.03])
@pytest.mark.parametrize("expected", [0.5, 0.55, 0.9])
@pytest.mark.parametrize("law", ["power", "geometric"])
def test_two_stages_give_the_same_points_one_verdict(law: str, expected: float, bend: float, noise: float) -> None:
    same = points(0.5, noise, bend)
    rule = replace(NO_REMEDY, own_scale=law == "geometric")
    usual, without = (rows.judged(row(law), same, everywhere(expected), rule=one) for one in (None, rule))
    assert verdict_of(usual)[0] == verdict_of(without)[0]
    # The reasons are the same but for what a user could do about a wide interval.
    assert verdict_of(usual)[1].split(":")[0] == verdict_of(without)[1].split(":")[0]
    assert (usual.exponent, usual.ci_low, usual.p) == (without.exponent, without.ci_low, without.p)


# --- the rules -------------------------------------------------------------------------------------------------


def test_a_p_value_is_students() -> None:
    p, doubt = judge(slope_of(0.5, 0.05), 0.55, POWER)
    assert p == pytest.approx(0.05)
    assert doubt == ""


def test_a_wide_interval_says_how_many_replicas_would_do() -> None:
    """Half-widths fall with the root of the replicas: from 0.3 to 0.15 takes four times as many."""
    assert judge(slope_of(0.5, 0.1499), 0.55, POWER).doubt == ""
    doubt = judge(slope_of(0.5, 0.3), 0.6, POWER).doubt
    assert doubt == "half-width 0.3 is over 0.15: about 4 times the replicas, or a wider range, would do"
    assert judge(slope_of(0.5, 0.3), 0.6, Rule("paths or draws")).doubt.endswith(
        ": about 4 times the paths or draws would do"
    )
    assert judge(slope_of(0.5, 0.3), 0.6, Rule("")).doubt == "half-width 0.3 is over 0.15"


def test_an_estimate_without_an_interval_neither_agrees_nor_differs() -> None:
    for half in (math.nan, math.inf):
        p, doubt = judge(slope_of(0.5, half), 0.5, POWER)
        assert math.isnan(p)
        assert doubt == "the estimate has no interval"
        assert verdict_of(replace(row(), p=p, doubt=doubt)) == ("cannot tell", doubt)


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
