"""Files of rates of version 1 are read; their verdicts are not taken over."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from rnnlimits.base.errors import StudyError
from rnnlimits.files import store
from rnnlimits.files.provenance import FIELDS
from rnnlimits.results import summary
from rnnlimits.statistics import older_rates, ratefile
from rnnlimits.statistics.ratefile import Rate

WORDS = ("consistent", "inconsistent", "undetermined")
PROVENANCE = {name: "?" for name in FIELDS}


def write_old(path: Path) -> None:
    """Three rows with two points each, as version 1 wrote them."""
    texts = {"study": "s", "quantity": "drift", "estimator": "plain", "variable": "N", "law": "power"}
    rows: dict[str, list[object]] = {name: [value] * 3 for name, value in texts.items()}
    rows |= {"at": ["beta=0.6", "beta=0.75", "beta=0.9"], "expected_kind": ["heuristic"] * 3, "verdict": list(WORDS)}
    rows |= {"note": ["", "off by +0.1", "refused: 0 usable points"], "points": [4] * 3, "replicas": [8] * 3}
    with store.atomic_h5(path, "rates", PROVENANCE) as file:
        store.put(file, "rate", np.arange(3), ("rate",), "1", "row")
        for name in older_rates.RATE_VARIABLES:
            store.put(file, name, rows.get(name, [0.25] * 3), ("rate",), "1", name)
        store.put(file, "point_rate", np.repeat(np.arange(3), 2), ("point",), "1", "row")
        for name in older_rates.POINT_VARIABLES:
            values = np.ones(6, dtype=np.int64) if name in ("used", "replicas") else np.linspace(1.0, 2.0, 6)
            store.put(file, f"point_{name}", values, ("point",), "1", name)


def test_rows_keep_their_numbers_and_lose_their_verdicts(tmp_path: Path) -> None:
    write_old(tmp_path / "rates.h5")
    found = ratefile.read(tmp_path / "rates.h5")
    assert [rate.verdict for rate in found] == ["no prediction", "no prediction", "cannot tell"]
    assert [rate.note for rate in found] == [
        "consistent with its expected value, said version 1",
        "off by +0.1; inconsistent with its expected value, said version 1",
        "refused: 0 usable points",
    ]
    for rate in found:
        assert (rate.exponent, rate.expected, rate.line_p, rate.version) == (0.25, 0.25, 0.25, 1)
        assert math.isnan(rate.predicted)
        assert math.isnan(rate.chi2_p)
        assert len(rate.cloud) == 2
        assert math.isnan(rate.cloud[0].predicted)
    assert list(summary.heads(found))[-1] == older_rates.REMEDY


def test_rows_of_today_come_back(tmp_path: Path) -> None:
    path = tmp_path / "rates.h5"
    rate = Rate("s", "drift", "plain", "N", "beta=0.6", predicted=0.3, chi2=4.0, chi2_dof=4, p=0.2, time=2.0, files="a")
    ratefile.write_h5(path, PROVENANCE, [rate, replace(rate, time=1.0, in_time=True)])
    (found,) = ratefile.read(path)
    assert (found.predicted, found.chi2, found.chi2_dof, found.p, found.version) == (0.3, 4.0, 4, 0.2, 3)
    assert (found.time, found.files, found.in_time) == (2.0, "a", False)
    assert [(one.time, one.in_time) for one in ratefile.read_in_time(path)] == [(1.0, True)]
    assert len(list(summary.heads([found]))) == 1


def test_rows_of_version_2_keep_their_verdicts(tmp_path: Path) -> None:
    """They lack time and files, and all are at the last checkpoint."""
    rate = Rate("s", "drift", "plain", "N", "beta=0.6", predicted=0.3, p=0.2, verdict="as predicted")
    path = tmp_path / "rates.h5"
    with store.atomic_h5(path, "rates", {**PROVENANCE, "rates_version": 2}) as file:
        store.put(file, "rate", [0], ("rate",), "1", "row")
        for name in ratefile.RATE_VARIABLES:
            if name not in older_rates.LATER:
                store.put(file, name, [getattr(rate, name)], ("rate",), "1", name)
        store.put(file, "point_rate", [0], ("point",), "1", "row")
        for name in ratefile.POINT_VARIABLES:
            store.put(file, f"point_{name}", [1], ("point",), "1", name)
    (found,) = ratefile.read(path)
    assert (found.predicted, found.verdict, found.version) == (0.3, "as predicted", 2)
    assert math.isnan(found.time)
    assert ratefile.read_in_time(path) == []
    assert len(list(summary.heads([found]))) == 1


def test_rows_of_a_version_to_come_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "rates.h5"
    with store.atomic_h5(path, "rates", {**PROVENANCE, "rates_version": 9}):
        pass
    with pytest.raises(StudyError, match="version 9, this software reads 1 to 3"):
        ratefile.read(path)
