"""The columns of rates.csv: coordinates are numbers of their own, and a spreadsheet can select by them."""

from __future__ import annotations

import csv
import io

import pytest

from rnnlimits.statistics.ratefile import Rate, to_csv

COORDINATES = ("beta", "eps", "N", "K")


@pytest.mark.parametrize(
    ("at", "wanted"),
    [
        ("beta=0.75", ("0.75", "", "", "")),
        ("beta=0.75 N=1024", ("0.75", "", "1024", "")),
        ("eps=0.25 depth=2", ("", "0.25", "", "")),
        ("N=infinity K=256 probe=3", ("", "", "inf", "256")),
        ("N=4194305", ("", "", "4194305", "")),
        ("K=256 all probes", ("", "", "", "256")),
        ("N=wide", ("", "", "", "")),
    ],
)
def test_coordinates_are_numbers(at: str, wanted: tuple[str, ...]) -> None:
    (row,) = csv.DictReader(io.StringIO(to_csv([Rate("s", "drift", "plain", "K", at)])))
    assert tuple(row[name] for name in COORDINATES) == wanted
    assert row["at"] == at


def test_numbers_keep_six_digits() -> None:
    (row,) = csv.DictReader(io.StringIO(to_csv([Rate("s", "drift", "plain", "N", "", exponent=1 / 3, prefactor=2.0)])))
    assert (row["exponent"], row["prefactor"]) == ("0.333333", "2")
