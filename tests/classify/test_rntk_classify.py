"""Classification: kernels, choice of parameters, statistics over data sets, and the whole comparison end to end."""

from __future__ import annotations

import csv
import dataclasses
import itertools
import math
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from runs import HANG

pytest.importorskip("sklearn")

import runs
from format_page import SHORT, documented
from scipy import stats
from sklearn.svm import SVC

from rnnlimits.base.errors import StudyError
from rnnlimits.classify import datasets, jobs, methods, protocol, scores, table
from rnnlimits.classify import score as classify
from rnnlimits.classify.datasets import DataSet
from rnnlimits.cli import main
from rnnlimits.files.store import open_complete
from rnnlimits.kernels import rntk
from rnnlimits.results.inspection import validate as faults

pytestmark = pytest.mark.needs_compiler


def made(name: str = "Made", count: int = 24, seed: int = 1, longest: int = 9) -> DataSet:
    """Two classes that differ in the sign of a slope, of lengths 5 to `longest`."""
    rng = np.random.default_rng(seed)

    def part() -> tuple[tuple[Any, ...], Any]:
        classes = np.arange(count) % 2
        lengths = rng.integers(5, longest + 1, count)
        slopes = 2.0 * classes - 1.0
        series = [slopes[i] * np.linspace(-1, 1, lengths[i]) + rng.normal(0, 1.0, lengths[i]) for i in range(count)]
        return tuple(one[:, None] for one in series), classes

    train, train_classes = part()
    test, test_classes = part()
    return DataSet(name, "made", ("down", "up"), train, train_classes, test, test_classes)


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Grids of one or two candidates."""
    for name, method in methods.METHODS.items():
        grid = {key: values[:1] for key, values in method.coarse.items()}
        if name == "rntk":
            grid["sigma_b"] = (0.1, 1.0)
        monkeypatch.setitem(methods.METHODS, name, dataclasses.replace(method, coarse=grid))


# --- kernels -----------------------------------------------------------------------------------------------


def closed_form(x: Any, depth: int, sigma_w: float, sigma_b: float) -> Any:
    """NTK of a ReLU network with `depth` hidden layers, NumPy's own (Jacot et al. 2018; Lee et al. 2019)."""
    covariance = sigma_w**2 * x @ x.T / x.shape[1] + sigma_b**2
    tangent = covariance.copy()
    for layer in range(depth):
        roots = np.sqrt(np.diag(covariance))
        norms = np.outer(roots, roots)
        angle = np.arccos(np.clip(covariance / norms, -1, 1))
        slope = (np.pi - angle) / (2 * np.pi)
        value = norms * (np.sin(angle) + (np.pi - angle) * np.cos(angle)) / (2 * np.pi)
        last = layer == depth - 1  # the output layer has neither sigma_w nor a bias here
        w, b = (1.0, 0.0) if last else (sigma_w, sigma_b)
        covariance = w**2 * value + b**2
        tangent = covariance + w**2 * slope * tangent
    return tangent


@pytest.mark.parametrize(("depth", "sigma_w", "sigma_b"), [(1, 1.0, 0.0), (2, 2**0.5, 0.3), (5, 2.0, 1.0)])
def test_the_feed_forward_ntk_is_the_closed_form(depth: int, sigma_w: float, sigma_b: float) -> None:
    x = np.random.default_rng(3).standard_normal((7, 4))
    point = {"depth": depth, "sigma_w": sigma_w, "sigma_b": sigma_b}
    vectors = rntk.batch(x[:, None, :])
    found = methods.METHODS["ntk"].gram(point, vectors, None)
    np.testing.assert_allclose(found, closed_form(x, depth, sigma_w, sigma_b), rtol=1e-6)
    np.testing.assert_allclose(methods.METHODS["ntk"].own(point, vectors), np.diag(found), rtol=1e-12)


def empirical(x: Any, width: int, sigma_w: float, sigma_b: float, rng: Any) -> Any:
    """Tangent kernel of one drawn network of two hidden layers: the squared gradient with respect to all weights."""
    u, w, v = rng.standard_normal((width, x.shape[1])), rng.standard_normal((width, width)), rng.standard_normal(width)
    b = rng.standard_normal((2, width))
    g1 = sigma_w / math.sqrt(x.shape[1]) * x @ u.T + sigma_b * b[0]
    h1 = np.maximum(g1, 0)
    g2 = sigma_w / math.sqrt(width) * h1 @ w.T + sigma_b * b[1]
    h2 = np.maximum(g2, 0)
    back2 = v / math.sqrt(width) * (g2 > 0)
    back1 = sigma_w / math.sqrt(width) * (back2 @ w) * (g1 > 0)
    by_v = h2 @ h2.T / width
    by_2 = back2 @ back2.T * (sigma_w**2 / width * h1 @ h1.T + sigma_b**2)
    by_1 = back1 @ back1.T * (sigma_w**2 / x.shape[1] * x @ x.T + sigma_b**2)
    return by_v + by_2 + by_1


