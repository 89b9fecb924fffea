"""Files of labelled series and data sets: what is read, what is refused and how."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from rnnlimits.base.errors import StudyError
from rnnlimits.classify import datasets, seriesfiles

HEAD = "# words\n@problemName Tiny\n@timeStamps false\n@univariate true\n@classLabel true a b\n@data\n"


def written(folder: Path, text: str, name: str = "Tiny_TRAIN.ts") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def test_series_of_one_length(tmp_path: Path) -> None:
    head = HEAD.replace("@data", "@equalLength true\n@seriesLength 3\n@data")
    found = seriesfiles.read(written(tmp_path, f"{head}1,2.5,-3e-1:a\n 4, 5 ,6 : b\n"))
    assert found.labels == ["a", "b"]
    np.testing.assert_array_equal(found.series, [[[1], [2.5], [-0.3]], [[4], [5], [6]]])


def test_series_of_unlike_lengths_and_several_dimensions(tmp_path: Path) -> None:
    head = HEAD.replace("@univariate true", "@univariate false\n@dimensions 2")
    found = seriesfiles.read(written(tmp_path, f"{head}1,2:3,4:a\n5,6,7:8,9,10:b\n"))
    np.testing.assert_array_equal(found.series[0], [[1, 3], [2, 4]])
    np.testing.assert_array_equal(found.series[1], [[5, 8], [6, 9], [7, 10]])


def test_missing_values_are_interpolated_and_those_at_the_end_cut_off(tmp_path: Path) -> None:
    found = seriesfiles.read(written(tmp_path, f"{HEAD}?,2,?,?,8,NaN,?:a\n1,2:b\n"))
    np.testing.assert_allclose(found.series[0][:, 0], [2, 2, 4, 6, 8])


def test_a_shorter_dimension_by_missing_values_keeps_its_last(tmp_path: Path) -> None:
    head = HEAD.replace("@univariate true", "@univariate false")
    found = seriesfiles.read(written(tmp_path, f"{head}1,2,?:3,4,5:a\n"))
    np.testing.assert_array_equal(found.series[0], [[1, 3], [2, 4], [2, 5]])


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("@data\n1:a\n", 1, "without @classLabel true"),
        (HEAD.replace("true a b", "false"), 6, "without @classLabel true"),
        (HEAD.replace("@timeStamps false", "@timeStamps true"), 6, "@timeStamps true is not supported"),
        (HEAD.replace("@univariate true", "@univariate perhaps"), 4, "true or false"),
        (HEAD.replace("@univariate true", "@dimensions x"), 4, "whole number above 0"),
        ("1,2:a\n", 1, "lines of a header begin with @"),
        (f"{HEAD}1,2:c\n", 7, "label 'c' is not in @classLabel (a, b)"),
        (f"{HEAD}1,2:3,4:a\n", 7, "2 dimensions, where 1"),
        (f"{HEAD}1,2\n", 7, "label '1,2' is not in"),
        (f"{HEAD}a\n", 7, "no values before the label"),
        (f"{HEAD}1,2:a\n1,x2:b\n", 8, "'x2' is not a number"),
        (f"{HEAD}1,,2:a\n", 7, "'' is not a number"),
        (f"{HEAD}1,inf:a\n", 7, "infinite"),
        (f"{HEAD}?,?:a\n", 7, "all values are missing"),
        (HEAD.replace("univariate true", "univariate false") + "1,2:3:a\n", 7, "dimensions of 2, 1 values"),
        (HEAD.replace("univariate true", "univariate false") + "1,2:?,?:a\n", 7, "all missing"),
        (HEAD.replace("@data", "@equalLength true\n@seriesLength 3\n@data") + "1,2:a\n", 9, "@seriesLength is 3"),
    ],
)
def test_a_malformed_file_is_named_with_its_line(tmp_path: Path, text: str, line: int, words: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(StudyError) as refused:
        seriesfiles.read(path)
    assert str(refused.value).startswith(f"{path}:{line}: ")
    assert words in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("text", "words"), [("", "ends without a line @data"), (HEAD[:-6], "without a line @data"), (HEAD, "has no series")]
)
def test_a_file_without_series(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(StudyError, match=words):
        seriesfiles.read(written(tmp_path, text))


def test_columns_of_ucr_2018(tmp_path: Path) -> None:
    found = seriesfiles.read(written(tmp_path, "1\t0.5\t1.5\tNaN\n-1\t1\t2\t3\n", "Tiny_TRAIN.tsv"))
    assert found.labels == ["1", "-1"]
    np.testing.assert_array_equal(found.series[0], [[0.5], [1.5]])
    older = seriesfiles.read(written(tmp_path, "  1.0000e+00  2.0 3.0\n", "Tiny_TRAIN.txt"))
    assert older.labels == ["1"]
    with pytest.raises(StudyError, match=r"\.tsv:2: 'x' is not a number"):
        seriesfiles.read(written(tmp_path, "1\t2\n1\tx\n", "Tiny_TRAIN.tsv"))


# --- data sets ---------------------------------------------------------------------------------------------


def archive(folder: Path, train: str = "1,2:a\n3,4,5:b\n", test: str = "1,2,3:b\n") -> Path:
    place = folder / "archive" / "Tiny"
    place.mkdir(parents=True)
    written(place, HEAD + train)
    written(place, HEAD + test, "Tiny_TEST.ts")
    return place.parent


def test_a_set_of_an_archive(tmp_path: Path) -> None:
    folder = archive(tmp_path)
    assert datasets.names(folder) == ["Tiny"]
    found = datasets.load("Tiny", folder)
    assert (found.classes, found.dimension, found.lengths) == (("a", "b"), 1, (2, 3))
    assert found.train_classes.tolist() == [0, 1]
    assert found.test_classes.tolist() == [1]


def test_inputs_are_standardised_by_the_training_part_alone(tmp_path: Path) -> None:
    train, test = datasets.load("Tiny", archive(tmp_path, test="103:b\n")).standardised()
    assert train.values.mean() == pytest.approx(0)
    assert train.values.std() == pytest.approx(1)
    assert test.values[0, 0] == pytest.approx((103 - 3) / np.std([1, 2, 3, 4, 5]))


def test_the_digest_tells_values_labels_and_lengths_apart(tmp_path: Path) -> None:
    texts = ["1,2:a\n3,4,5:b\n", "1,2:a\n3,4,6:b\n", "1,2:b\n3,4,5:a\n", "1,2,3:a\n4,5:b\n"]
    found = {datasets.load("Tiny", archive(tmp_path / str(index), text)).digest for index, text in enumerate(texts)}
    assert len(found) == 4


@pytest.mark.parametrize(
    ("train", "test", "words"),
    [
        ("1,2:a\n3:a\n", "1:a\n", "all training series have the label a"),
        ("1,2:a\n3:b\n", "1:c\n", "not in @classLabel"),
    ],
)
def test_parts_that_do_not_fit(tmp_path: Path, train: str, test: str, words: str) -> None:
    with pytest.raises(StudyError, match=words):
        datasets.load("Tiny", archive(tmp_path, train, test))


def test_a_label_only_in_the_test(tmp_path: Path) -> None:
    folder = archive(tmp_path)
    written(folder / "Tiny", HEAD.replace("a b", "a b c") + "1:c\n", "Tiny_TEST.ts")
    with pytest.raises(StudyError, match="label 'c' of the test has no training series"):
        datasets.load("Tiny", folder)


def test_unlike_dimensions_of_the_parts(tmp_path: Path) -> None:
    folder = archive(tmp_path)
    written(folder / "Tiny", HEAD.replace("univariate true", "univariate false") + "1:2:a\n", "Tiny_TEST.ts")
    with pytest.raises(StudyError, match="1 to 2 dimensions"):
        datasets.load("Tiny", folder)


def test_what_is_missing_is_said_in_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = archive(tmp_path)
    (folder / "Tiny" / "Tiny_TEST.ts").unlink()
    with pytest.raises(StudyError, match=r"Tiny: has no Tiny_TEST\.ts"):
        datasets.load("Tiny", folder)
    with pytest.raises(StudyError, match="did you mean GunPoint"):
        datasets.load("gunpiont")
    with pytest.raises(StudyError, match="did you mean Tiny"):
        datasets.load("Tinny", folder)
    with pytest.raises(StudyError, match="is not a folder"):
        datasets.names(tmp_path / "nowhere")
    with pytest.raises(StudyError, match="NAME_TRAIN"):
        datasets.names(tmp_path)
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(StudyError, match=r"ship in aeon.*pip install 'rnnlimits\[data\]'"):
        datasets.load("GunPoint")


# Sizes of the parts, dimension, lengths and classes as the archive states them.
SIZES = {
    "ACSF1": (100, 100, 1, (1460, 1460), 10),
    "ArrowHead": (36, 175, 1, (251, 251), 3),
    "BasicMotions": (40, 40, 6, (100, 100), 4),
    "Coffee": (28, 28, 1, (286, 286), 2),
    "GunPoint": (50, 150, 1, (150, 150), 2),
    "ItalyPowerDemand": (67, 1029, 1, (24, 24), 2),
    "JapaneseVowels": (270, 370, 12, (7, 29), 9),
    "OSULeaf": (200, 242, 1, (427, 427), 6),
    "PLAID": (537, 537, 1, (100, 1344), 11),
    "PickupGestureWiimoteZ": (50, 50, 1, (29, 361), 10),
    "Trace": (100, 100, 1, (275, 275), 4),
}
# Published accuracies of the nearest neighbour in Euclidean distance.
NEAREST = {"ArrowHead": 0.8, "Coffee": 1.0, "GunPoint": 0.9133, "ItalyPowerDemand": 0.9553, "OSULeaf": 0.5207}
NEAREST["Trace"] = 0.76


@pytest.mark.needs_data
@pytest.mark.parametrize("name", datasets.SHIPPED)
def test_shipped_sets_are_what_the_archive_says(name: str) -> None:
    found = datasets.load(name)
    assert (len(found.train), len(found.test), found.dimension, found.lengths, len(found.classes)) == SIZES[name]


@pytest.mark.needs_data
@pytest.mark.parametrize("name", NEAREST)
def test_nearest_neighbours_are_as_published(name: str) -> None:
    found = datasets.load(name)
    train, test = (np.array([series.ravel() for series in part]) for part in (found.train, found.test))
    nearest = [np.argmin(np.sum((train - series) ** 2, axis=1)) for series in test]
    accuracy = np.mean(found.train_classes[nearest] == found.test_classes)
    assert accuracy == pytest.approx(NEAREST[name], abs=5e-5)
