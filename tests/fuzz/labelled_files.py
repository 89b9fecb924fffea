"""Labelled series as the archives and spreadsheets write them: .ts, .tsv and .txt."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from draws import OK, REFUSED, Draw, Fault, reader, refusal
from numpy.typing import NDArray
from series_truth import EITHER, READ, REFUSE

from rnnlimits.classify import seriesfiles
from rnnlimits.classify.seriesfiles import Labelled

Array = NDArray[np.float64]
LABELS = (
    ("1", "2"),
    ("-1", "1"),
    ("a", "b"),
    ("sit", "walk"),
    ("1.0", "2.0"),
    ("1.0000000e+00", "2.0000000e+00"),
    ("é", "ü"),
)
STYLES = ("{!r}", "{:.3f}", "{:.7e}", "{:+.4f}", "{:.0f}")
ENCODINGS = ("latin-1", "utf-8-sig", "utf-16", "cp1252")


@dataclass
class Truth:
    """Series (T, d) with NaN where a value is missing, labels, the promise, and what a refusal must name."""

    series: list[Array] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)
    promise: int = READ
    named: str = ""

    def worse(self, promise: int, named: str = "") -> None:
        """Lower the promise; a name counts only where there is nothing else to complain about."""
        self.named = named if self.promise == READ else ""
        self.promise = max(self.promise, promise)


def _series(draw: Draw, truth: Truth, dimensions: int, labels: tuple[str, ...]) -> list[list[list[str]]]:
    """Texts of each series by dimension and step, and their truth."""
    style, equal = draw.choice("style", STYLES), draw.random.random() < 0.5
    length = draw.random.randint(3, 8)
    texts = []
    for _ in range(draw.random.randint(2, 6)):
        steps = length if equal else draw.random.randint(3, 8)
        one = [[style.format(draw.random.gauss(0, 2)) for _ in range(steps)] for _ in range(dimensions)]
        texts.append(one)
        truth.series.append(np.array([[float(text) for text in row] for row in one]).T)
        truth.labels.append(draw.random.choice(labels))
    return texts


def _leave_out(draw: Draw, truth: Truth, texts: list[list[list[str]]], marks: list[str]) -> None:
    """Mark some values as missing."""
    mark = draw.choice("missing", marks)
    for _ in range(draw.random.randint(1, 4)):
        number = draw.random.randrange(len(texts))
        dimension = draw.random.randrange(len(texts[number]))
        step = draw.random.randrange(len(texts[number][dimension]))
        texts[number][dimension][step] = mark
        truth.series[number][step, dimension] = np.nan
    if any(np.isnan(series).all(axis=0).any() for series in truth.series):
        truth.worse(EITHER)


@reader
def ts_file(draw: Draw) -> str:
    """A .ts file: read as it was written, or refused with file and line."""
    truth = Truth()
    labels = draw.choice("labels", [pair for pair in LABELS if "." not in pair[0]])
    dimensions = draw.choice("dimensions", [1, 1, 2, 3])
    texts = _series(draw, truth, dimensions, labels)
    if draw.random.random() < 0.3:
        _leave_out(draw, truth, texts, ["?", "NaN", "nan"])
    elif draw.random.random() < 0.15:
        _leave_out(draw, truth, texts, ["", " ", "NA", "null"])
        truth.worse(EITHER)
    header = ["@problemName drawn", "@timeStamps false", f"@univariate {str(dimensions == 1).lower()}"]
    header += [f"@dimensions {dimensions}"] if dimensions > 1 else []
    header += [f"@classLabel true {' '.join(labels)}", "@data"]
    lines = [":".join([*(",".join(row) for row in one), label]) for one, label in zip(texts, truth.labels, strict=True)]
    if draw.random.random() < 0.35:
        draw.random.choice(TS_SPOILED)(draw, truth, header, lines)
    if draw.chance("comments", 0.3):
        header.insert(0, "# a comment")
    return _judge(draw, draw.folder / "Drawn_TRAIN.ts", [*header, *lines], truth)


@reader
def columns_file(draw: Draw) -> str:
    """A .tsv or .txt file of a label and values in each line: read as it was written, or refused with file and line."""
    truth = Truth()
    labels = draw.choice("labels", [*LABELS, ("sit 1", "sit 2"), ("a,b", "c"), ("", "1")])
    suffix = draw.choice("suffix", [".tsv", ".txt"])
    separator = draw.choice("separator", ["\t"] if suffix == ".tsv" else ["  ", ",", "\t", " "])
    if separator.startswith(" ") or separator in "".join(labels):
        labels = draw.choice("labels", LABELS)  # a label with a blank is two words where blanks separate
        if not labels[0].lstrip("-")[0].isdigit():
            truth.worse(EITHER)  # of which a label of text may be the first
    if any(mark in "".join(labels) for mark in " ,") or "" in labels:
        truth.worse(EITHER)
    texts = _series(draw, truth, 1, labels)
    chosen = draw.random.random()
    if chosen < 0.2:
        _leave_out(draw, truth, texts, ["NaN", "nan", "?"])
    elif chosen < 0.4:
        _leave_out(draw, truth, texts, ["NA", "-", "null"] if separator.startswith(" ") else ["", "NA", " ", "null"])
        truth.worse(EITHER)
    elif chosen < 0.5 and separator != ",":
        draw.notes.append("decimal comma")
        texts = [[[text.replace(".", ",") for text in row] for row in one] for one in texts]
        truth.worse(EITHER)
    lines = [separator.join([label, *one[0]]) for one, label in zip(texts, truth.labels, strict=True)]
    if separator == "  ":
        lines = ["  " + line for line in lines]
    if draw.random.random() < 0.25:
        draw.random.choice(COLUMNS_SPOILED)(draw, truth, lines)
    return _judge(draw, draw.folder / f"Drawn_TRAIN{suffix}", lines, truth)


def _judge(draw: Draw, path: Path, lines: list[str], truth: Truth) -> str:
    encoding = draw.choice("encoding", ENCODINGS) if draw.random.random() < 0.2 else "utf-8"
    if encoding != "utf-8":
        truth.worse(EITHER)
    end = draw.choice("end", ["\n", "\r\n"])
    path.write_bytes((end.join(lines) + end * (draw.random.random() < 0.8)).encode(encoding, errors="replace"))
    found: list[Labelled] = []
    line = refusal(lambda: found.append(seriesfiles.read(path)), path.name)
    if line is not None:
        if truth.promise == READ:
            raise Fault(f"was refused, though it must be read: {line}")
        if truth.promise == REFUSE and truth.named not in line:
            raise Fault(f"the refusal does not name {truth.named!r}: {line}")
        return REFUSED
    if truth.promise == REFUSE:
        raise Fault("was read, though it must be refused")
    _require_same(found[0], truth)
    return OK


def _require_same(found: Labelled, truth: Truth) -> None:
    if found.labels != (labels := [_plain(label) for label in truth.labels]):
        raise Fault(f"other labels were read: {found.labels}, written {labels}")
    for number, (series, written) in enumerate(zip(found.series, truth.series, strict=True)):
        expected = _whole(written)
        if series.shape != expected.shape or not np.array_equal(series, expected):
            raise Fault(f"series {number} was read as {series.ravel()[:6]}, written {written.ravel()[:6]}")


def _plain(label: str) -> str:
    """Whole numbers have one form, so that 1 and 1.0 are one class."""
    try:
        return str(int(float(label))) if float(label).is_integer() else label
    except ValueError:
        return label


def _whole(series: Array) -> Array:
    """As docs/rntk-classify.md has it: missing steps at the end are cut off, others interpolated in time."""
    last = np.flatnonzero(~np.isnan(series).all(axis=1))[-1]
    series = series[: last + 1].copy()
    for column in series.T:
        known = np.flatnonzero(~np.isnan(column))
        column[:] = np.interp(np.arange(len(column)), known, column[known])
    return series


# --- spoiled ------------------------------------------------------------------------------------------------------


def _bad_value(draw: Draw, truth: Truth, header: list[str], lines: list[str]) -> None:
    row = draw.random.randrange(len(lines))
    bad = draw.choice("value", ["x", "inf", "-Infinity", "1e999", "1.2.3", "(0,1)"])
    lines[row] = f"{bad},{lines[row]}"
    truth.worse(REFUSE, "")


def _bad_label(draw: Draw, truth: Truth, header: list[str], lines: list[str]) -> None:
    row = draw.random.randrange(len(lines))
    lines[row] = lines[row].rpartition(":")[0] + draw.choice("label", [":other", ":", "", ": other label"])
    truth.worse(REFUSE)


def _bad_header(draw: Draw, truth: Truth, header: list[str], lines: list[str]) -> None:
    spoiled = draw.choice("header", ["no @data", "no classes", "time stamps", "dimensions", "text"])
    if spoiled == "no @data":
        header.remove("@data")
    elif spoiled == "no classes":
        header[-2] = "@classLabel false"
    elif spoiled == "time stamps":
        header[1] = "@timeStamps true"
    elif spoiled == "dimensions":
        header.insert(-2, "@dimensions 7")
        header[2] = "@univariate false"
    else:
        header.insert(1, "drawn by hand")
    truth.worse(REFUSE)


def _more_dimensions(draw: Draw, truth: Truth, header: list[str], lines: list[str]) -> None:
    row = draw.random.randrange(len(lines))
    draw.notes.append("one more dimension")
    lines[row] = f"1.0,2.0:{lines[row]}"
    truth.worse(REFUSE if len(lines) > 1 or "@univariate true" in header else EITHER)


def _no_series(draw: Draw, truth: Truth, header: list[str], lines: list[str]) -> None:
    draw.notes.append("no series")
    lines.clear()
    truth.worse(REFUSE)


TS_SPOILED = (_bad_value, _bad_label, _bad_header, _more_dimensions, _no_series)


def _bad_number(draw: Draw, truth: Truth, lines: list[str]) -> None:
    row = draw.random.randrange(len(lines))
    lines[row] += draw.choice("at the end", ["\tx", "\tinf", "\t1.2.3", "\t1e999", "\t#"])
    truth.worse(REFUSE)


def _label_alone(draw: Draw, truth: Truth, lines: list[str]) -> None:
    draw.notes.append("a label alone")
    lines[draw.random.randrange(len(lines))] = "1"
    truth.worse(REFUSE)


def _blank_lines(draw: Draw, truth: Truth, lines: list[str]) -> None:
    draw.notes.append("blank lines")
    lines.insert(draw.random.randrange(len(lines)), "")


COLUMNS_SPOILED = (_bad_number, _label_alone, _blank_lines)