def test_the_feed_forward_ntk_is_the_limit_of_wide_networks() -> None:
    """Scatter of one network is of order 1/sqrt(width); 40 networks: 5 standard errors, false alarm below 1e-4."""
    rng = np.random.default_rng(11)
    x = rng.standard_normal((3, 5))
    drawn = np.array([empirical(x, 400, 1.3, 0.4, rng) for _ in range(40)])
    wanted = methods.METHODS["ntk"].gram({"depth": 2, "sigma_w": 1.3, "sigma_b": 0.4}, rntk.batch(x[:, None, :]), None)
    error = drawn.std(axis=0, ddof=1) / math.sqrt(len(drawn))
    bias = 2.0 / 400 * np.abs(wanted).max()  # of order 1/width
    assert np.all(np.abs(drawn.mean(axis=0) - wanted) < 5 * error + bias)
    assert np.all(error < 0.03 * np.abs(wanted).max())


@pytest.mark.parametrize("name", methods.METHODS)
def test_diagonals_and_matrices_belong_together(name: str) -> None:
    method, data = methods.METHODS[name], made()
    train, test = data.standardised()
    if method.reads_vectors:
        train, test = methods.stretched(train, 9), methods.stretched(test, 9)
    for point in method.candidates("coarse", 9):
        square = method.gram(point, test, None)
        np.testing.assert_allclose(method.own(point, test), np.diag(square), rtol=1e-9)
        cross = method.gram(point, test, train)
        assert cross.shape == (len(test), len(train))
        np.testing.assert_allclose(method.gram(point, train, test), cross.T, rtol=1e-9, atol=1e-12)
        rntk.require_psd(square)


def test_series_are_stretched_to_vectors() -> None:
    found = methods.stretched(rntk.batch([np.array([[0.0, 1], [2, 3]]), np.array([[1.0, 1], [2, 2], [9, 9]])]), 3)
    np.testing.assert_allclose(found.values, [[0, 1, 1, 2, 2, 3], [1, 1, 2, 2, 9, 9]])
    assert found.lengths.tolist() == [1, 1]


def test_parameters_beyond_the_range_of_numbers_are_not_tried() -> None:
    grid = methods.METHODS["rntk"].candidates("full", 10000)
    assert {point["sigma_w"] for point in grid} == {1.30, 1.34, 1.37, 1.40, 2**0.5, 1.43, 1.47, 1.50} - {1.47, 1.5}
    rntk.gram(np.ones((2, 10000)), network=rntk.Elman(sigma_w=1.43))


# --- protocol ----------------------------------------------------------------------------------------------


def test_folds_have_like_shares_of_every_class() -> None:
    classes = np.array([0] * 23 + [1] * 9 + [2])
    dealt = protocol.folds(classes, 5)
    for one in (0, 1):
        counts = np.bincount(dealt[classes == one], minlength=5)
        assert counts.max() - counts.min() <= 1
    assert np.bincount(dealt).max() - np.bincount(dealt).min() <= 1


def test_small_classes_are_validated() -> None:
    x = rntk.batch(np.random.default_rng(0).standard_normal((4, 1, 3)))
    rbf = methods.METHODS["rbf"]
    found = protocol.validate(rbf, [{"gamma": 1.0}], x, np.array([0, 0, 0, 1]), 4)
    assert found.shape == (1, len(protocol.COSTS))
    assert np.all(found <= 3)  # the only series of class 1 cannot be known when it is held out


def test_validation_counts_what_a_machine_by_hand_gets_right() -> None:
    data = made()
    train = methods.stretched(data.standardised()[0], 9)
    found = protocol.validate(methods.METHODS["rbf"], [{"gamma": 0.5}], train, data.train_classes, 3)
    kernel = np.array([[math.exp(-0.5 * np.mean((a - b) ** 2)) for b in train.values] for a in train.values])
    kernel /= 1 - kernel.mean()
    dealt, right = protocol.folds(data.train_classes, 3), 0
    for fold in range(3):
        inside, held = np.flatnonzero(dealt != fold), np.flatnonzero(dealt == fold)
        machine = SVC(C=1.0, kernel="precomputed").fit(kernel[np.ix_(inside, inside)], data.train_classes[inside])
        right += np.sum(machine.predict(kernel[np.ix_(held, inside)]) == data.train_classes[held])
    assert found[0, protocol.COSTS.index(1.0)] == right


