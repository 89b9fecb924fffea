"""Studies side by side: the test of equality against other ones and by simulation, the table, its files, refusals.

False alarms: every simulation has a fixed seed; bounds are those that an exact test would leave in one of 10,000 runs.
"""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path

import numpy as np
import pytest
import yaml
from example_files import PROVENANCE
from refusals import refused
from runs import run
from scipy import stats

from rnnlimits.results.compare import compare, load, table
from rnnlimits.statistics import equality, ratefile
from rnnlimits.statistics.bootstrap import quantile
from rnnlimits.statistics.ratefile import Rate

RUNS = 4000
SURE = 1e-4  # chance of a false alarm of each statistical test here


def within(share: float, expected: float, runs: int = RUNS) -> bool:
    """Whether a share of `runs` is one that chance explains, but for one time in 10,000."""
    low, high = stats.binom.ppf([SURE / 2, 1 - SURE / 2], runs, expected)
    return bool(low <= share * runs <= high)


def simulated(means: list[float], errors: list[float], dof: float, seed: int) -> np.ndarray:
    """p-values of RUNS comparisons; with finite dof the standard errors are themselves estimated."""
    rng, k = np.random.default_rng(seed), len(means)
    values = rng.normal(means, errors, (RUNS, k))
    scale = np.ones((RUNS, k)) if math.isinf(dof) else np.sqrt(rng.chisquare(dof, (RUNS, k)) / dof)
    found = (equality.welch(v, s * np.array(errors), [dof] * k) for v, s in zip(values, scale, strict=True))
    return np.array([each.p for each in found])


# --- the test of equality --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("errors", "dof"), [([0.01, 0.03], math.inf), ([0.02, 0.01, 0.05], math.inf), ([1, 3], 30.0)])
def test_equal_numbers_give_uniform_p(errors: list[float], dof: float) -> None:
    p = simulated([0.5] * len(errors), errors, dof, seed=1)
    assert stats.kstest(p, "uniform").pvalue > SURE
    assert within(float(np.mean(p < 0.05)), 0.05)


@pytest.mark.parametrize("difference", [0.5, 2.0, 3.0])
def test_a_difference_is_seen_as_often_as_it_can_be(difference: float) -> None:
    p = simulated([0.5, 0.5 + 0.05 * difference], [0.03, 0.04], math.inf, seed=2)
    power = stats.ncx2.sf(stats.chi2.ppf(0.95, 1), 1, difference**2)
    assert within(float(np.mean(p < 0.05)), power)


def test_two_numbers_are_tested_as_scipy_does() -> None:
    for first, second in [((1.0, 2.0, 9), (2.0, 3.0, 5)), ((0.3, 0.1, 40), (0.31, 0.5, 7))]:
        (a, sa, na), (b, sb, nb) = first, second
        theirs = stats.ttest_ind_from_stats(a, sa * na**0.5, na, b, sb * nb**0.5, nb, equal_var=False)
        ours = equality.welch([a, b], [sa, sb], [na - 1, nb - 1])
        assert ours.p == pytest.approx(theirs.pvalue, rel=1e-9)
        assert ours.statistic == pytest.approx(theirs.statistic**2, rel=1e-9)


def test_several_numbers_are_tested_as_scipy_does() -> None:
    rng = np.random.default_rng(3)
    groups = [rng.normal(0.1 * i, 1 + i, 8 + 4 * i) for i in range(4)]
    theirs = stats.f_oneway(*groups, equal_var=False)
    errors = [stats.sem(group) for group in groups]
    ours = equality.welch([g.mean() for g in groups], errors, [len(g) - 1 for g in groups])
    assert (ours.statistic, ours.p) == pytest.approx((theirs.statistic, theirs.pvalue), rel=1e-9)


@pytest.mark.parametrize("errors", [[0.1], [0.1, 0.0], [0.1, math.nan]])
def test_what_cannot_be_tested_is_an_error(errors: list[float]) -> None:
    with pytest.raises(ValueError, match="two or more"):
        equality.welch([1.0] * len(errors), errors, [9.0] * len(errors))


