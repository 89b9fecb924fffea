"""One study, one error rate: simulated studies whose predictions are right or wrong, and the words of the verdicts."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from rnnlimits.statistics import rows
from rnnlimits.statistics.bootstrap import Array
from rnnlimits.statistics.families import LEVEL, counted, settled
from rnnlimits.statistics.powerlaw import Point
from rnnlimits.statistics.predictions import Predicted
from rnnlimits.statistics.ratefile import Rate
from rnnlimits.statistics.verdicts import Expected

WIDTH = 2.0 ** np.arange(6, 14)
LAW = -0.3 * np.log(WIDTH) + np.log1p(0.5 * np.sqrt(64 / WIDTH))
UNITS = np.array([96, 96, 96, 96, 64, 64, 32, 32])  # fewer at large widths
COUNT, ROWS = 200, 6
WEIGHTS = np.random.default_rng(1).poisson(1.0, size=(COUNT, UNITS.max())).astype(np.float64)


def resampled(unit: Array) -> Array:
    """Replicates (count, width) of means of the first UNITS of values (unit, width), less the mean."""
    found = np.empty((COUNT, len(UNITS)))
    for n in set(UNITS.tolist()):
        columns = n == UNITS
        drawn = WEIGHTS[:, :n] @ unit[:n, columns] / WEIGHTS[:, :n].sum(1)[:, None]
        found[:, columns] = (drawn - drawn.mean(0)) * math.sqrt(n / (n - 1))
    return found


def means(unit: Array) -> Array:
    return np.array([unit[:n, j].mean() for j, n in enumerate(UNITS)])


def study(rng: np.random.Generator, noise: float = 0.2, factor: float = 1.0) -> list[Rate]:
    """Rows whose laws are right, but in the first row for a constant `factor`.

    Widths share replicas, rows share a part of their noise, and a prediction follows a part of a row's own noise.
    """
    common = rng.normal(size=(UNITS.max(), 1))
    found = []
    for index in range(ROWS):
        own, followed = (rng.normal(size=(UNITS.max(), len(WIDTH))) for _ in range(2))
        unit, moving = noise * (0.6 * common + 0.6 * own + 0.5 * followed), noise * 0.5 * followed
        log, replicates = LAW + means(unit), resampled(unit)
        truth = LAW + means(moving) + math.log(factor if index == 0 else 1.0)
        carried, points, predicted = resampled(moving), [], []
        for j, (width, n) in enumerate(zip(WIDTH, UNITS, strict=True)):
            influence = (unit[:n, j] - unit[:n, j].mean()) / n
            numbers = (math.exp(log[j]), 0.01, 99.0, log[j], log[j] + replicates[:, j], influence, int(n), int(n))
            points.append(Point(width, *numbers))
        for j, width in enumerate(WIDTH):
            predicted.append(Predicted(width, math.exp(truth[j]), 0.01, truth[j] + carried[:, j]))
        blank = Rate("s", f"quantity {index}", "plain", "N", "all")
        found.append(rows.judged(blank, points, Expected(0.3, "heuristic"), predicted=predicted))
    return settled(found)


def alarms(found: list[Rate]) -> int:
    return sum(rate.verdict == "not as predicted" for rate in found)


def test_one_study_in_twenty_has_a_false_alarm() -> None:
    """Of 300 studies 5% may have one, give or take 1.3%."""
    rng = np.random.default_rng(2)
    studies = [study(rng) for _ in range(300)]
    wrong = np.mean([alarms(found) > 0 for found in studies])
    assert 0.02 <= wrong <= 0.08
    # row by row the p-values are those of a true hypothesis: 5% are below 5%, give or take 0.5%
    assert 0.035 < np.mean([rate.p < 0.05 for found in studies for rate in found]) < 0.06
    assert {rate.verdict for found in studies for rate in found} <= {"as predicted", "not as predicted"}


def test_a_wrong_constant_in_one_row_is_found() -> None:
    """10% off with errors of 2 to 3% at each width: found in at least 9 of 10 studies, and only there."""
    rng = np.random.default_rng(3)
    studies = [study(rng, factor=1.1) for _ in range(40)]
    assert np.mean([found[0].verdict == "not as predicted" for found in studies]) >= 0.9
    assert np.mean([alarms(found[1:]) > 0 for found in studies]) < 0.15
    first = studies[0][0]
    assert "all points together: p = " in first.note
    assert abs(first.exponent - first.predicted) < 0.1  # a constant is no matter of the exponent


def row(p: float, **others: object) -> Rate:
    return replace(Rate("s", "q", "plain", "N", "all", 0.5, 0.01, 0.48, 0.52), p=p, predicted=0.45, **others)


def test_a_verdict_follows_from_all_rows() -> None:
    """0.01 excludes alone, and beside three others (0.04), not beside five (0.06)."""
    for others, verdict in ((0, "not as predicted"), (3, "not as predicted"), (5, "as predicted")):
        first, *rest = settled([row(0.01), *[row(0.9)] * others])
        assert first.verdict == verdict
        assert first.p_adjusted == pytest.approx(0.01 * (others + 1))
        assert {rate.verdict for rate in rest} <= {"as predicted"}
    assert LEVEL == 0.05


def test_notes_say_what_decided() -> None:
    wide = "half-width 0.2 is over 0.15"
    assert settled([row(1e-6, doubt=wide, note="a remark")])[0].note == "off by +0.05; a remark"
    assert settled([row(0.5, doubt=wide, note="a remark")])[0].note == f"{wide}; a remark"
    assert settled([row(0.5, note="a remark")])[0].note == "a remark"
    (excluded,) = settled([row(1e-6, note="refused: 3 points", chi2=40.0, chi2_p=1e-6)])
    assert excluded.refused
    assert excluded.note == "refused: 3 points; off by +0.05, all points together: p = 1e-06"


def test_rows_without_a_test_keep_their_verdict() -> None:
    for verdict in ("no prediction", "cannot tell"):
        (kept,) = settled([row(math.nan, verdict=verdict)])
        assert kept.verdict == verdict
        assert math.isnan(kept.p_adjusted)


def test_the_head_counts_rows() -> None:
    found = settled([row(1e-6), row(0.5), row(0.4), row(0.3, doubt="too wide"), row(math.nan)])
    assert counted(found) == (
        "5 rates: 2 as predicted, 1 not as predicted, 1 cannot tell, 1 no prediction. "
        "Of twenty studies whose predictions all hold, about one has a row that is called not as predicted."
    )
    assert counted(settled([row(math.nan)])).endswith("1 no prediction")