def test_choices_take_the_best_then_the_steadiest_then_the_smallest_cost() -> None:
    assert protocol.choose(np.array([[1, 5, 2], [1, 4, 5], [5, 5, 2]])) == protocol.Choice(2, 0)
    assert protocol.choose(np.array([[1, 5, 2], [1, 5, 2]])) == protocol.Choice(0, 1)


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize("name", ["rntk", "rbf"])
def test_the_choice_never_sees_the_test_part(tmp_path: Path, name: str) -> None:
    """Other test labels, and other test series: the same validation and choice."""
    data = made()
    other = DataSet("Made", "made", data.classes, data.train, data.train_classes, data.test, 1 - data.test_classes)
    moved = made(seed=1)
    moved = DataSet("Made", "made", data.classes, data.train, data.train_classes, made(seed=5).test, data.test_classes)
    found = []
    for variant in (data, other, moved):
        (job,) = (job for job in jobs.of_sets([variant], tmp_path, quick=True) if job.method.name == name)
        classify.run(job)
        with open_complete(job.result, "classification") as file:
            found.append((file.attrs["chosen"], file["validation_correct"][()].tolist(), file["prediction"][()]))
    assert found[0][:2] == found[1][:2] == found[2][:2]
    np.testing.assert_array_equal(found[0][2], found[1][2])
    first = scores.read(*_result(data, tmp_path, name))
    second = scores.read(*_result(other, tmp_path, name))
    assert first.correct + second.correct == first.count  # two classes, all test labels turned over


def _result(data: DataSet, results: Path, name: str) -> tuple[Path, str]:
    (job,) = (job for job in jobs.of_sets([data], results, quick=True) if job.method.name == name)
    return job.result, job.identity


@pytest.mark.usefixtures("few")
def test_series_that_tell_their_class_are_classified(tmp_path: Path) -> None:
    for job in jobs.of_sets([made(count=40)], tmp_path, quick=True):
        classify.run(job)
        assert scores.read(job.result, job.identity).accuracy > 0.75  # by chance below 1e-3


def test_parts_give_the_same_result_as_one_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (whole,) = (job for job in jobs.of_sets([made()], tmp_path / "a", True) if job.method.name == "rntk")
    monkeypatch.setattr(jobs, "PART_SECONDS", 0.05)
    (cut,) = (job for job in jobs.of_sets([made()], tmp_path / "b", True) if job.method.name == "rntk")
    assert whole.part_paths == []
    assert len(cut.parts) > 2
    assert cut.identity == whole.identity
    classify.run(whole)
    with pytest.raises(StudyError, match=r"part-00\.h5"):
        classify.run(cut)
    for number in range(len(cut.parts)):
        classify.validate_part(cut, number)
    classify.run(cut)
    assert runs.run("digest", cut.result).stdout.split()[0] == runs.run("digest", whole.result).stdout.split()[0]
    assert faults(tmp_path / "b") == []


