"""Files of labelled series as others write them: read rightly, or refused with file and line."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

from rnnlimits.base.errors import StudyError
from rnnlimits.classify import seriesfiles

HEAD = "@problemName T\n@univariate true\n@classLabel true a b\n@data\n"

# File, and labels with their series.
READ: dict[str, tuple[str, str | bytes, list[tuple[str, list[float]]]]] = {
    "tabs": (".tsv", "1\t0.5\t1\n2\t3\t4\n", [("1", [0.5, 1]), ("2", [3, 4])]),
    "empty field": (".tsv", "1\t1\t\t3\n2\t3\t4\t5\n", [("1", [1, 2, 3]), ("2", [3, 4, 5])]),
    "tab at the end": (".tsv", "1\t0.5\t1\t\n", [("1", [0.5, 1])]),
    "label with a blank": (".tsv", "sit 1\t0.5\t2\nstand\t1\t2\n", [("sit 1", [0.5, 2]), ("stand", [1, 2])]),
    "blanks around": (".tsv", " 1\t 0.5 \t2\n", [("1", [0.5, 2])]),
    "commas": (".txt", "a,0.5,0.7\n", [("a", [0.5, 0.7])]),
    "commas and blanks": (".txt", "1, 0.5, 0.7\n", [("1", [0.5, 0.7])]),
    "blanks": (".txt", "  1.0000e+00   2.0  3.0\n", [("1", [2, 3])]),
    "byte order mark": (".tsv", b"\xef\xbb\xbf1\t2\t3\n", [("1", [2, 3])]),
    "Latin-1": (".tsv", "é\t1\t2\nè\t2\t3\n".encode("latin-1"), [("é", [1, 2]), ("è", [2, 3])]),
    "next line of Latin-1": (".tsv", b"a\x85b\t1\t2\n", [("a\x85b", [1, 2])]),
    "CRLF": (".tsv", "1\t2\t3\r\n2\t3\t4\r\n", [("1", [2, 3]), ("2", [3, 4])]),
    "CR": (".tsv", "1\t2\t3\r2\t3\t4\r", [("1", [2, 3]), ("2", [3, 4])]),
    "a label with #": (".tsv", "#1\t0.5\t1\n2\t1\t2\n", [("#1", [0.5, 1]), ("2", [1, 2])]),
    "a comment": (".tsv", "# of series\n2\t1\t2\n", [("2", [1, 2])]),
    "ts in capitals": (".ts", HEAD.upper().replace("TRUE A B", "TRUE a b") + "1,2:a\n", [("a", [1, 2])]),
    "ts with a mark": (".ts", "\ufeff" + HEAD + "1,2:a\n", [("a", [1, 2])]),
    "ts in Latin-1": (
        ".ts",
        (HEAD.replace("a b", "é è") + "1,2:é\n3,4:è\n").encode("latin-1"),
        [("é", [1, 2]), ("è", [3, 4])],
    ),
}


@pytest.mark.parametrize(("suffix", "content", "wanted"), READ.values(), ids=READ.keys())
def test_files_that_are_read(
    tmp_path: Path, suffix: str, content: str | bytes, wanted: list[tuple[str, list[float]]]
) -> None:
    path = tmp_path / f"T_TRAIN{suffix}"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    found = seriesfiles.read(path)
    assert found.labels == [label for label, _ in wanted]
    for series, (_, values) in zip(found.series, wanted, strict=True):
        np.testing.assert_array_equal(series[:, 0], values)


REFUSED: dict[str, tuple[str, str | bytes, str]] = {
    "no label": (".tsv", "1\t2\t3\n\t0.5\t1\n", ":2: no label before the values"),
    "NaN as label": (".tsv", "nan\t0.5\t1\n", ":1: no label before the values"),
    "decimal comma": (".tsv", "1\t0,5\t1,5\n", ":1: '0,5' is not a number; write a decimal point instead of a comma"),
    "blank in a field": (".tsv", "1\t0.5 0.7\t1\n", ":1: '0.5 0.7' is not a number"),
    "semicolons": (".tsv", "1;0.5;0.7\n", ":1: '1;0.5;0.7' has semicolons; separate columns by tabs"),
    "semicolons and decimal commas": (".txt", "1;0,5;0,7\n", ":1: '1;0,5;0,7' has semicolons"),
    "blanks and decimal commas": (".txt", "1 0,5 0,7\n", ":1: label '1 0' has a blank, or values a decimal comma"),
    "words between blanks": (".txt", "sit 1 0.5\n", ":1: label 'sit' is no number, and blanks may be part of it"),
    "other separator": (".tsv", "1\t2\t3\n1 2 3\n", ":2: no values after the label '1 2 3'; columns are separated"),
    "header row": (".tsv", "class\tt1\tt2\n1\t2\t3\n", ":1: 't1' is not a number"),
    "header row of pandas": (".tsv", "class\t0\t1\t2\n1\t2\t3\t4\n", ":1: 0, 1, 2, ... are names of columns"),
    "underscore": (".tsv", "1\t1_000\t2\n", ":1: '1_000' is not a number; thousands are not separated"),
    "hexadecimal": (".tsv", "1\t0x1\t2\n", ":1: '0x1' is not a number"),
    "other digits": (".tsv", "1\t\uff11\t2\n", ":1: '\uff11' is not a number"),
    "below the range": (".tsv", "1\t1e-400\t2\n", ":1: '1e-400' is not a number"),
    "above the range": (".tsv", "1\t1e400\t2\n", ":1: an infinite value"),
    "NA": (".tsv", "1\tNA\t2\n", ":1: 'NA' is not a number; a missing value is written ?"),
    "quotes": (".tsv", '"1"\t"0.5"\t2\n', ":1: '\"0.5\"' is not a number"),
    "UTF-16": (".tsv", "1\t2\n".encode("utf-16"), ": is UTF-16 or UTF-32 text; "),
    "gzip": (".tsv", gzip.compress(b"1\t2\n"), ": is gzip; a text file of labelled series is needed: unpack it"),
    "ts, more dimensions": (".ts", HEAD + "1,2:3,4:a\n", ":5: 2 dimensions, where 1 are expected"),
    "ts, series beside @data": (".ts", HEAD.replace("@data", "@data 1,2:a"), ":4: @data 1,2:a: series begin in the"),
    "ts, time stamps": (".ts", HEAD + "(0,1),(1,2):a\n", ":5: '(0' is not a number"),
    "ts, classes with blanks": (".ts", HEAD.replace("a b", "sit 1 sit 2") + "1:sit 1\n", ":3: @classLabel has a class"),
    "ts, length": (".ts", HEAD.replace("@data", "@seriesLength 3\n@data") + "1,2:a\n", ":6: 2 values, where @seriesL"),
    "ts, equal lengths": (
        ".ts",
        HEAD.replace("@data", "@equalLength true\n@data") + "1,2:a\n1,2,3:b\n",
        ":7: 3 values, where @equalLength is true and the first length is 2",
    ),
    "ts, regression": (".ts", "@targetLabel true\n@data\n1,2:0.5\n", ":2: @data without @classLabel true"),
}


@pytest.mark.parametrize(("suffix", "content", "words"), REFUSED.values(), ids=REFUSED.keys())
def test_files_that_are_refused(tmp_path: Path, suffix: str, content: str | bytes, words: str) -> None:
    path = tmp_path / f"T_TRAIN{suffix}"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(StudyError) as caught:
        seriesfiles.read(path)
    assert str(caught.value).startswith(f"{path}{words}"), caught.value
    assert "\n" not in str(caught.value)