@pytest.mark.parametrize("dof", [1.5, 3.0, 11.7, 500.0])
def test_degrees_of_freedom_come_back_from_an_interval(dof: float) -> None:
    assert equality.degrees_of_freedom(0.2 * quantile(dof), 0.2) == pytest.approx(dof, rel=1e-6)


def test_a_normal_interval_has_no_degrees_of_freedom_to_lose() -> None:
    assert equality.degrees_of_freedom(1.9599 * 0.2, 0.2) == math.inf
    assert equality.degrees_of_freedom(20 * 0.2, 0.2) == 1.0


def test_holm_by_hand() -> None:
    assert equality.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert equality.holm([0.9, 0.8]) == pytest.approx([1.0, 1.0])
    assert len(equality.holm([])) == 0


def test_holm_is_wrong_anywhere_seldom_enough() -> None:
    """20 true hypotheses: some adjusted p below 0.05 in 1 - 0.95^20-th root, that is just under 5% of all families."""
    p = np.random.default_rng(4).uniform(size=(RUNS, 20))
    alarms = float(np.mean([equality.holm(row).min() < 0.05 for row in p]))
    assert within(alarms, 1 - (1 - 0.05 / 20) ** 20)


# --- studies ---------------------------------------------------------------------------------------------------


def rate(quantity: str, exponent: float, stderr: float = 0.01, **others: object) -> Rate:
    half = 1.96 * stderr
    values = {"expected": 0.5, "verdict": "as predicted", "at": "beta=0.75", **others}
    return Rate(
        "x", quantity, "plain", "N", values.pop("at"), exponent, stderr, exponent - half, exponent + half, **values
    )


def refusal(quantity: str) -> Rate:
    return Rate("x", quantity, "plain", "N", "beta=0.75", expected=0.5, note="refused: 0 usable points, 4 are needed")


def write(folder: Path, rates: list[Rate], seed: int = 1, name: str | None = None, chain: str = "coupled-tanh") -> Path:
    folder.mkdir(parents=True)
    study = yaml.safe_dump({"name": name or folder.name, "seed": seed, "chain": {"kind": chain}})
    about = {"study": name or folder.name, "seed": seed, "study_yaml": study}
    ratefile.write_h5(folder / "rates.h5", {**PROVENANCE, **about}, rates)
    return folder


@pytest.fixture
def folders(tmp_path: Path) -> list[Path]:
    """Two studies that agree in `drift`, differ in `memory`, and have each something of its own."""
    one = [rate("drift", 0.50), rate("memory", 0.50), refusal("bias"), rate("first", 1.0)]
    two = [rate("drift", 0.51, 0.02), rate("memory", 0.60), rate("bias", 0.8), rate("second", 1.0)]
    two.append(rate("drift", 9.0, at="K=1 probe=0"))
    return [write(tmp_path / "a", one), write(tmp_path / "b", two, seed=2)]


def test_rows_of_two_studies(folders: list[Path]) -> None:
    rows = {row.key.quantity: row for row in compare(load(folders))}
    assert list(rows) == ["drift", "memory", "bias", "first", "second"]
    z = 0.10 / math.hypot(0.01, 0.01)
    assert rows["memory"].p == pytest.approx(2 * stats.norm.sf(z), rel=1e-6)
    assert rows["memory"].p_holm == pytest.approx(2 * rows["memory"].p)
    assert rows["drift"].difference == pytest.approx(0.01)
    assert rows["drift"].difference_stderr == pytest.approx(math.hypot(0.01, 0.02))
    assert all(math.isnan(rows[name].p) for name in ("bias", "first", "second"))