def test_large_sets_get_the_coarse_grid(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(jobs, "MOST_SECONDS", 1.0)
    levels = {job.method.name: job.level for job in jobs.of_sets([made()], tmp_path, quick=False)}
    assert levels["rntk"] == "coarse"
    assert levels["rbf"] == "full"


# --- statistics --------------------------------------------------------------------------------------------

# Demsar (2006), table 6: area under the curve of four variants of C4.5 on 14 sets.
# Voting is 0.975 twice in print; the published mean ranks need the two apart.
DEMSAR = np.array(
    [
        *([0.763, 0.768, 0.771, 0.798], [0.599, 0.591, 0.590, 0.569], [0.954, 0.971, 0.968, 0.967]),
        *([0.628, 0.661, 0.654, 0.657], [0.882, 0.888, 0.886, 0.898], [0.936, 0.931, 0.916, 0.931]),
        *([0.661, 0.668, 0.609, 0.685], [0.583, 0.583, 0.563, 0.625], [0.775, 0.838, 0.866, 0.875]),
        *([1.000, 1.000, 1.000, 1.000], [0.940, 0.962, 0.965, 0.962], [0.619, 0.666, 0.614, 0.669]),
        *([0.972, 0.981, 0.9751, 0.975], [0.957, 0.978, 0.946, 0.970]),
    ]
)


def test_ranks_and_critical_difference_of_the_published_example() -> None:
    ranks = scores.mean_ranks(DEMSAR)
    np.testing.assert_allclose(ranks, [3.143, 2.000, 2.893, 1.964], atol=5e-4)
    assert scores.critical_difference(4, 14) == pytest.approx(1.25, abs=0.005)
    assert scores.critical_difference(4, 14, 0.10) == pytest.approx(1.12, abs=0.005)
    # 2.343, 2.569, 2.728 are the published critical values of Nemenyi's test for 3, 4 and 5 classifiers.
    for count, value in ((3, 2.343), (4, 2.569), (5, 2.728)):
        scale = math.sqrt(count * (count + 1) / 60)
        assert scores.critical_difference(count, 10) / scale == pytest.approx(value, abs=2e-3)


def test_friedman_against_its_formula() -> None:
    """Without equals Friedman's statistic is 12 N / (k (k + 1)) (sum R^2 - k (k + 1)^2 / 4)."""
    accuracy = np.random.default_rng(4).random((12, 4)) + np.array([0, 0.1, 0.2, 0.3])
    ranks = scores.mean_ranks(accuracy)
    statistic = 12 * 12 / 20 * (np.sum(ranks**2) - 4 * 25 / 4)
    assert scores.friedman(accuracy) == pytest.approx(stats.chi2.sf(statistic, 3))
    assert scores.friedman(np.full((5, 4), 0.7)) == 1.0
    assert math.isnan(scores.friedman(accuracy[:1]))


def test_wilcoxon_by_counting_all_signs_and_holm_by_hand() -> None:
    accuracy = np.array([[0.9, 0.8], [0.7, 0.5], [0.65, 0.6], [0.3, 0.33], [0.8, 0.52], [0.9, 0.4]])
    difference = accuracy[:, 0] - accuracy[:, 1]
    rank = stats.rankdata(np.abs(difference))
    signed = [np.dot(rank, signs) for signs in itertools.product((0, 1), repeat=6)]
    seen = rank[difference > 0].sum()
    upper = np.mean([value >= seen for value in signed])
    assert scores.wilcoxon(("a", "b"), accuracy)["a", "b"] == pytest.approx(min(1, 2 * upper))
    assert scores.wilcoxon(("a", "b"), accuracy[:, [0, 0]])["a", "b"] == 1.0
    found = scores.holm({("a", "b"): 0.01, ("a", "c"): 0.04, ("b", "c"): 0.03})
    assert found == pytest.approx({("a", "b"): 0.03, ("a", "c"): 0.06, ("b", "c"): 0.06})


def test_summaries_by_hand() -> None:
    found = scores.compare(("a", "b", "c"), np.array([[1.0, 0.96, 0.91], [0.5, 0.4, 0.5]]))
    a, b, c = found.summaries
    assert (a.p90, a.p95, a.pma, a.mean_accuracy, a.mean_rank) == (1, 1, 1, 0.75, 1.25)
    assert (b.p90, b.p95, b.mean_rank) == (0.5, 0.5, 2.5)
    assert b.pma == pytest.approx((0.96 + 0.8) / 2)
    assert (c.p90, c.p95, c.mean_rank) == (1, 0.5, 2.25)


def test_intervals_are_wilsons() -> None:
    score = scores.Score("set", "rbf", 45, 50, 0.9, {}, {}, 1.0)
    n, p, z = 50, 0.9, stats.norm.ppf(0.975)
    centre = (p + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * math.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    assert score.interval == pytest.approx((centre - half, centre + half))


def test_groups_join_methods_that_do_not_differ() -> None:
    ranks = {"a": 1.0, "b": 1.8, "c": 2.9, "d": 4.0}
    members = tuple(scores.Summary(name, 0, 0, 0, 0, rank) for name, rank in ranks.items())
    found = scores.Comparison(tuple(ranks), np.zeros((5, 4)), members, 0.1, 1.15, {})
    assert scores.groups(found) == [(0, 1), (1, 2), (2, 3)]
    wide = scores.Comparison(tuple(ranks), np.zeros((5, 4)), members, 0.1, 2.0, {})
    assert scores.groups(wide) == [(0, 2), (2, 3)]


# --- files and the command line ----------------------------------------------------------------------------


def write_archive(folder: Path, *names: str) -> Path:
    for seed, name in enumerate(names):
        data = made(name, count=12, seed=seed)
        (folder / name).mkdir(parents=True)
        for part, series, classes in (
            ("TRAIN", data.train, data.train_classes),
            ("TEST", data.test, data.test_classes),
        ):
            lines = [
                ",".join(map(str, one[:, 0])) + f":{data.classes[k]}" for one, k in zip(series, classes, strict=True)
            ]
            head = f"@problemName {name}\n@univariate true\n@classLabel true down up\n@data\n"
            (folder / name / f"{name}_{part}.ts").write_text(head + "\n".join(lines) + "\n")
    return folder


@pytest.mark.usefixtures("few")
def test_format_md_says_what_files_hold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "PART_SECONDS", 0.1)
    (job,) = (job for job in jobs.of_sets([made()], tmp_path, True) if job.method.name == "rntk")
    for number in range(len(job.parts)):
        classify.validate_part(job, number)
    classify.run(job)
    for path, kind in ((job.part(0), "classification-part"), (job.result, "classification")):
        fields, _ = documented(kind)
        with open_complete(path, kind) as file:
            found = {
                name: (", ".join(data.dims), SHORT[data.dtype.name], data.attrs["units"])
                for name, data in file.variables.items()
                if data.attrs["long_name"] != f"index of {name}"
            }
            text = (runs.ROOT / "docs" / "format.md").read_text()
            assert set(file.attrs) <= set(re.findall(r"^\| `(\w+)` \|", text, re.M))
        assert found == fields


@pytest.mark.workflow
def test_a_comparison_end_to_end(tmp_path: Path) -> None:
    archive = write_archive(tmp_path / "archive", "First", "Second")
    alone = jobs.plan(["First"], archive, tmp_path / "out", True)
    for job in alone:
        classify.run(job)
    assert "one data set" in table.write(alone, tmp_path / "out")
    root = tmp_path / "out" / "classification"
    first = {path: path.stat().st_mtime_ns for path in root.glob("First/*.h5")}
    assert len(first) == len(methods.METHODS)
    words = ["rntk", "classify", "--archive", archive, "--results", "out", "--quick", "--cores", "2"]
    done = runs.run(*words, cwd=tmp_path)
    assert "Friedman: p = " in done.stdout
    assert {path: path.stat().st_mtime_ns for path in root.glob("First/*.h5")} == first
    with (root / "scores.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["data_set"], row["method"]) for row in rows] == list(
        itertools.product(["First", "Second"], methods.METHODS)
    )
    for row in rows:
        assert float(row["low"]) < float(row["accuracy"]) < float(row["high"]) or row["correct"] in ("0", "12")
    for path in table.paths(tmp_path / "out").values():
        assert path.stat().st_size > 100
    assert faults(root) == []


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["GunPiont"], "did you mean GunPoint"),
        (["--archive", "nowhere"], "is not a folder"),
        (["First", "--archive", "archive", "--method", "svm"], "method 'svm' is not known"),
        (["--archive", "archive", "--method", "rbf"], "takes one data set at a time"),
        (["First", "--archive", "archive", "--method", "rbf", "--part", "7"], "parts 0 to 0"),
        (["First", "--archive", "archive", "--table"], "missing"),
        (["Bad", "--archive", "archive"], "Bad_TRAIN.ts:5: 'x' is not a number"),
        (["../First", "--archive", "archive"], "not the name of a data set"),
    ],
)
def test_refusals_are_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: list[str], said: str
) -> None:
    write_archive(tmp_path / "archive", "First", "Bad")
    bad = tmp_path / "archive" / "Bad" / "Bad_TRAIN.ts"
    bad.write_text("\n".join([*bad.read_text().splitlines()[:4], "1,x:up"]))
    monkeypatch.chdir(tmp_path)
    assert main(["rntk", "classify", *words]) == 2
    told = capsys.readouterr().err
    assert said in told
    assert len(told.splitlines()) == 1


def test_without_scikit_learn_it_says_what_to_install() -> None:
    code = "import sys; sys.modules['sklearn'] = None; from rnnlimits.cli import main; sys.exit(main(sys.argv[1:]))"
    command = [sys.executable, "-c", code, "rntk", "classify", "Coffee"]
    done = subprocess.run(command, env=runs.ENVIRONMENT, capture_output=True, text=True, timeout=HANG)
    assert done.returncode == 2
    assert "pip install 'rnnlimits[rntk,data]'" in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.needs_data
def test_a_shipped_set_beats_chance() -> None:
    data = datasets.load("ItalyPowerDemand")
    train, test = (methods.stretched(part, 24) for part in data.standardised())
    rbf = methods.METHODS["rbf"]
    found = protocol.predict(rbf, {"gamma": 0.2}, 10.0, train, data.train_classes, test)
    assert np.mean(found == data.test_classes) > 0.93  # linear and quadratic machines: 0.972 and 0.951, published
