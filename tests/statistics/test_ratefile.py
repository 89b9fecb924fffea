"""The columns of rates.csv: coordinates are numbers of their own, and a spreadsheet can select by them."""

from __future__ import annotations

import csv
import io

import pytest

from rnnlimits.statistics.ratefile import BESIDE, COLUMNS, COLUMNS_IN_TIME, Rate, table, to_csv

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


def test_rows_in_time_have_no_verdict() -> None:
    """The table of other checkpoints has the same columns, but for those of judged rows."""
    rate = Rate("s", "drift", "plain", "N", "beta=0.6", time=0.5, p=0.01, in_time=True)
    (row,) = csv.DictReader(io.StringIO(to_csv([rate], COLUMNS_IN_TIME)))
    assert (row["time"], row["p"]) == ("0.5", "0.01")
    assert set(COLUMNS) - set(row) == {"corrected", "corrected_low", "corrected_high", "p_adjusted", "verdict"}


def test_rows_that_say_the_same_come_last() -> None:
    rates = [Rate("s", "drift", name, "N", "beta=0.6") for name in ("worse", "best")]
    lines = table(rates, beside=[True, False]).splitlines()
    assert [line for line in lines if "drift" in line or line == BESIDE] == [
        *("drift in N (best)", BESIDE, "drift in N (worse)")
    ]


def test_numbers_keep_six_digits() -> None:
    (row,) = csv.DictReader(io.StringIO(to_csv([Rate("s", "drift", "plain", "N", "", exponent=1 / 3, prefactor=2.0)])))
    assert (row["exponent"], row["prefactor"]) == ("0.333333", "2")