def test_the_table(folders: list[Path]) -> None:
    text = table(load(folders), compare(load(folders)), 90)
    lines = {
        line.split(" in ")[0]: after for line, after in zip(text.splitlines(), text.splitlines()[1:], strict=False)
    }
    assert lines["memory"].endswith("differ")
    assert "differ" not in lines["drift"]
    assert lines["bias"].split()[1:6] == ["-", "[1]", "0.800", "±", "0.020"]
    assert "[1] refused: 0 usable points" in text
    assert "only in a: first in N (plain) beta=0.75" in text
    assert "only in b: second in N (plain) beta=0.75" in text
    assert "taken as independent" in text
    assert "probe" not in text
    assert max(map(len, text.splitlines())) <= 90


def test_shared_paths_are_said(tmp_path: Path) -> None:
    three = [write(tmp_path / name, [rate("drift", 0.5)], seed) for name, seed in (("a", 1), ("b", 1), ("c", 2))]
    other = write(tmp_path / "d", [rate("drift", 0.5)], 1, chain="two-state")
    text = table(load([*three, other]), compare(load([*three, other])), 400)
    assert [line.split(",")[0] for line in text.splitlines() if "share seed" in line] == [
        "a and b share seed 1 and chain"
    ]


def test_a_rate_without_a_prediction_is_still_a_number(tmp_path: Path) -> None:
    free = rate("mixing", 0.2, expected=math.nan, verdict="no prediction")
    wide = rate("bias", 0.2, 0.2, verdict="cannot tell", note="half-width 0.4 is over 0.15")
    both = [write(tmp_path / name, [free, wide]) for name in ("a", "b")]
    rows = {row.key.quantity: row for row in compare(load(both))}
    assert rows["mixing"].p == 1.0
    assert math.isnan(rows["bias"].p)


def test_command_line(folders: list[Path], tmp_path: Path) -> None:
    files = ["--csv", tmp_path / "out" / "c.csv", "--figure", tmp_path / "out" / "c.svg"]
    done = run("compare", *folders, *files)
    assert "differ" in done.stdout
    assert done.stderr == ""
    with (tmp_path / "out" / "c.csv").open() as file:
        lines = list(csv.DictReader(file))
    assert float(lines[1]["exponent[b]"]) == 0.6
    assert lines[2]["exponent[a]"] == ""
    figure = (tmp_path / "out" / "c.svg").read_text()
    assert figure.lstrip().startswith("<?xml")
    found = json.loads(run("compare", *folders, "--json").stdout)
    assert [study["label"] for study in found["studies"]] == ["a", "b"]
    assert [row["differ"] for row in found["rows"]] == [False, True, False, False, False]
    assert found["rows"][3]["rates"][1] is None
    assert float(lines[1]["p"]) == pytest.approx(found["rows"][1]["p"], rel=1e-5)


def test_studies_of_one_name_are_told_apart_by_folder(tmp_path: Path) -> None:
    both = [write(tmp_path / name, [rate("drift", 0.5)], name="demo") for name in ("a", "b")]
    assert [source.label for source in load(both)] == [str(folder) for folder in both]


def test_bad_input(folders: list[Path], tmp_path: Path) -> None:
    one, two = folders
    assert "is the only folder given; give two or more" in refused("compare", one)
    assert "is given twice" in refused("compare", one, tmp_path / "b" / ".." / "a")
    assert "is not a results folder" in refused("compare", one, tmp_path / "none")
    assert "is not the right file (kind rates, expected pack)" in refused("compare", one, two / "rates.h5")
    assert "has no rates" in refused("compare", one, tmp_path)
    assert "allowed: .svg, .png, .pdf" in refused("compare", one, two, "--figure", tmp_path / "c.doc")
    whole = (two / "rates.h5").read_bytes()
    (two / "rates.h5").write_bytes(whole[:2000] + b"\0" * 8 + whole[2008:])
    assert f"{two / 'rates.h5'}: is damaged" in refused("compare", one, two)
    (two / "rates.h5").write_bytes(whole[:3000])
    assert f"{two / 'rates.h5'}: is truncated or damaged" in refused("compare", one, two)
